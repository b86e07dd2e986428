//! Roots that are no paths: mounts of the caller's, and layers.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pillbox::root::{LAYERS_MAX, Layers, RootSource};
use pillbox::{Bundle, Container, CreateOptions, Kind, Result, Root, Stdio};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::OpenTreeFlags;
use serde_json::{Value, json};

use super::{Place, host, text};

impl Place {
    /// A folder with one file of that name, and its content.
    fn layer(&self, name: &str) -> PathBuf {
        let folder = self.folder.join("layers").join(name);
        fs::create_dir_all(&folder).expect("layer");
        fs::write(folder.join("top"), name).expect("file");
        fs::write(folder.join(format!("of {name}")), name).expect("file");
        folder
    }

    fn rootfs(&self) -> PathBuf {
        let rootfs = self.folder.join("rootfs");
        fs::create_dir_all(rootfs.join("dev")).expect("mount point");
        rootfs
    }

    /// Empty folders for changes.
    fn changes(&self) -> [PathBuf; 2] {
        let folders = ["upper", "work"].map(|name| self.folder.join(name));
        for folder in &folders {
            fs::remove_dir_all(folder).ok();
            fs::create_dir(folder).expect("folder");
        }
        // The root of the overlay, which others than root have to get through.
        fs::set_permissions(&folders[0], fs::Permissions::from_mode(0o755)).expect("chmod");
        folders
    }

    fn create_from(&self, root: RootSource, bundle: &Bundle) -> Result<(Container, std::io::PipeReader)> {
        let (output, write_end) = std::io::pipe().expect("pipe");
        let stderr = write_end.try_clone().expect("dup");
        let options = CreateOptions::new().stdin(Stdio::Null).stdout(write_end).stderr(stderr).root(root);
        Ok((Container::create(&self.root(), "root", bundle, options)?, output))
    }

    /// What a shell in such a root prints.
    fn output(&self, root: RootSource, script: &str) -> String {
        self.output_of(root, &self.config(script, &[], json!({})))
    }

    fn output_of(&self, root: RootSource, config: &Value) -> String {
        let before = host::mountpoints();
        let bundle = Bundle::with_config(&self.folder, config.to_string()).expect("bundle");
        let (container, output) = self.create_from(root, &bundle).unwrap_or_else(|error| panic!("{error}"));
        let without_seed = |mounts: BTreeSet<String>| {
            mounts.into_iter().filter(|point| !point.starts_with("/run/pillbox")).collect::<Vec<_>>()
        };
        assert_eq!(without_seed(host::mountpoints()), without_seed(before), "mounts on the host");
        container.start().expect("start");
        let text = text(output);
        container.wait().expect("wait");
        container.delete(false).expect("delete");
        text
    }

    /// This program where an ordinary user gets at it.
    fn copy_of_this_test(&self) -> PathBuf {
        let copy = self.folder.join("test");
        fs::copy(std::env::current_exe().expect("path"), &copy).expect("copy");
        copy
    }

    /// A configuration whose root.path leads nowhere.
    fn config(&self, script: &str, namespaces: &[&str], linux: Value) -> Value {
        let namespaces = ["mount", "pid", "network", "ipc"].iter().chain(namespaces);
        let mut config = json!({
            "ociVersion": "1.3.0",
            "process": {"args": ["/bin/sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}},
            "root": {"path": "nowhere"},
            "mounts": mounts(),
            "linux": linux
        });
        config["linux"]["namespaces"] = namespaces.map(|kind| json!({"type": kind})).collect();
        config
    }
}

/// So that nothing but mount points has to be there.
fn mounts() -> Value {
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}
    ])
}

fn open(path: &Path) -> OwnedFd {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).expect("open")
}

fn detached(path: &Path) -> OwnedFd {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(CWD, path, flags).expect("open_tree")
}

fn number(folder: &OwnedFd) -> (u64, u64) {
    let status = rustix::fs::fstat(folder).expect("fstat");
    (status.st_dev, status.st_ino)
}

#[test]
fn a_mount_by_its_descriptor() {
    let Some(place) = Place::new("root-mount") else { return };
    let mount = Arc::new(detached(&place.rootfs()));
    assert_eq!(place.output(RootSource::mount(mount.clone()), "echo *"), "bin dev proc\n");
    // It stays the caller's, as it was.
    assert_eq!(number(&mount), number(&open(&place.rootfs())));
    let tmpfs = rustix::fs::openat(&*mount, c"kept", OFlags::CREATE | OFlags::CLOEXEC, Mode::RUSR);
    drop(tmpfs.expect("it can be written to"));
    assert!(place.output(RootSource::mount(mount), "echo *").contains("kept"));
    fs::remove_file(place.rootfs().join("kept")).expect("rm");
    // A folder of the host's will do, which stays where it is.
    let folder = RootSource::mount(Arc::new(open(&place.rootfs())));
    assert_eq!(place.output(folder, "echo *"), "bin dev proc\n");
}

#[test]
fn layers_with_changes() {
    let Some(place) = Place::new("root-layers") else { return };
    let [upper, work] = place.changes();
    let layers = Layers::new([place.layer("b"), place.layer("a"), place.rootfs()]).upper(&*upper, &*work);
    let script = "cat /top; echo; echo changed >/top; rm '/of a'; echo *";
    assert_eq!(place.output(RootSource::layers(layers.clone()), script), "b\nbin dev of b proc top\n");
    assert_eq!(fs::read_to_string(upper.join("top")).expect("upper"), "changed\n");
    assert_eq!(fs::read_to_string(place.layer("a").join("top")).expect("lower"), "a");
    assert_eq!(fs::symlink_metadata(upper.join("of a")).expect("whiteout").rdev(), 0);
    // Once more, with everything as it was left; by descriptors.
    let lower = [place.folder.join("layers/b"), place.folder.join("layers/a"), place.rootfs()];
    let again = Layers::new(lower.map(|path| open(&path))).upper(open(&upper), open(&work));
    assert_eq!(
        place.output(RootSource::layers(again), "cat /top; echo *"),
        "changed\nbin dev of b proc top\n"
    );
}

/// A thread makes the same overlay; one that nobody uses leaves nothing.
#[test]
fn layers_that_are_mounted_meanwhile() {
    let Some(place) = Place::new("root-meanwhile") else { return };
    let [upper, work] = place.changes();
    let layers = Layers::new([place.layer("a"), place.rootfs()]).upper(&*upper, &*work);
    drop(RootSource::layers_meanwhile(layers.clone()));
    let root = RootSource::layers_meanwhile(layers.clone());
    assert_eq!(root.to_string(), layers.to_string());
    assert_eq!(place.output(root, "echo changed >/top; echo *"), "bin dev of a proc top\n");
    assert_eq!(place.output(RootSource::layers_meanwhile(layers), "cat /top"), "changed\n");
    assert_eq!(fs::read_to_string(upper.join("top")).expect("upper"), "changed\n");
}

#[test]
fn layers_in_every_kind_of_container() {
    let Some(place) = Place::new("root-kinds") else { return };
    // Without the seed: createContainer hooks, which begin in the root; in a user namespace; with a root that is read-only.
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "pwd; echo * >hooked"]});
    let [upper, work] = place.changes();
    let layers = |name| Layers::new([place.layer(name), place.rootfs()]).upper(&*upper, &*work);
    let mut config = place.config("cat /hooked", &[], json!({}));
    config["hooks"] = json!({"createContainer": [hook]});
    assert_eq!(place.output_of(RootSource::layers(layers("a")), &config), "bin dev of a proc top\n");

    let [upper, work] = place.changes();
    let layers = |name| Layers::new([place.layer(name), place.rootfs()]).upper(&*upper, &*work);
    for folder in [&upper, &work] {
        std::os::unix::fs::chown(folder, Some(100_000), Some(100_000)).expect("chown");
    }
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let linux = json!({"uidMappings": map, "gidMappings": map});
    let config = place.config("echo inside >/new; cat /new /top", &["user"], linux);
    assert_eq!(place.output_of(RootSource::layers(layers("a")), &config), "inside\na");
    assert_eq!(fs::metadata(upper.join("new")).expect("new").uid(), 100_000);

    let mut config = place.config("(echo x >/new2) 2>&1; cat /new", &[], json!({}));
    config["root"]["readonly"] = json!(true);
    let said = place.output_of(RootSource::layers(layers("a")), &config);
    assert!(said.contains("Read-only file system") && said.ends_with("inside\n"), "{said}");
}

#[test]
fn layers_without_changes() {
    let Some(place) = Place::new("root-read-only") else { return };
    let script = "(echo x >/top) 2>&1; echo *";
    let two = Layers::new([place.layer("a"), place.rootfs()]);
    let said = place.output(RootSource::layers(two), script);
    assert!(said.contains("Read-only file system") && said.ends_with("bin dev of a proc top\n"), "{said}");
    // One that would be an overlay of nothing but itself.
    let said = place.output(RootSource::layers(Layers::new([place.rootfs()])), script);
    assert!(said.contains("Read-only file system") && said.ends_with("bin dev proc\n"), "{said}");
}

#[test]
fn as_many_layers_as_there_can_be() {
    let Some(place) = Place::new("root-many") else { return };
    let [upper, work] = place.changes();
    let names = (1..LAYERS_MAX).map(|index| place.layer(&format!("{index:03}")));
    let layers: Vec<PathBuf> = names.chain([place.rootfs()]).collect();
    let of = |layers: &[PathBuf]| Layers::new(layers.iter().map(|path| &**path)).upper(&*upper, &*work);
    assert_eq!(place.output(RootSource::layers(of(&layers)), "cat /top; ls / | wc -l"), "001503\n");
    let more: Vec<PathBuf> = layers.iter().chain(&layers[..1]).cloned().collect();
    let error = of(&more).mount().expect_err("too many");
    assert_eq!(error.to_string(), "layers.lower: 501 layers: overlayfs takes 500 at most");
    assert_eq!(error.kind(), Kind::Invalid);
}

#[test]
fn layers_by_any_name() {
    let Some(place) = Place::new("root-names") else { return };
    let long = "n".repeat(250);
    let names = ["a,b=c", "d:e::f", "g\\h\\\\", "i\\:j", " k\tl\"'\n", &format!("{long}/{long}/{long}")];
    for (index, name) in names.iter().enumerate() {
        let [upper, work] = ["upper", "work"].map(|part| place.folder.join("changes").join(name).join(part));
        fs::create_dir_all(&upper).and_then(|()| fs::create_dir_all(&work)).expect("folders");
        let lower = place.folder.join("lower").join(name);
        fs::create_dir_all(&lower).and_then(|()| fs::write(lower.join("top"), name)).expect("layer");
        let layers = Layers::new([lower, place.rootfs()]).upper(&*upper, &*work);
        let script = format!("cat /top; echo {index} >/new");
        assert_eq!(&place.output(RootSource::layers(layers), &script), name);
        assert_eq!(fs::read_to_string(upper.join("new")).expect("new"), format!("{index}\n"));
    }
}

#[test]
fn layers_that_are_detached_mounts() {
    let Some(place) = Place::new("root-detached") else { return };
    let [upper, work] = place.changes();
    let lower = [place.layer("a"), place.rootfs()].map(|path| detached(&path));
    let layers = Layers::new(lower).upper(&*upper, &*work);
    assert_eq!(place.output(RootSource::layers(layers), "echo *"), "bin dev of a proc top\n");
}

/// The mount outlives the container for whoever keeps it, and what the container wrote can be read by it.
#[test]
fn the_mount_is_kept() {
    let Some(place) = Place::new("root-kept") else { return };
    let [upper, work] = place.changes();
    let layers = Layers::new([place.layer("a"), place.rootfs()]).upper(&*upper, &*work);
    let mount = Arc::new(layers.mount().expect("mount"));
    place.output(RootSource::mount(mount.clone()), "echo written >/new");
    let new = rustix::fs::openat(&*mount, c"new", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let mut said = String::new();
    fs::File::from(new.expect("new")).read_to_string(&mut said).expect("read");
    assert_eq!(said, "written\n");
    place.output(RootSource::mount(mount), "cat /new");
}

#[test]
fn a_volatile_overlay_after_a_crash() {
    let Some(place) = Place::new("root-volatile") else { return };
    let [upper, work] = place.changes();
    let layers = || Layers::new([place.layer("a"), place.rootfs()]).upper(&*upper, &*work);
    let mark = work.join("work/incompat/volatile");
    place.output(RootSource::layers(layers().volatile()), "echo one >/new");
    assert!(mark.is_dir(), "the kernel marks it");
    let error = layers().mount().expect_err("marked").to_string();
    assert!(
        error.starts_with(&format!("layers.work: {}: the overlay before was volatile", work.display())),
        "{error}"
    );
    assert_eq!(place.output(RootSource::layers(layers().volatile()), "cat /new"), "one\n");
}

#[test]
fn errors_name_the_layer() {
    let Some(place) = Place::new("root-errors") else { return };
    let [upper, work] = place.changes();
    let file = place.layer("a").join("top");
    let refused = |layers: Layers| {
        let bundle = place.bundle("true");
        let sources = [RootSource::layers(layers.clone()), RootSource::layers_meanwhile(layers)];
        let [error, same] = sources.map(|source| place.create_from(source, &bundle).expect_err("refused"));
        assert_eq!(same.to_string(), error.to_string());
        (error.to_string(), error.kind())
    };
    let missing = Layers::new([&*place.rootfs(), Path::new("/no/such")]);
    let said = "layers.lower[1]: /no/such: no such file or folder".to_string();
    assert_eq!(refused(missing), (said, Kind::Invalid));
    let (said, kind) = refused(Layers::new([&*place.rootfs(), &*file]));
    assert_eq!(
        (&*said, kind),
        (&*format!("layers.lower[1]: {}: not a directory", file.display()), Kind::Invalid)
    );
    let (said, _) = refused(Layers::new([place.rootfs()]).upper(&*upper, Path::new("/proc/self")));
    assert!(said.starts_with("layers: overlayfs: invalid argument"), "{said}");
    let same = Layers::new([place.layer("a"), place.rootfs()]).upper("/no/upper", &*work);
    assert_eq!(refused(same).0, "layers.upper: /no/upper: no such file or folder");
    // Nor does it make do with the host's mount namespace.
    let mut config = place.config("true", &[], json!({}));
    config["linux"]["namespaces"] = json!([{"type": "pid"}]);
    let bundle = Bundle::with_config(&place.folder, config.to_string()).expect("bundle");
    let error = place.create_from(RootSource::layers(Layers::new([place.rootfs()])), &bundle);
    let said = error.expect_err("refused").to_string();
    assert!(said.ends_with("such a root needs a new mount namespace"), "{said}");
}

/// An ordinary user's overlay is made in the container's user namespace.
#[test]
fn layers_of_an_ordinary_user() {
    const INSIDE: &str = "PILLBOX_TEST_USERS_FOLDER";
    const ID: u32 = 12_345;
    if let Some(folder) = std::env::var_os(INSIDE) {
        return run_as_ordinary_user(Path::new(&folder));
    }
    let Some(place) = Place::new("root-user") else { return };
    place.changes();
    place.layer("a");
    place.rootfs();
    fs::create_dir(place.folder.join("state")).expect("folder");
    for folder in ["upper", "work", "state", "layers/a", "layers/a/top", "layers/a/of a"]
        .map(|name| place.folder.join(name))
    {
        std::os::unix::fs::chown(folder, Some(ID), Some(ID)).expect("chown");
    }
    let mut again = std::process::Command::new(place.copy_of_this_test());
    again.args(["--exact", "root::layers_of_an_ordinary_user", "--nocapture"]).env(INSIDE, &place.folder);
    let ended = again.uid(ID).gid(ID).output().expect("this test once more");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && said.contains("1 passed"), "{said}");
    let new = fs::metadata(place.folder.join("upper/new")).expect("new");
    assert_eq!((new.uid(), new.gid()), (ID, ID));
}

fn run_as_ordinary_user(folder: &Path) {
    let path = |name: &str| folder.join(name);
    let map = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
    let config = json!({
        "ociVersion": "1.3.0",
        "process": {"args": ["/bin/sh", "-c", "cat /top; rm '/of a'; mv /top /new; echo *"], "cwd": "/", "env": ["PATH=/bin"]},
        "root": {"path": "nowhere"},
        "mounts": mounts(),
        "linux": {
            "uidMappings": map(rustix::process::getuid().as_raw()),
            "gidMappings": map(rustix::process::getgid().as_raw()),
            "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "user"}, {"type": "network"}]
        }
    });
    let create = |root: RootSource, config: &Value| {
        let bundle = Bundle::with_config(folder, config.to_string()).expect("bundle");
        let (output, write_end) = std::io::pipe().expect("pipe");
        let stderr = write_end.try_clone().expect("dup");
        let options = CreateOptions::new().stdin(Stdio::Null).stdout(write_end).stderr(stderr).root(root);
        // Its network namespace is the user's to configure as well.
        let options = options.network(|mut network| {
            let loopback = pillbox::netlink::LOOPBACK_INDEX;
            network.socket.request(&[pillbox::netlink::link::set_mtu(loopback, 9000)?])
        });
        Container::create(&Root::at(path("state")), "user", &bundle, options)
            .map(|container| (container, output))
    };
    let output = |layers: Layers| {
        let (container, output) =
            create(RootSource::layers(layers), &config).unwrap_or_else(|error| panic!("{error}"));
        container.start().expect("start");
        let text = text(output);
        container.wait().expect("wait");
        container.delete(false).expect("delete");
        text
    };
    let layers = Layers::new([path("layers/a"), path("rootfs")]).upper(path("upper"), path("work"));
    assert_eq!(output(layers), "abin dev new proc\n");
    // What a descriptor stands for is found by its path there.
    let lower = ["layers/a", "rootfs"].map(|name| open(&path(name)));
    let layers = Layers::new(lower).upper(open(&path("upper")), open(&path("work")));
    assert!(output(layers).ends_with("bin dev new proc\n"));

    let refused = |root: RootSource, config: &Value| create(root, config).expect_err("refused").to_string();
    let missing = RootSource::layers(Layers::new([path("rootfs"), path("missing")]));
    assert_eq!(
        refused(missing, &config),
        format!("layers.lower[1]: {}: no such file or folder", path("missing").display())
    );
    let said = refused(RootSource::mount(Arc::new(open(&path("rootfs")))), &config);
    assert!(said.ends_with("root: a mount of the caller's: such a root needs root's rights"), "{said}");
    let error = Layers::new([path("rootfs"), path("layers/a")]).mount().expect_err("no rights").to_string();
    assert_eq!(
        error,
        "layers: overlayfs: not permitted: it takes root's rights, or a user namespace of one's own"
    );
}
