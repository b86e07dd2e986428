//! The root, and what is mounted in it.

use core::ffi::CStr;

use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use super::{Fields, operation};
use crate::plan::{TargetRule, Tree};
use crate::wire::{Reader, Sink, Strings, Value, Wire};

operation! {
    /// mount(2) with propagation flags on `/`, including all mounts below.
    SetPropagation {
        /// The flags.
        propagation: MountPropagationFlags,
    }
    /// Attaches the container's root to the namespace and makes it the root that later targets resolve in.
    AttachRoot<'a> {
        /// The root's mounts.
        tree: Tree<'a>,
        /// Where, in the namespace where init starts.
        at: &'a CStr,
        /// The propagation that it gets before that.
        propagation: MountPropagationFlags,
    }
    /// Makes an empty tmpfs the root, and another one for the changes on top of each `MountOverlay`.
    AttachScratchRoot<'a> {
        /// Both are mounted here until the old root is unmounted.
        at: &'a CStr,
    }
    /// overlayfs over a folder of the namespace where init starts, at the same path inside the root; a folder
    /// that it cannot be put over is bound there, read-only.
    MountOverlay<'a> {
        /// The folder.
        lower: &'a CStr,
        /// Whether overlayfs is to use `user.` extended attributes, as in a user namespace.
        user_xattr: bool,
    }
    /// fsopen(2), fsconfig(2), fsmount(2), move_mount(2) of a new file system.
    Mount<'a> {
        /// Its type.
        kind: &'a CStr,
        /// What it is made from, which may be empty.
        source: &'a CStr,
        /// Where, inside the root.
        target: &'a CStr,
        /// What the target must be like.
        rule: TargetRule,
        /// Options without a value.
        flags: Strings<'a>,
        /// Options with one: key, value, key, value.
        parameters: Strings<'a>,
        /// The mount's attributes.
        attributes: MountAttrFlags,
        /// The propagation that it gets before it is attached.
        propagation: MountPropagationFlags,
        /// Whether a tmpfs gets the mode of the folder that it covers.
        take_mode: bool,
        /// Whether a tmpfs begins with a copy of everything that it covers.
        copy_up: bool,
        /// What is bound instead if the kernel refuses a new instance (EPERM, EBUSY).
        otherwise: Option<Tree<'a>>,
    }
    /// mount(2) of a new file system with its options as one string: for options that are too long for
    /// fsconfig(2).
    MountWithData<'a> {
        /// Its type.
        kind: &'a CStr,
        /// What it is made from.
        source: &'a CStr,
        /// Where, inside the root.
        target: &'a CStr,
        /// The options.
        data: &'a CStr,
        /// The mount's attributes, set once it is attached.
        attributes: MountAttrFlags,
        /// The propagation that it gets then.
        propagation: MountPropagationFlags,
    }
    /// open_tree(2), mount_setattr(2), move_mount(2) of an existing tree.
    BindMount<'a> {
        /// The source.
        tree: Tree<'a>,
        /// Where, inside the root.
        target: &'a CStr,
        /// What the target must be like.
        rule: TargetRule,
        /// Attributes that the topmost mount gets.
        set: MountAttrFlags,
        /// Those of the source's mount that are removed.
        clear: MountAttrFlags,
        /// Those that are removed along with these if the kernel allows it: in a user namespace some are
        /// locked.
        drop: MountAttrFlags,
        /// Attributes that all mounts of the tree get.
        recursive_set: MountAttrFlags,
        /// Those that are removed from all of them.
        recursive_clear: MountAttrFlags,
        /// The propagation that the tree gets before it is attached.
        propagation: MountPropagationFlags,
        /// Whether the mounts below get it as well.
        recursive_propagation: bool,
    }
    /// mount_setattr(2) on what is mounted at `target`.
    SetMountAttributes<'a> {
        /// Where, inside the root.
        target: &'a CStr,
        /// The attributes that the mount gets.
        set: MountAttrFlags,
        /// The propagation that it gets.
        propagation: MountPropagationFlags,
        /// Whether the mounts below get the same.
        recursive: bool,
    }
    /// mount_setattr(2) on the mount at `target`; before that, with `reconfigure`, fspick(2) and fsconfig(2)
    /// of its file system.
    Remount<'a> {
        /// Where, inside the root.
        target: &'a CStr,
        /// The attributes that the mount gets.
        set: MountAttrFlags,
        /// Those that are removed from it.
        clear: MountAttrFlags,
        /// Whether the file system is changed, too.
        reconfigure: bool,
        /// Its options without a value.
        flags: Strings<'a>,
        /// Its options with one: key, value, key, value.
        parameters: Strings<'a>,
        /// The propagation that the mount gets.
        propagation: MountPropagationFlags,
    }
    /// From here on a failure unmounts what the plan has attached since.
    UnmountOnFailure {}
    /// umount2(2) of what is mounted at `name` in `folder`.
    Unmount<'a> {
        /// A path inside the root, without symbolic links.
        folder: &'a CStr,
        /// One component.
        name: &'a CStr,
        /// Whether to check only that something is mounted there.
        rehearse: bool,
    }
    /// Binds a path on itself, read-only; a missing one is skipped.
    MakePathReadonly<'a> {
        /// The path, inside the root.
        path: &'a CStr,
    }
    /// Covers a file with the null device, a folder with an empty read-only tmpfs; a missing one is skipped.
    MaskPath<'a> {
        /// The path, inside the root.
        path: &'a CStr,
    }
    /// pivot_root(2), umount2(2) of the old root.
    PivotRoot {}
    /// chroot(2): if pivot_root(2) is impossible (a root in ramfs), or the mount namespace is not the
    /// container's.
    Chroot {
        /// Whether move_mount(2) puts the root over the old one first, for which the container needs a mount
        /// namespace of its own.
        cover: bool,
    }
    /// Makes the root of the mount namespace that init has joined the container's root.
    EnterRoot {}
    /// chroot(2) into the root of a container that has no mount namespace of its own.
    EnterChroot {
        /// The index of the root, which the runtime opened.
        root: u32,
    }
    /// openat2(2) of `..` in the root, which leads to what was mounted over it: the root from here on.
    EnterRootCover {}
}
