//! The meaning of each mount option.

use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use crate::error::{Error, Result};
use crate::oci::spec::Mount;
use crate::oci::spec::json::List;
use crate::plan::mount_idmap::IdmapOption;

/// The parsed options of a mount.
#[derive(Debug, PartialEq)]
pub(super) struct Options<'a> {
    pub bind: bool,
    pub recursive: bool,
    pub set: MountAttrFlags,
    /// Attributes whose opposite is named (`exec`), and access times if any are named.
    pub clear: MountAttrFlags,
    /// Whether the access times are named by an opposite (`atime`), which means the kernel's default.
    pub usual_access_times: bool,
    pub recursive_set: MountAttrFlags,
    pub recursive_clear: MountAttrFlags,
    pub propagation: MountPropagationFlags,
    pub recursive_propagation: bool,
    pub remount: bool,
    /// tmpcopyup: a tmpfs begins with what it covers.
    pub copy_up: bool,
    /// crun's: a source that is a symbolic link is copied instead of bound.
    pub copy_symlink: bool,
    /// crun's `src-nofollow` and `dest-nofollow`: a symbolic link at the end of the path is not followed.
    pub source_nofollow: bool,
    pub target_nofollow: bool,
    pub idmap: Option<IdmapOption<'a>>,
    /// Flags of the file system itself (`sync`).
    pub flags: Vec<&'a str>,
    /// All other options, which only the file system understands.
    pub data: Vec<&'a str>,
}

impl Options<'_> {
    /// The attributes of the source's mount that a bind mount drops besides `clear`. If any opposite is
    /// named, the bind mount keeps none of the source's attributes except access times: runc and crun do the
    /// same, and CRI's `rw` for a volume relies on it.
    pub fn drop(&self) -> MountAttrFlags {
        let all = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC
            | MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW;
        let opposites = self.clear - MountAttrFlags::MOUNT_ATTR__ATIME;
        if opposites.is_empty() && !self.usual_access_times {
            return MountAttrFlags::empty();
        }
        all - self.set - self.clear
    }
}

/// The mount attribute that an option names, and whether the option sets it.
fn attribute(option: &str) -> Option<(MountAttrFlags, bool)> {
    type Attribute = MountAttrFlags;
    Some(match option {
        "ro" => (Attribute::MOUNT_ATTR_RDONLY, true),
        "rw" => (Attribute::MOUNT_ATTR_RDONLY, false),
        "nosuid" => (Attribute::MOUNT_ATTR_NOSUID, true),
        "suid" => (Attribute::MOUNT_ATTR_NOSUID, false),
        "nodev" => (Attribute::MOUNT_ATTR_NODEV, true),
        "dev" => (Attribute::MOUNT_ATTR_NODEV, false),
        "noexec" => (Attribute::MOUNT_ATTR_NOEXEC, true),
        "exec" => (Attribute::MOUNT_ATTR_NOEXEC, false),
        "noatime" => (Attribute::MOUNT_ATTR_NOATIME, true),
        "atime" => (Attribute::MOUNT_ATTR_NOATIME, false),
        "strictatime" => (Attribute::MOUNT_ATTR_STRICTATIME, true),
        "nostrictatime" => (Attribute::MOUNT_ATTR_STRICTATIME, false),
        // Relative access times are the kernel's default, an attribute without a bit.
        "relatime" => (Attribute::MOUNT_ATTR_RELATIME, true),
        "norelatime" => (Attribute::MOUNT_ATTR_RELATIME, false),
        "nodiratime" => (Attribute::MOUNT_ATTR_NODIRATIME, true),
        "diratime" => (Attribute::MOUNT_ATTR_NODIRATIME, false),
        "nosymfollow" => (Attribute::MOUNT_ATTR_NOSYMFOLLOW, true),
        "symfollow" => (Attribute::MOUNT_ATTR_NOSYMFOLLOW, false),
        _ => return None,
    })
}

fn propagation(option: &str) -> Option<(MountPropagationFlags, bool)> {
    let (word, recursive) = match option {
        "rprivate" | "rshared" | "rslave" | "runbindable" => (&option[1..], true),
        word => (word, false),
    };
    Some((
        match word {
            "private" => MountPropagationFlags::PRIVATE,
            "shared" => MountPropagationFlags::SHARED,
            "slave" => MountPropagationFlags::DOWNSTREAM,
            "unbindable" => MountPropagationFlags::UNBINDABLE,
            _ => return None,
        },
        recursive,
    ))
}

/// Splits an option at its commas: runc and crun pass all options to mount(2) as one string, which the kernel
/// splits there. The kernel does not split at commas in quotes (labels), and overlayfs not at commas after a
/// backslash.
fn split_data(data: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    data.split(move |character| {
        let plain = !std::mem::take(&mut escaped);
        escaped = plain && character == '\\';
        quoted ^= plain && character == '"';
        plain && !quoted && character == ','
    })
}

pub(super) fn parse_options<'a>(field: &str, mount: &'a Mount<'_>) -> Result<Options<'a>> {
    let none = MountAttrFlags::empty();
    let mut options = Options {
        bind: mount.kind.as_deref() == Some("bind"),
        recursive: false,
        set: none,
        clear: none,
        usual_access_times: false,
        recursive_set: none,
        recursive_clear: none,
        propagation: MountPropagationFlags::empty(),
        recursive_propagation: false,
        remount: false,
        copy_up: false,
        copy_symlink: false,
        source_nofollow: false,
        target_nofollow: false,
        idmap: None,
        flags: Vec::new(),
        data: Vec::new(),
    };
    for option in &mount.options {
        if let Some((attribute, set)) = attribute(option) {
            // The access-time modes are one field: the last one named counts, and replaces that of a bind
            // source.
            if MountAttrFlags::MOUNT_ATTR__ATIME.contains(attribute) {
                options.set.remove(if set { MountAttrFlags::MOUNT_ATTR__ATIME } else { attribute });
                options.clear.insert(MountAttrFlags::MOUNT_ATTR__ATIME);
                options.usual_access_times = !set;
            } else {
                options.clear.set(attribute, !set);
            }
            options.set.set(attribute, set);
        } else if let Some((propagation, recursive)) = propagation(option) {
            options.propagation = propagation;
            options.recursive_propagation |= recursive;
        } else if let Some((attribute, set)) = option.strip_prefix('r').and_then(attribute) {
            options.recursive_set.set(attribute, set);
            options.recursive_clear.set(attribute, !set);
        } else if let Some(idmap) = IdmapOption::parse(option) {
            options.idmap = Some(idmap);
        } else {
            match &**option {
                "" | "defaults" | "async" | "nomand" | "silent" | "loud" | "noiversion" | "nolazytime" => {}
                "bind" => options.bind = true,
                "rbind" => (options.bind, options.recursive) = (true, true),
                "sync" | "dirsync" | "mand" | "lazytime" | "iversion" => options.flags.push(option),
                "remount" => options.remount = true,
                "tmpcopyup" => options.copy_up = true,
                "copy-symlink" => options.copy_symlink = true,
                "src-nofollow" => options.source_nofollow = true,
                "dest-nofollow" => options.target_nofollow = true,
                data => options.data.extend(split_data(data).filter(|data| !data.is_empty())),
            }
        }
    }
    if options.copy_up && (options.bind || options.remount || mount.kind.as_deref() != Some("tmpfs")) {
        return Err(Error::formatted(format_args!(
            "{field}.options: \"tmpcopyup\" is for a mount of type \"tmpfs\" only"
        )));
    }
    if !options.bind {
        // A new file system has no mounts below it, so recursive options are plain ones.
        options.set.remove(options.recursive_clear);
        options.set.insert(options.recursive_set);
        (options.recursive_set, options.recursive_clear) = (none, none);
    }
    Ok(options)
}

/// Whether an option is known here for some kind of mount; all others are left to the file system.
pub fn knows_option(option: &str) -> bool {
    ["bind", "tmpfs"].into_iter().any(|kind| {
        let options = List(vec![option.into()]);
        let mount = Mount { kind: Some(kind.into()), options, ..Mount::default() };
        parse_options("", &mount).is_ok_and(|options| options.data.is_empty())
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn options(list: &[&'static str]) -> Options<'static> {
        let mount = Box::leak(Box::new(Mount {
            options: List(list.iter().map(|o| (*o).into()).collect()),
            ..Mount::default()
        }));
        parse_options("mounts[0]", mount).unwrap()
    }

    #[test]
    fn the_last_of_opposite_options_counts() {
        assert_eq!(options(&["ro", "rw"]).set, MountAttrFlags::empty());
        assert_eq!(options(&["rw", "ro"]).set, MountAttrFlags::MOUNT_ATTR_RDONLY);
    }

    #[test]
    fn an_opposite_drops_what_the_source_has_besides() {
        let (read_only, no_exec) = (MountAttrFlags::MOUNT_ATTR_RDONLY, MountAttrFlags::MOUNT_ATTR_NOEXEC);
        let parsed = options(&["rbind", "exec", "ro", "noatime"]);
        assert_eq!(parsed.clear, no_exec | MountAttrFlags::MOUNT_ATTR__ATIME);
        assert!(!parsed.drop().intersects(read_only | no_exec) && !parsed.drop().is_empty());
        for list in [&["ro"][..], &["rw", "ro"], &["relatime"], &["atime", "noatime"], &["rrw"]] {
            assert!(options(list).drop().is_empty(), "{list:?}");
        }
        for list in [&["ro", "rw"][..], &["diratime"], &["noatime", "atime"], &["nostrictatime"]] {
            assert!(!options(list).drop().is_empty(), "{list:?}");
        }
        assert_eq!(options(&["strictatime", "norelatime"]).set, MountAttrFlags::MOUNT_ATTR_STRICTATIME);
        assert_eq!(options(&["noatime", "atime"]).set, MountAttrFlags::empty());
    }

    #[test]
    fn recursive_options_are_told_from_propagation() {
        let parsed = options(&["rbind", "rslave", "rro", "relatime"]);
        assert!(parsed.bind && parsed.recursive && parsed.recursive_propagation);
        assert_eq!(parsed.propagation, MountPropagationFlags::DOWNSTREAM);
        assert_eq!(parsed.recursive_set, MountAttrFlags::MOUNT_ATTR_RDONLY);
        assert_eq!(parsed.set, MountAttrFlags::empty());
        assert_eq!(parsed.clear, MountAttrFlags::MOUNT_ATTR__ATIME);
    }

    #[test]
    fn access_times_exclude_each_other() {
        assert_eq!(options(&["noatime", "strictatime"]).set, MountAttrFlags::MOUNT_ATTR_STRICTATIME);
        assert_eq!(options(&["strictatime", "relatime"]).set, MountAttrFlags::empty());
    }

    #[test]
    fn what_no_table_knows_is_the_file_systems() {
        assert_eq!(options(&["size=64k", "newinstance", "nosuid"]).data, ["size=64k", "newinstance"]);
    }

    #[test]
    fn commas_part_what_is_the_file_systems() {
        assert_eq!(options(&["size=64k,mode=700", ",noswap,"]).data, ["size=64k", "mode=700", "noswap"]);
        let whole = [r#"context="u:r:t:s0:c1,c2""#, r"lowerdir=/a\,b", r"x=\\"];
        assert_eq!(options(&whole).data, whole);
        assert_eq!(options(&[r"lowerdir=/a\\,upperdir=/b"]).data, [r"lowerdir=/a\\", "upperdir=/b"]);
    }

    #[test]
    fn recursive_options_of_a_new_file_system_are_plain() {
        let parsed = options(&["nodev", "rro", "rdev"]);
        assert_eq!(parsed.set, MountAttrFlags::MOUNT_ATTR_RDONLY);
        assert!((parsed.recursive_set | parsed.recursive_clear).is_empty());
    }

    #[test]
    fn tmpcopyup_is_refused_where_nothing_can_be_copied() {
        for (kind, list) in [
            ("tmpfs", &["bind", "tmpcopyup"][..]),
            ("tmpfs", &["remount", "tmpcopyup"]),
            ("proc", &["tmpcopyup"]),
        ] {
            let options = List(list.iter().map(|option| (*option).into()).collect());
            let mount = Mount { kind: Some(kind.into()), options, ..Mount::default() };
            assert!(parse_options("mounts[0]", &mount).is_err(), "{kind} {list:?}");
        }
    }
}
