//! What must hold after a command in which something went wrong.

use crate::fault::Fault;
use crate::place::{Ended, ID, Place};
use crate::tracer::Role;
use crate::verb::{Afterwards, Before, Effect, RUN_IN_VAIN, Verb, must};

/// Something that does not hold: its kind, which the table counts, and the particulars.
#[derive(Debug)]
pub struct Violation {
    pub kind: &'static str,
    pub detail: String,
}

/// Where in the command's life the fault was injected.
#[derive(Debug, Clone, Copy)]
pub struct Injected {
    pub fault: Fault,
    pub role: Role,
    /// The command had finished its output, or was about to.
    pub after_the_end: bool,
}

impl Injected {
    /// The command itself was killed.
    fn kills_command(self) -> bool {
        self.fault == Fault::Kill && matches!(self.role, Role::Runtime | Role::Thread)
    }

    /// A process of the container was killed.
    fn kills_container(self) -> bool {
        self.fault == Fault::Kill && self.role == Role::Init
    }
}

/// Everything that is wrong after one case. `ended` is how the command ended.
pub fn judge(place: &Place, verb: &Verb, injected: Injected, ended: &Ended) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut is_wrong = |kind, detail: String| found.push(Violation { kind, detail });
    if let Some(doing) = &ended.hung {
        is_wrong("hangs", doing.clone());
    } else if !injected.kills_command() {
        if let Some((kind, detail)) = what_it_says(verb, injected, ended) {
            is_wrong(kind, detail);
        }
        let effect = if injected.after_the_end { None } else { what_it_does(place, verb, injected, ended) };
        if let Some((kind, detail)) = effect {
            is_wrong(kind, detail);
        }
    }
    if ended.hung.is_none() && verb.afterwards == Afterwards::Alive && !lives(place, verb) {
        is_wrong("container lost", format!("it is {}", place.status()));
    }
    found.extend(clean_up(place, verb));
    found
}

/// One clear line if it fails, nothing if it does not; warnings are allowed beside it.
fn what_it_says(verb: &Verb, injected: Injected, ended: &Ended) -> Option<(&'static str, String)> {
    // A detached container writes to the same stderr.
    let is_the_commands = |line: &&str| verb.name != "run-detached" || !line.starts_with(RUN_IN_VAIN);
    let lines: Vec<_> = ended.stderr.lines().filter(is_the_commands).collect();
    let unknown = lines.iter().find(|line| !line.starts_with("pillbox: "));
    let errors = lines.iter().filter(|line| !line.starts_with("pillbox: warning: ")).count();
    let said = || format!("status {}, stderr {:?}", ended.code, ended.stderr);
    if ended.code < 0 {
        return Some(("dies of a signal", said()));
    }
    if let Some(line) = unknown {
        return Some(("unclear words", format!("{line:?}")));
    }
    match errors {
        // A failed clean-up is reported in addition to the program's status.
        _ if ended.code == verb.success && (errors == 0 || verb.success != 0 && errors == 1) => None,
        _ if ended.code == verb.success => Some(("words with success", said())),
        1 => None,
        // A command that passes a program's status on says by it that the process was killed.
        0 if verb.success != 0 && injected.kills_container() && ended.code == 128 + 9 => None,
        // What it is for says the failure.
        0 if ["check", "net-check"].contains(&verb.name) && ended.code == 1 && !ended.stdout.is_empty() => {
            None
        }
        0 => Some(("fails without a word", said())),
        _ => Some(("more than a line", said())),
    }
}

/// Success means that the work is done, failure that it is not.
fn what_it_does(
    place: &Place,
    verb: &Verb,
    injected: Injected,
    ended: &Ended,
) -> Option<(&'static str, String)> {
    let effect = verb.effect(place, ended);
    let said = || format!("status {}, stderr {:?}", ended.code, ended.stderr);
    let succeeds = ended.code == verb.success;
    let has_effect = matches!(effect, Effect::Done | Effect::Told);
    if succeeds && !has_effect && !injected.kills_container() {
        return Some(("success without effect", format!("{}, stdout {:?}", said(), ended.stdout)));
    }
    if verb.success == 7 && ended.code == 0 {
        return Some(("0 instead of the program's status", said()));
    }
    // A program whose status is passed on may have run in vain. A killed command can undo nothing.
    if !succeeds && effect == Effect::Done && verb.success == 0 && !injected.kills_container() {
        return Some(("fails with effect", said()));
    }
    if !succeeds && verb.afterwards == Afterwards::GoneOnFailure {
        let mut left = place.leftovers();
        left.extend(place.strays());
        if !left.is_empty() {
            return Some(("failure leaves", format!("{}; {}", left.join(", "), said())));
        }
    }
    None
}

/// Whether the container is as alive as before the command, and `state` says so.
fn lives(place: &Place, verb: &Verb) -> bool {
    let status = place.status();
    match verb.before {
        Before::Created => status == "created",
        _ => status == "running" || status == "paused" && ["pause", "resume"].contains(&verb.name),
    }
}

/// Whatever happened: `delete --force` removes everything, and the id is free.
fn clean_up(place: &Place, verb: &Verb) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut is_wrong = |kind, detail| found.push(Violation { kind, detail });
    // Containers of `try` have names of their own.
    let delete: &[&str] = if verb.name == "try" {
        &["delete", "--force", "--regex", "^try-"]
    } else {
        &["delete", "--force", ID]
    };
    for kind in ["delete --force fails", "second delete --force fails"] {
        if let Err(text) = must(place, delete) {
            is_wrong(kind, text);
        }
    }
    // Of a container that is lost nothing but its networks is known.
    let left = if verb.before == Before::Lost { Vec::new() } else { place.leftovers() };
    if !left.is_empty() {
        is_wrong("delete --force leaves", left.join(", "));
    }
    if place.bundle.is_connected() {
        let mut wrong = place.put_networks_right();
        wrong.extend(place.leftovers());
        if !wrong.is_empty() {
            is_wrong("net gc leaves", wrong.join(", "));
        }
    }
    if !found.is_empty() {
        place.clear();
    }
    found
}
