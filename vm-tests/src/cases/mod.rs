//! The cases. Each runs in a process of its own in the guest, against the runc-compatible command line.

mod attribute;
mod config;
mod container;
mod devices;
mod expectation;
mod faults;
mod identity;
mod isolation;
mod lifecycle;
mod limits;
mod mounts;
mod seccomp;

pub use container::{Guest, folder};

/// What a case checks, and what it takes.
pub struct Case {
    /// What it is called on the command line and in the report.
    pub name: &'static str,
    /// Without these it is skipped.
    pub needs: &'static [Need],
    /// Seconds after which it is killed.
    pub limit: u64,
    /// The case itself; an error is a failure, in words.
    pub run: fn(&Guest) -> Result<(), String>,
}

/// What a case may need beyond a runtime and a kernel.
pub enum Need {
    /// A kernel module, loaded before the case.
    Module(&'static str),
    /// A cgroup v2 controller.
    Controller(&'static str),
    /// A command that not every runtime has: its `--help` lists it.
    Command(&'static str),
}

impl Case {
    const fn new(name: &'static str, run: fn(&Guest) -> Result<(), String>) -> Case {
        // Under emulation on a busy machine, crun takes ten seconds for the longest of these.
        Case { name, needs: &[], limit: 40, run }
    }

    const fn needs(self, needs: &'static [Need]) -> Case {
        Case { needs, ..self }
    }

    const fn limit(self, limit: u64) -> Case {
        Case { limit, ..self }
    }
}

/// Run before all others and not reported.
pub const WARM_UP: Case = Case::new("warm_up", lifecycle::run_output);

const TABLES: [&[Case]; 9] = [
    lifecycle::CASES,
    isolation::CASES,
    mounts::CASES,
    identity::CASES,
    attribute::CASES,
    seccomp::CASES,
    devices::CASES,
    limits::CASES,
    faults::CASES,
];

/// The cases whose names contain one of `filters`; all when there are none.
pub fn chosen(filters: &[String]) -> Vec<&'static Case> {
    let all = TABLES.into_iter().flatten();
    all.filter(|case| filters.is_empty() || filters.iter().any(|part| case.name.contains(part.as_str())))
        .collect()
}

/// The case called `name`.
pub fn named(name: &str) -> Option<&'static Case> {
    if name == WARM_UP.name {
        Some(&WARM_UP)
    } else {
        TABLES.into_iter().flatten().find(|case| case.name == name)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = super::chosen(&[]).iter().map(|case| case.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
