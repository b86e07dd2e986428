//! The library in one process: containers are made, run, waited for and removed, several times and several at
//! once. Needs root.

#[allow(dead_code)]
#[path = "blackbox/harness/host.rs"]
mod host;
#[path = "library/root.rs"]
mod root;

use std::fs;
use std::io::{PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pillbox::netlink::link;
use pillbox::oci::signal;
use pillbox::{
    Bundle, Container, CreateOptions, ExecOptions, Kind, Network, Root, Signal, Status, Stdio, WarningKind,
};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};
use serde_json::{Value, json};

/// A folder with a busybox root, and what must be as before when the value is dropped: open descriptors,
/// children.
struct Place {
    folder: PathBuf,
    descriptors: usize,
    _alone: MutexGuard<'static, ()>,
}

impl Place {
    /// `None` if these tests cannot run; otherwise this test has the process to itself.
    fn new(name: &str) -> Option<Place> {
        static ALONE: Mutex<()> = Mutex::new(());
        if !host::isolated() {
            return None;
        }
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = Path::new(host::SCRATCH).join(format!("library-{name}"));
        let bin = folder.join("rootfs/bin");
        fs::create_dir_all(&bin).expect("root file system");
        fs::create_dir(folder.join("rootfs/proc")).expect("root file system");
        host::copy_program(&host::busybox(), &bin.join("busybox"));
        for applet in ["sh", "cat", "sleep"] {
            std::os::unix::fs::symlink("busybox", bin.join(applet)).expect("applet");
        }
        Some(Place { folder, descriptors: open_descriptors(), _alone: alone })
    }

    fn root(&self) -> Root {
        Root::at(self.folder.join("state"))
    }

    fn bundle(&self, script: &str) -> Bundle {
        self.bundle_of(json!(["/bin/sh", "-c", script]))
    }

    fn bundle_of(&self, arguments: Value) -> Bundle {
        let config = json!({
            "ociVersion": "1.3.0",
            "process": {"args": arguments, "cwd": "/", "env": ["PATH=/bin"]},
            "root": {"path": "rootfs"},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "network"}, {"type": "ipc"}]}
        });
        Bundle::with_config(&self.folder, config.to_string()).expect("bundle")
    }

    /// The same with a place for terminals; `terminal` says whether the container's program has one.
    fn bundle_with_terminals(&self, script: &str, terminal: bool) -> Bundle {
        let bundle = self.bundle(script);
        let mut config: Value = serde_json::from_str(&bundle.config).expect("JSON");
        config["process"]["terminal"] = json!(terminal);
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.push(json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}));
        mounts.push(json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]}));
        Bundle { config: config.to_string(), ..bundle }
    }

    /// A container that writes to a pipe, and the read end.
    fn create(&self, id: &str, script: &str) -> (Container, PipeReader) {
        let (output, write_end) = std::io::pipe().expect("pipe");
        let options = CreateOptions::new().stdin(Stdio::Null).stdout(write_end);
        let container = Container::create(&self.root(), id, &self.bundle(script), options);
        (container.unwrap_or_else(|error| panic!("{id}: {error}")), output)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let left: Vec<_> = fs::read_dir("/proc/self/fd")
            .expect("descriptors")
            .flatten()
            .map(|entry| (entry.file_name(), fs::read_link(entry.path()).unwrap_or_default()))
            .collect();
        assert_eq!(open_descriptors(), self.descriptors, "{left:?}");
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let children = rustix::process::waitid(WaitId::All, options);
        assert!(matches!(children, Err(Errno::CHILD)), "a child is left: {children:?}");
        let states = fs::read_dir(self.folder.join("state")).map_or(0, Iterator::count);
        assert_eq!(states, 0, "states are left");
    }
}

/// Not counting those of init's own file, which stay for the next container.
fn open_descriptors() -> usize {
    let kept = |entry: &fs::DirEntry| {
        fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("/memfd:pillbox-init"))
    };
    fs::read_dir("/proc/self/fd").expect("descriptors").flatten().filter(|entry| !kept(entry)).count()
}

fn text(mut output: impl Read) -> String {
    let mut text = String::new();
    output.read_to_string(&mut text).expect("output");
    text
}

#[test]
fn a_life_several_times() {
    let Some(place) = Place::new("life") else { return };
    for round in 0..5 {
        let (container, output) = place.create("life", &format!("echo round {round}; exit {round}"));
        assert_eq!(container.status().expect("status"), Status::Created);
        container.start().expect("start");
        assert_eq!(text(output), format!("round {round}\n"));
        assert_eq!(container.wait().expect("wait"), round);
        assert_eq!(container.wait().expect("again"), round);
        assert_eq!(container.status().expect("status"), Status::Stopped);
        container.delete(false).expect("delete");
        assert_eq!(container.status().expect_err("gone").kind(), Kind::NotFound);
        // The value knows the status although the container is gone.
        assert_eq!(container.wait().expect("still"), round);
    }
}

/// It was started; that it is not a program shows in how it ended, with a shell's statuses.
#[test]
fn a_program_that_turns_out_to_be_none() {
    let Some(place) = Place::new("none") else { return };
    for (text, status, reason) in [
        (
            "#!/nonesuch\n",
            127,
            "exec /none: no such file or directory: it, or the interpreter that it names, is missing\n",
        ),
        ("\0\u{1}\u{2}", 126, "exec /none: exec format error: not a program for this machine\n"),
    ] {
        let path = place.folder.join("rootfs/none");
        fs::write(&path, text).expect("file");
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
        let (output, write_end) = std::io::pipe().expect("pipe");
        let options = CreateOptions::new().stderr(write_end);
        let bundle = place.bundle_of(json!(["/none"]));
        let container = Container::create(&place.root(), "none", &bundle, options).expect("create");
        container.start().expect("start");
        assert_eq!(container.wait().expect("wait"), status);
        assert_eq!(self::text(output), reason);
        container.delete(false).expect("delete");
    }
}

/// While a container is made, the thread that makes it may change its processor. Several times, because it is
/// a race.
#[test]
fn the_callers_processors_are_left_alone() {
    let Some(place) = Place::new("processors") else { return };
    let before = rustix::thread::sched_getaffinity(None).expect("affinity");
    let all = host::all_processors_of_the_cgroup();
    for _ in 0..20 {
        let (container, output) = place.create("processors", "cat /proc/self/status");
        assert_eq!(rustix::thread::sched_getaffinity(None).expect("affinity"), before);
        container.start().expect("start");
        assert_eq!(host::status_field(&text(output), "Cpus_allowed_list"), all);
        container.wait().expect("wait");
        container.delete(false).expect("delete");
    }
}

#[test]
fn several_at_once_from_threads() {
    let Some(place) = Place::new("threads") else { return };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let place = &place;
            scope.spawn(move || {
                for round in 0..5 {
                    let id = format!("thread-{thread}");
                    let (container, output) = place.create(&id, &format!("echo {thread} {round}; exit 7"));
                    container.start().expect("start");
                    assert_eq!(text(output), format!("{thread} {round}\n"));
                    assert_eq!(container.wait().expect("wait"), 7);
                    container.delete(false).expect("delete");
                }
            });
        }
    });
}

#[test]
fn signals_end_it_and_the_wait() {
    let Some(place) = Place::new("signals") else { return };
    let script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    for (signal, status) in [(Signal::TERM, 5), (signal::parse("KILL").expect("signal"), 137)] {
        let (container, mut output) = place.create("signals", script);
        container.start().expect("start");
        let mut ready = [0; 6];
        output.read_exact(&mut ready).expect("ready");
        assert_eq!(container.status().expect("status"), Status::Running);
        assert_eq!(container.delete(false).expect_err("it runs").kind(), Kind::Status);
        // Another value for the same container, as another program would have, and several waiters.
        let other = Container::open(&place.root(), "signals").expect("open");
        let pidfd = other.pidfd().expect("pidfd");
        std::thread::scope(|scope| {
            let waiting = [0, 1].map(|_| scope.spawn(|| container.wait()));
            other.kill(signal).expect("kill");
            for wait in waiting {
                assert_eq!(wait.join().expect("thread").expect("wait"), status);
            }
        });
        let mut polled = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut polled, Some(&rustix::event::Timespec::default())), Ok(1));
        assert_eq!(other.kill(signal).expect_err("ended").kind(), Kind::Status);
        assert_eq!(other.pidfd().expect_err("ended").kind(), Kind::Status);
        other.delete(false).expect("delete");
    }
}

#[test]
fn stdio_is_the_callers() {
    let Some(place) = Place::new("stdio") else { return };
    let script = "cat; echo complaint >&2";
    let (stdin, mut input) = std::io::pipe().expect("pipe");
    let (output, stdout) = std::io::pipe().expect("pipe");
    let complaints = place.folder.join("complaints");
    let stderr = fs::File::create(&complaints).expect("file");
    let options = CreateOptions::new().stdin(stdin).stdout(stdout).stderr(stderr);
    let container =
        Container::create(&place.root(), "stdio", &place.bundle(script), options).expect("create");
    container.start().expect("start");
    input.write_all(b"through\n").expect("input");
    drop(input);
    assert_eq!(text(output), "through\n");
    assert_eq!(container.wait().expect("wait"), 0);
    assert_eq!(fs::read_to_string(&complaints).expect("file"), "complaint\n");
    container.delete(false).expect("delete");
}

#[test]
fn nothing_else_of_the_callers_gets_in() {
    let Some(place) = Place::new("inherit") else { return };
    // Not close-on-exec, as in careless programs.
    let leaky = fs::File::open("/etc/passwd").expect("file");
    rustix::io::fcntl_setfd(leaky.as_fd(), rustix::io::FdFlags::empty()).expect("fcntl");
    let (container, output) = place.create("inherit", "cd /proc/self/fd; echo *");
    container.start().expect("start");
    // The shell's own descriptor of the folder that it lists may be among them.
    let seen = text(output);
    assert!(matches!(seen.trim(), "0 1 2" | "0 1 2 3"), "{seen}");
    container.wait().expect("wait");
    container.delete(false).expect("delete");
}

#[test]
fn one_more_program() {
    let Some(place) = Place::new("exec") else { return };
    let (container, _output) = place.create("exec", "sleep 100");
    container.start().expect("start");
    let (output, stdout) = std::io::pipe().expect("pipe");
    let exec = |script: &str, stdout: Stdio| {
        let options = ExecOptions::new(["sh", "-c", script]).stdin(Stdio::Null).stdout(stdout);
        container.exec(options).and_then(|process| process.wait())
    };
    assert_eq!(exec("echo inside; exit 4", stdout.into()).expect("exec"), 4);
    assert_eq!(text(output), "inside\n");
    container.kill_all(Signal::KILL).expect("kill");
    assert_eq!(container.wait().expect("wait"), 137);
    assert_eq!(exec("true", Stdio::Null).expect_err("ended").kind(), Kind::Status);
    container.delete(false).expect("delete");
}

/// Everything that is written to a terminal until it is closed everywhere, read from its master.
fn screen(terminal: &mut fs::File) -> String {
    let mut said = Vec::new();
    match terminal.read_to_end(&mut said) {
        Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {}
        other => panic!("{other:?}"),
    }
    String::from_utf8(said).expect("text").replace('\r', "")
}

fn quiet(arguments: &[&str]) -> ExecOptions {
    let options = ExecOptions::new(arguments.iter().copied());
    options.stdin(Stdio::Null).stdout(Stdio::Null).stderr(Stdio::Null)
}

fn signal_state() -> Vec<String> {
    let status = fs::read_to_string("/proc/thread-self/status").expect("status");
    // The queue is that of all the user's processes.
    let own = |line: &&str| line.starts_with("Sig") && !line.starts_with("SigQ");
    status.lines().filter(own).map(String::from).collect()
}

#[test]
fn one_more_program_is_a_process() {
    let Some(place) = Place::new("process") else { return };
    let (container, _output) = place.create("process", "sleep 100");
    container.start().expect("start");
    let before = signal_state();
    let process = container.exec(quiet(&["sleep", "100"])).expect("exec");
    assert_eq!(signal_state(), before);
    let name = fs::read_to_string(format!("/proc/{}/comm", process.pid())).expect("it runs");
    assert_eq!(name, "sleep\n");
    assert_eq!(process.try_wait().expect("it runs"), None);
    assert!(process.terminal().is_none());
    assert_eq!(process.resize(24, 80).expect_err("no terminal").kind(), Kind::Invalid);
    process.signal(Signal::TERM).expect("signal");
    std::thread::scope(|scope| {
        let waiting = [0, 1].map(|_| scope.spawn(|| process.wait()));
        for wait in waiting {
            assert_eq!(wait.join().expect("thread").expect("wait"), 128 + 15);
        }
    });
    assert_eq!(process.try_wait().expect("ended"), Some(128 + 15));
    assert_eq!(process.signal(Signal::TERM).expect_err("ended").kind(), Kind::Status);
    let mut polled = [rustix::event::PollFd::new(&process, rustix::event::PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut polled, Some(&rustix::event::Timespec::default())), Ok(1));

    assert_eq!(container.exec(quiet(&["missing"])).expect_err("none").kind(), Kind::ProgramMissing);
    container.delete(true).expect("delete");
}

#[test]
fn a_process_goes_on_without_its_value() {
    let Some(place) = Place::new("dropped") else { return };
    let (container, _output) = place.create("dropped", "sleep 100");
    container.start().expect("start");
    let pid = container.exec(quiet(&["sleep", "0.2"])).expect("exec").pid();
    // The zombie that the documentation names.
    let pid = rustix::process::Pid::from_raw(pid).expect("pid");
    let ended = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED).expect("wait");
    assert_eq!(ended.expect("ended").exit_status(), Some(0));
    container.delete(true).expect("delete");
}

#[test]
fn one_more_program_on_a_terminal() {
    let Some(place) = Place::new("exec-terminal") else { return };
    let bundle = place.bundle_with_terminals("sleep 100", false);
    let options = CreateOptions::new().stdin(Stdio::Null).stdout(Stdio::Null);
    let container = Container::create(&place.root(), "exec-terminal", &bundle, options).expect("create");
    container.start().expect("start");
    let script = "stty -echo; stty size; read line; echo got $line; stty size; exit 3";
    let script = script.replace("stty", "busybox stty");
    let options = ExecOptions::new(["sh", "-c", &script]).terminal_size(24, 80);
    let mut process = container.exec(options).expect("exec");
    process.resize(30, 100).expect("resize");
    assert!(process.terminal().is_some());
    let mut terminal = fs::File::from(process.take_terminal().expect("terminal"));
    assert!(process.take_terminal().is_none());
    assert_eq!(process.resize(1, 1).expect_err("taken").kind(), Kind::Invalid);
    terminal.write_all(b"a line\n").expect("typed");
    let said = screen(&mut terminal);
    assert!(said.ends_with("got a line\n30 100\n"), "{said:?}");
    pillbox::resize_terminal(&terminal, 40, 120).expect("resize");
    assert_eq!(process.wait().expect("wait"), 3);

    // Dropping the master hangs the terminal up.
    let options = ExecOptions::new(["sleep", "1000"]).terminal(true);
    let mut process = container.exec(options).expect("exec");
    drop(process.take_terminal());
    assert_eq!(process.wait().expect("wait"), 128 + 1);
    container.delete(true).expect("delete");
}

#[test]
fn a_container_on_a_terminal() {
    let Some(place) = Place::new("terminal") else { return };
    let script =
        "busybox stty size; test -t 0 && test -t 1 && test -t 2 && read line && echo got $line; exit 4";
    let bundle = place.bundle_with_terminals(script, true);
    let mut container =
        Container::create(&place.root(), "terminal", &bundle, CreateOptions::new()).expect("create");
    container.resize(25, 81).expect("resize");
    let other = Container::open(&place.root(), "terminal").expect("open");
    assert!(other.terminal().is_none());
    assert_eq!(other.resize(1, 1).expect_err("elsewhere").kind(), Kind::Invalid);
    assert!(container.terminal().is_some());
    let mut terminal = fs::File::from(container.take_terminal().expect("terminal"));
    assert!(container.terminal().is_none() && container.take_terminal().is_none());
    container.start().expect("start");
    terminal.write_all(b"a line\n").expect("typed");
    let said = screen(&mut terminal);
    assert!(said.contains("25 81\n") && said.ends_with("got a line\n"), "{said:?}");
    assert_eq!(container.wait().expect("wait"), 4);
    container.delete(false).expect("delete");

    // A master that was not taken is dropped with the value, and readers of the terminal find its end.
    let bundle = Bundle { config: bundle.config.replace("busybox stty size;", "cat;"), ..bundle };
    let container =
        Container::create(&place.root(), "hung-up", &bundle, CreateOptions::new()).expect("create");
    container.start().expect("start");
    let (pidfd, pid) = (container.pidfd().expect("pidfd"), container.pid().expect("pid"));
    drop(container);
    rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).expect("it ends");
    assert_ne!(pid, 0);
    Container::open(&place.root(), "hung-up").expect("open").delete(true).expect("delete");
}

#[test]
fn errors_tell_what_they_are() {
    let Some(place) = Place::new("errors") else { return };
    let create = |bundle: &Bundle, id: &str| {
        let options = CreateOptions::new().stdin(Stdio::Null);
        Container::create(&place.root(), id, bundle, options)
    };
    let kind_of = |bundle: &Bundle, id: &str| create(bundle, id).expect_err(id).kind();
    assert_eq!(Container::open(&place.root(), "none").expect_err("none").kind(), Kind::NotFound);
    assert_eq!(Bundle::read("/nonexistent".as_ref(), None).expect_err("none").kind(), Kind::Invalid);
    assert_eq!(kind_of(&place.bundle("true"), "a/b"), Kind::Invalid);
    let with = |config: &str| Bundle::with_config(&place.folder, config.into()).expect("bundle");
    assert_eq!(kind_of(&with("{"), "json"), Kind::Invalid);
    assert_eq!(kind_of(&with(r#"{"ociVersion": "9.0.0"}"#), "version"), Kind::Invalid);
    let missing = place.bundle_of(json!(["/bin/missing"]));
    assert_eq!(kind_of(&missing, "program"), Kind::ProgramMissing);
    assert_eq!(kind_of(&place.bundle_of(json!(["/bin"])), "program"), Kind::NotExecutable);

    let container = create(&place.bundle("exit 0"), "there").expect("create");
    assert_eq!(kind_of(&place.bundle("true"), "there"), Kind::Exists);
    // `create` found it, but it is gone at `start`: the container ends accordingly.
    fs::rename(place.folder.join("rootfs/bin/sh"), place.folder.join("rootfs/bin/was-sh")).expect("rename");
    container.start().expect("start");
    assert_eq!(container.wait().expect("wait"), 127);
    fs::rename(place.folder.join("rootfs/bin/was-sh"), place.folder.join("rootfs/bin/sh")).expect("rename");
    container.delete(false).expect("delete");

    let container = create(&place.bundle("exit 0"), "twice").expect("create");
    container.start().expect("start");
    assert_eq!(container.start().expect_err("started").kind(), Kind::Status);
    container.wait().expect("wait");
    assert_eq!(container.pause().expect_err("ended").kind(), Kind::Status);
    container.delete(false).expect("delete");
}

#[test]
fn the_environment_is_not_looked_at() {
    const INSIDE: &str = "PILLBOX_TEST_ENVIRONMENT";
    if std::env::var_os(INSIDE).is_none() {
        let Some(_alone) = Place::new("environment") else { return };
        let mut again = std::process::Command::new(std::env::current_exe().expect("path"));
        again.args(["--exact", "the_environment_is_not_looked_at", "--nocapture"]).env(INSIDE, "1");
        again.envs([("XDG_RUNTIME_DIR", "/trap"), ("NOTIFY_SOCKET", "/trap/notify"), ("LISTEN_FDS", "7")]);
        let ended = again.output().expect("this test once more");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        return;
    }
    let Some(place) = Place::new("environment-inside") else { return };
    assert_eq!(Root::of_user(None).path(), Path::new("/run/pillbox"));
    let (container, output) = place.create("environment", "exec busybox env");
    container.start().expect("start");
    let seen = text(output);
    assert!(seen.contains("PATH=/bin\n"), "{seen}");
    assert!(!["NOTIFY", "LISTEN", "XDG", "trap"].iter().any(|word| seen.contains(word)), "{seen}");
    container.wait().expect("wait");
    container.delete(false).expect("delete");
}

/// By every way in which a network namespace is made or joined, before the program runs.
#[test]
fn a_network_namespace_is_the_callers_to_configure() {
    let Some(place) = Place::new("network") else { return };
    let all = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    let (first, _output) = place.create("first", "sleep 100");
    let path = format!("/proc/{}/ns/net", first.pid().expect("pid"));
    type Way<'w> = (&'w str, bool, &'w dyn Fn(&mut Value));
    let ways: [Way<'_>; 3] = [
        ("made beside init", true, &|_| {}),
        ("made by init", true, &|config| {
            let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
            namespaces.push(json!({"type": "user"}));
            config["linux"]["uidMappings"] = all.clone();
            config["linux"]["gidMappings"] = all.clone();
        }),
        ("joined", false, &|config| config["linux"]["namespaces"][2]["path"] = json!(path)),
    ];
    for (way, is_new, change) in ways {
        let bundle = place.bundle("cat /proc/net/dev");
        let mut config: Value = serde_json::from_str(&bundle.config).expect("JSON");
        change(&mut config);
        let bundle = Bundle { config: config.to_string(), ..bundle };
        let (told, hears) = std::sync::mpsc::channel();
        let (output, write_end) = std::io::pipe().expect("pipe");
        let options = CreateOptions::new().stdin(Stdio::Null).stdout(write_end);
        let options = options.network(move |mut network: Network| {
            let links = link::list(&mut network.socket)?;
            // What is changed here the program finds.
            let loopback = links.iter().find(|link| link.name == "lo").expect("loopback");
            network.socket.request(&[link::set_up(loopback.index)?])?;
            told.send((network.is_new, network.pid, network.namespace, loopback.is_up())).expect("heard");
            Ok::<_, pillbox::netlink::Error>(())
        });
        let container = Container::create(&place.root(), "second", &bundle, options);
        let container = container.unwrap_or_else(|error| panic!("{way}: {error}"));
        let (new, pid, namespace, up) = hears.try_recv().expect("called before create returned");
        assert_eq!((new, pid, up), (is_new, container.pid().expect("pid"), true), "{way}");
        let own = fs::metadata(format!("/proc/{pid}/ns/net")).expect("namespace");
        let given = rustix::fs::fstat(&namespace).expect("namespace");
        assert_eq!(std::os::unix::fs::MetadataExt::ino(&own), given.st_ino, "{way}");
        container.start().expect("start");
        assert!(text(output).contains("lo:"), "{way}");
        container.wait().expect("wait");
        container.delete(true).expect("delete");
    }
    first.delete(true).expect("delete");

    let options = || CreateOptions::new().stdin(Stdio::Null).stdout(Stdio::Null);
    let refused = options().network(|_| Err("no address is left"));
    let error = Container::create(&place.root(), "refused", &place.bundle("true"), refused).expect_err("it");
    assert_eq!(error.kind(), Kind::Network);
    assert_eq!(error.to_string(), "configure the network: no address is left");

    let mut config: Value = serde_json::from_str(&place.bundle("true").config).expect("JSON");
    config["linux"]["namespaces"].as_array_mut().expect("namespaces").retain(|one| one["type"] != "network");
    let bundle = Bundle::with_config(&place.folder, config.to_string()).expect("bundle");
    let options = options().network(|_| Err("it is the host's"));
    Container::create(&place.root(), "hosts", &bundle, options)
        .expect("create")
        .delete(true)
        .expect("delete");
}

#[test]
fn warnings_tell_what_they_are() {
    let Some(place) = Place::new("warnings") else { return };
    let bundle = place.bundle("exit 0");
    let mut config: Value = serde_json::from_str(&bundle.config).expect("JSON");
    config["process"]["capabilities"] = json!({"bounding": ["CAP_NONE"]});
    config["mounts"][0]["destination"] = json!("proc");
    let bundle = Bundle { config: config.to_string(), ..bundle };
    let options = CreateOptions::new().stdin(Stdio::Null);
    let container = Container::create(&place.root(), "warnings", &bundle, options).expect("create");
    let mut warnings: Vec<_> =
        container.warnings().iter().map(|warning| (warning.kind(), warning.field())).collect();
    warnings.sort_by_key(|(_, field)| *field);
    assert_eq!(
        warnings,
        [
            (WarningKind::Ignored, "mounts[0].destination"),
            (WarningKind::RightsLeftOut, "process.capabilities.bounding[0]"),
        ]
    );
    assert!(container.warnings()[0].to_string().starts_with(container.warnings()[0].field()));
    container.delete(true).expect("delete");
}

/// What an engine handles differently it tells by kind and errno, never by the text.
#[test]
fn errors_of_the_host_have_kinds() {
    let Some(place) = Place::new("kinds") else { return };
    let changed = |change: &dyn Fn(&mut Value)| {
        let bundle = place.bundle("exit 0");
        let mut config: Value = serde_json::from_str(&bundle.config).expect("JSON");
        change(&mut config);
        let bundle = Bundle { config: config.to_string(), ..bundle };
        let options = CreateOptions::new().stdin(Stdio::Null);
        let error = Container::create(&place.root(), "kinds", &bundle, options).expect_err("it fails");
        (error.kind(), error.os_error().map(Errno::from_raw_os_error), error.to_string())
    };
    type Case<'c> = (Kind, Option<Errno>, &'c dyn Fn(&mut Value));
    let cases: [Case<'_>; 8] = [
        (Kind::SourceMissing, Some(Errno::NOENT), &|config| config["root"]["path"] = json!("missing")),
        (Kind::SourceMissing, Some(Errno::NOENT), &|config| {
            config["mounts"][0] = json!({"destination": "/x", "source": "/missing", "options": ["bind"]});
        }),
        (Kind::SourceMissing, Some(Errno::NOENT), &|config| {
            config["linux"]["namespaces"][2] = json!({"type": "network", "path": "/missing"});
        }),
        (Kind::Unsupported, Some(Errno::NODEV), &|config| {
            config["mounts"][0] = json!({"destination": "/x", "type": "nonesuch", "source": "x"});
        }),
        (Kind::Mount, Some(Errno::INVAL), &|config| {
            config["mounts"][0] =
                json!({"destination": "/x", "type": "tmpfs", "source": "x", "options": ["size=x"]});
        }),
        (Kind::Hook, None, &|config| {
            let busybox = place.folder.join("rootfs/bin/busybox");
            config["hooks"] = json!({"createRuntime": [{"path": busybox, "args": ["false"]}]});
        }),
        (Kind::Hook, None, &|config| {
            let busybox = place.folder.join("rootfs/bin/busybox");
            config["hooks"] =
                json!({"createRuntime": [{"path": busybox, "args": ["sleep", "100"], "timeout": 1}]});
        }),
        (Kind::Network, None, &|config| config["linux"]["netDevices"] = json!({"missing0": {}})),
    ];
    for (index, (kind, errno, change)) in cases.into_iter().enumerate() {
        let (found, os_error, text) = changed(change);
        assert_eq!(found, kind, "{index}: {text}");
        if errno.is_some() {
            assert_eq!(os_error, errno, "{index}: {text}");
        }
    }

    let interpreted = place.folder.join("rootfs/bin/interpreted");
    fs::write(&interpreted, "#!/missing\n").expect("file");
    fs::set_permissions(&interpreted, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    let (container, _output) = place.create("kinds", "sleep 100");
    container.start().expect("start");
    let kind_of = |options: ExecOptions| container.exec(options).expect_err("it fails").kind();
    assert_eq!(kind_of(quiet(&["interpreted"])), Kind::InterpreterMissing);
    assert_eq!(kind_of(quiet(&["/bin"])), Kind::NotExecutable);
    assert_eq!(kind_of(quiet(&[])), Kind::Invalid);
    assert_eq!(kind_of(quiet(&["true"]).cgroup("missing")), Kind::Cgroup);
    assert_eq!(signal::parse("NONE").expect_err("unknown").kind(), Kind::Invalid);
    container.delete(true).expect("delete");
}

/// Containers that were never started or still run are removed by force, and waited for.
#[test]
fn removed_in_any_state() {
    let Some(place) = Place::new("force") else { return };
    for starts in [false, true] {
        let (container, _output) = place.create("force", "sleep 100");
        if starts {
            container.start().expect("start");
        }
        container.delete(true).expect("delete");
        assert_eq!(container.wait().expect("it was killed"), 137);
    }
}

/// Whenever it ends: a program that enters it finds it running, or the error says that it is not.
#[test]
fn one_more_program_while_it_ends() {
    let Some(place) = Place::new("end") else { return };
    enter_while_it_ends(&place, 0..40);
}

fn enter_while_it_ends(place: &Place, rounds: std::ops::Range<u64>) {
    for round in rounds {
        let (container, output) = place.create("end", "exec sleep 1000");
        container.start().expect("start");
        let results = std::thread::scope(|scope| {
            let entering = || {
                let options = ExecOptions::new(["sleep", "1000"]);
                let options = options.stdin(Stdio::Null).stdout(Stdio::Null).stderr(Stdio::Null);
                container.exec(options).and_then(|process| process.wait())
            };
            let threads = [scope.spawn(entering), scope.spawn(entering)];
            std::thread::sleep(Duration::from_micros(250 * (round % 40)));
            container.kill(Signal::KILL).expect("kill");
            threads.map(|thread| thread.join().expect("no panic"))
        });
        for result in results {
            match result {
                Ok(status) => assert_eq!(status, 137),
                Err(error) => assert_eq!(error.kind(), Kind::Status, "{error}"),
            }
        }
        drop(output);
        assert_eq!(container.wait().expect("wait"), 137);
        container.delete(false).expect("delete");
    }
}

/// A child whose parent did not wait with the value that `create` returned.
#[test]
fn status_by_another_value() {
    let Some(place) = Place::new("other") else { return };
    let (container, _output) = place.create("other", "exit 9");
    container.start().expect("start");
    let other = Container::open(&place.root(), "other").expect("open");
    assert_eq!(other.wait().expect("wait"), 9);
    assert_eq!(container.wait().expect("wait"), 9);
    container.delete(false).expect("delete");
}

/// A program may have all its children collected when they end, as by a handler of SIGCHLD.
#[test]
fn its_children_are_collected_by_others() {
    let Some(place) = Place::new("collected") else { return };
    let hook = json!([{"path": place.folder.join("rootfs/bin/busybox"), "args": ["true"]}]);
    let inside = json!([{"path": "/bin/busybox", "args": ["true"]}]);
    let with_hooks = json!({
        "ociVersion": "1.3.0",
        "process": {"args": ["/bin/sh", "-c", "exit 9"], "cwd": "/", "env": ["PATH=/bin"]},
        "root": {"path": "rootfs"},
        "hooks": {"createRuntime": hook, "startContainer": inside, "poststart": hook},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]}
    });
    let with_hooks = Bundle::with_config(&place.folder, with_hooks.to_string()).expect("bundle");
    let missing = place.bundle_of(json!(["/bin/missing"]));
    while_children_are_collected(|| {
        for _ in 0..20 {
            let options = || CreateOptions::new().stdin(Stdio::Null);
            let error =
                Container::create(&place.root(), "none", &missing, options()).expect_err("no program");
            assert_eq!(error.kind(), Kind::ProgramMissing, "{error}");
            let container =
                Container::create(&place.root(), "hooks", &with_hooks, options()).expect("create");
            container.start().expect("start");
            assert_eq!(container.wait().expect("wait"), 9);
            container.delete(false).expect("delete");
        }
    });
    while_children_are_collected(|| enter_while_it_ends(&place, 0..100));
}

/// Runs `work` while another thread collects all children, whoever made them.
fn while_children_are_collected(work: impl FnOnce()) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            while !done.load(Ordering::Relaxed) {
                if !matches!(rustix::process::waitid(WaitId::All, options), Ok(Some(_))) {
                    std::thread::yield_now();
                }
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// The library's own sockets and pidfds must not get the numbers of the streams, which its children replace.
#[test]
fn the_callers_streams_may_be_closed() {
    const INSIDE: &str = "PILLBOX_TEST_CLOSES_STREAMS";
    if std::env::var_os(INSIDE).is_none() {
        let Some(_alone) = Place::new("closes") else { return };
        // Run again alone, so that nothing else prints meanwhile.
        let mut again = std::process::Command::new(std::env::current_exe().expect("path"));
        again.args(["--exact", "the_callers_streams_may_be_closed", "--nocapture"]).env(INSIDE, "1");
        let ended = again.output().expect("this test once more");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        return;
    }
    let Some(place) = Place::new("closed") else { return };
    let kept = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 10).expect("dup");
    for stream in [0, 1] {
        // SAFETY: nothing reads or prints before other descriptors have these numbers.
        unsafe { rustix::io::close(stream) };
    }
    let options = || CreateOptions::new().stdin(Stdio::Null).stdout(Stdio::Null);
    let container = Container::create(&place.root(), "closed", &place.bundle("exec sleep 100"), options());
    let entered = container.and_then(|container| {
        container.start()?;
        let options = ExecOptions::new(["sh", "-c", "exit 9"]).stdin(Stdio::Null).stdout(Stdio::Null);
        let entered = container.exec(options).and_then(|process| process.wait());
        container.delete(true)?;
        entered
    });
    rustix::stdio::dup2_stdout(&kept).expect("dup2");
    drop(kept);
    assert_eq!(entered.unwrap_or_else(|error| panic!("{error}")), 9);
}

/// Making the seed namespace must not separate this thread from the others.
#[test]
fn working_folder_stays_shared_by_threads() {
    let Some(place) = Place::new("threads-fs") else { return };
    let pin = Path::new("/run/pillbox/.seed");
    rustix::mount::unmount(pin, rustix::mount::UnmountFlags::DETACH).ok();
    let before = std::env::current_dir().expect("folder");
    std::thread::scope(|scope| {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        // A thread that existed before.
        let other = scope.spawn(move || {
            wait.recv().expect("go");
            std::env::set_current_dir("/proc").expect("chdir");
        });
        let (container, _output) = place.create("threads-fs", "true");
        container.delete(true).expect("delete");
        go.send(()).expect("go");
        other.join().expect("thread");
    });
    assert_eq!(std::env::current_dir().expect("folder"), Path::new("/proc"));
    std::env::set_current_dir(before).expect("chdir");
}

#[test]
fn a_cgroup_is_paused_and_resumed() {
    let Some(place) = Place::new("pause") else { return };
    let (container, _output) = place.create("pause", "sleep 100");
    container.start().expect("start");
    container.pause().expect("pause");
    let patience = Instant::now() + Duration::from_secs(10);
    while container.status().expect("status") != Status::Paused {
        assert!(Instant::now() < patience);
    }
    container.resume().expect("resume");
    assert_eq!(container.status().expect("status"), Status::Running);
    container.delete(true).expect("delete");
}
