//! What registries.conf says: mirrors, other places, names without a registry.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::api::{body, create, image};
use crate::boxd::Boxd;
use crate::harness::Room;
use crate::registry::{Answer, Content, Registry, distant_address, layer};

fn configure(room: &Room, text: &str) {
    fs::write(room.folder.join("home/.config/containers/registries.conf"), text).expect("file");
}

fn content(room: &Room) -> Content {
    let mut content = Content::default();
    content.image("1", "amd64", &[layer(&room.tar("image.tar"))]);
    content
}

#[test]
fn mirrors_are_asked_first() {
    let Some(room) = Room::new() else { return };
    let registry = Registry::start(content(&room), |_| Answer::Usual);
    let host = &registry.host;
    let mirrors = |mirrors: &[String]| {
        let tables = mirrors.iter().map(|mirror| format!("[[registry.mirror]]\nlocation = '{mirror}'\n"));
        configure(
            &room,
            &format!("[[registry]]\nlocation = 'registry.invalid'\n{}", tables.collect::<String>()),
        );
    };
    // The first one is not there, the second one has nothing.
    let empty = Registry::start(Content::default(), |_| Answer::Usual);
    mirrors(&["127.0.0.1:1".into(), empty.host.clone(), format!("{host}/hub")]);
    let name = "registry.invalid/some/name:1";
    let said = room.call(&["pull", name]).exits(0);
    assert!(said.stderr.contains("mirror 127.0.0.1:1/some/name: "), "{}", said.stderr);
    assert!(said.stderr.contains(&format!("mirror {}/some/name: ", empty.host)), "{}", said.stderr);
    assert_eq!(room.call(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok(), format!("{name}\n"));
    assert_eq!(registry.requests("/v2/hub/some/name/").len(), registry.requests("/v2/").len() - 1);
    let run = ["run", "--rm", "--network", "none", "--pull", "never", name];
    assert_eq!(room.call(&run).ok(), "from the image\n");
    // Another place altogether, for a part of a registry; others are blocked.
    room.call(&["rmi", name]).ok();
    configure(
        &room,
        &format!(
            "[[registry]]\nprefix = 'registry.invalid/some'\nlocation = '{host}/else'\n\
             [[registry]]\nlocation = 'registry.invalid'\nblocked = true\n"
        ),
    );
    room.call(&["pull", "-q", name]).ok();
    assert!(!registry.requests("/v2/else/name/").is_empty());
    room.call(&["pull", "-q", "registry.invalid/other"]).fails(125, "registry.invalid is blocked (");
    configure(&room, "[[registry]]\nlocation = 'https://x'\n");
    room.call(&["pull", "-q", name])
        .fails(125, ".config/containers/registries.conf: registry.location \"https://x\"");
    configure(&room, "\n[[registry]\n");
    room.call(&["pull", "-q", name]).fails(1, ".config/containers/registries.conf: line 2: ");
}

#[test]
fn names_without_a_registry_mean_the_first() {
    let Some(room) = Room::new() else { return };
    let registry = Registry::start(content(&room), |_| Answer::Usual);
    let host = &registry.host;
    configure(&room, &format!("unqualified-search-registries = ['{host}', 'registry.invalid']"));
    let said = room.call(&["run", "--rm", "--network", "none", "-q", "some/name:1"]).exits(0);
    assert_eq!(said.stdout, "from the image\n");
    assert!(
        said.stderr.starts_with(&format!("box: some/name:1: {host}/some/name:1 is meant (/")),
        "{}",
        said.stderr
    );
    let before = registry.requests("").len();
    assert_eq!(room.call(&["run", "--rm", "--network", "none", "some/name:1"]).ok(), "from the image\n");
    assert_eq!(registry.requests("").len(), before, "it is there");
    // What was made here is found as well.
    room.call(&["import", "image.tar", "mine"]).ok();
    room.call(&["run", "--rm", "--network", "none", "--pull", "never", "mine", "true"]).ok();
    room.call(&["rmi", "some/name:1", "mine"]).ok();
}

/// Without TLS is asked whom a file allows, and nobody else.
#[test]
fn insecure_registries() {
    let Some(room) = Room::new() else { return };
    let registry = Registry::start_at(&distant_address(), content(&room), |_| Answer::Usual);
    let name = format!("{}/a:1", registry.host);
    configure(&room, "[[registry]]\nlocation = 'other.invalid'\ninsecure = true\n");
    room.call(&["pull", "-q", &name]).exits(1);
    assert!(registry.requests("").is_empty());
    configure(&room, &format!("[[registry]]\nlocation = '{}'\ninsecure = true\n", registry.host));
    room.call(&["pull", "-q", &name]).ok();
}

/// Nothing else changes: boxd keeps how containers are listed that do not run.
#[test]
fn lists_of_boxd_notice_that_names_mean_something_else() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    let tar = fs::read(room.tar("rootfs.tar")).expect("tar");
    let other = "/images/create?fromSrc=-&repo=registry.invalid/other&changes=ENV%20A%3Dc";
    assert_eq!(boxd.send_tar("POST", other, &tar).status, 200);
    let id = create(&boxd, "cc", &body(&["true"]));
    let shown = |text: &str| {
        let listed = boxd.json("GET", "/containers/json?all=1", None, 200)[0]["Image"].clone();
        let image = boxd.json("GET", &format!("/containers/{id}/json"), None, 200)["Image"].clone();
        let expected = if text == "id" { image } else { json!(text) };
        assert_eq!(listed, expected);
    };
    let name = boxd.json("GET", "/containers/json?all=1", None, 200)[0]["Image"].clone();
    let name = name.as_str().expect("a name");
    // What has just changed is not kept.
    let settle = || std::thread::sleep(Duration::from_millis(100));
    let short = name.split(':').next().expect("a name");
    let other = format!("[aliases]\n'{short}' = 'registry.invalid/other'\n");
    let added = room.folder.join("home/.config/containers/registries.conf.d");
    fs::create_dir(&added).expect("folder");
    for (path, is_whole) in [("../registries.conf", true), ("a.conf", false), ("a.conf", false)] {
        let path = added.join(path);
        for (text, expected) in [("", name), (&other, "id"), ("", name)] {
            fs::write(&path, text).expect("file");
            settle();
            shown(expected);
            shown(expected);
        }
        if !is_whole {
            // Made, and removed.
            fs::write(&path, &other).expect("file");
            settle();
            shown("id");
            shown("id");
            fs::remove_file(&path).expect("remove");
            settle();
            shown(name);
            shown(name);
        }
    }
}
