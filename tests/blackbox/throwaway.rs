//! `pillbox try`: a throwaway container over this system's own files.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::harness::{Container, pillbox_only, skip};

/// An ordinary user.
const USER: u32 = 1000;

#[test]
fn it_sees_the_hosts_files_and_changes_none() {
    if !fs::read_to_string("/proc/filesystems").expect("procfs").contains("overlay") {
        return skip("this kernel has no overlayfs");
    }
    pillbox_only(|runtime| {
        let container = Container::new(runtime);
        // /tmp and /run are the container's own, and so the host's file lies elsewhere.
        let folder = format!("/var/tmp/pillbox-{}", container.id);
        fs::create_dir(&folder).expect("folder");
        let kept = format!("{folder}/kept");
        fs::write(&kept, "the host's\n").expect("file");
        let script = format!(
            "cat {kept}; echo other > {kept}; cat {kept}; rm {kept}; echo > {folder}/new; ls {folder}; echo $$; id -u; \
             ls /sys/class/net; exit 3"
        );
        let output = container.finish(runtime.command().args(["try", "sh", "-c", &script]));
        let (host, left) = (fs::read_to_string(&kept), fs::read_dir(&folder).expect("folder").count());
        fs::remove_dir_all(&folder).expect("folder");
        assert_eq!(output.stdout, "the host's\nother\nnew\n1\n0\nlo\n", "{output:?}");
        assert_eq!((output.code, left), (3, 1), "{output:?}");
        assert_eq!(host.expect("file"), "the host's\n");
    });
}

#[test]
fn an_ordinary_user_has_one_too() {
    if !fs::read_to_string("/proc/filesystems").expect("procfs").contains("overlay") {
        return skip("this kernel has no overlayfs");
    }
    pillbox_only(|runtime| {
        let container = Container::new(runtime);
        // The build's own folder may be closed to others.
        let program = container.folder.join("runtime");
        fs::copy(&runtime.path, &program).expect("copy");
        let new = format!("/etc/pillbox-{}", container.id);
        let script = format!("echo inside > {new}; cat {new}; echo $$; id -u; ls /sys/class/net; exit 3");
        let mut command = Command::new(program);
        command.args(["try", "sh", "-c", &script]).uid(USER).gid(USER);
        let output = container.finish(&mut command);
        assert_eq!((output.code, output.stdout.as_str()), (3, "inside\n1\n0\nlo\n"), "{output:?}");
        assert!(!fs::exists(&new).expect("/etc"), "{new}");
    });
}

#[test]
fn a_shell_on_a_terminal() {
    if Command::new("script").arg("--version").output().is_err() {
        return skip("script(1) is not installed");
    }
    pillbox_only(|runtime| {
        let container = Container::new(runtime);
        let line = format!("{} try", runtime.path.display());
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env("SHELL", "/bin/sh");
        let input = container.folder.join("input");
        fs::write(&input, "test -t 0 && echo pid-$$; exit 5\n").expect("input");
        let output = container.finish(script.stdin(fs::File::open(&input).expect("input")));
        assert!(output.code == 5 && output.stdout.contains("pid-1"), "{output:?}");
    });
}
