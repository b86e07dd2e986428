//! Images from registries that break, are busy, lie, and send elsewhere.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use pillbox_engine::Digest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::boxd::Boxd;
use crate::harness::{Room, finish, wait_for};
use crate::registry::{Answer, Content, OCI_INDEX, OCI_MANIFEST, Registry, Request, layer};
use crate::rootless;

/// The root file system of a room as a layer.
fn rootfs(room: &Room) -> (Vec<u8>, Digest) {
    layer(&room.tar("image.tar"))
}

/// A layer with one file.
fn small(room: &Room, name: &str, text: &str) -> (Vec<u8>, Digest) {
    let folder = room.folder.join(format!("layer-{name}"));
    fs::create_dir(&folder).expect("folder");
    fs::write(folder.join(name), text).expect("file");
    let tar = room.folder.join(format!("{name}.layer"));
    let mut command = std::process::Command::new("tar");
    command.args(["--numeric-owner", "--sort=name", "-cf"]).arg(&tar).arg("-C").arg(&folder).arg(".");
    assert!(command.status().expect("tar").success());
    layer(&tar)
}

/// Names in a folder of the store, hidden ones as well.
fn names(room: &Room, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(room.data().join(folder)).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Nothing came of it: no name, no layer.
#[track_caller]
fn assert_nothing(room: &Room) {
    assert_eq!(
        (names(room, "images"), names(room, "layers"), names(room, "leases")),
        (vec![], vec![], vec![])
    );
}

fn is_blob(request: &Request, layer: &(Vec<u8>, Digest)) -> bool {
    request.method == "GET" && request.path.ends_with(&Digest::of(&layer.0).to_string())
}

#[test]
fn all_tags_of_a_repository() {
    let Some(room) = Room::new() else { return };
    let layers = [rootfs(&room), small(&room, "second", "x")];
    let mut content = Content::default();
    for tag in ["1", "2", "other"] {
        content.image(tag, "amd64", &layers[..1]);
    }
    content.image("3", "amd64", &layers);
    // A page has one tag.
    let registry = Registry::start(content, |_| Answer::Usual);
    let name = format!("{}/a/b", registry.host);
    let said = room.call(&["pull", "-a", &name]).ok();
    let begun: Vec<&str> = said.lines().filter_map(|line| line.strip_suffix(": Pulling from a/b")).collect();
    assert_eq!(begun, ["1", "2", "3", "other"]);
    assert!(said.ends_with(&format!("Status: Downloaded newer image for {name}\n{name}\n")), "{said}");
    let images = room.call(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok();
    assert_eq!(images.lines().filter(|image| image.starts_with(&name)).count(), 4, "{images}");
    assert_eq!(room.call(&["pull", "-aq", &name]).ok(), format!("{name}\n"));
    room.call(&["pull", "-a", &format!("{name}:1")]).fails(125, "must be a repository, without a tag");
    // A list that leads elsewhere is not followed.
    let elsewhere = vec![("Link", "<http://192.0.2.1/v2/x>; rel=\"next\"".to_string())];
    let lying =
        Registry::start(Content::default(), move |request| match request.path.contains("/tags/list") {
            true => Answer::Status(200, elsewhere.clone(), r#"{"tags": ["1"]}"#.to_string()),
            false => Answer::Usual,
        });
    room.call(&["pull", "-aq", &format!("{}/a/b", lying.host)])
        .fails(1, "the next page http://192.0.2.1/v2/x is not");
    let empty = Registry::start(Content::default(), |request| match request.path.contains("/tags/list") {
        true => Answer::Status(200, Vec::new(), r#"{"tags": null}"#.to_string()),
        false => Answer::Usual,
    });
    room.call(&["pull", "-aq", &format!("{}/a/b", empty.host)]).fails(1, "it has no tags");
}

#[test]
fn what_is_missing_is_pulled_and_what_is_there_is_not() {
    let Some(room) = Room::new() else { return };
    let layers = [rootfs(&room), small(&room, "second", "the second layer's")];
    let mut content = Content::default();
    let digest = content.image("1", "amd64", &layers);
    content.image("2", "amd64", &layers[..1]);
    let registry = Registry::start(content, |_| Answer::Usual);
    let name = format!("{}/a/b:1", registry.host);
    let run = |flags: &[&str], command: &[&str]| {
        room.call(&[&["run", "--rm", "--network", "none"], flags, &[&name], command].concat())
    };
    run(&["--pull", "never"], &[]).fails(125, "there is no such image here: box pull ");
    let said = run(&[], &["cat", "/second"]).exits(0);
    assert_eq!(said.stdout, "the second layer's");
    assert!(
        said.stderr.contains("is not here: pulling it") && said.stderr.contains("Pull complete"),
        "{}",
        said.stderr
    );
    assert_eq!(run(&[], &[]).ok(), "from the image\n");
    let blobs = registry.requests("/blobs/").len();
    assert_eq!(blobs, 3, "two layers and a configuration");
    let said = room.call(&["pull", &name]).ok();
    assert!(said.contains("Already exists") && said.contains(&format!("Digest: {digest}")), "{said}");
    assert!(said.ends_with(&format!("Status: Image is up to date for {name}\n{name}\n")), "{said}");
    room.call(&["pull", "-q", &format!("{}/a/b:2", registry.host)]).ok();
    run(&["--pull", "always", "-q"], &["true"]).ok();
    let layers = registry.requests(&Digest::of(&layers[0].0).to_string()).len();
    assert_eq!(layers, 1, "a layer that is there is not asked for again");
    // By its digest it is the same image.
    let by_digest = format!("{}/a/b@{digest}", registry.host);
    assert_eq!(
        room.call(&["run", "--rm", "--network", "none", "--pull", "never", &by_digest]).ok(),
        "from the image\n"
    );
    room.assert_gone();
}

#[test]
fn a_broken_connection_goes_on_where_it_broke() {
    let Some(room) = Room::new() else { return };
    let layer = rootfs(&room);
    let mut content = Content::default();
    content.image("1", "amd64", std::slice::from_ref(&layer));
    let cut = layer.0.len() / 3;
    let of_layer = layer.clone();
    let registry = Registry::start(content, move |request| match request {
        request if is_blob(request, &of_layer) && request.before < 2 => Answer::Cut(cut),
        _ => Answer::Usual,
    });
    let name = format!("{}/a:1", registry.host);
    assert_eq!(room.call(&["run", "--rm", "--network", "none", "-q", &name]).ok(), "from the image\n");
    let ranges: Vec<_> = registry
        .requests(&Digest::of(&layer.0).to_string())
        .iter()
        .map(|request| request.headers.get("range").cloned())
        .collect();
    assert_eq!(ranges, [None, Some(format!("bytes={cut}-")), Some(format!("bytes={}-", 2 * cut))]);
}

#[test]
fn a_killed_pull_goes_on_where_it_was_killed() {
    let Some(room) = Room::new() else { return };
    let layer = rootfs(&room);
    let mut content = Content::default();
    content.image("1", "amd64", std::slice::from_ref(&layer));
    let (cut, of_layer) = (layer.0.len() / 2, layer.clone());
    let registry = Registry::start(content, move |request| match request {
        request if is_blob(request, &of_layer) && request.before == 0 => Answer::Stall(cut),
        _ => Answer::Usual,
    });
    let name = format!("{}/a:1", registry.host);
    let digest = Digest::of(&layer.0);
    let partial = room.data().join("blobs/sha256").join(format!(".partial-{}", digest.hex()));
    let mut child = room.command(&["pull", &name]).stdout(Stdio::null()).spawn().expect("box");
    wait_for("half of the layer", || fs::metadata(&partial).is_ok_and(|status| status.len() == cut as u64));
    kill_box(&room);
    child.wait().expect("timeout");
    assert_eq!(names(&room, "images"), Vec::<String>::new());
    assert_eq!(names(&room, "layers").len(), 1, "what was unpacked so far");
    room.call(&["pull", "-q", &name]).ok();
    let last = registry.requests(&digest.to_string()).pop().expect("a request");
    assert_eq!(last.headers.get("range"), Some(&format!("bytes={cut}-")));
    assert!(
        names(&room, "layers").iter().chain(&names(&room, "blobs/sha256")).all(|name| !name.starts_with('.'))
    );
    assert_eq!(room.call(&["run", "--rm", "--network", "none", &name]).ok(), "from the image\n");
}

/// The only process of the room's that is a box.
fn kill_box(room: &Room) {
    let word = room.data().display().to_string();
    for pid in crate::host::processes_naming(&word) {
        if fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "box\n") {
            kill_process(Pid::from_raw(pid as i32).expect("pid"), Signal::KILL).expect("kill");
        }
    }
}

/// What a broken pull has left may be torn by a loss of power.
#[test]
fn a_spoiled_part_is_fetched_anew() {
    let Some(room) = Room::new() else { return };
    let layer = rootfs(&room);
    let mut content = Content::default();
    content.image("1", "amd64", std::slice::from_ref(&layer));
    let registry = Registry::start(content, |_| Answer::Usual);
    let name = format!("{}/a:1", registry.host);
    room.call(&["images"]).ok();
    let digest = Digest::of(&layer.0);
    let partial = room.data().join("blobs/sha256").join(format!(".partial-{}", digest.hex()));
    let longer = [&layer.0[..], &[0; 100]].concat();
    let mut torn = layer.0[..layer.0.len() / 2].to_vec();
    let middle = torn.len() / 2;
    torn[middle..].fill(0);
    for spoiled in [vec![0; 5000], torn, longer] {
        fs::write(&partial, spoiled).expect("file");
        room.call(&["pull", "-q", &name]).ok();
        room.call(&["rmi", &name]).ok();
    }
    assert_nothing(&room);
}

#[test]
fn who_is_busy_is_asked_again() {
    let Some(room) = Room::new() else { return };
    let layer = small(&room, "file", "content");
    let mut content = Content::default();
    content.image("1", "amd64", &[layer]);
    let registry = Registry::start(content, |request| match request.before {
        0 if request.path.contains("/manifests/") => {
            Answer::Status(429, vec![("Retry-After", "2".into())], String::new())
        }
        0 if request.path.contains("/blobs/") => Answer::Status(503, vec![], String::new()),
        0 => Answer::Status(502, vec![], String::new()),
        _ => Answer::Usual,
    });
    let began = Instant::now();
    let said = room.call(&["pull", "-q", &format!("{}/a:1", registry.host)]).exits(0);
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(said.stderr, "box: waiting 2 seconds for the registry: 429\n");
    let never = Registry::start(Content::default(), |_| {
        Answer::Status(429, vec![("Retry-After", "0".into())], String::new())
    });
    room.call(&["pull", "-q", &format!("{}/a:1", never.host)]).fails(1, "too many requests");
}

#[test]
fn slow_bodies_are_waited_for() {
    let Some(room) = Room::new() else { return };
    let layer = small(&room, "file", &"content".repeat(100));
    let mut content = Content::default();
    content.image("1", "amd64", &[layer]);
    let registry = Registry::start(content, |request| match request.path.contains("/blobs/") {
        true => Answer::Slow(20, Duration::from_millis(20)),
        false => Answer::Usual,
    });
    room.call(&["pull", "-q", &format!("{}/a:1", registry.host)]).ok();
}

/// Whoever waits for the same layer does not wait for a registry that has fallen silent to the other one.
#[test]
fn a_client_that_goes_leaves_nothing_waiting() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    for (name, answer) in [
        ("silent", (|| Answer::Stall(10)) as fn() -> Answer),
        ("busy", || Answer::Status(429, vec![("Retry-After", "100".into())], String::new())),
    ] {
        let layer = small(&room, name, name);
        let blob = Digest::of(&layer.0).to_string();
        let mut content = Content::default();
        content.image("1", "amd64", &[layer]);
        let wanted = blob.clone();
        let is_first = move |request: &Request| request.path.ends_with(&wanted) && request.before == 0;
        let registry = Registry::start(content, move |request| match is_first(request) {
            true => answer(),
            false => Answer::Usual,
        });
        let path = format!("/images/create?fromImage={}/{name}&tag=1", registry.host);
        let mut first = boxd.connect();
        let head = format!("POST {path} HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n");
        first.write_all(head.as_bytes()).expect("a request");
        wait_for("the layer", || !registry.requests(&blob).is_empty());
        drop(first);
        let began = Instant::now();
        let said = boxd.post(&path, None).text();
        assert!(said.contains("Downloaded newer image"), "{name}: {said}");
        assert!(began.elapsed() < Duration::from_secs(10), "{name}: {:?}", began.elapsed());
    }
}

#[test]
fn tokens_are_fetched_and_replaced() {
    let Some(room) = Room::new() else { return };
    let layers = [small(&room, "one", "1"), small(&room, "two", "2")];
    let mut content = Content::default();
    content.image("1", "amd64", &layers);
    let is_late = Arc::new(AtomicBool::new(false));
    let registry = Registry::start(content, {
        let is_late = is_late.clone();
        move |request| {
            let host = request.headers.get("host").cloned().unwrap_or_default();
            let authorization = request.headers.get("authorization").map(String::as_str);
            // The first token is not taken any more when the first layer has been asked for.
            let token = if is_late.load(Ordering::Relaxed) { "late" } else { "early" };
            if request.path.starts_with("/token") {
                return Answer::Status(200, vec![], json!({"token": token}).to_string());
            }
            if authorization != Some(&format!("Bearer {token}")) {
                let challenge =
                    format!(r#"Bearer realm="http://{host}/token",service="reg",scope="repository:a:pull""#);
                return Answer::Status(401, vec![("WWW-Authenticate", challenge)], String::new());
            }
            if request.path.contains("/manifests/") {
                is_late.store(true, Ordering::Relaxed);
            }
            Answer::Usual
        }
    });
    let home = room.folder.join("home/.docker");
    fs::create_dir(&home).expect("folder");
    let ann = base64::engine::general_purpose::STANDARD.encode("ann:secret");
    fs::write(home.join("config.json"), json!({"auths": {&registry.host: {"auth": ann}}}).to_string())
        .expect("file");
    room.call(&["pull", "-q", &format!("{}/a:1", registry.host)]).ok();
    let tokens = registry.requests("/token");
    assert!(tokens.len() >= 2, "{tokens:?}");
    assert_eq!(tokens[0].headers.get("authorization"), Some(&format!("Basic {ann}")));
    assert_eq!(tokens[0].path, "/token?service=reg&scope=repository%3Aa%3Apull&account=ann");
    // The name and the password go to nobody but the service of tokens.
    let others = registry.requests("/v2/");
    assert!(
        others
            .iter()
            .all(|request| !request.headers.get("authorization").is_some_and(|text| text.contains(&ann)))
    );
}

#[test]
fn nobody_else_gets_the_token() {
    let Some(room) = Room::new() else { return };
    let layer = small(&room, "one", "1");
    let mut content = Content::default();
    content.image("1", "amd64", std::slice::from_ref(&layer));
    let elsewhere = Registry::start_at("127.0.0.2", content.clone(), |_| Answer::Usual);
    let there = elsewhere.host.clone();
    let registry = Registry::start(content, move |request| match request.headers.get("authorization") {
        None => Answer::Status(401, vec![("WWW-Authenticate", "Basic realm=\"x\"".into())], String::new()),
        Some(_) if request.path.contains("/blobs/") => {
            Answer::Status(307, vec![("Location", format!("http://{there}{}", request.path))], String::new())
        }
        Some(_) => Answer::Usual,
    });
    // From a helper this time.
    let helper = room.folder.join("docker-credential-test");
    let script = "#!/bin/sh\nread -r host\n[ \"$1\" = get ] && echo '{\"Username\": \"ann\", \"Secret\": \"secret\"}'\n";
    fs::write(&helper, script).expect("helper");
    fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    let config = room.folder.join("auth.json");
    fs::write(&config, json!({"credHelpers": {&registry.host: "test"}}).to_string()).expect("file");
    let name = format!("{}/a:1", registry.host);
    let mut command = room.command(&["pull", "-q", &name]);
    let path = format!("{}:/usr/bin:/bin", room.folder.display());
    finish(command.env("PATH", path).env("REGISTRY_AUTH_FILE", config)).ok();
    let seen = elsewhere.requests("");
    assert!(
        !seen.is_empty() && seen.iter().all(|request| !request.headers.contains_key("authorization")),
        "{seen:?}"
    );
    // Nobody is somebody.
    room.call(&["pull", "-q", &format!("{}/b:1", registry.host)]).fails(125, "box login 127.0.0.1:");
}

#[test]
fn what_is_not_what_it_says_gets_no_name() {
    let Some(room) = Room::new() else { return };
    let (one, two) = (small(&room, "one", "1"), small(&room, "two", "2"));
    let digest = Digest::of(&one.0);
    let mut content = Content::default();
    let wrong_diff_id = (one.0.clone(), Digest::of(b"another tar"));
    content.image("diff", "amd64", &[wrong_diff_id]);
    let mut document = content.image_document("amd64", std::slice::from_ref(&one));
    document["layers"][0]["size"] = json!(one.0.len() + 1);
    content.manifest("longer", OCI_MANIFEST, &document);
    document["layers"][0]["size"] = json!(one.0.len() - 1);
    content.manifest("shorter", OCI_MANIFEST, &document);
    document["layers"][0]["size"] = json!(one.0.len());
    document["layers"][0]["mediaType"] = json!("text/plain");
    content.manifest("media", OCI_MANIFEST, &document);
    document["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
    content.manifest("chart", OCI_MANIFEST, &document);
    content.manifest(
        "old",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        &json!({"schemaVersion": 1}),
    );
    let mut document = content.image_document("amd64", &[one.clone(), two.clone()]);
    document["layers"].as_array_mut().expect("layers").pop();
    content.manifest("fewer", OCI_MANIFEST, &document);
    content.image("blob", "amd64", std::slice::from_ref(&two));
    let mut other = two.0.clone();
    other[20] ^= 1;
    content.falsify(&Digest::of(&two.0), &other);
    let by_digest = content.image("digest", "amd64", std::slice::from_ref(&one));
    let registry =
        Registry::start(content, move |request| match request.path.ends_with(&by_digest.to_string()) {
            true => Answer::Status(200, vec![], "{}".into()),
            false => Answer::Usual,
        });
    let refused = |target: &str, words: &str| {
        let output = room.call(&["pull", "-q", &format!("{}/a{target}", registry.host)]);
        // What is nothing for box, and what is broken.
        let status = if output.status == 125 { 125 } else { 1 };
        output.fails(status, words);
        assert_nothing(&room);
    };
    refused(
        ":diff",
        &format!("layer {digest}: layer {}: what came has the digest", Digest::of(b"another tar")),
    );
    refused(":longer", "bytes instead of the manifest's");
    refused(":shorter", "bytes instead of the manifest's");
    refused(":media", "of text/plain");
    refused(":chart", "it is no image: its configuration is of application/vnd.cncf.helm");
    refused(":old", "schema 1");
    refused(":fewer", "its manifest has 1 layers, its configuration 2");
    refused(":blob", &Digest::of(&two.0).to_string());
    refused(&format!("@{by_digest}"), "its content has the digest");
    refused(":nonesuch", "manifest unknown");
    // What was wrong is not gone on from.
    assert!(names(&room, "blobs/sha256").iter().all(|name| !name.contains(&Digest::of(&two.0).hex())));
}

#[test]
fn an_index_has_the_image_for_this_machine() {
    let Some(room) = Room::new() else { return };
    let (ours, theirs) = (rootfs(&room), small(&room, "file", "theirs"));
    let mut content = Content::default();
    let manifests: Vec<_> = [("s390x", theirs), ("amd64", ours.clone()), ("arm64", ours)]
        .into_iter()
        .map(|(architecture, layer)| {
            let document = content.image_document(architecture, &[layer]);
            let digest = content.manifest(architecture, OCI_MANIFEST, &document);
            let platform = json!({"os": "linux", "architecture": architecture});
            json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": document.to_string().len(), "platform": platform})
        })
        .collect();
    content.manifest(
        "1",
        OCI_INDEX,
        &json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}),
    );
    let registry = Registry::start(content, |_| Answer::Usual);
    let name = format!("{}/a:1", registry.host);
    room.call(&["pull", "--platform", "linux/riscv64", &name]).exits(1);
    if cfg!(target_arch = "x86_64") {
        assert_eq!(room.call(&["run", "--rm", "--network", "none", "-q", &name]).ok(), "from the image\n");
    }
    let asked = registry.requests("").len();
    room.call(&["run", "--rm", "--network", "none", "-q", "--platform", "s390x", &name])
        .fails(125, "--platform linux/s390x: this machine is ");
    assert_eq!(registry.requests("").len(), asked, "nothing is pulled for that");
    room.call(&["pull", "-q", "--platform", "s390x", &name]).ok();
    room.call(&["run", "--rm", "--network", "none", &name]).fails(125, "it is made for linux/s390x");
    let said = room.call(&["images", "--format", "{{.Repository}} {{.Tag}} {{.Platform}}"]).ok();
    assert!(said.starts_with(&format!("{}/a 1 linux/s390x\n", registry.host)), "{said}");
    room.call(&["pull", "-q", "--platform", "s390x", &format!("{}/a:amd64", registry.host)])
        .fails(1, "it is for linux/amd64, and not for linux/s390x");
}

#[test]
fn two_pulls_at_once_fetch_once() {
    let Some(room) = Room::new() else { return };
    let layers = [rootfs(&room), small(&room, "second", "2")];
    let mut content = Content::default();
    content.image("1", "amd64", &layers);
    content.image("2", "amd64", &layers);
    let registry = Registry::start(content, |request| match request.path.contains("/blobs/") {
        true => Answer::Slow(1 << 18, Duration::from_millis(20)),
        false => Answer::Usual,
    });
    let start = |tag: &str| {
        let name = format!("{}/a:{tag}", registry.host);
        room.command(&["pull", "-q", &name])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("box")
    };
    for child in ["1", "2", "1"].map(start) {
        let output = child.wait_with_output().expect("box");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for layer in &layers {
        assert_eq!(registry.requests(&Digest::of(&layer.0).to_string()).len(), 1);
    }
    assert_eq!(names(&room, "layers").len(), 2);
    assert_eq!(
        room.call(&["run", "--rm", "--network", "none", &format!("{}/a:2", registry.host)]).ok(),
        "from the image\n"
    );
}

/// What a pull counts on stays, whatever is removed meanwhile.
#[test]
fn prune_leaves_a_pull_what_it_needs() {
    let Some(room) = Room::new() else { return };
    let layers = [rootfs(&room), small(&room, "second", "2")];
    let mut content = Content::default();
    content.image("1", "amd64", &layers);
    content.image("base", "amd64", &layers[..1]);
    let go_on = Arc::new(AtomicBool::new(false));
    let (waits, second) = (go_on.clone(), layers[1].clone());
    let registry = Registry::start(content, move |request| {
        if is_blob(request, &second) {
            while !waits.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Answer::Usual
    });
    let (base, name) = (format!("{}/a:base", registry.host), format!("{}/a:1", registry.host));
    room.call(&["pull", "-q", &base]).ok();
    let mut child = room.command(&["pull", "-q", &name]).stdout(Stdio::null()).spawn().expect("box");
    wait_for("the second layer", || !registry.requests(&Digest::of(&layers[1].0).to_string()).is_empty());
    room.call(&["rmi", &base]).ok();
    room.call(&["image", "prune", "-a", "-f"]).ok();
    go_on.store(true, Ordering::Relaxed);
    assert!(child.wait().expect("box").success());
    assert_eq!(room.call(&["run", "--rm", "--network", "none", &name, "cat", "/second"]).ok(), "2");
    assert_eq!(registry.requests(&Digest::of(&layers[0].0).to_string()).len(), 1);
    assert_eq!(names(&room, "leases"), Vec::<String>::new());
}

#[test]
fn proxies_are_those_of_the_environment() {
    let Some(room) = Room::new() else { return };
    let mut content = Content::default();
    content.image("1", "amd64", &[small(&room, "file", "content")]);
    let proxy = Registry::start(content, |_| Answer::Usual);
    let pull = |flags: &[&str], variable: &str, exceptions: &str| {
        let mut command = room.command(&[&["pull", "-q"], flags, &["registry.example/a:1"]].concat());
        finish(command.env(variable, format!("http://{}", proxy.host)).env("NO_PROXY", exceptions))
    };
    pull(&["--tls-verify=false"], "HTTP_PROXY", "registry.example").exits(1);
    assert!(proxy.requests("").is_empty());
    pull(&["--tls-verify=false"], "HTTP_PROXY", "other.example").ok();
    let through = |port: &str| proxy.requests(&format!("registry.example:{port}"));
    assert!(through("80").iter().any(|request| request.method == "CONNECT"));
    // Without TLS nobody is asked whom nobody has allowed.
    pull(&[], "HTTPS_PROXY", "").exits(1);
    assert!(through("443").iter().any(|request| request.method == "CONNECT"));
}

#[test]
fn ordinary_users_pull_too() {
    let Some(room) = rootless::room(rootless::USER) else { return };
    fs::create_dir(room.rootfs().join("srv")).expect("folder");
    std::os::unix::fs::chown(room.rootfs().join("srv"), Some(33), Some(34)).expect("chown");
    let mut content = Content::default();
    content.image("1", "amd64", &[rootfs(&room), small(&room, "second", "2")]);
    let registry = Registry::start(content, |_| Answer::Usual);
    let name = format!("{}/a:1", registry.host);
    let run = ["run", "--rm", "--network", "none", "-q", &name, "stat", "-c", "%u:%g", "/srv", "/second"];
    assert_eq!(room.call(&run).ok(), "33:34\n0:0\n");
    room.call(&["save", "-o", "home/saved.tar", &name]).ok();
    room.call(&["rmi", &name]).ok();
    assert_nothing(&room);
    room.call(&["load", "-i", "home/saved.tar"]).ok();
    assert_eq!(room.call(&run).ok(), "33:34\n0:0\n");
}

#[test]
fn names_that_cannot_be_are_refused_before_anything_is_asked() {
    let Some(room) = Room::new() else { return };
    for (name, words) in [
        ("UPPER", "lower case"),
        ("a:b:c", "repository"),
        ("a@sha256:1", "64 hex digits"),
        ("", "repository"),
    ] {
        room.call(&["pull", name]).fails(125, words);
        room.call(&["run", "--rm", name]).fails(125, words);
    }
    room.call(&["run", "--rm", "--pull", "often", "a"])
        .fails(125, "--pull often: must be always, missing or never");
    room.call(&["pull", "--platform", "a/b/c/d", "a"]).fails(125, "--platform a/b/c/d");
    room.call(&["search", "alpine"]).fails(125, "search: there is no such command");
}

/// An image's signal that nobody could send is refused when a container is made, not when it is to stop.
#[test]
fn a_stop_signal_that_is_none() {
    let Some(room) = Room::new() else { return };
    let mut content = Content::default();
    let (blob, diff_id) = layer(&room.tar("image.tar"));
    let mut document = content.image_document("amd64", &[(blob, diff_id)]);
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Cmd": ["sleep", "1000"], "StopSignal": "SIGNONSUCH"},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    });
    let config = config.to_string().into_bytes();
    document["config"]["digest"] = json!(content.blob(&config));
    document["config"]["size"] = json!(config.len());
    content.manifest("1", OCI_MANIFEST, &document);
    let registry = Registry::start(content, |_| Answer::Usual);
    let name = format!("{}/a:1", registry.host);
    room.call(&["pull", "-q", &name]).exits(0);
    for verb in [&["run", "--rm"][..], &["run", "-d"], &["create"]] {
        room.call(&[verb, &["--network", "none", &name]].concat()).fails(125, "StopSignal of the image: ");
    }
    room.call(&["run", "-d", "--name", "own", "--stop-signal", "KILL", "--network", "none", &name]).exits(0);
    room.call(&["stop", "own"]).ok();
    assert_eq!(room.call(&["wait", "own"]).ok(), "137\n");
    room.call(&["rm", "own"]).ok();
    room.assert_gone();
}
