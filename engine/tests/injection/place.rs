//! A store with an image, a registry that has it, and what must be there again after each case.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};

use crate::host;
use crate::registry::{Answer, Content, Registry, layer, raise_loopback};
use crate::tracer;
use crate::watchdog::{Watchdog, describe, processes};

const HIERARCHY: &str = "/sys/fs/cgroup";

/// Where a pinned namespace lies, which outlives containers.
const PIN: &str = "/run/pillbox/.seed";

/// The name under which the image is loaded.
pub const IMAGE: &str = "kept:1";

/// Of an image that is built on it, with a layer of each kind.
const DOCKERFILE: &str = "FROM kept:1\nCOPY file /copied\nRUN echo built >/built\n";

/// Everything that the cases need.
pub struct Place {
    pub watchdog: Watchdog,
    folder: PathBuf,
    cgroup: String,
    registry: Registry,
    mounts: BTreeSet<String>,
}

/// How a command ended.
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub hung: Option<String>,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ended { code, stdout, stderr, hung } = self;
        let hung = hung.as_ref().map_or(String::new(), |doing| format!(", hangs: {doing}"));
        write!(f, "status {code}, stdout {stdout:?}, stderr {stderr:?}{hung}")
    }
}

impl Place {
    pub fn new(name: &str) -> Result<Place, String> {
        let folder = Path::new(host::SCRATCH).join("box");
        let cgroup = format!("/injection-box-{name}");
        let told = |error: std::io::Error| format!("the place: {error}");
        for name in ["out", "layer/bin", "layer/etc", "layer/proc", "layer/sys", "layer/dev", "layer/tmp"] {
            fs::create_dir_all(folder.join(name)).map_err(told)?;
        }
        raise_loopback();
        host::copy_program(Path::new(env!("CARGO_BIN_EXE_box")), &folder.join("box"));
        host::copy_program(&host::busybox(), &folder.join("layer/bin/busybox"));
        for applet in ["sh", "sleep", "true", "cat"] {
            symlink("busybox", folder.join("layer/bin").join(applet)).map_err(told)?;
        }
        fs::write(folder.join("layer/etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").map_err(told)?;
        fs::create_dir(folder.join("context")).map_err(told)?;
        fs::write(folder.join("context/Dockerfile"), DOCKERFILE).map_err(told)?;
        fs::write(folder.join("context/file"), "copied\n").map_err(told)?;
        fs::create_dir(Path::new(HIERARCHY).join(cgroup.trim_start_matches('/'))).map_err(told)?;
        let tars = [
            make_tar(&folder, "bin", &["bin", "proc", "sys", "dev", "tmp"])?,
            make_tar(&folder, "etc", &["etc"])?,
        ];
        let mut content = Content::default();
        content.image("1", "amd64", &tars.each_ref().map(|tar| layer(tar)));
        let registry = Registry::start(content, |_| Answer::Usual);
        let watchdog = Watchdog::start();
        let mut place = Place { watchdog, folder, cgroup, registry, mounts: BTreeSet::new() };
        place.refill()?;
        // The first containers of a machine make what the next ones find: the seed namespace, the bridge.
        place.must(&["run", "--rm", "-p", "8080:80", IMAGE, "true"])?;
        place.mounts = mounts();
        Ok(place)
    }

    /// The image as the registry has it.
    pub fn remote(&self) -> String {
        format!("{}/kept:1", self.registry.host)
    }

    /// The folder from which an image is built.
    pub fn context(&self) -> String {
        self.folder.join("context").display().to_string()
    }

    /// The flag for the folder of a cache; `way` is `src` or `dest`.
    pub fn cache(&self, way: &str) -> String {
        let flag = if way == "src" { "from" } else { "to" };
        format!("--cache-{flag}=type=local,{way}={}", self.folder.join("cache").display())
    }

    /// Has the image in the store.
    fn refill(&self) -> Result<(), String> {
        let remote = self.remote();
        self.must(&["pull", "-q", &remote])?;
        self.must(&["tag", &remote, IMAGE])?;
        self.must(&["rmi", &remote]).map(drop)
    }

    /// box with these arguments; its output goes to files with this name.
    pub fn command(&self, arguments: &[&str], name: &str) -> std::io::Result<Command> {
        let mut command = Command::new(self.folder.join("box"));
        command.arg("--data-root").arg(self.folder.join("data"));
        command.arg("--exec-root").arg(self.folder.join("runtime/pillbox"));
        let (verb, rest) = arguments.split_at(1.min(arguments.len()));
        command.args(verb);
        if let ["run" | "create" | "build"] = verb {
            command.arg("--cgroup-parent").arg(&self.cgroup);
        }
        command.args(rest).current_dir("/").env_clear().env("PATH", "/bin:/usr/bin").stdin(Stdio::null());
        let [stdout, stderr] = self.output_files(name);
        command.stdout(File::create(stdout)?).stderr(File::create(stderr)?);
        Ok(command)
    }

    fn output_files(&self, name: &str) -> [PathBuf; 2] {
        ["stdout", "stderr"].map(|stream| self.folder.join("out").join(format!("{name}-{stream}")))
    }

    /// What the command with this name has written.
    pub fn ended(&self, code: i32, hung: Option<String>, name: &str) -> Ended {
        let text = |path: PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let [stdout, stderr] = self.output_files(name).map(text);
        Ended { code, stdout, stderr, hung }
    }

    /// Runs a command without tracing it.
    pub fn call(&self, arguments: &[&str]) -> Result<Ended, String> {
        let run = self
            .command(arguments, "call")
            .and_then(|mut command| tracer::run_untraced(&mut command, &self.watchdog));
        let (status, hung) = run.map_err(|error| format!("{arguments:?}: {error}"))?;
        Ok(self.ended(tracer::code(status), hung, "call"))
    }

    /// What a command writes, which must succeed.
    pub fn must(&self, arguments: &[&str]) -> Result<String, String> {
        let ended = self.call(arguments)?;
        match (ended.code, &ended.hung) {
            (0, None) => Ok(ended.stdout),
            _ => Err(format!("box {}: {ended}", arguments.join(" "))),
        }
    }

    /// Whatever was killed: the store is legal.
    pub fn is_legal(&self) -> Result<(), String> {
        self.must(&["ps", "-a"])?;
        self.must(&["images"])?;
        match self.must(&["system", "check"])?.as_str() {
            "Everything is whole.\n" => Ok(()),
            said => Err(format!("box system check: {said}")),
        }
    }

    /// Removes all but the image; then nothing else is left.
    pub fn tidy(&self) -> Result<(), String> {
        for id in self.must(&["ps", "-a", "-q", "--no-trunc"])?.lines() {
            self.must(&["rm", "-f", id])?;
        }
        for name in self.must(&["images", "--format", "{{.Repository}}:{{.Tag}}"])?.lines() {
            if name != IMAGE && name != "<none>:<none>" {
                self.must(&["rmi", name])?;
            }
        }
        self.must(&["builder", "prune", "-a", "-f"])?;
        self.must(&["image", "prune", "-f"])?;
        self.must(&["volume", "prune", "-a", "-f"])?;
        self.must(&["image", "inspect", IMAGE])?;
        let began = Instant::now();
        loop {
            tracer::reap();
            let left = self.leftovers();
            if left.is_empty() {
                return Ok(());
            }
            if began.elapsed() > Duration::from_secs(3) {
                return Err(left.join(", "));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn leftovers(&self) -> Vec<String> {
        let mut left: Vec<String> =
            processes().into_iter().map(|pid| format!("process {}", describe(pid))).collect();
        let data = self.folder.join("data");
        for (name, is_left) in [
            ("containers", &(|_: &str| true) as &dyn Fn(&str) -> bool),
            ("names", &|_| true),
            ("leases", &|_| true),
            // What is half written of a document or a volume may stay until it is old: nobody holds a lock on it meanwhile.
            ("volumes", &|name| !name.starts_with(".partial-")),
            ("images", &|name| name.starts_with(".gone-")),
            ("layers", &|name| name.starts_with('.')),
            ("blobs/sha256", &|name| name.starts_with('.') && !is_half_a_document(name)),
        ] {
            let found = names(&data.join(name)).into_iter().filter(|found| is_left(found));
            left.extend(found.map(|found| format!("{name}/{found}")));
        }
        let layers = names(&data.join("layers")).len();
        if layers != 2 {
            left.push(format!("{layers} layers"));
        }
        let runtime =
            names(&self.folder.join("runtime/pillbox")).into_iter().filter(|name| !name.starts_with('.'));
        left.extend(runtime.map(|name| format!("runtime {name}")));
        let cgroup = Path::new(HIERARCHY).join(self.cgroup.trim_start_matches('/'));
        let cgroups = names(&cgroup).into_iter().filter(|name| cgroup.join(name).is_dir());
        left.extend(cgroups.map(|name| format!("cgroup {name}")));
        left.extend(mounts().difference(&self.mounts).map(|point| format!("mount {point}")));
        left
    }

    /// Makes everything anew after a case that has left something.
    pub fn renew(&self) -> Result<(), String> {
        for pid in processes() {
            tracer::kill(pid);
        }
        for point in mounts().difference(&self.mounts) {
            // It may have gone with another one.
            let _ = unmount(point.as_str(), UnmountFlags::DETACH);
        }
        std::thread::sleep(Duration::from_millis(100));
        tracer::reap();
        self.remove_cgroups();
        for name in ["data", "runtime"] {
            let _ = fs::remove_dir_all(self.folder.join(name));
        }
        self.refill()
    }

    fn remove_cgroups(&self) {
        let cgroup = Path::new(HIERARCHY).join(self.cgroup.trim_start_matches('/'));
        for name in names(&cgroup).into_iter().filter(|name| cgroup.join(name).is_dir()) {
            let _ = fs::remove_dir(cgroup.join(name));
        }
    }
}

impl Drop for Place {
    /// Nothing stays on the machine.
    fn drop(&mut self) {
        for pid in processes() {
            tracer::kill(pid);
        }
        let cgroup = Path::new(HIERARCHY).join(self.cgroup.trim_start_matches('/'));
        let began = Instant::now();
        while cgroup.exists() && began.elapsed() < Duration::from_secs(5) {
            tracer::reap();
            self.remove_cgroups();
            let _ = fs::remove_dir(&cgroup);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn make_tar(folder: &Path, name: &str, members: &[&str]) -> Result<PathBuf, String> {
    let path = folder.join(format!("{name}.tar"));
    let mut tar = Command::new("tar");
    tar.arg("-cf").arg(&path).arg("-C").arg(folder.join("layer")).args(members);
    match tar.status() {
        Ok(status) if status.success() => Ok(path),
        other => Err(format!("tar: {other:?}")),
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The mount points of this namespace, except the pinned seed.
fn mounts() -> BTreeSet<String> {
    let points = host::mountpoints().into_iter();
    points.filter(|point| point != PIN).collect()
}

/// Of a document that is written whole: `.partial-` and 8 random bytes. Parts of layers have their digest behind it.
fn is_half_a_document(name: &str) -> bool {
    name.strip_prefix(".partial-").is_some_and(|rest| rest.len() == 16)
}
