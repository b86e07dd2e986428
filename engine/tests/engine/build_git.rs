//! build: repositories of git, as contexts and of ADD.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::boxd::Boxd;
use crate::build::{build, prepare, said};
use crate::harness::{Output, Room, wait_for};
use crate::host;
use crate::registry::raise_loopback;

/// Serves everything below a folder by git's own protocol.
struct Daemon {
    child: Child,
    address: String,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).ok();
    }
}

/// Says so if not.
fn is_git_there() -> bool {
    let mut git = Command::new("git");
    let is_there = git.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !is_there {
        host::skip("git is not installed");
    }
    is_there
}

impl Daemon {
    /// `None` if git is not installed.
    fn start(folder: &Path) -> Option<Daemon> {
        if !is_git_there() {
            return None;
        }
        raise_loopback();
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("port").port();
        let mut daemon = Command::new("git");
        daemon.args(["-c", "safe.directory=*", "daemon", "--export-all", "--listen=127.0.0.1"]);
        daemon.arg(format!("--port={port}")).arg(format!("--base-path={}", folder.display()));
        // What it starts has no such setting of its own.
        daemon
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*");
        let child = daemon.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("git daemon");
        let daemon = Daemon { child, address: format!("git://127.0.0.1:{port}") };
        wait_for("git daemon", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(daemon)
    }
}

/// git in a folder, without anybody's settings.
#[track_caller]
fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args([
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "-c",
        "init.defaultBranch=main",
        "-c",
        "protocol.file.allow=always",
    ]);
    let output = git.args(arguments).current_dir(folder).env("HOME", "/nonexistent").output().expect("git");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

/// A repository with two commits, a tag, a branch and a submodule; its first commit.
fn repository(folder: &Path, daemon: &Daemon) -> String {
    let (inner, outer) = (folder.join("inner"), folder.join("outer.git"));
    for path in [&inner, &outer] {
        fs::create_dir_all(path).expect("folder");
        git(path, &["init", "-q"]);
    }
    fs::write(inner.join("deep"), "deep\n").expect("file");
    git(&inner, &["add", "."]);
    git(&inner, &["commit", "-qm", "inner"]);
    fs::create_dir(outer.join("sub")).expect("folder");
    fs::write(outer.join("sub/Dockerfile"), "FROM base:1\nCOPY . /x\n").expect("file");
    fs::write(outer.join("Dockerfile"), "FROM base:1\nCOPY . /x\nCOPY script /y\n").expect("file");
    fs::write(outer.join("script"), "#!/bin/sh\n").expect("file");
    fs::set_permissions(outer.join("script"), fs::Permissions::from_mode(0o700)).expect("chmod");
    git(&outer, &["add", "."]);
    git(&outer, &["commit", "-qm", "first"]);
    let first = git(&outer, &["rev-parse", "HEAD"]);
    git(&outer, &["tag", "-a", "v1", "-m", "one"]);
    git(&outer, &["submodule", "--quiet", "add", &inner.display().to_string(), "module"]);
    git(
        &outer,
        &["config", "-f", ".gitmodules", "submodule.module.url", &format!("{}/inner/.git", daemon.address)],
    );
    fs::write(outer.join("second"), "second\n").expect("file");
    git(&outer, &["add", "."]);
    git(&outer, &["commit", "-qm", "second"]);
    first
}

/// A room, and repositories that are served there.
struct Served {
    room: Room,
    folder: PathBuf,
    daemon: Daemon,
    /// The first commit of the outer one.
    first: String,
}

impl Served {
    /// `None` without git.
    fn new() -> Option<Served> {
        let room = Room::new()?;
        let folder = room.folder.join("repositories");
        fs::create_dir(&folder).expect("folder");
        let daemon = Daemon::start(&folder)?;
        prepare(&room);
        let first = repository(&folder, &daemon);
        Some(Served { room, folder, daemon, first })
    }
}

#[track_caller]
fn built(room: &Room, flags: &[&str], address: &str) -> Output {
    room.call(&[&["build", "--network", "none", "-t", "made"], flags, &[address]].concat())
}

#[test]
fn a_repository_is_a_context() {
    let Some(Served { room, daemon, first, .. }) = Served::new() else { return };
    let address = format!("{}/outer.git", daemon.address);
    let list = |place: &str| said(&room, "made", &format!("ls -A {place} | grep -v '^\\.gitmodules$'"));
    built(&room, &[], &address).exits(0);
    assert_eq!(list("/x"), "Dockerfile\nmodule\nscript\nsecond\nsub\n");
    assert_eq!(
        said(&room, "made", "cat /x/module/deep; ls -A /x/module; stat -c '%a %u' /y /x"),
        "deep\ndeep\n755 0\n755 0\n"
    );
    for reference in ["v1", &first] {
        built(&room, &[], &format!("{address}#{reference}")).exits(0);
        assert_eq!(list("/x"), "Dockerfile\nscript\nsub\n", "{reference}");
    }
    built(&room, &[], &format!("{address}#main:sub")).exits(0);
    assert_eq!(list("/x"), "Dockerfile\n");
    built(&room, &["-f", "sub/Dockerfile", "--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"], &address)
        .exits(0);
    assert!(said(&room, "made", "cat /x/.git/config").contains(&address));
    built(&room, &["--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"], &format!("{address}#v1")).exits(0);
    assert!(said(&room, "made", "ls /x/.git/refs/tags").contains("v1\n"));
    // Once more it is the same.
    let again = built(&room, &[], &format!("{address}#v1")).exits(0);
    assert_eq!(again.stderr.matches("CACHED").count(), 2, "{}", again.stderr);
    built(&room, &[], &format!("{address}#nothing")).fails_with(1, "nothing");
    built(&room, &[], &format!("{address}#v1:../..")).exits(0);
    built(&room, &[], &format!("{address}#v1:none")).fails_with(1, "the folder none");
    built(&room, &[], &format!("{address}#--upload-pack=x")).fails(125, "must be ADDRESS#REFERENCE:FOLDER");
    let whole = room.command(&["build", "--network", "none", &address]);
    let words = whole.get_args().skip_while(|word| !word.to_string_lossy().ends_with("/box"));
    let mut without = Command::new("/usr/bin/env");
    without.arg("PATH=/nonexistent").args(words).current_dir(&room.folder);
    crate::harness::finish(&mut without).fails_with(1, "git is not in PATH");
}

#[test]
fn add_takes_repositories() {
    let Some(Served { room, folder, daemon, first }) = Served::new() else { return };
    let address = format!("{}/outer.git", daemon.address);
    let add = |line: &str| build(&room, &["-t", "made"], &format!("FROM base:1\nADD {line}\n"));
    add(&format!("{address}#v1 /a")).exits(0);
    assert_eq!(said(&room, "made", "ls -A /a"), "Dockerfile\nscript\nsub\n");
    add(&format!("--chown=web {address}#v1:sub /a/")).exits(0);
    assert_eq!(said(&room, "made", "ls -A /a; stat -c %u /a/Dockerfile"), "Dockerfile\n33\n");
    add(&format!("--keep-git-dir=true {address}#v1 /a")).exits(0);
    assert!(said(&room, "made", "ls -A /a").contains(".git\n"));
    add(&format!("--checksum={first} {address}#v1 /a")).exits(0);
    add(&format!("--checksum={first} {address} /a")).fails_with(1, "its commit is ");
    // A submodule may not read this machine.
    let outer = folder.join("outer.git");
    git(
        &outer,
        &["config", "-f", ".gitmodules", "submodule.module.url", &folder.join("inner").display().to_string()],
    );
    git(&outer, &["commit", "-qam", "third"]);
    add(&format!("{address} /a")).fails_with(1, "git submodule");
}

#[test]
fn git_ends_with_a_build_that_is_killed() {
    let Some(room) = Room::new() else { return };
    if Daemon::start(&room.folder).is_none() {
        return;
    }
    prepare(&room);
    // It takes the connection, and never says anything.
    let silent = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = format!("git://{}/silent.git", silent.local_addr().expect("address"));
    let asks = || {
        let processes = fs::read_dir("/proc").expect("/proc").flatten();
        let mut lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        lines.any(|line| {
            let line = String::from_utf8_lossy(&line);
            line.starts_with("git\0") && line.contains(&room.folder.display().to_string())
        })
    };
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::KILL] {
        let whole = room.command(&["build", &address]);
        let words = whole.get_args().skip_while(|word| !word.to_string_lossy().ends_with("/box"));
        let mut alone = Command::new(room.folder.join("box"));
        alone.args(words.skip(1)).current_dir(&room.folder).env("HOME", room.folder.join("home"));
        let mut build = alone.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("box");
        wait_for("git", asks);
        rustix::process::kill_process(rustix::process::Pid::from_child(&build), signal).expect("kill");
        build.wait().expect("wait");
        wait_for("the end of git", || !asks());
        room.call(&["ps"]).ok();
        let layers = fs::read_dir(room.data().join("layers")).expect("layers").flatten();
        assert_eq!(layers.filter(|layer| layer.file_name().as_encoded_bytes()[0] == b'.').count(), 0);
    }
}

/// Serves everything below a folder by HTTP, to whoever gives `user:secret`.
fn serve_http(folder: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("address").to_string();
    let folder = folder.to_path_buf();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let folder = folder.clone();
            std::thread::spawn(move || answer(connection, &folder));
        }
    });
    address
}

/// By git's own program, which speaks as those of a CGI do.
fn answer(mut connection: TcpStream, folder: &Path) -> Option<()> {
    let mut reader = BufReader::new(connection.try_clone().ok()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_string()),
        }
    }
    let field = |name: &str| {
        let mut fields = head.iter().filter_map(|line| line.split_once(": "));
        fields.find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    };
    if field("Authorization") != "Basic dXNlcjpzZWNyZXQ=" {
        let refusal = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n";
        return connection.write_all(refusal.as_bytes()).ok();
    }
    let mut words = head.first()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut body = vec![0; field("Content-Length").parse().unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let mut backend = Command::new("git");
    backend.arg("http-backend").env("GIT_PROJECT_ROOT", folder).env("GIT_HTTP_EXPORT_ALL", "1");
    backend.env("REQUEST_METHOD", method).env("PATH_INFO", path).env("QUERY_STRING", query);
    backend.env("CONTENT_TYPE", field("Content-Type")).env("CONTENT_LENGTH", body.len().to_string());
    backend.env("HTTP_CONTENT_ENCODING", field("Content-Encoding"));
    backend.env("GIT_PROTOCOL", field("Git-Protocol")).env("GIT_CONFIG_COUNT", "1");
    backend.env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*");
    backend.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = backend.spawn().ok()?;
    child.stdin.take()?.write_all(&body).ok()?;
    let said = child.wait_with_output().ok()?.stdout;
    connection.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n").ok()?;
    connection.write_all(&said).ok()
}

#[test]
fn passwords_of_addresses_are_in_nothing_that_stays() {
    let Some(Served { room, folder, daemon: _daemon, .. }) = Served::new() else { return };
    let outer = folder.join("outer.git");
    git(&outer, &["config", "-f", ".gitmodules", "submodule.module.url", "../../inner/.git"]);
    git(&outer, &["commit", "-qam", "third"]);
    let host = serve_http(&folder);
    let address = format!("http://user:secret@{host}/outer.git/.git");
    let kept = ["--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"];
    let told = built(&room, &kept, &address).exits(0).stderr;
    let line = "ls /x/module /x/.git/config; grep -r secret /x; grep url /x/.git/config";
    let shown = said(&room, "made", line);
    assert!(!told.contains("secret") && !shown.contains("secret"), "{told}\n{shown}");
    assert!(
        shown.contains(&format!("http://{host}/outer.git/.git\n")) && shown.contains("deep\n"),
        "{shown}"
    );
    let wrong = address.replace("outer", "none");
    let failed = built(&room, &[], &wrong).exits(1).stderr;
    assert!(!failed.contains("secret") && failed.contains("none.git"), "{failed}");
}

#[test]
fn variables_of_another_repository_are_not_taken_and_settings_are() {
    let Some(Served { room, folder, daemon, .. }) = Served::new() else { return };
    let theirs = folder.join("theirs");
    fs::create_dir(&theirs).expect("folder");
    git(&theirs, &["init", "-q"]);
    let count = || git(&theirs, &["count-objects"]);
    let before = count();
    let mut build = room.command(&["build", "--network", "none", "git://elsewhere.invalid/outer.git"]);
    for name in ["GIT_COMMON_DIR", "GIT_DIR", "GIT_QUARANTINE_PATH", "GIT_PREFIX"] {
        build.env(name, theirs.join(".git"));
    }
    build.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", theirs.join(".git/objects"));
    build.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_VALUE_0", "git://elsewhere.invalid/");
    build.env("GIT_CONFIG_KEY_0", format!("url.{}/.insteadOf", daemon.address));
    crate::harness::finish(&mut build).exits(0);
    assert_eq!(count(), before);
}

/// The limits of open files of the processes that a process has started, and those have, by their names.
fn limits_below(ancestor: i32) -> Vec<(String, String)> {
    let read = |pid: i32, file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line =
        |text: &str, head: &str| Some(text.lines().find_map(|line| line.strip_prefix(head))?.to_string());
    let numbers = fs::read_dir("/proc").expect("/proc").flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parent = |pid: i32| line(&read(pid, "status"), "PPid:")?.trim().parse::<i32>().ok();
    let parents: Vec<_> = numbers.filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut family = vec![ancestor];
    for at in 0.. {
        let Some(&parent) = family.get(at) else { break };
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| pid));
    }
    let soft =
        |pid: i32| Some(line(&read(pid, "limits"), "Max open files")?.split_whitespace().next()?.to_string());
    family[1..].iter().filter_map(|&pid| Some((read(pid, "comm").trim().to_string(), soft(pid)?))).collect()
}

#[test]
fn git_has_the_limit_of_open_files_that_boxd_was_given() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Some(room) = Room::new() else { return };
    if !is_git_there() {
        return;
    }
    raise_loopback();
    // A server that takes whoever comes and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("git://127.0.0.1:{}/none.git", silent.local_addr().expect("an address").port());
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(300), ..files }).expect("a limit");
    let boxd = Boxd::start(&room, "d");
    setrlimit(Resource::Nofile, files).expect("a limit");
    let mut client = boxd.connect();
    let head = format!("POST /v1.51/build?remote={address} HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n");
    client.write_all(head.as_bytes()).expect("a request");
    let mut found = Vec::new();
    wait_for("git", || {
        found = limits_below(boxd.pid().as_raw_pid());
        found.iter().any(|(name, _)| name.starts_with("git"))
    });
    assert!(found.iter().all(|(_, soft)| soft == "300"), "{found:?}");
}
