//! The result in three forms: a table for the terminal, JSON, and a page of Markdown.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::cases::{FLOOR, Line};
use crate::host::Machine;
use crate::runtime::Runtime;

/// The runtime that the others are compared with.
const REFERENCE: &str = "crun";

/// All that was measured, and on what.
pub struct Report<'a> {
    /// The machine.
    pub machine: Machine,
    /// The runtimes.
    pub runtimes: &'a [Runtime],
    /// The figures.
    pub lines: &'a [Line],
    /// Peak memory in KiB that a program which holds next to nothing seems to have: nothing below it can be seen.
    pub memory_floor_kib: u64,
}

const HEAD: [&str; 9] =
    ["case", "runtime", "median ms", "p95 ms", "min ms", "× crun", "× floor", "peak KiB", "failed"];

impl Report<'_> {
    fn median(&self, case: &str, subject: &str) -> Option<f64> {
        let line = self.lines.iter().find(|line| line.case == case && line.subject == subject)?;
        line.samples.median()
    }

    /// The case's median in units of crun's in the same case, and of the floor's `run`.
    fn ratios(&self, line: &Line) -> [Option<f64>; 2] {
        let ratio = |reference: Option<f64>| Some(line.samples.median()? / reference?);
        [ratio(self.median(line.case, REFERENCE)), ratio(self.median("run", FLOOR))]
    }

    fn rows(&self) -> Vec<[String; 9]> {
        let figure = |value: Option<f64>| value.map_or("–".to_string(), |value| format!("{value:.2}"));
        let row = |line: &Line| {
            let [to_crun, to_floor] = self.ratios(line);
            let samples = &line.samples;
            let peak = match samples.peak_kib {
                0 => "–".to_string(),
                peak if peak <= self.memory_floor_kib => format!("≤ {peak}"),
                peak => peak.to_string(),
            };
            [
                line.case.to_string(),
                line.subject.clone(),
                figure(samples.median()),
                figure(samples.percentile(95)),
                figure(samples.percentile(0)),
                figure(to_crun),
                figure(to_floor),
                peak,
                format!("{}/{}", samples.failures, samples.runs() + samples.failures),
            ]
        };
        self.lines.iter().map(row).collect()
    }

    /// A table in columns.
    pub fn table(&self) -> String {
        let rows: Vec<[String; 9]> = std::iter::once(HEAD.map(str::to_string)).chain(self.rows()).collect();
        let mut widths = [0; 9];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for row in &rows {
            for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
                let gap = " ".repeat(width - cell.chars().count());
                // Words to the left, figures to the right.
                let _ =
                    if column < 2 { write!(text, "{cell}{gap}  ") } else { write!(text, "{gap}{cell}  ") };
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        for (subject, failure) in self.failures() {
            let _ = writeln!(text, "{subject}: {failure}");
        }
        text
    }

    fn failures(&self) -> impl Iterator<Item = (String, &str)> {
        self.lines.iter().filter_map(|line| {
            let failure = line.samples.first_failure.as_deref()?;
            Some((format!("{} {}", line.subject, line.case), failure))
        })
    }

    /// Everything, for programs. Times are in ms, sizes in bytes unless they say KiB.
    pub fn json(&self) -> Value {
        let Machine { cpu, cores, kernel, mounts, load } = &self.machine;
        let runtime = |runtime: &Runtime| {
            let Runtime { name, version, size, .. } = runtime;
            json!({ "name": name, "version": version, "bytes": size })
        };
        let line = |line: &Line| {
            let ([to_crun, to_floor], samples) = (self.ratios(line), &line.samples);
            json!({
                "case": line.case, "runtime": line.subject, "runs": samples.runs(), "failures": samples.failures,
                "firstFailure": samples.first_failure, "median": samples.median(), "p95": samples.percentile(95),
                "min": samples.percentile(0), "toCrun": to_crun, "toFloor": to_floor, "peakKiB": samples.peak_kib,
            })
        };
        json!({
            "machine": { "cpu": cpu, "cores": cores, "kernel": kernel, "mounts": mounts, "load": load },
            "memoryFloorKiB": self.memory_floor_kib,
            "runtimes": self.runtimes.iter().map(runtime).collect::<Vec<_>>(),
            "lines": self.lines.iter().map(line).collect::<Vec<_>>(),
        })
    }

    /// The page that is kept in the project.
    pub fn markdown(&self) -> String {
        let Machine { cpu, cores, kernel, mounts, load } = &self.machine;
        let mut text =
            String::from("# Measured side by side\n\nWritten by `bench --markdown`; see its `--help`.\n\n");
        let _ =
            writeln!(text, "{cpu}, {cores} cores; Linux {kernel}; {mounts} mounts; load before: {load}.\n");
        let _ = writeln!(text, "| runtime | version | program, KiB |\n|---|---|---|");
        for Runtime { name, version, size, .. } in self.runtimes {
            let _ = writeln!(text, "| {name} | {version} | {} |", size.div_ceil(1024));
        }
        let _ = writeln!(text, "\n| {} |\n|---|---|{}", HEAD.join(" | "), "---:|".repeat(7));
        for row in self.rows() {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        for (subject, failure) in self.failures() {
            let _ = writeln!(text, "\n{subject} failed: {failure}");
        }
        text.push_str(EXPLANATION);
        text
    }
}

const EXPLANATION: &str = "
`run` is the container of the default config with a program that only exits. `floor` is a program that makes only the
system calls which this container needs (a cgroup, six namespaces, mounts, devices, pivot_root, execve, reaping), as a
process of its own for each container; `floor, in one process` is the kernel's work alone. It reads no config and attaches
no device filter. Rounds are interleaved (ABBA). Peak memory is wait4's: the runtime or a child that it waited for,
whichever is more.
";
