//! A store and a busybox root file system for each test, and calls of box.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::host;

/// Programs of the root file system.
const APPLETS: [&str; 33] = [
    "cat", "chmod", "chown", "dd", "echo", "env", "grep", "head", "hostname", "id", "ip", "kill", "ln", "ls",
    "mkdir", "mount", "nc", "nslookup", "ping", "ps", "pwd", "readlink", "rm", "rmdir", "sh", "sleep",
    "stat", "stty", "touch", "true", "wc", "wget", "yes",
];

/// Everything of one test.
pub struct Room {
    pub folder: PathBuf,
    /// Who calls box; 0 is root.
    user: u32,
}

/// What box did.
#[derive(Debug)]
pub struct Output {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
    call: String,
}

impl Room {
    /// `None` if the tests cannot run here.
    pub fn new() -> Option<Room> {
        Room::of_user(0)
    }

    /// The same for an ordinary user.
    pub fn of_user(user: u32) -> Option<Room> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !host::isolated() {
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = Path::new(host::SCRATCH).join(format!("engine-{number}"));
        let room = Room { folder, user };
        for name in ["", "runtime", "home"] {
            fs::create_dir(room.folder.join(name)).expect("folder");
            chown(room.folder.join(name), Some(user), Some(user)).expect("chown");
        }
        // Stands for the machine's.
        let containers = room.folder.join("home/.config/containers");
        fs::create_dir_all(&containers).expect("folder");
        fs::write(containers.join("registries.conf"), "").expect("file");
        for path in [containers.parent().expect("folder"), &containers] {
            chown(path, Some(user), Some(user)).expect("chown");
        }
        host::copy_program(Path::new(env!("CARGO_BIN_EXE_box")), &room.folder.join("box"));
        room.make_rootfs();
        Some(room)
    }

    fn make_rootfs(&self) {
        let rootfs = self.rootfs();
        for name in ["bin", "etc", "proc", "sys", "dev", "tmp"] {
            fs::create_dir_all(rootfs.join(name)).expect("folder");
        }
        fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("chmod");
        host::copy_program(&host::busybox(), &rootfs.join("bin/busybox"));
        for applet in APPLETS {
            symlink("busybox", rootfs.join("bin").join(applet)).expect("applet");
        }
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv:/bin/sh\n";
        fs::write(rootfs.join("etc/passwd"), passwd).expect("passwd");
        fs::write(rootfs.join("etc/group"), "root:x:0:\nweb:x:34:\nlogs:x:50:web\n").expect("group");
    }

    pub fn rootfs(&self) -> PathBuf {
        self.folder.join("rootfs")
    }

    /// Who calls box.
    pub fn user(&self) -> u32 {
        self.user
    }

    /// Makes the folder its user's, who could not write to it otherwise.
    pub fn give_rootfs(&self) {
        if self.user != 0 {
            let mut chown = Command::new("chown");
            chown.arg("-hR").arg(format!("{0}:{0}", self.user)).arg(self.rootfs());
            assert!(chown.status().expect("chown").success());
        }
    }

    /// The root file system as a tar, compressed as its name says.
    pub fn tar(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        let mut tar = Command::new("tar");
        tar.arg("--numeric-owner").arg("-caf").arg(&path).arg("-C").arg(self.rootfs()).arg(".");
        assert!(tar.status().expect("tar").success());
        path
    }

    pub fn data(&self) -> PathBuf {
        self.folder.join("home/.local/share/pillbox")
    }

    /// box with these arguments, to be started.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        self.command_within("60", arguments)
    }

    /// The same for this many seconds at the most.
    pub fn command_within<A: AsRef<OsStr>>(&self, seconds: &str, arguments: &[A]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--foreground", "-k", "1", seconds]);
        if self.user != 0 {
            let user = self.user.to_string();
            command.args(["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"]);
        }
        command.arg(self.folder.join("box"));
        command
            .arg("--data-root")
            .arg(self.data())
            .arg("--exec-root")
            .arg(self.folder.join("runtime/pillbox"));
        let (verb, rest) = arguments.split_at(1.min(arguments.len()));
        command.args(verb);
        // Whatever is left of a test that is cut short is removed with this.
        if self.user == 0
            && verb.iter().any(|verb| matches!(verb.as_ref().to_str(), Some("run" | "create" | "build")))
        {
            command.arg(format!("--cgroup-parent=test-{}-engine", host::run_name()));
        }
        command.args(rest).current_dir(&self.folder).env_clear();
        command.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", self.folder.join("home"));
        command.env("XDG_RUNTIME_DIR", self.folder.join("runtime")).stdin(Stdio::null());
        command
    }

    #[track_caller]
    pub fn call(&self, arguments: &[&str]) -> Output {
        finish(&mut self.command(arguments))
    }

    /// `run --rm --network none` of the root file system as a folder.
    #[track_caller]
    pub fn run(&self, flags: &[&str], command: &[&str]) -> Output {
        let fixed: [&str; 4] = ["run", "--rm", "--network", "none"];
        self.give_rootfs();
        self.call(&[&fixed, flags, &["./rootfs"], command].concat())
    }

    /// `run -d --network none` of the root file system as a folder; the id.
    #[track_caller]
    pub fn start(&self, flags: &[&str], command: &[&str]) -> String {
        let fixed: [&str; 4] = ["run", "-d", "--network", "none"];
        self.give_rootfs();
        self.call(&[&fixed, flags, &["./rootfs"], command].concat()).ok().trim().to_string()
    }

    /// What `ps -a` says of the state of a container; empty if there is none.
    #[track_caller]
    pub fn state(&self, name: &str) -> String {
        let said = self.call(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]).ok();
        let states = said.lines().filter_map(|line| line.split_once(' '));
        states.filter(|(known, _)| *known == name).map(|(_, state)| state.to_string()).collect()
    }

    /// Nothing of a container is left. Its end is told before its folder and its mounts are gone: they are waited for.
    #[track_caller]
    pub fn assert_gone(&self) {
        let mut left = Vec::new();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(20) {
            left = self.leftovers();
            if left.is_empty() {
                return;
            }
            // What is gone for all commands is deleted behind an answer, or by the next command.
            let is_gone = |path: &PathBuf| path.to_string_lossy().contains("/containers/.gone-");
            if left.iter().all(is_gone) {
                self.call(&["ps"]).ok();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("left of containers: {left:?}");
    }

    /// Folders of containers, also those that are half removed, and mounts in this room.
    fn leftovers(&self) -> Vec<PathBuf> {
        let names = |folder: PathBuf| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path())
        };
        let is_half_made =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
        let containers = names(self.data().join("containers"));
        let states = names(self.folder.join("runtime/pillbox")).filter(|path| !is_half_made(path));
        let mounts =
            host::mountpoints().into_iter().filter(|point| Path::new(point).starts_with(&self.folder));
        containers.chain(states).chain(mounts.map(PathBuf::from)).collect()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            fs::remove_dir_all(&self.folder).expect("remove the test's folder");
        }
    }
}

#[track_caller]
pub fn finish(command: &mut Command) -> Output {
    let output = command.output().expect("start box");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let call = format!("{:?}", command.get_args().map(OsStr::to_string_lossy).collect::<Vec<_>>());
    let status = output.status.code().unwrap_or(-1);
    Output { status, stdout: text(output.stdout), stderr: text(output.stderr), call }
}

impl Output {
    /// It went well and said nothing on stderr.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!((self.status, &*self.stderr), (0, ""), "{}\n{}", self.call, self.stdout);
        self.stdout
    }

    #[track_caller]
    pub fn exits(self, status: i32) -> Output {
        assert_eq!(self.status, status, "{}\n{}{}", self.call, self.stdout, self.stderr);
        self
    }

    /// It failed with this status, and the last line on stderr has these words; others may stand before it.
    #[track_caller]
    pub fn fails_with(self, status: i32, words: &str) {
        let output = self.exits(status);
        let last = output.stderr.trim_end().lines().last().unwrap_or_default();
        assert!(last.starts_with("box: ") && last.contains(words), "{}\n{}", output.call, output.stderr);
    }

    /// It failed with this status, and a line on stderr that has these words.
    #[track_caller]
    pub fn fails(self, status: i32, words: &str) {
        let output = self.exits(status);
        assert!(output.stderr.contains(words), "{}\n{}", output.call, output.stderr);
        assert_eq!(output.stderr.trim_end().lines().count(), 1, "{}", output.stderr);
    }
}

/// Waits until something is so.
#[track_caller]
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}: not within 20 seconds");
        std::thread::sleep(Duration::from_millis(10));
    }
}
