//! box beside Docker, Podman and a bare runtime: containers from images, lists, logs, pulls, and many at once.

mod api;
mod build;
mod contender;
mod disk;
mod image;
mod life;
mod lists;
mod log;
mod page;
mod parallel;
mod pull;
mod store;
mod tar;
mod user;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{getpid, set_child_subreaper};

use crate::bundle::Scratch;
use crate::course::{Course, Line};
use crate::error::{Context, Result, error};
use crate::host::{Machine, OWN_PROCESSES_AND_NETWORK, prepare};
use crate::network::Host;
use crate::runtime::{Runtime, find};
use crate::sheet::{self, path};
use contender::{BOX, Contender, Folders};
use page::Page;
use store::Disk;

pub use log::write;

const HELP: &str = "\
bench box [OPTIONS]: measures box beside docker and podman on PATH, and beside crun. Needs root; everything happens in
namespaces of its own, nothing is left.

  --box PATH         box's program; default: the one beside bench's own
  --disk FOLDER      where stores are made, on a disk, with 6 GB free for all engines; default /var/tmp
  --ext4 FILE        an image of a file system that is mounted for the stores instead; mkfs.ext4 makes it if it is missing
  --runs N           runs of each case, default 40
  --live N           how many containers are listed, default 500
  --quick            5 runs, 50 containers
  --alone            leave docker and podman out
  --only PART        measure this alone: life, builds, api, lists, disk, logs, parallel, pulls or user; may be given again
  --json FILE        write everything measured
  --markdown FILE    write a page, as bench/BOX.md
";

/// A number that is not a time.
pub struct Figure {
    /// What it is, with its unit.
    pub what: String,
    /// The engine.
    pub subject: &'static str,
    /// The number.
    pub value: f64,
}

/// What is measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Life,
    Builds,
    Api,
    Lists,
    Disk,
    Logs,
    Parallel,
    Pulls,
    User,
}

impl Part {
    const ALL: [Part; 9] = [
        Part::Life,
        Part::Builds,
        Part::Api,
        Part::Lists,
        Part::Disk,
        Part::Logs,
        Part::Parallel,
        Part::Pulls,
        Part::User,
    ];

    fn name(self) -> &'static str {
        match self {
            Part::Life => "life",
            Part::Builds => "builds",
            Part::Api => "api",
            Part::Lists => "lists",
            Part::Disk => "disk",
            Part::Logs => "logs",
            Part::Parallel => "parallel",
            Part::Pulls => "pulls",
            Part::User => "user",
        }
    }
}

impl std::str::FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Part, String> {
        let names = Part::ALL.map(Part::name).join(", ");
        Part::ALL.into_iter().find(|part| part.name() == text).ok_or(format!("must be one of {names}"))
    }
}

struct Options {
    program: Option<PathBuf>,
    disk: PathBuf,
    /// The image of a file system for it.
    ext4: Option<PathBuf>,
    runs: usize,
    live: usize,
    is_alone: bool,
    /// All parts if there are none.
    only: Vec<Part>,
    json: Option<PathBuf>,
    markdown: Option<PathBuf>,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        // Without docker there is no client for boxd.
        let can_be = part != Part::Api || !self.is_alone;
        can_be && (self.only.is_empty() || self.only.contains(&part))
    }
}

/// `box [OPTIONS]`
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
        program: None,
        disk: "/var/tmp".into(),
        ext4: None,
        runs: 40,
        live: 500,
        is_alone: false,
        only: Vec::new(),
        json: None,
        markdown: None,
    };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("box") => options.program = Some(path(parser.value()?)?),
            Long("disk") => options.disk = path(parser.value()?)?,
            Long("ext4") => options.ext4 = Some(path(parser.value()?)?),
            Long("runs") => options.runs = parser.value()?.parse()?,
            Long("live") => options.live = parser.value()?.parse()?,
            Long("quick") => (options.runs, options.live) = (5, 50),
            Long("alone") => options.is_alone = true,
            Long("only") => options.only.push(parser.value()?.parse()?),
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
        Options { live: 0, .. } => Err(error("--live 0: must be at least 1")),
        options => Ok(Some(options)),
    }
}

fn bench(options: &Options) -> Result<()> {
    let beside = || Ok::<_, std::io::Error>(std::env::current_exe()?.with_file_name(BOX));
    let program = options.program.clone().map_or_else(beside, Ok).context(|| "find box")?;
    let size = fs::metadata(&program).context(|| program.display().to_string())?.len();
    let machine = Machine::look();
    prepare(OWN_PROCESSES_AND_NETWORK)?;
    set_child_subreaper(Some(getpid())).context(|| "become subreaper")?;
    let scratch = Scratch::new()?;
    let disk = match &options.ext4 {
        Some(image) => Disk::of_image(image, scratch.file("disk"))?,
        None => Disk::new(options.disk.join(scratch.prefix()))?,
    };
    let _host = Host::new()?;
    let mut measured = Measured::default();
    let crun = find("crun").ok_or_else(|| error("not on PATH"));
    let crun = crun.and_then(|program| Runtime::new("crun", program, &scratch));
    let runtimes: Vec<_> = measured.keep("crun", crun).into_iter().collect();
    let course = Course::new(&runtimes, &scratch, options.runs, options.live);
    let cgroup = Some(format!("/{}", scratch.prefix()));
    let folders = Folders { disk: disk.path().to_path_buf(), memory: scratch.file("engines"), cgroup };
    fs::create_dir_all(&folders.memory).context(|| "mkdir")?;
    measured.measure(&course, &program, &folders, options)?;
    let Measured { lines, figures, left_out, versions } = measured;
    let page = Page { machine, versions, lines, figures, size, left_out, live: options.live };
    print!("{}", page.table());
    let Options { json, markdown, .. } = options;
    sheet::write(json.as_deref(), || page.json(), markdown.as_deref(), || page.markdown())
}

#[derive(Default)]
struct Measured {
    lines: Vec<Line>,
    figures: Vec<Figure>,
    left_out: Vec<String>,
    versions: Vec<String>,
}

impl Measured {
    /// What fails as a whole is left out, and said.
    fn measure(
        &mut self,
        course: &Course<'_>,
        program: &Path,
        folders: &Folders,
        options: &Options,
    ) -> Result<()> {
        let mut contenders = vec![Contender::r#box(program.to_path_buf(), folders)?];
        if !options.is_alone {
            contenders.extend(self.keep(contender::PODMAN, Contender::podman(folders)));
            contenders.extend(self.keep(contender::DOCKER, Contender::docker(folders)));
        }
        self.versions = contenders.iter().map(|contender| contender.version.clone()).collect();
        self.versions.extend(course.runtimes.iter().map(|runtime| runtime.version.clone()));
        let archive = course.scratch.file("five.tar");
        image::write_five(&archive)?;
        for engine in &contenders {
            engine.time(&["load".as_ref(), "-i".as_ref(), archive.as_os_str()])?;
        }
        for part in Part::ALL.into_iter().filter(|part| options.wants(*part)) {
            let measured = match part {
                Part::Life => Ok((life::measure(course, &contenders), Vec::new())),
                Part::Builds => build::measure(course, &contenders).map(|lines| (lines, Vec::new())),
                Part::Api => api(course, program, folders, &mut contenders),
                Part::Lists => lists::measure(course, &contenders).map(|lines| (lines, Vec::new())),
                Part::Disk => Ok((disk::measure(course, &contenders, &folders.disk), Vec::new())),
                Part::Logs => log::measure(course, &contenders).map(|figures| (Vec::new(), figures)),
                Part::Parallel => parallel::measure(&contenders).map(|figures| (Vec::new(), figures)),
                Part::Pulls => pull::measure(course, &contenders, &folders.disk),
                Part::User => continue,
            };
            self.add(part, measured);
        }
        contenders.iter().for_each(Contender::discard_all);
        drop(contenders);
        if options.wants(Part::User) {
            let users = user(course, program, &folders.of_user(), options.is_alone);
            self.add(Part::User, users.map(|lines| (lines, Vec::new())));
        }
        Ok(())
    }

    /// What is there, or a line that says why it is not.
    fn keep<T>(&mut self, name: &str, result: Result<T>) -> Option<T> {
        let left_out = |error| {
            let why = format!("{name}: {error}");
            eprintln!("bench: LEFT OUT: {why}");
            self.left_out.push(why);
        };
        result.map_err(left_out).ok()
    }

    fn add(&mut self, part: Part, measured: Result<(Vec<Line>, Vec<Figure>)>) {
        if let Some((lines, figures)) = self.keep(part.name(), measured) {
            self.lines.extend(lines);
            self.figures.extend(figures);
        }
    }
}

/// What Docker's client does with boxd, and with its own daemon.
fn api(
    course: &Course<'_>,
    program: &Path,
    folders: &Folders,
    contenders: &mut Vec<Contender>,
) -> Result<(Vec<Line>, Vec<Figure>)> {
    let mut served = vec![Contender::boxd(program, folders)?];
    served.extend(contenders.pop_if(|engine| engine.name == contender::DOCKER));
    let measured = api::measure(course, &mut served);
    contenders.extend(served.drain(1..));
    measured
}

/// Docker has no part in it: its daemon is root's.
fn user(course: &Course<'_>, program: &Path, folders: &Folders, is_alone: bool) -> Result<Vec<Line>> {
    user::prepare(course, folders)?;
    // The user may not be able to reach the program where it lies.
    let own = course.scratch.file("box-of-user");
    fs::copy(program, &own).context(|| format!("copy {}", program.display()))?;
    let mut contenders = vec![Contender::r#box(own, folders)?];
    if !is_alone && find(contender::PODMAN).is_some() {
        contenders.push(Contender::podman(folders)?);
    }
    let measured = user::measure(course, &contenders, &folders.disk);
    contenders.iter().for_each(Contender::discard_all);
    measured
}
