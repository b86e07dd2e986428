//! The results in three forms: tables for the terminal, JSON, and a page of Markdown.

use std::fmt::Write;

use serde_json::{Value, json};

use super::Figure;
use super::api::{self, CLIENT, FIRST, IDLE, LIFE};
use super::build::BUILD;
use super::contender::{BOX, BOXD, DOCKER, PODMAN};
use super::disk::END;
use super::life::{BARE, BARE_DOCKER, BRIDGED, RUN, STAYING, VERSION};
use super::log::{self, WRITES, processor, speed};
use super::parallel::{FAILED, LEFT, RATE};
use super::pull::{self, BY_HAND, PULL};
use super::{lists, user};
use crate::course::Line;
use crate::host::Machine;
use crate::report::{columns, number};
use crate::sheet::{self, at_most, table};
use crate::target::{self, Target};

/// Everything that was measured, and on which machine.
pub struct Page {
    /// The machine.
    pub machine: Machine,
    /// The engines' versions.
    pub versions: Vec<String>,
    /// The times.
    pub lines: Vec<Line>,
    /// What is not a time.
    pub figures: Vec<Figure>,
    /// The size of box in bytes.
    pub size: u64,
    /// What could not be measured, and why.
    pub left_out: Vec<String>,
    /// How many containers were listed.
    pub live: usize,
}

const HEAD: [&str; 6] = sheet::head("who");
const FIGURE_HEAD: [&str; 3] = ["what", "who", "is"];

impl Page {
    fn median(&self, case: &str, subject: &str) -> Option<f64> {
        sheet::median(&self.lines, case, subject)
    }

    fn ratio(&self, case: &str, than: &str) -> Option<f64> {
        Some(self.median(case, BOX)? / self.median(case, than)?)
    }

    fn figure(&self, what: &str, subject: &str) -> Option<f64> {
        let found = self.figures.iter().find(|figure| figure.what == what && figure.subject == subject)?;
        Some(found.value)
    }

    /// Box's time as a part of each of these.
    fn ratios<const N: usize>(&self, case: &str, bounds: [(&str, f64); N]) -> Vec<Target> {
        let target = |(than, bound)| at_most(format!("{case}: × {than}"), bound, self.ratio(case, than));
        bounds.map(target).into()
    }

    fn targets(&self) -> Vec<Target> {
        let mut targets = self.ratios(RUN, [(BARE_DOCKER, 0.4), (DOCKER, 0.03), (PODMAN, 0.03)]);
        targets.extend(self.ratios(BRIDGED, [(BARE, 0.7), (DOCKER, 0.025), (PODMAN, 0.025)]));
        targets.extend(self.ratios(user::NETWORKS[0], [(PODMAN, 0.1)]));
        targets.extend(self.ratios(user::NETWORKS[1], [(PODMAN, 0.3)]));
        for case in &STAYING[..2] {
            targets.extend(self.ratios(case, [(DOCKER, 0.03)]));
        }
        let (ps, images) = (lists::ps(self.live), lists::images());
        targets.push(at_most(format!("{ps}, ms"), 12.0, self.median(&ps, BOX)));
        targets.push(at_most(format!("{images}, ms"), 5.0, self.median(&images, BOX)));
        let dirty = self.median(END[1], BOX).zip(self.median(END[0], BOX));
        let dirty = dirty.map(|(dirty, quiet)| dirty / quiet);
        targets.push(at_most(format!("{}: × {}", END[1], END[0]), 1.5, dirty));
        targets.push(at_most(log::MEMORY, 250.0, self.figure(log::MEMORY, BOX)));
        let fast = speed(WRITES[0]);
        let measured = self.figure(&fast, BOX);
        targets.push(Target { what: fast, bound: 1000.0, at_most: false, measured });
        let cheap = processor(WRITES[1]);
        targets.push(at_most(cheap.clone(), 1.0, self.figure(&cheap, BOX)));
        targets.extend(self.pulls());
        targets.extend(self.at_once());
        targets.push(at_most(format!("{VERSION}, ms"), 1.0, self.median(VERSION, BOX)));
        targets.extend(self.api());
        // It has boxd and builds inside.
        targets.push(at_most("program, MB", 4.5, Some(self.size as f64 / 1e6)));
        targets
    }

    fn api(&self) -> Vec<Target> {
        let beside = |case: &str, bound| {
            let measured = self.median(case, BOXD).zip(self.median(case, DOCKER));
            at_most(format!("{case}: {BOXD} × {DOCKER}d"), bound, measured.map(|(own, docker)| own / docker))
        };
        let run = self.median(api::RUN, BOXD).zip(self.median(CLIENT, BOXD));
        let mut targets = vec![
            at_most(
                format!("{}: {BOXD}, ms above the client's own start", api::RUN),
                15.0,
                run.map(|(run, client)| run - client),
            ),
            beside(&api::list(), 0.1),
            beside(LIFE, 0.05),
            at_most(IDLE, 6.0, self.figure(IDLE, BOXD)),
            at_most(FIRST, 20.0, self.figure(FIRST, BOXD)),
            at_most(api::FAILED, 0.0, self.figure(api::FAILED, BOXD)),
        ];
        for (case, bound) in BUILD.into_iter().zip([0.5, 0.1]) {
            targets.extend(self.ratios(case, [(DOCKER, bound)]));
        }
        targets
    }

    fn pulls(&self) -> Vec<Target> {
        let faster = |case: &str| {
            let others = [PODMAN, DOCKER].into_iter().filter_map(|other| self.median(case, other));
            Some(self.median(case, BOX)? / others.reduce(f64::min)?)
        };
        let mut targets: Vec<_> = PULL
            .into_iter()
            .zip([0.35, 0.3])
            .map(|(case, bound)| {
                at_most(format!("{case}: × the faster of {PODMAN} and {DOCKER}"), bound, faster(case))
            })
            .collect();
        targets.extend(self.ratios(PULL[0], [(BY_HAND, 0.8)]));
        targets.push(at_most(pull::MEMORY, 40.0, self.figure(pull::MEMORY, BOX)));
        targets
    }

    fn at_once(&self) -> [Target; 3] {
        let rate = self.figure(RATE, BOX).zip(self.figure(RATE, DOCKER));
        let measured = rate.map(|(own, docker)| own / docker);
        [
            at_most(FAILED, 0.0, self.figure(FAILED, BOX)),
            at_most(LEFT, 0.0, self.figure(LEFT, BOX)),
            Target { what: format!("{RATE}: × {DOCKER}"), bound: 40.0, at_most: false, measured },
        ]
    }

    fn figure_rows(&self) -> Vec<[String; 3]> {
        let row =
            |figure: &Figure| [figure.what.clone(), figure.subject.to_string(), number(Some(figure.value))];
        self.figures.iter().map(row).collect()
    }

    /// The tables as columns of text.
    pub fn table(&self) -> String {
        let targets: Vec<_> = self.targets().iter().map(Target::row).collect();
        let mut parts = vec![
            columns(&HEAD.map(str::to_string), &sheet::rows(&self.lines), 2),
            columns(&FIGURE_HEAD.map(str::to_string), &self.figure_rows(), 2),
            columns(&target::HEAD.map(str::to_string), &targets, 1),
        ];
        parts.extend(self.left_out.iter().map(|why| format!("LEFT OUT: {why}\n")));
        parts.extend(sheet::failures(&self.lines).map(|failure| format!("{failure}\n")));
        parts.join("\n")
    }

    /// Everything, for programs. Times are in ms.
    pub fn json(&self) -> Value {
        let figure =
            |figure: &Figure| json!({ "what": figure.what, "who": figure.subject, "is": figure.value });
        json!({
            "machine": self.machine.json(), "versions": self.versions, "live": self.live, "bytes": self.size,
            "lines": sheet::documents(&self.lines, "who"),
            "figures": self.figures.iter().map(figure).collect::<Vec<_>>(),
            "targets": self.targets().iter().map(Target::json).collect::<Vec<_>>(),
            "leftOut": self.left_out,
        })
    }

    /// The page that is kept in the project.
    pub fn markdown(&self) -> String {
        let mut text = String::from("# box, measured side by side\n\nWritten by `make bench-box`.\n\n");
        let _ = writeln!(text, "{}\n\nbox has {} bytes.\n", self.machine, self.size);
        for version in &self.versions {
            let _ = writeln!(text, "- {version}");
        }
        for why in &self.left_out {
            let _ = writeln!(text, "\nLEFT OUT: {why}");
        }
        let _ = write!(text, "\n## What is to be reached\n\n{}", target::markdown(&self.targets()));
        let _ = write!(text, "\n## Times\n\n{}", table(&HEAD, 2, &sheet::rows(&self.lines)));
        for failure in sheet::failures(&self.lines) {
            let _ = writeln!(text, "\n{failure}");
        }
        let _ = write!(text, "\n## Figures\n\n{}", table(&FIGURE_HEAD, 2, &self.figure_rows()));
        let _ = write!(text, "\n{EXPLANATION}");
        text
    }
}

const EXPLANATION: &str = "\
Each time is that of a command, from before it is spawned until it is reaped. Engines follow each other in interleaved rounds
(ABBA), on a host of the benchmark's own: a network namespace with its own links and packet filter, with /run in memory and
the stores on the disk. The image has five layers and a program that only exits; the bundles of crun have the same program.
Docker's daemon is the benchmark's own. A pull begins with nothing of the image there; the registry is on the same host. Its
files are made up, and gzip makes them about as small as a Debian. Box has written them to the disk when it ends; the others
have not. A container's end is the time from the death of its program until `wait`, which waits already, has ended; a gigabyte
was written just before by somebody else. Containers that log write lines as fast as they are taken; the processor's time is
that of the container's parent and of a daemon. Box keeps what fits into its log, three files of 10 MB.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Samples;
    use crate::runtime::Cost;
    use std::time::Duration;

    fn line(case: &str, subject: &str, ms: u64) -> Line {
        let mut samples = Samples::default();
        samples.add(Ok(Cost { time: Duration::from_millis(ms) }));
        Line { case: case.to_string(), scale: None, subject: subject.to_string(), samples }
    }

    fn page() -> Page {
        let figure = |what: &str, subject, value| Figure { what: what.to_string(), subject, value };
        Page {
            machine: Machine::look(),
            versions: vec!["box 1".into()],
            lines: vec![
                line(RUN, BOX, 3),
                line(RUN, BARE_DOCKER, 10),
                line(RUN, DOCKER, 200),
                line(PULL[0], BOX, 1000),
                line(PULL[0], PODMAN, 4000),
                line(PULL[0], DOCKER, 5000),
                line(END[0], BOX, 2),
                line(END[1], BOX, 4),
            ],
            figures: vec![figure(RATE, BOX, 250.0), figure(RATE, DOCKER, 5.0), figure(FAILED, BOX, 1.0)],
            size: 3_900_000,
            left_out: vec!["podman: not on PATH".into()],
            live: 500,
        }
    }

    #[test]
    fn targets_are_ratios_and_figures() {
        let page = page();
        let targets = page.targets();
        let found = |what: &str| {
            let target = targets.iter().find(|target| target.what == what).expect(what);
            (target.measured, target.reached())
        };
        assert_eq!(found(&format!("{RUN}: × {BARE_DOCKER}")), (Some(0.3), Some(true)));
        assert_eq!(found(&format!("{RUN}: × {PODMAN}")), (None, None));
        assert_eq!(
            found(&format!("{}: × the faster of podman and docker", PULL[0])),
            (Some(0.25), Some(true))
        );
        assert_eq!(found(&format!("{}: × {}", END[1], END[0])), (Some(2.0), Some(false)));
        assert_eq!(found(&format!("{RATE}: × docker")), (Some(50.0), Some(true)));
        assert_eq!(found(FAILED), (Some(1.0), Some(false)));
        assert_eq!(found("program, MB"), (Some(3.9), Some(true)));
    }

    #[test]
    fn what_is_missing_shows() {
        let text = page().markdown();
        assert!(text.contains("LEFT OUT: podman: not on PATH"), "{text}");
        assert!(text.contains("| images of 200, ms | ≤ 5 | – | not measured |"), "{text}");
    }
}
