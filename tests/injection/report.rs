//! The results of all cases: numbers, and a table of what is wrong.

use std::collections::BTreeMap;

/// The sum of all units.
#[derive(Default)]
pub struct Report {
    /// All cases that the units that were run have.
    pub cases: usize,
    pub right: usize,
    pub unreached: usize,
    /// By kind, command, caller and call: the cases, and what was wrong with the last of them.
    wrong: BTreeMap<[String; 4], (Vec<String>, String)>,
    pub violations: usize,
    /// What could not be set up or was not completed.
    pub broken: Vec<String>,
}

impl Report {
    /// Takes a line that a unit has printed.
    pub fn take(&mut self, line: &str) {
        let parts: Vec<_> = line.split('\t').collect();
        match parts[..] {
            ["cases", number] => self.cases += number.parse().unwrap_or(0),
            ["right", _] => self.right += 1,
            ["unreached", _] => self.unreached += 1,
            ["wrong", case, kind, role, call, detail] => {
                let verb = case.split(':').next().unwrap_or_default();
                let key = [kind, verb, role, call].map(String::from);
                let (cases, last) = self.wrong.entry(key).or_default();
                cases.push(case.to_string());
                *last = detail.to_string();
                self.violations += 1;
            }
            _ => self.broken.push(line.replace('\t', " ")),
        }
    }

    /// Prints the table; returns whether everything is right.
    pub fn print(&self, seed: Option<u64>) -> bool {
        for text in &self.broken {
            println!("could not be run: {text}");
        }
        if !self.wrong.is_empty() {
            println!("\n{:>6}  what is wrong, command, process, system call", "cases");
        }
        for ([kind, verb, role, call], (cases, detail)) in &self.wrong {
            println!("{:>6}  {kind}: {verb}, {role}, {call}", cases.len());
            println!("        {detail}");
            println!("        {}", cases.join(" "));
        }
        let is_right = self.broken.is_empty() && self.violations == 0;
        let ran = self.right + self.unreached + self.violations;
        let sample = seed.map_or(String::new(), |seed| format!(" (a sample: seed {seed})"));
        println!(
            "\ntest result: {}. {ran} of {} faults{sample}; {} violations; {} calls were not made again; {} could not be run",
            if is_right { "ok" } else { "FAILED" },
            self.cases,
            self.violations,
            self.unreached,
            self.broken.len()
        );
        if !is_right {
            println!(
                "to repeat one: cargo test --test injection -- --only COMMAND:CONTAINER:PROCESS:NUMBER:FAULT"
            );
        }
        is_right
    }
}
