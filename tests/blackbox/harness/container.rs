//! A bundle and its container; both are removed when the value is dropped, even after a panic.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{fs, io};

use rustix::mount::{UnmountFlags, unmount};
use serde_json::{Value, json};

use super::host::{self, SCRATCH};
use super::{Output, Running, Runtime, mountpoints, processes_naming, start_limited, wait_for};

/// The essentials of what `runc spec` writes, without a terminal and with a writable root.
const CONFIG: &str = include_str!("../../config.json");

/// A bundle with a busybox root, a state folder of its own, and the container with its id.
pub struct Container<'r> {
    pub runtime: &'r Runtime,
    pub id: String,
    /// The content for config.json.
    pub spec: Value,
    /// Everything that belongs to this container is below this folder.
    pub folder: PathBuf,
}

impl<'r> Container<'r> {
    /// A bundle with `runc spec`'s configuration, but without terminal, and with a writable root.
    pub fn new(runtime: &'r Runtime) -> Self {
        static IDS: AtomicU32 = AtomicU32::new(0);
        let id = format!("test-{}-{:04}", host::run_name(), IDS.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(SCRATCH).join(&id);
        for part in ["bundle", "state", "output"] {
            fs::create_dir_all(folder.join(part)).expect("test folder");
        }
        let container = Container { runtime, spec: base_spec(&id), id, folder };
        make_rootfs(&container.rootfs()).expect("root file system");
        container
    }

    /// The same with `script` as its program.
    pub fn sh(runtime: &'r Runtime, script: &str) -> Self {
        let mut container = Container::new(runtime);
        container.spec["process"]["args"] = json!(["/bin/sh", "-c", script]);
        container
    }

    /// A container that lives until it is killed. Once it has said `ready`, TERM ends it.
    pub fn sleeping(runtime: &'r Runtime) -> Self {
        Container::sh(runtime, "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done")
    }

    pub fn bundle(&self) -> PathBuf {
        self.folder.join("bundle")
    }

    pub fn rootfs(&self) -> PathBuf {
        self.bundle().join("rootfs")
    }

    /// The root file system as a tar.
    pub fn tar(&self) -> PathBuf {
        let path = self.folder.join("image.tar");
        // Tests share busybox by hard links. Each new link changes its ctime, and tar fails if that happens while it reads.
        let (linked, own) = (self.rootfs().join("bin/busybox"), self.folder.join("busybox"));
        host::copy_program(&linked, &own);
        fs::rename(own, linked).expect("busybox");
        let mut tar = Command::new("tar");
        tar.arg("-cf").arg(&path).arg("-C").arg(self.rootfs()).arg(".");
        assert!(tar.status().expect("tar").success());
        path
    }

    /// The runtime's `--root`.
    pub fn state_folder(&self) -> PathBuf {
        self.folder.join("state")
    }

    pub fn cgroup(&self) -> PathBuf {
        Path::new("/sys/fs/cgroup").join(&self.id)
    }

    /// Adds a mount.
    pub fn mount(
        &mut self,
        kind: &str,
        source: impl AsRef<Path>,
        destination: &str,
        options: &[&str],
    ) -> &mut Self {
        let source = source.as_ref().to_str().expect("source");
        let mount = json!({"type": kind, "source": source, "destination": destination, "options": options});
        self.spec["mounts"].as_array_mut().expect("mounts").push(mount);
        self
    }

    /// Removes the namespace of this type.
    pub fn without_namespace(&mut self, kind: &str) -> &mut Self {
        let namespaces = self.spec["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != kind);
        self
    }

    /// Adds a namespace: a new one or, with a path, one to join.
    pub fn with_namespace(&mut self, kind: &str, path: Option<&str>) -> &mut Self {
        self.without_namespace(kind);
        let namespace = path.map_or(json!({"type": kind}), |path| json!({"type": kind, "path": path}));
        self.spec["linux"]["namespaces"].as_array_mut().expect("namespaces").push(namespace);
        self
    }

    /// Gives it a user namespace whose root is the host's 100000, who then owns the bundle.
    pub fn in_user_namespace(&mut self) -> &mut Self {
        for field in ["uidMappings", "gidMappings"] {
            self.spec["linux"][field] = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
        }
        for path in [self.folder.clone(), self.bundle(), self.rootfs()] {
            std::os::unix::fs::chown(path, Some(100_000), Some(100_000)).expect("chown");
        }
        self.with_namespace("user", None)
    }

    pub fn write_spec(&self) {
        let text = serde_json::to_vec_pretty(&self.spec).expect("spec");
        fs::write(self.bundle().join("config.json"), text).expect("config.json");
    }

    /// `RUNTIME --root STATE ARGUMENTS`, to be completed.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.runtime.command();
        command.arg("--root").arg(self.state_folder()).args(arguments);
        command
    }

    /// Starts a command; its output files are in this container's folder.
    pub fn spawn(&self, command: &mut Command) -> Running {
        start_limited(command, &self.folder.join("output"))
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn finish(&self, command: &mut Command) -> Output {
        self.spawn(command).finish()
    }

    /// Runs `RUNTIME --root STATE ARGUMENTS` to its end.
    #[track_caller]
    pub fn call(&self, arguments: &[&str]) -> Output {
        self.finish(&mut self.command(arguments))
    }

    /// `VERB [FLAGS] --bundle BUNDLE ID`, with the spec as it is now.
    pub fn bundle_command(&self, verb: &str, flags: &[&str]) -> Command {
        self.write_spec();
        let mut command = self.command(&[verb]);
        command.args(flags).arg("--bundle").arg(self.bundle()).arg(&self.id);
        command
    }

    /// `explain FLAGS --bundle BUNDLE`, which takes no id.
    pub fn explain(&self, flags: &[&str]) -> Command {
        self.write_spec();
        let mut command = self.command(&["explain"]);
        command.args(flags).arg("--bundle").arg(self.bundle());
        command
    }

    /// `run` in the foreground.
    #[track_caller]
    pub fn run(&self) -> Output {
        self.finish(&mut self.bundle_command("run", &[]))
    }

    /// `run` in the foreground, which must succeed silently; returns its stdout.
    #[track_caller]
    pub fn run_ok(&self) -> String {
        self.run().ok().stdout
    }

    /// `run` in the foreground, without waiting for it; stdin is a pipe.
    pub fn run_in_background(&self) -> Running {
        self.spawn(self.bundle_command("run", &[]).stdin(Stdio::piped()))
    }

    #[track_caller]
    pub fn create(&self) -> Output {
        self.finish(&mut self.bundle_command("create", &[]))
    }

    /// `create` and `start`, which must succeed; returns the output of `create`, to which the container
    /// writes.
    #[track_caller]
    pub fn create_and_start(&self) -> Output {
        let created = self.create().ok();
        self.start().ok();
        created
    }

    #[track_caller]
    pub fn start(&self) -> Output {
        self.call(&["start", &self.id])
    }

    #[track_caller]
    pub fn kill(&self, signal: &str) -> Output {
        self.call(&["kill", &self.id, signal])
    }

    #[track_caller]
    pub fn delete(&self) -> Output {
        self.call(&["delete", &self.id])
    }

    #[track_caller]
    pub fn delete_force(&self) -> Output {
        self.call(&["delete", "--force", &self.id])
    }

    /// The document that `state` prints; panics on an error.
    #[track_caller]
    pub fn state(&self) -> Value {
        let output = self.call(&["state", &self.id]).ok();
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("state: {error}: {output:?}"))
    }

    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().expect("status").to_string()
    }

    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.state()["pid"].as_u64().expect("pid") as u32
    }

    #[track_caller]
    pub fn wait_status(&self, status: &str) {
        wait_for(status, || (self.status() == status).then_some(()));
    }

    /// Asserts that nothing is left: no state, cgroup, mounts or processes, which may take a moment to end.
    #[track_caller]
    pub fn assert_gone(&self) {
        for _ in 0..200 {
            if self.leftovers().is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("left behind by {}: {:?}", self.runtime.name, self.leftovers());
    }

    /// What the container has left behind on the host.
    pub fn leftovers(&self) -> Vec<String> {
        let states = fs::read_dir(self.state_folder()).expect("state folder").flatten();
        let states = states.filter(|entry| entry.file_name().to_string_lossy().contains(&self.id));
        let mut left: Vec<_> = states.map(|entry| format!("state {:?}", entry.path())).collect();
        left.extend(self.cgroup().exists().then(|| format!("cgroup {:?}", self.cgroup())));
        let folder = self.folder.to_str().expect("folder");
        left.extend(
            mountpoints()
                .into_iter()
                .filter(|path| path.contains(folder))
                .map(|path| format!("mount {path}")),
        );
        left.extend(processes_naming(&self.id).into_iter().map(|pid| format!("process {pid}")));
        left
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let mut delete = self.command(&["delete", "--force", &self.id]);
        delete.stdout(Stdio::null()).stderr(Stdio::null()).status().ok();
        fs::write(self.cgroup().join("cgroup.kill"), "1").ok();
        let folder = self.folder.to_str().expect("folder");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points =
            mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(|path| path.contains(folder));
        for point in points.collect::<Vec<_>>().into_iter().rev() {
            unmount(point, UnmountFlags::DETACH).ok();
        }
        for _ in 0..100 {
            match fs::remove_dir(self.cgroup()) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                _ => break,
            }
        }
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// A root of hard links to a single busybox, with its applets, /etc/passwd and /etc/group.
fn make_rootfs(rootfs: &Path) -> io::Result<()> {
    static BUSYBOX: OnceLock<(PathBuf, Vec<String>)> = OnceLock::new();
    let (busybox, applets) = BUSYBOX.get_or_init(|| {
        let copy = Path::new(SCRATCH).join("busybox");
        fs::copy(host::busybox(), &copy).expect("busybox");
        let list = Command::new(&copy).arg("--list").output().expect("busybox --list");
        let applets = String::from_utf8(list.stdout).expect("applets").lines().map(String::from).collect();
        (copy, applets)
    });
    for folder in ["bin", "etc", "proc", "sys", "dev", "tmp", "root"] {
        fs::create_dir_all(rootfs.join(folder))?;
    }
    fs::hard_link(busybox, rootfs.join("bin/busybox"))?;
    for applet in applets.iter().filter(|applet| *applet != "busybox") {
        symlink("busybox", rootfs.join("bin").join(applet))?;
    }
    fs::write(
        rootfs.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
    )?;
    fs::write(rootfs.join("etc/group"), "root:x:0:\nuser:x:1000:\n")
}

fn base_spec(id: &str) -> Value {
    let mut spec: Value = serde_json::from_str(CONFIG).expect("config.json");
    spec["linux"]["cgroupsPath"] = json!(format!("/{id}"));
    spec
}
