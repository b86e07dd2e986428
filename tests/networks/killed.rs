//! Commands that are killed at any moment, and many at once.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::connected::{Connected, bridged};
use crate::harness::{Output, wait_for};
use crate::host::on_a_host;
use crate::inventory::Inventory;

/// How often each command is killed.
const TIMES: u32 = 100;

/// How many containers are made at once.
const CROWD: usize = 100;

/// Moments that are spread over a command's duration, always the same: multiples of the golden section.
fn moment(round: u32, duration: Duration) -> Duration {
    let part = (f64::from(round) * 0.618_033_988_75).fract();
    duration.mul_f64(part * 1.2)
}

/// Waits without giving the processor away, which would make all moments late.
fn spin(duration: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < duration {
        std::hint::spin_loop();
    }
}

/// Starts a command, and kills it at that moment; whether it had not ended yet.
fn is_killed(command: &mut Command, moment: Duration) -> bool {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("pillbox");
    spin(moment);
    child.kill().expect("kill");
    child.wait().expect("wait").signal().is_some()
}

/// How long a command takes at least.
fn duration(mut command: impl FnMut() -> Duration) -> Duration {
    (0..5).map(|_| command()).min().expect("a duration")
}

fn timed(command: impl FnOnce() -> Output) -> Duration {
    let begun = Instant::now();
    command().ok();
    begun.elapsed()
}

/// Asserts that after `delete --force` there is what there was before the container.
#[track_caller]
fn assert_undone(container: &Connected<'_>, before: &Inventory, how: &str) {
    let output = container.delete_force();
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{how}");
    container.assert_gone();
    before.is_back();
}

#[test]
fn a_killed_create_leaves_nothing_that_delete_does_not_find() {
    on_a_host(|host| {
        let container = Connected::new(host, &bridged(&["8080:80", "127.0.0.1:8081:81/udp", "82"]));
        let duration = duration(|| {
            let duration = timed(|| container.create());
            container.delete_force().ok();
            duration
        });
        wait_for("links that go", || (container_links() == 0).then_some(()));
        let before = Inventory::take();
        let mut killed = 0;
        for round in 0..TIMES {
            let moment = moment(round, duration);
            killed += u32::from(is_killed(&mut container.bundle_command("create", &[]), moment));
            assert_undone(&container, &before, &format!("create, killed after {moment:?}"));
        }
        assert!(killed > TIMES / 4, "only {killed} were killed before they had ended");
        // And it can be made.
        container.create().ok();
        container.delete_force().ok();
    });
}

#[test]
fn a_killed_delete_leaves_nothing_that_the_next_one_does_not_find() {
    on_a_host(|host| {
        let container = Connected::new(host, &bridged(&["8080:80", "127.0.0.1:8081:81/udp", "82"]));
        let duration = duration(|| {
            container.create().ok();
            timed(|| container.delete_force())
        });
        wait_for("links that go", || (container_links() == 0).then_some(()));
        let before = Inventory::take();
        let mut killed = 0;
        for round in 0..TIMES {
            let moment = moment(round, duration);
            container.create().ok();
            killed +=
                u32::from(is_killed(&mut container.command(&["delete", "--force", &container.id]), moment));
            assert_undone(&container, &before, &format!("delete, killed after {moment:?}"));
        }
        assert!(killed > TIMES / 4, "only {killed} were killed before they had ended");
    });
}

/// How many ends of containers' links there are.
fn container_links() -> usize {
    Inventory::take().links.iter().filter(|link| link.starts_with("veth")).count()
}

#[test]
fn a_crowd_of_containers_has_as_many_addresses() {
    on_a_host(|host| {
        let mut container = Connected::new(host, &bridged(&["80", "80/udp"]));
        // They share the bundle, but no cgroup.
        container.spec()["linux"].as_object_mut().expect("linux").remove("cgroupsPath");
        container.write_spec();
        Connected::started(host, &bridged(&[])).remove();
        let before = Inventory::take();
        let ids: Vec<String> = (0..CROWD).map(|number| format!("crowd-{number}")).collect();
        let bundle = container.bundle();
        let all = |arguments: &[&str]| {
            let started: Vec<(Child, PathBuf)> = ids
                .iter()
                .map(|id| {
                    // Not a pipe: the container keeps it.
                    let said = container.folder.join("output").join(id);
                    let mut command = container.command(arguments);
                    command.arg(id).stdout(Stdio::null()).stderr(File::create(&said).expect("a file"));
                    (command.spawn().expect("pillbox"), said)
                })
                .collect();
            for (mut child, said) in started {
                let status = child.wait().expect("wait");
                let said = fs::read_to_string(said).expect("a file");
                assert_eq!((status.code(), said.as_str()), (Some(0), ""), "{arguments:?}");
            }
        };
        all(&["create", "--bundle", bundle.to_str().expect("a path")]);
        let listed = container.call(&["list", "--format", "json"]).ok().stdout;
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        let mut addresses = BTreeSet::new();
        let mut ports = BTreeSet::new();
        for listed in listed.as_array().expect("a list") {
            let network = &listed["network"][0];
            let strings = |member: &str| {
                network[member].as_array().expect("a list").iter().map(Value::to_string).collect::<Vec<_>>()
            };
            addresses.extend(strings("addresses"));
            ports.extend(strings("ports"));
        }
        assert_eq!((addresses.len(), ports.len()), (2 * CROWD, 2 * CROWD), "{addresses:?} {ports:?}");
        assert_eq!(container_links(), CROWD);
        all(&["delete", "--force"]);
        before.is_back();
    });
}
