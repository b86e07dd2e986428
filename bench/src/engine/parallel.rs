//! Many containers at once, each on the bridge.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::Figure;
use super::contender::Contender;
use super::image::FIVE;
use crate::error::{Context, Result, error};

/// How many there are.
const COUNT: usize = 100;

/// How long the kernel has for what goes with a namespace.
const PATIENCE: Duration = Duration::from_secs(1);

/// Containers a second.
pub const RATE: &str = "100 × run --rm, bridged, at once: containers a second";
/// How many of them failed.
pub const FAILED: &str = "100 × run --rm, bridged, at once: failed";
/// Containers and links afterwards.
pub const LEFT: &str = "100 × run --rm, bridged, at once: left behind";

/// Runs them with each engine.
pub fn measure(contenders: &[Contender]) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for engine in contenders {
        eprintln!("bench: {COUNT} at once with {} …", engine.name);
        // The bridge stays.
        engine.time(&["run", "--rm", FIVE, "/bin/true"])?;
        let before = links()?;
        let began = Instant::now();
        let mut children = Vec::new();
        for _ in 0..COUNT {
            let mut command = engine.command(&["run", "--rm", FIVE, "/bin/true"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            children.push(command.spawn().context(|| format!("spawn {command:?}"))?);
        }
        let mut failed = 0;
        for child in &mut children {
            failed += usize::from(!child.wait().context(|| "wait")?.success());
        }
        let rate = COUNT as f64 / began.elapsed().as_secs_f64();
        let left = engine.output(&["ps", "-a", "-q"])?.lines().count() + links_left(before)?;
        let figure = |what: &str, value| Figure { what: what.into(), subject: engine.name, value };
        figures.extend([figure(RATE, rate), figure(FAILED, failed as f64), figure(LEFT, left as f64)]);
    }
    Ok(figures)
}

/// How many links have stayed. The kernel removes them with their containers' network namespaces, in a moment after the last process's
/// end.
fn links_left(before: usize) -> Result<usize> {
    let began = Instant::now();
    loop {
        match links()?.saturating_sub(before) {
            left if left > 0 && began.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(10)),
            left => return Ok(left),
        }
    }
}

/// How many links there are on this host.
fn links() -> Result<usize> {
    const LINKS: &str = "/sys/class/net";
    if !Path::new(LINKS).exists() {
        return Err(error(format!("{LINKS} is missing")));
    }
    Ok(fs::read_dir(LINKS).context(|| format!("read {LINKS}"))?.count())
}
