//! The machine: the tests run in namespaces of their own, so that its mounts, cgroups and processes stay as
//! they were.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs};

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// Set in the re-executed test program, to a word that is unique to this run.
const ISOLATED: &str = "PILLBOX_TEST_ISOLATED";

/// The folder for everything that the tests write, on a tmpfs that disappears with the mount namespace.
pub const SCRATCH: &str = "/run/pillbox-test";

/// The pid namespace kills all processes when the tests end, however they end; its init, sh, reaps orphans.
const UNSHARE: [&str; 7] = ["-m", "-p", "-f", "-n", "-i", "-u", "--kill-child"];
const PREPARE: &str = r#"
[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] || mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/pillbox-test
set +e
"$@"
status=$?
for cgroup in /sys/fs/cgroup/test-$PILLBOX_TEST_ISOLATED-*; do
    [ -d "$cgroup" ] && echo 1 > "$cgroup/cgroup.kill" || continue
    tries=50
    until grep -q "populated 0" "$cgroup/cgroup.events" || [ $((tries -= 1)) = 0 ]; do sleep 0.1; done
    find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null
done
exit $status"#;

/// Whether the tests can run here. The first call re-executes the program in namespaces of its own and does
/// not return.
pub fn isolated() -> bool {
    static ISOLATION: OnceLock<Result<(), String>> = OnceLock::new();
    match ISOLATION.get_or_init(isolate) {
        Ok(()) => true,
        Err(reason) => {
            skip(reason);
            false
        }
    }
}

fn isolate() -> Result<(), String> {
    if !rustix::process::getuid().is_root() {
        return Err("needs root".into());
    }
    if env::var_os(ISOLATED).is_some() {
        return Ok(());
    }
    let probe = Command::new("unshare").args(UNSHARE).args(["--mount-proc", "true"]).output();
    match probe {
        Ok(output) if output.status.success() => {}
        Ok(output) => return Err(format!("unshare: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => return Err(format!("unshare: {error}")),
    }
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let error = in_namespaces().arg(program).args(env::args_os().skip(1)).exec();
    Err(format!("unshare: {error}"))
}

/// What runs a program, to be added with its arguments, in new namespaces with a `/run` of its own. It counts as a run of
/// its own.
pub fn in_namespaces() -> Command {
    let mut command = Command::new("unshare");
    command.args(UNSHARE).args(["--mount-proc", "sh", "-ec", PREPARE, "sh"]);
    command.env(ISOLATED, format!("{:x}", nanoseconds() & 0xff_ffff_ffff));
    command
}

fn nanoseconds() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("clock").as_nanos()
}

/// The word of this run, for names that other runs on this machine could collide with, such as those of
/// cgroups.
pub fn run_name() -> String {
    env::var(ISOLATED).expect("isolated")
}

/// Reports visibly (past libtest's capture) that a test or a part of it did not run; panics if skips are not
/// allowed.
#[track_caller]
pub fn skip(reason: &str) {
    assert!(env::var_os("PILLBOX_TEST_NO_SKIP").is_none(), "skipped: {}: {reason}", test_name());
    writeln!(std::io::stderr(), "skipped: {}: {reason}", test_name()).ok();
}

/// Reports that the machine lacks something without which a test is impossible here, and which another test does without, or has
/// in the guest.
pub fn lack(reason: &str) {
    writeln!(std::io::stderr(), "passed over: {}: {reason}", test_name()).ok();
}

fn test_name() -> String {
    std::thread::current().name().unwrap_or("?").to_string()
}

/// The static busybox of the root file systems.
pub fn busybox() -> PathBuf {
    let found =
        ["/bin/busybox", "/usr/bin/busybox"].into_iter().map(PathBuf::from).find(|path| path.exists());
    found.expect("no /bin/busybox: apt-get install busybox-static")
}

/// The mount points in the tests' mount namespace, without the tests' own pins of namespaces (nsfs).
pub fn mountpoints() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    text.lines()
        .filter(|line| !line.contains(" - nsfs "))
        .filter_map(|line| line.split(' ').nth(4))
        .map(String::from)
        .collect()
}

/// The pids of the processes that have `word` in their command line, except this one.
pub fn processes_naming(word: &str) -> Vec<u32> {
    let own = std::process::id();
    let pids = fs::read_dir("/proc").expect("/proc").flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.windows(word.len()).any(|part| part == word.as_bytes())
        })
        .collect()
}

/// The value of a field in the text of a /proc/PID/status, without surrounding white space.
pub fn status_field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no field {name} in {status}")).trim().to_string()
}

/// The processors of a process without any restriction of its own, as a list as in /proc/PID/status.
pub fn all_processors_of_the_cgroup() -> String {
    let show = ["-c", "0-1023", "cat", "/proc/self/status"];
    let output = Command::new("taskset").args(show).output().expect("taskset");
    status_field(&String::from_utf8_lossy(&output.stdout), "Cpus_allowed_list")
}

/// Copies a program to where every user can execute it.
///
/// Not in this process: children forked by other tests would inherit the descriptor that is open for writing,
/// and then the copy could not be executed.
pub fn copy_program(from: &Path, to: &Path) {
    let status = Command::new("install").args(["-m", "755"]).arg(from).arg(to).status().expect("install");
    assert!(status.success(), "install {from:?} {to:?}");
}

/// A folder on the host with a marker file, to which a hostile image points; it must stay as it is.
pub fn decoy(parent: &Path) -> PathBuf {
    let folder = parent.join("decoy");
    fs::create_dir(&folder).expect("decoy");
    fs::write(folder.join("marker"), "untouched").expect("marker");
    folder
}

/// Does `work` while two names are swapped again and again.
pub fn while_swapped(one: &Path, other: &Path, work: impl FnOnce()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).expect("exchange");
                std::thread::sleep(std::time::Duration::from_micros(50));
            }
        });
        work();
        over.store(true, Ordering::Relaxed);
    });
}
