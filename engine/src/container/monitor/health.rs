//! The monitor's looks at a container's health: one after the other, in a thread that ends with the program.

use std::io::{PipeReader, Read};
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pillbox::{ExecOptions, Process, Signal, Stdio};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use super::Monitored;
use crate::container::event::{Happening, note};
use crate::container::exec::{ExecRequest, exec_options};
use crate::container::health::{Health, HealthLook, HealthPlan, HealthStatus};
use crate::container::record::ContainerRecord;
use crate::container::status::open;
use crate::error::{Context, Error, Result};
use crate::store::{ContainerFolder, Store};
use crate::time::Moment;

/// The most of its output that is kept of a look.
const OUTPUT_MAX: usize = 4096;

/// Starts to look, if somebody wants it; the thread ends when `ended`, a pidfd of the container's, does.
///
/// # Errors
/// There is no thread to be had.
pub fn start(monitored: &Monitored, ended: &OwnedFd) -> Result<Option<JoinHandle<()>>> {
    let Some(plan) = HealthPlan::of(&monitored.record) else { return Ok(None) };
    let ended = rustix::io::fcntl_dupfd_cloexec(ended, 3).context(|| "health")?;
    let (store, folder) = (monitored.store.clone(), monitored.folder.clone());
    let record = monitored.record.clone();
    // Of the run before nothing counts.
    Health::default().write(&folder)?;
    let looks = Looks { store, folder, record, plan, ended, health: Health::default() };
    let thread = std::thread::Builder::new().name("health".into()).spawn(|| looks.go_on());
    Ok(Some(thread.context(|| "health: a thread")?))
}

struct Looks {
    store: Store,
    folder: ContainerFolder,
    record: ContainerRecord,
    plan: HealthPlan,
    ended: OwnedFd,
    health: Health,
}

impl Looks {
    fn go_on(mut self) {
        let began = Instant::now();
        loop {
            let is_starting =
                self.health.status == HealthStatus::Starting && began.elapsed() < self.plan.start_period;
            let pause = if is_starting { self.plan.start_interval } else { self.plan.interval };
            if has_ended_within(&self.ended, jittered(pause)) {
                return;
            }
            let before = self.health.status;
            // A program that waits to be started, or is stopped, has no health.
            let Some(look) = self.look() else { continue };
            if has_ended_within(&self.ended, Duration::ZERO) {
                return;
            }
            self.health.add(look, self.plan.retries, !is_starting);
            // A disk that does not take it takes the next one.
            let _ = self.health.write(&self.folder);
            if self.health.status != before {
                note(&self.store, &self.record, &Happening::Health(self.health.status.name()));
            }
        }
    }

    fn look(&self) -> Option<HealthLook> {
        let container = open(&self.store, &self.folder.id).ok().flatten()?;
        if container.status().ok()? != pillbox::Status::Running {
            return None;
        }
        let start = Moment::now();
        let (status, output) = match self.run(&container) {
            Ok(ended) => ended,
            Err(error) => (-1, error.to_string()),
        };
        Some(HealthLook { start, end: Moment::now(), status, output })
    }

    fn run(&self, container: &pillbox::Container) -> Result<(i32, String)> {
        let request = ExecRequest { command: self.plan.command.clone(), ..ExecRequest::default() };
        let options: ExecOptions = exec_options(&self.store, &self.folder, &self.record, &request)?;
        let (mut output, write_end) = std::io::pipe().context(|| "a pipe")?;
        let other = write_end.try_clone().context(|| "a pipe")?;
        let process = container.exec(options.stdin(Stdio::Null).stdout(write_end).stderr(other))?;
        let due = Instant::now() + self.plan.timeout;
        let said = read_until(&mut output, &process, due)?;
        match process.try_wait()? {
            Some(status) => Ok((status.into(), said)),
            None => {
                process.signal(Signal::KILL)?;
                process.wait()?;
                let limit = self.plan.timeout.as_secs_f64();
                Ok((-1, format!("Health check exceeded timeout ({limit}s): {said}")))
            }
        }
    }
}

/// What it says, until it has ended or the time is over. What children of it keep open is not waited for.
fn read_until(output: &mut PipeReader, process: &Process, due: Instant) -> Result<String> {
    let mut said = Vec::new();
    let mut is_open = true;
    loop {
        let limit = timespec(due.saturating_duration_since(Instant::now()));
        let mut polled = vec![PollFd::new(process, PollFlags::IN)];
        if is_open {
            polled.push(PollFd::new(&*output, PollFlags::IN));
        }
        match poll(&mut polled, Some(&limit)) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context(|| "wait for a health check"),
        }
        let has_ended = !polled[0].revents().is_empty();
        let is_ready = polled.get(1).is_some_and(|output| !output.revents().is_empty());
        // After its end there is what was written before.
        if is_ready {
            is_open = take(output, &mut said)?;
        } else if has_ended {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// False at the end.
fn take(output: &mut PipeReader, said: &mut Vec<u8>) -> Result<bool> {
    let mut buffer = [0; OUTPUT_MAX];
    let length = output.read(&mut buffer).context(|| "the output of a health check")?;
    said.extend_from_slice(&buffer[..length.min(OUTPUT_MAX - said.len())]);
    Ok(length > 0)
}

fn is_readable(descriptor: &OwnedFd, within: Duration) -> Result<bool> {
    match poll(&mut [PollFd::new(descriptor, PollFlags::IN)], Some(&timespec(within))) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(Error::from(errno)),
    }
}

fn has_ended_within(ended: &OwnedFd, time: Duration) -> bool {
    let due = Instant::now() + time;
    loop {
        match is_readable(ended, due.saturating_duration_since(Instant::now())) {
            // Whoever cannot be looked at is not looked at.
            Ok(true) | Err(_) => return true,
            Ok(false) if Instant::now() >= due => return false,
            Ok(false) => {}
        }
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() }
}

/// Up to a sixteenth longer, so that many containers that were started together are not looked at together.
fn jittered(time: Duration) -> Duration {
    let mut byte = [0; 1];
    // Without random bytes all are in step.
    let _ = getrandom(&mut byte, GetRandomFlags::empty());
    time + time / 16 * u32::from(byte[0]) / 256
}
