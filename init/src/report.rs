//! What init tells the runtime: numbers, which the runtime puts into words.

use crate::wire::{Malformed, Reader, Sink, Wire};

/// How far an operation had got when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// The operation's own system call.
    Call = 1,
    /// Resolving or making the target inside the container's root.
    Target = 2,
    /// Opening the source.
    Source = 3,
    /// Setting the option with the index `detail`, counting flags first.
    Option = 4,
    /// Making the file system.
    Create = 5,
    /// Setting mount attributes or propagation.
    Attributes = 6,
    /// Attaching the mount.
    Attach = 7,
    /// Checking that the object is what it must be.
    Verify = 8,
    /// Copying what the mount covers.
    Copy = 9,
}

impl Stage {
    /// The stage with this number.
    pub fn of_number(number: u8) -> Option<Stage> {
        use Stage::{Attach, Attributes, Call, Copy, Create, Option, Source, Target, Verify};
        let all = [Call, Target, Source, Option, Create, Attributes, Attach, Verify, Copy];
        all.into_iter().find(|stage| *stage as u8 == number)
    }
}

/// One message on the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// Operation number `operation` failed; the kernel's own text may follow in the same message.
    Failed {
        /// Index into the plan.
        operation: u32,
        /// The errno.
        errno: i32,
        /// How far it had got.
        stage: Stage,
        /// With [`Stage::Option`], the index of the option.
        detail: u32,
    },
    /// The plan itself could not be decoded at this operation.
    Malformed {
        /// Index into the plan.
        operation: u32,
    },
    /// A netlink socket comes with this message.
    NetlinkSocket,
    /// A new file system comes with this message.
    FileSystem,
    /// A pty master comes with this message.
    Console,
    /// The plan has been run up to the start.
    Ready,
    /// Mounts and devices are in place, and the old root is still there: the moment for hooks.
    AtHooks,
    /// Init wants the next trees.
    AtTrees,
    /// The kernel refuses to attach the tree with this index in this namespace: init wants it again, without
    /// the mount namespaces that are pinned in it.
    TreeRefused {
        /// Index into the plan's descriptors.
        index: u32,
    },
    /// Init has cloned itself at this step of its entry, and continues as the process with this pid (in the
    /// runtime's pid namespace). Messages from that process may arrive before this one.
    Forked {
        /// The index into [`crate::plan::Header::steps`].
        index: u32,
        /// The pid.
        pid: i32,
    },
    /// A step of its entry failed.
    NotEntered {
        /// The index of the step.
        index: u32,
        /// The errno.
        errno: i32,
    },
    /// The filter that init installs next will have its listener at this descriptor number. The runtime
    /// fetches it from there, because the filter could hold up anything that init sends afterwards.
    SeccompListener {
        /// The number in init.
        descriptor: u32,
    },
}

/// The maximum length of a message, including the kernel's text.
pub const MESSAGE_MAX: usize = 256;

impl Report {
    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut impl Sink) {
        match *self {
            Report::Failed { operation, errno, stage, detail } => {
                1u8.encode(out);
                operation.encode(out);
                errno.encode(out);
                (stage as u8).encode(out);
                detail.encode(out);
            }
            Report::Malformed { operation } => {
                2u8.encode(out);
                operation.encode(out);
            }
            Report::NetlinkSocket => 3u8.encode(out),
            Report::FileSystem => 12u8.encode(out),
            Report::Console => 4u8.encode(out),
            Report::Ready => 5u8.encode(out),
            Report::AtHooks => 6u8.encode(out),
            Report::AtTrees => 9u8.encode(out),
            Report::TreeRefused { index } => {
                10u8.encode(out);
                index.encode(out);
            }
            Report::Forked { index, pid } => {
                7u8.encode(out);
                index.encode(out);
                pid.encode(out);
            }
            Report::NotEntered { index, errno } => {
                8u8.encode(out);
                index.encode(out);
                errno.encode(out);
            }
            Report::SeccompListener { descriptor } => {
                40u8.encode(out);
                descriptor.encode(out);
            }
        }
    }

    /// Reads a message; what is left in `input` is the kernel's text.
    pub fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match u8::decode(input)? {
            1 => Report::Failed {
                operation: u32::decode(input)?,
                errno: i32::decode(input)?,
                stage: Stage::of_number(u8::decode(input)?).ok_or(Malformed)?,
                detail: u32::decode(input)?,
            },
            2 => Report::Malformed { operation: u32::decode(input)? },
            3 => Report::NetlinkSocket,
            12 => Report::FileSystem,
            4 => Report::Console,
            5 => Report::Ready,
            6 => Report::AtHooks,
            9 => Report::AtTrees,
            10 => Report::TreeRefused { index: u32::decode(input)? },
            7 => Report::Forked { index: u32::decode(input)?, pid: i32::decode(input)? },
            8 => Report::NotEntered { index: u32::decode(input)?, errno: i32::decode(input)? },
            40 => Report::SeccompListener { descriptor: u32::decode(input)? },
            _ => return Err(Malformed),
        })
    }
}
