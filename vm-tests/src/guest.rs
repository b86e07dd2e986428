//! pid 1 of the guest: sets the machine up, runs one case after another, reports, powers off.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind, mount_move};
use rustix::process::{Pid, Signal, WaitOptions, chroot, kill_process, wait};
use rustix::system::{RebootCommand, reboot};

use crate::cases::{self, Case, Guest, Need};
use crate::orders::{ORDERS, Orders};
use crate::remains::{self, Snapshot};
use crate::report::{Event, Outcome};
use crate::{power, systemd};

/// The name of the virtio port for the report.
pub const REPORT_PORT: &str = "vm-tests.report";
/// What the probe guest writes to its console.
pub const PROBE_ANSWER: &str = "vm-tests: the probe is up";

/// The cgroup of a case's own processes, which can all be killed by one write.
const CASE_CGROUP: &str = "/sys/fs/cgroup/vm-tests";
const CASE: &str = "case";
/// The argument of the service in the guest with systemd.
const SERVE: &str = "serve";
/// How much of a failed case's log to show: enough to see the cause.
const DETAIL_LIMIT: usize = 8000;

/// /init: pid 1, or the service that runs the cases, or, with `case NAME CGROUP`, the process of one case.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        [CASE, name, cgroup] => return run_case(name, cgroup),
        [SERVE] => serve_within_systemd(),
        _ if Path::new(ORDERS).exists() => boot(),
        _ => {
            println!("{PROBE_ANSWER}");
            Ok(())
        }
    };
    if let Err(e) = result {
        eprintln!("vm-tests: {e}");
    }
    // If this fails, the end of pid 1 is a kernel panic, which ends QEMU.
    if let Err(e) = reboot(RebootCommand::PowerOff) {
        eprintln!("vm-tests: power off: {e}");
    }
    ExitCode::FAILURE
}

fn boot() -> Result<(), String> {
    let orders = Orders::read()?;
    orders.load_first()?;
    if orders.want_power_cuts() {
        mount_all()?;
        let mut report = open_report()?;
        return power::guest(|event| tell(&mut report, &event));
    }
    // pillbox is meant for initramfs images as well: the guest without systemd stays in one.
    if orders.want_systemd() || !orders.runtime().ends_with("pillbox") {
        leave_initial_root().map_err(|e| format!("leaving the initial root: {e}"))?;
    }
    if orders.want_systemd() {
        let error = Command::new(systemd::PROGRAM).exec();
        return Err(format!("{}: {error}", systemd::PROGRAM));
    }
    mount_all()?;
    set_up_cgroups()?;
    serve(&orders, CASE_CGROUP)
}

/// Runs as a service whose cgroup is delegated: this process and the cases go below it.
fn serve_within_systemd() -> Result<(), String> {
    let own = line("/proc/self/cgroup")?.replacen("0::", "/sys/fs/cgroup", 1);
    let [supervisor, case] = ["supervisor", "case"].map(|name| format!("{own}/{name}"));
    for cgroup in [&supervisor, &case] {
        fs::create_dir(cgroup).map_err(|e| format!("{cgroup}: {e}"))?;
    }
    join_cgroup(&supervisor)?;
    serve(&Orders::read()?, &case)
}

fn join_cgroup(cgroup: &str) -> Result<(), String> {
    fs::write(format!("{cgroup}/cgroup.procs"), "0").map_err(|e| format!("{cgroup}: {e}"))
}

/// Runs all cases, with their processes in the cgroup `cgroup`.
fn serve(orders: &Orders, cgroup: &str) -> Result<(), String> {
    let mut report = open_report()?;
    let mut tell = |event: Event| tell(&mut report, &event);
    // Nothing is cleared after these: what the runtime sets up once for all containers must not count as left
    // behind by a case.
    for case in cases::warm_ups(orders.want_systemd()) {
        let log = "/run/vm-tests.warm_up";
        if let Err(e) = watch(case, log, cgroup, &Snapshot::take(&states(orders))) {
            eprintln!("vm-tests: {}: {}{e}", case.name, fs::read_to_string(log).unwrap_or_default());
        }
        let _ = fs::remove_file(log);
        let _ = fs::remove_dir_all(cases::folder(case.name));
    }
    let help = runtime_help(orders);
    tell(Event::Up { kernel: line("/proc/sys/kernel/osrelease")?, seconds: uptime()? })?;
    for name in orders.cases() {
        let case = cases::named(&name).ok_or_else(|| format!("no case is called {name}"))?;
        tell(Event::Begin { case: name.clone() })?;
        let started = Instant::now();
        let outcome = match missing(case, orders, &help) {
            Ok(None) => supervise(case, orders, cgroup),
            Ok(Some(what)) => Outcome::Skipped(what),
            Err(e) => Outcome::Failed(e),
        };
        tell(Event::End { case: name, outcome, seconds: started.elapsed().as_secs_f64() })?;
    }
    tell(Event::Down)
}

/// The runtime's state folders: root's and the user's.
fn states(orders: &Orders) -> [PathBuf; 2] {
    let runtime = orders.runtime();
    ["/run", systemd::USER_RUNTIME].map(|run| Path::new(run).join(runtime.file_name().unwrap_or_default()))
}

/// Other runtimes insist on pivot_root, which refuses to leave the initial root. So that is covered by
/// another mount, as switch_root does.
fn leave_initial_root() -> Result<(), Errno> {
    rustix::fs::mkdir("/covered", rustix::fs::Mode::from_raw_mode(0o755))?;
    mount_bind("/", "/covered")?;
    rustix::process::chdir("/covered")?;
    mount_move(".", "/")?;
    chroot(".")?;
    rustix::process::chdir("/")
}

fn mount_all() -> Result<(), String> {
    let hardened = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    let mounts = [
        ("proc", "/proc", hardened),
        ("sysfs", "/sys", hardened),
        ("devtmpfs", "/dev", MountFlags::NOSUID),
        ("devpts", "/dev/pts", MountFlags::NOSUID | MountFlags::NOEXEC),
        ("tmpfs", "/dev/shm", MountFlags::NOSUID | MountFlags::NODEV),
        ("mqueue", "/dev/mqueue", hardened),
        ("cgroup2", "/sys/fs/cgroup", hardened),
        ("tmpfs", "/run", MountFlags::NOSUID | MountFlags::NODEV),
        ("tmpfs", "/tmp", MountFlags::NOSUID | MountFlags::NODEV),
    ];
    for (kind, place, flags) in mounts {
        // /sys/fs/cgroup comes with sysfs, where no folders can be made.
        let _ = fs::create_dir(place);
        mount(kind, place, kind, flags, None).map_err(|e| format!("mounting {kind} on {place}: {e}"))?;
    }
    Ok(())
}

/// Turns all controllers on for the cgroups below the root, as a service manager does.
fn set_up_cgroups() -> Result<(), String> {
    let controllers = line("/sys/fs/cgroup/cgroup.controllers")?;
    for controller in controllers.split_whitespace() {
        fs::write("/sys/fs/cgroup/cgroup.subtree_control", format!("+{controller}"))
            .map_err(|e| format!("controller {controller}: {e}"))?;
    }
    fs::create_dir(CASE_CGROUP).map_err(|e| format!("{CASE_CGROUP}: {e}"))
}

fn open_report() -> Result<File, String> {
    let folder = Path::new("/sys/class/virtio-ports");
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        for port in fs::read_dir(folder).into_iter().flatten().flatten() {
            // The name of a port, and its node, appear after the port itself.
            let name = fs::read_to_string(port.path().join("name")).unwrap_or_default();
            let node = Path::new("/dev").join(port.file_name());
            if name.trim() == REPORT_PORT && node.exists() {
                return File::options()
                    .write(true)
                    .open(&node)
                    .map_err(|e| format!("{}: {e}", node.display()));
            }
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err(format!(
        "no virtio port is called {REPORT_PORT} (are virtio_pci and virtio_console among the modules?)"
    ))
}

fn tell(report: &mut File, event: &Event) -> Result<(), String> {
    report.write_all(format!("{}\n", event.line()).as_bytes()).map_err(|e| format!("report: {e}"))
}

fn runtime_help(orders: &Orders) -> String {
    let output = Command::new(orders.runtime()).arg("--help").stdin(Stdio::null()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// The first thing that a case needs and that this guest or runtime does not have.
fn missing(case: &Case, orders: &Orders, help: &str) -> Result<Option<String>, String> {
    let controllers = line("/sys/fs/cgroup/cgroup.controllers")?;
    for need in case.needs {
        match need {
            Need::Module(name) if !orders.load(name)? => return Ok(Some(format!("no module {name}"))),
            Need::Controller(name) if !controllers.split_whitespace().any(|word| word == *name) => {
                return Ok(Some(format!("no cgroup controller {name}")));
            }
            Need::Command(name) if !help.split_whitespace().any(|word| word == *name) => {
                return Ok(Some(format!("the runtime's --help does not list {name}")));
            }
            Need::Engine if !Path::new(cases::ENGINE).exists() => return Ok(Some("no box".into())),
            Need::Module(_) | Need::Controller(_) | Need::Command(_) | Need::Engine => {}
        }
    }
    Ok(None)
}

/// Runs a case in a process of its own, kills it at its time limit, and cleans up after it.
fn supervise(case: &Case, orders: &Orders, cgroup: &str) -> Outcome {
    let states = states(orders);
    let before = Snapshot::take(&states);
    let log = format!("/run/vm-tests.{}", case.name);
    let result = watch(case, &log, cgroup, &before);
    let left = remains::wait_until_gone(&before, &states, reap);
    let _ = fs::remove_dir_all(cases::folder(case.name));
    let words = fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let _ = fs::remove_file(&log);
    let mut reasons: Vec<String> = result.err().into_iter().collect();
    if !left.is_empty() {
        reasons.push(format!("left behind: {}", left.join("; ")));
        remains::clear(&before, &states, cgroup, reap);
    }
    if reasons.is_empty() {
        return cases::figure_in(&words).map_or(Outcome::Passed, Outcome::Measured);
    }
    let start = words.len().saturating_sub(DETAIL_LIMIT);
    let start = words.ceil_char_boundary(start);
    Outcome::Failed(format!("{}{}", &words[start..], reasons.join("\n")))
}

fn watch(case: &Case, log: &str, cgroup: &str, before: &Snapshot) -> Result<(), String> {
    let file = File::create(log).map_err(|e| format!("{log}: {e}"))?;
    let error = file.try_clone().map_err(|e| format!("{log}: {e}"))?;
    let mut command = Command::new("/init");
    command.args([CASE, case.name, cgroup]).stdin(Stdio::null()).stdout(file).stderr(error);
    let child = command.env("PATH", "/usr/bin:/bin").spawn().map_err(|e| format!("/init: {e}"))?;
    let pid = Pid::from_child(&child);
    let limit = Duration::from_secs(case.limit);
    let (ended, watched) = channel::<()>();
    let (status, hung) = thread::scope(|scope| {
        let watchdog = scope.spawn(move || {
            let hung = watched.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if hung {
                let _ = kill_process(pid, Signal::KILL);
                remains::kill_cgroups(before, cgroup);
            }
            hung
        });
        let status = wait_for(pid);
        drop(ended);
        (status, watchdog.join().unwrap_or(false))
    });
    if hung {
        return Err(format!("killed at its limit of {} s", case.limit));
    }
    match status? {
        status if status.success() => Ok(()),
        status if status.code() == Some(1) => Err(String::new()),
        status => Err(format!("the case's process ended with {status}")),
    }
}

/// Waits for one child, and meanwhile reaps every orphan that ends, which containers expect of pid 1.
fn wait_for(pid: Pid) -> Result<ExitStatus, String> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if ended == pid => return Ok(ExitStatus::from_raw(status.as_raw())),
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(format!("wait: {e}")),
        }
    }
}

/// Reaps all processes that have ended.
fn reap() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

/// The process of one case. Its stdout and stderr are the log, its status is the result.
fn run_case(name: &str, cgroup: &str) -> ExitCode {
    let result = join_cgroup(cgroup).and_then(|()| {
        let case = cases::named(name).ok_or_else(|| format!("no case is called {name}"))?;
        (case.run)(&Guest::new(case, Orders::read()?.runtime())?)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn line(path: &str) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    Ok(text.trim().to_owned())
}

fn uptime() -> Result<f64, String> {
    let text = line("/proc/uptime")?;
    text.split(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| format!("/proc/uptime: {text}"))
}
