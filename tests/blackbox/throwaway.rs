//! `pillbox try`: a throwaway container over this system's own files.

use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;

use crate::harness::{Container, Output, Runtime, copy_program, pillbox_only, skip};

/// An ordinary user.
const USER: u32 = 1000;

/// Runs `script` in a throwaway container of `user`, on a host whose /var is as `prepare` makes it; other
/// mounts of the machine below it are not there.
fn on_a_host(runtime: &Runtime, prepare: &str, user: u32, script: &str) -> Output {
    let container = Container::new(runtime);
    // Other users may not be able to enter the folder of the build.
    let program = container.folder.join("runtime");
    copy_program(&runtime.path, &program);
    chown(&container.folder, Some(user), Some(user)).expect("chown");
    let place = format!(
        "mount -t tmpfs -o mode=755 tmpfs /var; {prepare}; set +e; \
         setpriv --reuid {user} --regid {user} --clear-groups \"$0\" try sh -c \"$1\"; status=$?; \
         umount /var/kernels 2>/dev/null; cd /var; \
         echo outside: $(find . -type f ! -name busybox -print0 | sort -z | xargs -0 -r grep -H .); exit $status"
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-ec", &place]).arg(program).arg(script);
    command.env("XDG_RUNTIME_DIR", &container.folder).stdin(std::process::Stdio::null());
    container.finish(&mut command)
}

fn has_overlayfs() -> bool {
    let there = fs::read_to_string("/proc/filesystems").expect("procfs").contains("overlay");
    if !there {
        skip("this kernel has no overlayfs");
    }
    there
}

#[test]
fn it_sees_the_hosts_files_and_changes_none() {
    if !has_overlayfs() {
        return;
    }
    pillbox_only(|runtime| {
        let script = "cat /var/kept; echo other > /var/kept; cat /var/kept; rm /var/kept; echo > /var/new; ls /var; \
                      echo $$; id -u; ls /sys/class/net; exit 3";
        let output = on_a_host(runtime, "echo mine > /var/kept", 0, script);
        assert_eq!(output.stdout, "mine\nother\nnew\n1\n0\nlo\noutside: ./kept:mine\n", "{output:?}");
        assert_eq!(output.code, 3, "{output:?}");
    });
}

/// Mounts below a folder of the root: files with another mount below, a file, one of the kernel's, one
/// mounted noexec, an overlay over an overlay; all users may write to all of them.
const MOUNTS: &str = r"
    umask 0; chmod 777 /var; cd /var
    mkdir data lib kernels 'a b' one
    echo top > top; echo under > data/under; echo file > file; echo plain > lib/plain
    mount -t tmpfs -o mode=777 tmpfs data; echo data > data/file
    mkdir data/deep; mount -t tmpfs -o mode=777 tmpfs data/deep; echo deep > data/deep/file
    mount -t tmpfs -o mode=777,noexec,nosuid tmpfs 'a b'; cp /bin/busybox 'a b/busybox'; echo spaced > 'a b/file'
    echo covered > lib/file; mount --bind file lib/file
    mount -t proc proc kernels
    mkdir -p /tmp/o; mount -t tmpfs tmpfs /tmp/o; cd /tmp/o; mkdir l u1 w1 u2 w2; echo stacked > l/file
    mount -t overlay -o lowerdir=l,upperdir=u1,workdir=w1 o /var/one
    mount -t overlay -o lowerdir=/var/one,upperdir=u2,workdir=w2 o /var/one
    cd /var; chown -R 1000:1000 data 'a b' lib";

#[test]
fn what_is_mounted_below_a_folder_is_there_too() {
    if !has_overlayfs() {
        return;
    }
    let script = "cd /var; cat data/file data/deep/file 'a b/file' lib/file lib/plain one/file; ls kernels | wc -l; \
                  for file in data/file data/deep/file 'a b/file' data/new lib/plain lib/file one/file; do \
                  echo changed 2>/dev/null > \"$file\" && cat \"$file\" || echo \"$file\" stays; done; \
                  'a b/busybox' true 2>/dev/null || echo noexec";
    let seen = "data\ndeep\nspaced\nfile\nplain\nstacked\n0\n";
    // Neither files nor overlays of overlays can be lower layers of an overlay. If a user may not see a
    // folder without the mounts below it, each of its files is mounted by itself.
    let root = "changed\nchanged\nchanged\nchanged\nchanged\nlib/file stays\none/file stays\n";
    let ordinary =
        "data/file stays\nchanged\nchanged\nchanged\nlib/plain stays\nlib/file stays\none/file stays\n";
    let outside = ": ./a b/file:spaced ./data/deep/file:deep ./data/file:data ./file:file ./lib/file:file \
                   ./lib/plain:plain ./one/file:stacked ./top:top";
    pillbox_only(|runtime| {
        for (user, changed) in [(0, root), (USER, ordinary)] {
            let output = on_a_host(runtime, MOUNTS, user, script);
            let (inside, left) = output.stdout.split_once("outside").expect("both");
            assert_eq!(inside, format!("{seen}{changed}noexec\n"), "{user}: {output:?}");
            assert_eq!(left.trim_end(), outside, "{user}");
        }
    });
}

#[test]
fn a_thousand_mounts() {
    if !has_overlayfs() {
        return;
    }
    pillbox_only(|runtime| {
        // 41 mounts 25 times, because mount(8) itself is slow with many.
        let prepare = "mkdir -p /var/m/0; mount -t tmpfs none /var/m/0; \
                       for n in $(seq 40); do mkdir /var/m/0/$n; mount -t tmpfs none /var/m/0/$n; done; \
                       for n in $(seq 24); do mkdir /var/m/$n; mount --rbind /var/m/0 /var/m/$n; done";
        let script = "echo changed | tee /var/m/0/1/new /var/m/24/40/new; cat /var/m/*/*/new";
        let output = on_a_host(runtime, prepare, 0, script);
        assert_eq!(output.stdout, "changed\nchanged\nchanged\noutside:\n", "{output:?}");
    });
}

#[test]
fn an_ordinary_user_has_one_too() {
    if !has_overlayfs() {
        return;
    }
    pillbox_only(|runtime| {
        let new = format!("/etc/pillbox-{}", std::process::id());
        let script = format!("echo inside > {new}; cat {new}; echo $$; id -u; ls /sys/class/net; exit 3");
        let output = on_a_host(runtime, "true", USER, &script);
        let expected = "inside\n1\n0\nlo\noutside:\n";
        assert_eq!((output.code, output.stdout.as_str()), (3, expected), "{output:?}");
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
