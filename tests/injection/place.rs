//! Where one unit's containers live: a pid namespace with this program as its first process, a tmpfs, a
//! cgroup; and what must be empty again after each container.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::Value;

use crate::bundle::{self, Bundle, Paths};
use crate::connection;
use crate::tracer;
use crate::watchdog::{LIMIT, Watchdog, processes};

/// The folder for everything.
const SCRATCH: &str = "/run/injection";
/// The container's id.
pub const ID: &str = "box";
const HIERARCHY: &str = "/sys/fs/cgroup";
const PIN: &str = "/run/pillbox/.seed";

/// The result of a command that was not traced.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub hung: Option<String>,
}

/// The surroundings of a unit.
pub struct Place {
    pub watchdog: Watchdog,
    pub bundle: Bundle,
    runtime: PathBuf,
    scratch: PathBuf,
    /// The path from the hierarchy's root on.
    cgroup: String,
    holder: i32,
    mounts: BTreeSet<String>,
    /// What networks have on the machine before any container.
    networks: Vec<String>,
    /// The sockets that receive terminals and listeners.
    sockets: Vec<UnixListener>,
}

impl Place {
    /// `cgroup` is one of this unit's own, which exists already.
    pub fn new(runtime: &Path, bundle: Bundle, cgroup: String) -> io::Result<Self> {
        mount("tmpfs", "/run", "tmpfs", MountFlags::NOSUID, c"mode=755")?;
        let scratch = PathBuf::from(SCRATCH);
        for folder in ["state", "bundle/rootfs/bin", "volume", "out"] {
            fs::create_dir_all(scratch.join(folder))?;
        }
        let rootfs = scratch.join("bundle/rootfs");
        for folder in ["proc", "sys", "dev", "etc", "tmp", "mnt", "volume", "scratch", "ran"] {
            fs::create_dir(rootfs.join(folder))?;
        }
        fs::copy("/bin/busybox", rootfs.join("bin/busybox"))?;
        for name in ["sh", "sleep", "true"] {
            symlink("busybox", rootfs.join("bin").join(name))?;
        }
        for file in ["etc/file", "etc/passwd", "etc/group"] {
            fs::write(rootfs.join(file), "")?;
        }
        fs::write(scratch.join("volume/file"), "")?;
        // The containers' programs leave their signs here, as whatever user.
        fs::set_permissions(rootfs.join("ran"), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
        if bundle == Bundle::User {
            chown(&rootfs, Some(100_000), Some(100_000))?;
        }
        let mut place = Place {
            watchdog: Watchdog::start(),
            bundle,
            runtime: runtime.to_path_buf(),
            scratch,
            cgroup,
            holder: 0,
            mounts: BTreeSet::new(),
            networks: Vec::new(),
            sockets: Vec::new(),
        };
        for socket in ["console.sock", "agent.sock"] {
            let socket = UnixListener::bind(place.path(socket))?;
            socket.set_nonblocking(true)?;
            place.sockets.push(socket);
        }
        place.mounts = mounts();
        if bundle.is_connected() {
            connection::prepare()?;
        }
        match bundle {
            Bundle::Network | Bundle::FirstNetwork => {
                fs::write(place.path("bundle/netconf.json"), bundle::NETCONF)?;
            }
            Bundle::Plugin => {
                fs::create_dir(place.path("plugins"))?;
                symlink(runtime, place.path("plugins/pillbox-net"))?;
                fs::write(place.path("net.conflist"), bundle::CONFLIST)?;
            }
            _ => {}
        }
        Ok(place)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// Makes everything as before a container exists; the container will run `script`.
    pub fn begin(&mut self, script: &str) -> io::Result<()> {
        self.keep_holder()?;
        for sign in fs::read_dir(self.path("bundle/rootfs/ran"))?.flatten() {
            fs::remove_file(sign.path())?;
        }
        for name in self.strays() {
            fs::remove_file(self.path("bundle").join(name.trim_start_matches("file ")))?;
        }
        // Connections that were not accepted are dropped.
        for socket in &self.sockets {
            while socket.accept().is_ok() {}
        }
        if self.bundle == Bundle::Unseeded {
            // It may lie over a cover of its own.
            while unmount(PIN, UnmountFlags::DETACH).is_ok() {}
            // Before the first container there is none.
            let _ = fs::remove_file(PIN);
        }
        let paths =
            Paths { scratch: &self.scratch, cgroup: &format!("{}/{ID}", self.cgroup), holder: self.holder };
        fs::write(self.path("bundle/config.json"), bundle::config(self.bundle, script, &paths).to_string())?;
        match self.bundle {
            Bundle::Network | Bundle::Plugin => self.keep_network(),
            Bundle::FirstNetwork => self.remove_network(),
            _ => Ok(()),
        }
    }

    /// Makes sure that the network is there.
    fn keep_network(&mut self) -> io::Result<()> {
        if connection::is_there() {
            return Ok(());
        }
        let mut create = vec!["create".to_string(), format!("--bundle={}", self.path("bundle").display())];
        create.extend(self.network_flags());
        create.push(ID.to_string());
        self.succeed(&create.iter().map(String::as_str).collect::<Vec<_>>())?;
        self.succeed(&["delete", "--force", ID])?;
        // A container's links go with its network namespace, which takes a moment.
        wait_until(LIMIT, || connection::of_a_container().is_empty());
        self.networks = connection::of_networks();
        Ok(())
    }

    /// The flags by which a container gets its network.
    pub fn network_flags(&self) -> Vec<String> {
        if self.bundle != Bundle::Plugin {
            return Vec::new();
        }
        let list = self.path("net.conflist");
        vec![
            format!("--cni={}", list.display()),
            "--publish=8080:80".into(),
            "--publish=127.0.0.1:8081:81/udp".into(),
        ]
    }

    /// Makes sure that it is not, nor anything of it.
    fn remove_network(&self) -> io::Result<()> {
        if connection::is_there() {
            self.succeed(&["net", "rm", connection::NETWORK])?;
        }
        Ok(())
    }

    /// What somebody does who wants the machine's networks in order; what is wrong with them all the same.
    pub fn put_networks_right(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (arguments, is_silent) in [(&["net", "gc"], false), (&["net", "check"], true)] {
            match self.call(arguments) {
                Ok(Ended { code: 0, stderr, stdout, .. })
                    if stderr.is_empty() && (stdout.is_empty() || !is_silent) => {}
                ended => wrong.push(format!("{}: {ended:?}", arguments.join(" "))),
            }
        }
        if self.bundle == Bundle::FirstNetwork {
            wrong.extend(self.remove_network().err().map(|error| error.to_string()));
        }
        // Links go with a network namespace, which takes a moment.
        wait_until(Duration::from_secs(2), || connection::of_a_container().is_empty());
        wrong.extend(connection::of_a_container());
        let now = connection::of_networks();
        wrong.extend(
            now.iter().filter(|line| !self.networks.contains(line)).map(|line| format!("left: {line}")),
        );
        wrong.extend(
            self.networks.iter().filter(|line| !now.contains(line)).map(|line| format!("gone: {line}")),
        );
        wrong
    }

    fn succeed(&self, arguments: &[&str]) -> io::Result<()> {
        let ended = self.call(arguments)?;
        match (ended.code, ended.stderr.is_empty()) {
            (0, true) => Ok(()),
            _ => Err(io::Error::other(format!("{}: {ended:?}", arguments.join(" ")))),
        }
    }

    /// Makes sure that there is a process whose namespaces can be joined.
    fn keep_holder(&mut self) -> io::Result<()> {
        if self.bundle != Bundle::Joined || Path::new("/proc").join(self.holder.to_string()).exists() {
            return Ok(());
        }
        let mut holder = Command::new("unshare");
        holder.args(["-i", "-u", "-n", "-p", "--fork", "--kill-child", "sleep", "100000"]);
        let holder = holder.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        self.holder = i32::try_from(holder.id()).map_err(io::Error::other)?;
        let begun = Instant::now();
        while self.holders().len() < 2 && begun.elapsed() < LIMIT {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// The process whose namespaces are joined, and its child.
    fn holders(&self) -> Vec<i32> {
        if self.holder == 0 {
            return Vec::new();
        }
        let path = format!("/proc/{0}/task/{0}/children", self.holder);
        let children = fs::read_to_string(path).unwrap_or_default();
        let child = children.split(' ').find_map(|pid| pid.parse().ok());
        // It has its namespaces as soon as the child executes sleep.
        let sleeps = |pid: &i32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep")
        };
        [Some(self.holder), child.filter(sleeps)].into_iter().flatten().collect()
    }

    /// `pillbox --root STATE ARGUMENTS`. Its output goes to files with this name, because a container
    /// continues to write to the files of the command that made it.
    pub fn command(&self, arguments: &[String], name: &str) -> io::Result<Command> {
        let mut command = Command::new(&self.runtime);
        command.arg("--root").arg(self.path("state")).args(arguments).current_dir("/");
        command.env_clear().env("PATH", "/bin:/usr/bin").stdin(Stdio::null());
        command.env("CNI_PATH", self.path("plugins"));
        let [stdout, stderr] = self.output_files(name);
        command.stdout(File::create(stdout)?).stderr(File::create(stderr)?);
        Ok(command)
    }

    fn output_files(&self, name: &str) -> [PathBuf; 2] {
        ["stdout", "stderr"].map(|stream| self.path("out").join(format!("{name}-{stream}")))
    }

    /// Runs a command without tracing it.
    pub fn call(&self, arguments: &[&str]) -> io::Result<Ended> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let name = arguments.first().map_or("", String::as_str);
        let (status, hung) = tracer::run_untraced(&mut self.command(&arguments, name)?, &self.watchdog)?;
        Ok(self.ended(tracer::code(status), hung, name))
    }

    /// What the command with this name has written.
    pub fn ended(&self, code: i32, hung: Option<String>, name: &str) -> Ended {
        let text = |path: PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let [stdout, stderr] = self.output_files(name).map(text);
        Ended { code, stdout, stderr, hung }
    }

    /// What a created container has written to its stderr.
    pub fn program_said(&self) -> String {
        let [_, stderr] = self.output_files("create");
        fs::read_to_string(stderr).unwrap_or_default()
    }

    /// Whether a program in the container has left this sign, now or within three seconds.
    pub fn has_run(&self, sign: &str) -> bool {
        wait_until(Duration::from_secs(3), || self.has_run_by_now(sign))
    }

    pub fn has_run_by_now(&self, sign: &str) -> bool {
        self.path("bundle/rootfs/ran").join(sign).exists()
    }

    /// The document that `state` prints.
    pub fn state(&self) -> Option<Value> {
        let ended = self.call(&["state", ID]).ok()?;
        serde_json::from_str(&ended.stdout).ok()
    }

    pub fn status(&self) -> String {
        let state = self.state().unwrap_or_default();
        state["status"].as_str().unwrap_or("unknown").to_string()
    }

    /// The container's first process.
    pub fn pid(&self) -> Option<i32> {
        i32::try_from(self.state()?["pid"].as_i64()?).ok()
    }

    /// A file of the container's cgroup.
    pub fn limit(&self, name: &str) -> String {
        let folder = Path::new(HIERARCHY).join(self.cgroup.trim_start_matches('/')).join(ID);
        fs::read_to_string(folder.join(name)).unwrap_or_default().trim().to_string()
    }

    /// Removes the state folder and the cgroup of a container that has ended.
    pub fn forget(&self, id: &str) -> io::Result<()> {
        fs::remove_dir_all(self.path("state").join(id))?;
        remove_cgroups(&Path::new(HIERARCHY).join(self.cgroup.trim_start_matches('/')));
        Ok(())
    }

    /// What was not there before any container; processes that are about to end have two seconds.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        wait_until(Duration::from_secs(2), || {
            tracer::reap();
            left = self.leftovers_now();
            left.is_empty()
        });
        left
    }

    pub fn leftovers_now(&self) -> Vec<String> {
        let names = |folder: &Path| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<BTreeSet<_>>()
        };
        let holders = self.holders();
        let processes = processes().into_iter().filter(|pid| !holders.contains(pid));
        let mut left: Vec<String> =
            processes.map(|pid| format!("process {}", crate::watchdog::describe(pid))).collect();
        left.extend(names(&self.path("state")).into_iter().map(|name| format!("state {name}")));
        let cgroups = Path::new(HIERARCHY).join(self.cgroup.trim_start_matches('/'));
        let is_folder = |name: &String| cgroups.join(name).is_dir();
        left.extend(names(&cgroups).into_iter().filter(is_folder).map(|name| format!("cgroup {name}")));
        left.extend(mounts().difference(&self.mounts).map(|point| format!("mount {point}")));
        // A plugin that fails does not keep a container from being deleted: what it leaves is for net gc.
        if self.bundle.is_connected() && self.bundle != Bundle::Plugin {
            left.extend(connection::of_a_container());
        }
        left
    }

    /// Files of the runtime that nobody asked for, beside those that exist on purpose.
    pub fn strays(&self) -> Vec<String> {
        let known = ["config.json", "netconf.json", "rootfs", "pid"];
        let entries = fs::read_dir(self.path("bundle")).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| !known.contains(&name.as_str())).map(|name| format!("file {name}")).collect()
    }

    /// Ends and removes whatever is left, so that the next case starts clean.
    pub fn clear(&self) {
        let holders = self.holders();
        for pid in processes().into_iter().filter(|pid| !holders.contains(pid)) {
            tracer::kill(pid);
        }
        for point in mounts().difference(&self.mounts) {
            // It may have gone with another one.
            let _ = unmount(point.as_str(), UnmountFlags::DETACH);
        }
        wait_until(Duration::from_secs(2), || {
            tracer::reap();
            remove_cgroups(&Path::new(HIERARCHY).join(self.cgroup.trim_start_matches('/')));
            let _ = fs::remove_dir_all(self.path("state"));
            let _ = fs::create_dir(self.path("state"));
            if self.bundle.is_connected() {
                let _ = connection::clear();
            }
            self.leftovers_now().is_empty()
        });
    }
}

/// Removes the cgroups below `folder`.
pub fn remove_cgroups(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = fs::write(entry.path().join("cgroup.freeze"), "0");
            let _ = fs::write(entry.path().join("cgroup.kill"), "1");
            remove_cgroups(&entry.path());
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Checks every two milliseconds until it is so, or the time is over.
pub fn wait_until(at_most: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > at_most {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// The mount points of this namespace, except the pinned seed and what covers its place.
fn mounts() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = text.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter(|point| *point != PIN).map(String::from).collect()
}
