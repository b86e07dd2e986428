//! The second guest: a tree of Debian packages with systemd as pid 1, a message bus, logind and a lingering
//! user.
//!
//! No maintainer script runs: what those would make is written here, as far as it is needed.

use std::path::PathBuf;

use crate::debian;
use crate::image::Image;

/// pid 1, and the manager of the user.
pub const PROGRAM: &str = "/usr/lib/systemd/systemd";
/// The service that runs the cases; its cgroup is delegated to it.
pub const SERVICE: &str = "vm-tests.service";
/// The lingering user; [`SUBORDINATE_IDS`] are theirs as well.
pub const USER: u32 = 1000;
/// The user's XDG_RUNTIME_DIR.
pub const USER_RUNTIME: &str = "/run/user/1000";
/// The first of 65536 ids that the user may map: /etc/subuid and /etc/subgid.
pub const SUBORDINATE_IDS: u32 = 100_000;

const PACKAGES: [&str; 4] = ["systemd", "dbus-user-session", "libpam-systemd", "uidmap"];

/// Packages that only maintainer scripts use, by the beginnings of their names.
const PACKAGES_LEFT_OUT: [&str; 15] = [
    "adduser",
    "debconf",
    "dmsetup",
    "dpkg",
    "gcc-",
    "init-system-helpers",
    "libfile-find",
    "libgdbm",
    "libnumber-",
    "libpam-runtime",
    "libperl",
    "libtext-",
    "perl",
    "tar",
    "usrmerge",
];

/// Documents, translations, and files that would be started by themselves or run on every reload, by the ends
/// of their paths.
const FOLDERS_LEFT_OUT: [&str; 11] = [
    "/share/doc",
    "/share/info",
    "/share/lintian",
    "/share/locale",
    "/share/man",
    "/share/zsh",
    "/lib/udev",
    "/gconv",
    "/system-generators",
    "/user-environment-generators",
    "/user-generators",
];

/// Units wanted by these targets would start at boot; only the bus is to start.
const TARGETS: [&str; 4] = ["sysinit", "multi-user", "timers", "sockets"];

const FILES: [(&str, &str); 17] = [
    ("/etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    ("/etc/hostname", "guest\n"),
    (
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nmessagebus:x:100:100::/nonexistent:/usr/sbin/nologin\n\
         user:x:1000:1000:user:/home/user:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    ("/etc/group", "root:x:0:\ntty:x:5:\nmessagebus:x:100:\nuser:x:1000:\nnogroup:x:65534:\n"),
    ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\n"),
    ("/etc/subuid", "user:100000:65536\n"),
    ("/etc/subgid", "user:100000:65536\n"),
    ("/etc/pam.d/systemd-user", "account required pam_permit.so\nsession required pam_systemd.so\n"),
    ("/etc/pam.d/login", "account required pam_permit.so\nsession required pam_systemd.so\n"),
    (
        "/etc/pam.d/other",
        "auth required pam_deny.so\naccount required pam_deny.so\nsession required pam_deny.so\n",
    ),
    ("/var/lib/systemd/linger/user", ""),
    (
        "/etc/systemd/system.conf.d/vm-tests.conf",
        "[Manager]\nLogLevel=notice\nLogTarget=console\nShowStatus=no\nDefaultStandardOutput=null\n\
         DefaultTimeoutStartSec=80s\n",
    ),
    // Root is excepted by default.
    ("/etc/systemd/logind.conf.d/vm-tests.conf", "[Login]\nKillUserProcesses=yes\n"),
    // Programs that take no notice of SIGTERM are killed then; else after 90 seconds.
    ("/etc/systemd/system/session-.scope.d/vm-tests.conf", "[Scope]\nTimeoutStopSec=2s\n"),
    ("/etc/systemd/user.conf.d/vm-tests.conf", "[Manager]\nLogTarget=console\nDefaultStandardOutput=null\n"),
    // Without cpuset and io: a case shows what happens to a container that asks for those.
    ("/etc/systemd/system/user@.service.d/vm-tests.conf", "[Service]\nDelegate=cpu memory pids\n"),
    (
        "/etc/systemd/system/vm-tests.service",
        "[Unit]\nWants=user@1000.service systemd-logind.service\nRequires=dbus.socket\n\
         After=user@1000.service systemd-logind.service dbus.socket\n\
         SuccessAction=poweroff-immediate\nFailureAction=poweroff-immediate\n\
         [Service]\nType=exec\nExecStart=/init serve\nDelegate=yes\nStandardOutput=file:/dev/console\n\
         StandardError=inherit\n",
    ),
];

/// box's units, as `make install-box` puts them there.
const UNITS: [(&str, &str); 3] = [
    ("boxd.service", include_str!("../../engine/systemd/boxd.service")),
    ("boxd.socket", include_str!("../../engine/systemd/boxd.socket")),
    ("box-boot.service", include_str!("../../engine/systemd/box-boot.service")),
];

/// The trees of the packages; `None` if there is no apt.
pub fn packages() -> Result<Option<Vec<PathBuf>>, String> {
    debian::closure(&PACKAGES, |package| PACKAGES_LEFT_OUT.iter().any(|start| package.starts_with(start)))
}

/// Adds the packages, and this guest's own files, to a merged image.
pub fn add(image: &mut Image, packages: &[PathBuf]) -> Result<(), String> {
    for tree in packages {
        image.tree(tree, &is_left_out)?;
    }
    for (path, content) in FILES {
        image.file(path, 0o644, content.as_bytes());
    }
    for (name, content) in UNITS {
        let content = content.replace("@bindir@", "/usr/bin");
        image.file(&format!("/etc/systemd/system/{name}"), 0o644, content.as_bytes());
    }
    image.symlink("/usr/bin/boxd", "box");
    for folder in ["/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/root", "/home/user"] {
        image.folder(folder);
    }
    Ok(())
}

fn is_left_out(path: &str) -> bool {
    let starts_at_boot =
        TARGETS.iter().any(|target| path.contains(&format!("/system/{target}.target.wants/")));
    starts_at_boot && !path.contains("dbus") || FOLDERS_LEFT_OUT.iter().any(|folder| path.ends_with(folder))
}
