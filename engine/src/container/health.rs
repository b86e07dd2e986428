//! Health: how it is seen whether a program does what it should, and what was seen last.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::options::HealthOptions;
use super::record::ContainerRecord;
use crate::error::Result;
use crate::image::{Execution, Healthcheck};
use crate::store::ContainerFolder;
use crate::time::Moment;

/// How it is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Between two looks.
    pub interval: Duration,
    /// The longest that a look may take.
    pub timeout: Duration,
    /// While it starts, failures do not count.
    pub start_period: Duration,
    /// Between two looks meanwhile.
    pub start_interval: Duration,
    /// How many failures in a row make it unhealthy.
    pub retries: u32,
}

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    /// Nothing yet.
    #[default]
    Starting,
    /// The last look went well.
    Healthy,
    /// Several in a row did not.
    Unhealthy,
}

impl HealthState {
    /// Docker's word.
    pub fn name(self) -> &'static str {
        match self {
            HealthState::Starting => "starting",
            HealthState::Healthy => "healthy",
            HealthState::Unhealthy => "unhealthy",
        }
    }
}

/// What is kept of it: `health.json` in the container's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Health {
    /// What was found.
    pub state: HealthState,
    /// How many looks in a row have failed.
    pub failing: u32,
    /// The last looks, the oldest one first.
    pub looks: Vec<Look>,
}

/// One look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Look {
    /// When it began.
    pub started: Moment,
    /// When it was over.
    pub ended: Moment,
    /// The status; none if it took too long or could not be started.
    pub status: Option<u8>,
    /// The beginning of what it said.
    pub output: String,
}

/// How many looks are kept.
const LOOKS_MAX: usize = 5;

impl HealthCheck {
    /// How a container's health is to be seen; `None` if it is not to be.
    pub fn compile(image: &Execution, options: &HealthOptions) -> Option<HealthCheck> {
        let HealthOptions { is_off, command, interval, timeout, start_period, start_interval, retries } =
            options;
        let of_image = image.healthcheck.clone().unwrap_or_default();
        let Healthcheck { test, .. } = &of_image;
        let shell = |script: &str| vec!["/bin/sh".to_string(), "-c".to_string(), script.to_string()];
        let command = match (command, test.split_first().map(|(kind, rest)| (kind.as_str(), rest))) {
            _ if *is_off => return None,
            (Some(script), _) => shell(script),
            (None, Some(("CMD", words))) if !words.is_empty() => words.to_vec(),
            (None, Some(("CMD-SHELL", [script, ..]))) => shell(script),
            _ => return None,
        };
        // Zero is Docker's word for the usual.
        let time = |asked: &Option<Duration>, of_image: i64, usual: u64| {
            let of_image = u64::try_from(of_image).ok().filter(|nanoseconds| *nanoseconds > 0);
            let usual = Duration::from_secs(usual);
            asked.or(of_image.map(Duration::from_nanos)).filter(|time| !time.is_zero()).unwrap_or(usual)
        };
        let asked = retries.or(u32::try_from(of_image.retries).ok()).filter(|retries| *retries > 0);
        Some(HealthCheck {
            command,
            interval: time(interval, of_image.interval, 30),
            timeout: time(timeout, of_image.timeout, 30),
            start_period: time(start_period, of_image.start_period, 0),
            start_interval: time(start_interval, of_image.start_interval, 5),
            retries: asked.unwrap_or(3),
        })
    }
}

impl Health {
    /// Takes a look in. `is_starting` says whether failures do not count yet.
    pub fn add(&mut self, look: Look, is_starting: bool, retries: u32) {
        if look.status == Some(0) {
            (self.state, self.failing) = (HealthState::Healthy, 0);
        } else if !(is_starting && self.state == HealthState::Starting) {
            self.failing += 1;
            if self.failing >= retries {
                self.state = HealthState::Unhealthy;
            }
        }
        self.looks.push(look);
        if self.looks.len() > LOOKS_MAX {
            self.looks.remove(0);
        }
    }

    /// What is kept of a container; `None` if its health is not looked at.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of(folder: &ContainerFolder, record: &ContainerRecord) -> Result<Option<Health>> {
        if HealthCheck::compile(&record.execution, &record.options.health).is_none() {
            return Ok(None);
        }
        super::record::read(folder, FILE).map(|health| Some(health.unwrap_or_default()))
    }

    /// Writes it into the container's folder.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn write(&self, folder: &ContainerFolder) -> Result<()> {
        super::record::write(folder, FILE, self)
    }
}

const FILE: &str = "health.json";

#[cfg(test)]
mod tests {
    use super::*;

    fn look(status: Option<u8>) -> Look {
        Look { started: Moment(0), ended: Moment(1), status, output: String::new() }
    }

    #[test]
    fn failures_in_a_row_count() {
        let mut health = Health::default();
        health.add(look(Some(1)), true, 2);
        assert_eq!((health.state, health.failing), (HealthState::Starting, 0));
        health.add(look(Some(0)), true, 2);
        assert_eq!(health.state, HealthState::Healthy);
        // Once it was healthy, it has started.
        health.add(look(None), true, 2);
        assert_eq!((health.state, health.failing), (HealthState::Healthy, 1));
        health.add(look(Some(3)), false, 2);
        assert_eq!(health.state, HealthState::Unhealthy);
        for _ in 0..9 {
            health.add(look(Some(0)), false, 2);
        }
        assert_eq!((health.state, health.failing, health.looks.len()), (HealthState::Healthy, 0, LOOKS_MAX));
    }

    #[test]
    fn the_command_line_counts_before_the_image() {
        let test = vec!["CMD-SHELL".to_string(), "true".to_string()];
        let of_image = Healthcheck { test, interval: 5_000_000_000, retries: 7, ..Healthcheck::default() };
        let image = Execution { healthcheck: Some(of_image), ..Execution::default() };
        let check = HealthCheck::compile(&image, &HealthOptions::default()).unwrap();
        assert_eq!((check.command[2].as_str(), check.interval.as_secs(), check.retries), ("true", 5, 7));
        let options = HealthOptions {
            command: Some("false".into()),
            interval: Some(Duration::from_secs(1)),
            ..HealthOptions::default()
        };
        let check = HealthCheck::compile(&image, &options).unwrap();
        assert_eq!(
            (check.command[2].as_str(), check.interval.as_secs(), check.timeout.as_secs()),
            ("false", 1, 30)
        );
        let off = HealthOptions { is_off: true, ..options };
        assert_eq!(HealthCheck::compile(&image, &off), None);
        assert_eq!(HealthCheck::compile(&Execution::default(), &HealthOptions::default()), None);
    }
}
