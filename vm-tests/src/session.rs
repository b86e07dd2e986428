//! One boot as the host sees it: what goes into the guest, and what comes out.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::arch::Arch;
use crate::cases::{Case, ENGINE, Need};
use crate::image::Image;
use crate::kernel::Kernel;
use crate::options::Options;
use crate::orders::{MODULES, ORDERS};
use crate::qemu::{Machine, Running};
use crate::report::{Event, Outcome};
use crate::{debian, power, program, systemd};

/// Under emulation systemd takes twenty seconds on an idle machine.
const BOOT_LIMIT: Duration = Duration::from_secs(180);
/// Time for the guest to clean up after a case, in addition to the case's own limit.
const SLACK: Duration = Duration::from_secs(30);
/// The modules for the report; not every kernel has them built in.
const REPORT_MODULES: [&str; 2] = ["virtio_pci", "virtio_console"];

/// The guest's file system: /init, the runtime, busybox, the modules that the chosen cases need, and the
/// orders. With `packages` there is a system around it, with systemd as pid 1.
pub fn image(
    arch: &Arch,
    kernel: &Kernel,
    options: &Options,
    chosen: &[&Case],
    packages: &[PathBuf],
) -> Result<Vec<u8>, String> {
    let mut image = if packages.is_empty() { Image::default() } else { Image::merged() };
    base(&mut image, arch)?;
    if !packages.is_empty() {
        systemd::add(&mut image, packages)?;
    }
    let name = options.runtime.file_name().unwrap_or_default().to_string_lossy();
    let runtime = format!("/usr/bin/{name}");
    program::add(&mut image, arch, &options.runtime, &runtime).map_err(|e| format!("the runtime: {e}"))?;
    let busybox = busybox(options)?;
    image.file(
        "/bin/busybox",
        0o755,
        &fs::read(&busybox).map_err(|e| format!("{}: {e}", busybox.display()))?,
    );
    image.symlink("/bin/sh", "busybox");
    if packages.is_empty() {
        // For other machines: a network namespace and a process in it.
        ["cat", "unshare"].iter().for_each(|applet| image.symlink(&format!("/bin/{applet}"), "busybox"));
    }
    if options.engine.exists() {
        program::add(&mut image, arch, &options.engine, ENGINE).map_err(|e| format!("box: {e}"))?;
    }
    let needs = chosen.iter().flat_map(|case| case.needs);
    let names = needs.filter_map(|need| if let Need::Module(name) = need { Some(*name) } else { None });
    let modules = add_modules(&mut image, kernel, names)?;
    let cases: Vec<_> = chosen.iter().map(|case| case.name).collect();
    let orders = json!({
        "runtime": runtime, "cases": cases, "modules": modules, "first": REPORT_MODULES,
        "systemd": !packages.is_empty(),
    });
    image.file(ORDERS, 0o644, orders.to_string().as_bytes());
    let bytes = image.finish();
    if options.keep {
        keep("initramfs.cpio", &bytes)?;
    }
    Ok(bytes)
}

/// The file system of a guest whose power is cut: see [`crate::power`].
pub fn power_image(arch: &Arch, kernel: &Kernel, options: &Options) -> Result<Vec<u8>, String> {
    let mut image = Image::default();
    base(&mut image, arch)?;
    program::add(&mut image, arch, &options.engine, ENGINE).map_err(|e| format!("--box: {e}"))?;
    let busybox = busybox(options)?;
    let content = fs::read(&busybox).map_err(|e| format!("{}: {e}", busybox.display()))?;
    image.file("/bin/busybox", 0o755, &content);
    image.folder("/tmp");
    let modules = add_modules(&mut image, kernel, power::MODULES.into_iter())?;
    for name in power::MODULES {
        if modules.get(name).is_none() {
            return Err(format!("the kernel {} has no module {name}", kernel.version));
        }
    }
    let first: Vec<_> = REPORT_MODULES.into_iter().chain(power::MODULES).collect();
    let orders = json!({ "power": true, "modules": modules, "first": first });
    image.file(ORDERS, 0o644, orders.to_string().as_bytes());
    Ok(image.finish())
}

/// A file system without orders: its /init writes the answer of the probe and powers off.
pub fn probe_image(arch: &Arch) -> Result<Vec<u8>, String> {
    let mut image = Image::default();
    base(&mut image, arch)?;
    Ok(image.finish())
}

fn base(image: &mut Image, arch: &Arch) -> Result<(), String> {
    image.character_device("/dev/console", (5, 1));
    program::add(image, arch, Path::new("/proc/self/exe"), "/init")
}

fn busybox(options: &Options) -> Result<PathBuf, String> {
    match &options.busybox {
        Some(path) => Ok(path.clone()),
        None => Ok(debian::unpacked("busybox-static")
            .map_err(|e| format!("{e} (elsewhere: --busybox PATH, a static one)"))?
            .join("bin/busybox")),
    }
}

/// Adds the modules with these names, and those for the report. Returns the load order of each module, except those that are
/// missing.
fn add_modules<'n>(
    image: &mut Image,
    kernel: &Kernel,
    names: impl Iterator<Item = &'n str>,
) -> Result<Value, String> {
    let mut names: BTreeSet<&str> = names.collect();
    names.extend(REPORT_MODULES);
    let mut orders = Map::new();
    let mut added = BTreeSet::new();
    for name in names {
        let Some(order) = kernel.load_order(name)? else { continue };
        for module in &order {
            if added.insert(module.clone()) {
                image.file(&format!("{MODULES}/{module}.ko"), 0o644, &kernel.module(module)?);
            }
        }
        orders.insert(name.to_owned(), json!(order));
    }
    Ok(Value::Object(orders))
}

/// Counts the outcomes; its text is the last line of a run.
#[derive(Default)]
pub struct Summary {
    /// Cases that passed.
    pub passed: usize,
    /// Cases that failed, or did not run because the guest had died.
    pub failed: usize,
    /// Cases for which something is missing.
    pub skipped: usize,
    /// The measured figures, by their names.
    pub figures: Vec<(String, u64)>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { passed, failed, skipped, figures: _ } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

impl Summary {
    /// Counts cases that cannot be run at all.
    pub fn skip(&mut self, cases: &[&Case], reason: &str) {
        cases.iter().for_each(|case| self.count(case.name, &Outcome::Skipped(reason.into()), 0.0));
    }

    fn count(&mut self, name: &str, outcome: &Outcome, seconds: f64) {
        match outcome {
            Outcome::Passed => {
                self.passed += 1;
                println!("ok {name} {seconds:.2} s");
            }
            Outcome::Measured(figure) => {
                self.passed += 1;
                println!("ok {name} {seconds:.2} s: {figure}");
                self.figures.push((name.to_owned(), *figure));
            }
            Outcome::Failed(detail) => {
                self.failed += 1;
                println!("FAIL {name} {seconds:.2} s");
                detail.lines().for_each(|line| println!("    {line}"));
            }
            Outcome::Skipped(reason) => {
                self.skipped += 1;
                println!("SKIP {name}: {reason}");
            }
        }
    }
}

/// Boots a guest, prints each case's line when it ends, and counts the outcomes in `summary`.
pub fn run(
    machine: &Machine,
    kernel: &Kernel,
    image: &[u8],
    options: &Options,
    chosen: &[&Case],
    summary: &mut Summary,
) -> Result<(), String> {
    let unit = systemd::SERVICE;
    // Under emulation the mitigations against side channels cost time and protect nothing.
    let own = chosen.first().map_or("", |case| case.parameters);
    let parameters = format!("quiet mitigations=off systemd.unit={unit} {own}");
    let mut guest = machine.boot(&kernel.image, image, &parameters)?;
    let mut follower = Follower { summary, open: None, left: chosen.to_vec() };
    let death = follower.follow(&guest, options.timeout);
    let ended = if death.is_ok() { guest.finish(SLACK) } else { guest.finish(Duration::from_secs(1)) };
    if options.keep {
        keep("console.log", guest.console_text().as_bytes())?;
    }
    if let Err(reason) = death {
        describe_death(&guest, &reason, ended.map(|(_, stderr)| stderr).unwrap_or_default().trim());
        follower.bury();
    } else if ended.is_none() {
        println!("the guest reported everything but did not power off within {} s", SLACK.as_secs());
        follower.summary.failed += 1;
    }
    Ok(())
}

fn describe_death(guest: &Running, reason: &str, stderr: &str) {
    println!("the guest died: {reason}");
    if !stderr.is_empty() {
        println!("    QEMU: {stderr}");
    }
    println!("its console's last lines:");
    guest.last_words().iter().for_each(|line| println!("    {line}"));
}

/// Reads the report. Cases are removed from `left` when they have ended.
struct Follower<'a> {
    summary: &'a mut Summary,
    open: Option<String>,
    left: Vec<&'a Case>,
}

impl Follower<'_> {
    /// Reads until the guest says that it is done; an error is the reason why it must be dead.
    fn follow(&mut self, guest: &Running, timeout: Duration) -> Result<(), String> {
        let end = Instant::now() + timeout;
        let mut limit = BOOT_LIMIT;
        loop {
            let wait = limit.min(end.saturating_duration_since(Instant::now()));
            let line = match guest.lines.recv_timeout(wait) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => return Err("QEMU ended before the last case".into()),
                Err(RecvTimeoutError::Timeout) if wait == limit => {
                    return Err(format!("nothing was heard of it for {} s", limit.as_secs()));
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!(
                        "the time limit of {} s for all cases (--timeout)",
                        timeout.as_secs()
                    ));
                }
            };
            limit = match Event::parse(&line).ok_or_else(|| format!("no event: {line}"))? {
                Event::Up { kernel, seconds } => {
                    println!("Linux {kernel} up after {seconds:.1} s");
                    SLACK
                }
                Event::Begin { case } => {
                    let own =
                        self.left.iter().find(|known| known.name == case).map_or(0, |known| known.limit);
                    self.open = Some(case);
                    SLACK + Duration::from_secs(own)
                }
                Event::End { case, outcome, seconds } => {
                    self.open = None;
                    self.left.retain(|known| known.name != case);
                    self.summary.count(&case, &outcome, seconds);
                    SLACK
                }
                Event::Down if self.left.is_empty() => return Ok(()),
                Event::Down => return Err("it stopped before the last case".into()),
            };
        }
    }

    /// Counts the case in which the guest died, and those that never ran, as failed.
    fn bury(&mut self) {
        for case in std::mem::take(&mut self.left) {
            let open = self.open.as_deref() == Some(case.name);
            let reason = if open { "the guest died in it" } else { "not run: the guest had died" };
            self.summary.count(case.name, &Outcome::Failed(reason.into()), 0.0);
        }
    }
}

fn keep(name: &str, bytes: &[u8]) -> Result<(), String> {
    let folder = Path::new("target/vm-tests");
    let path = folder.join(name);
    fs::create_dir_all(folder).and_then(|()| fs::write(&path, bytes)).map_err(|e| format!("{path:?}: {e}"))
}
