//! What a container is: a plan's operations, one after the other.

use heapless::Vec;
use pillbox_init::plan::{Header, Operation, Operations};
use pillbox_init::report::{Report, Stage};
use pillbox_init::sys::{self, Inherited};
use pillbox_init::wire::Reader;
use rustix::io::Errno;

use crate::channel::Channel;
use crate::descriptor::Descriptors;
use crate::entry;
use crate::failure::{At, Failure, NOT_STARTED};
use crate::path::{self, Root};
use crate::{attribute, device, identity, mount, program, unmount};

/// What operations leave for later ones.
struct Init<'p> {
    /// By which the numbers of the plan are descriptors.
    inherited: Inherited,
    descriptors: Descriptors<'p>,
    channel: Channel<'p>,
    root: Root,
    /// Where the last device node was made.
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
        unmount::take_back(&mut init.mounts, &init.root);
        init.channel.report_failure(report, &init.mounts.kernel_text);
        break;
    }
    sys::exit(NOT_STARTED)
}

impl<'p> Init<'p> {
    fn execute(&mut self, operation: Operation<'p>) -> Result<(), Failure> {
        if !matches!(operation, Operation::MakeNode { .. } | Operation::MakeSymlink { .. }) {
            self.folder = path::Folder::default();
        }
        let Init { inherited, descriptors, channel, root, folder, mounts, program } = self;
        let inherited = *inherited;
        match operation {
            Operation::DieWithRuntime { enabled } => identity::die_with_parent(enabled)?,
            Operation::Await { turn } => self.channel.await_runtime(turn)?,
            Operation::SetUndumpable {} => identity::set_undumpable()?,
            Operation::SetDumpable {} => identity::set_dumpable()?,
            Operation::NewSession {} => {
                rustix::process::setsid()?;
            }
            Operation::UseEveryProcessor {} => {
                // Where an outer sandbox forbids it the program stays where its caller is.
                let _ = sys::use_every_processor();
            }
            Operation::NewKeyring { name } => identity::new_keyring(name)?,
            Operation::Unshare { flags } => sys::unshare_namespaces(flags)?,
            Operation::SetPropagation { propagation } => rustix::mount::mount_change(c"/", propagation)?,
            Operation::AttachRoot { tree, at, propagation } => {
                *root = mount::attach_root(descriptors, channel, tree, at, propagation)?;
            }
            Operation::AttachScratchRoot { at } => *root = mount::attach_scratch_root(mounts, at)?,
            Operation::MountOverlay { lower, user_xattr } => {
                mount::mount_overlay(mounts, root.get()?, lower, user_xattr)?;
            }
            Operation::Mount { .. } => mount::mount(mounts, root, descriptors, operation)?,
            Operation::MountWithData { .. } => mount::mount_with_data(root.get()?, operation)?,
            Operation::BindMount { .. } => mount::bind(mounts, root, descriptors, channel, operation)?,
            Operation::SetMountAttributes { target, set, propagation, recursive } => {
                mount::set_attributes(mounts, root.get()?, target, set, propagation, recursive)?;
            }
            Operation::Remount { .. } => mount::remount(mounts, root.get()?, operation)?,
            Operation::TakeBackOnFailure {} => mounts.attached = Some(Vec::new()),
            Operation::Unmount { folder, name, rehearse } => {
                unmount::unmount(root.get()?, folder, name, rehearse)?;
            }
            Operation::EnterRootCover {} => *root = mount::enter_cover(root.get()?)?,
            Operation::CopySymlink { path, target } => device::copy_symlink(root.get()?, path, target)?,
            Operation::MakeNode { .. } => device::make_node(root.get()?, folder, operation)?,
            Operation::MakeSymlink { path, target, replace } => {
                device::make_symlink(root.get()?, folder, path, target, replace)?;
            }
            Operation::MakeDirectory { path, mode } => {
                path::make_directory(root.get()?, path, mode).at(Stage::Target)?;
            }
            Operation::SendNetlinkSocket {} => channel.send_netlink_socket()?,
            Operation::SendFileSystem { kind, flags, parameters } => {
                let mount = mount::detached(mounts, kind, flags, parameters)?;
                channel.report(Report::FileSystem, Some(&mount))?;
            }
            Operation::TakeTrees { trees } => channel.take_trees(descriptors, trees)?,
            Operation::JoinNetwork {} => channel.join_network()?,
            Operation::PivotRoot {} => mount::pivot_root(root.get()?)?,
            Operation::Chroot { cover } => mount::chroot(root.get()?, cover)?,
            Operation::OpenConsole { rows, columns, uid, mount } => {
                let console = device::open_console(root.get()?, inherited, rows, columns, uid, mount)?;
                channel.report(Report::Console, Some(&console))?;
            }
            Operation::SetHostname { name } => rustix::system::sethostname(name.to_bytes())?,
            Operation::SetDomainname { name } => rustix::system::setdomainname(name.to_bytes())?,
            Operation::WriteSysctl { path, value } => mount::write_sysctl(mounts, root, path, value)?,
            Operation::MakePathReadonly { path } => mount::make_path_readonly(root.get()?, path)?,
            Operation::MaskPath { path } => mount::mask_path(mounts, root.get()?, path)?,
            Operation::OwnStdio { uid, gid } => identity::own_stdio(inherited, uid, gid)?,
            Operation::SetUmask { mask } => {
                sys::umask(mask.bits());
            }
            Operation::SetRlimit { resource, soft, hard } => sys::set_rlimit(resource, soft, hard)?,
            Operation::SetNoNewPrivileges {} => rustix::thread::set_no_new_privs(true)?,
            Operation::InstallSeccomp { flags, program } => channel.install_seccomp(flags, program)?,
            Operation::DropBounding { keep } => identity::drop_bounding(keep)?,
            Operation::SetGroups { groups, if_allowed } => match sys::set_groups(groups) {
                Err(Errno::PERM) if if_allowed => {}
                set => set?,
            },
            Operation::SetUser { uid, gid } => identity::set_user(uid, gid)?,
            Operation::SetCapabilities { effective, permitted, inheritable, ambient } => {
                identity::set_capabilities(effective, permitted, inheritable, ambient)?;
            }
            Operation::SetCwd { path } => program::set_cwd(program, path)?,
            Operation::RetryCwd { path } => program::retry_cwd(program, path)?,
            Operation::ReadHome { uid } => program::read_home(program, root.get()?, uid)?,
            Operation::FindExecutable { name, search } => program::find_executable(program, name, search)?,
            Operation::EndOnSignals { signals } => {
                (1..=64)
                    .filter(|number| signals >> (number - 1) & 1 != 0)
                    .try_for_each(sys::end_on_signal)?;
            }
            Operation::Ready {} => {
                // Whoever waits has nothing open that it no longer needs. What a failure takes back is needed until the end.
                if mounts.attached.is_none() {
                    (*root, *mounts) = (Root::default(), mount::State::default());
                }
                channel.report(Report::Ready, None)?;
            }
            Operation::ReportHooks {} => channel.report(Report::AtHooks, None)?,
            Operation::ReplaceStdio { input, output, error } => {
                descriptors.replace_stdio([input, output, error])?;
            }
            Operation::EnterChroot { root: index } => {
                *root = mount::enter_chroot(descriptors.get(index)?)?;
            }
            Operation::EnterRoot {} => *root = mount::open_root()?,
            Operation::AwaitStart { listener } => channel.await_start(descriptors.get(listener)?)?,
            Operation::TakeWord {} => channel.take_word()?,
            Operation::KeepDescriptors { count, listener } => {
                descriptors.close_all_but(listener);
                sys::close_on_exec_from(count.saturating_add(3))?;
            }
            Operation::Exec { arguments, environment } => {
                program::exec(program, inherited, channel.is_starters(), arguments, environment)?;
            }
            Operation::JoinNamespace { namespace, flag } => {
                sys::setns_alone(descriptors.get(namespace)?, flag)?
            }
            Operation::WriteTimeOffsets { offsets } => attribute::write_time_offsets(mounts, root, offsets)?,
            Operation::EnterTimeNamespace {} => attribute::enter_time_namespace(mounts, root)?,
            Operation::SetScheduler { policy, flags, nice, priority, runtime, deadline, period } => {
                sys::set_scheduler(policy, flags, nice, priority, [runtime, deadline, period])?;
            }
            Operation::SetIoPriority { class, level } => sys::set_io_priority(class as u32, level)?,
            Operation::SetPersonality { domain } => sys::set_personality(domain)?,
            Operation::SetMemoryPolicy { mode, nodes } => sys::set_memory_policy(mode, nodes)?,
            Operation::SetExecLabel { module, label } => {
                attribute::set_exec_label(mounts, root, module, label)?
            }
        }
        Ok(())
    }
}
