//! build: caches elsewhere, from which a machine goes on that has built nothing.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::boxd::Boxd;
use crate::build::{build, prepare, said, write};
use crate::distribution::Server;
use crate::harness::Room;

/// Its first stage comes to something else whenever it is done.
const STAGES: &str = "FROM base:1 AS made\nCOPY file /src\nRUN cat /src >/made; cat /proc/sys/kernel/random/uuid >/noise\n\
    FROM base:1\nWORKDIR /w\nCOPY --from=made --chown=web /made /noise ./\nENV A=1\nRUN cat made; touch done\n";

/// Another machine, which has the same base image and context.
fn elsewhere(room: &Room) -> Option<Room> {
    let other = Room::new()?;
    let tar = other.folder.join("base.tar").display().to_string();
    room.call(&["save", "-o", &tar, "base:1"]).exits(0);
    other.call(&["load", "-q", "-i", &tar]).exits(0);
    copy(&room.folder.join("context"), &other.folder.join("context"));
    Some(other)
}

fn copy(from: &Path, to: &Path) {
    let mut cp = std::process::Command::new("cp");
    assert!(cp.arg("-rp").args([from, to]).status().expect("cp").success());
}

/// What was said of a build that went well, and the image's id.
#[track_caller]
fn built(room: &Room, flags: &[&str], dockerfile: &str) -> (String, String) {
    let said = build(room, &[&["-t", "made", "--iidfile", "id"], flags].concat(), dockerfile).exits(0);
    (said.stderr, fs::read_to_string(room.folder.join("id")).expect("id"))
}

fn steps(said: &str) -> (usize, usize) {
    (said.matches("CACHED").count(), said.matches("not cached").count())
}

fn blobs(cache: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache.join("blobs/sha256")).expect("blobs");
    entries.map(|entry| entry.expect("entry").path()).collect()
}

#[test]
fn a_machine_that_has_built_nothing_goes_on_from_a_folder() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "file", "one\n");
    let cache = room.folder.join("cache");
    let to = format!("type=local,dest={}", cache.display());
    let from = format!("--cache-from=type=local,src={}", cache.display());
    let (said_first, first) = built(&room, &["--cache-to", &to], STAGES);
    assert_eq!(steps(&said_first).0, 0, "{said_first}");
    assert!(said_first.contains("exporting cache to"), "{said_first}");
    // Once more nothing has to be written, and the cache is the same.
    let manifests =
        |text: &str| text.split("writing cache manifest ").nth(1).map(|rest| rest[..71].to_string());
    let (said_again, _) = built(&room, &["--cache-to", &to, &from], STAGES);
    assert_eq!((steps(&said_again).0, manifests(&said_again)), (3, manifests(&said_first)), "{said_again}");

    let Some(other) = elsewhere(&room) else { return };
    let (said_then, then) = built(&other, &[&from], STAGES);
    assert_eq!((steps(&said_then), then == first), ((3, 0), true), "{said_then}");
    // Nobody needs it.
    assert!(!said_then.contains("[made"), "{said_then}");
    assert_eq!(said(&other, "made", "cat made; stat -c %u made; ls"), "one\n33\ndone\nmade\nnoise\n");
    // It can be sent on, and nothing of the cache is remembered.
    other.call(&["save", "-o", "made.tar", "made"]).ok();
    let (said_later, later) = built(&other, &[], STAGES);
    assert_eq!((steps(&said_later).0, later == first), (0, false), "{said_later}");

    let Some(third) = elsewhere(&room) else { return };
    write(&third, "file", "two\n");
    let (said_third, _) = built(&third, &[&from], STAGES);
    // The folder is made before anything is copied into it.
    assert_eq!(steps(&said_third), (1, 4), "{said_third}");
    assert_eq!(said(&third, "made", "cat made"), "two\n");
}

#[test]
fn all_stages_are_in_a_cache_that_is_to_have_them() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "file", "one\n");
    let cache = room.folder.join("cache");
    let to = format!("type=local,dest={},mode=max,tag=all", cache.display());
    let from = format!("--cache-from=type=local,src={},tag=all", cache.display());
    built(&room, &["--cache-to", &to], STAGES);
    let another = STAGES.replace("WORKDIR /w", "WORKDIR /elsewhere");
    for round in 0..2 {
        let Some(other) = elsewhere(&room) else { return };
        let (said_then, _) = built(&other, &[&from], &another);
        assert_eq!(steps(&said_then), (2, 3), "{said_then}");
        assert!(said(&other, "made", "cat made noise").starts_with("one\n"));
        // What was not looked at is in a cache that is made of this one as well.
        if round == 0 {
            let Some(between) = elsewhere(&room) else { return };
            let (said_between, _) = built(&between, &[&from, "--cache-to", &to], STAGES);
            assert_eq!(steps(&said_between), (3, 0), "{said_between}");
        }
    }
    let Some(other) = elsewhere(&room) else { return };
    let (anew, _) = built(&other, &[&from, "--no-cache-filter", "made"], STAGES);
    assert_eq!(steps(&anew).0, 1, "{anew}");
    let (whole, _) = built(&other, &[&from, "--no-cache"], STAGES);
    assert_eq!(steps(&whole).0, 0, "{whole}");
}

/// Puts another manifest in the place of a cache's own.
fn change_manifest(cache: &Path, change: &dyn Fn(&mut Value)) {
    let read =
        |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).expect("file")).expect("JSON") };
    let blob = |digest: &str| cache.join("blobs/sha256").join(&digest[7..]);
    let mut index = read(&cache.join("index.json"));
    let mut manifest = read(&blob(index["manifests"][0]["digest"].as_str().expect("digest")));
    change(&mut manifest);
    let text = manifest.to_string();
    let digest = pillbox_engine::Digest::of(text.as_bytes()).to_string();
    fs::write(blob(&digest), &text).expect("write");
    index["manifests"][0]["size"] = text.len().into();
    index["manifests"][0]["digest"] = digest.into();
    fs::write(cache.join("index.json"), index.to_string()).expect("write");
}

#[test]
fn an_export_mends_blobs_and_sweeps_what_killed_ones_have_left() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "file", "one\n");
    let cache = room.folder.join("cache");
    let to = format!("type=local,dest={}", cache.display());
    built(&room, &["--cache-to", &to], STAGES);
    let content = || {
        let mut all: Vec<_> =
            blobs(&cache).into_iter().map(|path| (fs::read(&path).expect("blob"), path)).collect();
        all.sort();
        all
    };
    let before = content();
    for (bytes, path) in &before {
        fs::write(path, vec![b'x'; bytes.len()]).expect("damage");
    }
    let [left, beside, others] = [".partial-0123456789abcdef", ".partial-fedcba9876543210", ".partial-notes"];
    fs::write(cache.join(left), "half").expect("file");
    fs::write(cache.join(others), "a text").expect("file");
    let written = fs::File::create(cache.join(beside)).expect("file");
    rustix::fs::flock(&written, rustix::fs::FlockOperation::LockExclusive).expect("lock");
    let (_, first) = built(&room, &["--cache-to", &to], STAGES);
    assert!(content() == before);
    // What somebody writes is his, and so is a file that is no blob at all.
    let is_there = |name: &str| cache.join(name).exists();
    assert_eq!([left, beside, others].map(is_there), [false, true, true]);
    let Some(other) = elsewhere(&room) else { return };
    let (said, then) = built(&other, &[&format!("--cache-from=type=local,src={}", cache.display())], STAGES);
    assert_eq!((steps(&said), then == first), ((3, 0), true), "{said}");
}

#[test]
fn builds_that_export_to_one_folder_at_once_keep_each_others_tags() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "file", "one\n");
    build(&room, &[], STAGES).exits(0);
    let cache = room.folder.join("cache");
    let tags: Vec<String> = (0..12).map(|number| format!("t{number}")).collect();
    let builds: Vec<_> = tags
        .iter()
        .map(|tag| {
            let to = format!("type=local,dest={},tag={tag}", cache.display());
            let mut build = room.command(&["build", "-q", "--network", "none", "--cache-to", &to, "context"]);
            build.stdout(std::process::Stdio::null()).spawn().expect("box")
        })
        .collect();
    for mut build in builds {
        assert!(build.wait().expect("wait").success());
    }
    let index: Value =
        serde_json::from_slice(&fs::read(cache.join("index.json")).expect("index")).expect("JSON");
    assert_eq!(index["manifests"].as_array().expect("manifests").len(), tags.len(), "{index}");
}

#[test]
fn a_cache_that_is_broken_is_none() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "file", "one\n");
    let cache = room.folder.join("cache");
    built(&room, &["--cache-to", &format!("type=local,dest={}", cache.display())], STAGES);
    let broken = |what: &str, spoil: &dyn Fn(&Path)| {
        let Some(other) = elsewhere(&room) else { return };
        let own = other.folder.join("cache");
        copy(&cache, &own);
        spoil(&own);
        let from = format!("--cache-from=type=local,src={}", own.display());
        let (text, _) = built(&other, &[&from], STAGES);
        assert_eq!(steps(&text).0, 0, "{what}: {text}");
        assert!(text.contains("WARN: --cache-from "), "{what}: {text}");
        assert!(said(&other, "made", "cat made noise").starts_with("one\n"), "{what}");
    };
    broken("cut", &|cache| {
        for blob in blobs(cache) {
            let text = fs::read(&blob).expect("blob");
            fs::write(&blob, &text[..text.len() / 2]).expect("write");
        }
    });
    broken("another layer", &|cache| {
        for blob in
            blobs(cache).iter().filter(|blob| fs::read(blob).expect("blob").starts_with(&[0x1f, 0x8b]))
        {
            let mut text = fs::read(blob).expect("blob");
            *text.last_mut().expect("byte") ^= 1;
            fs::write(blob, &text).expect("write");
        }
    });
    // It is made whole again by whoever has what it lacks.
    let lacking = room.folder.join("lacking");
    copy(&cache, &lacking);
    for blob in blobs(&lacking).iter().filter(|blob| fs::read(blob).expect("blob").starts_with(&[0x1f, 0x8b]))
    {
        fs::remove_file(blob).expect("remove");
    }
    let both = ["from=type=local,src", "to=type=local,dest"];
    let both = both.map(|way| format!("--cache-{way}={}", lacking.display()));
    built(&room, &[&both[0], &both[1]], STAGES);
    assert_eq!(blobs(&lacking).len(), blobs(&cache).len());
    for size in [0, 1, i64::MAX as u64, u64::MAX] {
        broken("another size", &|cache| {
            change_manifest(cache, &|manifest| {
                let layers = manifest["layers"].as_array_mut().expect("layers");
                layers.iter_mut().for_each(|layer| layer["size"] = size.into());
            });
        });
    }
    broken("no index", &|cache| fs::write(cache.join("index.json"), "{").expect("write"));
    broken("nothing", &|cache| fs::remove_dir_all(cache).expect("remove"));
    // One that says of a layer that it stands where it was not made is not believed.
    let Some(other) = elsewhere(&room) else { return };
    let own = other.folder.join("cache");
    copy(&cache, &own);
    let index: Value =
        serde_json::from_slice(&fs::read(own.join("index.json")).expect("index")).expect("JSON");
    let blob = |digest: &Value| own.join("blobs/sha256").join(&digest.as_str().expect("digest")[7..]);
    let read =
        |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).expect("blob")).expect("JSON") };
    let mut manifest = read(&blob(&index["manifests"][0]["digest"]));
    let mut document = read(&blob(&manifest["config"]["digest"]));
    let last = document["steps"].as_array().expect("steps").len() - 1;
    document["steps"][0]["layer"] = document["steps"][last]["layer"].clone();
    let put = |document: &Value| {
        let text = document.to_string();
        let digest = pillbox_engine::Digest::of(text.as_bytes()).to_string();
        fs::write(own.join("blobs/sha256").join(&digest[7..]), &text).expect("write");
        (Value::from(digest), Value::from(text.len()))
    };
    let mut index = index.clone();
    (manifest["config"]["digest"], manifest["config"]["size"]) = put(&document);
    (index["manifests"][0]["digest"], index["manifests"][0]["size"]) = put(&manifest);
    fs::write(own.join("index.json"), index.to_string()).expect("write");
    let from = format!("--cache-from=type=local,src={}", own.display());
    let (text, _) = built(&other, &[&from], STAGES);
    assert_eq!(steps(&text).0, 0, "{text}");
}

#[test]
fn caches_are_in_registries_and_images() {
    let Some(room) = Room::new() else { return };
    let Some(server) = Server::open(&room, 5017) else { return };
    prepare(&room);
    write(&room, "file", "one\n");
    let host = server.host.clone();
    let name = |what: &str| format!("{host}/{what}");
    let to = format!("type=registry,ref={},mode=max", name("cache:1"));
    let (_, first) = built(&room, &["--cache-to", &to, "--cache-to", "type=inline"], STAGES);
    room.call(&["tag", "made", &name("made:1")]).ok();
    room.call(&["push", "-q", &name("made:1")]).exits(0);
    for source in ["cache:1", "made:1"] {
        let Some(other) = elsewhere(&room) else { return };
        let from = format!("--cache-from={}", name(source));
        let (text, id) = built(&other, &[&from, "--cache-to", "type=inline"], STAGES);
        assert_eq!((steps(&text), id == first), ((3, 0), true), "{source}: {text}");
        other.call(&["tag", "made", &name("sent:1")]).ok();
        other.call(&["push", "-q", &name("sent:1")]).exits(0);
        other.call(&["rmi", "-f", "made", &name("sent:1")]).ok();
        other.call(&["image", "prune", "-a", "-f"]).exits(0);
        other.call(&["run", "--rm", "--network", "none", &name("sent:1"), "cat", "/w/made"]).exits(0);
    }
    // By its names in registries.
    let output = format!("type=registry,name={}", name("pushed:1"));
    build(&room, &["-t", &name("pushed:2"), "-o", &output], STAGES).exits(0);
    for tag in ["pushed:1", "pushed:2"] {
        room.call(&["rmi", &name(tag)]).ok();
        room.call(&["pull", "-q", &name(tag)]).exits(0);
    }
    // An image that is here needs no registry; one without a cache is warned of, and so is a name that leads nowhere.
    let Some(other) = elsewhere(&room) else { return };
    other.call(&["pull", "-q", &name("made:1")]).ok();
    drop(server);
    let (text, id) = built(&other, &[&format!("--cache-from={}", name("made:1"))], STAGES);
    assert_eq!((steps(&text), id == first), ((3, 0), false), "{text}");
    let (text, _) = built(&room, &[&format!("--cache-from={}", name("nowhere:1"))], STAGES);
    assert!(text.contains("WARN: --cache-from "), "{text}");
    let failing = build(&room, &["--cache-to", &to], STAGES).exits(1);
    assert!(failing.stderr.contains("--cache-to"), "{}", failing.stderr);
    build(&room, &["--cache-to", &format!("{to},ignore-error=true")], STAGES).exits(0);
}

/// A step that is made of the same files is found although it is made in another way.
#[test]
fn what_is_made_of_the_same_files_is_found() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    let cache = room.folder.join("cache");
    let stages = |noise: &str| {
        let made = format!("FROM base:1 AS made\nRUN echo {noise} >/noise; echo same >/same\n");
        made + "FROM base:1\nCOPY --from=made /same /same\nRUN --mount=from=made,target=/m cat /m/same\n"
    };
    built(&room, &["--cache-to", &format!("type=local,dest={}", cache.display())], &stages("1"));
    let Some(other) = elsewhere(&room) else { return };
    let from = format!("--cache-from=type=local,src={}", cache.display());
    let (text, _) = built(&other, &[&from], &stages("2"));
    // What is mounted is all of the stage.
    assert_eq!(steps(&text), (1, 2), "{text}");
    let (text, _) = built(&other, &[&from], &stages("1"));
    assert_eq!(steps(&text), (2, 0), "{text}");
    // Without a date and with one are not the same.
    let (text, _) = built(&other, &[&from, "--build-arg", "SOURCE_DATE_EPOCH=1"], &stages("1"));
    assert_eq!(steps(&text).0, 0, "{text}");
}

#[test]
fn an_ordinary_user_goes_on_from_a_cache_as_well() {
    let Some(room) = Room::of_user(1000) else { return };
    prepare(&room);
    let own = |path: &Path| {
        let mut chown = std::process::Command::new("chown");
        assert!(chown.args(["-R", "1000:1000"]).arg(path).status().expect("chown").success());
    };
    let dockerfile = "FROM base:1 AS made\nRUN cat /proc/sys/kernel/random/uuid >/noise\nFROM base:1\nCOPY --from=made /noise /\nRUN cat noise >again\n";
    write(&room, "Dockerfile", dockerfile);
    own(&room.folder.join("context"));
    let cache = room.folder.join("home/cache").display().to_string();
    let call = |flag: String| {
        room.call(&["build", "--network", "none", "-t", "made", &flag, "context"]).exits(0).stderr
    };
    assert_eq!(steps(&call(format!("--cache-to=type=local,dest={cache},mode=max"))).0, 0);
    room.call(&["rmi", "-f", "made"]).exits(0);
    room.call(&["builder", "prune", "-f"]).exits(0);
    let text = call(format!("--cache-from=type=local,src={cache}"));
    assert_eq!(steps(&text), (2, 0), "{text}");
    let line = "[ \"$(cat noise)\" = \"$(cat again)\" ] && echo same";
    assert_eq!(said(&room, "made", line), "same\n");
}

/// The older protocol: `--cache-from` names images that are here.
#[test]
fn clients_without_buildkit_go_on_from_images() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    let boxd = Boxd::start(&room, "d");
    write(&room, "Dockerfile", "FROM base:1\nRUN cat /proc/sys/kernel/random/uuid >/noise\n");
    let mut tar = std::process::Command::new("tar");
    let tar = tar.arg("-c").arg("-C").arg(room.folder.join("context")).arg(".").output().expect("tar").stdout;
    let build = |more: &str| {
        let parent = format!("test-{}-engine", crate::host::run_name());
        let path = format!("/build?t=mine&networkmode=none&cgroupparent={parent}&{more}");
        let answer = boxd.send_tar("POST", &path, &tar);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    };
    assert!(
        !build("cachefrom=null&buildargs=%7B%22BUILDKIT_INLINE_CACHE%22%3A%221%22%7D")
            .contains("Using cache")
    );
    boxd.json("POST", "/build/prune", None, 200);
    assert!(build("cachefrom=%5B%22mine%22%5D").contains("Using cache"));
    // That one has no cache in it any more.
    boxd.json("POST", "/build/prune", None, 200);
    let said = build("cachefrom=%5B%22127.0.0.1%3A1%2Fnone%22%5D");
    assert!(
        said.contains("[Warning] --cache-from 127.0.0.1:1/none") && !said.contains("Using cache"),
        "{said}"
    );
}
