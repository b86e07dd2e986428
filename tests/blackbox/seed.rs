//! The seed namespace and its pin; and that no pinned namespace on the host, this one or another program's,
//! keeps a tree from being bound.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::{Container, each_runtime, each_runtime_but, pillbox_only, status_field};

/// All containers share what is below their roots, and with CAP_SYS_ADMIN a container can unmount its own.
#[test]
fn nothing_is_in_the_seed_and_nothing_fits() {
    pillbox_only(|runtime| {
        let container = Container::sh(runtime, "true");
        let script = "\"$@\"; exec nsenter --mount=/run/pillbox/.seed --no-fork true 2>&1 || true";
        let output = container.finish(&mut with_own_seed(script, &container.bundle_command("run", &[])));
        // There is not even a program to execute.
        assert!(output.stdout.contains("failed to execute true"), "{output:?}");
    });
}

/// Runs `script` with a /run/pillbox of its own; the runtime's call is `"$@"`.
fn with_own_seed(script: &str, call: &Command) -> Command {
    let mut command = Command::new("unshare");
    let prepare = "mkdir -p /run/pillbox; mount -t tmpfs -o mode=711 tmpfs /run/pillbox; ";
    command.args(["-m", "--propagation", "private", "sh", "-ec", &format!("{prepare}{script}"), "sh"]);
    command.arg(call.get_program()).args(call.get_args());
    command
}

const IS_PINNED: &str = "; grep -c '/run/pillbox/.seed .* - nsfs ' /proc/self/mountinfo";

/// Whatever is in the place of the pin: the container starts, and does not use it.
#[test]
fn a_pin_that_is_no_seed_is_not_used() {
    pillbox_only(|runtime| {
        let container = Container::sh(runtime, "echo ran; grep -c . /proc/self/mountinfo");
        let run = container.bundle_command("run", &[]);
        let usual = container.finish(&mut with_own_seed("\"$@\"", &run)).ok().stdout;
        assert!(usual.starts_with("ran\n"), "{usual}");
        for pin in [
            "touch /run/pillbox/.seed",
            "touch /run/pillbox/.seed; mount --bind /proc/self/ns/net /run/pillbox/.seed",
            "touch /run/pillbox/.seed; mount --bind /proc/self/ns/uts /run/pillbox/.seed",
            "ln -s /proc/1/ns/mnt /run/pillbox/.seed",
            "mkdir /run/pillbox/.seed",
            // A namespace with all of the host's mounts, if the kernel allows it to be pinned.
            "touch /run/pillbox/.seed; unshare -m sh -c 'kill -STOP $$' & sleep 0.2;
             mount --bind /proc/$!/ns/mnt /run/pillbox/.seed || true",
        ] {
            let output = container.finish(&mut with_own_seed(&format!("{pin}; \"$@\""), &run));
            assert_eq!((output.code, output.stdout.as_str()), (0, usual.as_str()), "{pin}: {output:?}");
        }
    });
}

/// Each CPU assigns ids of its own to namespaces (Linux 6.18), and no namespace can be pinned in one with a
/// higher id.
#[test]
fn the_seed_is_pinned_whatever_the_cpus() {
    pillbox_only(|runtime| {
        let status = fs::read_to_string("/proc/self/status").expect("status");
        let allowed = status_field(&status, "Cpus_allowed_list");
        let cpus: Vec<_> = allowed.split([',', '-']).take(4).collect();
        let container = Container::new(runtime);
        let run = container.bundle_command("run", &[]);
        for outer in &cpus {
            for inner in &cpus {
                let script =
                    format!("taskset -p -c {allowed} $$ >/dev/null; taskset -c {inner} \"$@\"{IS_PINNED}");
                let own = with_own_seed(&script, &run);
                let mut command = Command::new("taskset");
                command.args(["-c", outer]).arg(own.get_program()).args(own.get_args());
                let output = container.finish(&mut command).ok();
                assert_eq!(output.stdout, "1\n", "made on CPU {inner}, in a namespace of CPU {outer}");
            }
        }
    });
}

#[test]
fn check_changes_nothing() {
    pillbox_only(|runtime| {
        let container = Container::new(runtime);
        let check = container.command(&["check", "--format", "json"]);
        // What comes after the hyphen may change meanwhile, and mounts vanish here with the folders that other tests remove.
        let script =
            "mounts() { sed 's/ - .*//' /proc/self/mountinfo; }; below_run() { mounts | grep ' /run' | grep -v /pillbox-test/; }
            before=$(mounts); run_before=$(below_run); \"$@\"
            if mounts | grep -vxF \"$before\"; then exit 1; fi
            [ \"$run_before\" = \"$(below_run)\" ]; ls -A /run/pillbox";
        let output = container.finish(&mut with_own_seed(script, &check)).ok().stdout;
        let rows: Vec<serde_json::Value> = serde_json::from_str(&output).expect("nothing but JSON");
        let seed = rows.iter().find(|row| row["what"] == "seed mount namespace").expect("row");
        assert_eq!(seed["available"], "yes", "{seed}");
        // If it cannot be made, `check` says so without trying.
        let script = "chmod 777 /run/pillbox; \"$@\"; ls -A /run/pillbox";
        let output = container.finish(&mut with_own_seed(script, &check)).ok().stdout;
        let rows: Vec<serde_json::Value> = serde_json::from_str(&output).expect("nothing but JSON");
        let seed = rows.iter().find(|row| row["what"] == "seed mount namespace").expect("row");
        assert_eq!(seed["available"], "no", "{seed}");
    });
}

/// The first CPUs that this process may use, as arguments for taskset.
fn cpus() -> Vec<String> {
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let allowed = status_field(&status, "Cpus_allowed_list");
    allowed.split([',', '-']).take(4).map(String::from).collect()
}

/// Under systemd, /run is a shared mount, and the namespaces of its services get what is mounted there.
#[test]
fn the_seed_is_pinned_where_run_is_shared() {
    pillbox_only(|runtime| {
        let container = Container::new(runtime);
        let run = container.bundle_command("run", &[]);
        let service = "mount --make-shared /run/pillbox
            unshare -m --propagation slave sh -c 'echo; exec sleep 60' > /run/pillbox/ready & service=$!
            while [ ! -s /run/pillbox/ready ]; do sleep 0.01; done";
        let script = format!(
            "{service}; \"$@\"{IS_PINNED}; grep -c '/.seed .* - nsfs ' /proc/$service/mountinfo || true
             kill $service; umount /run/pillbox/.seed; umount /run/pillbox/.seed; rm /run/pillbox/.seed"
        );
        let output = container.finish(&mut with_own_seed(&script, &run)).ok();
        assert_eq!(output.stdout, "1\n0\n");
    });
}

/// A pin made by an older version is not in the way either.
#[test]
fn the_seed_is_in_no_tree_that_is_bound() {
    pillbox_only(|runtime| {
        let mut container = Container::sh(runtime, "ls -A /mnt");
        container.mount("bind", "/run/pillbox", "/mnt", &["rbind", "rslave"]);
        let run = container.bundle_command("run", &[]);
        let unbindable = "grep -c '/.seed rw unbindable - nsfs ' /proc/self/mountinfo";
        let on_each: String = cpus().iter().map(|cpu| format!("taskset -c {cpu} \"$@\"; ")).collect();
        let script = format!("{on_each}{unbindable}; mount --make-private /run/pillbox/.seed; {on_each}");
        let output = container.finish(&mut with_own_seed(&script, &run)).ok();
        let each = ".seed\n".repeat(cpus().len());
        assert_eq!(output.stdout, format!("{each}1\n{each}"));
    });
}

/// Without the right to chroot no mount namespace can be entered: then none is made, and no process gets
/// stuck in one.
#[test]
fn the_seed_is_not_made_without_the_right_to_enter_it() {
    pillbox_only(|runtime| {
        let container = Container::sh(runtime, "echo ran");
        let run = container.bundle_command("run", &[]);
        let script = "setpriv --bounding-set=-sys_chroot \"$@\"; ls -A /run/pillbox";
        let output = container.finish(&mut with_own_seed(script, &run)).ok();
        assert_eq!(output.stdout, "ran\n");
    });
}

/// A tree on the host in which a mount namespace is pinned, as snapd does below /run; its id is assigned by
/// `cpu`, if possible.
fn tree_with_a_pin(container: &Container, cpu: &str) -> std::path::PathBuf {
    let tree = container.folder.join("tree");
    fs::create_dir_all(tree.join("below")).expect("folder");
    fs::write(tree.join("file"), "of the host\n").expect("file");
    fs::write(tree.join("pin"), "").expect("file");
    let script = "mount -t tmpfs none \"$1/below\"; echo deep > \"$1/below/file\"
        tree=$1; shift; for cpu; do taskset -c $cpu unshare --mount=\"$tree/pin\" true && exit; done; exit 1";
    let mut make = Command::new("sh");
    make.args(["-ec", script, "sh"]).arg(&tree).arg(cpu).args(cpus());
    let made = make.output().expect("sh");
    assert!(made.status.success(), "{made:?}");
    tree
}

#[test]
fn a_tree_with_pinned_namespaces_is_bound_without_them() {
    each_runtime(|runtime| {
        for pinned in cpus() {
            let script = "cat /mnt/file /mnt/below/file";
            let mut container = Container::sh(runtime, script);
            let tree = tree_with_a_pin(&container, &pinned);
            container.mount("bind", &tree, "/mnt", &["rbind", "ro"]);
            // Like a monitor's /:/host beside a volume.
            container.mount("tmpfs", "tmpfs", "/tmp", &[]).mount("bind", &tree, "/mnt2", &["rbind"]);
            for runs in cpus() {
                let mut command = Command::new("taskset");
                let run = container.bundle_command("run", &[]);
                command.args(["-c", &runs]).arg(run.get_program()).args(run.get_args());
                let output = container.finish(command.env_remove("XDG_RUNTIME_DIR"));
                assert_eq!(
                    (output.stdout.as_str(), output.stderr.as_str()),
                    ("of the host\ndeep\n", ""),
                    "pinned on CPU {pinned}, run on {runs}: {output:?}"
                );
            }
        }
    });
}

/// As a root, in a user namespace, and beside a network namespace that arrives meanwhile.
#[test]
fn the_root_may_have_pinned_namespaces_below() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "ls /pins");
        let tree = tree_with_a_pin(&container, "0");
        let pins = container.rootfs().join("pins");
        fs::create_dir(&pins).expect("folder");
        let status = Command::new("mount").arg("--rbind").args([&tree, &pins]).status().expect("mount");
        assert!(status.success());
        container.with_namespace("network", None);
        assert_eq!(container.run_ok(), "below\nfile\npin\n");
        container.in_user_namespace().mount("bind", &tree, "/mnt", &["rbind"]);
        assert_eq!(container.run_ok(), "below\nfile\npin\n");
    });
}

#[test]
fn a_tree_with_pinned_namespaces_can_be_added() {
    each_runtime_but(
        &[("runc", "has no such command"), ("crun", "clones the tree with its pins")],
        |runtime| {
            let container = Container::sleeping(runtime);
            container.create_and_start().wait_for("ready");
            let tree = tree_with_a_pin(&container, "0");
            let file = container.folder.join("mounts.json");
            let add = |path: &Path, destination: &str| {
                let list = json!([{"destination": destination, "type": "bind", "source": path, "options": ["rbind"]}]);
                fs::write(&file, list.to_string()).expect("list");
                container.call(&["mounts", "add", &container.id, file.to_str().expect("path")])
            };
            add(&tree, "/data").ok();
            let look = ["exec", &container.id, "/bin/sh", "-c", "cat /data/below/file"];
            assert_eq!(container.call(&look).ok().stdout, "deep\n");
        },
    );
}
