//! Images that are here: names, files, removal.

use std::fs;
use std::process::{Command, Stdio};

use crate::harness::{Room, finish};

/// Imports the root file system under a name, with one more file that makes it another image.
fn import(room: &Room, mark: &str, name: &str) -> String {
    fs::write(room.rootfs().join("etc/mark"), mark).expect("file");
    let tar = room.tar(&format!("{mark}.tar"));
    room.call(&["import", &tar.display().to_string(), name]).ok().trim().to_string()
}

fn count(room: &Room, folder: &str) -> usize {
    fs::read_dir(room.data().join(folder)).into_iter().flatten().count()
}

#[test]
fn names_lead_to_images() {
    let Some(room) = Room::new() else { return };
    let id = import(&room, "one", "one");
    let short = &id[7..19];
    room.call(&["tag", "one", "quay.io/org/name:2"]).ok();
    room.call(&["tag", short, "two:1.0"]).ok();
    let said = room.call(&["images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]).ok();
    assert_eq!(said, format!("one:latest {id}\ntwo:1.0 {id}\nquay.io/org/name:2 {id}\n"));
    let table = room.call(&["images"]).ok();
    assert!(table.starts_with("REPOSITORY         TAG      IMAGE ID       CREATED"), "{table}");
    assert_eq!(room.call(&["images", "-q"]).ok(), format!("{short}\n"));
    let names = |arguments: &[&str]| {
        room.call(&[&["images", "--format", "{{.Repository}}"], arguments].concat()).ok()
    };
    assert_eq!(names(&["two"]), "two\n");
    assert_eq!(names(&["--filter", "reference=quay.io/*/name"]), "quay.io/org/name\n");
    assert_eq!(names(&["--filter", "dangling=true"]), "");
    room.call(&["images", "--filter", "size=1"]).fails(125, "--filter size=1: there are dangling");
    for name in ["one", "docker.io/library/one:latest", short, &id, &id[7..]] {
        let said =
            room.call(&["run", "--rm", "--network", "none", "--pull", "never", name, "cat", "/etc/mark"]);
        assert_eq!(said.ok(), "one", "{name}");
    }
    room.call(&["tag", "nonesuch", "x"]).fails(1, "nonesuch: there is no such image here");
    room.call(&["tag", "one", "X"]).fails(125, "lower case");
    // A name that moves leaves the image without one.
    import(&room, "other", "solo");
    import(&room, "another", "solo");
    assert_eq!(names(&["--filter", "dangling=true"]), "<none>\n");
    let said = room.call(&["image", "inspect", "--format", "{{json .RepoTags}} {{.Os}}", "one"]).ok();
    assert_eq!(said, "[\"one:latest\",\"two:1.0\",\"quay.io/org/name:2\"] linux\n");
    let history = room.call(&["history", "--format", "{{.ID}}", "--no-trunc", "one"]).ok();
    assert_eq!(history, format!("{id}\n"));
}

#[test]
fn what_is_removed_is_gone_when_nothing_leads_to_it() {
    let Some(room) = Room::new() else { return };
    let id = import(&room, "one", "one");
    import(&room, "two", "two");
    room.call(&["tag", "one", "one:more"]).ok();
    assert_eq!(room.call(&["rmi", "one:more"]).ok(), "Untagged: one:more\n");
    assert_eq!((count(&room, "layers"), count(&room, "blobs/sha256")), (2, 6));
    room.call(&["tag", "one", "one:more"]).ok();
    room.call(&["rmi", &id]).fails(1, "it has 2 names: name one of them, or --force");
    // A container keeps its layers, and its image unless that is forced.
    room.call(&["create", "--name", "user", "--network", "none", "two", "cat", "/etc/mark"]).ok();
    room.call(&["rmi", "two"]).fails(1, "two: container user is made of it");
    assert!(room.call(&["rmi", "-f", "two"]).ok().starts_with("Untagged: two:latest\n"));
    assert_eq!(count(&room, "layers"), 2);
    assert_eq!(room.call(&["start", "-a", "user"]).ok(), "two");
    room.call(&["rm", "user"]).ok();
    let said = room.call(&["rmi", "-f", &id]).ok();
    assert!(said.contains("Untagged: one:latest\n") && said.contains(&format!("Deleted: {id}\n")), "{said}");
    assert_eq!(count(&room, "layers"), 1);
    let said = room.call(&["image", "prune", "-f"]).ok();
    assert!(said.contains("Deleted: sha256:") && said.contains("Total reclaimed space: "), "{said}");
    assert_eq!((count(&room, "layers"), count(&room, "blobs/sha256"), count(&room, "images")), (0, 0, 0));
    room.call(&["rmi", "two"]).fails(1, "two: there is no such image here");
    room.call(&["rmi", "-f", "two"]).exits(0);
    room.call(&["image", "prune"]).fails(125, "--force does it without");
}

#[test]
fn prune_knows_what_is_used() {
    let Some(room) = Room::new() else { return };
    import(&room, "used", "used");
    import(&room, "unused", "unused");
    room.call(&["create", "--name", "user", "--network", "none", "used", "true"]).ok();
    room.call(&["image", "prune", "-f"]).ok();
    assert_eq!(count(&room, "images"), 2);
    let said = room.call(&["image", "prune", "-a", "-f"]).ok();
    assert!(said.contains("untagged: unused:latest\n"), "{said}");
    assert_eq!((count(&room, "images"), count(&room, "layers")), (1, 1));
    room.call(&["start", "-a", "user"]).ok();
    room.call(&["rm", "user"]).ok();
}

#[test]
fn what_is_saved_is_loaded() {
    let Some(room) = Room::new() else { return };
    let ids = [import(&room, "one", "one"), import(&room, "two", "quay.io/org/two:2")];
    room.call(&["tag", "one", "one:again"]).ok();
    room.call(&["save", "-o", "saved.tar", "one", "one:again", "quay.io/org/two:2"]).ok();
    let before = room.call(&["images", "--no-trunc", "--format", "{{.Repository}} {{.Tag}} {{.ID}}"]).ok();
    room.call(&["rmi", "-f", &ids[0], &ids[1]]).ok();
    assert_eq!((count(&room, "layers"), count(&room, "blobs/sha256")), (0, 0));
    let said = room.call(&["load", "-i", "saved.tar"]).ok();
    assert_eq!(said, "Loaded image: one:latest\nLoaded image: one:again\nLoaded image: quay.io/org/two:2\n");
    let after = room.call(&["images", "--no-trunc", "--format", "{{.Repository}} {{.Tag}} {{.ID}}"]).ok();
    assert_eq!(before, after);
    // The same images give the same tar; also through pipes, and compressed.
    room.call(&["save", "-o", "again.tar", "one", "one:again", "quay.io/org/two:2"]).ok();
    let read = |name: &str| fs::read(room.folder.join(name)).expect("tar");
    assert!(read("saved.tar") == read("again.tar"));
    let gzip = Command::new("gzip").arg(room.folder.join("again.tar")).status().expect("gzip");
    assert!(gzip.success());
    let compressed = fs::File::open(room.folder.join("again.tar.gz")).expect("tar");
    finish(room.command(&["load", "-q"]).stdin(Stdio::from(compressed))).ok();
    // It is an OCI layout as well.
    fs::create_dir(room.folder.join("layout")).expect("folder");
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(room.folder.join("saved.tar")).arg("-C").arg(room.folder.join("layout"));
    assert!(tar.status().expect("tar").success());
    let said = room.call(&["run", "--rm", "--network", "none", "./layout", "cat", "/etc/mark"]).ok();
    assert_eq!(said, "one");
}

#[test]
fn a_layout_leads_to_nothing_else() {
    let Some(room) = Room::new() else { return };
    import(&room, "mark", "image:1");
    room.call(&["save", "-o", "saved.tar", "image:1"]).ok();
    let layout = room.folder.join("layout");
    fs::create_dir(&layout).expect("folder");
    let mut tar = Command::new("tar");
    finish(tar.arg("-xf").arg(room.folder.join("saved.tar")).arg("-C").arg(&layout)).ok();
    room.call(&["rmi", "-f", "image:1"]).ok();
    let blobs = fs::read_dir(layout.join("blobs/sha256")).expect("blobs").flatten();
    let layer = blobs.max_by_key(|blob| blob.metadata().expect("a file").len()).expect("a blob").path();
    let whole = fs::read(&layer).expect("the layer");
    let refused = |reason: &str| {
        room.call(&["run", "--rm", "--network", "none", "./layout", "true"]).fails(125, reason);
    };
    fs::write(&layer, [&whole[..], b"more"].concat()).expect("written");
    refused(&format!("it has {} bytes, {} are said", whole.len() + 4, whole.len()));
    fs::remove_file(&layer).expect("removed");
    std::os::unix::fs::symlink("/etc/shadow", &layer).expect("a link");
    refused("symbolic link loop");
    fs::remove_file(&layer).expect("removed");
    rustix::fs::mknodat(rustix::fs::CWD, &layer, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .expect("a FIFO");
    refused("it is no file");
    room.assert_gone();
}

#[test]
fn what_is_broken_is_not_loaded() {
    let Some(room) = Room::new() else { return };
    let id = import(&room, "one", "one");
    room.call(&["save", "-o", "saved.tar", "one"]).ok();
    room.call(&["rmi", "one"]).ok();
    let saved = fs::read(room.folder.join("saved.tar")).expect("tar");
    let refused = |content: &[u8], status: i32, words: &str| {
        fs::write(room.folder.join("broken.tar"), content).expect("tar");
        room.call(&["load", "-i", "broken.tar"]).fails(status, words);
        assert_eq!((count(&room, "images"), count(&room, "layers")), (0, 0));
        assert_eq!(count(&room, "blobs/sha256"), 0, "what was read of it is gone");
    };
    refused(&saved[..saved.len() / 2], 1, "the tar is cut");
    let mut changed = saved.clone();
    let at = saved.windows(12).position(|bytes| bytes == b"\"architectur").expect("configuration");
    changed[at + 1] = b'A';
    refused(&changed, 1, &format!("blobs/sha256/{}: its content has the digest", &id[7..]));
    refused(
        &fs::read(room.tar("rootfs.tar")).expect("tar"),
        125,
        "it is no saved image (a tar of a root file system: box import)",
    );
    room.call(&["load", "-i", "missing.tar"]).fails(1, "--input missing.tar: no such file");
    room.call(&["import", "saved.tar.zst"]).fails(1, "saved.tar.zst");
}

/// Ranges of ids change: a layer that was unpacked with others is said, and then replaced.
#[test]
fn layers_of_other_ids_are_not_used() {
    let Some(room) = Room::new() else { return };
    import(&room, "one", "one");
    room.call(&["save", "-o", "saved.tar", "one"]).ok();
    room.call(&["create", "--name", "made", "--network", "none", "one", "cat", "/etc/mark"]).ok();
    let layer = fs::read_dir(room.data().join("layers")).expect("layers").flatten().next().expect("a layer");
    let record = layer.path().join("layer.json");
    let text = fs::read_to_string(&record).expect("record");
    fs::write(&record, text.replace("\"own\"", "\"squashed\"")).expect("record");
    let run = ["run", "--rm", "--network", "none", "--pull", "never", "one", "cat", "/etc/mark"];
    room.call(&run).fails(125, "it was unpacked with other ids than yours are now");
    room.call(&["start", "-a", "made"]).fails(1, "it was unpacked with other ids than yours are now");
    room.call(&["load", "-q", "-i", "saved.tar"]).ok();
    assert_eq!(fs::read_to_string(&record).expect("record"), text);
    assert_eq!(room.call(&run).ok(), "one");
    assert_eq!(room.call(&["start", "-a", "made"]).ok(), "one");
    room.call(&["rm", "made"]).ok();
    room.assert_gone();
}
