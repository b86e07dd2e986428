//! Fixed words, which a plan encodes as one byte each.

use crate::wire::{Reader, Sink, Value, Wire};

/// Defines an enum of fixed words that a plan encodes as one byte.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $number:literal $word:ident $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $word = $number,)* }

        impl<'a> Wire<'a> for $name {
            fn encode(&self, out: &mut impl Sink) {
                (*self as u8).encode(out);
            }
            fn read(input: &mut Reader<'a>) -> Self {
                const ALL: &[$name] = &[$($name::$word),*];
                let number = u8::read(input);
                match ALL.iter().find(|word| **word as u8 == number) {
                    Some(word) => *word,
                    None => input.fail(ALL[0]),
                }
            }
            fn value(&self) -> Value<'a> {
                Value::Word(match self { $($name::$word => $text,)* })
            }
        }
    };
}

words! {
    /// The kind of a device node.
    NodeKind {
        /// A character device.
        1 Character "char",
        /// A block device.
        2 Block "block",
        /// A named pipe.
        3 Fifo "fifo",
    }
}

words! {
    /// What init waits for.
    Turn {
        /// The runtime has written the uid and gid maps.
        1 Mappings "id mappings",
        /// The runtime has run its hooks.
        2 RuntimeHooks "runtime hooks",
        /// The runtime has recorded the container.
        3 Record "record",
        /// The runtime has taken the listener of the seccomp filter.
        40 Listener "seccomp listener",
        /// The runtime has made the network namespace, which comes with the message.
        5 Network "network",
        /// The runtime has init's pidfd, and so can end init whatever fails from here on.
        6 Pidfd "pidfd",
    }
}

words! {
    /// The classes of ioprio_set(2), with the kernel's numbers.
    IoClass {
        /// Before all others.
        1 Realtime "realtime",
        /// The default class.
        2 BestEffort "best-effort",
        /// When no other process wants the disk.
        3 Idle "idle",
    }
}

words! {
    /// The security module that a label is for.
    SecurityModule {
        /// AppArmor: the label is a profile.
        1 AppArmor "AppArmor",
        /// SELinux: the label is a context.
        2 SeLinux "SELinux",
    }
}

words! {
    /// What a mount's target must be like.
    TargetRule {
        /// Anything but procfs.
        1 Ordinary "ordinary",
        /// A folder whose path has no symbolic links: /proc and /sys.
        2 NoSymlinks "no symlinks",
        /// A file of procfs, of the kind that lxcfs replaces.
        3 InsideProc "inside proc",
        /// A symbolic link at the very end is the target itself.
        4 NoFollow "no follow",
        /// As `NoSymlinks`, and only a procfs may be mounted there.
        5 Procfs "procfs",
    }
}
