//! Programs without a record: the runtime that started them was killed before it could write one.

use std::fs;
use std::path::Path;

use rustix::process::Pid;

use super::{Helper, INTERFACE, Program, pasta, slirp4netns};
use crate::error::Result;

/// How often it is looked: a program may be about to go on in a child.
const LOOKS: usize = 10;

/// Ends every program that was started for the network namespace of a process, whether that process still
/// lives or not, and removes what it has left in the folder. The result is whether there was anything: then
/// another one may be about to be executed.
///
/// # Errors
/// One does not end.
pub fn end_unrecorded(container: i32, folder: &Path) -> Result<bool> {
    let mut was_there = false;
    for _ in 0..LOOKS {
        let found: Vec<_> = processes().filter_map(|pid| Some((pid, serves(pid, container)?))).collect();
        if found.is_empty() {
            break;
        }
        for (pid, program) in found {
            // One that has just ended is nobody's any more.
            let Some(Ok(helper)) = Pid::from_raw(pid).map(|pid| Helper::of(program, pid, &[])) else {
                continue;
            };
            if serves(pid, container).is_some() {
                helper.end()?;
                was_there = true;
            }
        }
    }
    for name in [pasta::LINK, slirp4netns::SOCKET] {
        was_there |= fs::remove_file(folder.join(name)).is_ok();
    }
    Ok(was_there)
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// As which program a process serves another one.
fn serves(pid: i32, container: i32) -> Option<Program> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let program = served(&line, container)?;
    // To one in a pid namespace below, the number is another process's.
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    (numbers.split_whitespace().count() == 1).then_some(program)
}

/// By its arguments, with zeros behind each.
fn served(line: &[u8], container: i32) -> Option<Program> {
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.split_terminator('\0');
    let program = Program::of_name(Path::new(words.next()?).file_name()?.to_str()?)?;
    let words: Vec<&str> = words.collect();
    let is_his = match program {
        Program::Pasta => ["user", "net"]
            .iter()
            .any(|kind| words.contains(&format!("/proc/{container}/ns/{kind}").as_str())),
        Program::Slirp4netns => words.ends_with(&[container.to_string().as_str(), INTERFACE]),
    };
    is_his.then_some(program)
}

#[cfg(test)]
mod tests {
    use super::super::{Options, Target};
    use super::*;

    #[test]
    fn programs_are_known_by_what_they_were_started_with() {
        let target = Target { pid: 4711, has_own_users: true };
        let options = Options::default();
        let line = |program: &str, arguments: String| {
            format!("/usr/bin/{program} {arguments}\0").replace(' ', "\0").into_bytes()
        };
        for dialect in [pasta::Dialect::Current, pasta::Dialect::Old] {
            let line = line("pasta", pasta::compile(&target, &[], &options, dialect));
            assert_eq!(served(&line, 4711), Some(Program::Pasta));
            assert_eq!(served(&line, 471), None);
        }
        let slirp = line("slirp4netns", slirp4netns::compile(&target, &[], &options, 3));
        assert_eq!(served(&slirp, 4711), Some(Program::Slirp4netns));
        assert_eq!(served(&slirp, 711), None);
        for other in [&b""[..], b"sleep\x004711\0eth0\0", b"pasta\0--help\0", b"\xff"] {
            assert_eq!(served(other, 4711), None);
        }
    }
}
