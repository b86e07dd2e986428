//! What a container is: a plan's operations, one after the other.

use heapless::Vec;
use pillbox_init::plan::{EntryStep, Header, NEVER_OPEN, Operation, Operations, TAKEN_TREES_MAX, Tree};
use pillbox_init::report::{Report, Stage};
use pillbox_init::sys;
use pillbox_init::wire::Reader;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{CWD, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::channel::Channel;
use crate::failure::{At, Failure, NOT_STARTED};
use crate::path::{self, PATH_MAX};
use crate::{attribute, channel, device, identity, mount, program, unmount};

/// What operations leave for later ones.
pub struct Init<'p> {
    header: Header<'p>,
    /// By which the numbers of the plan are descriptors.
    pub inherited: sys::Inherited,
    /// Who hears of a failure: the runtime that created, then the one that starts.
    pub channel: Channel<'p>,
    /// The container's root, in which every target is resolved.
    pub root: Option<OwnedFd>,
    folder: path::Folder<'p>,
    pub mount: mount::State,
    /// Trees that the runtime has cloned last: which descriptor each is, and its number.
    pub taken: Vec<[u32; 2], TAKEN_TREES_MAX>,
    /// The network namespace, if it came before its turn.
    pub network: Option<OwnedFd>,
    pub cwd_refused: bool,
    pub home: program::Home,
    pub executable: Vec<u8, PATH_MAX>,
}

/// Runs the plan; the last operation does not return.
pub fn run(plan: &'static [u8], inherited: sys::Inherited) -> ! {
    sys::reset_signals();
    let mut reader = Reader::new(plan);
    let Ok(header) = Header::decode(&mut reader) else { sys::exit(NOT_STARTED) };
    let mut init = Init {
        channel: Channel::Creator(inherited.fd(header.channel)),
        header,
        inherited,
        root: None,
        folder: path::Folder::default(),
        mount: mount::State::default(),
        taken: Vec::new(),
        network: None,
        cwd_refused: false,
        home: Vec::new(),
        executable: Vec::new(),
    };
    if let Err(report) = init.enter() {
        let _ = init.report(report, None);
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
        unmount::take_back(&mut init);
        let _ = init.report(report, None);
        break;
    }
    sys::exit(NOT_STARTED)
}

/// The end of a process that init has cloned itself from: the runtime hears which one goes on.
extern "C" fn leave(pid: i32, farewell: &'static sys::Farewell) -> ! {
    let (channel, index) = farewell.prepared();
    farewell.said(channel::report(channel, Report::Forked { index, pid }, &[], None));
    sys::exit(0)
}

impl<'p> Init<'p> {
    /// Goes where the plan's operations belong. Only init itself ever stands in a container, never the runtime:
    /// what others see of it there is a sealed memfd and descriptors that they may have.
    fn enter(&self) -> Result<(), Report> {
        // As many as an entry has clones.
        static FAREWELLS: [sys::Farewell; 2] = [const { sys::Farewell::unused() }; 2];
        let mut farewells = FAREWELLS.iter();
        for (index, step) in (0..).zip(self.header.steps()) {
            let step = step.map_err(|_| Report::Malformed { operation: 0 })?;
            let failed = |errno: Errno| Report::NotEntered { index, errno: errno.raw_os_error() };
            match step {
                EntryStep::SetUndumpable => identity::set_undumpable().map_err(failed)?,
                EntryStep::Enter { descriptor, namespaces } => {
                    sys::setns(self.inherited.fd(descriptor), namespaces).map_err(failed)?;
                    self.inherited.close(descriptor);
                }
                EntryStep::Clone { namespaces, cgroup } => {
                    let farewell = farewells.next().ok_or(Report::Malformed { operation: 0 })?;
                    farewell.prepare(self.inherited.fd(self.header.channel), index);
                    sys::go_on_as_child(
                        namespaces,
                        cgroup.map(|number| self.inherited.fd(number)),
                        farewell,
                        leave,
                    )
                    .map_err(failed)?;
                    cgroup.into_iter().for_each(|number| self.inherited.close(number));
                }
            }
        }
        Ok(())
    }

    fn execute(&mut self, operation: Operation<'p>) -> Result<(), Failure> {
        if !matches!(operation, Operation::MakeNode { .. } | Operation::MakeSymlink { .. }) {
            self.folder = path::Folder::default();
        }
        match operation {
            Operation::DieWithRuntime { enabled } => identity::die_with_parent(enabled)?,
            Operation::Await { turn } => self.await_runtime(turn)?,
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
                mount::attach_root(self, tree, at, propagation)?
            }
            Operation::AttachScratchRoot { at } => mount::attach_scratch_root(self, at)?,
            Operation::MountOverlay { lower, user_xattr } => mount::mount_overlay(self, lower, user_xattr)?,
            Operation::Mount { .. } => mount::mount(self, operation)?,
            Operation::MountWithData { .. } => mount::mount_with_data(self, operation)?,
            Operation::BindMount { .. } => mount::bind(self, operation)?,
            Operation::SetMountAttributes { target, set, propagation, recursive } => {
                mount::set_attributes(self, target, set, propagation, recursive)?;
            }
            Operation::Remount { .. } => mount::remount(self, operation)?,
            Operation::TakeBackOnFailure {} => self.mount.attached = Some(Vec::new()),
            Operation::Unmount { folder, name, rehearse } => unmount::unmount(self, folder, name, rehearse)?,
            Operation::EnterRootCover {} => {
                let cover = path::open(self.root()?, c"..")?;
                rustix::process::fchdir(&cover)?;
                self.root = Some(cover);
            }
            Operation::CopySymlink { path, target } => device::copy_symlink(self.root()?, path, target)?,
            Operation::MakeNode { .. } => {
                let root = self.root.as_ref().ok_or(Errno::BADF)?;
                device::make_node(root, &mut self.folder, operation)?;
            }
            Operation::MakeSymlink { path, target, replace } => {
                let root = self.root.as_ref().ok_or(Errno::BADF)?;
                device::make_symlink(root, &mut self.folder, path, target, replace)?;
            }
            Operation::MakeDirectory { path, mode } => {
                path::make_directory(self.root()?, path, mode).at(Stage::Target)?;
            }
            Operation::SendNetlinkSocket {} => self.send_netlink_socket()?,
            Operation::SendFileSystem { kind, flags, parameters } => {
                let mount = mount::detached(self, kind, flags, parameters)?;
                self.report(Report::FileSystem, Some(&mount))?;
            }
            Operation::TakeTrees { trees } => self.take_trees(trees)?,
            Operation::JoinNetwork {} => self.join_network()?,
            Operation::PivotRoot {} => mount::pivot_root(self)?,
            Operation::Chroot { cover } => mount::chroot(self, cover)?,
            Operation::OpenConsole { rows, columns, uid, mount } => {
                let console = device::open_console(self, rows, columns, uid, mount)?;
                self.report(Report::Console, Some(&console))?;
            }
            Operation::SetHostname { name } => rustix::system::sethostname(name.to_bytes())?,
            Operation::SetDomainname { name } => rustix::system::setdomainname(name.to_bytes())?,
            Operation::WriteSysctl { path, value } => mount::write_sysctl(self, path, value)?,
            Operation::MakePathReadonly { path } => mount::make_path_readonly(self, path)?,
            Operation::MaskPath { path } => mount::mask_path(self, path)?,
            Operation::OwnStdio { uid, gid } => identity::own_stdio(self.inherited, uid, gid)?,
            Operation::SetUmask { mask } => {
                sys::umask(mask.bits());
            }
            Operation::SetRlimit { resource, soft, hard } => sys::set_rlimit(resource, soft, hard)?,
            Operation::SetNoNewPrivileges {} => rustix::thread::set_no_new_privs(true)?,
            Operation::InstallSeccomp { flags, program } => self.install_seccomp(flags, program)?,
            Operation::DropBounding { keep } => identity::drop_bounding(keep)?,
            Operation::SetGroups { groups, if_allowed } => match sys::set_groups(groups) {
                Err(Errno::PERM) if if_allowed => {}
                set => set?,
            },
            Operation::SetUser { uid, gid } => identity::set_user(uid, gid)?,
            Operation::SetCapabilities { effective, permitted, inheritable, ambient } => {
                identity::set_capabilities(effective, permitted, inheritable, ambient)?;
            }
            Operation::SetCwd { path } => program::set_cwd(self, path)?,
            Operation::RetryCwd { path } => program::retry_cwd(self, path)?,
            Operation::ReadHome { uid } => program::read_home(self, uid)?,
            Operation::FindExecutable { name, search } => program::find_executable(self, name, search)?,
            Operation::EndOnSignals { signals } => {
                (1..=64)
                    .filter(|number| signals >> (number - 1) & 1 != 0)
                    .try_for_each(sys::end_on_signal)?;
            }
            Operation::Ready {} => {
                // Whoever waits has nothing open that it no longer needs. What a failure takes back is needed until the end.
                if self.mount.attached.is_none() {
                    (self.root, self.mount) = (None, mount::State::default());
                }
                self.report(Report::Ready, None)?;
            }
            Operation::ReportHooks {} => self.report(Report::AtHooks, None)?,
            Operation::ReplaceStdio { input, output, error } => self.replace_stdio([input, output, error])?,
            Operation::EnterChroot { root } => {
                rustix::process::fchdir(self.descriptor(root)?)?;
                rustix::process::chroot(c".")?;
                self.root = Some(mount::open_root()?);
            }
            Operation::EnterRoot {} => self.root = Some(mount::open_root()?),
            Operation::AwaitStart { listener } => self.await_start(listener)?,
            Operation::TakeWord {} => self.take_word()?,
            Operation::KeepDescriptors { count, listener } => {
                self.close_descriptors(listener);
                sys::close_on_exec_from(count.saturating_add(3))?;
            }
            Operation::Exec { arguments, environment } => program::exec(self, arguments, environment)?,
            Operation::JoinNamespace { namespace, flag } => {
                sys::setns_alone(self.descriptor(namespace)?, flag)?
            }
            Operation::WriteTimeOffsets { offsets } => attribute::write_time_offsets(self, offsets)?,
            Operation::EnterTimeNamespace {} => attribute::enter_time_namespace(self)?,
            Operation::SetScheduler { policy, flags, nice, priority, runtime, deadline, period } => {
                sys::set_scheduler(policy, flags, nice, priority, [runtime, deadline, period])?;
            }
            Operation::SetIoPriority { class, level } => sys::set_io_priority(class as u32, level)?,
            Operation::SetPersonality { domain } => sys::set_personality(domain)?,
            Operation::SetMemoryPolicy { mode, nodes } => sys::set_memory_policy(mode, nodes)?,
            Operation::SetExecLabel { module, label } => attribute::set_exec_label(self, module, label)?,
        }
        Ok(())
    }

    /// The container's root; a plan that needs it before `AttachRoot` is refused.
    pub fn root(&self) -> Result<&OwnedFd, Errno> {
        self.root.as_ref().ok_or(Errno::BADF)
    }

    /// A descriptor that the runtime opened before the clone, or meanwhile.
    pub fn descriptor(&self, index: u32) -> Result<BorrowedFd<'p>, Errno> {
        if let Some([_, number]) = self.taken.iter().find(|[of, _]| *of == index) {
            return Ok(self.inherited.fd(*number));
        }
        let number = self.header.descriptors.get(index as usize).ok_or(Errno::BADF)?;
        Ok(self.inherited.fd(number))
    }

    /// A detached mount tree, opened now if the runtime has not.
    pub fn tree(&self, tree: Tree<'_>) -> Result<TreeFd<'p>, Errno> {
        use rustix::mount::{OpenTreeFlags, open_tree};
        match tree {
            Tree::Descriptor(index) => self.descriptor(index).map(TreeFd::Borrowed),
            Tree::Path { path, recursive, nofollow } => {
                let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
                flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
                flags.set(OpenTreeFlags::AT_SYMLINK_NOFOLLOW, nofollow);
                open_tree(CWD, path, flags).map(TreeFd::Owned)
            }
            Tree::Inside { path, recursive, nofollow } => {
                let mut flags = OFlags::PATH;
                flags.set(OFlags::NOFOLLOW, nofollow);
                let place = path::open_with(self.root()?, path, flags, ResolveFlags::empty())?;
                mount::clone_tree(&place, recursive).map(TreeFd::Owned)
            }
        }
    }

    /// Closes what the runtime opened for operations that lie behind: a program's limits count it, and trees of the
    /// host are not for a process that waits in a container.
    fn close_descriptors(&mut self, listener: u32) {
        for (index, number) in (0..).zip(self.header.descriptors.iter()) {
            if index != listener && number != NEVER_OPEN {
                self.inherited.close(number);
            }
        }
        self.close_taken();
    }

    pub fn close_taken(&mut self) {
        for [_, number] in &self.taken {
            self.inherited.close(*number);
        }
        self.taken.clear();
    }

    fn replace_stdio(&self, descriptors: [u32; 3]) -> Result<(), Errno> {
        for (number, descriptor) in (0..).zip(descriptors) {
            self.inherited.replace(number, self.descriptor(descriptor)?)?;
        }
        Ok(())
    }
}

/// A tree that init opened, or one that it was given.
pub enum TreeFd<'p> {
    Owned(OwnedFd),
    Borrowed(BorrowedFd<'p>),
}

impl rustix::fd::AsFd for TreeFd<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            TreeFd::Owned(fd) => fd.as_fd(),
            TreeFd::Borrowed(fd) => *fd,
        }
    }
}
