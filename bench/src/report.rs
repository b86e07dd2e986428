//! The results in three forms: a table for the terminal, JSON, and a page of Markdown with plots.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::cases::RUN;
use crate::course::{FLOOR, Figure, Line, Scale};
use crate::error::{Context, Result};
use crate::host::Machine;
use crate::plot::{self, Curve};
use crate::runtime::Runtime;
use crate::scale::{RUN_BY_CONTAINERS, RUN_BY_MOUNTS};
use crate::target::{self, Target, targets};

/// The runtime that the others are compared with.
pub const REFERENCE: &str = "crun";

/// Everything that was measured, and on which machine.
pub struct Report<'a> {
    /// The machine.
    pub machine: Machine,
    /// The runtimes.
    pub runtimes: &'a [Runtime],
    /// The runtimes that were not found.
    pub absent: Vec<String>,
    /// The times.
    pub lines: &'a [Line],
    /// Other figures.
    pub figures: &'a [Figure],
    /// How many other containers existed.
    pub live: usize,
    /// The size of pillbox without its optional parts, in bytes.
    pub reduced_size: Option<u64>,
}

const HEAD: [&str; 8] = ["case", "runtime", "median ms", "p95 ms", "min ms", "× crun", "× floor", "failed"];

impl Report<'_> {
    /// The median in ms of a case, if it was measured.
    pub fn median(&self, case: &str, scale: Option<Scale>, subject: &str) -> Option<f64> {
        self.line(case, scale, subject)?.samples.median()
    }

    /// A figure that is not a time.
    pub fn figure(&self, what: &str, subject: &str) -> Option<f64> {
        let figure = self.figures.iter().find(|figure| figure.what == what && figure.subject == subject)?;
        Some(figure.kib)
    }

    fn line(&self, case: &str, scale: Option<Scale>, subject: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.case == case && line.scale == scale && line.subject == subject)
    }

    /// The case's median divided by crun's in the same case, and by the floor's `run`.
    fn ratios(&self, line: &Line) -> [Option<f64>; 2] {
        let ratio = |reference: Option<f64>| Some(line.samples.median()? / reference?);
        [ratio(self.median(&line.case, line.scale, REFERENCE)), ratio(self.median(RUN, None, FLOOR))]
    }

    fn rows(&self) -> Vec<[String; 8]> {
        let row = |line: &Line| {
            let [to_crun, to_floor] = self.ratios(line);
            let samples = &line.samples;
            [
                case(line),
                line.subject.clone(),
                number(samples.median()),
                number(samples.percentile(95)),
                number(samples.percentile(0)),
                number(to_crun),
                number(to_floor),
                format!("{}/{}", samples.failures, samples.runs() + samples.failures),
            ]
        };
        self.lines.iter().map(row).collect()
    }

    /// The tables as columns of text.
    pub fn table(&self) -> String {
        let mut text = columns(&HEAD.map(str::to_string), &self.rows(), 2);
        text.push('\n');
        for Figure { what, subject, kib } in self.figures {
            let _ = writeln!(text, "{what}: {subject} {kib:.0} KiB");
        }
        text.push('\n');
        let rows: Vec<_> = targets(self).iter().map(Target::row).collect();
        text.push_str(&columns(&target::HEAD.map(str::to_string), &rows, 1));
        for (subject, failure) in self.failures() {
            let _ = writeln!(text, "{subject}: {failure}");
        }
        text
    }

    fn failures(&self) -> impl Iterator<Item = (String, &str)> {
        self.lines.iter().filter_map(|line| {
            let failure = line.samples.first_failure.as_deref()?;
            Some((format!("{} {}", line.subject, case(line)), failure))
        })
    }

    /// Everything, for programs. Times are in ms, sizes in bytes unless their names say KiB.
    pub fn json(&self) -> Value {
        let runtime = |runtime: &Runtime| {
            let Runtime { name, version, size, .. } = runtime;
            json!({ "name": name, "version": version, "bytes": size })
        };
        let line = |line: &Line| {
            let ([to_crun, to_floor], samples) = (self.ratios(line), &line.samples);
            let (mounts, containers) = match line.scale {
                Some(Scale::Mounts(count)) => (Some(count), None),
                Some(Scale::Containers(count)) => (None, Some(count)),
                None => (None, None),
            };
            json!({
                "case": line.case, "mounts": mounts, "containers": containers, "runtime": line.subject,
                "runs": samples.runs(), "failures": samples.failures, "firstFailure": samples.first_failure,
                "median": samples.median(), "p95": samples.percentile(95), "min": samples.percentile(0),
                "toCrun": to_crun, "toFloor": to_floor,
            })
        };
        let figure =
            |figure: &Figure| json!({ "what": figure.what, "runtime": figure.subject, "KiB": figure.kib });
        json!({
            "machine": self.machine.json(),
            "bytesWithoutOptionalParts": self.reduced_size,
            "runtimes": self.runtimes.iter().map(runtime).collect::<Vec<_>>(),
            "absent": self.absent,
            "lines": self.lines.iter().map(line).collect::<Vec<_>>(),
            "figures": self.figures.iter().map(figure).collect::<Vec<_>>(),
            "targets": targets(self).iter().map(Target::json).collect::<Vec<_>>(),
        })
    }

    /// Writes the page that is kept in the project, and its plots beside it.
    pub fn write_page(&self, file: &Path) -> Result<()> {
        let mut plots = String::new();
        let pictures = [
            ("run-by-mounts.svg", RUN_BY_MOUNTS, "mounts on the host"),
            ("run-by-containers.svg", RUN_BY_CONTAINERS, "containers that live beside"),
        ];
        for (name, case, axis) in pictures {
            if let Some(svg) = plot::draw(&format!("run: median against {axis}"), axis, &self.curves(case)) {
                let picture = file.with_file_name(name);
                std::fs::write(&picture, svg).context(|| format!("write {}", picture.display()))?;
                let _ = writeln!(plots, "![run against {axis}]({name})\n");
            }
        }
        std::fs::write(file, self.markdown(&plots)).context(|| format!("write {}", file.display()))
    }

    fn curves(&self, case: &str) -> Vec<Curve> {
        let mut curves: Vec<Curve> = Vec::new();
        for line in self.lines.iter().filter(|line| line.case == case) {
            let (Some(Scale::Mounts(count) | Scale::Containers(count)), Some(ms)) =
                (line.scale, line.samples.median())
            else {
                continue;
            };
            let point = (count as f64, ms);
            match curves.iter_mut().find(|curve| curve.name == line.subject) {
                Some(curve) => curve.points.push(point),
                None => curves.push(Curve { name: line.subject.clone(), points: vec![point] }),
            }
        }
        curves
    }

    fn markdown(&self, plots: &str) -> String {
        let mut text = format!("# Measured side by side\n\nWritten by `make bench`.\n\n{}\n\n", self.machine);
        let _ = writeln!(text, "| runtime | version | program, KiB |\n|---|---|---|");
        for Runtime { name, version, size, .. } in self.runtimes {
            let _ = writeln!(text, "| {name} | {version} | {} |", size.div_ceil(1024));
        }
        if !self.absent.is_empty() {
            let _ = writeln!(text, "\nNot installed: {}.", self.absent.join(", "));
        }
        let _ = write!(text, "\n## What is to be reached\n\n{}", target::markdown(&targets(self)));
        let _ = writeln!(text, "\n## Times\n\n| {} |\n|---|---|{}", HEAD.join(" | "), "---:|".repeat(6));
        for row in self.rows() {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        for (subject, failure) in self.failures() {
            let _ = writeln!(text, "\n{subject} failed: {failure}");
        }
        let _ = writeln!(text, "\n## Memory and sizes\n\n| what | runtime | KiB |\n|---|---|---:|");
        for Figure { what, subject, kib } in self.figures {
            let _ = writeln!(text, "| {what} | {subject} | {kib:.0} |");
        }
        let _ = writeln!(text, "\n{plots}{EXPLANATION}");
        text
    }
}

fn case(line: &Line) -> String {
    match line.scale {
        None => line.case.clone(),
        Some(Scale::Mounts(count) | Scale::Containers(count)) => format!("{}: {count}", line.case),
    }
}

/// Two digits after the point, or four for small values.
pub fn number(value: Option<f64>) -> String {
    match value {
        None => "–".to_string(),
        Some(value) if value < 0.1 => format!("{value:.4}"),
        Some(value) => format!("{value:.2}"),
    }
}

/// Aligns the first `words` columns to the left, and figures to the right.
pub fn columns<const N: usize>(head: &[String; N], rows: &[[String; N]], words: usize) -> String {
    let rows = || std::iter::once(head).chain(rows);
    let mut widths = [0; N];
    for row in rows() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows() {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let gap = " ".repeat(width - cell.chars().count());
            let _ =
                if column < words { write!(text, "{cell}{gap}  ") } else { write!(text, "{gap}{cell}  ") };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

const EXPLANATION: &str = "\
`run` is the container of the default config with a program that only exits. `floor` is a program that makes only the
system calls which this container needs (a cgroup, six namespaces, mounts, devices, pivot_root, execve, reaping), as a
process of its own for each container; `floor, in one process` is the kernel's work alone. It reads no config, attaches
no device filter, and leaves the loopback down. Rounds are interleaved (ABBA), except where the machine is filled with
containers: runtimes follow each other there. Peak memory is wait4's: the runtime or a child that it waited for,
whichever is more; nothing below the floor's can be seen. Docker's config is the one that dockerd wrote for `docker run`, without limits.
";
