//! Saved images that somebody has tampered with, or made to harm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pillbox_engine::Digest;
use serde_json::{Value, json};

use crate::harness::{Output, Room, finish};
use crate::registry::{OCI_INDEX, OCI_MANIFEST};

/// A folder that becomes a saved image.
struct Saved<'r> {
    room: &'r Room,
    folder: PathBuf,
}

impl Saved<'_> {
    fn empty(room: &Room) -> Saved<'_> {
        let folder = room.folder.join("saved");
        fs::create_dir_all(folder.join("blobs/sha256")).expect("folder");
        Saved { room, folder }
    }

    /// As box has saved an image.
    fn of<'r>(room: &'r Room, name: &str) -> Saved<'r> {
        let saved = Saved::empty(room);
        room.call(&["save", "-o", "saved.tar", name]).ok();
        tar(&["-xf", "saved.tar", "-C", "saved"], room);
        saved
    }

    fn read(&self, path: &str) -> Value {
        serde_json::from_slice(&fs::read(self.folder.join(path)).expect("file")).expect("JSON")
    }

    fn write(&self, path: &str, document: &Value) {
        fs::write(self.folder.join(path), document.to_string()).expect("file");
    }

    fn blob(&self, content: &[u8], media_type: &str) -> Value {
        let digest = Digest::of(content);
        fs::write(self.folder.join("blobs/sha256").join(digest.hex()), content).expect("blob");
        json!({"mediaType": media_type, "digest": digest, "size": content.len()})
    }

    /// The manifest of the first image.
    fn manifest(&self) -> Value {
        let digest = self.read("index.json")["manifests"][0]["digest"].as_str().expect("digest").to_string();
        self.read(&format!("blobs/sha256/{}", &digest[7..]))
    }

    fn without(self, path: &str) -> Self {
        fs::remove_file(self.folder.join(path)).expect("file");
        self
    }

    #[track_caller]
    fn load(&self) -> Output {
        tar(&["-cf", "tampered.tar", "-C", "saved", "."], self.room);
        self.room.call(&["load", "-i", "tampered.tar"])
    }
}

fn tar(arguments: &[&str], room: &Room) {
    finish(Command::new("tar").args(arguments).current_dir(&room.folder)).ok();
}

fn index(manifests: Vec<Value>) -> Value {
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests})
}

fn count(room: &Room, folder: &str) -> usize {
    fs::read_dir(room.data().join(folder)).into_iter().flatten().count()
}

fn import(room: &Room, mark: &str) -> String {
    fs::write(room.rootfs().join("etc/mark"), mark).expect("file");
    let tar = room.tar(&format!("{mark}.tar"));
    room.call(&["import", &tar.display().to_string(), mark]).ok().trim().to_string()
}

fn mark(room: &Room, image: &str) -> String {
    room.call(&["run", "--rm", "--network", "none", "--pull", "never", image, "cat", "/etc/mark"]).ok()
}

/// What is named by its digest or id is that, whatever somebody has called his image.
#[test]
fn names_do_not_stand_before_ids() {
    let Some(room) = Room::new() else { return };
    let (good, _) = (import(&room, "good"), import(&room, "evil"));
    let pinned = room.call(&["image", "inspect", "--format", "{{json .RepoDigests}}", "good"]).ok();
    let saved = Saved::of(&room, "evil").without("index.json");
    let before = count(&room, "images");
    let docker = saved.read("manifest.json");
    for (name, status, words) in [
        (good.clone(), 125, "sha256 is what ids and digests begin with"),
        (format!("docker.io/library/{good}"), 125, "sha256 is what ids and digests begin with"),
        (format!("good@{good}"), 1, "must be a name with a tag"),
        (format!("good:1@{good}"), 1, "must be a name with a tag"),
        (good[7..].to_string(), 125, "an image's id, and no name"),
        ("Not A Name".to_string(), 125, "image \"Not A Name\""),
    ] {
        let mut named = docker.clone();
        named[0]["RepoTags"] = json!([name]);
        saved.write("manifest.json", &named);
        saved.load().fails(status, words);
        assert_eq!(count(&room, "images"), before, "{name} {pinned}");
    }
    // It may be called like what is shown of an id: that leads to the id nevertheless.
    let short = &good[7..19];
    let mut named = docker.clone();
    named[0]["RepoTags"] = json!([format!("{short}:latest")]);
    saved.write("manifest.json", &named);
    saved.load().ok();
    assert_eq!(mark(&room, short), "good");
    assert_eq!(mark(&room, &format!("{short}:latest")), "evil");
    room.call(&["tag", "evil", &good]).fails(125, "sha256 is what ids and digests begin with");
    assert_eq!(room.call(&["rmi", &format!("{short}:latest")]).ok(), format!("Untagged: {short}:latest\n"));
}

/// A name with a digest in a layout is the name of what has that digest.
#[test]
fn digests_in_names_are_true() {
    let Some(room) = Room::new() else { return };
    import(&room, "good");
    let saved = Saved::of(&room, "good").without("manifest.json");
    room.call(&["rmi", "good"]).ok();
    let mut document = saved.read("index.json");
    let digest = document["manifests"][0]["digest"].as_str().expect("digest").to_string();
    let mut name = |name: String| {
        document["manifests"][0]["annotations"] = json!({"io.containerd.image.name": name});
        saved.write("index.json", &document);
    };
    name(format!("quay.io/good@{}", Digest::of(b"another")));
    saved.load().fails(1, &format!("what it stands at has the digest {digest}"));
    assert_eq!(count(&room, "images"), 0);
    name(format!("quay.io/good@{digest}"));
    assert_eq!(saved.load().ok(), format!("Loaded image: quay.io/good@{digest}\n"));
    assert_eq!(mark(&room, &format!("quay.io/good@{digest}")), "good");
}

#[test]
fn lengths_are_what_is_said() {
    let Some(room) = Room::new() else { return };
    import(&room, "good");
    let saved = Saved::of(&room, "good");
    room.call(&["rmi", "good"]).ok();
    let (whole, manifest) = (saved.read("index.json"), saved.manifest());
    let falsify = |change: &dyn Fn(&mut Value)| {
        let mut manifest = manifest.clone();
        change(&mut manifest);
        let mut document = whole.clone();
        let blob = saved.blob(manifest.to_string().as_bytes(), OCI_MANIFEST);
        for key in ["digest", "size"] {
            document["manifests"][0][key] = blob[key].clone();
        }
        saved.write("index.json", &document);
        saved.load().fails(1, "are said");
        assert_eq!((count(&room, "images"), count(&room, "layers"), count(&room, "blobs/sha256")), (0, 0, 0));
    };
    for with_dockers in [true, false] {
        falsify(&|manifest| manifest["layers"][0]["size"] = json!(1));
        falsify(&|manifest| manifest["layers"][0]["size"] = json!(u64::MAX));
        falsify(&|manifest| manifest["config"]["size"] = json!(1));
        let mut document = whole.clone();
        document["manifests"][0]["size"] = json!(3);
        saved.write("index.json", &document);
        saved.load().fails(1, "3 are said");
        if with_dockers {
            fs::remove_file(saved.folder.join("manifest.json")).expect("file");
        }
    }
}

/// The same a thousand times over is the same; what has no end is refused.
#[test]
fn what_is_named_often_is_loaded_once() {
    let Some(room) = Room::new() else { return };
    import(&room, "good");
    let saved = Saved::of(&room, "good");
    room.call(&["rmi", "good"]).ok();
    // Docker's list.
    let docker = saved.read("manifest.json");
    saved.write("manifest.json", &json!(vec![docker[0].clone(); 10_000]));
    assert_eq!(saved.load().ok(), "Loaded image: good:latest\n");
    room.call(&["rmi", "good"]).ok();
    // An index, in which each entry leads to an index of as many.
    let saved = saved.without("manifest.json");
    let leaf = saved.read("index.json")["manifests"][0].clone();
    let mut level = index(vec![leaf; 10_000]);
    for _ in 0..2 {
        let blob = saved.blob(level.to_string().as_bytes(), OCI_INDEX);
        level = index(vec![blob; 10_000]);
    }
    saved.write("index.json", &level);
    assert_eq!(saved.load().ok(), "Loaded image: good:latest\n");
    assert_eq!((count(&room, "images"), count(&room, "layers")), (1, 1));
    let blob = saved.blob(level.to_string().as_bytes(), OCI_INDEX);
    saved.write("index.json", &index(vec![blob]));
    saved.load().fails(1, "an index of an index of an index");
    let huge = saved.blob(&vec![b' '; (8 << 20) + 1], OCI_INDEX);
    saved.write("index.json", &index(vec![huge]));
    saved.load().fails(1, "it has more than 8388608 bytes");
    let leaf = saved.manifest_entry();
    let names = |number: usize| {
        let mut entry = leaf.clone();
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": format!("a:{number}")});
        entry
    };
    saved.write("index.json", &index((0..10_001).map(names).collect()));
    saved.load().fails(125, "10001 images and names: at most 10000");
}

impl Saved<'_> {
    /// The entry of the only manifest among the blobs.
    fn manifest_entry(&self) -> Value {
        let blobs = fs::read_dir(self.folder.join("blobs/sha256")).expect("blobs").flatten();
        let manifest = blobs.map(|blob| fs::read(blob.path()).expect("blob")).find(|content| {
            serde_json::from_slice::<Value>(content).is_ok_and(|document| document.get("layers").is_some())
        });
        self.blob(&manifest.expect("a manifest"), OCI_MANIFEST)
    }
}

#[test]
fn many_layers_need_few_descriptors() {
    let Some(room) = Room::new() else { return };
    let saved = Saved::empty(&room);
    let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
    for number in 0..100 {
        let content = layer(&room.folder, number);
        layers.push(saved.blob(&content, "application/vnd.oci.image.layer.v1.tar"));
        diff_ids.push(Digest::of(&content));
    }
    let config =
        json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = saved.blob(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json");
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers});
    let manifest = saved.blob(manifest.to_string().as_bytes(), OCI_MANIFEST);
    saved.write("index.json", &index(vec![manifest]));
    // Older Dockers have more files for each layer.
    for number in 0..300 {
        fs::write(saved.folder.join(format!("VERSION-{number}")), "1.0").expect("file");
    }
    tar(&["-cf", "many.tar", "-C", "saved", "."], &room);
    let whole = room.command(&["load", "-q", "-i", "many.tar"]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 256; exec \"$0\" \"$@\""]).arg(whole.get_program()).args(whole.get_args());
    limited
        .current_dir(&room.folder)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", room.folder.join("home"));
    finish(&mut limited).ok();
    assert_eq!((count(&room, "images"), count(&room, "layers"), count(&room, "blobs/sha256")), (1, 100, 102));
}

/// A tar of one file.
fn layer(folder: &Path, number: usize) -> Vec<u8> {
    let files = folder.join("files");
    fs::create_dir_all(&files).expect("folder");
    fs::write(files.join("number"), number.to_string()).expect("file");
    finish(Command::new("tar").args(["-cf", "layer.tar", "-C", "files", "number"]).current_dir(folder)).ok();
    fs::read(folder.join("layer.tar")).expect("tar")
}
