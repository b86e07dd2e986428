//! What this machine offers to containers. The kernel is asked by trying, if that leaves nothing behind.
//!
//! May use every other room.

mod cgroup;
mod kernel;
mod namespace;
mod privilege;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use serde::Serialize;

use crate::state::Root;

/// Whether something is available.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Availability {
    /// All of it.
    Yes,
    /// Only a part of it.
    Partly,
    /// Nothing of it.
    No,
}

impl Availability {
    /// `yes`, `partly`, `no`.
    pub fn as_str(self) -> &'static str {
        match self {
            Availability::Yes => "yes",
            Availability::Partly => "partly",
            Availability::No => "no",
        }
    }
}

/// One thing that containers use, and what was found out about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The thing.
    pub what: Cow<'static, str>,
    /// Whether it is available.
    pub available: Availability,
    /// What was found, in a few words; may be empty.
    pub detail: Cow<'static, str>,
    /// What follows if it is missing, in a sentence; empty if nothing is missing.
    pub consequence: Cow<'static, str>,
    /// What helps, in a sentence; empty if nothing is missing.
    pub remedy: Cow<'static, str>,
    /// Whether no container can run without it.
    pub required: bool,
}

impl Finding {
    fn yes(what: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) -> Finding {
        Finding::new(what.into(), detail.into())
    }

    // Not inlined, nor is `set_missing`: there are dozens of callers, and a finding is large.
    #[inline(never)]
    fn new(what: Cow<'static, str>, detail: Cow<'static, str>) -> Finding {
        Finding {
            what,
            available: Availability::Yes,
            detail,
            consequence: "".into(),
            remedy: "".into(),
            required: false,
        }
    }

    /// Marks it as missing; `consequence` and `remedy` are sentences.
    fn missing(
        mut self,
        available: Availability,
        consequence: impl Into<Cow<'static, str>>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> Finding {
        self.set_missing(available, consequence.into(), remedy.into());
        self
    }

    #[inline(never)]
    fn set_missing(
        &mut self,
        available: Availability,
        consequence: Cow<'static, str>,
        remedy: Cow<'static, str>,
    ) {
        self.available = available;
        self.consequence = consequence;
        self.remedy = remedy;
    }

    fn required(self) -> Finding {
        Finding { required: true, ..self }
    }
}

/// Looks at everything, as the calling user sees it.
///
/// Namespaces are made in children that end at once, so that nothing stays.
pub fn look(root: &Root) -> Vec<Finding> {
    let user = User::current();
    let mut findings = Vec::new();
    kernel::look(user, &mut findings);
    namespace::look(user, &mut findings);
    cgroup::look(user, &mut findings);
    privilege::look(user, root, &mut findings);
    findings
}

/// Whether containers can run: nothing that is required is missing.
pub fn can_run(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| !finding.required || finding.available != Availability::No)
}

/// The calling user.
#[derive(Debug, Clone, Copy)]
struct User {
    uid: Uid,
    gid: Gid,
    /// The permitted capabilities.
    capabilities: u64,
    /// Whether nothing needs a user namespace.
    privileged: bool,
}

impl User {
    fn current() -> User {
        let capabilities = rustix::thread::capabilities(None).map_or(0, |sets| sets.permitted.bits());
        let uid = rustix::process::geteuid();
        let admin = capabilities >> linux_raw_sys::general::CAP_SYS_ADMIN & 1 == 1;
        User { uid, gid: rustix::process::getegid(), capabilities, privileged: admin && uid.is_root() }
    }
}

/// The content of a file in /proc or /sys without its newline; `None` if there is no such file.
fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim_end().to_string())
}

/// An errno as a detail.
fn word(errno: Errno) -> String {
    crate::error::describe_errno(errno)
}
