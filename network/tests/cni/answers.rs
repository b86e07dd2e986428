//! What plugins answer, and how they end.

use std::fs::{self, OpenOptions};
use std::time::{Duration, Instant};

use pillbox_network::cni::{Conflist, Programs};
use pillbox_network::{Error, Kind};

use crate::script::{ADD, Folder, attached, conflist, result};

/// The error of an ADD by a plugin `a`, without what stands before every one.
fn error_of(programs: &Programs) -> Error {
    attached(conflist("1.0.0", &["a"])).add(programs).unwrap_err()
}

fn refused(folder: &Folder, text: &str) -> String {
    folder.plugin("a", &format!("{ADD} {text}"));
    let error = error_of(&folder.programs()).to_string();
    error.strip_prefix("CNI network net: plugin a: ADD: ").expect(&error).to_string()
}

#[test]
fn every_way_to_fail_has_its_words() {
    let folder = Folder::new("words");
    let object = r#"{"cniVersion":"1.0.0","code":7,"msg":"Invalid Configuration","details":"too small"}"#;
    for (text, expected) in [
        (format!("echo '{object}'; exit 1"), "Invalid Configuration: too small (code 7)"),
        // Some exit with 0.
        (format!("echo '{object}'"), "Invalid Configuration: too small (code 7)"),
        (
            format!("echo level=debug >&2; echo what it tried >&2; echo '{object}'; exit 1"),
            "Invalid Configuration: too small (code 7); stderr: level=debug what it tried",
        ),
        ("echo '{\"code\":0,\"msg\":\"x\"}'; exit 1".into(), "x (code 0)"),
        (
            "echo '{\"code\":2,\"msg\":\"ipMasq: true\"}'; exit 1".into(),
            "ipMasq: true (code 2): take the field out of the plugin's configuration",
        ),
        ("exit 3".into(), "failed with exit code 3 and printed nothing"),
        ("exit 127".into(), "failed with exit code 127 and printed nothing"),
        (
            "echo panic: runtime error; echo goroutine 1; exit 2".into(),
            "failed with exit code 2 and printed no error object but \"panic: runtime error goroutine 1\"",
        ),
        ("kill -SEGV $$".into(), "was killed by signal 11 and printed nothing"),
        ("echo oops >&2; kill -9 $$".into(), "was killed by signal 9 and printed nothing; stderr: oops"),
        ("true".into(), "printed nothing instead of a result"),
        ("echo; echo why >&2".into(), "printed nothing instead of a result; stderr: why"),
        (
            "echo done".into(),
            "printed \"done\" instead of a result: line 1, column 1: expected a value, found 'd'",
        ),
        (
            "echo '{\"ips\":[{\"address\":\"10.0.0.1\"}]}'".into(),
            "printed \"{\\\"ips\\\":[{\\\"address\\\":\\\"10.0.0.1\\\"}]}\" instead of a result: \
             ips[0].address: \"10.0.0.1\" is not an IP address with the length of its prefix, as 10.88.0.5/16",
        ),
        (
            "echo '{\"cniVersion\":\"0.2.0\",\"ip4\":{\"ip\":\"10.0.0.1/8\"}}'".into(),
            "printed \"{\\\"cniVersion\\\":\\\"0.2.0\\\",\\\"ip4\\\":{\\\"ip\\\":\\\"10.0.0.1/8\\\"}}\" instead of a result: \
             ip4: {\"ip\":\"10.0.0.1/8\"} is not in a result of 0.3.0, 0.3.1, 0.4.0, 1.0.0 or 1.1.0, which has ips",
        ),
        (
            "printf '\\377'".into(),
            "printed \"\u{fffd}\" instead of a result: line 1, column 1: expected a value, found '\u{fffd}'",
        ),
    ] {
        assert_eq!(refused(&folder, &text), expected, "{text}");
    }
}

#[test]
fn a_code_tells_the_kind_and_the_remedy() {
    let folder = Folder::new("codes");
    let refuse = |code: u32| format!("{ADD} echo '{{\"code\":{code},\"msg\":\"m\"}}'; exit 1");
    for (code, kind, remedy) in [
        (4, Kind::Host, ""),
        (7, Kind::Invalid, ""),
        (11, Kind::Busy, ": try again later"),
        (100, Kind::Host, ""),
    ] {
        folder.plugin("a", &refuse(code));
        let error = error_of(&folder.programs());
        assert_eq!(error.kind(), kind);
        assert_eq!(error.to_string(), format!("CNI network net: plugin a: ADD: m (code {code}){remedy}"));
    }
    // It is asked which versions it speaks.
    let versions = r#"[ $CNI_COMMAND = VERSION ] && echo '{"supportedVersions":["0.3.1","0.4.0"]}'"#;
    folder.plugin("a", &format!("{versions}\n{}", refuse(1)));
    let error = error_of(&folder.programs());
    assert_eq!(error.kind(), Kind::Invalid);
    assert_eq!(
        error.to_string(),
        "CNI network net: plugin a: ADD: m (code 1): the plugin speaks 0.3.1, 0.4.0: name one of them as cniVersion"
    );
    // One that refuses that as well is asked only once.
    folder.plugin("a", "[ $CNI_COMMAND != DEL ] || exit 0; echo '{\"code\":1,\"msg\":\"m\"}'; exit 1");
    assert_eq!(error_of(&folder.programs()).to_string(), "CNI network net: plugin a: ADD: m (code 1)");
}

#[test]
fn a_container_that_is_unknown_is_deleted() {
    let folder = Folder::new("unknown");
    folder.plugin("a", r#"echo '{"code":3,"msg":"unknown container"}'; exit 1"#);
    let attached = attached(conflist("1.0.0", &["a"]));
    attached.delete(&folder.programs()).unwrap();
    let error = error_of(&folder.programs()).to_string();
    assert_eq!(error, "CNI network net: plugin a: ADD: unknown container (code 3)");
}

#[test]
fn a_plugin_that_hangs_is_killed_with_its_children_and_named() {
    let folder = Folder::new("hangs");
    let pid = folder.path().join("pid");
    folder.plugin("a", &format!("{ADD} echo waiting >&2\nsleep 1000 & echo $! >{}\nwait", pid.display()));
    let mut programs = folder.programs();
    programs.limit = Duration::from_secs(3);
    let start = Instant::now();
    let error = error_of(&programs).to_string();
    assert_eq!(error, "CNI network net: plugin a: ADD: took longer than 3 s and was killed; stderr: waiting");
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(folder.calls(), "ADD a, DEL a");
    let child = fs::read_to_string(pid).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", child.trim())).unwrap_or_default();
    assert!(status.is_empty() || status.contains("State:\tZ"), "{status}");
}

#[test]
fn a_daemon_that_holds_the_pipes_does_not_keep_the_caller() {
    let folder = Folder::new("daemon");
    let pid = folder.path().join("pid");
    folder.plugin("a", &format!("sleep 1000 & echo $! >{}\n{ADD} echo '{}'", pid.display(), result("a")));
    let start = Instant::now();
    attached(conflist("1.0.0", &["a"])).add(&folder.programs()).unwrap();
    assert!(start.elapsed() < Duration::from_secs(10));
    let child: i32 = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    // It has not been killed.
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(child).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
}

#[test]
fn large_documents_pass_both_ways_and_endless_ones_do_not() {
    let folder = Folder::new("large");
    let network = |kilobytes: usize| {
        let text = format!(
            r#"{{"cniVersion":"1.0.0","name":"net","plugins":[{{"type":"a","x":"{}"}}]}}"#,
            "x".repeat(kilobytes * 1024)
        );
        attached(Conflist::parse(text.as_bytes()).unwrap())
    };
    // Its answer is written while the caller still writes the configuration.
    let answer = format!("head -c 300000 /dev/zero | tr '\\0' ' '; echo '{}'; cat >/dev/null", result("a"));
    folder.program("a", &answer);
    network(300).add(&folder.programs()).unwrap();
    // One that does not read at all.
    folder.program("a", &format!("echo '{}'", result("a")));
    network(300).add(&folder.programs()).unwrap();
    folder.program("a", "[ $CNI_COMMAND = ADD ] && exec yes; true");
    let error = network(1).add(&folder.programs()).unwrap_err().to_string();
    assert_eq!(error, "CNI network net: plugin a: ADD: printed more than 1048576 bytes and was killed");
    folder.program("a", "[ $CNI_COMMAND = ADD ] || exit 0; yes >&2 & sleep 0.2; kill $!; exit 1");
    let error = network(1).add(&folder.programs()).unwrap_err().to_string();
    assert!(error.contains("; stderr: y y y") && error.len() < 1500, "{error}");
}

#[test]
fn what_cannot_be_executed_is_named() {
    let folder = Folder::new("format");
    let path = folder.program("a", "");
    fs::write(&path, "\u{7f}ELF").unwrap();
    let error = error_of(&folder.programs()).to_string();
    let expected = format!("CNI network net: plugin a: ADD: execute {}: Exec format error", path.display());
    assert!(error.starts_with(&expected), "{error}");
    fs::write(&path, "#!/no/such/interpreter").unwrap();
    let error = error_of(&folder.programs()).to_string();
    assert!(error.contains(&format!("execute {}: no such file or folder", path.display())), "{error}");
}

#[test]
fn a_program_that_is_still_being_written_is_waited_for() {
    let folder = Folder::new("busy");
    folder.chained("a");
    let path = folder.path().join("bin/a");
    let writing = OpenOptions::new().append(true).open(path).unwrap();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        drop(writing);
    });
    attached(conflist("1.0.0", &["a"])).add(&folder.programs()).unwrap();
    thread.join().unwrap();
}
