//! Podman as an ordinary user runs it: the whole path from `podman` over conmon to the runtime, which it
//! calls as root of a user namespace, with only XDG_RUNTIME_DIR in the environment.

use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::harness::{Container, Running, Runtime, copy_program, each_runtime_but, skip, wait_for};

const USER: u32 = 1000;

/// Enters a place in which the user exists and has ranges of ids, with processes and mounts of its own, and
/// executes the lines of stdin there one after another as that user. The shell itself stays: as the first
/// process it reaps, and older versions of Podman wait until conmon is no longer a zombie.
const PLACE: &str = r#"
# Podman's locks lie in /dev/shm, by the user's number.
mkdir -p /run/user
for folder in /dev/shm /tmp /run/user; do mount -t tmpfs -o mode=1777 tmpfs $folder; done
# Longer paths some versions refuse, without a word.
run=/run/user/1000
mkdir -m 700 $run
chown 1000:1000 $run
for file in passwd group subuid subgid; do mount --bind "$F/$file" /etc/$file; done
setpriv --reuid 1000 --regid 1000 --clear-groups env -i F="$F" HOME="$F/home" XDG_RUNTIME_DIR=$run \
    TMPDIR="$F/tmp" PATH="$PATH" sh -c '
    cd /
    podman() { command podman --storage-driver vfs --cgroup-manager cgroupfs --events-backend file "$@"; }
    call=0
    while read -r line; do
        eval "$line" </dev/null >"$F/calls/$call.out" 2>"$F/calls/$call.err"
        echo $? >"$F/calls/code"
        mv "$F/calls/code" "$F/calls/$call.code"
        call=$((call + 1))
    done'
exit $?
"#;

/// An ordinary user's Podman on a runtime, with an image named `box`.
struct Podman<'c, 'r> {
    container: &'c Container<'r>,
    shell: Option<(Running, std::process::ChildStdin)>,
    calls: Cell<u32>,
    /// The cgroup that belongs to the user, and the one below it in which everything runs.
    cgroups: Option<[PathBuf; 2]>,
}

/// The result of a call of Podman.
#[derive(Debug)]
struct Answer {
    code: i32,
    stdout: String,
    stderr: String,
}

impl<'c, 'r> Podman<'c, 'r> {
    /// `container` provides the folder and the image's root. With `delegated` the user has a part of the
    /// cgroup hierarchy.
    fn new(container: &'c Container<'r>, delegated: bool) -> Self {
        write_files(container);
        let cgroups = delegated.then(|| delegate(container));
        let mut command = Command::new("sh");
        let enter = "[ -z \"$G\" ] || echo $$ >\"$G/cgroup.procs\"; exec \"$@\"";
        command.args(["-ec", enter, "sh", "unshare", "-m", "-p", "-f", "--kill-child", "--mount-proc"]);
        command.args(["sh", "-ec", PLACE]).env("F", &container.folder).stdin(Stdio::piped());
        command.env("G", cgroups.as_ref().map_or("".as_ref(), |[_, own]| own.as_os_str()));
        let mut shell = container.spawn(&mut command);
        let stdin = shell.stdin();
        let podman = Podman { container, shell: Some((shell, stdin)), calls: Cell::new(0), cgroups };
        let image = podman.call("podman import $F/image.tar box");
        assert_eq!(image.code, 0, "{image:?}");
        podman
    }

    /// Runs a line in the user's shell.
    #[track_caller]
    fn call(&self, line: &str) -> Answer {
        let number = self.calls.replace(self.calls.get() + 1);
        let (_, stdin) = self.shell.as_ref().expect("shell");
        let mut stdin: &std::process::ChildStdin = stdin;
        writeln!(stdin, "{line}").expect("shell");
        let file = |end: &str| self.container.folder.join(format!("calls/{number}.{end}"));
        let code = wait_for(line, || fs::read_to_string(file("code")).ok());
        let text = |end| String::from_utf8_lossy(&fs::read(file(end)).expect("output")).into_owned();
        Answer { code: code.trim().parse().expect("status"), stdout: text("out"), stderr: text("err") }
    }

    /// Runs a line that must end with this status and this output.
    #[track_caller]
    fn gives(&self, line: &str, code: i32, stdout: &str) {
        let answer = self.call(line);
        assert_eq!((answer.code, answer.stdout.as_str()), (code, stdout), "{line}: {answer:?}");
    }

    /// Runs a line that must succeed, with any output.
    #[track_caller]
    fn succeeds(&self, line: &str) {
        let answer = self.call(line);
        assert_eq!(answer.code, 0, "{line}: {answer:?}");
    }
}

impl Drop for Podman<'_, '_> {
    fn drop(&mut self) {
        // The pid namespace ends with its first process.
        drop(self.shell.take());
        let Some([users, _]) = &self.cgroups else { return };
        for _ in 0..500 {
            for cgroup in cgroups_below(users).iter().rev().chain([users]) {
                fs::remove_dir(cgroup).ok();
            }
            if !users.exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// The cgroups below a folder, parents first.
fn cgroups_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders
        .flat_map(|entry| {
            let below = cgroups_below(&entry.path());
            std::iter::once(entry.path()).chain(below)
        })
        .collect()
}

fn write_files(container: &Container) {
    let folder = &container.folder;
    let write = |name: &str, text: String| fs::write(folder.join(name), text).expect("file");
    let home = folder.join("home");
    write(
        "passwd",
        format!("root:x:0:0::/root:/bin/sh\nrootless:x:{USER}:{USER}::{}:/bin/sh\n", home.display()),
    );
    write("group", format!("root:x:0:\nrootless:x:{USER}:\n"));
    write("subuid", "rootless:100000:65536\n".to_string());
    write("subgid", "rootless:100000:65536\n".to_string());
    for name in ["home/.config/containers", "tmp", "calls"] {
        fs::create_dir_all(folder.join(name)).expect("folder");
    }
    let (name, program) = (&container.runtime.name, folder.join("runtime"));
    copy_program(&container.runtime.path, &program);
    // As the README tells users to write it.
    let list = format!("[{name:?}]");
    write(
        "home/.config/containers/containers.conf",
        format!(
            "[engine]\nruntime = {name:?}\nruntime_supports_json = {list}\nruntime_supports_nocgroup = {list}\n\
             [engine.runtimes]\n{name} = [{program:?}]\n"
        ),
    );
    write(
        "home/.config/containers/policy.json",
        json!({"default": [{"type": "insecureAcceptAnything"}]}).to_string(),
    );
    for name in ["home", "home/.config", "home/.config/containers", "tmp", "calls"] {
        chown(folder.join(name), Some(USER), Some(USER)).expect("chown");
    }
    container.tar();
}

/// A cgroup that belongs to the user, and one below it.
fn delegate(container: &Container) -> [PathBuf; 2] {
    let users = container.cgroup().with_extension("user");
    let own = users.join("own");
    fs::create_dir_all(&own).expect("cgroups");
    for name in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        chown(users.join(name), Some(USER), Some(USER)).expect("chown");
    }
    [users, own]
}

/// Runs `case` with an ordinary user's Podman on each runtime, and checks that nothing is left.
#[track_caller]
fn with_podman(peers: &[(&str, &str)], delegated: bool, case: impl Fn(&Podman, &Runtime)) {
    for (program, package) in [("podman", "podman"), ("newuidmap", "uidmap")] {
        if Command::new(program).arg("--version").output().is_err() {
            return skip(&format!("{program} is not installed (package {package})"));
        }
    }
    each_runtime_but(peers, |runtime| {
        let container = Container::new(runtime);
        let podman = Podman::new(&container, delegated);
        case(&podman, runtime);
        podman.gives("podman ps --all --quiet", 0, "");
        podman.gives("ls $XDG_RUNTIME_DIR/pillbox 2>/dev/null || :", 0, "");
        // What Podman itself makes stays for its next call.
        let cgroups = podman.cgroups.as_ref().map_or(Vec::new(), |[users, _]| cgroups_below(users));
        let is_podmans = |path: &PathBuf| ["own", "pod", "conmon"].iter().any(|name| path.ends_with(name));
        assert!(cgroups.iter().all(is_podmans), "{cgroups:?}");
        drop(podman);
        container.assert_gone();
    });
}

#[test]
fn containers_of_an_ordinary_user() {
    with_podman(&[], false, |podman, runtime| {
        podman.gives(
            "podman run --rm --network none box sh -c 'id -u; cat /proc/self/uid_map'",
            0,
            &map("0\n"),
        );
        podman.gives("podman run --rm --network none box sh -c 'echo out; exit 3'", 3, "out\n");
        podman.gives(
            "podman run --rm --network host box ls /sys/class/net/lo/ifindex",
            0,
            "/sys/class/net/lo/ifindex\n",
        );
        podman.gives("podman run --rm --network none box nosuch", 127, "");
        podman.gives("podman run --rm --network none box /etc", 126, "");
        podman.gives("podman run --rm --network none --user 5:6 box sh -c 'id -u; id -g'", 0, "5\n6\n");
        podman.gives("podman run --rm --network none --read-only box touch /file", 1, "");
        podman.gives(
            "echo kept >$HOME/file; podman run --rm --network none -v $HOME:/data box cat /data/file",
            0,
            "kept\n",
        );
        let privileged = "podman run --rm --network none --privileged box sh -c 'mount -t tmpfs none /tmp && echo mounted'";
        podman.gives(privileged, 0, "mounted\n");
        // If no part of the hierarchy is the user's, there is no cgroup; asking for one is an error.
        let parent = podman.call("podman run --rm --network none --cgroup-parent /none box true");
        assert!(parent.code == 126 && parent.stderr.contains("none"), "{parent:?}");
        if runtime.is("pillbox") {
            assert!(parent.stderr.contains("create cgroup /none/"), "{parent:?}");
        }
    });
}

#[test]
fn a_container_that_stays() {
    with_podman(&[], false, |podman, _| {
        let script = "trap \"echo term; exit 7\" TERM; echo begun; while :; do sleep 0.1; done";
        podman.succeeds(&format!("podman run --detach --network none --name web box sh -c '{script}'"));
        podman.gives("podman exec web sh -c 'echo in; exit 4'", 4, "in\n");
        podman.gives("podman exec --user 5 web id -u", 0, "5\n");
        podman.gives("podman exec web nosuch", 127, "");
        podman.succeeds("podman exec --detach web sleep 1000");
        podman.gives("podman exec web sh -c 'ps | grep -c [1]000'", 0, "1\n");
        podman.gives("podman inspect --format '{{.State.Status}} {{.State.ExitCode}}' web", 0, "running 0\n");
        podman.succeeds("until podman logs web | grep -q begun; do :; done");
        podman.succeeds("podman stop web");
        podman.gives("podman inspect --format '{{.State.Status}} {{.State.ExitCode}}' web", 0, "exited 7\n");
        podman.gives("podman logs web", 0, "begun\nterm\n");
        podman.succeeds("podman start web");
        podman.succeeds("podman kill web");
        podman.gives("podman wait web", 0, "137\n");
        podman.succeeds("podman rm web");
        podman.succeeds("podman run --detach --network none --name other box sleep 1000");
        podman.succeeds("podman rm --force --time 0 other");
    });
}

#[test]
fn namespaces_of_the_users() {
    with_podman(&[], false, |podman, _| {
        // A new procfs is refused: the sysctl that Podman adds is written through the bound one.
        let range = "podman run --rm --network none --pid host --sysctl net.ipv4.ping_group_range='1 1' box \
                     cat /proc/sys/net/ipv4/ping_group_range";
        podman.gives(range, 0, "1\t1\n");
        // So is a new cgroup2: the host's is bound.
        let cgroups = "podman run --rm --network none --cgroupns host box ls /sys/fs/cgroup/cgroup.procs";
        podman.gives(cgroups, 0, "/sys/fs/cgroup/cgroup.procs\n");
        podman.succeeds("podman run --rm --network none --uts host box true");
        let keep =
            "podman run --rm --network none --userns keep-id box sh -c 'id -u; grep -c . /proc/self/uid_map'";
        podman.gives(keep, 0, &format!("{USER}\n3\n"));
        let maps =
            "podman run --rm --network none --uidmap 0:1:100 --gidmap 0:1:100 box cat /proc/self/uid_map";
        podman.gives(maps, 0, &format!("{:>10} {:>10} {:>10}\n", 0, 1, 100));
    });
}

#[test]
fn no_cgroups_wanted() {
    with_podman(&[("runc", "has no --cgroup-manager")], false, |podman, _| {
        podman.gives("podman run --rm --network none --cgroups disabled box sh -c 'exit 3'", 3, "");
        podman.succeeds("podman run --detach --network none --cgroups disabled --name web box sleep 1000");
        podman.gives("podman exec web echo in", 0, "in\n");
        podman.succeeds("podman rm --force --time 0 web");
    });
}

#[test]
fn cgroups_of_the_users() {
    with_podman(&[], true, |podman, _| {
        let [users, own] = podman.cgroups.as_ref().expect("cgroups");
        podman.succeeds("podman run --detach --network none --cgroupns host --name web box sleep 1000");
        // Beside the caller's own cgroup, not in it.
        let cgroup = podman.call("podman exec web grep ^0:: /proc/self/cgroup").stdout;
        let name = users.file_name().expect("name").to_string_lossy();
        assert!(cgroup.starts_with(&format!("0::/{name}/")) && !cgroup.contains("/own"), "{cgroup}");
        assert!(own.exists());
        podman.succeeds("podman pause web");
        podman.gives("podman inspect --format '{{.State.Status}}' web", 0, "paused\n");
        podman.succeeds("podman unpause web");
        podman.succeeds("podman rm --force --time 0 web");
        let within = format!(
            "podman run --rm --network none --cgroupns host --cgroup-parent /{name}/pod box \
                              sh -c 'grep -c ^0::/{name}/pod/ /proc/self/cgroup'"
        );
        podman.gives(&within, 0, "1\n");
    });
}

/// `before`, and the map that Podman gives to an ordinary user's container.
fn map(before: &str) -> String {
    let line = |inside: u32, outside: u32, count: u32| format!("{inside:>10} {outside:>10} {count:>10}\n");
    format!("{before}{}{}", line(0, USER, 1), line(1, 100_000, 65_536))
}
