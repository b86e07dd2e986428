//! Images that box builds beside those that BuildKit makes of the same Dockerfiles: what they say of themselves, their history, and
//! each entry of their layers.
//!
//! `fixtures/buildkit-images.json` has what the BuildKit of dockerd 28.5 makes of them. With `PILLBOX_TEST_PEERS=docker` a dockerd is
//! asked as well, and `PILLBOX_BLESS=1` writes the file anew.

mod cases;
mod different;
mod image;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::Room;
use crate::networks;
use crate::peers::matches;
use crate::table::{Dockerd, docker};
use cases::{CASES, Case};
use different::DIFFERENT;

/// Where what ADD fetches is served.
const PORT: u16 = 18777;

#[test]
fn images_are_those_of_buildkit() {
    let Some((room, _alone)) = networks::room() else { return };
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/buildkit-images.json");
    prepare(&room);
    let mut wrong = Vec::new();
    let is_asked = std::env::var("PILLBOX_TEST_PEERS").is_ok_and(|peers| peers.contains("docker"));
    let live = is_asked.then(|| of_buildkit(&room)).flatten();
    if let (Some(live), true) = (&live, std::env::var_os("PILLBOX_BLESS").is_some()) {
        fs::write(&fixture, written(live)).expect("the fixture");
    }
    let text = fs::read_to_string(&fixture).expect("the fixture");
    let known: BTreeMap<String, Value> = serde_json::from_str(&text).expect("JSON");
    for (name, image) in live.iter().flatten() {
        let other = known.get(name).unwrap_or(&Value::Null);
        wrong.extend(differences(other, image).into_iter().map(|found| format!("{name}: now {found}")));
    }
    let mut used = vec![false; DIFFERENT.len()];
    for case in CASES {
        let known = known.get(case.name).unwrap_or_else(|| panic!("{}: it is not recorded", case.name));
        for found in differences(known, &of_box(&room, case)) {
            let reason = DIFFERENT
                .iter()
                .position(|(names, places, _)| matches(names, case.name) && matches(places, &found));
            match reason {
                Some(index) => used[index] = true,
                None => wrong.push(format!("{}: {found}", case.name)),
            }
        }
    }
    let stale = DIFFERENT.iter().zip(&used).filter(|(_, is_used)| !**is_used);
    wrong.extend(stale.map(|((name, place, _), _)| format!("{name}: {place}: it does not differ any more")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The root file system, the contexts, and somebody who serves what ADD fetches.
fn prepare(room: &Room) {
    // Those that a runtime mounts files on are there: it makes and removes them otherwise, which shows in layers.
    for name in ["hosts", "hostname", "resolv.conf"] {
        fs::write(room.rootfs().join("etc").join(name), "").expect("file");
    }
    room.tar("base.tar");
    room.call(&["import", "base.tar", "base:1"]).exits(0);
    for case in CASES {
        let context = context(room, case);
        fs::create_dir_all(&context).expect("context");
        let script =
            format!("umask 022\n{}\nchmod 755 .\nfind . -exec touch -h -d @1000000000 {{}} +", case.context);
        let status = Command::new("sh").args(["-ec", &script]).current_dir(&context).status().expect("sh");
        assert!(status.success(), "{}", case.name);
        fs::write(dockerfile(room, case), case.dockerfile).expect("Dockerfile");
    }
    let archive = CASES.iter().find(|case| case.name == "archives").expect("archives");
    let packed = fs::read(context(room, archive).join("p.tar.gz")).expect("an archive");
    let listener = TcpListener::bind(("127.0.0.1", PORT)).expect("listen");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let is_archive = String::from_utf8_lossy(&request[..length]).contains("/p.tar.gz");
            let body: &[u8] = if is_archive { &packed } else { b"hello" };
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(&[head.as_bytes(), body].concat());
        }
    });
}

fn context(room: &Room, case: &Case) -> PathBuf {
    room.folder.join("contexts").join(case.name)
}

fn dockerfile(room: &Room, case: &Case) -> PathBuf {
    context(room, case).join(format!("Dockerfile.{}", case.name))
}

/// The arguments of both `build`s.
fn arguments(room: &Room, case: &Case) -> Vec<String> {
    let path = |path: PathBuf| path.display().to_string();
    let fixed = ["--network", "none", "-q", "-t", case.name, "-f"].map(str::to_string);
    let flags = case.flags.iter().map(ToString::to_string).collect();
    [fixed.to_vec(), vec![path(dockerfile(room, case))], flags, vec![path(context(room, case))]].concat()
}

fn of_box(room: &Room, case: &Case) -> Value {
    let arguments = arguments(room, case);
    let words: Vec<&str> = ["build"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    let output = room.call(&words);
    if output.status != 0 {
        return refusal(case, &output.stderr);
    }
    let archive = room.folder.join("own.tar").display().to_string();
    room.call(&["save", "-o", &archive, case.name]).exits(0);
    let image = image::describe(Path::new(&archive));
    fs::remove_file(&archive).expect("archive");
    image
}

/// Docker's usual store cannot link layers, and copies instead.
const OF_CONTAINERD: (&str, &[&str]) = ("linked", &["--feature", "containerd-snapshotter=true"]);

fn of_buildkit(room: &Room) -> Option<BTreeMap<String, Value>> {
    let (linked, flags) = OF_CONTAINERD;
    let mut images = BTreeMap::new();
    for (flags, is_wanted) in [(&[][..], false), (flags, true)] {
        let dockerd = Dockerd::with(room, flags)?;
        assert_eq!(docker(room, &dockerd.socket, "docker import base.tar base:1").0, 0, "import");
        for case in CASES.iter().filter(|case| (case.name == linked) == is_wanted) {
            images.insert(case.name.to_string(), built_by_buildkit(room, &dockerd, case));
        }
    }
    Some(images)
}

fn built_by_buildkit(room: &Room, dockerd: &Dockerd, case: &Case) -> Value {
    let call = |line: &str| docker(room, &dockerd.socket, line);
    let words: Vec<String> = arguments(room, case).iter().map(|word| format!("'{word}'")).collect();
    let line = format!("DOCKER_BUILDKIT=1 docker build --provenance=false {} 2>&1", words.join(" "));
    let (status, said) = call(&line);
    if status != 0 {
        return refusal(case, &said);
    }
    let saved = call(&format!("docker save -o peer.tar {} 2>&1", case.name));
    assert_eq!(saved.0, 0, "{}", saved.1);
    let image = image::describe(&room.folder.join("peer.tar"));
    fs::remove_file(room.folder.join("peer.tar")).expect("archive");
    image
}

/// A build that failed: why is worded by each for itself.
fn refusal(case: &Case, said: &str) -> Value {
    println!("{}: {}", case.name, said.trim_end());
    json!({ "refused": true })
}

/// A line for each case.
fn written(images: &BTreeMap<String, Value>) -> String {
    let line = |(name, image): (&String, &Value)| format!("{}:{image}", json!(name));
    format!("{{\n{}\n}}\n", images.iter().map(line).collect::<Vec<_>>().join(",\n"))
}

/// Where two images differ: the place, and both.
fn differences(known: &Value, own: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", known, own, &mut found);
    found
}

fn compare(place: &str, known: &Value, own: &Value, found: &mut Vec<String>) {
    match (known, own) {
        (Value::Object(one), Value::Object(other)) => {
            let names: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
            for name in names {
                let (one, other) =
                    (one.get(name).unwrap_or(&Value::Null), other.get(name).unwrap_or(&Value::Null));
                compare(&format!("{place}.{name}"), one, other, found);
            }
        }
        (Value::Array(one), Value::Array(other)) if place.ends_with(".layer") => {
            found.extend(
                one.iter().filter(|line| !other.contains(line)).map(|line| format!("{place} lacks {line}")),
            );
            found.extend(
                other.iter().filter(|line| !one.contains(line)).map(|line| format!("{place} has {line}")),
            );
        }
        (Value::Array(one), Value::Array(other)) if place == ".steps" => {
            for index in 0..one.len().max(other.len()) {
                let [one, other] = [one, other].map(|steps| steps.get(index).unwrap_or(&Value::Null));
                compare(&format!("{place}.{index}"), one, other, found);
            }
        }
        (one, other) if one != other => found.push(format!("{place} is {other}, not {one}")),
        _ => {}
    }
}
