//! The monitor looks at a container's health: one look at a time, each as one more program in the container.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use pillbox::{Container, ExecOptions, Process, Signal, Stdio};
use rustix::rand::{GetRandomFlags, getrandom};

use super::Monitored;
use crate::container::event::{Happening, note};
use crate::container::exec::{ExecRequest, process};
use crate::container::facts::Facts;
use crate::container::health::{Health, HealthCheck, Look};
use crate::container::root::RootFolders;
use crate::error::{Context, Result};
use crate::time::Moment;

/// How much of what a look says is kept, as Docker has it.
const OUTPUT_MAX: u64 = 4096;

/// What is known, and when the next look is.
pub struct Watching {
    check: HealthCheck,
    /// The text of a `process`.
    process: String,
    health: Health,
    began: Instant,
    next: Instant,
    looking: Option<Looking>,
}

/// A look that is not over yet.
struct Looking {
    process: Process,
    output: File,
    started: Moment,
    deadline: Instant,
}

impl Watching {
    /// Begins with a program that has just begun; `None` if its health is not to be looked at.
    ///
    /// # Errors
    /// The check cannot be compiled.
    pub fn begin(monitored: &Monitored) -> Result<Option<Watching>> {
        let Monitored { store, folder, record, .. } = monitored;
        let Some(check) = HealthCheck::compile(&record.execution, &record.options.health) else {
            return Ok(None);
        };
        let root = RootFolders::make(store, folder, record)?;
        let facts = Facts::of_running(store, &record.id, root.accounts()?);
        let request = ExecRequest { command: check.command.clone(), ..ExecRequest::default() };
        let process = process(record, &request, &facts)?.to_string();
        let health = Health::default();
        // On a full disk nobody is told of it.
        let _ = health.write(folder);
        let began = Instant::now();
        let mut watching = Watching { check, process, health, began, next: began, looking: None };
        watching.plan_next();
        Ok(Some(watching))
    }

    /// What ends a look, if there is one.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.looking.as_ref().map(|looking| looking.process.as_fd())
    }

    /// How long nothing is to be done.
    pub fn rest(&self) -> Duration {
        let until = self.looking.as_ref().map_or(self.next, |looking| looking.deadline);
        until.saturating_duration_since(Instant::now())
    }

    /// Ends a look that is over, or begins the next one if it is time.
    pub fn go_on(&mut self, container: &Container, monitored: &Monitored) {
        let Some(looking) = &mut self.looking else {
            if Instant::now() >= self.next {
                self.look(container, monitored);
            }
            return;
        };
        let status = match looking.process.try_wait() {
            Ok(Some(status)) => Some(status),
            Ok(None) if Instant::now() < looking.deadline => return,
            _ => None,
        };
        let mut output = String::new();
        if status.is_none() {
            end_look(looking);
            output = format!("it took longer than {} s\n", self.check.timeout.as_secs_f32());
        }
        // What it has started may keep the pipe open, so nothing is waited for.
        let mut said = Vec::new();
        let _ = (&mut looking.output).take(OUTPUT_MAX).read_to_end(&mut said);
        output += &String::from_utf8_lossy(&said);
        let look = Look { started: looking.started, ended: Moment::now(), status, output };
        self.looking = None;
        self.end(look, monitored);
    }

    /// Nothing is looked at any more.
    pub fn finish(mut self) {
        if let Some(looking) = &mut self.looking {
            end_look(looking);
        }
    }

    fn look(&mut self, container: &Container, monitored: &Monitored) {
        // Nothing can be said of one that is stopped.
        if container.status().is_ok_and(|status| status == pillbox::Status::Paused) {
            return self.plan_next();
        }
        let started = Moment::now();
        match self.start(container, started) {
            Ok(looking) => self.looking = Some(looking),
            Err(error) => {
                let look = Look { started, ended: Moment::now(), status: None, output: error.to_string() };
                self.end(look, monitored);
            }
        }
    }

    fn start(&self, container: &Container, started: Moment) -> Result<Looking> {
        let (output, write_end) = std::io::pipe().context(|| "a pipe")?;
        rustix::io::ioctl_fionbio(&output, true).context(|| "a pipe")?;
        let errors = write_end.try_clone().context(|| "a pipe")?;
        let options =
            ExecOptions::with_process(&*self.process).stdin(Stdio::Null).stdout(write_end).stderr(errors);
        let process = container.exec(options)?;
        let output = File::from(std::os::fd::OwnedFd::from(output));
        Ok(Looking { process, output, started, deadline: Instant::now() + self.check.timeout })
    }

    fn end(&mut self, look: Look, monitored: &Monitored) {
        let is_starting = self.began.elapsed() < self.check.start_period;
        let before = self.health.state;
        self.health.add(look, is_starting, self.check.retries);
        if self.health.state != before {
            let happening = Happening::Health(self.health.state.name());
            note(&monitored.store, &monitored.record, &happening);
        }
        self.plan_next();
        // On a full disk nobody is told of it.
        let _ = self.health.write(&monitored.folder);
    }

    /// A little later than the interval says, and never the same: many containers do not look all at once.
    fn plan_next(&mut self) {
        let is_starting = self.began.elapsed() < self.check.start_period;
        let interval = if is_starting { self.check.start_interval } else { self.check.interval };
        let mut byte = [0];
        // Without it they do.
        let _ = getrandom(&mut byte, GetRandomFlags::NONBLOCK);
        self.next = Instant::now() + interval + interval.mul_f32(f32::from(byte[0]) / 2560.0);
    }
}

fn end_look(looking: &mut Looking) {
    // It may just have ended.
    let _ = looking.process.signal(Signal::KILL);
    let _ = looking.process.wait();
}
