//! Health: how a container's is looked at, and what the looks have shown.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::options::HealthOptions;
use super::record::ContainerRecord;
use crate::error::{Context, Result};
use crate::image::{Execution, Healthcheck};
use crate::store::{ContainerFolder, write_without_sync};
use crate::time::Moment;

/// How it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthPlan {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Between two looks.
    pub interval: Duration,
    /// The longest that a look may take.
    pub timeout: Duration,
    /// How many failures in a row make it unhealthy.
    pub retries: u64,
    /// While it starts, failures do not count.
    pub start_period: Duration,
    /// Between two looks while it starts.
    pub start_interval: Duration,
}

/// What is known of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// No look has shown anything yet.
    #[default]
    Starting,
    /// The last look went well, or too few have failed since.
    Healthy,
    /// Too many have failed.
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word.
    pub fn name(self) -> &'static str {
        match self {
            HealthStatus::Starting => "starting",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        }
    }
}

/// A look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthLook {
    /// When it began.
    pub start: Moment,
    /// When it ended.
    pub end: Moment,
    /// The status of the program; -1 if it was ended because it took too long, or could not be executed.
    pub status: i32,
    /// The beginning of what it said.
    pub output: String,
}

/// What the looks at one run of a program have shown: `health.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Health {
    /// Everything in a word.
    pub status: HealthStatus,
    /// How many have failed in a row.
    pub failing_streak: u64,
    /// The last ones.
    pub log: Vec<HealthLook>,
}

/// How many looks are kept.
const LOOKS_KEPT: usize = 5;

const RECORD: &str = "health.json";

impl HealthPlan {
    /// What the command line says, where it says something, and what the image says; `None` if nobody looks.
    pub fn compile(image: &Execution, options: &HealthOptions) -> Option<HealthPlan> {
        if options.none {
            return None;
        }
        let known = image.healthcheck.clone().unwrap_or_default();
        let Healthcheck { test, interval, timeout, start_period, start_interval, retries } = known;
        let command = match (&options.command, test.first().map(String::as_str)) {
            (Some(script), _) => shell(script),
            (None, Some("CMD")) => test[1..].to_vec(),
            (None, Some("CMD-SHELL")) => shell(test.get(1)?),
            (None, _) => return None,
        };
        // Docker: what is 0 is as usual.
        let time = |ours: Option<Duration>, theirs: i64, usual: Duration| {
            let theirs = Duration::from_nanos(u64::try_from(theirs).unwrap_or(0));
            ours.into_iter().chain([theirs]).find(|time| !time.is_zero()).unwrap_or(usual)
        };
        let retries = options.retries.or(u64::try_from(retries).ok()).filter(|retries| *retries > 0);
        Some(HealthPlan {
            command,
            interval: time(options.interval, interval, Duration::from_secs(30)),
            timeout: time(options.timeout, timeout, Duration::from_secs(30)),
            retries: retries.unwrap_or(3),
            start_period: time(options.start_period, start_period, Duration::ZERO),
            start_interval: time(options.start_interval, start_interval, Duration::from_secs(5)),
        })
    }

    /// That of a container.
    pub fn of(record: &ContainerRecord) -> Option<HealthPlan> {
        HealthPlan::compile(&record.execution, &record.options.health)
    }
}

fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_string).to_vec()
}

impl Health {
    /// Takes a look in; `counts` is false for one that fails while the container starts.
    pub fn add(&mut self, look: HealthLook, retries: u64, counts: bool) {
        if look.status == 0 {
            self.status = HealthStatus::Healthy;
            self.failing_streak = 0;
        } else if counts {
            self.failing_streak += 1;
            if self.failing_streak >= retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        self.log.push(look);
        let old = self.log.len().saturating_sub(LOOKS_KEPT);
        self.log.drain(..old);
    }

    /// Writes it into the container's folder.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn write(&self, folder: &ContainerFolder) -> Result<()> {
        let text = serde_json::to_vec(self).map_err(|error| crate::Error::invalid(error.to_string()))?;
        write_without_sync(&folder.path().join(RECORD), &text)
    }

    /// Reads it; without a look there is nothing.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(folder: &ContainerFolder) -> Result<Option<Health>> {
        let path = folder.path().join(RECORD);
        match std::fs::read(&path) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(|| path.display().to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(status: i32) -> HealthLook {
        HealthLook { start: Moment(0), end: Moment(1), status, output: String::new() }
    }

    #[test]
    fn the_command_line_counts_more_than_the_image() {
        let test = ["CMD", "probe", "-q"].map(str::to_string).to_vec();
        let check = Healthcheck { test, interval: 7_000_000_000, ..Healthcheck::default() };
        let image = Execution { healthcheck: Some(check), ..Execution::default() };
        let plan = HealthPlan::compile(&image, &HealthOptions::default()).unwrap();
        assert_eq!(
            (plan.command, plan.interval),
            (vec!["probe".into(), "-q".into()], Duration::from_secs(7))
        );
        assert_eq!((plan.timeout, plan.retries), (Duration::from_secs(30), 3));
        let options =
            HealthOptions { command: Some("exit 0".into()), retries: Some(9), ..Default::default() };
        let plan = HealthPlan::compile(&image, &options).unwrap();
        assert_eq!((plan.command.len(), plan.retries, plan.interval), (3, 9, Duration::from_secs(7)));
        assert_eq!(HealthPlan::compile(&image, &HealthOptions { none: true, ..options }), None);
        assert_eq!(HealthPlan::compile(&Execution::default(), &HealthOptions::default()), None);
    }

    #[test]
    fn failures_in_a_row_count() {
        let mut health = Health::default();
        health.add(look(1), 2, false);
        assert_eq!((health.status, health.failing_streak), (HealthStatus::Starting, 0));
        health.add(look(0), 2, true);
        health.add(look(1), 2, true);
        assert_eq!((health.status, health.failing_streak), (HealthStatus::Healthy, 1));
        health.add(look(-1), 2, true);
        assert_eq!(health.status, HealthStatus::Unhealthy);
        health.add(look(0), 2, true);
        assert_eq!((health.status, health.failing_streak), (HealthStatus::Healthy, 0));
        health.add(look(0), 2, true);
        assert_eq!(health.log.len(), 5);
    }
}
