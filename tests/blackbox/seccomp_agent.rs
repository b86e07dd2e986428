//! SCMP_ACT_NOTIFY: an agent gets the filter's listener, with a document about the container.

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread::{JoinHandle, spawn};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::IoSliceMut;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};

use crate::harness::{Container, Runtime, each_runtime, each_runtime_but, pillbox_only};

/// What an agent has seen.
struct Seen {
    document: Value,
    descriptors: usize,
    /// A call was waiting for an answer.
    notified: bool,
}

/// An agent that takes one listener, waits for the first notification, and ends: then calls fail with ENOSYS.
fn agent(path: &PathBuf) -> JoinHandle<Seen> {
    let socket = UnixListener::bind(path).expect("bind");
    spawn(move || {
        let (connection, _) = socket.accept().expect("accept");
        let mut bytes = [0; 8192];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let length =
            recvmsg(&connection, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).expect("recvmsg").bytes;
        let descriptors: Vec<OwnedFd> = control
            .drain()
            .filter_map(|message| {
                if let RecvAncillaryMessage::ScmRights(rights) = message { Some(rights) } else { None }
            })
            .flatten()
            .collect();
        let listener = descriptors.first().expect("a descriptor");
        let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&limit)).expect("poll");
        let document = serde_json::from_slice(&bytes[..length]).expect("one message with the whole document");
        Seen { document, descriptors: descriptors.len(), notified: ready > 0 }
    })
}

/// A container whose mkdir waits for the agent's answer; no_new_privs decides when the filter is installed.
fn container<'r>(runtime: &'r Runtime, no_new_privileges: bool) -> (Container<'r>, PathBuf) {
    let mut container = Container::sh(runtime, "mkdir /tmp/made 2>&1; echo after");
    let socket = container.folder.join("agent.sock");
    container.spec["process"]["noNewPrivileges"] = json!(no_new_privileges);
    container.spec["annotations"] = json!({"org.example.key": "value"});
    container.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": socket,
        "listenerMetadata": "for the \"agent\"",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]
    });
    (container, socket)
}

#[track_caller]
fn check(container: &Container<'_>, seen: &Seen) {
    let Seen { document, descriptors, notified } = seen;
    assert_eq!((*descriptors, *notified), (1, true), "{document}");
    assert_eq!(document["fds"], json!(["seccompFd"]));
    assert_eq!(document["metadata"], "for the \"agent\"");
    assert!(document["pid"].as_u64().expect("pid") > 1, "{document}");
    let state = &document["state"];
    assert_eq!(state["id"], container.id.as_str());
    assert_eq!(state["pid"], document["pid"]);
    assert_eq!(state["bundle"], container.bundle().to_str().expect("path"));
    assert_eq!(state["annotations"]["org.example.key"], "value");
    assert!(["creating", "created"].contains(&state["status"].as_str().expect("status")), "{document}");
}

#[test]
fn an_agent_gets_the_listener_of_run() {
    each_runtime(|runtime| {
        for no_new_privileges in [true, false] {
            let (container, socket) = container(runtime, no_new_privileges);
            let agent = agent(&socket);
            let output = container.run_ok();
            assert!(output.contains("Function not implemented") && output.ends_with("after\n"), "{output}");
            check(&container, &agent.join().expect("agent"));
            container.assert_gone();
        }
    });
}

#[test]
fn a_relative_path_of_the_agent_begins_at_the_bundle() {
    each_runtime_but(&[("crun", "takes absolute paths only")], |runtime| {
        let (mut container, _) = container(runtime, true);
        container.spec["linux"]["seccomp"]["listenerPath"] = json!("agent.sock");
        let agent = agent(&container.bundle().join("agent.sock"));
        let mut run = container.bundle_command("run", &[]);
        container.finish(run.current_dir(&container.folder)).ok();
        check(&container, &agent.join().expect("agent"));
    });
}

#[test]
fn an_agent_gets_the_listener_of_create_and_start() {
    each_runtime(|runtime| {
        for no_new_privileges in [true, false] {
            let (container, socket) = container(runtime, no_new_privileges);
            let agent = agent(&socket);
            let output = container.create_and_start();
            output.wait_for("after");
            assert!(output.stdout_now().contains("Function not implemented"));
            check(&container, &agent.join().expect("agent"));
            container.wait_status("stopped");
            container.delete().ok();
            container.assert_gone();
        }
    });
}

#[test]
fn an_agent_gets_the_listener_of_exec() {
    each_runtime(|runtime| {
        for no_new_privileges in [true, false] {
            let (mut container, socket) = container(runtime, no_new_privileges);
            container.spec["process"]["args"] = json!(["/bin/sleep", "100"]);
            let first = agent(&socket);
            container.create_and_start();
            fs::remove_file(&socket).expect("socket");
            let second = agent(&socket);
            let mut exec = container.command(&["exec", &container.id]);
            let output = container.finish(exec.args(["sh", "-c", "mkdir /tmp/made 2>&1"]));
            assert!(output.stdout.contains("Function not implemented"), "{output:?}");
            let seen = second.join().expect("agent");
            assert_eq!((seen.descriptors, seen.notified), (1, true));
            assert_eq!(seen.document["state"]["id"], container.id.as_str());
            if runtime.is("pillbox") {
                assert_eq!(seen.document["state"]["status"], "running");
            }
            assert_ne!(seen.document["pid"], container.pid());
            container.delete_force().ok();
            first.join().expect("agent");
            container.assert_gone();
        }
    });
}

/// Calls that init itself makes after installing the filter wait as well, until the agent is gone.
#[test]
fn no_call_of_init_s_holds_the_listener_up() {
    pillbox_only(|runtime| {
        for no_new_privileges in [true, false] {
            let (mut container, socket) = container(runtime, no_new_privileges);
            container.spec["linux"]["seccomp"]["syscalls"][0]["names"] =
                json!(["sendto", "sendmsg", "write", "fcntl", "poll", "mkdir", "mkdirat"]);
            let agent = agent(&socket);
            container.run();
            check(&container, &agent.join().expect("agent"));
            container.assert_gone();
        }
    });
}

#[test]
fn without_an_agent_there_is_no_container() {
    pillbox_only(|runtime| {
        for no_new_privileges in [true, false] {
            let (container, socket) = container(runtime, no_new_privileges);
            let socket = socket.to_str().expect("path").to_string();
            container.run().fails_with(&socket).fails_with("listenerPath");
            container.assert_gone();
            let created = container.create();
            if created.code == 0 {
                container.start().fails_with(&socket);
                container.wait_status("stopped");
                container.delete().ok();
            } else {
                created.fails_with(&socket);
            }
            assert!(!fs::exists(container.rootfs().join("tmp/made")).expect("exists"));
            container.assert_gone();
        }
    });
}

/// A startContainer hook has the filter, but the agent is not informed about it.
#[test]
fn hooks_have_no_listener_of_their_own() {
    each_runtime(|runtime| {
        for no_new_privileges in [true, false] {
            let (mut container, socket) = container(runtime, no_new_privileges);
            let file = container.rootfs().join("hook");
            fs::write(&file, "#!/bin/sh\necho hook > /tmp/hook\n").expect("hook");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("chmod");
            container.spec["hooks"]["startContainer"] = json!([{"path": "/hook"}]);
            for detached in [false, true] {
                let _ = fs::remove_file(&socket);
                let agent = agent(&socket);
                if detached {
                    container.create_and_start().wait_for("after");
                } else {
                    assert!(container.run_ok().ends_with("after\n"));
                }
                // The agent goes after the first one: a second one would not have reached it.
                check(&container, &agent.join().expect("agent"));
                assert_eq!(fs::read_to_string(container.rootfs().join("tmp/hook")).expect("hook"), "hook\n");
                container.delete_force().ok();
                container.assert_gone();
            }
        }
    });
}

/// Calls of which the agent would be notified fail in a hook, as without a listener; what is forbidden stays
/// forbidden.
#[test]
fn hooks_have_the_filter() {
    pillbox_only(|runtime| {
        for no_new_privileges in [true, false] {
            let (mut container, socket) = container(runtime, no_new_privileges);
            let file = container.rootfs().join("hook");
            fs::write(&file, "#!/bin/sh\n(mkdir /tmp/by-hook; rmdir /tmp) > /tmp/said 2>&1; exit 0\n")
                .expect("hook");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("chmod");
            container.spec["hooks"]["startContainer"] = json!([{"path": "/hook"}]);
            let forbidden =
                json!({"names": ["rmdir", "unlinkat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1});
            container.spec["linux"]["seccomp"]["syscalls"].as_array_mut().expect("array").push(forbidden);
            let agent = agent(&socket);
            container.run_ok();
            check(&container, &agent.join().expect("agent"));
            let said = fs::read_to_string(container.rootfs().join("tmp/said")).expect("said");
            assert!(said.contains("Function not implemented") && said.contains("not permitted"), "{said}");
        }
    });
}

/// If the caller's filter has a listener already, the kernel allows no other one. Init reports what it wants
/// to hand over, and then that it could not: both reports arrive, and the container has not started.
#[test]
fn below_a_caller_with_a_listener_start_says_that_nothing_ran() {
    pillbox_only(|runtime| {
        let (inner, socket) = container(runtime, true);
        let _agent = UnixListener::bind(&socket).expect("bind");
        inner.write_spec();
        let (mut outer, outer_socket) = container(runtime, false);
        outer.spec["root"] = json!({"path": "/"});
        outer.spec["mounts"] = json!([]);
        outer.spec.as_object_mut().expect("spec").remove("hostname");
        outer.spec["linux"]["namespaces"] = json!([{"type": "mount"}]);
        for member in ["maskedPaths", "readonlyPaths", "devices"] {
            outer.spec["linux"].as_object_mut().expect("linux").remove(member);
        }
        outer.spec["linux"]["seccomp"]["syscalls"][0]["names"] = json!(["acct"]);
        let every = capabilities();
        for set in ["bounding", "effective", "permitted"] {
            outer.spec["process"]["capabilities"][set] = every.clone();
        }
        let words = |command: std::process::Command| {
            let program = std::iter::once(command.get_program().to_owned());
            let words = program.chain(command.get_args().map(ToOwned::to_owned));
            words.map(|word| format!("'{}'", word.to_str().expect("text"))).collect::<Vec<_>>().join(" ")
        };
        let script = format!(
            "for i in 1 2 3 4 5 6 7 8 9 10; do {} || exit; {}; echo start $?; {}; done",
            words(inner.bundle_command("create", &[])),
            words(inner.command(&["start", &inner.id])),
            words(inner.command(&["delete", "--force", &inner.id])),
        );
        outer.spec["process"]["args"] = json!(["/bin/sh", "-c", script]);
        let agent = agent(&outer_socket);
        let output = outer.run();
        assert_eq!(output.stdout, "start 1\n".repeat(10), "{output:?}");
        assert!(output.stderr.contains("linux.seccomp"), "{output:?}");
        drop(agent);
        inner.assert_gone();
        outer.assert_gone();
    });
}

fn capabilities() -> Value {
    let names = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP NET_ADMIN SYS_CHROOT \
        SYS_PTRACE SYS_ADMIN MKNOD SYS_NICE BPF PERFMON SETFCAP";
    names.split_whitespace().map(|name| Value::from(format!("CAP_{name}"))).collect()
}
