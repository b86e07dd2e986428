//! How runtimes perform on a machine that fills up: many mounts on the host, many containers, many creates at
//! once.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

use crate::course::{Course, Line, Scale};
use crate::error::{Context, Result, error};
use crate::figures::Samples;
use crate::runtime::{Cost, Runtime};

/// `run`, by the number of mounts on the host.
pub const RUN_BY_MOUNTS: &str = "run, by mounts of the host";
/// `run`, by the number of other containers.
pub const RUN_BY_CONTAINERS: &str = "run, by live containers";
/// `create` of the first and of the last of many containers.
pub const CREATE_FIRST: &str = "create, the first of many";
/// See [`CREATE_FIRST`].
pub const CREATE_LAST: &str = "create, the last of many";
/// `list` of all of them.
pub const LIST: &str = "list of all of them";
/// The time per container when they are created one after the other.
pub const ONE_AT_A_TIME: &str = "create, one at a time, each";
/// The time per container when several are created at once.
pub const AT_ONCE: &str = "create, 8 at a time, each";

/// The numbers of mounts for `run`.
const MOUNTS: [usize; 4] = [30, 300, 1000, 3000];

/// How many creates run at once.
const WIDTH: usize = 8;

/// How many containers a batch of creates makes.
const BATCH: usize = 48;

/// How many times the first and the last of many containers are made.
const ROUNDS: usize = 4;

/// How long the kernel gets to clean up after deleted containers before others are timed.
const SETTLE: Duration = Duration::from_millis(300);

/// `run` with more and more mounts, in the benchmark's own mount namespace.
pub fn by_mounts(course: &Course<'_>) -> Result<Vec<Line>> {
    let folder = course.scratch.file("mounts");
    let place = |number: usize| folder.join(number.to_string());
    fs::create_dir(&folder).context(|| format!("mkdir {}", folder.display()))?;
    mount("tmpfs", &folder, "tmpfs", MountFlags::empty(), c"").context(|| "mount a tmpfs for many mounts")?;
    let subjects = course.everybody();
    let mut lines = Vec::new();
    let mut made = 0;
    for wanted in MOUNTS {
        for _ in mounts()?..wanted {
            fs::create_dir(place(made)).context(|| "mkdir of a mount point")?;
            mount_bind(&folder, place(made)).context(|| "bind")?;
            made += 1;
        }
        let scale = Some(Scale::Mounts(wanted));
        lines.extend(course.interleave(&[RUN_BY_MOUNTS], scale, &subjects, |subject, samples| {
            samples[0].add(course.run(subject, "true"));
        }));
    }
    unmount(&folder, UnmountFlags::DETACH).context(|| "take many mounts away")?;
    Ok(lines)
}

fn mounts() -> Result<usize> {
    let text = fs::read_to_string("/proc/self/mountinfo").context(|| "read /proc/self/mountinfo")?;
    Ok(text.lines().count())
}

/// Fills the machine with containers, one runtime after the other, because they would disturb each other.
pub fn by_containers(course: &Course<'_>) -> Vec<Line> {
    course.runtimes.iter().flat_map(|runtime| fill(course, runtime)).collect()
}

fn fill(course: &Course<'_>, runtime: &Runtime) -> Vec<Line> {
    eprintln!("bench: {} containers of {} …", course.live, runtime.name);
    let (bundle, pid_file) = (course.scratch.bundle("pause"), course.scratch.file("pid"));
    let ids: Vec<String> = (0..course.live).map(|_| course.id()).collect();
    // A single create says little: the first and the last 2 % are measured, several times.
    let edge = (course.live / 50).max(5);
    let (mut first, mut last, mut list) = (Samples::default(), Samples::default(), Samples::default());
    let mut lines = vec![run_beside(course, runtime, 0)];
    for (number, id) in ids.iter().enumerate() {
        let outcome = runtime.create(&bundle, &pid_file, id);
        if outcome.is_err() {
            last.add(outcome);
            break;
        }
        let there = number + 1;
        let again = |samples: &mut Samples| {
            create_again(runtime, &bundle, &pid_file, &ids[there - edge..there], samples)
        };
        match number {
            _ if number < edge => first.add(outcome),
            _ if number >= course.live - edge => last.add(outcome),
            _ => {}
        }
        if there == edge {
            again(&mut first);
        } else if there == course.live {
            again(&mut last);
        }
        if there * 4 % course.live == 0 && there * 4 != course.live * 3 {
            lines.push(run_beside(course, runtime, there));
        }
    }
    (0..edge).for_each(|_| list.add(runtime.time(&["list"])));
    ids.iter().for_each(|id| runtime.discard(id));
    std::thread::sleep(SETTLE);
    let scale = Some(Scale::Containers(course.live));
    let line =
        |case: &str, samples| Line { case: case.to_string(), scale, subject: runtime.name.clone(), samples };
    lines.extend([line(CREATE_FIRST, first), line(CREATE_LAST, last), line(LIST, list)]);
    lines
}

/// Removes some of the containers and makes them again, several times, because the machine may be busy for a
/// moment.
fn create_again(runtime: &Runtime, bundle: &Path, pid_file: &Path, ids: &[String], samples: &mut Samples) {
    for _ in 1..ROUNDS {
        ids.iter().for_each(|id| runtime.discard(id));
        std::thread::sleep(SETTLE);
        ids.iter().for_each(|id| samples.add(runtime.create(bundle, pid_file, id)));
    }
}

fn run_beside(course: &Course<'_>, runtime: &Runtime, there: usize) -> Line {
    let mut samples = Samples::default();
    for _ in 0..course.runs.min(40) {
        samples.add(course.run(&crate::course::Subject::Runtime(runtime), "true"));
    }
    let scale = Some(Scale::Containers(there));
    Line { case: RUN_BY_CONTAINERS.to_string(), scale, subject: runtime.name.clone(), samples }
}

/// The same number of containers, created one after the other and several at once.
pub fn at_once(course: &Course<'_>) -> Vec<Line> {
    let course = &Course::new(course.runtimes, course.scratch, (course.runs / 5).max(3), course.live);
    course.interleave(&[ONE_AT_A_TIME, AT_ONCE], None, &course.runtimes(), |subject, samples| {
        if let crate::course::Subject::Runtime(runtime) = subject {
            for (samples, width) in samples.iter_mut().zip([1, WIDTH]) {
                let ids: Vec<String> = (0..BATCH).map(|_| format!("parallel-{}", course.id())).collect();
                samples.add(create_all(runtime, &course.scratch.bundle("pause"), &ids, width));
                ids.iter().for_each(|id| runtime.discard(id));
                std::thread::sleep(SETTLE);
            }
        }
    })
}

/// The time per container, with up to `width` creates at once.
fn create_all(runtime: &Runtime, bundle: &Path, ids: &[String], width: usize) -> Result<Cost> {
    let mut running = Vec::new();
    let mut failed = 0;
    let begin = Instant::now();
    for id in ids {
        if running.len() == width {
            failed += usize::from(!wait_for_one(&mut running)?);
        }
        running.push(i32::try_from(runtime.spawn_create(bundle, id)?.id()).context(|| "pid")?);
    }
    while !running.is_empty() {
        failed += usize::from(!wait_for_one(&mut running)?);
    }
    let time = begin.elapsed() / u32::try_from(ids.len()).context(|| "count")?;
    match failed {
        0 => Ok(Cost { time }),
        failed => Err(error(format!("{failed} of {} creates failed", ids.len()))),
    }
}

/// Waits until any of these processes has ended; returns whether it succeeded.
fn wait_for_one(running: &mut Vec<i32>) -> Result<bool> {
    loop {
        let (pid, status) = rustix::process::waitpid(None, rustix::process::WaitOptions::empty())
            .context(|| "waitpid")?
            .ok_or_else(|| error("nobody to wait for"))?;
        // Others are containers' processes, which the benchmark has to reap.
        if let Some(index) = running.iter().position(|known| *known == pid.as_raw_nonzero().get()) {
            running.swap_remove(index);
            return Ok(status.exit_status() == Some(0));
        }
    }
}
