//! Measures OCI runtimes side by side, and compares them with the floor: what the kernel alone needs for the
//! same container.

mod bundle;
mod cases;
mod course;
mod docker;
mod engine;
mod error;
mod figures;
mod filter;
mod floor;
mod host;
mod instructions;
mod library;
mod memory;
mod network;
mod plot;
mod program;
mod report;
mod runtime;
mod scale;
mod sheet;
mod stepping;
mod sys;
mod target;
mod turn;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bundle::Scratch;
use course::Course;
use error::{Context, Result, error};
use report::Report;
use runtime::{Runtime, find, is_executable};

const HELP: &str = "\
bench [OPTIONS]: measures pillbox, crun, runc and youki side by side. Needs root; leaves nothing behind.

  --pillbox PATH     pillbox's program; default: the one beside bench's own
  --reduced PATH     pillbox without its optional parts, to tell its size
  --peer NAME=PATH   another runtime with runc's command line; crun, runc and youki are looked for on PATH
  --runs N           runs of each case, default 60
  --live N           how many containers fill the machine, default 1000
  --quick            10 runs, 60 containers
  --memory FILE      show what `make bench-memory` has written
  --json FILE        write everything measured
  --markdown FILE    write a page, as bench/RESULTS.md, and plots beside it

bench instructions FILE [--pillbox PATH] [--update]: counts pillbox's instructions under valgrind and compares them with
those in FILE, or writes them there.

bench network [OPTIONS]: measures networks; see `bench network --help`.

bench box [OPTIONS]: measures box beside docker and podman; see `bench box --help`.
";

/// The runtimes to look for on PATH.
const PEERS: [&str; 3] = ["crun", "runc", "youki"];

struct Options {
    pillbox: Option<PathBuf>,
    peers: Vec<(String, PathBuf)>,
    runs: usize,
    live: usize,
    reduced: Option<PathBuf>,
    memory: Option<PathBuf>,
    json: Option<PathBuf>,
    markdown: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let outcome = match arguments.as_slice() {
        // The benchmark calls itself like this for one container of the floor.
        [word, rootfs, cgroup] if word == "floor" => floor::run(Path::new(rootfs), Path::new(cgroup)),
        [word] if word == "getppid" => filter::count_calls(),
        [word, rest @ ..] if word == "instructions" => instructions::command(rest),
        [word, rest @ ..] if word == "network" => network::command(rest),
        [word, rest @ ..] if word == "box" => engine::command(rest),
        // In a container whose output is logged.
        [word, size, megabytes, told] if word == "write" => {
            engine::write(&size.to_string_lossy(), &megabytes.to_string_lossy(), Path::new(told))
        }
        _ => parse(arguments).and_then(|options| options.map_or(Ok(()), |options| bench(&options))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `None` if only help was asked for.
fn parse(arguments: Vec<OsString>) -> Result<Option<Options>> {
    use lexopt::prelude::{Long, Short, ValueExt};
    let mut options = Options {
        pillbox: None,
        peers: Vec::new(),
        runs: 60,
        live: 1000,
        reduced: None,
        memory: None,
        json: None,
        markdown: None,
    };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("pillbox") => options.pillbox = Some(parser.value()?.into()),
            Long("peer") => {
                let text = parser.value()?.string()?;
                let peer =
                    text.split_once('=').ok_or_else(|| error(format!("--peer {text}: must be NAME=PATH")))?;
                options.peers.push((peer.0.to_string(), peer.1.into()));
            }
            Long("runs") => options.runs = parser.value()?.parse()?,
            Long("live") => options.live = parser.value()?.parse()?,
            Long("reduced") => options.reduced = Some(parser.value()?.into()),
            Long("memory") => options.memory = Some(parser.value()?.into()),
            Long("quick") => (options.runs, options.live) = (10, 60),
            Long("json") => options.json = Some(parser.value()?.into()),
            Long("markdown") => options.markdown = Some(parser.value()?.into()),
            Long("help") | Short('h') => {
                print!("{HELP}");
                return Ok(None);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    match options {
        Options { runs: 0, .. } => Err(error("--runs 0: must be at least 1")),
        Options { live: 0..20, .. } => Err(error(format!("--live {}: must be at least 20", options.live))),
        _ => Ok(Some(options)),
    }
}

fn bench(options: &Options) -> Result<()> {
    host::prepare(&[])?;
    let machine = host::Machine::look();
    // As a subreaper this process gets orphaned containers, and can wait for their end.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).context(|| "become subreaper")?;
    let scratch = Scratch::new()?;
    let (runtimes, absent) = find_runtimes(options, &scratch)?;
    let course = Course::new(&runtimes, &scratch, options.runs, options.live);
    let measured = measure(&course);
    let figures = cases::weigh(&course);
    runtimes.iter().for_each(Runtime::discard_all);
    let mut figures = figures?;
    if let Some(file) = &options.memory {
        figures.extend(memory::read(file)?);
    }
    let size = |path: &PathBuf| std::fs::metadata(path).map(|found| found.len());
    let reduced_size = options.reduced.as_ref().map(size).transpose().context(|| "--reduced")?;
    let report = Report {
        machine,
        runtimes: &runtimes,
        absent,
        lines: &measured?,
        figures: &figures,
        live: options.live,
        reduced_size,
    };
    print!("{}", report.table());
    if let Some(file) = &options.json {
        std::fs::write(file, format!("{:#}\n", report.json()))
            .context(|| format!("write {}", file.display()))?;
    }
    options.markdown.as_ref().map_or(Ok(()), |file| report.write_page(file))
}

/// The cases that fill the machine come last.
fn measure(course: &Course<'_>) -> Result<Vec<course::Line>> {
    let mut lines = turn::measure(course);
    lines.extend(cases::measure(course));
    lines.extend(filter::compile(course)?);
    lines.extend(filter::calls(course)?);
    lines.extend(scale::by_mounts(course)?);
    lines.extend(scale::at_once(course));
    lines.extend(scale::by_containers(course));
    Ok(lines)
}

/// pillbox, the runtimes on PATH, and those named by options; missing ones are reported and skipped.
fn find_runtimes(options: &Options, scratch: &Scratch) -> Result<(Vec<Runtime>, Vec<String>)> {
    let beside = || Some(std::env::current_exe().ok()?.with_file_name("pillbox"));
    let mut wanted = vec![("pillbox".to_string(), options.pillbox.clone().or_else(beside))];
    let named = |name: &str| options.peers.iter().any(|(peer, _)| peer == name);
    wanted.extend(PEERS.into_iter().filter(|name| !named(name)).map(|name| (name.to_string(), find(name))));
    wanted.extend(options.peers.iter().map(|(name, path)| (name.clone(), Some(path.clone()))));
    let (mut runtimes, mut absent) = (Vec::new(), Vec::new());
    for (name, program) in wanted {
        match program
            .filter(|program| is_executable(program))
            .map(|program| Runtime::new(&name, program, scratch))
        {
            None => {
                eprintln!("bench: {name}: not found, passed over");
                absent.push(name);
            }
            Some(Err(error)) => {
                eprintln!("bench: {name}: passed over: {error}");
                absent.push(name);
            }
            Some(Ok(runtime)) => runtimes.push(runtime),
        }
    }
    match runtimes.is_empty() {
        true => Err(error("no runtime found: name one with --pillbox or --peer")),
        false => Ok((runtimes, absent)),
    }
}
