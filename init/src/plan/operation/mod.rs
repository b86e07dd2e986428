//! The operations of a plan, in the kernel's terms. `execute.rs` runs them, the runtime's `plan/` writes
//! them.
//!
//! Each is a struct in the file of its group; the table here gives it its number.

mod attribute;
mod file;
mod identity;
mod mount;
mod namespace;
mod program;
mod turn;

use crate::wire::{Malformed, Reader, Sink, Value, Wire};

pub use attribute::{
    SetExecLabel, SetIoPriority, SetMemoryPolicy, SetPersonality, SetRlimit, SetScheduler, SetUmask,
    UseEveryProcessor,
};
pub use file::{
    CopySymlink, MakeDirectory, MakeNode, MakeSymlink, OpenConsole, OwnStdio, ReplaceStdio, WriteSysctl,
};
pub use identity::{
    DropBounding, InstallSeccomp, NewKeyring, NewSession, SetCapabilities, SetDumpable, SetGroups,
    SetNoNewPrivileges, SetUndumpable, SetUser,
};
pub use mount::{
    AttachRoot, AttachScratchRoot, BindMount, Chroot, EnterChroot, EnterRoot, EnterRootCover,
    MakePathReadonly, MaskPath, Mount, MountOverlay, MountWithData, PivotRoot, Remount, SetMountAttributes,
    SetPropagation, Unmount, UnmountOnFailure,
};
pub use namespace::{
    EnterTimeNamespace, JoinNamespace, SetDomainname, SetHostname, Unshare, WriteTimeOffsets,
};
pub use program::{
    EndOnSignals, Exec, FindExecutable, KeepDescriptors, ReadHome, RetryCwd, SetCwd, StandBeforeProgram,
};
pub use turn::{
    Await, AwaitStart, DieWithRuntime, JoinNetwork, Ready, ReportHooks, SendFileSystem, SendNetlinkSocket,
    TakeTrees, TakeWord,
};

/// The fields of an operation, which a plan encodes one after the other behind its number.
trait Fields<'a>: Sized {
    fn encode(&self, out: &mut impl Sink);
    fn read(input: &mut Reader<'a>) -> Self;
    fn visit(&self, visit: &mut dyn FnMut(&'static str, Value<'a>));
}

/// Defines operations: a struct for each, and how its fields are encoded, decoded and shown by `explain`.
macro_rules! operation {
    (@struct $(#[$doc:meta])* $name:ident {}) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name;
    };
    (@struct $(#[$doc:meta])* $name:ident $(<$life:lifetime>)? {
        $($(#[$field_doc:meta])* $field:ident: $type:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name $(<$life>)? {
            $($(#[$field_doc])* pub $field: $type,)*
        }
    };
    ($($(#[$doc:meta])* $name:ident $(<$life:lifetime>)? {
        $($(#[$field_doc:meta])* $field:ident: $type:ty,)*
    })*) => {$(
        operation! { @struct $(#[$doc])* $name $(<$life>)? { $($(#[$field_doc])* $field: $type,)* } }

        impl<'a> Fields<'a> for $name $(<$life>)? {
            #[allow(unused_variables)]
            fn encode(&self, out: &mut impl Sink) {
                $(Wire::encode(&self.$field, out);)*
            }
            #[allow(unused_variables)]
            fn read(input: &mut Reader<'a>) -> Self {
                $name { $($field: Wire::read(input)),* }
            }
            #[allow(unused_variables)]
            fn visit(&self, visit: &mut dyn FnMut(&'static str, Value<'a>)) {
                $(visit(stringify!($field), Wire::value(&self.$field));)*
            }
        }
    )*};
}
use operation;

/// Defines [`Operation`], with the number by which a plan encodes each variant.
macro_rules! operations {
    ($($number:literal $name:ident $(<$life:lifetime>)?,)*) => {
        /// One step of a plan, named for what the kernel does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs)] // The structs have them.
        pub enum Operation<'a> {
            $($name($name $(<$life>)?),)*
        }

        $(impl<'a> From<$name $(<$life>)?> for Operation<'a> {
            fn from(operation: $name $(<$life>)?) -> Self {
                Operation::$name(operation)
            }
        })*

        impl<'a> Operation<'a> {
            /// The names of all operations.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// Appends the operation to `out`.
            pub fn encode(&self, out: &mut impl Sink) {
                match self {
                    $(Operation::$name(operation) => {
                        <u8 as Wire>::encode(&$number, out);
                        operation.encode(out);
                    })*
                }
            }

            /// Reads the next operation.
            pub fn decode(input: &mut Reader<'a>) -> Result<Self, Malformed> {
                let operation = match u8::read(input) {
                    $($number => Operation::$name($name::read(input)),)*
                    _ => return Err(Malformed),
                };
                input.whole(operation)
            }

            /// The operation's name, as in this file.
            pub fn name(&self) -> &'static str {
                match self { $(Operation::$name(_) => stringify!($name),)* }
            }

            /// Shows each field with its name, in the order of its struct.
            pub fn visit_fields(&self, visit: &mut dyn FnMut(&'static str, Value<'a>)) {
                match self { $(Operation::$name(operation) => operation.visit(visit),)* }
            }
        }
    };
}

// A number is never used again for another operation. Next: 93.
operations! {
    1 DieWithRuntime,
    2 Await,
    3 SetUndumpable,
    4 NewSession,
    5 NewKeyring<'a>,
    6 Unshare,
    7 SetPropagation,
    8 AttachRoot<'a>,
    9 Mount<'a>,
    10 MountWithData<'a>,
    11 BindMount<'a>,
    12 SetMountAttributes<'a>,
    13 MakeNode<'a>,
    14 MakeSymlink<'a>,
    15 MakeDirectory<'a>,
    16 SendNetlinkSocket,
    17 PivotRoot,
    18 Chroot,
    19 OpenConsole,
    20 SetHostname<'a>,
    21 SetDomainname<'a>,
    22 WriteSysctl<'a>,
    23 MakePathReadonly<'a>,
    24 MaskPath<'a>,
    25 OwnStdio,
    26 SetUmask,
    27 SetRlimit,
    28 SetNoNewPrivileges,
    29 InstallSeccomp<'a>,
    30 DropBounding,
    31 SetGroups<'a>,
    32 SetUser,
    33 SetCapabilities,
    34 SetCwd<'a>,
    35 RetryCwd<'a>,
    36 ReadHome,
    37 FindExecutable<'a>,
    38 Ready,
    39 AwaitStart,
    40 KeepDescriptors,
    41 Exec<'a>,
    42 AttachScratchRoot<'a>,
    43 MountOverlay<'a>,
    44 ReportHooks,
    45 ReplaceStdio,
    46 EnterRoot,
    47 EnterChroot,
    60 JoinNamespace,
    61 WriteTimeOffsets<'a>,
    62 EnterTimeNamespace,
    63 SetScheduler,
    64 SetIoPriority,
    65 SetPersonality,
    66 SetMemoryPolicy<'a>,
    67 SetExecLabel<'a>,
    68 JoinNetwork,
    80 Remount<'a>,
    81 CopySymlink<'a>,
    82 TakeWord,
    83 EnterRootCover,
    84 UnmountOnFailure,
    85 Unmount<'a>,
    86 TakeTrees<'a>,
    87 UseEveryProcessor,
    88 SendFileSystem<'a>,
    90 EndOnSignals,
    91 SetDumpable,
    92 StandBeforeProgram,
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
