//! The runtimes under test: pillbox, and the peers that are installed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

use super::host;

/// A runtime under test.
pub struct Runtime {
    pub name: String,
    pub path: PathBuf,
}

/// The peers, with the oldest version (major, minor) whose behaviour the cases know.
const PEERS: [(&str, (u32, u32)); 2] = [("crun", (1, 28)), ("runc", (1, 3))];

impl Runtime {
    pub fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// The runtime's program.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS").env_remove("XDG_RUNTIME_DIR");
        command.stdin(std::process::Stdio::null());
        command
    }

    fn version(&self) -> Option<(u32, u32)> {
        let output = self.command().arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let mut numbers = text.lines().next()?.rsplit(' ').next()?.split('.').map(|part| part.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    }
}

fn runtimes() -> &'static [Runtime] {
    static RUNTIMES: OnceLock<Vec<Runtime>> = OnceLock::new();
    RUNTIMES.get_or_init(|| match env::var("PILLBOX_TEST_RUNTIME") {
        Ok(paths) => paths.split(',').map(runtime_at).collect(),
        Err(_) => {
            let peers = PEERS.into_iter().filter_map(|(name, oldest)| installed(name, oldest));
            std::iter::once(runtime_at(env!("CARGO_BIN_EXE_pillbox"))).chain(peers).collect()
        }
    })
}

fn runtime_at(path: &str) -> Runtime {
    let path = fs::canonicalize(path).unwrap_or_else(|error| panic!("runtime {path}: {error}"));
    let name = path.file_name().and_then(|name| name.to_str()).expect("runtime's name").to_string();
    Runtime { name, path }
}

fn installed(name: &str, oldest: (u32, u32)) -> Option<Runtime> {
    let path = env::var_os("PATH")?;
    let path =
        env::split_paths(&path).map(|folder| folder.join(name)).find(|path| Path::new(path).exists())?;
    let peer = Runtime { name: name.to_string(), path };
    (peer.version()? >= oldest).then_some(peer)
}

/// Runs `case` on every runtime under test; a failure names those that failed.
#[track_caller]
pub fn each_runtime(case: impl Fn(&Runtime)) {
    each_runtime_but(&[], case);
}

/// The same without these peers: (name, what it does instead and why we don't).
#[track_caller]
pub fn each_runtime_but(peers: &[(&str, &str)], case: impl Fn(&Runtime)) {
    assert!(
        peers.iter().all(|(name, _)| PEERS.iter().any(|(peer, _)| peer == name)),
        "only a peer may be left out"
    );
    if !host::isolated() {
        return;
    }
    // With PILLBOX_TEST_EXCEPTIONS an excluded peer must fail, so that the reasons are tested too.
    let exceptions = env::var_os("PILLBOX_TEST_EXCEPTIONS").is_some();
    let mut failed = Vec::new();
    for runtime in runtimes() {
        let excepted = peers.iter().any(|(name, _)| runtime.is(name));
        if excepted && !exceptions {
            continue;
        }
        let passed = catch_unwind(AssertUnwindSafe(|| case(runtime))).is_ok();
        if passed == excepted {
            eprintln!("^ {}{}", runtime.name, if passed { ", an exception, passes" } else { "" });
            failed.push(runtime.name.as_str());
        }
    }
    assert!(failed.is_empty(), "failed: {}", failed.join(", "));
}

/// A case about something that only pillbox has or promises.
#[track_caller]
pub fn pillbox_only(case: impl Fn(&Runtime)) {
    if env::var_os("PILLBOX_TEST_EXCEPTIONS").is_none() {
        each_runtime_but(&PEERS.map(|(name, _)| (name, "not offered there")), case);
    }
}
