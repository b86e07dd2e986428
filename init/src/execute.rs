//! Runs the operations of a plan, one after the other.

use heapless::Vec;
use pillbox_init::plan::{Header, Operation, Operations};
use pillbox_init::report::{Report, Stage};
use pillbox_init::sys::{self, Inherited};
use pillbox_init::wire::Reader;

use crate::channel::Channel;
use crate::descriptor::Descriptors;
use crate::entry;
use crate::failure::{At, Failure, NOT_STARTED};
use crate::path::{self, Root};
use crate::{attribute, device, identity, mount, program, reaper, unmount};

/// What operations leave for later operations.
struct Init<'p> {
    /// The right to use the descriptor numbers in the plan.
    inherited: Inherited,
    descriptors: Descriptors<'p>,
    channel: Channel<'p>,
    root: Root,
    /// The folder of the last device node or symbolic link.
    folder: path::Folder<'p>,
    mounts: mount::State,
    program: program::State,
}

/// Runs the plan; the last operation does not return.
pub fn run(plan: &'static [u8], inherited: Inherited) -> ! {
    sys::reset_signals();
    let mut reader = Reader::new(plan);
    let Ok(header) = Header::decode(&mut reader) else { sys::exit(NOT_STARTED) };
    let mut init = Init {
        inherited,
        descriptors: Descriptors::new(inherited, header.descriptors),
        channel: Channel::new(inherited.fd(header.channel)),
        root: Root::default(),
        folder: path::Folder::default(),
        mounts: mount::State::default(),
        program: program::State::default(),
    };
    if let Err(report) = entry::enter(&header, inherited) {
        init.channel.report_failure(report, &[]);
        sys::exit(NOT_STARTED)
    }
    for (index, operation) in Operations(reader).enumerate() {
        let report = match operation {
            Ok(operation) => match init.execute(operation) {
                Ok(()) => continue,
                Err(failure) => Report::Failed {
                    operation: index as u32,
                    errno: failure.errno().raw_os_error(),
                    stage: failure.stage(),
                    detail: failure.detail(),
                },
            },
            Err(_) => Report::Malformed { operation: index as u32 },
        };
        unmount::unmount_attached(&mut init.mounts, &init.root);
        init.channel.report_failure(report, &init.mounts.kernel_text);
        break;
    }
    sys::exit(NOT_STARTED)
}

impl<'p> Init<'p> {
    fn execute(&mut self, operation: Operation<'p>) -> Result<(), Failure> {
        if !matches!(operation, Operation::MakeNode(_) | Operation::MakeSymlink(_)) {
            self.folder = path::Folder::default();
        }
        let Init { inherited, descriptors, channel, root, folder, mounts, program } = self;
        let inherited = *inherited;
        match &operation {
            Operation::DieWithRuntime(step) => identity::die_with_parent(step.enabled)?,
            Operation::Await(step) => channel.await_runtime(step.turn)?,
            Operation::SetUndumpable(_) => identity::set_undumpable()?,
            Operation::SetDumpable(_) => identity::set_dumpable()?,
            Operation::NewSession(_) => identity::new_session()?,
            // If an outer sandbox forbids it, the program stays on its caller's processors.
            Operation::UseEveryProcessor(_) => drop(sys::use_every_processor()),
            Operation::NewKeyring(step) => identity::new_keyring(step.name)?,
            Operation::Unshare(step) => sys::unshare_namespaces(step.flags)?,
            Operation::SetPropagation(step) => rustix::mount::mount_change(c"/", step.propagation)?,
            Operation::AttachRoot(step) => *root = mount::attach_root(descriptors, channel, step)?,
            Operation::AttachScratchRoot(step) => *root = mount::attach_scratch_root(mounts, step.at)?,
            Operation::MountOverlay(step) => mount::mount_overlay(mounts, root.get()?, step)?,
            Operation::Mount(step) => mount::mount(mounts, root, descriptors, step)?,
            Operation::MountWithData(step) => mount::mount_with_data(root.get()?, step)?,
            Operation::BindMount(step) => mount::bind(mounts, root, descriptors, channel, step)?,
            Operation::SetMountAttributes(step) => mount::set_attributes(mounts, root.get()?, step)?,
            Operation::Remount(step) => mount::remount(mounts, root.get()?, step)?,
            Operation::UnmountOnFailure(_) => mounts.attached = Some(Vec::new()),
            Operation::Unmount(step) => unmount::unmount(root.get()?, step)?,
            Operation::EnterRootCover(_) => *root = mount::enter_cover(root.get()?)?,
            Operation::CopySymlink(step) => device::copy_symlink(root.get()?, step)?,
            Operation::MakeNode(step) => device::make_node(root.get()?, folder, step)?,
            Operation::MakeSymlink(step) => device::make_symlink(root.get()?, folder, step)?,
            Operation::MakeDirectory(step) => {
                path::make_directory(root.get()?, step.path, step.mode).at(Stage::Target)?;
            }
            Operation::SendNetlinkSocket(_) => channel.send_netlink_socket()?,
            Operation::SendFileSystem(step) => {
                channel.report(Report::FileSystem, Some(&mount::detached(mounts, step)?))?;
            }
            Operation::TakeTrees(step) => channel.take_trees(descriptors, step.trees)?,
            Operation::JoinNetwork(_) => channel.join_network()?,
            Operation::PivotRoot(_) => mount::pivot_root(root.get()?)?,
            Operation::Chroot(step) => mount::chroot(root.get()?, step.cover)?,
            Operation::OpenConsole(step) => {
                channel
                    .report(Report::Console, Some(&device::open_console(root.get()?, inherited, step)?))?;
            }
            Operation::SetHostname(step) => rustix::system::sethostname(step.name.to_bytes())?,
            Operation::SetDomainname(step) => rustix::system::setdomainname(step.name.to_bytes())?,
            Operation::WriteSysctl(step) => mount::write_sysctl(mounts, root, step)?,
            Operation::MakePathReadonly(step) => mount::make_path_readonly(root.get()?, step.path)?,
            Operation::MaskPath(step) => mount::mask_path(mounts, root.get()?, step.path)?,
            Operation::OwnStdio(step) => identity::own_stdio(inherited, step)?,
            Operation::SetUmask(step) => drop(sys::umask(step.mask.bits())),
            Operation::SetRlimit(step) => sys::set_rlimit(step.resource, step.soft, step.hard)?,
            Operation::SetNoNewPrivileges(_) => rustix::thread::set_no_new_privs(true)?,
            Operation::InstallSeccomp(step) => channel.install_seccomp(step)?,
            Operation::DropBounding(step) => identity::drop_bounding(step.keep)?,
            Operation::SetGroups(step) => identity::set_groups(step)?,
            Operation::SetUser(step) => identity::set_user(step)?,
            Operation::SetCapabilities(step) => identity::set_capabilities(step)?,
            Operation::SetCwd(step) => program::set_cwd(program, step.path)?,
            Operation::RetryCwd(step) => program::retry_cwd(program, step.path)?,
            Operation::ReadHome(step) => program::read_home(program, root.get()?, step.uid)?,
            Operation::FindExecutable(step) => program::find_executable(program, step)?,
            Operation::EndOnSignals(step) => program::end_on_signals(step.signals)?,
            Operation::Ready(_) => {
                // While it waits, init keeps nothing open that it no longer needs. Mounts that a failure has
                // to undo are needed until the end.
                if mounts.attached.is_none() {
                    (*root, *mounts) = (Root::default(), mount::State::default());
                }
                channel.report(Report::Ready, None)?;
            }
            Operation::ReportHooks(_) => channel.report(Report::AtHooks, None)?,
            Operation::ReplaceStdio(step) => descriptors.replace_stdio(step)?,
            Operation::EnterChroot(step) => *root = mount::enter_chroot(descriptors.get(step.root)?)?,
            Operation::EnterRoot(_) => *root = mount::open_root()?,
            Operation::AwaitStart(step) => channel.await_start(descriptors.get(step.listener)?)?,
            Operation::TakeWord(_) => channel.take_word()?,
            Operation::KeepDescriptors(step) => {
                descriptors.close_all_but(step.listener);
                sys::close_on_exec_from(step.count.saturating_add(3))?;
            }
            Operation::StandBeforeProgram(_) => reaper::stand_before(inherited)?,
            Operation::Exec(step) => program::exec(program, inherited, channel.is_starters(), step)?,
            Operation::JoinNamespace(step) => {
                sys::setns_alone(descriptors.get(step.namespace)?, step.flag)?;
            }
            Operation::WriteTimeOffsets(step) => {
                attribute::write_time_offsets(mounts, root, step.offsets)?;
            }
            Operation::EnterTimeNamespace(_) => attribute::enter_time_namespace(mounts, root)?,
            Operation::SetScheduler(step) => attribute::set_scheduler(step)?,
            Operation::SetIoPriority(step) => sys::set_io_priority(step.class as u32, step.level)?,
            Operation::SetPersonality(step) => sys::set_personality(step.domain)?,
            Operation::SetMemoryPolicy(step) => sys::set_memory_policy(step.mode, step.nodes)?,
            Operation::SetExecLabel(step) => attribute::set_exec_label(mounts, root, step)?,
        }
        Ok(())
    }
}
