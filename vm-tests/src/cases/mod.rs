//! The cases. Each runs in a process of its own in the guest, and uses the command line of runc.

mod attribute;
mod boxd;
mod config;
mod container;
mod devices;
mod engine;
mod expectation;
mod faults;
mod identity;
mod isolation;
mod lifecycle;
mod limits;
mod memory;
mod mounts;
mod network;
mod root;
mod seccomp;
mod systemd;
mod unit;
mod user;

pub use container::{Guest, folder};
pub use engine::ENGINE;

/// What a case tests, and what it needs.
pub struct Case {
    /// Its name on the command line and in the report.
    pub name: &'static str,
    /// If one of these is missing, the case is skipped.
    pub needs: &'static [Need],
    /// What makes its containers' cgroups.
    pub manager: Manager,
    /// Parameters of the kernel, beside those of all guests.
    pub parameters: &'static str,
    /// Seconds after which it is killed.
    pub limit: u64,
    /// The case itself; an error is the text of a failure.
    pub run: fn(&Guest) -> Result<(), String>,
}

/// What makes the cgroups of a case's containers, and which user calls the runtime.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// The runtime, called by root, in the guest without a service manager.
    Cgroupfs,
    /// Systemd, called by root.
    Systemd,
    /// The systemd of an ordinary user, called by that user.
    User,
}

/// What a case may need beyond a runtime and a kernel.
pub enum Need {
    /// A kernel module, loaded before the case.
    Module(&'static str),
    /// A cgroup v2 controller.
    Controller(&'static str),
    /// A command that not every runtime has, listed in its `--help`.
    Command(&'static str),
    /// box.
    Engine,
}

impl Case {
    const fn new(name: &'static str, run: fn(&Guest) -> Result<(), String>) -> Case {
        // Enough: under emulation on a busy machine, crun takes ten seconds for the longest of these.
        Case { name, needs: &[], manager: Manager::Cgroupfs, parameters: "", limit: 40, run }
    }

    const fn needs(self, needs: &'static [Need]) -> Case {
        Case { needs, ..self }
    }

    const fn manager(self, manager: Manager) -> Case {
        Case { manager, ..self }
    }

    /// Whether it runs in the guest with systemd.
    pub fn wants_systemd(&self) -> bool {
        self.manager != Manager::Cgroupfs
    }

    const fn parameters(self, parameters: &'static str) -> Case {
        Case { parameters, ..self }
    }

    /// Whether both run in the same guest.
    pub fn shares_guest_with(&self, other: &Case) -> bool {
        self.wants_systemd() == other.wants_systemd() && self.parameters == other.parameters
    }

    const fn limit(self, limit: u64) -> Case {
        Case { limit, ..self }
    }
}

const WARM_UP: &[Case] = &[Case::new("warm_up", lifecycle::run_output)];
const WARM_UP_SYSTEMD: &[Case] = &[
    Case::new("warm_up_systemd", lifecycle::run_output).manager(Manager::Systemd),
    Case::new("warm_up_user", user::run_output).manager(Manager::User),
];

const TABLES: [&[Case]; 15] = [
    lifecycle::CASES,
    isolation::CASES,
    mounts::CASES,
    root::CASES,
    identity::CASES,
    attribute::CASES,
    seccomp::CASES,
    devices::CASES,
    limits::CASES,
    faults::CASES,
    engine::CASES,
    network::CASES,
    systemd::CASES,
    boxd::CASES,
    user::CASES,
];

/// The cases whose names contain one of `filters`; all cases if there are no filters.
pub fn chosen(filters: &[String]) -> Vec<&'static Case> {
    let all = TABLES.into_iter().flatten();
    all.filter(|case| filters.is_empty() || filters.iter().any(|part| case.name.contains(part.as_str())))
        .collect()
}

/// The measurements.
pub fn measurements() -> Vec<&'static Case> {
    memory::MEASUREMENTS.iter().collect()
}

/// The prefix of the figure in the log of a measurement.
const FIGURE: &str = "measured: ";

/// Writes a measured figure to the log.
fn tell_figure(figure: u64) {
    println!("{FIGURE}{figure}");
}

/// The figure in the log of a measurement.
pub fn figure_in(log: &str) -> Option<u64> {
    log.lines().rev().find_map(|line| line.strip_prefix(FIGURE)?.parse().ok())
}

/// The case called `name`.
pub fn named(name: &str) -> Option<&'static Case> {
    let all = TABLES.into_iter().chain([WARM_UP, WARM_UP_SYSTEMD, memory::MEASUREMENTS]).flatten();
    all.into_iter().find(|case| case.name == name)
}

/// Cases that run before all others and are not reported.
pub fn warm_ups(with_systemd: bool) -> &'static [Case] {
    if with_systemd { WARM_UP_SYSTEMD } else { WARM_UP }
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
