//! The monitor looks at a container's health: one look at a time, each as one more program in the container.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use pillbox::{Container, ExecOptions, Process, Signal, Stdio};
use rustix::rand::{GetRandomFlags, getrandom};

use super::Monitored;
use crate::container::event::{ExecEvent, ExecHappening, Happening, note};
use crate::container::exec::{ExecRequest, process};
use crate::container::facts::Facts;
use crate::container::health::{Health, HealthCheck, Look};
use crate::container::root::RootFolders;
use crate::error::{Context, Result};
use crate::store::random_id;
use crate::time::Moment;

/// How much of what a look says is kept, as Docker has it.
const OUTPUT_MAX: usize = 4096;

/// The status of a look that took too long, and of one that could not be begun.
const KILLED: u8 = 137;
const FAILED: u8 = 126;

/// What is known, and when the next look is.
pub struct Watching {
    check: HealthCheck,
    /// The text of a `process`, as soon as it could be compiled.
    process: Option<String>,
    health: Health,
    began: Instant,
    next: Instant,
    looking: Option<Looking>,
}

/// A look that is not over yet.
struct Looking {
    process: Process,
    /// Until it comes to its end.
    output: Option<File>,
    /// The beginning of what it says.
    said: Vec<u8>,
    started: Moment,
    deadline: Instant,
    /// Of the events that tell of it.
    id: String,
}

impl Watching {
    /// Begins with a program that has just begun; `None` if its health is not to be looked at.
    pub fn begin(monitored: &Monitored) -> Option<Watching> {
        let Monitored { folder, record, .. } = monitored;
        let check = HealthCheck::compile(&record.execution, &record.options.health)?;
        let (health, began) = (Health::default(), Instant::now());
        // On a full disk nobody is told of it.
        let _ = health.write(folder);
        let mut watching = Watching { check, process: None, health, began, next: began, looking: None };
        watching.plan_next();
        Some(watching)
    }

    /// What ends a look, and what it says, if there is one.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.looking.iter().flat_map(|looking| {
            let output = looking.output.as_ref().map(File::as_fd);
            [Some(looking.process.as_fd()), output].into_iter().flatten()
        })
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
        let ended = looking.process.try_wait();
        // After that question: what it said before its end is there.
        looking.listen();
        let status = match ended {
            Ok(Some(status)) => Some(status),
            Ok(None) if Instant::now() < looking.deadline => return,
            _ => None,
        };
        let mut output = String::new();
        if status.is_none() {
            end_look(looking);
            output = format!("it took longer than {} s\n", self.check.timeout.as_secs_f32());
        }
        output += &String::from_utf8_lossy(&looking.said);
        let look = Look { started: looking.started, ended: Moment::now(), status, output };
        // As of one that was killed.
        happens(monitored, &looking.id, ExecEvent::Die(status.unwrap_or(KILLED)));
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
        match self.start(container, monitored, started) {
            Ok(looking) => self.looking = Some(looking),
            Err(error) => {
                let look = Look { started, ended: Moment::now(), status: None, output: error.to_string() };
                self.end(look, monitored);
            }
        }
    }

    fn start(&mut self, container: &Container, monitored: &Monitored, started: Moment) -> Result<Looking> {
        let process = match self.process.take() {
            Some(process) => process,
            None => compile_look(&self.check, monitored)?,
        };
        let process = self.process.insert(process);
        let (output, write_end) = std::io::pipe().context(|| "a pipe")?;
        rustix::io::ioctl_fionbio(&output, true).context(|| "a pipe")?;
        let errors = write_end.try_clone().context(|| "a pipe")?;
        let options =
            ExecOptions::with_process(process.as_str()).stdin(Stdio::Null).stdout(write_end).stderr(errors);
        let id = random_id()?;
        happens(monitored, &id, ExecEvent::Create(self.check.command.clone()));
        happens(monitored, &id, ExecEvent::Start(self.check.command.clone()));
        let process =
            container.exec(options).inspect_err(|_| happens(monitored, &id, ExecEvent::Die(FAILED)))?;
        let output = Some(File::from(std::os::fd::OwnedFd::from(output)));
        let deadline = Instant::now() + self.check.timeout;
        Ok(Looking { process, output, said: Vec::new(), started, deadline, id })
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

impl Looking {
    /// Takes what it says, and keeps the beginning: whoever says more would wait for its reader, and never end. What it has started may
    /// keep the pipe open, so nothing is waited for.
    fn listen(&mut self) {
        let Some(output) = &mut self.output else { return };
        // As much as a pipe holds.
        let mut buffer = [0; 1 << 16];
        match output.read(&mut buffer) {
            Ok(length) if length > 0 => {
                let kept = length.min(OUTPUT_MAX - self.said.len());
                self.said.extend_from_slice(&buffer[..kept]);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Ok(_) | Err(_) => self.output = None,
        }
    }
}

/// Tells of a look as of any other program in a container.
fn happens(monitored: &Monitored, id: &str, what: ExecEvent) {
    let happening = Happening::Exec(ExecHappening { id: id.to_string(), what });
    note(&monitored.store, &monitored.record, &happening);
}

/// The `process` of a look.
fn compile_look(check: &HealthCheck, monitored: &Monitored) -> Result<String> {
    let Monitored { store, folder, record, .. } = monitored;
    let root = RootFolders::make(store, folder, record)?;
    let facts = Facts::of_running(store, &record.id, root.accounts()?);
    let request = ExecRequest { command: check.command.clone(), ..ExecRequest::default() };
    Ok(process(record, &request, &facts)?.to_string())
}

fn end_look(looking: &mut Looking) {
    // It may just have ended.
    let _ = looking.process.signal(Signal::KILL);
    let _ = looking.process.wait();
}
