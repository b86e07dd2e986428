//! Where what a container writes goes, by `--log-driver`, and how `logs` reads it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use crate::harness::{Room, wait_for};
use crate::rootless::{USER, room as room_of};

const SCRIPT: &str = "echo first; echo wrong >&2; printf half";

#[test]
fn json_files_are_dockers() {
    for room in [Room::new(), room_of(USER)].into_iter().flatten() {
        let flags = ["--name", "web", "--log-driver", "json-file", "--log-opt", "labels=app,none"];
        let more = ["--log-opt", "env=A", "--log-opt", "tag={{.Name}}", "-l", "app=shop", "-e", "A=1"];
        room.start(&[&flags[..], &more].concat(), &["sh", "-c", SCRIPT]);
        room.call(&["wait", "web"]).ok();
        let path = room.call(&["inspect", "-f", "{{.LogPath}}", "web"]).ok();
        assert!(path.trim().ends_with("-json.log"), "{path}");
        let text = fs::read_to_string(path.trim()).expect("the log");
        let mut lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(text.starts_with(r#"{"log":""#), "{text}");
        let half = lines.pop().expect("line");
        assert_eq!(half["log"], "half\n");
        assert_eq!(half["attrs"], serde_json::json!({"app": "shop", "A": "1", "tag": "web"}));
        assert!(lines.iter().any(|line| line["log"] == "wrong\n" && line["stream"] == "stderr"), "{text}");
        let said = room.call(&["logs", "web"]).exits(0);
        assert_eq!((&*said.stdout, &*said.stderr), ("first\nhalf\n", "wrong\n"));
        assert_eq!(room.call(&["logs", "-n", "1", "web"]).stdout, "half\n");
        let config = room.call(&["inspect", "-f", "{{json .HostConfig.LogConfig}}", "web"]).ok();
        let expected = r#"{"Config":{"env":"A","labels":"app,none","tag":"{{.Name}}"},"Type":"json-file"}"#;
        assert_eq!(config.trim(), expected);
        // It goes on behind what is there.
        room.call(&["start", "-a", "web"]).exits(0);
        assert_eq!(room.call(&["logs", "web"]).stdout, "first\nhalf\nfirst\nhalf\n");
        room.call(&["rm", "web"]).ok();
        room.assert_gone();
    }
}

#[test]
fn a_follower_of_files_that_rotate() {
    let Some(room) = Room::new() else { return };
    for (driver, size) in [("json-file", "max-size=4k"), ("local", "max-size=2k")] {
        let script = "n=0; while test $n -lt 300; do echo line $n; n=$((n + 1)); sleep 0.002; done";
        let flags = ["--name", "busy", "--log-driver", driver, "--log-opt", size];
        room.start(&[&flags[..], &["--log-opt", "max-file=2"]].concat(), &["sh", "-c", script]);
        let mut follower =
            room.command(&["logs", "-f", "busy"]).stdout(Stdio::piped()).spawn().expect("box logs");
        let mut seen = String::new();
        follower.stdout.take().expect("stdout").read_to_string(&mut seen).expect("log");
        assert!(follower.wait().expect("box logs").success());
        let expected: String = (0..300).map(|number| format!("line {number}\n")).collect();
        assert_eq!(seen, expected, "{driver}");
        // Only the last ones are kept.
        let kept = room.call(&["logs", "busy"]).ok();
        assert!(kept.lines().count() < 300 && kept.ends_with("line 299\n"), "{driver}: {kept}");
        room.call(&["rm", "busy"]).ok();
    }
    room.assert_gone();
}

/// However fast files are put aside, and however slowly they are read.
#[test]
fn a_burst_that_is_followed() {
    for room in [Room::new(), room_of(USER)].into_iter().flatten() {
        room.give_rootfs();
        for driver in ["json-file", "local"] {
            // It begins when it is followed.
            let script = "echo ready; read go; n=0; while test $n -lt 400; do n=$((n + 1)); yes $n | head -n 400; done";
            let flags = ["run", "-di", "--name", "burst", "--log-driver", driver, "--network", "none"];
            let bounds = ["--log-opt", "max-size=4k", "--log-opt", "max-file=2", "./rootfs", "sh", "-c"];
            room.call(&[&flags[..], &bounds, &[script]].concat()).ok();
            let mut follower =
                room.command(&["logs", "-f", "burst"]).stdout(Stdio::piped()).spawn().expect("box logs");
            let mut stdout = BufReader::new(follower.stdout.take().expect("stdout"));
            let mut seen = String::new();
            stdout.read_line(&mut seen).expect("log");
            assert_eq!(seen, "ready\n");
            // Nobody reads it for a while.
            room.command(&["attach", "--sig-proxy=false", "burst"])
                .stdin(Stdio::from(fs::File::open("/etc/passwd").expect("file")))
                .stdout(Stdio::null())
                .status()
                .expect("box attach");
            seen.clear();
            stdout.read_to_string(&mut seen).expect("log");
            assert!(follower.wait().expect("box logs").success());
            let expected: String =
                (1..=400).flat_map(|number| std::iter::repeat_n(format!("{number}\n"), 400)).collect();
            assert_eq!(seen.len(), expected.len(), "{driver}");
            assert!(seen == expected, "{driver}");
            room.call(&["rm", "-f", "burst"]).ok();
        }
        room.assert_gone();
    }
}

#[test]
fn from_one_moment_to_another() {
    let Some(room) = Room::new() else { return };
    for driver in ["local", "json-file"] {
        room.start(
            &["--name", "slow", "--log-driver", driver],
            &["sh", "-c", "echo one; sleep 0.5; echo two; sleep 1000"],
        );
        wait_for("both", || room.call(&["logs", "slow"]).stdout == "one\ntwo\n");
        let stamped = room.call(&["logs", "-t", "slow"]).ok();
        let times: Vec<&str> = stamped.lines().filter_map(|line| Some(line.split_once(' ')?.0)).collect();
        assert_eq!(room.call(&["logs", "--since", times[1], "slow"]).ok(), "two\n", "{driver}");
        assert_eq!(room.call(&["logs", "--until", times[0], "slow"]).ok(), "one\n", "{driver}");
        // Nothing that comes is older than that.
        assert_eq!(room.call(&["logs", "-f", "--until", times[0], "slow"]).ok(), "one\n", "{driver}");
        for since in ["1h", "0", "", "1900-01-01"] {
            assert_eq!(room.call(&["logs", "--since", since, "slow"]).ok(), "one\ntwo\n", "{driver} {since}");
        }
        room.call(&["logs", "--since", "yesterday", "slow"]).fails(125, "--since yesterday: must be");
        room.call(&["rm", "-f", "slow"]).ok();
    }
    room.assert_gone();
}

#[test]
fn the_journal() {
    let Some(room) = Room::new() else { return };
    let folder = std::path::Path::new("/run/systemd/journal");
    fs::create_dir_all(folder).expect("folder");
    let path = folder.join("socket");
    let _ = fs::remove_file(&path);
    let flags =
        ["--name", "web", "--log-driver", "journald", "--log-opt", "labels=com.app", "-l", "com.app=shop"];
    // Without one the container runs, and its user is told once.
    let run = ["run", "--network", "none"];
    let script = "echo lost; sleep 0.1; echo lost too; sleep 0.2; echo end";
    let said = room.call(&[&run[..], &flags, &["./rootfs", "sh", "-c", script]].concat()).exits(0);
    assert_eq!(said.stdout, "lost\nlost too\nend\n");
    assert_eq!(said.stderr.matches("the journal does not take").count(), 1, "{}", said.stderr);
    room.call(&["logs", "web"]).fails(125, "journalctl CONTAINER_ID=");
    room.call(&["rm", "web"]).ok();

    let journal = UnixDatagram::bind(&path).expect("socket");
    journal.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    let id = room.start(&[&flags[..], &["--rm"]].concat(), &["sh", "-c", SCRIPT]);
    let mut entries = Vec::new();
    for _ in 0..3 {
        let mut datagram = [0; 4096];
        let length = journal.recv(&mut datagram).expect("an entry");
        entries.push(String::from_utf8_lossy(&datagram[..length]).into_owned());
    }
    let entry = |text: &str| {
        let found = entries.iter().find(|entry| entry.contains(&format!("MESSAGE={text}\n")));
        found.unwrap_or_else(|| panic!("{text}: {entries:?}"))
    };
    for field in [
        "PRIORITY=6\n",
        "CONTAINER_NAME=web\n",
        "IMAGE_NAME=./rootfs\n",
        "COM_APP=shop\n",
        &format!("CONTAINER_ID={}\n", &id[..12]),
        &format!("CONTAINER_ID_FULL={id}\n"),
        &format!("CONTAINER_TAG={}\n", &id[..12]),
    ] {
        assert!(entry("first").contains(field), "{field}: {entries:?}");
    }
    assert!(entry("wrong").contains("PRIORITY=3\n") && entry("half").contains("PRIORITY=6\n"), "{entries:?}");
    fs::remove_file(&path).expect("socket");
    wait_for("its end", || room.state("web").is_empty());
    room.assert_gone();
}

#[test]
fn syslog() {
    let Some(room) = Room::new() else { return };
    let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip");
    assert!(up.success());
    let run = |address: &str, format: &str| {
        let address = format!("syslog-address={address}");
        let format = format!("syslog-format={format}");
        let flags = ["--log-driver", "syslog", "--log-opt", &address, "--log-opt", &format];
        let more = ["--log-opt", "syslog-facility=local1", "--log-opt", "tag=web"];
        room.run(&[&flags[..], &more].concat(), &["echo", "said"]).ok()
    };
    let udp = UdpSocket::bind("127.0.0.1:0").expect("socket");
    udp.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    run(&format!("udp://{}", udp.local_addr().expect("address")), "rfc3164");
    let mut line = [0; 512];
    let length = udp.recv(&mut line).expect("a line");
    let line = String::from_utf8_lossy(&line[..length]);
    assert!(line.starts_with("<142>") && line.contains(" web[") && line.ends_with("]: said\n"), "{line}");

    let tcp = TcpListener::bind("127.0.0.1:0").expect("socket");
    let address = tcp.local_addr().expect("address");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        tcp.accept().expect("a connection").0.read_to_string(&mut text).expect("text");
        text
    });
    run(&format!("tcp://{address}"), "rfc5424");
    let line = reader.join().expect("reader");
    assert!(line.starts_with("<142>1 2") && line.ends_with(" web - said\n"), "{line}");

    let path = room.folder.join("syslog");
    let unix = UnixDatagram::bind(&path).expect("socket");
    unix.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    run(&format!("unixgram://{}", path.display()), "rfc5424micro");
    let mut line = [0; 512];
    let length = unix.recv(&mut line).expect("a line");
    assert!(String::from_utf8_lossy(&line[..length]).ends_with(" web - said\n"));
    // Nobody there: it runs all the same.
    drop(unix);
    let flags = ["--log-driver", "syslog", "--log-opt", "syslog-address=tcp://127.0.0.1:1"];
    let said = room.run(&flags, &["echo", "said"]).exits(0);
    assert_eq!(said.stdout, "said\n");
    assert_eq!(said.stderr.matches("syslog does not take").count(), 1, "{}", said.stderr);
    room.assert_gone();
}

#[test]
fn options_that_cannot_be() {
    let Some(room) = Room::new() else { return };
    let refused = |driver: &str, option: &str, words: &str| {
        let flags = ["run", "--rm", "--log-driver", driver, "--log-opt", option, "./rootfs", "true"];
        room.call(&flags).fails(125, words);
    };
    refused("fluentd", "a=b", "--log-driver fluentd: must be local, json-file, journald, syslog or none");
    refused("none", "max-size=1m", "--log-opt max-size=1m: with --log-driver none there are no options");
    // Of a log that has room for nothing there would be nothing.
    refused("local", "max-size=0", "--log-opt max-size=0: must be above zero");
    refused("json-file", "max-size=0k", "--log-opt max-size=0k: must be above zero");
    refused("journald", "max-buffer-size=0", "--log-opt max-buffer-size=0: must be above zero");
    refused("local", "tag=x", "with --log-driver local there is max-size, max-file, compress");
    refused("json-file", "tag={{.Color}}", "--log-opt tag={{.Color}}: its fields are");
    refused("json-file", "compress=true", "--log-opt compress=true: older files are not compressed");
    refused("journald", "mode=blocking", "--log-opt mode=blocking: a log never makes a container wait");
    refused("syslog", "syslog-address=ftp://host", "--log-opt syslog-address=ftp://host: must be udp://");
    refused("syslog", "syslog-address=tcp+tls://host", "syslog is not spoken over TLS here");
    refused("syslog", "syslog-facility=remote", "--log-opt syslog-facility=remote: must be");
    refused("syslog", "syslog-format=json", "--log-opt syslog-format=json: must be rfc3164");
    room.assert_gone();
}
