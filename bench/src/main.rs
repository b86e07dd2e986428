//! Measures OCI runtimes side by side, and against the floor: what the kernel alone needs for the same container.

mod bundle;
mod cases;
mod error;
mod figures;
mod floor;
mod host;
mod program;
mod report;
mod runtime;
mod sys;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use bundle::Scratch;
use error::{Context, Result, error};
use report::Report;
use runtime::{Runtime, find, is_executable, time};

const HELP: &str = "\
bench [OPTIONS]: measures pillbox, crun, runc and youki side by side. Needs root; leaves nothing behind.

  --pillbox PATH     pillbox's program; default: the one beside bench's own
  --peer NAME=PATH   another runtime with runc's command line; crun, runc and youki are looked for on PATH
  --runs N           runs of each case, default 60
  --quick            10 runs
  --json FILE        write everything measured
  --markdown FILE    write a page, as bench/RESULTS.md
";

/// The runtimes that are looked for on PATH.
const PEERS: [&str; 3] = ["crun", "runc", "youki"];

struct Options {
    pillbox: Option<PathBuf>,
    peers: Vec<(String, PathBuf)>,
    runs: usize,
    json: Option<PathBuf>,
    markdown: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let outcome = match arguments.as_slice() {
        // How the benchmark calls itself for one container of the floor.
        [word, rootfs, cgroup] if word == "floor" => floor::run(Path::new(rootfs), Path::new(cgroup)),
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

/// `None` when only help was asked for.
fn parse(arguments: Vec<OsString>) -> Result<Option<Options>> {
    use lexopt::prelude::{Long, Short, ValueExt};
    let mut options = Options { pillbox: None, peers: Vec::new(), runs: 60, json: None, markdown: None };
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
            Long("quick") => options.runs = 10,
            Long("json") => options.json = Some(parser.value()?.into()),
            Long("markdown") => options.markdown = Some(parser.value()?.into()),
            Long("help") | Short('h') => {
                print!("{HELP}");
                return Ok(None);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    match options.runs {
        0 => Err(error("--runs 0: must be at least 1")),
        _ => Ok(Some(options)),
    }
}

fn bench(options: &Options) -> Result<()> {
    host::prepare()?;
    let machine = host::Machine::look();
    // Orphaned containers become ours: we can wait for their end.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).context(|| "become subreaper")?;
    let scratch = Scratch::new()?;
    let runtimes = find_runtimes(options, &scratch)?;
    let memory_floor_kib =
        time(&mut Command::new(scratch.bundle("true").join("rootfs/bin/true")), &scratch.file("stderr"))?
            .peak_kib;
    let lines = cases::measure(&runtimes, &scratch, options.runs);
    runtimes.iter().for_each(Runtime::discard_all);
    let report = Report { machine, runtimes: &runtimes, lines: &lines?, memory_floor_kib };
    print!("{}", report.table());
    if let Some(file) = &options.json {
        std::fs::write(file, format!("{:#}\n", report.json()))
            .context(|| format!("write {}", file.display()))?;
    }
    if let Some(file) = &options.markdown {
        std::fs::write(file, report.markdown()).context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

/// pillbox, what is on PATH, what was named; what is absent is told and passed over.
fn find_runtimes(options: &Options, scratch: &Scratch) -> Result<Vec<Runtime>> {
    let beside = || Some(std::env::current_exe().ok()?.with_file_name("pillbox"));
    let mut wanted = vec![("pillbox".to_string(), options.pillbox.clone().or_else(beside))];
    let named = |name: &str| options.peers.iter().any(|(peer, _)| peer == name);
    wanted.extend(PEERS.into_iter().filter(|name| !named(name)).map(|name| (name.to_string(), find(name))));
    wanted.extend(options.peers.iter().map(|(name, path)| (name.clone(), Some(path.clone()))));
    let mut runtimes = Vec::new();
    for (name, program) in wanted {
        match program
            .filter(|program| is_executable(program))
            .map(|program| Runtime::new(&name, program, scratch))
        {
            None => eprintln!("bench: {name}: not found, passed over"),
            Some(Err(error)) => eprintln!("bench: {name}: passed over: {error}"),
            Some(Ok(runtime)) => runtimes.push(runtime),
        }
    }
    match runtimes.is_empty() {
        true => Err(error("no runtime found: name one with --pillbox or --peer")),
        false => Ok(runtimes),
    }
}
