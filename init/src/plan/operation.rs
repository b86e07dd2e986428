//! The operations of a plan, in the kernel's terms. `execute.rs` runs them, the runtime's `plan/` writes them.

use core::ffi::CStr;

use rustix::fs::Mode;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use super::{IoClass, NodeKind, SecurityModule, TargetRule, Tree, Turn};
use crate::wire::{Capabilities, Malformed, Numbers, Reader, Sink, Strings, Value, Wire};

/// Defines [`Operation`] with its encoding, its decoding and its view for `explain`.
macro_rules! operations {
    ($($(#[$doc:meta])* $number:literal $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty),* $(,)? })*) => {
        /// One step of a plan, named for what the kernel does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum Operation<'a> {
            $($(#[$doc])* $name { $($(#[$fdoc])* $field: $type),* },)*
        }

        impl<'a> Operation<'a> {
            /// The names of all operations.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// Appends the operation to `out`.
            pub fn encode(&self, out: &mut impl Sink) {
                match *self {
                    $(Operation::$name { $($field),* } => {
                        <u8 as Wire>::encode(&$number, out);
                        $($field.encode(out);)*
                    })*
                }
            }

            /// Reads the next operation.
            pub fn decode(input: &mut Reader<'a>) -> Result<Self, Malformed> {
                let operation = match u8::read(input) {
                    $($number => Operation::$name { $($field: Wire::read(input)),* },)*
                    _ => return Err(Malformed),
                };
                input.whole(operation)
            }

            /// The operation's name, as in this file.
            pub fn name(&self) -> &'static str {
                match self { $(Operation::$name { .. } => stringify!($name),)* }
            }

            /// Shows each field with its name, in the order of this file.
            pub fn visit_fields(&self, visit: &mut dyn FnMut(&'static str, Value<'a>)) {
                match *self {
                    $(Operation::$name { $($field),* } => { $(visit(stringify!($field), $field.value());)* let _ = visit; })*
                }
            }
        }
    };
}

operations! {
    /// prctl(PR_SET_PDEATHSIG): while `enabled`, init dies with the runtime that made it.
    1 DieWithRuntime { enabled: bool }
    /// Waits until the runtime has done its part.
    2 Await { turn: Turn }
    /// prctl(PR_SET_DUMPABLE, 0): nothing may look into init before it has become the container's process.
    3 SetUndumpable {}
    /// prctl(PR_SET_DUMPABLE, 1): who has the same rights may join its namespaces.
    91 SetDumpable {}
    /// setsid(2).
    4 NewSession {}
    /// sched_setaffinity(2): every processor of the cgroup. What the caller is held to means the caller.
    87 UseEveryProcessor {}
    /// keyctl(KEYCTL_JOIN_SESSION_KEYRING).
    5 NewKeyring { name: &'a CStr }
    /// unshare(2), with the kernel's CLONE_NEW* bits.
    6 Unshare { flags: u32 }
    /// mount(2) with propagation flags on `/`, all mounts below included.
    7 SetPropagation { propagation: MountPropagationFlags }
    /// Attaches the container's root to the namespace and makes it the root that later targets resolve in.
    8 AttachRoot { tree: Tree<'a>, at: &'a CStr, propagation: MountPropagationFlags }
    /// Makes an empty tmpfs the root, and another one for what `MountOverlay` changes; both lie below `at` until the
    /// old root goes.
    42 AttachScratchRoot { at: &'a CStr }
    /// overlayfs over a folder of the namespace that init starts in, at the same path inside the root; what it cannot lie
    /// over is bound there, read-only.
    43 MountOverlay { lower: &'a CStr, user_xattr: bool }
    /// fsopen(2), fsconfig(2), fsmount(2), move_mount(2) of a new file system; `parameters` are key, value, key, value.
    /// Where the kernel refuses a new instance (EPERM, EBUSY), `otherwise` is bound instead, if there is one. From
    /// what it covers a tmpfs may take the root's mode (`take_mode`) and everything inside (`copy_up`).
    9 Mount {
        kind: &'a CStr,
        source: &'a CStr,
        target: &'a CStr,
        rule: TargetRule,
        flags: Strings<'a>,
        parameters: Strings<'a>,
        attributes: MountAttrFlags,
        propagation: MountPropagationFlags,
        take_mode: bool,
        copy_up: bool,
        otherwise: Option<Tree<'a>>,
    }
    /// mount(2) of a new file system with its options as one string: for those too long for fsconfig(2).
    10 MountWithData { kind: &'a CStr, source: &'a CStr, target: &'a CStr, data: &'a CStr, attributes: MountAttrFlags, propagation: MountPropagationFlags }
    /// Has the runtime clone the next trees, which become the descriptors with these indices: mountinfo lists mounts in
    /// the order in which they came to be, and those come after others that init has made.
    86 TakeTrees { trees: Numbers<'a> }
    /// open_tree(2), mount_setattr(2), move_mount(2) of an existing tree. `clear` must go from what the source's mount is;
    /// `drop` goes along where the kernel lets it: in a user namespace some of it is locked.
    11 BindMount {
        tree: Tree<'a>,
        target: &'a CStr,
        rule: TargetRule,
        set: MountAttrFlags,
        clear: MountAttrFlags,
        drop: MountAttrFlags,
        recursive_set: MountAttrFlags,
        recursive_clear: MountAttrFlags,
        propagation: MountPropagationFlags,
        recursive_propagation: bool,
    }
    /// mount_setattr(2) on what is mounted at `target`.
    12 SetMountAttributes { target: &'a CStr, set: MountAttrFlags, propagation: MountPropagationFlags, recursive: bool }
    /// mount_setattr(2) on the mount at `target`; before that, with `reconfigure`, fspick(2) and fsconfig(2) of its
    /// file system.
    80 Remount {
        target: &'a CStr,
        set: MountAttrFlags,
        clear: MountAttrFlags,
        reconfigure: bool,
        flags: Strings<'a>,
        parameters: Strings<'a>,
        propagation: MountPropagationFlags,
    }
    /// symlink(2); what exists already must be a symbolic link with the same text.
    81 CopySymlink { path: &'a CStr, target: &'a CStr }
    /// From here on a failure unmounts again what the plan has attached by then.
    84 TakeBackOnFailure {}
    /// umount2(2) of what is mounted at `name` in `folder`, which no symbolic link leads to. With `rehearse` it is only
    /// made sure that something is mounted there.
    85 Unmount { folder: &'a CStr, name: &'a CStr, rehearse: bool }
    /// mknod(2), chown(2); an existing node must be the same.
    13 MakeNode { path: &'a CStr, kind: NodeKind, major: u32, minor: u32, mode: Mode, uid: u32, gid: u32 }
    /// symlink(2); what exists already stays.
    14 MakeSymlink { path: &'a CStr, target: &'a CStr, replace: bool }
    /// mkdir(2) of a folder and its parents.
    15 MakeDirectory { path: &'a CStr, mode: Mode }
    /// Opens a netlink socket in the network namespace and hands it to the runtime, which sets the loopback up and moves
    /// interfaces there.
    16 SendNetlinkSocket {}
    /// A new file system, for another process: made where this one stands.
    88 SendFileSystem { kind: &'a CStr, flags: Strings<'a>, parameters: Strings<'a> }
    /// setns(2) into the network namespace that the runtime has made meanwhile, with its loopback up; waits for it.
    68 JoinNetwork {}
    /// pivot_root(2), umount2(2) of what was there before.
    17 PivotRoot {}
    /// chroot(2): where pivot_root(2) is impossible (a root in ramfs), or the mount namespace is not the container's.
    /// With `cover`, which wants a namespace of the container's own, move_mount(2) of the root over the old one first.
    18 Chroot { cover: bool }
    /// Opens a pty of the container, hands its master to the runtime, makes the slave stdio and /dev/console.
    19 OpenConsole { rows: u16, columns: u16, uid: u32, mount: bool }
    /// sethostname(2).
    20 SetHostname { name: &'a CStr }
    /// setdomainname(2).
    21 SetDomainname { name: &'a CStr }
    /// Writes a file below /proc/sys, through a procfs of init's own.
    22 WriteSysctl { path: &'a CStr, value: &'a CStr }
    /// Binds a path on itself, read-only; a missing one is skipped.
    23 MakePathReadonly { path: &'a CStr }
    /// Covers a file with the null device, a folder with an empty read-only tmpfs; a missing one is skipped.
    24 MaskPath { path: &'a CStr }
    /// fchown(2) of stdio to user and group, except where it is the null device; a refusal is no error.
    25 OwnStdio { uid: u32, gid: u32 }
    /// umask(2).
    26 SetUmask { mask: Mode }
    /// prlimit(2); `u64::MAX` is unlimited.
    27 SetRlimit { resource: u32, soft: u64, hard: u64 }
    /// prctl(PR_SET_NO_NEW_PRIVS).
    28 SetNoNewPrivileges {}
    /// seccomp(SECCOMP_SET_MODE_FILTER) with `struct sock_filter`s.
    29 InstallSeccomp { flags: u32, program: &'a [u8] }
    /// prctl(PR_CAPBSET_DROP) of all that is not kept.
    30 DropBounding { keep: Capabilities }
    /// setgroups(2); `if_allowed`: unless the user namespace denies it to everybody.
    31 SetGroups { groups: Numbers<'a>, if_allowed: bool }
    /// setresgid(2), setresuid(2); permitted capabilities survive.
    32 SetUser { uid: u32, gid: u32 }
    /// capset(2), prctl(PR_CAP_AMBIENT); read back and compared.
    33 SetCapabilities { effective: Capabilities, permitted: Capabilities, inheritable: Capabilities, ambient: Capabilities }
    /// chdir(2). Where the right to enter comes only with the user, `RetryCwd` follows.
    34 SetCwd { path: &'a CStr }
    /// chdir(2) again if `SetCwd` was refused; then makes sure that the folder lies inside the root.
    35 RetryCwd { path: &'a CStr }
    /// Looks the user's home up in the container's /etc/passwd, for `Exec`.
    36 ReadHome { uid: u32 }
    /// Looks the executable up as execvp(3) does, `search` being the value of PATH.
    37 FindExecutable { name: &'a CStr, search: &'a CStr }
    /// rt_sigaction(2): these signals, each the bit of its number less 1, end init, with the status 128 + number, until it
    /// executes the program. The kernel keeps their default from the first process of a pid namespace.
    90 EndOnSignals { signals: u64 }
    /// Tells the runtime that everything is in place.
    38 Ready {}
    /// Waits on a listening socket for `start`; what follows is reported to it.
    39 AwaitStart { listener: u32 }
    /// recv(2) of the word that init has waited for last, at which it only looked so far. Who ends with a word unread
    /// resets the connection: so whoever gave it tells a program that ran from an init that ended before.
    82 TakeWord {}
    /// openat2(2) of `..` in the root, which leads to what was mounted over it: that is the root from here on.
    83 EnterRootCover {}
    /// Descriptors 3 to 2 + `count` survive the exec, all others close. Those that the runtime opened close now, but for
    /// the one with the index `listener`.
    40 KeepDescriptors { count: u32, listener: u32 }
    /// Tells the runtime that its hooks may run now; `Await` follows.
    44 ReportHooks {}
    /// dup2(2) of descriptors that the runtime opened onto stdin, stdout and stderr.
    45 ReplaceStdio { input: u32, output: u32, error: u32 }
    /// Takes the root of the mount namespace that init joined for the container's root.
    46 EnterRoot {}
    /// chroot(2) into the root of a container that has only that, which the runtime opened.
    47 EnterChroot { root: u32 }
    /// execve(2).
    41 Exec { arguments: Strings<'a>, environment: Strings<'a> }
    /// setns(2) into the namespace that the runtime opened; `flag` is its CLONE_NEW* bit. Only for namespaces that a
    /// process cannot enter while it shares its memory with the runtime.
    60 JoinNamespace { namespace: u32, flag: u32 }
    /// Writes /proc/self/timens_offsets: lines of clock, seconds, nanoseconds.
    61 WriteTimeOffsets { offsets: &'a CStr }
    /// setns(2) into the time namespace that `Unshare` made for children.
    62 EnterTimeNamespace {}
    /// sched_setattr(2); times in nanoseconds.
    63 SetScheduler { policy: u32, flags: u64, nice: i32, priority: u32, runtime: u64, deadline: u64, period: u64 }
    /// ioprio_set(2).
    64 SetIoPriority { class: IoClass, level: u32 }
    /// personality(2).
    65 SetPersonality { domain: u32 }
    /// set_mempolicy(2); `nodes` is a bit set, of whole words of the kernel's.
    66 SetMemoryPolicy { mode: u32, nodes: &'a [u8] }
    /// Writes the security module's exec attribute of init, which execve(2) heeds; read back and compared.
    67 SetExecLabel { module: SecurityModule, label: &'a CStr }
}

/// Iterates over the operations that follow a header.
pub struct Operations<'a>(pub Reader<'a>);

impl<'a> Iterator for Operations<'a> {
    type Item = Result<Operation<'a>, Malformed>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let next = Operation::decode(&mut self.0);
        if next.is_err() {
            self.0 = Reader::new(&[]);
        }
        Some(next)
    }
}
