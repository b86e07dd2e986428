//! build: what comes out of Dockerfiles, and what is said of wrong ones.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Output, Room};
use crate::registry::{Answer, Content, Registry, layer};

/// Imports the root file system, for stages to begin with, and makes a context.
pub fn prepare(room: &Room) {
    let tar = room.tar("base.tar");
    room.call(&["import", &tar.display().to_string(), "base:1"]).exits(0);
    let context = room.folder.join("context");
    fs::create_dir(&context).expect("context");
    fs::set_permissions(&context, fs::Permissions::from_mode(0o755)).expect("chmod");
}

/// Writes a file of the context.
pub fn write(room: &Room, name: &str, text: &str) {
    let path = room.folder.join("context").join(name);
    fs::create_dir_all(path.parent().expect("folder")).expect("folder");
    fs::write(path, text).expect("file");
}

/// Builds the context; RUN has no network.
#[track_caller]
pub fn build(room: &Room, flags: &[&str], dockerfile: &str) -> Output {
    write(room, "Dockerfile", dockerfile);
    room.call(&[&["build", "--network", "none"], flags, &["context"]].concat())
}

/// Runs a line in an image.
#[track_caller]
pub fn said(room: &Room, image: &str, line: &str) -> String {
    let command = ["run", "--rm", "--network", "none", "--entrypoint", "", image, "sh", "-c", line];
    room.call(&command).exits(0).stdout
}

#[track_caller]
fn config(room: &Room, image: &str, template: &str) -> String {
    room.call(&["image", "inspect", "--format", template, image]).ok().trim().to_string()
}

const WHOLE: &str = r#"ARG BASE=base
FROM $BASE:1 AS made
ARG NAME=default
ENV GREETING="hello ${NAME:-nobody}" PATH=/bin
RUN echo $GREETING $NAME >/made; touch /etc/new
COPY <<EOF /script
#!/bin/sh
echo from $NAME
EOF

FROM base:1
LABEL one=1 "two words"="2 \$x"
WORKDIR /work/dir
WORKDIR sub
COPY --chown=web --chmod=640 a.txt copied
COPY d /dst
COPY --from=made --chmod=755 /made /script ./
ENV A=1 B=$A
USER web
RUN <<EOF
id -u >/tmp/id
pwd >>/tmp/id
EOF
EXPOSE 80 53/udp
VOLUME /data
STOPSIGNAL USR1
HEALTHCHECK --interval=5s CMD true
SHELL ["/bin/sh", "-ec"]
CMD ./script
"#;

#[test]
fn an_image_is_what_its_dockerfile_says() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "a.txt", "a\n");
    write(&room, "d/sub/c.txt", "c\n");
    fs::set_permissions(room.folder.join("context/d/sub"), fs::Permissions::from_mode(0o750)).expect("chmod");
    let flags = ["-q", "-t", "made:2", "--build-arg", "NAME=you", "--label", "three=3"];
    let id = build(&room, &flags, WHOLE).ok();
    assert!(id.starts_with("sha256:"), "{id}");
    let found = said(&room, "made:2", "cat made; ./script; cat /tmp/id");
    assert_eq!(found, "hello you you\nfrom you\n33\n/work/dir/sub\n");
    let modes = "stat -c '%n %a %u:%g' copied /dst /dst/sub /work made";
    let expected = "copied 640 33:34\n/dst 755 0:0\n/dst/sub 750 0:0\n/work 755 0:0\nmade 755 0:0\n";
    assert_eq!(said(&room, "made:2", modes), expected);
    assert_eq!(room.call(&["run", "--rm", "--network", "none", "made:2"]).ok(), "from you\n");
    for (field, expected) in [
        (".WorkingDir", "\"/work/dir/sub\""),
        (".User", "\"web\""),
        (".Cmd", r#"["/bin/sh","-ec","./script"]"#),
        (".Env", r#"["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","A=1","B="]"#),
        (".Labels", r#"{"one":"1","three":"3","two words":"2 $x"}"#),
        (".ExposedPorts", r#"{"53/udp":{},"80/tcp":{}}"#),
        (".Volumes", r#"{"/data":{}}"#),
        (".StopSignal", "\"USR1\""),
        (".Shell", r#"["/bin/sh","-ec"]"#),
    ] {
        assert_eq!(config(&room, "made:2", &format!("{{{{json .Config{field}}}}}")), expected, "{field}");
    }
    let history = room.call(&["history", "--no-trunc", "--format", "{{.CreatedBy}}", "made:2"]).ok();
    let lines: Vec<&str> = history.lines().collect();
    assert_eq!(lines[0], r#"CMD ["/bin/sh" "-ec" "./script"]"#);
    assert!(lines.contains(&"COPY --chown=web --chmod=640 a.txt copied # buildkit"), "{history}");
    assert!(lines.contains(&"LABEL one=1 two words=2 $x"), "{history}");
    let named = ["-t", "named", "--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=mine"];
    build(&room, &named, "FROM base:1\nRUN hostname >/name\n").exits(0);
    assert_eq!(said(&room, "named", "cat /name"), "mine\n");
    // What the runtime has mounted is not left behind.
    assert_eq!(said(&room, "made:2", "ls /proc /sys /dev >/dev/null; ls -A /run 2>&1 | wc -l"), "1\n");
    room.call(&["save", "-o", "made.tar", "made:2"]).ok();
    room.call(&["rmi", "made:2"]).ok();
    room.call(&["load", "-q", "-i", "made.tar"]).ok();
    assert_eq!(room.call(&["images", "-q", "--no-trunc", "made:2"]).ok(), id);
}

#[test]
fn targets_and_outputs() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    let dockerfile = "FROM base:1 AS one\nRUN echo one >/one\nFROM scratch AS two\nCOPY --from=one /one /two\nFROM one\nRUN false\n";
    build(&room, &["-q", "--target", "two", "-o", "out"], dockerfile).ok();
    assert_eq!(fs::read_to_string(room.folder.join("out/two")).expect("file"), "one\n");
    let flags = ["-q", "--target", "0", "--iidfile", "id", "-t", "one", "-t", "one:again"];
    build(&room, &flags, dockerfile).exits(0);
    let id = fs::read_to_string(room.folder.join("id")).expect("id");
    assert_eq!(room.call(&["images", "-q", "--no-trunc", "one:again"]).ok().trim(), id);
    build(&room, &["-q", "--target", "two", "-t", "two", "-o", "type=oci,dest=two.tar"], dockerfile).exits(0);
    room.call(&["load", "-q", "-i", "two.tar"]).ok();
    build(&room, &["--target", "none"], dockerfile).fails_with(1, "--target none: there is no such stage");
    let said = build(&room, &["-q"], dockerfile).exits(1);
    assert!(said.stderr.contains("Dockerfile:6\n"), "{}", said.stderr);
    assert!(said.stderr.contains(">>> RUN false"), "{}", said.stderr);
    let last = said.stderr.lines().last().unwrap_or_default();
    let expected =
        "box: Dockerfile:6: process \"/bin/sh -c false\" did not complete successfully: exit code: 1";
    assert_eq!(last, expected);
}

#[test]
fn several_outputs_come_of_one_build() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    let outputs = [
        "-o",
        "type=tar,dest=root.tar",
        "-o",
        "out",
        "-o",
        "type=image,name=also:1",
        "-o",
        "type=docker,dest=image.tar",
    ];
    build(&room, &[&["-t", "made"], &outputs[..]].concat(), "FROM base:1\nRUN echo x >/x\n").exits(0);
    for image in ["made", "also:1"] {
        assert_eq!(said(&room, image, "cat /x"), "x\n");
    }
    assert_eq!(fs::read_to_string(room.folder.join("out/x")).expect("file"), "x\n");
    room.call(&["rmi", "made", "also:1"]).ok();
    let loaded = room.call(&["load", "-i", "image.tar"]).ok();
    assert!(loaded.contains("made:latest") && loaded.contains("also:1"), "{loaded}");
    room.call(&["import", "root.tar", "imported"]).ok();
    assert_eq!(said(&room, "imported", "cat /x"), "x\n");
}

#[test]
fn what_is_wrong_is_said_with_file_and_line() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    for (dockerfile, words) in [
        ("FROM base:1\nFOO x\n", "Dockerfile:2: FOO: there is no such instruction"),
        ("RUN x\n", "Dockerfile:1: RUN x: FROM must come first"),
        ("FROM base:1\nCOPY nonesuch /\n", "Dockerfile:2: nonesuch: there is no such file"),
        ("FROM base:1\nCOPY --from=0 /x /\n", "Dockerfile:2: from=0: that is this stage itself"),
        ("FROM base:1\nCOPY --chown=nobody Dockerfile /\n", "Dockerfile:2: --chown=nobody: "),
        (
            "FROM base:1\nCOPY --chown=0:none Dockerfile /\n",
            "--chown=0:none: the image's /etc/group has no group \"none\"",
        ),
        (
            "FROM base:1\nUSER 0:none\nRUN true\n",
            "Dockerfile:3: USER 0:none: the image's /etc/group has no group",
        ),
        (
            "FROM base:1\nUSER none\nWORKDIR /x\n",
            "Dockerfile:3: USER none: the image's /etc/passwd has no user",
        ),
        ("FROM base:1\nCOPY --chmod=9 Dockerfile /\n", "Dockerfile:2: COPY --chmod=9: 9: must be octal"),
        ("FROM base:1\nCOPY Dockerfile /etc/passwd/x\n", "Dockerfile:2: "),
        ("FROM base:1\nADD https://example.com/x.git?y=z /\n", "x.git?y=z: a query is not known"),
        ("FROM base:1\nRUN --network=host true\n", "Dockerfile:2: RUN --network=host: it must be allowed"),
        ("FROM base:1\nRUN --security=insecure true\n", "RUN --security=insecure: it must be allowed"),
        (
            "FROM base:1\nRUN --mount=type=secret,id=k,required true\n",
            "Dockerfile:2: the secret k is missing",
        ),
        ("FROM base:1\nEXPOSE x\n", "Dockerfile:2: EXPOSE x: must be PORT"),
        ("# syntax=me/mine\nFROM base:1\n", "# syntax=me/mine: docker/dockerfile alone is known"),
        ("", "it has no instructions"),
    ] {
        build(&room, &["-q"], dockerfile).fails_with(1, words);
    }
    room.call(&["build", "nonesuch"]).fails(1, "build nonesuch: no such file or directory");
    room.call(&["build", "--output", "type=x", "context"]).fails(125, "--output type=x: type must be");
    room.call(&["build", "--progress", "x", "context"]).fails(125, "--progress x: must be");
    room.call(&["build", "--cache-to", "type=gha", "context"])
        .fails(125, "--cache-to type=gha: type=gha: must be");
    room.call(&["build", "https://example.com/x.git"])
        .fails_with(1, "https://example.com/x.git: git fetch: ");
    room.assert_gone();
}

#[test]
fn working_folders_are_used_without_what_means_nothing() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    build(&room, &["-q", "-t", "made"], "FROM base:1\nWORKDIR /a/none/../b//\nRUN pwd >/said\n").ok();
    assert_eq!(config(&room, "made", "{{.Config.WorkingDir}}"), "/a/none/../b//");
    assert_eq!(said(&room, "made", "pwd; cat /said; ls /a"), "/a/b\n/a/b\nb\n");
}

const MOUNTS: &str = r#"FROM base:1 AS other
RUN mkdir /o; echo other >/o/file
FROM base:1
RUN --mount=target=/src,source=src --mount=type=bind,from=other,source=/o,target=/o,rw \
    ls /src >/out; cat /o/file >>/out; echo x >/o/more; touch /src/x 2>/dev/null || echo read-only >>/out
RUN --mount=type=cache,target=/cache,id=c,mode=0700 \
    echo $(stat -c %a /cache) $(cat /cache/n 2>/dev/null) >>/out; echo again >>/cache/n
RUN --mount=type=secret,id=key --mount=type=secret,id=key,target=/k,env=KEY --mount=type=secret,id=none \
    [ "$(echo $KEY)" = "$(cat /run/secrets/key)" ] && stat -c %a /run/secrets/key >>/out
RUN --mount=type=tmpfs,target=/t touch /t/x
RUN ls / >>/out
"#;

#[test]
fn mounts_of_run() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "src/main", "source\n");
    write(&room, "src/ignored", "x\n");
    write(&room, ".dockerignore", "**/ignored\n");
    fs::write(room.folder.join("secret"), "hidden\n").expect("secret");
    let flags = ["-q", "-t", "made", "--secret", "id=key,src=secret"];
    build(&room, &flags, MOUNTS).ok();
    let out = said(&room, "made", "cat /out");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(&lines[..5], ["main", "other", "read-only", "700", "400"], "{out}");
    for left in ["src", "o", "cache", "run", "t", "k"] {
        assert!(!lines.contains(&left), "{left}: {out}");
    }
    build(&room, &[&flags[..], &["--no-cache"]].concat(), MOUNTS).ok();
    assert!(said(&room, "made", "cat /out").contains("700 again\n"), "the cache is kept");
    let found = Command::new("grep").args(["-r", "hidden"]).arg(room.data()).output().expect("grep");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    let runtime = fs::read_dir(room.folder.join("runtime/pillbox")).expect("runtime").flatten();
    assert!(
        !runtime.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with(".build-"))
    );
    room.call(&["builder", "prune", "-f"]).ok();
    assert_eq!(fs::read_dir(room.data().join("build/mounts")).expect("mounts").count(), 0);
}

#[test]
fn triggers_and_arguments() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "file", "x");
    let parent = "FROM base:1\nONBUILD COPY file /copied\nONBUILD ENV TRIGGERED=yes\n";
    build(&room, &["-q", "-t", "parent"], parent).ok();
    build(&room, &["-q", "-t", "child"], "FROM parent\nRUN echo $TRIGGERED >/said\n").ok();
    assert_eq!(said(&room, "child", "cat /copied /said; echo $TRIGGERED"), "xyes\nyes\n");
    assert_eq!(config(&room, "child", "{{json .Config.OnBuild}}"), "null");
    let dockerfile = "ARG G=global\nARG O=overridden\nFROM base:1\nARG G\nARG O\nARG L=local\nARG TARGETARCH\nARG UNSET\nENV E=env\nARG E=arg\n\
                      RUN echo $G $O $L $TARGETARCH ${UNSET-unset} $E >/out\nENV L=variable\nRUN echo $L >>/out\n";
    let given = ["-q", "-t", "made", "--build-arg", "O=given", "--build-arg", "http_proxy=proxy"];
    build(&room, &given, dockerfile).ok();
    let arch = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    assert_eq!(said(&room, "made", "cat /out"), format!("global given local {arch} unset arg\nvariable\n"));
    // A proxy changes nothing of what comes out.
    let other = ["--build-arg", "O=given", "--build-arg", "http_proxy=another"];
    let said = build(&room, &other, dockerfile).exits(0);
    assert_eq!(said.stderr.matches("CACHED").count(), 2, "{}", said.stderr);
    let said = build(&room, &["--build-arg", "NONE=x"], "FROM base:1\n").exits(0);
    assert!(said.stderr.contains("--build-arg NONE: no ARG of that name"), "{}", said.stderr);
    let said = build(&room, &[], "ARG V=1\nFROM base:1\nLABEL v=$V\n").exits(0);
    assert!(
        said.stderr.contains("WARN: Dockerfile:3: $V has no value: a stage that uses it needs"),
        "{}",
        said.stderr
    );
}

/// All usual names, the first of which counts; directives for checks that box does not have change nothing.
#[test]
fn a_folder_has_its_dockerfile_by_a_usual_name() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    for name in ["Foxfile", "Boxfile", "Containerfile", "Dockerfile"] {
        let text = format!("# check=skip=all;error=true\nFROM base:1\nRUN echo {name} >/name\n");
        write(&room, name, &text);
        room.call(&["build", "-q", "--network", "none", "-t", "named", "context"]).ok();
        assert_eq!(said(&room, "named", "cat /name"), format!("{name}\n"));
    }
}

/// What foxbox has only proposed for its files is told with what does it, and that does it.
#[test]
fn what_foxfiles_never_had() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    build(&room, &["-t", "tool:1"], "FROM base:1\nRUN mkdir /opt && echo tool >/opt/tool\n").exits(0);
    let foxfile = |text: &str| {
        write(&room, "Foxfile", text);
        room.call(&["build", "-q", "--network", "none", "-t", "made", "-f", "context/Foxfile", "context"])
    };
    foxfile("from base:1\nmerge tool:1 other:1\n").fails_with(
        1,
        "Foxfile:2: merge tool:1 other:1: there is no such instruction: COPY --link --from=tool:1 / / brings",
    );
    foxfile("from base:1\ninstall node@1.20.1\n")
        .fails_with(1, "Foxfile:2: install node@1.20.1: there is no such instruction: RUN");
    foxfile("from base:1\nCOPY --link --from=tool:1 / /\n").exits(0);
    assert_eq!(said(&room, "made", "cat /opt/tool"), "tool\n");
}

#[test]
fn contexts_come_from_streams_as_well() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "file", "in the context\n");
    write(&room, "other/Boxfile", "FROM base:1\nCOPY file /copied\n");
    let feed = |arguments: &[&str], input: &[u8]| {
        let mut command = room.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("box");
        child.stdin.take().expect("stdin").write_all(input).expect("input");
        let output = child.wait_with_output().expect("box");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let fixed = ["build", "-q", "--network", "none"];
    feed(&[&fixed[..], &["-t", "text", "-"]].concat(), b"FROM base:1\nRUN echo text >/copied\n");
    assert_eq!(said(&room, "text", "cat /copied"), "text\n");
    let dockerfile = b"FROM base:1\nCOPY file /copied\n";
    feed(&[&fixed[..], &["-t", "file", "-f", "-", "context"]].concat(), dockerfile);
    assert_eq!(said(&room, "file", "cat /copied"), "in the context\n");
    let (tar, context) = (room.folder.join("context.tar.gz"), room.folder.join("context"));
    let made = Command::new("tar").arg("-czf").arg(&tar).arg("-C").arg(context).arg(".").status();
    assert!(made.expect("tar").success());
    let tar = fs::read(&tar).expect("tar");
    feed(&[&fixed[..], &["-t", "tar", "-f", "other/Boxfile", "-"]].concat(), &tar);
    assert_eq!(said(&room, "tar", "cat /copied"), "in the context\n");
    room.call(&[&fixed[..], &["-t", "again", "-f", "other/Boxfile", "context.tar.gz"]].concat()).ok();
    let packed = room.folder.join("context.tar.bz2");
    let made = Command::new("tar")
        .arg("-cjf")
        .arg(&packed)
        .arg("-C")
        .arg(room.folder.join("context"))
        .arg(".")
        .status();
    assert!(made.expect("tar").success());
    let packed = fs::read(&packed).expect("tar");
    feed(&[&fixed[..], &["-t", "packed", "-f", "other/Boxfile", "-"]].concat(), &packed);
    assert_eq!(said(&room, "packed", "cat /copied"), "in the context\n");
    // The usual names, in their order.
    let from = room.folder.join("context/other/Boxfile");
    fs::rename(from, room.folder.join("context/Foxfile")).expect("rename");
    room.call(&[&fixed[..], &["context"]].concat()).ok();
    room.call(&["build", "context/other"]).fails_with(1, "the context has no Dockerfile, no Containerfile");
    room.assert_gone();
}

#[test]
fn the_same_sources_give_the_same_image() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "file", "x");
    let dockerfile =
        "FROM base:1\nRUN echo x >/x; mkdir /d; ln -s x /d/link\nCOPY file /d/\nWORKDIR /w\nENV A=1\n";
    let arguments = ["-q", "--build-arg", "SOURCE_DATE_EPOCH=1000000000"];
    let first = build(&room, &arguments, dockerfile).ok();
    assert_eq!(config(&room, first.trim(), "{{.Created}}"), "2001-09-09T01:46:40.000000000Z");
    room.call(&["rmi", "-f", first.trim()]).ok();
    room.call(&["builder", "prune", "-f"]).ok();
    let file = fs::File::open(room.folder.join("context/file")).expect("file");
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1000);
    file.set_modified(later).expect("touch");
    assert_eq!(build(&room, &arguments, dockerfile).ok(), first);
    let times = said(&room, first.trim(), "stat -c %Y /x /d /d/link /d/file /w");
    assert_eq!(times, "1000000000\n".repeat(5));
}

/// What a build says with `--progress rawjson`: nothing but documents of BuildKit's kind.
fn solve_statuses(room: &Room, dockerfile: &str) -> Vec<Value> {
    let json = build(room, &["--progress", "rawjson"], dockerfile).exits(0).stderr;
    let read = |line: &str| -> Value {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    let documents: Vec<Value> = json.lines().map(read).collect();
    let known = ["vertexes", "statuses", "logs", "warnings"];
    let is_known = |document: &Value| {
        document.as_object().is_some_and(|members| members.keys().all(|name| known.contains(&name.as_str())))
    };
    assert!(documents.iter().all(is_known), "{json}");
    documents
}

fn members(documents: &[Value], of: &str) -> Vec<Value> {
    documents.iter().flat_map(|document| document[of].as_array().cloned().unwrap_or_default()).collect()
}

#[test]
fn agents_rights_and_the_forms_of_progress() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    // An agent that says nothing: what RUN has of it is a socket.
    let agent = room.folder.join("agent");
    let _agent = std::os::unix::net::UnixListener::bind(&agent).expect("a socket");
    let ssh = "FROM base:1\nRUN --mount=type=ssh [ -S $SSH_AUTH_SOCK ] && echo there >/said\nRUN --mount=type=ssh,id=other,target=/o [ -S /o ] && echo $SSH_AUTH_SOCK >>/said\nRUN [ ! -e /o ] && echo ${SSH_AUTH_SOCK-none} >>/said\n";
    let given = format!("default={}", agent.display());
    let other = format!("other={}", agent.display());
    build(&room, &["-q", "-t", "ssh", "--ssh", &given, "--ssh", &other], ssh).ok();
    assert_eq!(said(&room, "ssh", "cat /said"), "there\n/o\nnone\n");
    build(&room, &["-q"], "FROM base:1\nRUN --mount=type=ssh,required true\n").fails_with(1, "ssh");
    // Its socket is whose the mount says, whatever the agent's own is, and is used by nobody else.
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o777)).expect("chmod");
    let owned = "FROM base:1\nRUN --mount=type=ssh stat -c '%a %u %g' $SSH_AUTH_SOCK >/said\nRUN --mount=type=ssh,uid=7,gid=8,mode=0640 stat -c '%a %u %g' $SSH_AUTH_SOCK >>/said\nRUN echo user:x:7:8::/:/bin/sh >/etc/passwd; chmod 777 /said\nUSER 7:8\nRUN --mount=type=ssh,mode=0666 [ -w $SSH_AUTH_SOCK ] && echo mine >>/said\nRUN --mount=type=ssh [ -w $SSH_AUTH_SOCK ] || echo root\\'s >>/said\n";
    build(&room, &["-q", "-t", "owned", "--ssh", &given], owned).ok();
    assert_eq!(said(&room, "owned", "cat /said"), "600 0 0\n640 7 8\nmine\nroot's\n");
    assert_eq!(fs::metadata(&agent).expect("the agent").permissions().mode() & 0o7777, 0o777);
    // Nothing of them stays.
    let left = fs::read_dir(room.folder.join("runtime/pillbox")).expect("the runtime folder").flatten();
    assert!(!left.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(".build-")));
    // What a step must be allowed.
    let rights = "FROM base:1\nRUN --security=insecure grep CapEff /proc/self/status >/said\nRUN --network=host ls /sys/class/net >>/said\n";
    let allowed = ["-q", "-t", "rights", "--allow", "security.insecure", "--allow", "network.host"];
    build(&room, &allowed, rights).ok();
    let found = said(&room, "rights", "cat /said");
    let all = u64::from_str_radix(found.split_whitespace().nth(1).expect("rights"), 16).expect("a number");
    assert!(all & 1 << 21 != 0 && found.contains("lo"), "SYS_ADMIN and the host's interfaces: {found}");
    let words = "FROM base:1\nENV OTHER=$NONE\nRUN echo words; echo others >&2\n";
    let documents = solve_statuses(&room, words);
    let all = |of: &str| members(&documents, of);
    let is_run = |vertex: &Value| vertex["name"].as_str().is_some_and(|name| name.contains("RUN echo words"));
    let [begun, ended] = &all("vertexes").into_iter().filter(is_run).collect::<Vec<_>>()[..] else {
        panic!("{documents:?}")
    };
    assert!(
        begun["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:") && digest.len() == 71)
    );
    assert!(
        begun["started"].as_str().is_some_and(|time| time.ends_with('Z')) && begun["completed"].is_null()
    );
    assert_eq!((&begun["digest"], &begun["started"]), (&ended["digest"], &ended["started"]));
    assert!(ended["completed"].is_string() && ended["cached"].is_null() && ended["error"].is_null());
    let is_said = |log: &Value| log["vertex"] == begun["digest"] && log["stream"] == 1;
    let said_by_it: Vec<Value> = all("logs").into_iter().filter(is_said).collect();
    assert_eq!((said_by_it.len(), &said_by_it[0]["data"]), (1, &json!("d29yZHMK")));
    assert!(said_by_it[0]["timestamp"].is_string());
    assert!(all("warnings").iter().any(|warning| warning["short"].is_string() && warning["level"] == 1));
    let again = solve_statuses(&room, words);
    assert!(members(&again, "vertexes").iter().any(|vertex| is_run(vertex) && vertex["cached"] == true));
    assert_eq!(build(&room, &["--progress", "quiet"], "FROM base:1\n").exits(0).stderr, "");
}

/// Base images are pulled for a platform, and asked for again only if that is said.
#[test]
fn base_images_come_from_registries() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    let mut content = Content::default();
    let arch = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    content.image("1", arch, &[layer(&room.tar("image.tar"))]);
    let registry = Registry::start(content, |_| Answer::Usual);
    let dockerfile = format!("FROM {}/a:1\nRUN true\n", registry.host);
    let requests = |flags: &[&str]| {
        let before = registry.requests("").len();
        build(&room, flags, &dockerfile).exits(0);
        registry.requests("").len() - before
    };
    assert!(requests(&["--platform", &format!("linux/{arch}")]) > 0);
    assert_eq!(requests(&[]), 0);
    assert!(requests(&["--pull"]) > 0);
    let other = build(&room, &["--platform", "linux/riscv64"], &dockerfile).exits(1).stderr;
    assert!(other.contains("linux/riscv64") && other.contains("Dockerfile:1"), "{other}");
    build(&room, &["--platform", "nonsense/"], &dockerfile).fails(125, "--platform nonsense/: ");
}

/// As programs read them: by digests that stay, and with what goes on from what.
#[test]
fn parts_are_known_again_and_by_what_they_go_on_from() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "f", "x\n");
    let dockerfile = "FROM scratch AS a\nCOPY f /f\nFROM base:1\nCOPY --from=a /f /g\nCOPY f /h\nRUN --mount=from=a,target=/m true\n";
    let parts = || {
        let told = build(&room, &["--progress", "rawjson"], dockerfile).exits(0).stderr;
        let documents = told.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let parts = documents.flat_map(|one| one["vertexes"].as_array().cloned().unwrap_or_default());
        let text = |value: &Value| value.as_str().expect("a text").to_string();
        let inputs =
            |part: &Value| part["inputs"].as_array().map_or(Vec::new(), |all| all.iter().map(text).collect());
        let parts = parts.map(|part| (text(&part["name"]), (text(&part["digest"]), inputs(&part))));
        parts.collect::<std::collections::BTreeMap<String, (String, Vec<String>)>>()
    };
    let first = parts();
    let inputs = |name: &str| -> Vec<String> {
        let by_digest =
            |digest: &String| first.iter().find(|(_, (own, _))| own == digest).expect("a part").0.clone();
        first[name].1.iter().map(by_digest).collect()
    };
    let (context, image) = ("[internal] load build context", "[stage-1 1/4] FROM docker.io/library/base:1");
    assert_eq!(inputs("[a 2/2] COPY f /f"), [context]);
    assert_eq!(inputs("[stage-1 2/4] COPY --from=a /f /g"), [image, "[a 2/2] COPY f /f"]);
    assert_eq!(inputs("[stage-1 3/4] COPY f /h"), ["[stage-1 2/4] COPY --from=a /f /g", context]);
    let run = inputs("[stage-1 4/4] RUN --mount=from=a,target=/m true");
    assert_eq!(run, ["[stage-1 3/4] COPY f /h", "[a 2/2] COPY f /f"]);
    assert!(inputs(image).is_empty() && inputs(context).is_empty());
    assert_eq!(parts(), first);
}
