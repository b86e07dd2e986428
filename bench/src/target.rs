//! The targets for pillbox, and whether it reaches them.

use serde_json::{Value, json};

use crate::cases::{INIT_MEMORY, INIT_SIZE, PEAK_MEMORY, RUN, RUN_DOCKER, STEPS};
use crate::course::{FLOOR, FLOOR_IN_PROCESS, LIBRARY, Scale};
use crate::filter::{COMPILE, FILTERED};
use crate::memory::SMALLEST;
use crate::report::{REFERENCE, Report, number};
use crate::scale::{AT_ONCE, CREATE_FIRST, CREATE_LAST, LIST, ONE_AT_A_TIME, RUN_BY_MOUNTS};
use crate::turn::TURN;

/// The runtime to which the targets apply.
const OURS: &str = "pillbox";

/// One target.
pub struct Target {
    /// What is compared with what.
    pub what: String,
    /// The bound.
    pub bound: f64,
    /// Whether less is better.
    pub at_most: bool,
    /// The measured value, if everything it needs was measured.
    pub measured: Option<f64>,
}

impl Target {
    /// Whether it is reached.
    pub fn reached(&self) -> Option<bool> {
        self.measured
            .map(|measured| if self.at_most { measured <= self.bound } else { measured >= self.bound })
    }

    /// The bound as text.
    fn bound_text(&self) -> String {
        format!("{} {}", if self.at_most { '≤' } else { '≥' }, self.bound)
    }

    /// Its row in a table: see [`HEAD`].
    pub fn row(&self) -> [String; 4] {
        let verdict = self.reached().map_or("not measured", |yes| if yes { "yes" } else { "NO" });
        [self.what.clone(), self.bound_text(), number(self.measured), verdict.to_string()]
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let (bound, reached) = (self.bound_text(), self.reached());
        json!({ "what": self.what, "bound": bound, "measured": self.measured, "reached": reached })
    }
}

/// The columns of a table of targets.
pub const HEAD: [&str; 4] = ["what", "must be", "is", "reached"];

/// Targets as a table of Markdown.
pub fn markdown(targets: &[Target]) -> String {
    let rows = targets.iter().map(|target| format!("| {} |\n", target.row().join(" | ")));
    format!("| {} |\n|---|---|---:|---|\n{}", HEAD.join(" | "), rows.collect::<String>())
}

/// All targets, measured or not.
pub fn targets(report: &Report<'_>) -> Vec<Target> {
    let median = |case: &str, subject: &str| report.median(case, None, subject);
    let ratio = |over: Option<f64>, under: Option<f64>| Some(over? / under?);
    let at_most = |what: String, bound, measured| Target { what, bound, at_most: true, measured };
    let at_least =
        |what: &str, bound, measured| Target { what: what.into(), bound, at_most: false, measured };
    let to_reference = |case: &str, bound| {
        at_most(format!("{case}: × {REFERENCE}"), bound, ratio(median(case, OURS), median(case, REFERENCE)))
    };
    let mut targets = vec![
        to_reference(RUN, 0.30),
        at_most(format!("{RUN}: × {FLOOR}"), 1.25, ratio(median(RUN, OURS), median(RUN, FLOOR))),
        to_reference(RUN_DOCKER, 0.30),
    ];
    targets.extend(STEPS.map(|step| to_reference(step, 0.25)));
    targets.push(to_reference("exec", 0.25));
    let in_turn = [0.30, 0.30, 0.24, 0.24, 0.25, 0.27, 0.25, 0.25];
    targets.extend(TURN.into_iter().zip(in_turn).map(|(verb, bound)| to_reference(verb, bound)));
    targets.push(at_most(
        format!("create, start, wait, delete through the library: × {FLOOR_IN_PROCESS}"),
        1.25,
        ratio(median(RUN, LIBRARY), median(RUN, FLOOR_IN_PROCESS)),
    ));
    let by_mounts = |count| report.median(RUN_BY_MOUNTS, Some(Scale::Mounts(count)), OURS);
    targets.push(at_most(
        "run with 3,000 mounts: × with 30".to_string(),
        1.25,
        ratio(by_mounts(3000), by_mounts(30)),
    ));
    let filled = Some(Scale::Containers(report.live));
    targets.push(at_most(
        format!("create beside {} containers: × beside none", report.live),
        1.2,
        ratio(report.median(CREATE_LAST, filled, OURS), report.median(CREATE_FIRST, filled, OURS)),
    ));
    targets.push(at_most(format!("list of {}, ms", report.live), 10.0, report.median(LIST, filled, OURS)));
    let at_once = median(AT_ONCE, OURS);
    targets.push(at_least(
        "creates a second, 8 at a time: × one at a time",
        1.7,
        ratio(median(ONE_AT_A_TIME, OURS), at_once),
    ));
    targets.push(at_least(
        "creates a second, 8 at a time: × crun's",
        3.0,
        ratio(median(AT_ONCE, REFERENCE), at_once),
    ));
    for what in PEAK_MEMORY {
        targets.push(at_most(format!("{what}, KiB"), 700.0, report.figure(what, OURS)));
    }
    targets.push(at_most("memory of init, KiB".to_string(), 100.0, report.figure(INIT_MEMORY, OURS)));
    let smallest = |subject: &str| report.figure(SMALLEST, subject);
    targets.push(at_most(format!("{SMALLEST}, KiB"), 256.0, smallest(OURS)));
    let to_reference_memory = ratio(smallest(OURS), smallest(REFERENCE));
    targets.push(at_most(format!("{SMALLEST}: × {REFERENCE}"), 0.99, to_reference_memory));
    targets.push(at_most("compiling Docker's seccomp profile, ms".to_string(), 0.1, median(COMPILE, OURS)));
    targets.push(to_reference(FILTERED, 1.0));
    let size = |name: &str| {
        let runtime = report.runtimes.iter().find(|runtime| runtime.name == name)?;
        Some(runtime.size as f64 / 1000.0)
    };
    targets.push(at_most("program, KB".to_string(), 800.0, size(OURS)));
    targets.push(at_most(
        "program without D-Bus, KB".to_string(),
        600.0,
        report.reduced_size.map(|size| size as f64 / 1000.0),
    ));
    targets.push(at_most(
        "init, KB".to_string(),
        48.0,
        report.figure(INIT_SIZE, OURS).map(|kib| kib * 1.024),
    ));
    targets
}
