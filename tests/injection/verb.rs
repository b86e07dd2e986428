//! The commands: what must exist before each, how it is called, and how to see whether it has done its work.

use std::fs;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;

use crate::bundle::Bundle;
use crate::place::{Ended, ID, Place, wait_until};

/// How far the container is when the command is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    Nothing,
    Created,
    Running,
    Paused,
    Stopped,
    /// It runs, and will soon end by itself, with status 7.
    Ending,
    /// It has ended, and its state folder is gone.
    Lost,
}

/// Whether a command has done its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Done,
    NotDone,
    /// It has printed what it is for.
    Told,
    /// It has not printed it.
    Untold,
}

/// What must hold for a container after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// A failure leaves nothing at all.
    GoneOnFailure,
    /// Whatever happens, it stays alive.
    Alive,
    /// The command is meant to end it.
    Any,
}

/// One command.
#[derive(Clone, Copy)]
pub struct Verb {
    pub name: &'static str,
    pub before: Before,
    pub afterwards: Afterwards,
    pub arguments: &'static [&'static str],
    /// The status on success; the program's, if the command passes that on.
    pub success: i32,
    effect: fn(&Place, &Ended) -> Effect,
}

/// A program that keeps running, and leaves a sign that it runs.
const STAYS: &str = ": > /ran/program; exec sleep 1000";
/// A program that ends.
const ENDS: &str = ": > /ran/program; exit 7";
/// A program that ends after a while.
const ENDS_SOON: &str = ": > /ran/program; sleep 0.3; exit 7";

const B: &str = "--bundle=/run/injection/bundle";
const P: &str = "--pid-file=/run/injection/bundle/pid";
/// Replaced by the flags that this bundle needs.
const CONSOLE: &str = "CONSOLE";
const NETWORK: &str = "NETWORK";

use Afterwards::{Alive, Any, GoneOnFailure};
use Before::{Created, Ending, Lost, Nothing, Paused, Running, Stopped};

#[rustfmt::skip]
pub const VERBS: &[Verb] = &[
    Verb { name: "create", before: Nothing, afterwards: GoneOnFailure, arguments: &["create", B, P, CONSOLE, NETWORK, ID], success: 0,
        effect: |place, _| done(place.status() == "created" && pid_file_is_right(place)) },
    Verb { name: "run", before: Nothing, afterwards: GoneOnFailure, arguments: &["run", B, NETWORK, ID], success: 7,
        effect: |place, ended| done(ended.code == 7 && place.has_run_by_now("program")) },
    Verb { name: "run-detached", before: Nothing, afterwards: GoneOnFailure, arguments: &["run", "--detach", B, P, CONSOLE, ID],
        success: 0, effect: |place, ended| {
            done(has_run_in_vain(place, &ended.stderr, ended) || has_left(place, ended, "program") && pid_file_is_right(place))
        } },
    Verb { name: "start", before: Created, afterwards: Any, arguments: &["start", ID], success: 0,
        // If a poststart hook fails, the container ends.
        effect: |place, ended| {
            done(has_run_in_vain(place, &place.program_said(), ended) || has_left(place, ended, "program") && (ended.code == 0 || place.status() == "running"))
        } },
    Verb { name: "exec", before: Running, afterwards: Alive, arguments: &["exec", ID, "sh", "-c", ": > /ran/exec; exit 7"], success: 7,
        effect: |place, ended| done(ended.code == 7 && place.has_run_by_now("exec")) },
    Verb { name: "exec-detached", before: Running, afterwards: Alive,
        arguments: &["exec", "--detach", P, ID, "sh", "-c", ": > /ran/exec; exec sleep 1000"], success: 0,
        // It ends if this fails.
        effect: |place, ended| {
            done(if ended.code == 0 { place.has_run("exec") } else { place.limit("cgroup.procs").lines().count() > 1 })
        } },
    Verb { name: "exec-terminal", before: Running, afterwards: Alive,
        arguments: &["exec", "--tty", ID, "sh", "-c", ": > /ran/exec; exit 7"], success: 7,
        effect: |place, ended| done(ended.code == 7 && place.has_run_by_now("exec")) },
    Verb { name: "state", before: Running, afterwards: Alive, arguments: &["state", ID], success: 0,
        effect: |_, ended| told(json(ended)["status"] == "running") },
    Verb { name: "list", before: Running, afterwards: Alive, arguments: &["list"], success: 0,
        effect: |_, ended| told(ended.stdout.contains("box ") && ended.stdout.contains(" running ")) },
    Verb { name: "list-json", before: Created, afterwards: Alive, arguments: &["list", "--format=json"], success: 0,
        effect: |_, ended| told(json(ended)[0]["status"] == "created") },
    Verb { name: "list-quiet", before: Running, afterwards: Alive, arguments: &["list", "--quiet"], success: 0,
        effect: |_, ended| told(ended.stdout == "box\n") },
    Verb { name: "kill", before: Running, afterwards: Any, arguments: &["kill", ID, "KILL"], success: 0, effect: killed },
    Verb { name: "kill-all", before: Running, afterwards: Any, arguments: &["kill", "--all", ID, "KILL"], success: 0,
        effect: killed },
    Verb { name: "kill-created", before: Created, afterwards: Any, arguments: &["kill", ID, "KILL"], success: 0, effect: killed },
    Verb { name: "pause", before: Running, afterwards: Alive, arguments: &["pause", ID], success: 0,
        effect: |place, _| done(place.status() == "paused") },
    Verb { name: "resume", before: Paused, afterwards: Alive, arguments: &["resume", ID], success: 0,
        effect: |place, _| done(place.status() == "running") },
    Verb { name: "update", before: Running, afterwards: Alive, arguments: &["update", "--resources=/run/injection/limits.json", ID],
        success: 0, effect: |place, _| done(place.limit("cgroup.max.descendants") == "9" && recorded(place, "max.descendants")) },
    Verb { name: "ps", before: Running, afterwards: Alive, arguments: &["ps", "--format=json", ID], success: 0,
        effect: |place, ended| told(json(ended)[0].as_i64().is_some_and(|pid| place.pid().map(i64::from) == Some(pid))) },
    Verb { name: "events-stats", before: Running, afterwards: Alive, arguments: &["events", "--stats", ID], success: 0,
        effect: |_, ended| told(json(ended)["id"] == ID) },
    Verb { name: "events", before: Ending, afterwards: Any, arguments: &["events", "--interval=100ms", ID], success: 0,
        effect: |_, ended| told(ended.stdout.starts_with('{')) },
    Verb { name: "wait", before: Ending, afterwards: Any, arguments: &["wait", ID], success: 7,
        effect: |_, ended| told(ended.code == 7 && ended.stdout == "7\n") },
    Verb { name: "mounts-add", before: Running, afterwards: Alive, arguments: &["mounts", "add", ID, "/run/injection/mounts.json"],
        success: 0, effect: |place, _| done(mounted(place) == 2) },
    Verb { name: "mounts-remove", before: Running, afterwards: Alive,
        arguments: &["mounts", "remove", ID, "/run/injection/mounts.json"], success: 0,
        // Unmounted file systems cannot be put back.
        effect: |place, ended| if ended.code == 0 { done(mounted(place) == 0) } else { Effect::Untold } },
    Verb { name: "delete", before: Stopped, afterwards: Any, arguments: &["delete", ID], success: 0, effect: gone },
    Verb { name: "delete-created", before: Created, afterwards: Any, arguments: &["delete", ID], success: 0, effect: gone },
    Verb { name: "delete-force", before: Running, afterwards: Any, arguments: &["delete", "--force", ID], success: 0, effect: gone },
    Verb { name: "delete-regex", before: Running, afterwards: Any, arguments: &["delete", "--force", "--regex", "^b"], success: 0,
        effect: gone },
    Verb { name: "net-list", before: Running, afterwards: Alive, arguments: &["net", "list", "--format=json"], success: 0,
        effect: |_, ended| told(json(ended)["attachments"][0]["attachment"]["owner"] == ID) },
    Verb { name: "net-check", before: Running, afterwards: Alive, arguments: &["net", "check"], success: 0,
        effect: |_, ended| told(ended.stdout.is_empty()) },
    Verb { name: "net-gc", before: Lost, afterwards: Any, arguments: &["net", "gc"], success: 0,
        // It mends one thing after the other; the next one goes on where it has failed.
        effect: |place, ended| if ended.code == 0 { gone(place, ended) } else { Effect::Untold } },
    Verb { name: "try", before: Nothing, afterwards: GoneOnFailure, arguments: &["try", "sh", "-c", "exit 7"], success: 7,
        effect: |_, ended| done(ended.code == 7) },
    Verb { name: "explain", before: Nothing, afterwards: Any, arguments: &["explain", B], success: 0,
        effect: |_, ended| told(ended.stdout.contains("Exec ")) },
    Verb { name: "check", before: Nothing, afterwards: Any, arguments: &["check"], success: 0,
        effect: |_, ended| told(ended.stdout.contains("eccomp")) },
];

/// The content of the files that commands read.
const INPUTS: [(&str, &str); 2] = [
    ("limits.json", r#"{"unified": {"cgroup.max.descendants": "9"}}"#),
    (
        "mounts.json",
        r#"[{"type": "tmpfs", "source": "tmpfs", "destination": "/mnt"},
            {"type": "bind", "source": "/run/injection/volume", "destination": "/volume", "options": ["bind", "ro"]}]"#,
    ),
];

impl FromStr for Verb {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        VERBS.iter().find(|verb| verb.name == text).copied().ok_or_else(|| format!("{text}: no such command"))
    }
}

impl Verb {
    /// Whether this command takes a path of its own with that bundle.
    pub fn goes_with(&self, bundle: Bundle) -> bool {
        match bundle {
            Bundle::Plain => !self.name.starts_with("net-"),
            Bundle::Hooks => {
                ["create", "run", "start", "exec", "delete", "delete-force"].contains(&self.name)
            }
            Bundle::User => ["create", "run", "run-detached", "start", "exec", "mounts-add", "delete-force"]
                .contains(&self.name),
            Bundle::Terminal => ["create", "run", "run-detached", "start", "exec-terminal", "delete-force"]
                .contains(&self.name),
            Bundle::Joined | Bundle::Listener => {
                ["create", "run", "start", "exec", "delete-force"].contains(&self.name)
            }
            Bundle::Engine => ["create", "run", "start", "exec", "delete"].contains(&self.name),
            Bundle::Unseeded | Bundle::FirstNetwork => ["create", "run"].contains(&self.name),
            Bundle::Network => [
                "create",
                "run",
                "state",
                "delete",
                "delete-created",
                "delete-force",
                "net-list",
                "net-check",
                "net-gc",
            ]
            .contains(&self.name),
            Bundle::Plugin => ["create", "run", "delete", "delete-force", "net-check"].contains(&self.name),
            Bundle::HostMounts => {
                ["create", "run", "start", "exec", "delete", "delete-created", "delete-force"]
                    .contains(&self.name)
            }
        }
    }

    /// The command line without the program and `--root`.
    pub fn arguments(&self, place: &Place) -> Vec<String> {
        let console = format!("--console-socket={}", place.path("console.sock").display());
        let words = self.arguments.iter().flat_map(|word| match *word {
            CONSOLE if place.bundle == Bundle::Terminal => vec![console.clone()],
            CONSOLE => Vec::new(),
            NETWORK => place.network_flags(),
            word => vec![word.to_string()],
        });
        words.collect()
    }

    /// Brings the container to the state in which the command finds it.
    pub fn prepare(&self, place: &mut Place) -> Result<(), String> {
        let script = match self.before {
            Stopped => ENDS,
            Ending => ENDS_SOON,
            Nothing if self.success == 7 => ENDS,
            _ => STAYS,
        };
        place.begin(script).map_err(|error| error.to_string())?;
        for (name, text) in INPUTS {
            fs::write(place.path(name), text).map_err(|error| error.to_string())?;
        }
        if self.before == Nothing {
            return Ok(());
        }
        let create = VERBS[0].arguments(place);
        must(place, &create.iter().map(String::as_str).collect::<Vec<_>>())?;
        if self.before == Created {
            return Ok(());
        }
        must(place, &["start", ID])?;
        if !place.has_run("program") {
            return Err("the program does not run".into());
        }
        match self.before {
            Paused => must(place, &["pause", ID]),
            Lost => lose(place),
            Stopped if wait_until(Duration::from_secs(3), || place.status() == "stopped") => Ok(()),
            Stopped => Err("the program does not end".into()),
            _ if self.name == "mounts-remove" => {
                must(place, &["mounts", "add", ID, "/run/injection/mounts.json"])
            }
            _ => Ok(()),
        }
    }

    /// Whether the command has done its work.
    pub fn effect(&self, place: &Place, ended: &Ended) -> Effect {
        (self.effect)(place, ended)
    }
}

/// Ends the container behind pillbox's back, and removes what is known of it.
fn lose(place: &Place) -> Result<(), String> {
    must(place, &["kill", ID, "KILL"])?;
    if !wait_until(Duration::from_secs(3), || place.status() == "stopped") {
        return Err("the program does not end".into());
    }
    place.forget(ID).map_err(|error| error.to_string())
}

/// Runs a command without a fault, which must succeed silently.
pub fn must(place: &Place, arguments: &[&str]) -> Result<(), String> {
    let ended = place.call(arguments).map_err(|error| error.to_string())?;
    if (ended.code, ended.stderr.as_str(), &ended.hung) == (0, "", &None) {
        return Ok(());
    }
    let hung = ended.hung.map_or(String::new(), |doing| format!(", hangs: {doing}"));
    Err(format!("{}: status {}, {:?}{hung}", arguments.join(" "), ended.code, ended.stderr.trim()))
}

fn done(is: bool) -> Effect {
    if is { Effect::Done } else { Effect::NotDone }
}

fn told(is: bool) -> Effect {
    if is { Effect::Told } else { Effect::Untold }
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(ended.stdout.lines().next().unwrap_or_default())
        .or_else(|_| serde_json::from_str(&ended.stdout))
        .unwrap_or_default()
}

/// How a container reports that its program could not be executed: then it has run, and failed.
pub const RUN_IN_VAIN: &str = "exec /bin/sh: ";

/// Whether a container has reported this on its stderr. Nobody reads a terminal here, so that its end has to
/// be enough.
fn has_run_in_vain(place: &Place, said: &str, ended: &Ended) -> bool {
    let unread = place.bundle == Bundle::Terminal && ended.code == 0;
    let stopped = || place.status() == "stopped";
    let settled = || place.has_run_by_now("program") || stopped();
    said.starts_with(RUN_IN_VAIN) || unread && wait_until(Duration::from_secs(3), settled) && stopped()
}

/// Whether the program has left its sign; if the command says that it runs, it gets time for that.
fn has_left(place: &Place, ended: &Ended, sign: &str) -> bool {
    if ended.code == 0 { place.has_run(sign) } else { place.has_run_by_now(sign) }
}

fn pid_file_is_right(place: &Place) -> bool {
    let text = fs::read_to_string(place.path("bundle/pid")).unwrap_or_default();
    text.parse().is_ok_and(|pid: i32| place.pid() == Some(pid))
}

fn killed(place: &Place, ended: &Ended) -> Effect {
    let patience = Duration::from_millis(if ended.code == 0 { 3000 } else { 20 });
    done(wait_until(patience, || place.status() == "stopped"))
}

fn gone(place: &Place, ended: &Ended) -> Effect {
    done(if ended.code == 0 { place.leftovers().is_empty() } else { place.leftovers_now().is_empty() })
}

/// Whether state.json contains these words.
fn recorded(place: &Place, words: &str) -> bool {
    let record = fs::read_to_string(place.path("state").join(ID).join("state.json")).unwrap_or_default();
    record.contains(words)
}

/// How many of the mounts of `mounts.json` the container has.
fn mounted(place: &Place) -> usize {
    let mountinfo =
        place.pid().map(|pid| fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default());
    let points = mountinfo.unwrap_or_default();
    points
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| ["/mnt", "/volume"].contains(point))
        .count()
}
