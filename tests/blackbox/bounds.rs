//! Things with a size: what the kernel's own limit allows works, and beyond it the error names the field.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Container, each_runtime, each_runtime_but, pillbox_only, wait_for};

/// A folder below the container's whose path is too long for a socket address.
fn long_folder(container: &Container) -> PathBuf {
    let folder = container.folder.join("f".repeat(200)).join("g".repeat(200));
    fs::create_dir_all(&folder).expect("folder");
    folder
}

/// A socket in that folder, bound by a short name.
fn long_socket(container: &Container, name: &str) -> (UnixListener, PathBuf) {
    let short = container.folder.join("short");
    let listener = UnixListener::bind(&short).expect("bind");
    let path = long_folder(container).join(name);
    fs::rename(short, &path).expect("rename");
    (listener, path)
}

#[test]
fn groups() {
    each_runtime(|runtime| {
        let mut container =
            Container::sh(runtime, "grep ^Groups: /proc/self/status | tr -s ' \t' '\n' | wc -l");
        let groups = |count: u32| json!((10..10 + count).collect::<Vec<_>>());
        // The line also has its name and a newline.
        container.spec["process"]["user"]["additionalGids"] = groups(65_536);
        let count: u32 = container.run_ok().trim().parse().expect("a number");
        assert!((65_537..=65_538).contains(&count), "{count}");
        container.spec["process"]["user"]["additionalGids"] = groups(65_537);
        let output = container.run();
        assert!(output.code > 0, "{output:?}");
        if runtime.is("pillbox") {
            output.fails_with(
                "process.user.additionalGids: has 65537 groups, more than the kernel's limit of 65536",
            );
        }
    });
}

/// Fewer lines than the kernel takes, and more of a page.
#[test]
fn the_text_of_an_id_map() {
    pillbox_only(|runtime| {
        let mut container = Container::sh(runtime, "echo ran");
        container.with_namespace("user", None);
        let lines: Vec<_> =
            (0..340).map(|n| json!({"containerID": n, "hostID": 1_000_000 + 2 * n, "size": 1})).collect();
        container.spec["linux"]["uidMappings"] = json!(lines);
        container.spec["linux"]["gidMappings"] = json!(lines[..1]);
        let output = container.run().fails_with("linux.uidMappings: write /proc/");
        output.fails_with("the kernel takes less than a page: map fewer and longer ranges");
        container.assert_gone();
    });
}

#[test]
fn filters() {
    pillbox_only(|runtime| {
        let mut container = Container::sh(runtime, "echo ran");
        let mut with = |rules: u32| {
            let rule = |value| {
                json!({"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": value % 4000,
                    "args": [{"index": 0, "value": value + 100, "op": "SCMP_CMP_EQ"}]})
            };
            let rules: Vec<Value> = (0..rules).map(rule).collect();
            container.spec["linux"]["seccomp"] =
                json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
            container.run()
        };
        let (mut fits, mut too_many) = (1, 4096);
        while too_many - fits > 1 {
            let middle = (fits + too_many) / 2;
            let output = with(middle);
            if output.code == 0 {
                fits = middle;
            } else {
                output.fails_with("linux.seccomp: the rules need more than 4096 BPF instructions");
                too_many = middle;
            }
        }
        // Each rule takes five instructions.
        assert!(fits > 800, "{fits}");
        assert_eq!(with(fits).ok().stdout, "ran\n");
    });
}

#[test]
fn one_argument_and_one_variable() {
    each_runtime(|runtime| {
        // MAX_ARG_STRLEN, including the NUL: execve(2).
        let longest = "x".repeat((128 << 10) - 1);
        let mut container = Container::new(runtime);
        container.spec["process"]["args"] = json!(["/bin/sh", "-c", "echo ${#1} ${#A}", "sh", longest]);
        container.spec["process"]["env"] = json!(["PATH=/bin", format!("A={}", &longest[2..])]);
        assert_eq!(container.run_ok(), format!("{} {}\n", longest.len(), longest.len() - 2));
        for pointer in ["/process/args/4", "/process/env/1"] {
            let shorter = container.spec.pointer(pointer).expect("text").clone();
            let longer = format!("{}x", shorter.as_str().expect("text"));
            *container.spec.pointer_mut(pointer).expect("text") = json!(longer);
            let output = container.run();
            assert!(output.code > 0, "{output:?}");
            if runtime.is("pillbox") {
                output.fails_with("process.args or process.env: too long");
            }
            *container.spec.pointer_mut(pointer).expect("text") = shorter;
        }
    });
}

#[test]
fn all_arguments_together() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        let mut arguments =
            vec!["/bin/sh".to_string(), "-c".to_string(), "echo $#".to_string(), "sh".to_string()];
        arguments.extend((0..100_000).map(|number| number.to_string()));
        container.spec["process"]["args"] = json!(arguments);
        assert_eq!(container.run_ok(), "100000\n");
    });
}

#[test]
fn a_home_and_the_lines_before_it() {
    each_runtime_but(&[("runc", "stops at a line of 64 KiB")], |runtime| {
        let container = Container::sh(runtime, "echo ${#HOME}");
        let passwd = container.rootfs().join("etc/passwd");
        let long = "x".repeat(300_000);
        // 4095 bytes is the longest possible path.
        let home = format!("/{}", "h".repeat(4094));
        fs::write(&passwd, format!("a:x:7:7:{long}:/a:/sh\n{long}\nroot:x:0:0:{long}:{home}:/bin/sh\n"))
            .expect("passwd");
        assert_eq!(container.run_ok(), "4095\n");
        fs::write(&passwd, format!("root:x:0:0::{home}x:/bin/sh")).expect("passwd");
        let output = container.run();
        if runtime.is("pillbox") {
            output.fails_with("process.env: the home of uid 0 in the container's /etc/passwd: it has more than 4095 bytes: set HOME");
        }
        // More than any program would read.
        fs::File::create(&passwd).and_then(|file| file.set_len(1 << 40)).expect("passwd");
        if runtime.is("pillbox") {
            container.run().fails_with("64 MiB of lines come before: set HOME");
        }
    });
}

#[test]
fn paths_of_sockets() {
    pillbox_only(|runtime| {
        let mut container = Container::sh(runtime, "tty");
        container.spec["process"]["terminal"] = json!(true);
        let (console, path) = long_socket(&container, "console");
        let (pidfd, pidfd_path) = long_socket(&container, "pidfd");
        let flags = [
            "--console-socket",
            path.to_str().expect("path"),
            "--pidfd-socket",
            pidfd_path.to_str().expect("path"),
        ];
        container.finish(&mut container.bundle_command("create", &flags)).ok();
        for listener in [console, pidfd] {
            let mut byte = [0];
            assert_eq!(listener.accept().expect("accept").0.read(&mut byte).expect("read"), 1);
        }
        container.delete_force().ok();
        container.assert_gone();
    });
}

#[test]
fn the_path_of_a_notify_socket() {
    pillbox_only(|runtime| {
        let container = Container::sh(runtime, "sleep 1000");
        let short = container.folder.join("short");
        let manager = std::os::unix::net::UnixDatagram::bind(&short).expect("bind");
        let path = long_folder(&container).join("notify");
        fs::rename(short, &path).expect("rename");
        let mut run = container.bundle_command("run", &[]);
        let run = container.spawn(run.env("NOTIFY_SOCKET", &path));
        wait_for("a container that runs", || {
            let state = container.call(&["state", &container.id]);
            (state.code == 0 && state.stdout.contains("\"running\"")).then_some(())
        });
        let inside = PathBuf::from(format!("/proc/{}/root{}/notify", container.pid(), path.display()));
        let short = container.folder.join("inside");
        std::os::unix::fs::symlink(&inside, &short).expect("symlink");
        std::os::unix::net::UnixDatagram::unbound()
            .and_then(|socket| socket.send_to(b"READY=1", &short))
            .expect("send");
        manager.set_read_timeout(Some(crate::harness::LIMIT)).expect("limit");
        let mut message = [0; 64];
        let length = manager.recv(&mut message).expect("a message");
        assert!(message[..length].ends_with(b"READY=1"), "{message:?}");
        container.kill("KILL").ok();
        run.finish();
        container.delete_force().ok();
        container.assert_gone();
    });
}

/// More than the socket has room for; the agent takes its time.
#[test]
fn what_a_seccomp_agent_is_told() {
    each_runtime_but(&[("runc", "fails")], |runtime| {
        let mut container = Container::sh(runtime, "echo ran");
        let (listener, path) = long_socket(&container, "agent");
        container.spec["annotations"] = json!({"org.example.long": "x".repeat(2_000_000)});
        container.spec["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path,
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]
        });
        let agent = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().expect("accept");
            let mut document = String::new();
            connection.read_to_string(&mut document).expect("read");
            serde_json::from_str::<Value>(&document).expect("the whole document")
        });
        assert_eq!(container.run_ok(), "ran\n");
        let document = agent.join().expect("agent");
        assert_eq!(document["state"]["annotations"], container.spec["annotations"]);
        container.assert_gone();
    });
}

/// More than a pipe has room for.
#[test]
fn what_a_hook_is_told() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "echo ran");
        container.spec["annotations"] = json!({"org.example.long": "x".repeat(1_000_000)});
        let (hook, told) = (container.folder.join("hook"), container.folder.join("told"));
        fs::write(&hook, format!("#!/bin/sh\nsleep 0.1; cat > {}\n", told.display())).expect("hook");
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("chmod");
        container.spec["hooks"] = json!({"createRuntime": [{"path": hook}]});
        assert_eq!(container.run_ok(), "ran\n");
        let state: Value =
            serde_json::from_slice(&fs::read(told).expect("told")).expect("the whole document");
        assert_eq!(state["annotations"], container.spec["annotations"]);
    });
}

/// Numbers above those of the machine's processors are allowed, up to a limit.
#[test]
fn processors() {
    each_runtime_but(&[("crun", "stops at 1024"), ("runc", "stops at 1024")], |runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start().wait_for("ready");
        let file = container.folder.join("process.json");
        let exec = |affinity: Value| {
            let process = json!({"args": ["/bin/echo", "ran"], "cwd": "/", "execCPUAffinity": affinity});
            fs::write(&file, process.to_string()).expect("file");
            container.call(&["exec", "--process", file.to_str().expect("path"), &container.id])
        };
        assert_eq!(exec(json!({"initial": "0-8191", "final": "0-8191"})).ok().stdout, "ran\n");
        exec(json!({"initial": "0-8192"})).fails_with("process.execCPUAffinity.initial: \"0-8192\"");
        container.delete_force().ok();
    });
}

/// Of an endless file only as much is read as shows that it is too long.
#[test]
fn documents() {
    const TOO_LARGE: &str = "has more than the limit of 16777216 bytes (16 MiB)";
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        let endless = "/dev/zero";
        container.finish(&mut container.bundle_command("run", &["--config", endless])).fails_with(TOO_LARGE);
        container.create_and_start().wait_for("ready");
        let id = &container.id;
        container.call(&["exec", "--process", endless, id]).fails_with(TOO_LARGE);
        container.call(&["update", "--resources", endless, id]).fails_with(TOO_LARGE);
        container.call(&["mounts", "add", id, endless]).fails_with(TOO_LARGE);
        container.delete_force().ok();
        container.assert_gone();
    });
}

/// An id becomes the name of a folder.
#[test]
fn an_id() {
    each_runtime(|runtime| {
        let container = Container::sh(runtime, "echo ran");
        container.write_spec();
        let run = |length: usize| {
            let id = "i".repeat(length);
            let mut command = container.command(&["run", "--bundle"]);
            container.finish(command.arg(container.bundle()).arg(id))
        };
        let longest = if runtime.is("pillbox") { 255 } else { 200 };
        assert_eq!(run(longest).ok().stdout, "ran\n");
        let output = run(256);
        assert!(output.code > 0 && output.stdout.is_empty(), "{output:?}");
        container.assert_gone();
    });
}

#[test]
fn extended_attributes_that_are_copied_up() {
    pillbox_only(|runtime| {
        let mut container = Container::sleeping(runtime);
        let seed = container.rootfs().join("seed");
        fs::create_dir(&seed).expect("folder");
        fs::write(seed.join("file"), "").expect("file");
        let (name, value) = ("trusted.pillbox", "v".repeat(30_000));
        let set = |name: &str, value: &str| {
            rustix::fs::setxattr(seed.join("file"), name, value.as_bytes(), rustix::fs::XattrFlags::empty())
        };
        set(name, &value).expect("an attribute");
        for number in 0..20 {
            set(&format!("trusted.{number}{}", "n".repeat(200)), "").expect("an attribute");
        }
        container.mount("tmpfs", "tmpfs", "/seed", &["tmpcopyup"]);
        container.create_and_start().wait_for("ready");
        let copy = format!("/proc/{}/root/seed/file", container.pid());
        let mut copied = vec![0; 65_536];
        let length = rustix::fs::getxattr(&copy, name, &mut copied[..]).expect("the attribute");
        assert!(copied[..length] == *value.as_bytes());
        let mut names = vec![0; 65_536];
        let length = rustix::fs::listxattr(&copy, &mut names[..]).expect("names");
        assert_eq!(
            names[..length].split(|&byte| byte == 0).filter(|name| name.starts_with(b"trusted.")).count(),
            21
        );
        container.delete_force().ok();
        wait_for("its end", || container.leftovers().is_empty().then_some(()));
    });
}
