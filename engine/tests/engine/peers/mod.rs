//! The command line that box shares with podman and docker: the same lines on each of them, and the same expectations. Where one of
//! them differs, its line says how and why.

mod files;
mod images;
mod life;
mod lists;
mod networks;
mod process;
mod program;
mod refusals;

use program::{Program, peers};

use crate::harness::Room;

/// A line of the shell, in which `p` is the program, and what comes of it.
struct Line {
    line: &'static str,
    expected: (i32, &'static str),
    others: [Option<Other>; 3],
}

/// What comes of it on one of the programs, and why.
#[derive(Clone, Copy)]
struct Other {
    program: &'static str,
    /// `None`: it differs between versions, or does not work here.
    expected: Option<(i32, &'static str)>,
    #[allow(dead_code)]
    reason: &'static str,
}

/// The line exits with this status and prints this, in which `*` stands for anything.
const fn line(line: &'static str, status: i32, stdout: &'static str) -> Line {
    Line { line, expected: (status, stdout), others: [None; 3] }
}

/// The line fails before anything is done: for podman, errors have a status of their own.
const fn refused(text: &'static str) -> Line {
    line(text, 1, "").but("podman", 125, "", "its status for errors")
}

/// A command line that cannot be.
const fn misused(text: &'static str) -> Line {
    refused(text).but(
        "box",
        125,
        "",
        "a command line that cannot be has a status of its own, as a wrong flag has with docker",
    )
}

impl Line {
    /// On this program something else comes of it.
    const fn but(
        self,
        program: &'static str,
        status: i32,
        stdout: &'static str,
        reason: &'static str,
    ) -> Line {
        self.with(Other { program, expected: Some((status, stdout)), reason })
    }

    /// On this program it is run, and not judged.
    const fn not(self, program: &'static str, reason: &'static str) -> Line {
        self.with(Other { program, expected: None, reason })
    }

    /// The last one counts.
    const fn with(mut self, other: Other) -> Line {
        let [first, second, _] = self.others;
        self.others = [Some(other), first, second];
        self
    }

    fn on(&self, program: &str) -> Option<(i32, &'static str)> {
        let other = self.others.iter().flatten().find(|other| other.program == program);
        other.map_or(Some(self.expected), |other| other.expected)
    }
}

/// Runs the lines one after the other on box and on each peer.
#[track_caller]
fn compare(lines: &[Line]) {
    for line in lines {
        for rest in line.line.split("--name ").skip(1) {
            // podman's diff takes such a name for the beginning of an image's id first.
            let name = rest.split_whitespace().next().expect("a name");
            assert!(!name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}, in {}", line.line);
        }
    }
    let Some(room) = Room::new() else { return };
    let mut wrong = judge(&Program::of_box(room), lines);
    for peer in peers() {
        let Some(room) = Room::new() else { return };
        wrong += &judge(&Program::of_peer(room, &peer), lines);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// What differs from the expectations.
fn judge(program: &Program, lines: &[Line]) -> String {
    let mut wrong = String::new();
    for line in lines {
        let said = program.line(line.line);
        let Some((status, stdout)) = line.on(&program.name) else { continue };
        let mut is_right = said.status == status && matches(stdout, &said.stdout);
        if program.name == "box" && status == 125 && !line.line.contains("2>") {
            is_right &= said.stderr.starts_with("box: ") && said.stderr.trim_end().lines().count() == 1;
        }
        if !is_right {
            wrong += &format!(
                "{}: {}\n  is     {} {:?}\n  not    {status} {stdout:?}\n  stderr {:?}\n",
                program.name,
                line.line,
                said.status,
                said.stdout,
                said.stderr.chars().take(300).collect::<String>()
            );
        }
    }
    wrong
}

/// Whether a text is as a pattern says, in which `*` stands for anything.
pub fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, rest)) => text.strip_prefix(before).is_some_and(|text| {
            let mut ends = text.char_indices().map(|(index, _)| index).chain([text.len()]);
            ends.any(|index| matches(rest, &text[index..]))
        }),
    }
}
