//! The process: identity, capabilities, limits, environment, working folder, seccomp.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{
    Container, Runtime, all_processors_of_the_cgroup, each_runtime, each_runtime_but, pillbox_only, skip,
    status_field,
};

/// The container's /proc/self/status, printed by the command that this sets.
#[track_caller]
fn status_of(container: &mut Container) -> String {
    container.spec["process"]["args"] = json!(["/bin/cat", "/proc/self/status"]);
    container.run_ok()
}

fn capability_sets(status: &str) -> [String; 5] {
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|name| status_field(status, name))
}

#[test]
fn five_capability_sets() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        container.spec["process"]["capabilities"] = json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
            "effective": ["CAP_CHOWN"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]
        });
        // For a user other than root, execve leaves the sets as in config.json, except what isn't ambient.
        container.spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        let sets = capability_sets(&status_of(&mut container));
        assert_eq!(
            sets.map(|set| u64::from_str_radix(&set, 16).expect("hex")),
            [1 << 5, 1 << 5, 1 << 5, 0x2021, 1 << 5]
        );
    });
}

/// Whatever processors the runtime may use, and whatever it does about that while it makes a container.
/// Several times, because it is a race.
#[test]
fn all_processors() {
    let allowed = all_processors_of_the_cgroup();
    let first = allowed.split([',', '-']).next().expect("a CPU").to_string();
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        for _ in 0..20 {
            assert_eq!(status_field(&status_of(&mut container), "Cpus_allowed_list"), allowed);
        }
        let own = container.bundle_command("run", &[]);
        let mut command = Command::new("taskset");
        command.args(["-c", &first]).arg(own.get_program()).args(own.get_args());
        let output = container.finish(&mut command).ok().stdout;
        assert_eq!(status_field(&output, "Cpus_allowed_list"), allowed);
    });
}

/// CVE-2022-29162: nothing is inheritable or ambient unless it is asked for.
#[test]
fn root_has_its_bounding_set() {
    each_runtime(|runtime| {
        let sets = capability_sets(&status_of(&mut Container::new(runtime)));
        let set = (1u64 << 29) | (1 << 5) | (1 << 10);
        assert_eq!(sets.map(|set| u64::from_str_radix(&set, 16).expect("hex")), [0, set, set, set, 0]);
    });
}

#[test]
fn without_capabilities_there_are_none() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        container.spec["process"]["capabilities"] = json!({});
        let sets = capability_sets(&status_of(&mut container));
        assert!(sets.iter().all(|set| set == "0000000000000000"), "{sets:?}");
    });
}

#[test]
fn a_user_has_no_capabilities_by_default() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        container.spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        let [inheritable, permitted, effective, _, ambient] = capability_sets(&status_of(&mut container));
        assert!([inheritable, permitted, effective, ambient].iter().all(|set| set == "0000000000000000"));
    });
}

#[test]
fn an_unknown_capability_is_a_warning() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "echo ran");
        container.spec["process"]["capabilities"]["bounding"]
            .as_array_mut()
            .expect("set")
            .push(json!("CAP_NONESUCH"));
        let output = container.run();
        assert_eq!((output.code, output.stdout.as_str()), (0, "ran\n"), "{output:?}");
    });
}

#[test]
fn no_new_privileges() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        assert_eq!(status_field(&status_of(&mut container), "NoNewPrivs"), "1");
        container.spec["process"]["noNewPrivileges"] = json!(false);
        assert_eq!(status_field(&status_of(&mut container), "NoNewPrivs"), "0");
    });
}

#[test]
fn user_group_and_additional_groups() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        container.spec["process"]["user"] = json!({"uid": 4_294_967_293u32, "gid": 43, "additionalGids": [4, 5, 4_294_967_293u32], "umask": 0o27});
        let status = status_of(&mut container);
        assert_eq!(status_field(&status, "Uid"), ["4294967293"; 4].join("\t"));
        assert_eq!(status_field(&status, "Gid"), ["43"; 4].join("\t"));
        let mut groups: Vec<u32> =
            status_field(&status, "Groups").split(' ').map(|group| group.parse().expect("gid")).collect();
        groups.sort();
        assert_eq!(groups, [4, 5, 4_294_967_293]);
        assert_eq!(status_field(&status, "Umask"), "0027");
    });
}

#[test]
fn the_callers_groups_are_dropped() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        container.spec["process"]["args"] = json!(["/bin/cat", "/proc/self/status"]);
        let inner = container.bundle_command("run", &[]);
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--groups", "77,78"]).arg(inner.get_program()).args(inner.get_args());
        let status = container.finish(&mut setpriv).ok().stdout;
        assert_eq!(status_field(&status, "Groups"), "");
    });
}

#[test]
fn an_annotation_keeps_the_callers_groups() {
    each_runtime_but(&[("runc", "does not know this annotation of crun's")], |runtime| {
        for (value, groups) in [("1", "77 78"), ("0", "")] {
            let mut container = Container::new(runtime);
            container.spec["process"]["args"] = json!(["/bin/cat", "/proc/self/status"]);
            container.spec["annotations"] = json!({"run.oci.keep_original_groups": value});
            let inner = container.bundle_command("run", &[]);
            let mut setpriv = Command::new("setpriv");
            setpriv.args(["--groups", "77,78"]).arg(inner.get_program()).args(inner.get_args());
            let status = container.finish(&mut setpriv).ok().stdout;
            assert_eq!(status_field(&status, "Groups"), groups);
        }
    });
}

#[test]
fn the_umask_is_0022_by_default() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        container.spec["process"]["args"] = json!(["/bin/cat", "/proc/self/status"]);
        let inner = container.bundle_command("run", &[]);
        let mut shell = Command::new("bash");
        shell.args(["-c", "umask 0077; exec \"$@\"", "bash"]).arg(inner.get_program()).args(inner.get_args());
        assert_eq!(status_field(&container.finish(&mut shell).ok().stdout, "Umask"), "0022");
    });
}

#[test]
fn resource_limits() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        container.spec["process"]["args"] = json!(["/bin/cat", "/proc/self/limits"]);
        container.spec["process"]["rlimits"] = json!([
            {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_FSIZE", "soft": 1_000_000_000_000u64, "hard": 1_000_000_000_001u64}
        ]);
        let limits = container.run_ok();
        let limit = |name: &str| {
            let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect("limit");
            line.split_whitespace().take(2).map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(limit("Max open files"), ["100", "200"]);
        assert_eq!(limit("Max core file size"), ["0", "0"]);
        assert_eq!(limit("Max file size"), ["1000000000000", "1000000000001"]);
    });
}

/// For users other than root, access(2) ignores capabilities; execve(2) does not.
#[test]
fn a_capability_opens_a_file_to_be_executed() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        let folder = container.rootfs().join("private");
        fs::create_dir(&folder).expect("folder");
        fs::copy(container.rootfs().join("bin/busybox"), folder.join("echo")).expect("copy");
        for path in [&folder.join("echo"), &folder] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("chmod");
        }
        let user = json!({"uid": 1000, "gid": 1000});
        container.spec["process"]["user"] = user;
        container.spec["process"]["env"] = json!(["PATH=/private:/bin"]);
        for word in ["/private/echo", "echo"] {
            container.spec["process"]["args"] = json!([word, "done"]);
            let sets = ["bounding", "effective", "permitted", "inheritable", "ambient"];
            for set in sets {
                container.spec["process"]["capabilities"][set] = json!(["CAP_DAC_OVERRIDE"]);
            }
            assert_eq!(container.run_ok(), "done\n", "{word}");
        }
        container.spec["process"]["args"] = json!(["/private/echo"]);
        container.spec["process"]["capabilities"] = json!({});
        container.run().fails_with("");
    });
}

#[test]
fn a_niceness_that_the_policy_does_not_look_at() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "cut -d' ' -f41 /proc/self/stat");
        container.spec["process"]["scheduler"] = json!({"policy": "SCHED_IDLE", "nice": 25});
        assert_eq!(container.run_ok(), "5\n");
    });
}

#[test]
fn an_unknown_or_repeated_limit_is_an_error() {
    let peers = [("crun", "leaves the cgroup behind"), ("runc", "takes the last of repeated ones")];
    each_runtime_but(&peers, |runtime| {
        let nofile = json!({"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64});
        for (limits, named) in [
            (json!([{"type": "RLIMIT_NONESUCH", "soft": 1, "hard": 1}]), "RLIMIT_NONESUCH"),
            (json!([nofile, nofile]), "RLIMIT_NOFILE"),
        ] {
            let mut container = Container::new(runtime);
            container.spec["process"]["rlimits"] = limits;
            container.run().fails_with(named);
            container.assert_gone();
        }
    });
}

#[test]
fn the_oom_score_adjustment() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "cat /proc/self/oom_score_adj");
        container.spec["process"]["oomScoreAdj"] = json!(123);
        assert_eq!(container.run_ok(), "123\n");
        container.spec["process"].as_object_mut().expect("process").remove("oomScoreAdj");
        let own = fs::read_to_string("/proc/self/oom_score_adj").expect("own");
        assert_eq!(container.run_ok(), own);
    });
}

#[test]
fn the_environment_is_the_configs() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        container.spec["process"]["args"] = json!(["/bin/env"]);
        container.spec["process"]["env"] =
            json!(["PATH=/bin", "A=a b\n c=\u{e9}\u{1f4e6}", "EMPTY=", "HOME=/given"]);
        let mut run = container.bundle_command("run", &[]);
        let output = container.finish(run.env("LEAKED", "1")).ok().stdout;
        assert_eq!(output, "PATH=/bin\nA=a b\n c=\u{e9}\u{1f4e6}\nEMPTY=\nHOME=/given\n");
    });
}

#[test]
fn home_comes_from_passwd() {
    each_runtime(|runtime| {
        for (uid, home) in [(0, "/root"), (1000, "/home/user"), (4242, "/")] {
            let mut container = Container::sh(runtime, "echo $HOME");
            container.spec["process"]["user"] = json!({"uid": uid, "gid": 0});
            assert_eq!(container.run_ok(), format!("{home}\n"), "uid {uid}");
        }
    });
}

#[test]
fn home_without_passwd_is_the_root_folder() {
    each_runtime(|runtime| {
        let container = Container::sh(runtime, "echo $HOME");
        fs::remove_file(container.rootfs().join("etc/passwd")).expect("passwd");
        assert_eq!(container.run_ok(), "/\n");
    });
}

#[test]
fn the_command_is_found_along_the_containers_path() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        fs::create_dir_all(container.rootfs().join("only/here")).expect("folder");
        fs::hard_link(container.rootfs().join("bin/busybox"), container.rootfs().join("only/here/echo"))
            .expect("link");
        container.spec["process"]["env"] = json!(["PATH=/nonesuch:/only/here"]);
        container.spec["process"]["args"] = json!(["echo", "a b", "", "c\u{e9}\"\\\n"]);
        assert_eq!(container.run_ok(), "a b  c\u{e9}\"\\\n\n");
    });
}

#[test]
fn the_working_folder() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "pwd; stat -c %u:%a .");
        container.spec["process"]["cwd"] = json!("/made/if/missing");
        assert_eq!(container.run_ok().lines().next(), Some("/made/if/missing"));
        container.spec["process"]["cwd"] = json!("/etc");
        assert_eq!(container.run_ok(), "/etc\n0:755\n");
    });
}

#[test]
fn a_working_folder_that_only_the_user_may_enter() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "pwd");
        let home = container.rootfs().join("private");
        fs::create_dir(&home).expect("folder");
        fs::set_permissions(&home, PermissionsExt::from_mode(0o700)).expect("chmod");
        std::os::unix::fs::chown(&home, Some(1000), Some(1000)).expect("chown");
        container.spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        container.spec["process"]["capabilities"] = json!({});
        container.spec["process"]["cwd"] = json!("/private");
        assert_eq!(container.run_ok(), "/private\n");
    });
}

/// CVE-2024-21626; `security.rs` tries them all.
#[test]
fn a_working_folder_is_never_outside() {
    each_runtime(|runtime| {
        for descriptor in [3, 7, 9] {
            let mut container = Container::sh(runtime, "pwd; ls -d ../../../run/pillbox-test");
            container.spec["process"]["cwd"] = json!(format!("/proc/self/fd/{descriptor}"));
            let inner = container.bundle_command("run", &[]);
            let mut shell = Command::new("bash");
            shell
                .args(["-c", "exec \"$@\" 3</ 7</ 9</", "bash"])
                .arg(inner.get_program())
                .args(inner.get_args());
            let output = container.finish(&mut shell);
            assert!(output.code != 0 && !output.stdout.contains("pillbox-test"), "{output:?}");
        }
    });
}

/// A filter that allows everything except what `rules` say.
fn filter(rules: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "syscalls": rules})
}

#[test]
fn seccomp_returns_the_errno_asked_for() {
    if !cfg!(target_arch = "x86_64") {
        return skip("the filter is written for x86_64");
    }
    each_runtime(|runtime| {
        let script = "mkdir /tmp/a 2>&1; hostname x 2>&1; cat /proc/self/status";
        for privileges in [true, false] {
            let mut container = Container::sh(runtime, script);
            container.spec["process"]["noNewPrivileges"] = json!(privileges);
            container.spec["linux"]["seccomp"] = filter(json!([
                {"names": ["mkdir", "mkdirat", "nonesuch"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
                {"names": ["sethostname"], "action": "SCMP_ACT_ERRNO"}
            ]));
            let output = container.run_ok();
            assert!(output.contains("No space left on device"), "{output}");
            assert!(output.contains("sethostname: Operation not permitted"), "{output}");
            assert_eq!(status_field(&output, "Seccomp"), "2");
        }
    });
}

#[test]
fn an_annotation_makes_unknown_system_calls_an_error() {
    each_runtime_but(&[("runc", "does not know this annotation of crun's")], |runtime| {
        let mut container = Container::new(runtime);
        container.spec["linux"]["seccomp"] =
            filter(json!([{"names": ["mkdir", "no_such_call"], "action": "SCMP_ACT_ERRNO"}]));
        container.run_ok();
        container.spec["annotations"] = json!({"run.oci.seccomp_fail_unknown_syscall": "1"});
        container.run().fails_with("no_such_call");
        container.assert_gone();
    });
}

#[test]
fn seccomp_looks_at_arguments() {
    if !cfg!(target_arch = "x86_64") {
        return skip("the filter is written for x86_64");
    }
    each_runtime(|runtime| {
        // kill(2) with signal 10 is refused, but with no other.
        let mut container = Container::sh(runtime, "kill -10 $$ 2>&1; kill -0 $$ && echo zero");
        container.spec["linux"]["seccomp"] = filter(json!([{
            "names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28,
            "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}]
        }]));
        let output = container.run_ok();
        assert!(output.contains("No space left on device") && output.ends_with("zero\n"), "{output}");
    });
}

/// Even exit_group(2).
#[test]
fn a_filter_that_forbids_everything_ends_what_comes_to_it() {
    each_runtime(|runtime| {
        for no_new_privileges in [false, true] {
            let mut container = Container::sh(runtime, "echo ran");
            container.spec["process"]["noNewPrivileges"] = json!(no_new_privileges);
            container.spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ERRNO"});
            let output = container.run();
            assert!(output.code > 0 && output.stdout.is_empty(), "{output:?}");
            if runtime.is("pillbox") && !no_new_privileges {
                output.fails_with("init ended during the set-up: it was killed by signal");
            }
            container.assert_gone();
        }
    });
}

#[test]
fn seccomp_kills() {
    if !cfg!(target_arch = "x86_64") {
        return skip("the filter is written for x86_64");
    }
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "(mkdir /tmp/a); echo $?");
        container.spec["linux"]["seccomp"] =
            filter(json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]));
        assert_eq!(container.run().stdout.lines().last(), Some("159"));
    });
}

#[test]
fn the_command_leads_a_session() {
    each_runtime(|runtime| {
        // Fields 5 and 6 of /proc/self/stat: process group and session.
        let output = Container::sh(runtime, "cut -d' ' -f5,6 /proc/1/stat").run_ok();
        assert_eq!(output, "1 1\n");
    });
}

/// Fields 40 and 41 of /proc/PID/stat, realtime priority and policy, of the container's process.
#[track_caller]
fn scheduling(runtime: &Runtime, scheduler: Value) -> [u32; 2] {
    let mut container = Container::new(runtime);
    container.spec["process"]["args"] = json!(["/bin/cat", "/proc/self/stat"]);
    container.spec["process"]["scheduler"] = scheduler;
    let stat = container.run_ok();
    let fields: Vec<_> = stat.split_whitespace().collect();
    [fields[39], fields[40]].map(|field| field.parse().expect("number"))
}

#[test]
fn realtime_and_idle_scheduling() {
    each_runtime(|runtime| {
        let flags = json!(["SCHED_FLAG_RESET_ON_FORK"]);
        let fifo = json!({"policy": "SCHED_FIFO", "priority": 7, "flags": flags});
        assert_eq!(scheduling(runtime, fifo), [7, 1]);
        assert_eq!(scheduling(runtime, json!({"policy": "SCHED_RR", "priority": 1})), [1, 2]);
        assert_eq!(scheduling(runtime, json!({"policy": "SCHED_IDLE"})), [0, 5]);
        let deadline = json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 9_000_000, "period": 9_000_000});
        assert_eq!(scheduling(runtime, deadline), [0, 6]);
    });
}

#[test]
fn io_priorities() {
    each_runtime(|runtime| {
        for (class, priority, shown) in [
            ("IOPRIO_CLASS_BE", 6, "best-effort: prio 6\n"),
            ("IOPRIO_CLASS_RT", 2, "realtime: prio 2\n"),
            ("IOPRIO_CLASS_IDLE", 0, "idle"),
        ] {
            let mut container = Container::sh(runtime, "ionice");
            container.spec["process"]["ioPriority"] = json!({"class": class, "priority": priority});
            assert!(container.run_ok().starts_with(shown), "{class}");
        }
        // This class has no levels.
        let mut container = Container::sh(runtime, "ionice");
        container.spec["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE"});
        assert!(container.run_ok().starts_with("idle"));
    });
}

#[test]
fn personalities() {
    if !cfg!(target_arch = "x86_64") {
        return skip("the names are those of x86_64");
    }
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "uname -m");
        container.spec["linux"]["personality"] = json!({"domain": "LINUX32"});
        assert_eq!(container.run_ok(), "i686\n");
        container.spec["linux"]["personality"] = json!({"domain": "LINUX"});
        assert_eq!(container.run_ok(), "x86_64\n");
    });
}

#[test]
fn memory_policies() {
    if !fs::exists("/proc/self/numa_maps").expect("/proc") {
        return skip("this kernel knows of no memory nodes");
    }
    each_runtime_but(&[("runc", "has it since 1.4 only")], |runtime| {
        for (policy, shown) in [
            (json!({"mode": "MPOL_BIND", "nodes": "0"}), "bind:0"),
            (
                json!({"mode": "MPOL_INTERLEAVE", "nodes": "0-0", "flags": ["MPOL_F_STATIC_NODES"]}),
                "interleave=static:0",
            ),
            (json!({"mode": "MPOL_PREFERRED", "nodes": "0"}), "prefer:0"),
            (json!({"mode": "MPOL_LOCAL"}), "local"),
            (json!({"mode": "MPOL_DEFAULT"}), "default"),
        ] {
            let mut container = Container::sh(runtime, "cut -d' ' -f2 /proc/self/numa_maps");
            container.spec["linux"]["memoryPolicy"] = policy;
            assert_eq!(container.run_ok().lines().next(), Some(shown));
        }
    });
}

#[test]
fn a_memory_node_that_is_not_there_is_an_error() {
    if !fs::exists("/proc/self/numa_maps").expect("/proc") {
        return skip("this kernel knows of no memory nodes");
    }
    pillbox_only(|runtime| {
        let mut container = Container::new(runtime);
        container.spec["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "63"});
        container.run().fails_with("linux.memoryPolicy: nodes 63");
        container.assert_gone();
    });
}

#[test]
fn scheduling_without_the_right_is_an_error() {
    pillbox_only(|runtime| {
        let mut container = Container::new(runtime);
        container.spec["process"]["scheduler"] = json!({"policy": "SCHED_FIFO", "priority": 7});
        let inner = container.bundle_command("run", &[]);
        let mut setpriv = Command::new("setpriv");
        setpriv.arg("--bounding-set=-sys_nice").arg(inner.get_program()).args(inner.get_args());
        container.finish(&mut setpriv).fails_with("process.scheduler: SCHED_FIFO").fails_with("CAP_SYS_NICE");
        container.assert_gone();
    });
}

/// As in crun. A refusal by an active module is an error, which cases in the guest show.
#[test]
fn labels_of_absent_security_modules_are_warnings() {
    if fs::exists("/sys/module/apparmor").expect("/sys") || fs::exists("/sys/fs/selinux").expect("/sys") {
        return skip("this kernel has AppArmor or SELinux");
    }
    pillbox_only(|runtime| {
        for (pointer, label) in [
            ("/process/apparmorProfile", "no-such-profile"),
            ("/process/selinuxLabel", "system_u:system_r:container_t:s0"),
            ("/linux/mountLabel", "system_u:object_r:container_file_t:s0:c1,c2"),
        ] {
            let mut container = Container::sh(runtime, "echo ran");
            let (object, field) = pointer[1..].split_once('/').expect("pointer");
            container.spec[object][field] = json!(label);
            let warning = format!("{object}.{field}: {label:?}: this kernel has no ");
            container.write_spec();
            // The container is less confined than was asked for: the log says so without `--debug`.
            let log = container.folder.join("log");
            let mut command = container.command(&["--log-level", "warning", "--log"]);
            command.arg(&log).args(["run", "--bundle"]).arg(container.bundle()).arg(&container.id);
            let output = container.finish(&mut command);
            assert!(output.code == 0 && output.stderr.contains(&warning), "{output:?}");
            assert!(fs::read_to_string(&log).expect("log").contains(&warning));
            let output = container.finish(&mut container.explain(&[])).ok();
            assert!(output.stdout.contains(&format!("warning: {warning}")), "{output:?}");
            // An invalid label is still an error.
            container.spec[object][field] = json!("a\0");
            container.run().fails_with(field).fails_with("NUL");
            container.assert_gone();
        }
        let mut container = Container::sh(runtime, "echo ran");
        container.spec["process"]["apparmorProfile"] = json!("unconfined");
        assert_eq!(container.run_ok(), "ran\n");
    });
}

#[test]
fn scheduling_classes() {
    each_runtime(|runtime| {
        let mut container =
            Container::sh(runtime, "grep -E '^policy' /proc/self/sched; cut -d' ' -f19,41 /proc/self/stat");
        container.spec["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5});
        assert!(container.run_ok().ends_with("5 3\n"));
    });
}
