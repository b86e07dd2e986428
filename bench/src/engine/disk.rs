//! A container's end, beside somebody who has much that is not on the disk yet.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use super::contender::Contender;
use super::life::names;
use crate::course::{Course, Line, interleave, lines};
use crate::error::{Context, Result};
use crate::runtime::Cost;

/// The cases.
pub const END: [&str; 2] = ["a container's end, quiet disk", "a container's end, 1 GB dirty"];

/// Each writes a gigabyte.
const RUNS: usize = 5;

/// Measures it. `disk` is a folder on the disk of the engines' stores.
pub fn measure(course: &Course<'_>, contenders: &[Contender], disk: &Path) -> Vec<Line> {
    eprintln!("bench: {} …", END.join(", "));
    let samples = interleave(course.runs.min(RUNS), END.len(), contenders, &mut |engine, samples| {
        for (is_dirty, samples) in [false, true].into_iter().zip(samples) {
            let name = course.id();
            samples.add(end(engine, &name, is_dirty.then(|| disk.join("dirty"))));
            engine.discard(&name);
            let _ = File::open(disk).map(|disk| rustix::fs::syncfs(&disk));
        }
    });
    lines(&END, &names(contenders), samples)
}

/// From the program's death until somebody who waits for it hears of it.
fn end(engine: &Contender, name: &str, dirty: Option<std::path::PathBuf>) -> Result<Cost> {
    engine.start(name, &[], &["/bin/pause"])?;
    let pid = engine.pid(name)?;
    let mut wait = engine.command(&["wait", name]);
    let mut wait = wait.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context(|| "spawn wait")?;
    std::thread::sleep(Duration::from_millis(200));
    if let Some(path) = &dirty {
        write_dirty(path)?;
    }
    let began = Instant::now();
    kill_process(pid, Signal::KILL).context(|| "kill the container's program")?;
    wait.wait().context(|| "wait")?;
    let time = began.elapsed();
    if let Some(path) = &dirty {
        fs::remove_file(path).context(|| format!("remove {}", path.display()))?;
    }
    Ok(Cost { time })
}

fn write_dirty(path: &Path) -> Result<()> {
    let mut file = File::create(path).context(|| format!("create {}", path.display()))?;
    let piece = vec![0xa5; 1 << 20];
    (0..1000).try_for_each(|_| file.write_all(&piece)).context(|| format!("write {}", path.display()))
}
