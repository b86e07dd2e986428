//! `check`: what the machine offers, as seen by root, by an ordinary user, and where something is missing.

use std::process::Command;

use serde_json::Value;

use crate::harness::{Container, Output, copy_program, pillbox_only};

/// `pillbox check ARGUMENTS` after the words of `prefix`, with a copy of the program that every user can
/// read.
fn check(container: &Container, prefix: &[&str], arguments: &[&str]) -> Output {
    let program = container.folder.join("runtime");
    copy_program(&container.runtime.path, &program);
    let mut command = Command::new(prefix[0]);
    command.args(&prefix[1..]).arg(program).arg("check").args(arguments);
    container.finish(command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
}

const AS_ROOT: [&str; 1] = ["env"];
const AS_USER: [&str; 8] = [
    "setpriv",
    "--reuid",
    "65534",
    "--regid",
    "65534",
    "--clear-groups",
    "--inh-caps=-all",
    "--bounding-set=-all",
];

fn rows(output: &Output) -> Vec<Value> {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[track_caller]
fn available(rows: &[Value], what: &str) -> String {
    let row =
        rows.iter().find(|row| row["what"] == what).unwrap_or_else(|| panic!("no row {what}: {rows:?}"));
    row["available"].as_str().expect("available").to_string()
}

#[test]
fn root_has_what_the_other_tests_need() {
    pillbox_only(|runtime| {
        let rows = rows(&check(&Container::new(runtime), &AS_ROOT, &["--format", "json"]).ok());
        for what in ["kernel", "system calls", "mounts of the host", "mount namespace", "user namespace"] {
            assert_eq!(available(&rows, what), "yes", "{what}");
        }
        for row in &rows {
            let lacks = row["available"] != "yes";
            for sentence in ["consequence", "remedy"] {
                assert_eq!(row[sentence].as_str().is_some_and(|text| text.ends_with('.')), lacks, "{row}");
            }
        }
    });
}

#[test]
fn a_user_sees_what_only_root_has() {
    pillbox_only(|runtime| {
        let rows = rows(&check(&Container::new(runtime), &AS_USER, &["--format=json"]).ok());
        for (what, expected) in [
            ("mount namespace", "yes"),
            ("user namespace", "yes"),
            ("capabilities", "no"),
            ("seed mount namespace", "no"),
            ("making cgroups", "no"),
        ] {
            assert_eq!(available(&rows, what), expected, "{what}");
        }
    });
}

#[test]
fn the_table_has_a_line_for_each_row() {
    pillbox_only(|runtime| {
        let container = Container::new(runtime);
        let rows = rows(&check(&container, &AS_ROOT, &["--format", "json"]).ok());
        let table = check(&container, &AS_ROOT, &[]).ok().stdout;
        for row in rows {
            let what = row["what"].as_str().expect("text");
            assert!(
                table.lines().any(|line| line.get(8..).is_some_and(|rest| rest.starts_with(what))),
                "{what}: {table}"
            );
        }
        assert!(table.ends_with("\nContainers can run here.\n"), "{table}");
    });
}

#[test]
fn a_limit_of_zero_is_named_with_its_remedy() {
    pillbox_only(|runtime| {
        // The limits belong to a user namespace: nothing on the machine changes.
        let limited = |limit: &str| {
            let script = format!("echo 0 > /proc/sys/user/{limit} && exec \"$@\"");
            let prefix = ["unshare", "--user", "--mount", "--map-root-user", "sh", "-c", &script, "sh"];
            check(&Container::new(runtime), &prefix, &["--format", "json"])
        };
        let output = limited("max_user_namespaces");
        assert_eq!(
            (output.code, available(&rows(&output), "user namespace")),
            (0, "no".to_string()),
            "{output:?}"
        );
        assert!(output.stdout.contains("sysctl user.max_user_namespaces"), "{output:?}");

        let output = limited("max_mnt_namespaces");
        assert_eq!(
            (output.code, available(&rows(&output), "mount namespace")),
            (1, "no".to_string()),
            "{output:?}"
        );
        assert!(
            output.stdout.contains("sysctl user.max_mnt_namespaces") && output.stderr.is_empty(),
            "{output:?}"
        );
    });
}

#[test]
fn an_unknown_format_is_refused() {
    pillbox_only(|runtime| {
        check(&Container::new(runtime), &AS_ROOT, &["--format", "xml"]).fails_with("must be table or json");
    });
}
