//! Health checks: by the monitor, one after the other. As root and as an ordinary user.

use crate::harness::{Room, wait_for};
use crate::rootless::{USER, WITHOUT_RANGES, room as room_of};

fn rooms() -> Vec<Room> {
    let rooms = [Room::new(), room_of(USER), room_of(WITHOUT_RANGES)];
    let rooms: Vec<Room> = rooms.into_iter().flatten().collect();
    rooms.iter().for_each(Room::give_rootfs);
    rooms
}

fn run(room: &Room, flags: &[&str], script: &str) {
    let fixed = ["run", "-d", "--network", "none", "--name", "cc", "--health-interval", "60ms"];
    room.call(&[&fixed[..], flags, &["./rootfs", "sh", "-c", script]].concat()).exits(0);
}

fn health(room: &Room) -> String {
    room.call(&["inspect", "-f", "{{.State.Health.Status}}", "cc"]).ok().trim().to_string()
}

#[test]
fn a_container_becomes_healthy_and_unhealthy() {
    for room in rooms() {
        run(&room, &["--health-cmd", "echo looked; test -e /well", "--health-retries", "2"], "sleep 1000");
        assert!(["starting", "unhealthy"].contains(&&*health(&room)));
        wait_for("failures", || health(&room) == "unhealthy");
        assert!(room.call(&["ps"]).ok().contains("(unhealthy)"));
        room.call(&["exec", "cc", "touch", "/well"]).ok();
        wait_for("success", || health(&room) == "healthy");
        assert!(room.call(&["ps", "--format", "{{.Status}}"]).ok().ends_with(" (healthy)\n"));
        let log = room.call(&["inspect", "-f", "{{json .State.Health.Log}}", "cc"]).ok();
        assert!(log.contains("\"Output\":\"looked\\n\"") && log.contains("\"ExitCode\":0"), "{log}");
        let told = room.call(&["events", "--since", "1m", "--until", "0s", "-f", "event=health_status"]).ok();
        let told: Vec<&str> = told.lines().map(|line| line.split(' ').nth(3).expect("status")).collect();
        assert_eq!(told, ["unhealthy", "healthy"]);
        // One that is stopped has no health, and starts anew.
        room.call(&["stop", "-t", "0", "cc"]).ok();
        assert!(!room.call(&["ps", "-a"]).ok().contains("healthy"));
        room.call(&["rm", "cc"]).ok();
        room.assert_gone();
    }
}

#[test]
fn failures_while_it_starts_do_not_count() {
    let Some(room) = Room::new() else { return };
    let flags = [
        "--health-cmd",
        "test -e /well",
        "--health-retries",
        "1",
        "--health-start-period",
        "60s",
        "--health-start-interval",
        "30ms",
    ];
    run(&room, &flags, "sleep 0.5; touch /well; sleep 1000");
    let looks =
        || room.call(&["inspect", "-f", "{{json .State.Health.Log}}", "cc"]).ok().matches("ExitCode").count();
    wait_for("looks", || looks() >= 3);
    assert_eq!(health(&room), "starting");
    wait_for("success", || health(&room) == "healthy");
    room.call(&["rm", "-f", "cc"]).ok();
    room.assert_gone();
}

#[test]
fn a_look_that_takes_too_long_is_ended() {
    let Some(room) = Room::new() else { return };
    run(
        &room,
        &["--health-cmd", "echo begun; sleep 1000", "--health-timeout", "200ms", "--health-retries", "1"],
        "sleep 1000",
    );
    wait_for("the time limit", || health(&room) == "unhealthy");
    let log = room.call(&["inspect", "-f", "{{json .State.Health.Log}}", "cc"]).ok();
    assert!(log.contains("it took longer than 0.2 s\\nbegun") && log.contains("\"ExitCode\":-1"), "{log}");
    // With the container the look ends.
    room.call(&["stop", "-t", "0", "cc"]).ok();
    room.call(&["rm", "cc"]).ok();
    room.assert_gone();
}

#[test]
fn looks_do_not_overlap() {
    let Some(room) = Room::new() else { return };
    let look = "mkdir /busy || echo overlap >>/faults; sleep 0.2; rmdir /busy; echo x >>/looks";
    run(&room, &["--health-cmd", look], "sleep 1000");
    wait_for("looks", || {
        room.call(&["exec", "cc", "sh", "-c", "wc -l </looks"]).stdout.trim().parse().unwrap_or(0) >= 4
    });
    room.call(&["exec", "cc", "stat", "/faults"]).exits(1);
    room.call(&["rm", "-f", "cc"]).ok();
    room.assert_gone();
}

#[test]
fn who_looks_is_chosen() {
    let Some(room) = Room::new() else { return };
    room.tar("rootfs.tar");
    room.call(&["create", "--name", "cc", "--network", "none", "--health-cmd", "true", "rootfs.tar", "true"])
        .ok();
    assert_eq!(health(&room), "starting");
    room.call(&["rm", "cc"]).ok();
    room.call(&["create", "--health-interval", "soon", "rootfs.tar", "true"])
        .fails(125, "--health-interval soon");
    // In the foreground a monitor looks as well.
    let flags =
        ["run", "--rm", "--network", "none", "--health-cmd", "touch /looked", "--health-interval", "20ms"];
    let script = "while test ! -e /looked; do sleep 0.02; done; exit 5";
    room.call(&[&flags[..], &["rootfs.tar", "sh", "-c", script]].concat()).exits(5);
    room.assert_gone();
}

/// Who says more than a pipe holds is heard to the end, and its beginning is kept.
#[test]
fn a_look_that_says_much() {
    let Some(room) = Room::new() else { return };
    let look = "yes | head -c 300000; echo end >&2; test -e /tmp";
    run(&room, &["--health-cmd", look, "--health-timeout", "5s", "--health-retries", "1"], "sleep 1000");
    wait_for("a look", || health(&room) != "starting");
    assert_eq!(health(&room), "healthy");
    let log = room.call(&["inspect", "-f", "{{json .State.Health.Log}}", "cc"]).ok();
    let kept = log.split("\"Output\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("output");
    assert_eq!(kept.matches("y\\n").count(), 2048, "{kept}");
    room.call(&["rm", "-f", "cc"]).ok();
    room.assert_gone();
}
