//! What is measured, in which order, and the results.

use std::cell::Cell;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::bundle::Scratch;
use crate::error::{Context, Result};
use crate::figures::Samples;
use crate::runtime::{Cost, Runtime, time};
use crate::{floor, host, library};

/// The floor's name in the report.
pub const FLOOR: &str = "floor";
/// The floor without a separate process for each container.
pub const FLOOR_IN_PROCESS: &str = "floor, in one process";
/// pillbox without a separate process for each command.
pub const LIBRARY: &str = "pillbox's library, in one process";

/// The quantity at which a case is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Mounts on the host.
    Mounts(usize),
    /// Containers that exist already.
    Containers(usize),
}

/// One line of the report.
pub struct Line {
    /// What was run: `run`, `create` …
    pub case: String,
    /// The quantity at which it was repeated, if any.
    pub scale: Option<Scale>,
    /// The runtime's name, or the floor's.
    pub subject: String,
    /// The measured times.
    pub samples: Samples,
}

/// A number that is not a time.
pub struct Figure {
    /// What it is.
    pub what: &'static str,
    /// The runtime's name.
    pub subject: String,
    /// In KiB.
    pub kib: f64,
}

/// What is measured in one round of a case.
pub enum Subject<'a> {
    Runtime(&'a Runtime),
    Floor,
    FloorInProcess,
    Library,
}

impl Subject<'_> {
    pub fn name(&self) -> &str {
        match self {
            Subject::Runtime(runtime) => &runtime.name,
            Subject::Floor => FLOOR,
            Subject::FloorInProcess => FLOOR_IN_PROCESS,
            Subject::Library => LIBRARY,
        }
    }
}

/// What all cases need.
pub struct Course<'a> {
    pub runtimes: &'a [Runtime],
    pub scratch: &'a Scratch,
    /// Runs of each case.
    pub runs: usize,
    /// How many other containers exist.
    pub live: usize,
    numbers: Cell<usize>,
}

impl<'a> Course<'a> {
    pub fn new(runtimes: &'a [Runtime], scratch: &'a Scratch, runs: usize, live: usize) -> Self {
        Course { runtimes, scratch, runs, live, numbers: Cell::new(0) }
    }

    /// A container id that has not been used yet.
    pub fn id(&self) -> String {
        format!("{}-{}", self.scratch.prefix(), self.numbers.replace(self.numbers.get() + 1))
    }

    /// Only the runtimes.
    pub fn runtimes(&self) -> Vec<Subject<'a>> {
        self.runtimes.iter().map(Subject::Runtime).collect()
    }

    /// The runtimes, and what they are compared with.
    pub fn everybody(&self) -> Vec<Subject<'a>> {
        let mut all = vec![Subject::FloorInProcess, Subject::Floor, Subject::Library];
        all.extend(self.runtimes());
        all
    }

    /// Measures the subjects in [interleaved](interleave) rounds.
    pub fn interleave(
        &self,
        cases: &[&str],
        scale: Option<Scale>,
        subjects: &[Subject<'_>],
        mut once: impl FnMut(&Subject<'_>, &mut [Samples]),
    ) -> Vec<Line> {
        match scale {
            None => eprintln!("bench: {} …", cases.join(", ")),
            Some(scale) => eprintln!("bench: {}, {scale:?} …", cases.join(", ")),
        }
        let mut samples = interleave(self.runs, cases.len(), subjects, &mut once);
        let mut lines = Vec::new();
        for (index, case) in cases.iter().enumerate() {
            for (subject, samples) in subjects.iter().zip(&mut samples) {
                lines.push(Line {
                    case: case.to_string(),
                    scale,
                    subject: subject.name().to_string(),
                    samples: std::mem::take(&mut samples[index]),
                });
            }
        }
        lines
    }

    /// One container of the bundle, from its creation to its removal.
    pub fn run(&self, subject: &Subject<'_>, bundle: &str) -> Result<Cost> {
        let (bundle, id) = (self.scratch.bundle(bundle), self.id());
        let cgroup = Path::new(host::CGROUP).join(&id);
        let begin = Instant::now();
        match subject {
            Subject::Runtime(runtime) => {
                let arguments = ["run".as_ref(), "--bundle".as_ref(), bundle.as_os_str(), id.as_ref()];
                return runtime.time(&arguments).inspect_err(|_| runtime.discard(&id));
            }
            Subject::Floor => {
                let this = std::env::current_exe().context(|| "find the benchmark's own program")?;
                let mut command = Command::new(this);
                command.arg("floor").arg(bundle.join("rootfs")).arg(cgroup);
                return time(&mut command, &self.scratch.file("stderr"));
            }
            Subject::FloorInProcess => floor::run(&bundle.join("rootfs"), &cgroup)?,
            Subject::Library => library::once(&bundle, &self.scratch.state("library"))?,
        }
        Ok(Cost { time: begin.elapsed() })
    }
}

/// Runs rounds in the order ABBA, so that a machine that slows down or heats up affects all subjects alike. A first
/// round, which fills the caches, is not counted. The result has the samples of each subject, one for each case.
pub fn interleave<S>(
    runs: usize,
    cases: usize,
    subjects: &[S],
    once: &mut dyn FnMut(&S, &mut [Samples]),
) -> Vec<Vec<Samples>> {
    let empty = || (0..cases).map(|_| Samples::default()).collect::<Vec<_>>();
    let mut samples: Vec<Vec<Samples>> = subjects.iter().map(|_| empty()).collect();
    subjects.iter().for_each(|subject| once(subject, &mut empty()));
    for round in 0..runs {
        let count = subjects.len();
        for turn in 0..count {
            let turn = if round % 2 == 0 { turn } else { count - 1 - turn };
            once(&subjects[turn], &mut samples[turn]);
        }
    }
    samples
}

/// The samples by case and subject.
pub fn lines(cases: &[&str], subjects: &[&str], samples: Vec<Vec<Samples>>) -> Vec<Line> {
    let mut samples: Vec<_> = samples.into_iter().map(Vec::into_iter).collect();
    let mut lines = Vec::new();
    for case in cases {
        for (subject, samples) in subjects.iter().zip(&mut samples) {
            let (case, subject) = (case.to_string(), subject.to_string());
            lines.push(Line { case, scale: None, subject, samples: samples.next().unwrap_or_default() });
        }
    }
    lines
}
