//! Output: how fast it gets into the log, and what that costs; and the memory of whoever keeps a container.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Figure;
use super::contender::{BOX, Contender, field, parent};
use crate::course::Course;
use crate::error::{Context, Result, error};

/// How much box logs, and the others, which are slower and keep more of it, in MB.
const MEGABYTES: u64 = 1000;
const MEGABYTES_OF_OTHERS: u64 = 200;

/// Bytes in one write, each of which is a line.
pub const WRITES: [usize; 2] = [4000, 100];

/// The process that keeps a container.
pub const MEMORY: &str = "anonymous memory of a container's monitor, KB";

/// How long a container may write.
const PATIENCE: Duration = Duration::from_secs(120);

/// The names of the figures.
pub fn speed(size: usize) -> String {
    format!("logging lines of {size} bytes, MB/s")
}

pub fn processor(size: usize) -> String {
    format!("logging lines of {size} bytes, seconds of the processor for a GB")
}

/// What the benchmark does inside a container: writes lines of a size to stdout, then the time that it took to a file. It stays,
/// so that whoever keeps the container can be looked at.
pub fn write(size: &str, megabytes: &str, told: &Path) -> Result<()> {
    let size: usize = size.parse().context(|| "size")?;
    let total = megabytes.parse::<u64>().context(|| "megabytes")? * 1_000_000;
    let mut line = vec![b'x'; size.saturating_sub(1)];
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    let began = Instant::now();
    for _ in 0..total / size as u64 {
        // Each ends a line, so that it is one write(2).
        stdout.write_all(&line).context(|| "write")?;
    }
    let took = began.elapsed().as_nanos().to_string();
    let beside = told.with_extension("beside");
    fs::write(&beside, took).and_then(|()| fs::rename(&beside, told)).context(|| "tell the time")?;
    loop {
        std::thread::park();
    }
}

/// Measures it for all engines.
pub fn measure(course: &Course<'_>, contenders: &[Contender]) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for engine in contenders {
        eprintln!("bench: the log of {} …", engine.name);
        for size in WRITES {
            let name = course.id();
            let found = log(course, engine, &name, size);
            engine.discard(&name);
            figures.extend(found?);
        }
        let name = course.id();
        let found = weigh(engine, &name);
        engine.discard(&name);
        figures.push(found?);
    }
    Ok(figures)
}

fn log(course: &Course<'_>, engine: &Contender, name: &str, size: usize) -> Result<[Figure; 2]> {
    let told = course.scratch.file(name);
    fs::create_dir(&told).context(|| "mkdir")?;
    let megabytes = if engine.name == BOX { MEGABYTES } else { MEGABYTES_OF_OTHERS };
    let before = engine.daemons().into_iter().map(processor_time).sum::<Result<f64>>()?;
    let volume = format!("{}:/told", told.display());
    let program =
        ["/bin/bench", "write", &size.to_string(), &megabytes.to_string(), "/told/time"].map(str::to_string);
    engine.start(name, &["-v", &volume], &program.each_ref().map(String::as_str))?;
    let keeper = parent(engine.pid(name)?)?;
    let began = Instant::now();
    let nanoseconds: f64 = loop {
        match fs::read_to_string(told.join("time")) {
            Ok(text) => break text.trim().parse().context(|| "the time that the container told")?,
            Err(_) if began.elapsed() > PATIENCE => return Err(error("the container did not end")),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let daemons = engine.daemons().into_iter().map(processor_time).sum::<Result<f64>>()?;
    let used = processor_time(keeper)? + daemons - before;
    let figure = |what, value| Figure { what, subject: engine.name, value };
    Ok([
        figure(speed(size), megabytes as f64 * 1e6 / nanoseconds * 1e3),
        figure(processor(size), used * 1000.0 / megabytes as f64),
    ])
}

/// The seconds that a process has used of the processor (proc_pid_stat(5)).
fn processor_time(pid: i32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).context(|| format!("read {path}"))?;
    // The name in parentheses may have spaces.
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
    let sum = ticks(11).zip(ticks(12)).ok_or_else(|| error(format!("{path}: no times")))?;
    Ok((sum.0 + sum.1) / rustix::param::clock_ticks_per_second() as f64)
}

/// The monitor of a container that does nothing; Docker's shim, without its daemons.
fn weigh(engine: &Contender, name: &str) -> Result<Figure> {
    engine.start(name, &[], &["/bin/pause"])?;
    // It may still be at work for the beginning.
    std::thread::sleep(Duration::from_millis(500));
    let keeper = parent(engine.pid(name)?)?;
    let kib = field(format!("/proc/{keeper}/smaps_rollup"), "Anonymous:")?;
    Ok(Figure { what: MEMORY.into(), subject: engine.name, value: f64::from(kib) * 1.024 })
}
