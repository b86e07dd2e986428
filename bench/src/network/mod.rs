//! Networks: what connecting a container costs, beside the same container without, beside the reference plugins of CNI,
//! and as ports and containers become many.

mod container;
mod crowd;
mod host;
mod page;
mod plugin;
mod traffic;
mod trips;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{getpid, set_child_subreaper};

use crate::bundle::Scratch;
use crate::course::{Course, Line};
use crate::error::{Context, Result, error};
use crate::host::{Machine, OWN_PROCESSES_AND_NETWORK, prepare};
use crate::runtime::Runtime;
use crate::sheet::{self, path};
use page::Page;
use plugin::Plugins;

pub use host::Host;

const HELP: &str = "\
bench network [OPTIONS]: measures networks. Needs root; everything happens in namespaces of its own, nothing is left.

  --pillbox PATH     pillbox's program; default: the one beside bench's own
  --reduced PATH     pillbox without networks, to tell their size
  --plugins FOLDER   the reference plugins of CNI, default /usr/lib/cni
  --runs N           runs of each case, default 60
  --live N           how many containers are on one bridge, default 1000
  --quick            10 runs, 60 containers
  --json FILE        write everything measured
  --markdown FILE    write a page, as bench/NETWORK.md
";

/// A bridge has 1,023 ports, and some containers are created beside those that fill it.
const MOST: usize = 1000;

struct Options {
    pillbox: Option<PathBuf>,
    reduced: Option<PathBuf>,
    plugins: PathBuf,
    runs: usize,
    live: usize,
    json: Option<PathBuf>,
    markdown: Option<PathBuf>,
}

/// `network [OPTIONS]`
pub fn command(arguments: &[OsString]) -> Result<()> {
    match parse(arguments)? {
        Some(options) => bench(&options),
        None => Ok(()),
    }
}

/// `None` if only help was asked for.
fn parse(arguments: &[OsString]) -> Result<Option<Options>> {
    use lexopt::prelude::{Long, Short, ValueExt};
    let mut options = Options {
        pillbox: None,
        reduced: None,
        plugins: "/usr/lib/cni".into(),
        runs: 60,
        live: MOST,
        json: None,
        markdown: None,
    };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("pillbox") => options.pillbox = Some(path(parser.value()?)?),
            Long("reduced") => options.reduced = Some(path(parser.value()?)?),
            Long("plugins") => options.plugins = parser.value()?.into(),
            Long("runs") => options.runs = parser.value()?.parse()?,
            Long("live") => options.live = parser.value()?.parse()?,
            Long("quick") => (options.runs, options.live) = (10, 60),
            Long("json") => options.json = Some(path(parser.value()?)?),
            Long("markdown") => options.markdown = Some(path(parser.value()?)?),
            Long("help") | Short('h') => {
                print!("{HELP}");
                return Ok(None);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    match options {
        Options { runs: 0, .. } => Err(error("--runs 0: must be at least 1")),
        Options { live: 2..=MOST, .. } => Ok(Some(options)),
        Options { live, .. } => Err(error(format!("--live {live}: must be from 2 to {MOST}"))),
    }
}

fn bench(options: &Options) -> Result<()> {
    let beside = || Ok::<_, std::io::Error>(std::env::current_exe()?.with_file_name("pillbox"));
    let program = options.pillbox.clone().map_or_else(beside, Ok).context(|| "find pillbox")?;
    let size = |path: &PathBuf| fs::metadata(path).map(|found| found.len());
    let reduced_size = options.reduced.as_ref().map(size).transpose().context(|| "--reduced")?;
    let machine = Machine::look();
    prepare(OWN_PROCESSES_AND_NETWORK)?;
    set_child_subreaper(Some(getpid())).context(|| "become subreaper")?;
    let scratch = Scratch::new()?;
    let runtimes = [Runtime::new("pillbox", program, &scratch)?];
    let course = Course::new(&runtimes, &scratch, options.runs, options.live);
    let measured = measure(&course, &options.plugins);
    runtimes[0].discard_all();
    let Measured { lines, counts, left_out } = measured?;
    let [Runtime { version, size, .. }] = &runtimes;
    let (version, size) = (version.clone(), *size);
    let reference = plugin::versions(&options.plugins);
    let live = options.live;
    let page = Page { machine, version, reference, lines, counts, size, reduced_size, left_out, live };
    print!("{}", page.table());
    let Options { json, markdown, .. } = options;
    sheet::write(json.as_deref(), || page.json(), markdown.as_deref(), || page.markdown())
}

#[derive(Default)]
struct Measured {
    lines: Vec<Line>,
    counts: Vec<container::Count>,
    left_out: Vec<String>,
}

/// The cases that fill the machine come last. What fails as a whole is left out, and said.
fn measure(course: &Course<'_>, folder: &Path) -> Result<Measured> {
    let runtime = &course.runtimes[0];
    let mut measured = Measured::default();
    (measured.lines, measured.counts) = container::measure(course, runtime)?;
    let reference = measured.keep(plugin::CHAIN, Plugins::reference(folder));
    let own = measured.keep(plugin::OWN, Plugins::own(&runtime.program, course.scratch.file("plugins")));
    let all: Vec<&Plugins> = reference.iter().chain(&own).collect();
    let plugins = plugin::measure(course, &all).map(|(lines, counts)| {
        measured.counts.extend(counts);
        lines
    });
    measured.add("CNI plugins", plugins);
    let traffic = traffic::measure(course, runtime, reference.as_ref());
    measured.add("traffic", traffic);
    let ports = crowd::ports(course, runtime);
    measured.add("many ports", ports);
    let containers = crowd::containers(course, runtime);
    measured.add("many containers", containers);
    Ok(measured)
}

impl Measured {
    /// What is there, or a line that says why it is not.
    fn keep<T>(&mut self, name: &str, result: Result<T>) -> Option<T> {
        let left_out = |error| {
            let why = format!("{name}: {error}");
            eprintln!("bench: LEFT OUT: {why}");
            self.left_out.push(why);
        };
        result.map_err(left_out).ok()
    }

    fn add(&mut self, name: &str, lines: Result<Vec<Line>>) {
        let lines = self.keep(name, lines);
        self.lines.extend(lines.into_iter().flatten());
    }
}
