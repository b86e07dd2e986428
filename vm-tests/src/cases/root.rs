//! Roots that are no paths, by way of the library: overlays are made in other ways before Linux 6.5, 6.7, 6.13 and 6.15.

use std::fs;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pillbox::root::{LAYERS_MAX, Layers, RootSource};
use pillbox::{Bundle, CreateOptions, Root, Stdio};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::OpenTreeFlags;
use rustix::process::{Gid, Uid};
use serde_json::{Value, json};

use super::config::Config;
use super::expectation::{contains, equal};
use super::{Case, Guest, Need};

pub const CASES: &[Case] = &[
    Case::new("root_of_layers", of_layers).needs(&[Need::Module("overlay")]),
    Case::new("root_of_one_layer", of_one_layer),
    Case::new("root_of_500_layers", of_500_layers).needs(&[Need::Module("overlay")]),
    Case::new("root_of_layers_by_any_name", by_any_name).needs(&[Need::Module("overlay")]),
    Case::new("root_of_detached_layers", of_detached_layers).needs(&[Need::Module("overlay")]),
    Case::new("root_is_a_mount", is_a_mount).needs(&[Need::Module("overlay")]),
    Case::new("root_of_a_users_layers", of_a_users_layers).needs(&[Need::Module("overlay")]),
];

/// An ordinary user.
const USER: u32 = 1000;

/// Where layers are: a bundle, with folders for what overlayfs keeps.
struct Place {
    folder: PathBuf,
}

impl Place {
    fn new(guest: &Guest, name: &str) -> Result<Place, String> {
        let folder = guest.container(name, Config::shell("true"))?.bundle;
        let changes = folder.join("changes");
        fs::create_dir(&changes).map_err(|e| e.to_string())?;
        for name in ["upper", "work"] {
            fs::create_dir(changes.join(name)).map_err(|e| e.to_string())?;
        }
        Ok(Place { folder })
    }

    fn base(&self) -> PathBuf {
        self.folder.join("rootfs")
    }

    /// A folder with a file that says its name.
    fn layer(&self, name: &str) -> Result<PathBuf, String> {
        let folder = self.folder.join("changes/layers").join(name);
        let made = fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join("top"), name));
        made.map(|()| folder).map_err(|e| e.to_string())
    }

    /// With folders for changes.
    fn writable(&self, lower: impl IntoIterator<Item = PathBuf>) -> Layers {
        Layers::new(lower).upper(self.folder.join("changes/upper"), self.folder.join("changes/work"))
    }

    /// What a shell in such a container prints.
    fn output(&self, root: RootSource, script: &str, linux: Value) -> Result<String, String> {
        let config = json!({
            "ociVersion": "1.3.0",
            "process": {"args": ["/bin/sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}},
            "root": {"path": "nowhere"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}
            ],
            "linux": linux
        });
        println!("$ {script}");
        let words = |error: pillbox::Error| error.to_string();
        let bundle = Bundle::with_config(&self.folder, config.to_string()).map_err(words)?;
        let (mut output, write_end) = std::io::pipe().map_err(|e| e.to_string())?;
        let stderr = write_end.try_clone().map_err(|e| e.to_string())?;
        let options = CreateOptions::new().stdin(Stdio::Null).stdout(write_end).stderr(stderr).root(root);
        let state = Root::at(self.folder.join("changes/state"));
        let before = mountinfo()?;
        let container = pillbox::Container::create(&state, "root", &bundle, options).map_err(words)?;
        equal("mounts", mountinfo()?, before)?;
        container.start().map_err(words)?;
        let mut text = String::new();
        output.read_to_string(&mut text).map_err(|e| e.to_string())?;
        container.wait().and_then(|_| container.delete(false)).map_err(words)?;
        println!("{text}");
        Ok(text)
    }
}

/// Without the seed namespace, whose pin is made once.
fn mountinfo() -> Result<String, String> {
    let text = fs::read_to_string("/proc/self/mountinfo").map_err(|e| e.to_string())?;
    Ok(text.lines().filter(|line| !line.contains("/run/pillbox")).collect::<Vec<_>>().join("\n"))
}

fn namespaces() -> Value {
    json!({"namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "ipc"}]})
}

fn open(path: &Path) -> Result<OwnedFd, String> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|e| format!("{}: {e}", path.display()))
}

fn detached(path: &Path) -> Result<OwnedFd, String> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(CWD, path, flags).map_err(|e| format!("{}: {e}", path.display()))
}

fn of_layers(guest: &Guest) -> Result<(), String> {
    let place = Place::new(guest, "layers")?;
    let lower = || Ok::<_, String>([place.layer("b")?, place.layer("a")?, place.base()]);
    let script = "cat /top; echo changed >/top; rm /etc/passwd; ls /etc; mkdir /made";
    let said = place.output(RootSource::layers(place.writable(lower()?)), script, namespaces())?;
    equal("output", &*said, "b")?;
    // As it was left; by descriptors, and volatile; then that again.
    let folders = lower()?.iter().map(|path| open(path)).collect::<Result<Vec<_>, _>>()?;
    let [upper, work] = ["changes/upper", "changes/work"].map(|name| open(&place.folder.join(name)));
    let layers = Layers::new(folders).upper(upper?, work?).volatile();
    for _ in 0..2 {
        let said = place.output(RootSource::layers(layers.clone()), "cat /top; ls -d /made", namespaces())?;
        equal("output", &*said, "changed\n/made\n")?;
    }
    let error = place.output(RootSource::layers(place.writable(lower()?)), "true", namespaces());
    contains("error", &error.err().unwrap_or_default(), "the overlay before was volatile")?;
    let missing = Layers::new([place.base(), "/no/such".into()]);
    let error = place.output(RootSource::layers(missing), "true", namespaces()).err().unwrap_or_default();
    equal("error", &*error, "layers.lower[1]: /no/such: no such file or folder")
}

fn of_one_layer(guest: &Guest) -> Result<(), String> {
    let place = Place::new(guest, "one")?;
    let one = RootSource::layers(Layers::new([place.base()]));
    let said = place.output(one, "(echo x >/data/x) 2>&1; ls /data", namespaces())?;
    contains("output", &said, "Read-only file system")
}

fn of_500_layers(guest: &Guest) -> Result<(), String> {
    let place = Place::new(guest, "many")?;
    let mut lower = Vec::new();
    for index in 1..LAYERS_MAX {
        lower.push(place.layer(&format!("layer-{index}"))?);
        fs::write(lower[index - 1].join(format!("{index}")), "").map_err(|e| e.to_string())?;
    }
    lower.push(place.base());
    let script = "cat /top; echo; ls /[0-9]* | wc -l; echo x >/499";
    let said = place.output(RootSource::layers(place.writable(lower)), script, namespaces())?;
    equal("output", &*said, "layer-1\n499\n")
}

fn by_any_name(guest: &Guest) -> Result<(), String> {
    let place = Place::new(guest, "names")?;
    let long = "n".repeat(250);
    for name in ["a,b=c", "d:e::f", "g\\h\\\\", "i\\:j", " k\tl\"'\n", &format!("{long}/{long}/{long}")] {
        let [upper, work] =
            ["upper", "work"].map(|part| place.folder.join("changes/of").join(name).join(part));
        fs::create_dir_all(&upper).and_then(|()| fs::create_dir_all(&work)).map_err(|e| e.to_string())?;
        let layers = Layers::new([place.layer(name)?, place.base()]).upper(&*upper, &*work);
        let said = place.output(RootSource::layers(layers), "cat /top; echo x >/new", namespaces())?;
        equal("output", &*said, name)?;
        equal("what was written", fs::read_to_string(upper.join("new")).ok().as_deref(), Some("x\n"))?;
    }
    Ok(())
}

fn of_detached_layers(guest: &Guest) -> Result<(), String> {
    let place = Place::new(guest, "detached")?;
    let lower = [detached(&place.layer("a")?)?, detached(&place.base())?];
    let changes = ["changes/upper", "changes/work"].map(|name| place.folder.join(name));
    let layers = Layers::new(lower).upper(&*changes[0], &*changes[1]);
    let said = place.output(RootSource::layers(layers), "cat /top; echo x >/new; cat /new", namespaces())?;
    equal("output", &*said, "ax\n")
}

fn is_a_mount(guest: &Guest) -> Result<(), String> {
    let place = Place::new(guest, "mount")?;
    let mount = Arc::new(detached(&place.base())?);
    let said = place.output(RootSource::mount(mount), "echo x >/data/x; cat /data/x", namespaces())?;
    equal("output of a tree", &*said, "x\n")?;
    let folder = Arc::new(open(&place.base())?);
    equal(
        "output of a folder",
        &*place.output(RootSource::mount(folder), "cat /data/x", namespaces())?,
        "x\n",
    )?;
    let lower = [place.layer("a")?, place.base()];
    let mount = Arc::new(place.writable(lower).mount().map_err(|error| error.to_string())?);
    let said = place.output(RootSource::mount(mount.clone()), "cat /top; echo y >/new", namespaces())?;
    equal("output of an overlay", &*said, "a")?;
    // Whoever keeps it sees what the container has written.
    let new = rustix::fs::openat(&*mount, c"new", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let mut said = String::new();
    let read = new.map(|new| fs::File::from(new).read_to_string(&mut said));
    read.map_err(|e| format!("the overlay's new file: {e}"))?.map_err(|e| e.to_string())?;
    equal("what was written", &*said, "y\n")
}

fn of_a_users_layers(guest: &Guest) -> Result<(), String> {
    let place = Place::new(guest, "user")?;
    let layer = place.layer("a")?;
    fs::write(layer.join("gone"), "").map_err(|e| e.to_string())?;
    let changes = place.folder.join("changes");
    for path in [
        &changes,
        &changes.join("upper"),
        &changes.join("work"),
        &layer,
        &layer.join("top"),
        &layer.join("gone"),
    ] {
        chown(path, Some(USER), Some(USER)).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let (uid, gid) = (Uid::from_raw(USER), Gid::from_raw(USER));
    rustix::thread::set_thread_res_gid(gid, gid, gid)
        .and_then(|()| rustix::thread::set_thread_res_uid(uid, uid, uid))
        .map_err(|e| format!("become an ordinary user: {e}"))?;
    let map = json!([{"containerID": 0, "hostID": USER, "size": 1}]);
    let linux = json!({
        "uidMappings": map,
        "gidMappings": map,
        "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "user"}]
    });
    let layers = RootSource::layers(place.writable([layer.clone(), place.base()]));
    let said = place.output(
        layers,
        "cat /top; echo x >/new; rm /gone; ls /gone 2>&1; mv /top /moved",
        linux.clone(),
    )?;
    equal("output", &*said, "als: /gone: No such file or directory\n")?;
    let new = fs::metadata(changes.join("upper/new")).map_err(|e| format!("the new file: {e}"))?;
    equal("its owner", new.uid(), USER)?;
    // By descriptors, whose mounts are of another namespace than the container's.
    let lower = [open(&layer)?, open(&place.base())?];
    let [upper, work] = ["upper", "work"].map(|name| open(&changes.join(name)));
    let layers = Layers::new(lower).upper(upper?, work?);
    equal("output", &*place.output(RootSource::layers(layers), "cat /moved /new", linux)?, "ax\n")
}
