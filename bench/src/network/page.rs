//! The results in three forms: tables for the terminal, JSON, and a page of Markdown.

use std::fmt::Write;

use serde_json::{Value, json};

use super::container::{BRIDGED, Count, FILES, LIFE, PUBLISHED, WITHOUT, count_case};
use super::crowd::{CROWD, FIRST, FIRST_BESIDE, LAST, MANY_PORTS, NO_PORTS, NONE_BESIDE, PORTS};
use super::plugin::{self, CHAIN, OWN, VERBS};
use super::traffic::{OURS, PLAIN, REFERENCE, TRAFFIC};
use crate::course::Line;
use crate::host::Machine;
use crate::report::{columns, number};
use crate::sheet::{self, at_most, table};
use crate::target::{self, Target};

/// Everything that was measured, and on which machine.
pub struct Page {
    /// The machine.
    pub machine: Machine,
    /// pillbox's version.
    pub version: String,
    /// The versions of the reference plugins, if they are there.
    pub reference: String,
    /// The times.
    pub lines: Vec<Line>,
    /// What was counted.
    pub counts: Vec<Count>,
    /// The size of pillbox in bytes.
    pub size: u64,
    /// The same without networks.
    pub reduced_size: Option<u64>,
    /// What could not be measured, and why.
    pub left_out: Vec<String>,
    /// How many containers were on one bridge.
    pub live: usize,
}

const HEAD: [&str; 6] = sheet::head("what");
const COUNT_HEAD: [&str; 3] = ["command", "sent over netlink", "system calls"];
const COMPARED_HEAD: [&str; 2] = ["what", "is"];

impl Page {
    fn median(&self, case: &str, subject: &str) -> Option<f64> {
        sheet::median(&self.lines, case, subject)
    }

    /// The difference of two medians of one case.
    fn more(&self, case: &str, subject: &str, than: &str) -> Option<f64> {
        Some(self.median(case, subject)? - self.median(case, than)?)
    }

    fn ratio(&self, case: &str, subject: &str, than: &str) -> Option<f64> {
        Some(self.median(case, subject)? / self.median(case, than)?)
    }

    fn trips(&self, case: &str) -> Option<f64> {
        self.counts.iter().find(|count| count.case == case).map(|count| count.trips as f64)
    }

    /// How much oftener a command sends something over netlink with a network.
    fn more_trips(&self, command: &str) -> Option<f64> {
        let trips = |connected: &str| self.trips(&count_case(command, connected));
        Some(trips(PUBLISHED)? - trips(WITHOUT)?)
    }

    fn targets(&self) -> Vec<Target> {
        let [create, delete] = LIFE;
        let mut targets = vec![
            at_most(
                "create: with a bridge and a port, ms more than without",
                1.5,
                self.more(create, PUBLISHED, WITHOUT),
            ),
            at_most("create: round trips over netlink more than without", 3.0, self.more_trips(create)),
            at_most(
                "delete: with a bridge and a port, ms more than without",
                1.0,
                self.more(delete, PUBLISHED, WITHOUT),
            ),
        ];
        for verb in VERBS {
            targets.push(at_most(format!("{verb}: {OWN} × {CHAIN}"), 0.1, self.ratio(verb, OWN, CHAIN)));
        }
        let trips = self.trips(&count_case(VERBS[0], OWN));
        targets.push(at_most(format!("{}: round trips over netlink of {OWN}", VERBS[0]), 3.0, trips));
        targets.push(at_most(
            "create with the 500th published port: × the first",
            1.2,
            self.ratio(PORTS[0], MANY_PORTS, NO_PORTS),
        ));
        targets.push(at_most(
            format!("create of container {} on one bridge: × the first", self.live),
            1.2,
            self.ratio(CROWD[0], LAST, FIRST),
        ));
        // The same path in the kernel: what is more is noise.
        let other = if self.median(TRAFFIC[0], REFERENCE).is_some() { REFERENCE } else { PLAIN };
        for case in TRAFFIC {
            targets.push(at_most(format!("{case}: × {other}"), 1.05, self.ratio(case, OURS, other)));
        }
        targets.push(at_most("program, KB", 900.0, Some(self.size as f64 / 1000.0)));
        targets
    }

    /// What explains the figures, without a bound.
    fn compared(&self) -> Vec<[String; 2]> {
        let mut rows = Vec::new();
        for case in LIFE {
            for (subject, than) in [(FILES, WITHOUT), (BRIDGED, FILES), (PUBLISHED, BRIDGED)] {
                let what = format!("{case}: {subject}, ms more than {than}");
                rows.push([what, number(self.more(case, subject, than))]);
            }
        }
        rows.push([
            "delete: round trips over netlink more than without".into(),
            number(self.more_trips(LIFE[1])),
        ]);
        rows.push([
            "delete with the 500th published port: × the first".into(),
            number(self.ratio(PORTS[1], MANY_PORTS, NO_PORTS)),
        ]);
        for (case, than) in [(CROWD[0], FIRST_BESIDE), (CROWD[1], FIRST_BESIDE)] {
            let what = format!("{case}: {LAST} × {than}");
            rows.push([what, number(self.ratio(case, LAST, than))]);
        }
        let share = |subject: &str| self.more(CROWD[0], subject, NONE_BESIDE);
        rows.push([format!("{}: {LAST}, ms more than {NONE_BESIDE}", CROWD[0]), number(share(LAST))]);
        for case in TRAFFIC {
            rows.push([format!("{case}: {OURS} × {PLAIN}"), number(self.ratio(case, OURS, PLAIN))]);
        }
        let reduced = self.reduced_size.map(|size| size as f64 / 1000.0);
        rows.push(["program without networks, KB".into(), number(reduced)]);
        rows.push([
            "networks in the program, KB".into(),
            number(reduced.map(|kb| self.size as f64 / 1000.0 - kb)),
        ]);
        rows
    }

    fn count_rows(&self) -> Vec<[String; 3]> {
        let row = |count: &Count| [count.case.clone(), count.trips.to_string(), count.calls.to_string()];
        self.counts.iter().map(row).collect()
    }

    /// The tables as columns of text.
    pub fn table(&self) -> String {
        let targets: Vec<_> = self.targets().iter().map(Target::row).collect();
        let mut parts = vec![
            columns(&HEAD.map(str::to_string), &sheet::rows(&self.lines), 2),
            columns(&COUNT_HEAD.map(str::to_string), &self.count_rows(), 1),
            columns(&COMPARED_HEAD.map(str::to_string), &self.compared(), 1),
            columns(&target::HEAD.map(str::to_string), &targets, 1),
        ];
        parts.extend(self.left_out.iter().map(|why| format!("LEFT OUT: {why}\n")));
        parts.extend(sheet::failures(&self.lines).map(|failure| format!("{failure}\n")));
        parts.join("\n")
    }

    /// Everything, for programs. Times are in ms.
    pub fn json(&self) -> Value {
        let count =
            |count: &Count| json!({ "command": count.case, "netlink": count.trips, "calls": count.calls });
        let compared = |[what, is]: [String; 2]| json!({ "what": what, "is": is });
        json!({
            "machine": self.machine.json(), "version": self.version, "reference": self.reference, "live": self.live,
            "bytes": self.size, "bytesWithoutNetworks": self.reduced_size,
            "lines": sheet::documents(&self.lines, "what"),
            "counts": self.counts.iter().map(count).collect::<Vec<_>>(),
            "compared": self.compared().into_iter().map(compared).collect::<Vec<_>>(),
            "targets": self.targets().iter().map(Target::json).collect::<Vec<_>>(),
            "leftOut": self.left_out,
        })
    }

    /// The page that is kept in the project.
    pub fn markdown(&self) -> String {
        let mut text =
            String::from("# Networks, measured side by side\n\nWritten by `make bench-network`.\n\n");
        let Page { machine, version, reference, size, .. } = self;
        let _ = writeln!(text, "{machine}\n\n{version}, {size} bytes. The reference: {reference}.");
        for why in &self.left_out {
            let _ = writeln!(text, "\nLEFT OUT: {why}");
        }
        let _ = write!(text, "\n## What is to be reached\n\n{}", target::markdown(&self.targets()));
        let _ = write!(text, "\n## What explains it\n\n{}", table(&COMPARED_HEAD, 1, &self.compared()));
        let _ = write!(text, "\n## Times\n\n{}", table(&HEAD, 2, &sheet::rows(&self.lines)));
        for failure in sheet::failures(&self.lines) {
            let _ = writeln!(text, "\n{failure}");
        }
        let _ = write!(text, "\n## Counted\n\n{}", table(&COUNT_HEAD, 1, &self.count_rows()));
        let chain = json!(plugin::configurations());
        let own = json!(plugin::own_configurations());
        let _ = write!(text, "\n{EXPLANATION}\nThe plugins' configuration, of the chain and of {OWN}:\n\n");
        let _ = write!(text, "    {chain}\n    {own}\n");
        text
    }
}

const EXPLANATION: &str = "\
Containers are created and never started; `create` and `delete` are programs of their own, which the caller spawns and
waits for. `delete` follows the end of the container's process at once. Differences and ratios are of medians; rounds
are interleaved (ABBA), and the kernel gets 50 ms after each container to take down its network namespace. Whatever is
compared is on hosts of its own: network namespaces with their own links, packet filter and records. 499 other ports
are published by one container. `the first of its bridge` is measured before the others are created; what it and a
container without a network cost beside all the others shows which part of the growth is the machine's. Sends over
netlink are counted in the command's own process: the loopback is set up by a thread in both cases. CNI plugins are
called as libcni calls them, one after the other, with a new network namespace each time. Both ends of a TCP connection
are this benchmark, on two processors for 64 MiB, on one for single bytes.
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
        let count = |case: &str, trips| Count { case: case.to_string(), trips, calls: 100 };
        Page {
            machine: Machine::look(),
            version: "pillbox".to_string(),
            reference: "plugins".to_string(),
            lines: vec![
                line("create", WITHOUT, 2),
                line("create", PUBLISHED, 5),
                line("CNI ADD", CHAIN, 100),
                line("CNI ADD", OWN, 4),
                line(TRAFFIC[0], OURS, 11),
                line(TRAFFIC[0], PLAIN, 10),
            ],
            counts: vec![count(&format!("create, {WITHOUT}"), 0), count(&format!("create, {PUBLISHED}"), 3)],
            size: 899_000,
            reduced_size: Some(800_000),
            left_out: vec!["the other one: not there".to_string()],
            live: 1000,
        }
    }

    #[test]
    fn targets_are_differences_and_ratios_of_medians() {
        let page = page();
        let targets = page.targets();
        let found = |what: &str| {
            let target = targets.iter().find(|target| target.what.starts_with(what)).expect(what);
            (target.measured, target.reached())
        };
        assert_eq!(found("create: with a bridge"), (Some(3.0), Some(false)));
        assert_eq!(found("create: round trips"), (Some(3.0), Some(true)));
        assert_eq!(found("CNI ADD"), (Some(0.04), Some(true)));
        assert_eq!(found("CNI DEL"), (None, None));
        // Without the reference plugins, a plain bridge is what it is compared with.
        assert_eq!(found(TRAFFIC[0]), (Some(1.1), Some(false)));
        assert_eq!(found("program"), (Some(899.0), Some(true)));
    }

    #[test]
    fn what_is_missing_shows() {
        let text = page().markdown();
        assert!(text.contains("LEFT OUT: the other one: not there"), "{text}");
        assert!(
            text.contains(
                "| CNI DEL: pillbox-net × bridge, host-local, portmap, firewall | ≤ 0.1 | – | not measured |"
            ),
            "{text}"
        );
        assert!(text.contains("| networks in the program, KB | 99.00 |"), "{text}");
    }
}
