//! Which flags of its source's mount a bind mount keeps, and which are cleared if an opposite (`rw`, `exec`
//! …) is named.

use std::fs;
use std::path::PathBuf;

use rustix::mount::{MountFlags, mount, mount_remount};

use crate::harness::{Container, Runtime, each_runtime, each_runtime_but};

const ALL: MountFlags = MountFlags::RDONLY
    .union(MountFlags::NOSUID)
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC)
    .union(MountFlags::NOATIME)
    .union(MountFlags::NODIRATIME);

/// A tmpfs on the host with these flags, and another one below it.
fn source(container: &Container, flags: MountFlags) -> PathBuf {
    let folder = container.folder.join("source");
    fs::create_dir(&folder).expect("folder");
    for place in [folder.clone(), folder.join("below")] {
        mount("tmpfs", &place, "tmpfs", MountFlags::empty(), None).expect("tmpfs");
        fs::create_dir_all(folder.join("below")).expect("folder");
    }
    for place in [folder.clone(), folder.join("below")] {
        mount_remount(&place, MountFlags::BIND | flags, "").expect("remount");
    }
    folder
}

/// The flags at /mnt in mountinfo, and those of the mount below it if there is one.
#[track_caller]
fn flags_of_bind(runtime: &Runtime, flags: MountFlags, options: &[&str], user_namespace: bool) -> String {
    let mut container = Container::sh(runtime, "grep ' /mnt' /proc/self/mountinfo | cut -d' ' -f6");
    let source = source(&container, flags);
    container.mount("bind", source, "/mnt", options);
    if user_namespace {
        container.in_user_namespace();
    }
    container.run_ok().trim_end().replace('\n', " ")
}

/// The peers make the mount anew with only what is named; only access times are kept.
#[test]
fn an_opposite_that_is_named_drops_all_of_the_sources_flags() {
    let below = "ro,nosuid,nodev,noexec,noatime,nodiratime";
    let tree = format!("rw,noatime,nodiratime {below}");
    each_runtime(|runtime| {
        for (options, expected) in [
            (&["bind", "rw"][..], "rw,noatime,nodiratime"),
            (&["rbind", "rw"], &tree),
            (&["rbind", "rprivate", "rw"], &tree),
            (&["bind", "suid"], "rw,noatime,nodiratime"),
            (&["bind", "dev"], "rw,noatime,nodiratime"),
            (&["bind", "exec"], "rw,noatime,nodiratime"),
            (&["rbind", "exec"], &tree),
            (&["bind", "symfollow"], "rw,noatime,nodiratime"),
            (&["bind", "suid", "dev", "exec"], "rw,noatime,nodiratime"),
            (&["bind", "rw", "nosuid"], "rw,nosuid,noatime,nodiratime"),
            (&["bind", "nodev", "exec"], "rw,nodev,noatime,nodiratime"),
        ] {
            assert_eq!(flags_of_bind(runtime, ALL, options, false), expected, "{options:?}");
        }
    });
}

#[test]
fn the_last_word_on_a_flag_counts() {
    let why = "has the first word for `ro`, and does not undo what was set";
    each_runtime_but(&[("crun", why)], |runtime| {
        for (options, expected) in [
            (["bind", "ro", "rw"], "rw,noatime,nodiratime"),
            (["bind", "noexec", "exec"], "rw,noatime,nodiratime"),
            (["bind", "ro", "exec"], "ro,noatime,nodiratime"),
        ] {
            assert_eq!(flags_of_bind(runtime, ALL, &options, false), expected, "{options:?}");
        }
    });
}

#[test]
fn access_times_are_the_usual_ones_where_their_opposite_is_named() {
    let why = "mount(2) has no word for it: nothing changes";
    each_runtime_but(&[("crun", why), ("runc", why)], |runtime| {
        for (options, expected) in [
            (&["bind", "atime"][..], "rw,nodiratime,relatime"),
            (&["bind", "diratime"], "rw,noatime"),
            (&["bind", "atime", "diratime"], "rw,relatime"),
            (&["bind", "nostrictatime", "nosuid"], "rw,nosuid,nodiratime,relatime"),
        ] {
            assert_eq!(flags_of_bind(runtime, ALL, options, false), expected, "{options:?}");
        }
    });
}

/// Adding flags does not clear others: a volume on a file system mounted noexec stays so.
#[test]
fn flags_that_are_added_leave_the_sources() {
    let all = "ro,nosuid,nodev,noexec,noatime,nodiratime";
    each_runtime_but(
        &[("crun", "drops the others, but for `ro`"), ("runc", "drops the others")],
        |runtime| {
            for options in
                [&["bind"][..], &["bind", "ro"], &["bind", "nosuid"], &["bind", "rprivate", "noexec"]]
            {
                assert_eq!(flags_of_bind(runtime, ALL, options, false), all, "{options:?}");
            }
            let some = MountFlags::NOEXEC;
            assert_eq!(
                flags_of_bind(runtime, some, &["bind", "ro", "nosuid"], false),
                "ro,nosuid,noexec,relatime"
            );
        },
    );
}

/// The runtime opens the tree before there is a user namespace, in which the flags would be locked.
#[test]
fn opposites_count_in_a_user_namespace_of_roots() {
    let why = "remounts in the user namespace, where the flags are locked: one that is named is an error, others stay";
    each_runtime_but(&[("runc", why)], |runtime| {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let below = "rw,nosuid,nodev,noexec,relatime";
        for options in [["rbind", "exec"], ["rbind", "rw"]] {
            let expected = format!("rw,relatime {below}");
            assert_eq!(flags_of_bind(runtime, flags, &options, true), expected, "{options:?}");
        }
    });
}
