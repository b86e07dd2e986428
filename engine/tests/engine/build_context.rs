//! build: contexts of hostile people, what COPY does with what stands at its destination, URLs, full disks, an ordinary user.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;

use crate::build::{build, prepare, said, write};
use crate::harness::Room;

/// It would match nothing, and what was to be left out would go along.
#[test]
fn a_pattern_with_an_open_bracket_is_refused() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "d/file", "in\n");
    let fails = |dockerfile: &str, words: &str| build(&room, &["-q"], dockerfile).fails_with(1, words);
    fails("FROM base:1\nCOPY d[ /x\n", "Dockerfile:2: d[: a bracket is open: ");
    fails("FROM base:1\nCOPY --exclude=[s d /x\n", "--exclude: [s: a bracket is open: ");
    write(&room, ".dockerignore", "[secrets\n");
    fails("FROM base:1\nCOPY d /x\n", ".dockerignore: [secrets: a bracket is open: ");
    write(&room, ".dockerignore", "[s]ecrets\n\\[\n");
    build(&room, &["-q"], "FROM base:1\nCOPY d /x\n").ok();
}

#[test]
fn nothing_leads_out_of_a_context() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    fs::write(room.folder.join("outside"), "outside\n").expect("file");
    let context = room.folder.join("context");
    write(&room, "d/file", "in\n");
    symlink("../outside", context.join("up")).expect("link");
    symlink(room.folder.join("outside"), context.join("absolute")).expect("link");
    symlink("/", context.join("d/root")).expect("link");
    symlink("/d", context.join("linked")).expect("link");
    let (link, missing) = ("it is a link, and leads to no file", "there is no such file");
    for (source, words) in [
        ("up", link),
        ("absolute", link),
        ("../outside", missing),
        ("d/root/../../outside", missing),
        ("/../../outside", missing),
    ] {
        let dockerfile = format!("FROM base:1\nCOPY {source} /x\n");
        build(&room, &["-q"], &dockerfile).fails_with(1, words);
    }
    // Links are those of the context, and as they are within a folder.
    build(&room, &["-q", "-t", "made"], "FROM base:1\nCOPY linked /x\nCOPY linked/file /y\n").ok();
    assert_eq!(said(&room, "made", "cat /x/file /y; readlink /x/root"), "in\nin\n/\n");
    symlink("../../../outside.ignore", context.join(".dockerignore")).expect("link");
    build(&room, &["-q"], "FROM base:1\nCOPY d /x\n").ok();
}

#[test]
fn files_of_all_kinds() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    let context = room.folder.join("context");
    write(&room, &format!("d/{}", "n".repeat(255)), "long\n");
    write(&room, "d/with space", "space\n");
    fs::hard_link(context.join("d/with space"), context.join("d/again")).expect("link");
    let _socket = UnixListener::bind(context.join("d/socket")).expect("socket");
    assert!(Command::new("mkfifo").arg(context.join("d/fifo")).status().expect("mkfifo").success());
    let dockerfile =
        "FROM base:1\nCOPY d /d\nCOPY [\"d/with space\", \"/a b\"]\nCOPY [\"d/w*[e]\", \"/globbed/\"]\n";
    build(&room, &["-q", "-t", "made"], dockerfile).ok();
    let line =
        "ls /d | wc -l; cat \"/a b\" /d/n*; stat -c %h /d/again; ls /globbed; [ -p /d/fifo ] && echo fifo";
    assert_eq!(said(&room, "made", line), "4\nspace\nlong\n2\nwith space\nfifo\n");
    fs::create_dir(context.join("empty")).expect("folder");
    build(&room, &["-q", "-t", "made"], "FROM base:1\nCOPY empty /e\nCOPY none* /n/\n").ok();
    assert_eq!(said(&room, "made", "ls -d /e; ls -d /n 2>/dev/null; true"), "/e\n");
}

/// What a file is does not depend on how the context comes.
#[test]
fn a_tar_keeps_what_a_folder_keeps() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    let context = room.folder.join("context");
    write(&room, "program", "#!/bin/sh\n");
    write(&room, "Dockerfile", "FROM base:1\nCOPY program /\n");
    fs::set_permissions(context.join("program"), fs::Permissions::from_mode(0o6755)).expect("mode");
    let tar = room.folder.join("context.tar");
    assert!(
        Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&context).arg(".").status().unwrap().success()
    );
    let tar = tar.display().to_string();
    for place in [context.display().to_string(), tar] {
        room.call(&["build", "-q", "--network", "none", "-t", "made", &place]).ok();
        assert_eq!(said(&room, "made", "stat -c '%a %u' /program"), "6755 0\n", "{place}");
    }
}

#[test]
fn what_stands_at_the_destination() {
    let Some(room) = Room::new() else { return };
    symlink("etc", room.rootfs().join("linked")).expect("link");
    symlink("etc/target", room.rootfs().join("file-link")).expect("link");
    prepare(&room);
    write(&room, "file", "new\n");
    write(&room, "d/passwd/x", "x\n");
    write(&room, "e/sub/x", "x\n");
    let dockerfile = "FROM base:1\nCOPY file /linked/\nCOPY file /file-link\nCOPY file /new/deep/\nCOPY file /new/deep/name\nCOPY e /etc\nRUN rm /etc/group\nCOPY file /etc/group\n";
    build(&room, &["-q", "-t", "made"], dockerfile).ok();
    let line =
        "cat /etc/file /etc/target /new/deep/file /new/deep/name /etc/sub/x /etc/group; readlink /linked";
    assert_eq!(said(&room, "made", line), "new\nnew\nnew\nnew\nx\nnew\netc\n");
    for destination in ["/etc", "/etc/passwd"] {
        let dockerfile = format!("FROM base:1\nCOPY d {destination}\n");
        build(&room, &["-q"], &dockerfile).fails_with(1, "a folder cannot be copied to what is none");
    }
    write(&room, "bin", "x");
    build(&room, &["-q"], "FROM base:1\nCOPY bin /\n").fails_with(1, "bin");
    // With --link nothing below counts: a folder takes the place of a link.
    build(&room, &["-q", "-t", "made"], "FROM base:1\nCOPY --link file /linked/\n").ok();
    assert_eq!(said(&room, "made", "ls /linked; ls /etc/file 2>/dev/null; true"), "file\n");
}

#[test]
fn what_is_left_out_and_what_goes_along() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    for name in ["a/one.txt", "a/two.md", "a/b/three.txt", "a/b/four.md", "c/five.txt"] {
        write(&room, name, name);
    }
    let dockerfile = "FROM base:1\nCOPY --exclude=**/*.md a /x\nCOPY --parents a/b/three.txt c/*.txt /p/\nCOPY --parents a/./b/four.md /q/\n";
    build(&room, &["-q", "-t", "made"], dockerfile).ok();
    let found = said(&room, "made", "cd /; ls -R x p q");
    for line in ["one.txt", "three.txt", "p/a/b:", "p/c:", "q/b:"] {
        assert!(found.lines().any(|known| known == line), "{line}: {found}");
    }
    assert!(!found.contains("two.md") && !found.contains("q/a"), "{found}");
    write(&room, "Dockerfile.dockerignore", "*\n!a/b\n!c\nc/five.txt\n");
    build(&room, &["-q", "-t", "made"], "FROM base:1\nCOPY . /all\n").ok();
    let expected = "a:\nb\n\na/b:\nfour.md\nthree.txt\n\nc:\n";
    assert_eq!(said(&room, "made", "cd /all; ls a a/b c"), expected);
    let left_out = "FROM base:1\nCOPY a/one.txt /\n";
    build(&room, &["-q"], left_out).fails_with(1, ".dockerignore leaves it out");
}

#[test]
fn archives_and_urls() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "d/file", "packed\n");
    let context = room.folder.join("context");
    let owned = ["--owner=33", "--group=34", "--numeric-owner", "-czf"];
    let tar =
        Command::new("tar").args(owned).arg(context.join("d.tgz")).arg("-C").arg(&context).arg("d").status();
    assert!(tar.expect("tar").success());
    let dockerfile =
        "FROM base:1\nADD d.tgz /un/packed\nADD --unpack=false d.tgz /kept/\nCOPY d.tgz /copied/\n";
    build(&room, &["-q", "-t", "made"], dockerfile).ok();
    let line = "cd /; cat un/packed/d/file; stat -c %u:%g un/packed un/packed/d/file; ls kept copied";
    let expected = "packed\n0:0\n33:34\ncopied:\nd.tgz\n\nkept:\nd.tgz\n";
    assert_eq!(said(&room, "made", line), expected);
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip").success());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(format!("{head}hello").as_bytes());
        }
    });
    let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let url = format!("http://127.0.0.1:{port}/a/name.txt?x=1");
    let dockerfile = format!("FROM base:1\nADD --checksum={digest} {url} /got/\n");
    build(&room, &["-q", "-t", "made"], &dockerfile).ok();
    let found = said(&room, "made", "cat /got/name.txt; stat -c ' %a %Y' /got/name.txt");
    assert_eq!(found, "hello 600 1445412480\n");
    let dockerfile = dockerfile.replace("2cf", "3cf");
    build(&room, &["-q"], &dockerfile).fails_with(1, "what came has the digest");
    room.assert_gone();
}

#[test]
fn on_a_full_disk_nothing_half_made_stays() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "big", &"x".repeat(8 << 20));
    // What is there, and four megabytes more.
    let small = room.folder.join("small");
    fs::create_dir(&small).expect("folder");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"]).arg(&small).status();
    assert!(mounted.expect("mount").success());
    let data = small.join("data").display().to_string();
    let call = |arguments: &[&str]| {
        let mut command = Command::new(room.folder.join("box"));
        command.args(["--data-root", &data, "--exec-root"]).arg(room.folder.join("runtime/pillbox"));
        command.args(arguments).current_dir(&room.folder).env_clear().env("PATH", "/usr/bin:/bin");
        crate::harness::finish(&mut command)
    };
    call(&["import", "base.tar", "base:1"]).ok();
    write(&room, "Dockerfile", "FROM base:1\nCOPY big /big\n");
    let output = call(&["build", "-q", "context"]).exits(1);
    assert!(output.stderr.contains("no space left on device"), "{}", output.stderr);
    assert_eq!(call(&["system", "check"]).ok(), "Everything is whole.\n");
    write(&room, "Dockerfile", "FROM base:1\nCOPY Dockerfile /\n");
    call(&["build", "-q", "context"]).ok();
    call(&[
        "run",
        "--network",
        "none",
        "--name",
        "grown",
        "base:1",
        "dd",
        "if=/dev/zero",
        "of=/x",
        "bs=1M",
        "count=3",
    ])
    .exits(0);
    // dd fills what is left.
    let mut fill = Command::new("dd");
    fill.args(["if=/dev/zero", "bs=4k", "status=none"]).arg(format!("of={}", small.join("fill").display()));
    assert!(!fill.stderr(std::process::Stdio::null()).status().expect("dd").success());
    call(&["volume", "create", "named"]).fails_with(1, "volume named: ");
    assert_eq!(fs::read_dir(small.join("data/volumes")).expect("folder").count(), 0);
    // What is full is named, and not what was read.
    let full = format!("write {}/", small.join("data").display());
    for arguments in [&["commit", "grown", "made"][..], &["import", "base.tar", "base:2"]] {
        let output = call(arguments).exits(1);
        assert!(
            output.stderr.contains(&full) && output.stderr.ends_with("no space left on device\n"),
            "{}",
            output.stderr
        );
    }
    fs::remove_file(small.join("fill")).expect("file");
    call(&["rm", "grown"]).ok();
    assert_eq!(call(&["system", "check"]).ok(), "Everything is whole.\n");
    assert!(Command::new("umount").arg(&small).status().expect("umount").success());
}

const OF_USER: &str = "FROM base:1 AS one
RUN echo one >/one; mkdir /locked; touch /locked/x; chmod 0 /locked
FROM base:1
WORKDIR /w
COPY d .
COPY --from=one /one /locked /c/
RUN --mount=type=cache,target=/cache --mount=type=bind,from=one,source=/one,target=/m cat /m >/out; rm /etc/group
";

fn build_as_user(user: u32, has_ranges: bool) {
    let Some(room) = crate::rootless::room(user) else { return };
    prepare(&room);
    write(&room, "d/file", "x\n");
    build(&room, &["-q", "-t", "made"], OF_USER).exits(0);
    let found =
        said(&room, "made", "cat /out /w/file; ls /c; ls /etc/passwd; ls /etc/group 2>/dev/null; true");
    assert_eq!(found, "one\nx\none\nx\n/etc/passwd\n");
    let again = build(&room, &["-t", "made"], OF_USER).exits(0);
    assert_eq!(again.stderr.matches("CACHED").count(), 5, "{}", again.stderr);
    let owned = "FROM base:1\nCOPY --chown=web d /d\nUSER web\nWORKDIR /own\nRUN touch x\n";
    match has_ranges {
        true => {
            build(&room, &["-q", "-t", "owned"], owned).ok();
            assert_eq!(said(&room, "owned", "stat -c %u:%g /d/file /own /own/x"), "33:34\n".repeat(3));
        }
        false => build(&room, &["-q"], owned).fails_with(1, "33:34"),
    }
    room.call(&["save", "-o", "home/made.tar", "made"]).ok();
    room.call(&["rmi", "made"]).ok();
    room.call(&["load", "-q", "-i", "home/made.tar"]).ok();
    room.call(&["system", "prune", "-a", "-f"]).exits(0);
    room.assert_gone();
}

#[test]
fn an_ordinary_user_builds_as_well() {
    build_as_user(crate::rootless::USER, true);
}

#[test]
fn a_user_without_ranges_builds_as_well() {
    build_as_user(crate::rootless::WITHOUT_RANGES, false);
}

#[test]
fn contexts_with_names_are_files_or_images() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "file", "context\n");
    fs::create_dir(room.folder.join("other")).expect("folder");
    fs::write(room.folder.join("other/file"), "other\n").expect("file");
    build(&room, &["-t", "first"], "FROM base:1\nRUN echo first >/which\n").exits(0);
    room.call(&["save", "-o", "first.tar", "first"]).ok();
    fs::create_dir(room.folder.join("layout")).expect("folder");
    let mut tar = Command::new("tar");
    assert!(
        tar.args(["-xf", "first.tar", "-C", "layout"]).current_dir(&room.folder).status().unwrap().success()
    );
    let dockerfile = "FROM alpine AS made\nCOPY --from=src /file /file\nRUN cat /which /file >/both\n";
    let other = ["-t", "made", "--build-context", "src=other"];
    let flags = [&other[..], &["--build-context", "alpine=docker-image://first"]].concat();
    build(&room, &flags, dockerfile).exits(0);
    assert_eq!(said(&room, "made", "cat /both"), "first\nother\n");
    // What lies in a layout is an image that can be built on, saved and pushed.
    room.call(&["rmi", "-f", "made", "first"]).exits(0);
    room.call(&["builder", "prune", "-f"]).exits(0);
    let index = fs::read_to_string(room.folder.join("layout/index.json")).expect("index");
    let digest = index.split("\"digest\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("digest");
    let layout = format!("alpine=oci-layout://layout@{digest}");
    build(&room, &[&other[..], &["--build-context", &layout]].concat(), dockerfile).exits(0);
    assert_eq!(said(&room, "made", "cat /both"), "first\nother\n");
    room.call(&["save", "-o", "made.tar", "made"]).ok();
    for (context, words) in [
        ("alpine=oci-layout://layout:none", "index.json has no none"),
        ("alpine=oci-layout://nowhere", "there is no index.json"),
        ("alpine=other", "the context of that name is files"),
    ] {
        build(&room, &[&other[..], &["--build-context", context]].concat(), dockerfile).fails_with(1, words);
    }
}

#[test]
fn what_came_out_is_told_in_files() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    let flags = [
        "-t",
        "made:1",
        "--metadata-file",
        "told.json",
        "--iidfile",
        "id",
        "--annotation",
        "a.b=c=d",
        "--compress",
    ];
    build(&room, &flags, "FROM base:1\nRUN echo >/x\n").exits(0);
    let told: serde_json::Value =
        serde_json::from_slice(&fs::read(room.folder.join("told.json")).expect("file")).expect("JSON");
    assert_eq!(told["containerimage.config.digest"], fs::read_to_string(room.folder.join("id")).expect("id"));
    assert_eq!(told["image.name"], "docker.io/library/made:1");
    assert_eq!(told["containerimage.descriptor"]["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    let digest = told["containerimage.digest"].as_str().expect("digest");
    let manifest = fs::read_to_string(room.data().join("blobs/sha256").join(&digest[7..])).expect("manifest");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    assert_eq!(manifest["annotations"], serde_json::json!({"a.b": "c=d"}));
    assert!(!manifest.to_string().contains("vnd.docker"), "{manifest}");
    room.call(&["save", "-o", "made.tar", "made:1"]).ok();
    for kind in ["index", "manifest[linux/amd64]", "nonesuch"] {
        room.call(&["build", "--annotation", &format!("{kind}:a=b"), "context"])
            .fails(125, "an image is one manifest");
    }
    for wrong in ["=b", "a c=b", "manifest:=b"] {
        room.call(&["build", "--annotation", wrong, "context"]).fails(125, "must be NAME=VALUE");
    }
    room.call(&["build", "--push", "context"]).fails(125, "a name is needed for it");
    room.call(&["build", "--push", "-o", "out", "-t", "x", "context"]).fails(125, "no image comes out");
}

#[test]
fn files_of_a_build_are_whole_and_of_that_build() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    let id = room.folder.join("id");
    let flags = ["--iidfile", "id", "--metadata-file", "told.json"];
    build(&room, &flags, "FROM base:1\nRUN echo >/x\n").exits(0);
    assert!(id.exists());
    build(&room, &flags, "FROM base:1\nRUN false\n").exits(1);
    assert!(!id.exists(), "the id of the build before");
    // What would be for nothing is not begun, and what is empty is not said.
    for (flags, words) in [
        (["--iidfile", "context"], "it is a folder: name a file in it"),
        (["--metadata-file", "none/file"], "there is no folder none"),
        (["--build-arg", "=x"], "must be NAME=VALUE"),
        (["--platform", "x"], "--platform x: must be such as linux/arm64"),
        (["--ulimit", "x"], "--ulimit x: must be NAME=SOFT"),
        (["--add-host", "x"], "--add-host x: must be NAME:ADDRESS"),
    ] {
        room.call(&[&["build"], &flags[..], &["context"]].concat()).fails(125, words);
    }
    for network in ["nosuch", "container:nosuch"] {
        let told = room.call(&["build", "--network", network, "context"]).exits(1).stderr;
        assert!(told.starts_with("box: --network: ") && told.contains("nosuch"), "{told}");
    }
    let empty = ["--target", "", "--file", "", "--iidfile", "", "--metadata-file", ""];
    build(&room, &empty, "FROM base:1\n").exits(0);
    // Without an image there is nothing to tell.
    build(&room, &["--metadata-file", "told.json", "-o", "out"], "FROM base:1\nRUN echo >/x\n").exits(0);
    assert_eq!(fs::read_to_string(room.folder.join("told.json")).expect("file"), "{}");
    build(&room, &["--iidfile", "id", "-o", "out"], "FROM base:1\n").fails(125, "no image comes out");
    // What a full disk does not take is not left half.
    let full = room.folder.join("full");
    fs::create_dir(&full).expect("folder");
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4k", "tmpfs"]).arg(&full).status();
    assert!(mount.expect("mount").success());
    fs::write(full.join("all"), [0; 4096]).expect("file");
    for flags in [
        ["--iidfile", "full/file"],
        ["--metadata-file", "full/file"],
        ["-o", "type=tar,dest=full/file"],
        ["-o", "type=oci,dest=full/file"],
    ] {
        build(&room, &flags, "FROM base:1\nRUN echo >/x\n").fails_with(1, "no space left on device");
        assert_eq!(fs::read_dir(&full).expect("folder").count(), 1, "{flags:?}");
    }
    assert!(Command::new("umount").arg(&full).status().expect("umount").success());
}
