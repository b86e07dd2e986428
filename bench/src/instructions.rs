//! Counted instructions, which, unlike times, are the same in every run. They are recorded in a file of the
//! project, so that a change that makes a path longer is visible and deliberate.
//!
//! Commands that valgrind can run are counted by callgrind, the others by [`crate::stepping`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{getpid, set_child_subreaper};
use serde_json::{Value, json};

use crate::bundle::Scratch;
use crate::cases::{RUN_DOCKER, reap};
use crate::error::{Context, Result, error};
use crate::host;
use crate::runtime::Runtime;
use crate::stepping::{Counter, NO_BREAKPOINTS};

/// How often it is counted before breakpoints are taken to be impossible.
const ATTEMPTS: usize = 3;

/// The relative difference that a count may have.
const TOLERANCE: f64 = 0.02;

/// The counts by the names of the commands.
type Counts = BTreeMap<String, u64>;

/// `instructions FILE [--pillbox PATH] [--update]`
pub fn command(arguments: &[OsString]) -> Result<()> {
    use lexopt::prelude::{Long, Value as Word};
    let (mut file, mut program, mut update) = (None, None, false);
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("pillbox") => program = Some(PathBuf::from(parser.value()?)),
            Long("update") => update = true,
            Word(path) if file.is_none() => file = Some(PathBuf::from(path)),
            other => return Err(other.unexpected().into()),
        }
    }
    let file = file.ok_or_else(|| error("instructions: name the file with the counts"))?;
    let beside = || Ok::<_, std::io::Error>(std::env::current_exe()?.with_file_name("pillbox"));
    // Absolute, because a case may run in a folder of its own.
    let program = program.map_or_else(beside, std::path::absolute).context(|| "find pillbox")?;
    host::prepare(host::OWN_PROCESSES)?;
    let counted = count_until_whole(&program)?;
    let compiler = compiler()?;
    if update {
        let document = json!({ "compiler": compiler, "instructions": counted });
        return fs::write(&file, format!("{document:#}\n")).context(|| format!("write {}", file.display()));
    }
    let text = fs::read_to_string(&file).context(|| format!("read {}", file.display()))?;
    let recorded: Value = serde_json::from_str(&text).context(|| format!("parse {}", file.display()))?;
    let deviating = compare(&recorded["instructions"], &counted);
    let same = recorded["compiler"] == compiler.as_str();
    match (deviating, same) {
        (0, _) => Ok(()),
        (deviating, true) => Err(error(format!(
            "{deviating} counts differ from {} by more than {:.0} %: if that is meant, `make instructions-update`, and commit it",
            file.display(),
            TOLERANCE * 100.0
        ))),
        // Another compiler generates other code, which is no fault of a change.
        (deviating, false) => {
            let than = recorded["compiler"].as_str().unwrap_or("nothing");
            println!(
                "note: {deviating} counts differ, but they were recorded with {than}, and this is {compiler}: `make instructions-update`"
            );
            Ok(())
        }
    }
}

/// Prints all counts; returns how many deviate.
fn compare(recorded: &Value, counted: &Counts) -> usize {
    let mut deviating = 0;
    for (name, now) in counted {
        let before = recorded[name].as_u64().unwrap_or(0);
        let change = (*now as f64 - before as f64) / (before as f64).max(1.0);
        let deviates = change.abs() > TOLERANCE;
        deviating += usize::from(deviates);
        println!(
            "{name:<28} {before:>9} -> {now:>9}  {:+6.2} %{}",
            change * 100.0,
            if deviates { "  !" } else { "" }
        );
    }
    deviating
}

/// Counts again where a breakpoint was lost: under some hypervisors that happens now and then. The numbers are the same each time.
fn count_until_whole(program: &Path) -> Result<Counts> {
    for _ in 1..ATTEMPTS {
        match count_all(program) {
            Err(error) if error.to_string().contains(NO_BREAKPOINTS) => {
                eprintln!("bench: once more: {error}")
            }
            counted => return counted,
        }
    }
    count_all(program)
}

/// Commands that make, use and remove containers run under a [`Counter`]; those that change nothing run under
/// valgrind, which is faster.
fn count_all(program: &Path) -> Result<Counts> {
    // As a subreaper this process gets orphaned containers, whose processes must be reaped before they can be
    // deleted.
    set_child_subreaper(Some(getpid())).context(|| "become subreaper")?;
    let scratch = Scratch::new()?;
    let runtime = Runtime::new("pillbox", program.to_path_buf(), &scratch)?;
    let id = format!("{}-counted", scratch.prefix());
    // The first container makes things that all later ones find.
    runtime.create(&scratch.bundle("pause"), &scratch.file("pid"), &id)?;
    let counted = count_commands(program, &scratch, &id);
    runtime.discard(&id);
    let mut counted = counted?;
    let stepped = step_commands(program, &scratch, &id);
    runtime.discard(&id);
    counted.extend(stepped?);
    Ok(counted)
}

/// Counts the rest of the commands that make, use and end a container, from the first system call on that
/// valgrind does not run (what comes before, reading and compiling, is counted in `explain` and `state`), and
/// what init does until it executes the container's program.
fn step_commands(program: &Path, scratch: &Scratch, id: &str) -> Result<Counts> {
    scratch.write_counted_bundles()?;
    let (state, pid_file, mut counter) =
        (scratch.state("pillbox"), scratch.file("pid"), Counter::new(scratch.file("stderr"))?);
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let with_bundle = |command: &str, bundle: &str| {
        vec![command.into(), "--bundle".into(), scratch.bundle(bundle).into(), id.into()]
    };
    let pid = vec!["--pid-file".into(), pid_file.clone().into()];
    let commands = [
        ("create", [with_bundle("create", "pause-counted"), pid].concat()),
        ("start", words(&["start", id])),
        ("exec", words(&["exec", id, "/bin/true"])),
        ("kill", words(&["kill", id, "KILL"])),
        ("delete", words(&["delete", id])),
        (RUN_DOCKER, with_bundle("run", "docker-counted")),
    ];
    let mut counted = Counts::new();
    for (name, arguments) in commands {
        let mut command = bare(program, &scratch.file(""));
        command.arg("--root").arg(&state).args(arguments);
        // Valgrind runs all of `start`.
        let rest = counter.count(&mut command, name != "start")?;
        if name != "start" {
            counted.insert(format!("{name}: rest"), rest);
        }
        match name {
            // Init still waits at the gate.
            "create" | "delete" => {}
            "start" => drop(counted.insert("create and start: init".to_string(), counter.take_init())),
            "kill" => reap(&pid_file)?,
            _ => drop(counted.insert(format!("{name}: init"), counter.take_init())),
        }
    }
    Ok(counted)
}

fn count_commands(program: &Path, scratch: &Scratch, id: &str) -> Result<Counts> {
    let (default, docker, state) =
        (scratch.bundle("true"), scratch.bundle("docker"), scratch.state("pillbox"));
    let folder = scratch.file("spec");
    fs::create_dir(&folder).context(|| format!("mkdir {}", folder.display()))?;
    let plain = |name: &str| vec![OsString::from(name)];
    let of_bundle = |bundle: &Path| vec!["explain".into(), "--bundle".into(), bundle.into()];
    let root = || vec!["--root".into(), state.clone().into()];
    let commands: [(&str, Vec<OsString>); 7] = [
        ("--version", plain("--version")),
        ("spec", plain("spec")),
        ("explain, default config", of_bundle(&default)),
        ("explain, Docker's config", of_bundle(&docker)),
        ("state", [root(), vec!["state".into(), id.into()]].concat()),
        ("list", [root(), plain("list")].concat()),
        ("start", [root(), vec!["start".into(), id.into()]].concat()),
    ];
    commands
        .into_iter()
        .map(|(name, arguments)| Ok((name.to_string(), count(program, &arguments, &folder)?)))
        .collect()
}

/// The count that callgrind reports for one command.
fn count(program: &Path, arguments: &[OsString], folder: &Path) -> Result<u64> {
    let mut command = bare("valgrind".as_ref(), folder);
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program).args(arguments);
    let output =
        command.stdin(Stdio::null()).output().context(|| "execute valgrind (Debian's package valgrind)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    collected
        .filter(|_| output.status.success())
        .ok_or_else(|| error(format!("{command:?} failed: {}", said.trim())))
}

/// A command without the caller's environment, which must not affect the count.
fn bare(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir(folder);
    command
}

/// The compiler, on which a count depends most, besides the source.
fn compiler() -> Result<String> {
    let output = Command::new("rustc").arg("--version").output().context(|| "execute rustc")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_tolerance_deviates() {
        let counted: Counts = [("a", 1020), ("b", 1021), ("c", 979), ("new", 5)]
            .map(|(name, count)| (name.to_string(), count))
            .into();
        assert_eq!(compare(&json!({ "a": 1000, "b": 1000, "c": 1000 }), &counted), 3);
    }
}
