//! Work that is ended from elsewhere: a signal has come, or its client has gone.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::error::{Context, Error, Kind, Result};

/// By which work is ended. Copies are one and the same.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_set: AtomicBool,
    /// Programs that work for it.
    programs: Mutex<Vec<Arc<OwnedFd>>>,
}

impl Stop {
    /// Ends it, and what works for it in other processes.
    pub fn set(&self) {
        let programs = self.0.programs.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.is_set.store(true, Ordering::SeqCst);
        for program in &*programs {
            // It may have ended already.
            let _ = pidfd_send_signal(program, Signal::KILL);
        }
    }

    /// Whether it is to end.
    pub fn is_set(&self) -> bool {
        self.0.is_set.load(Ordering::SeqCst)
    }

    /// Goes on unless it is to end.
    ///
    /// # Errors
    /// [`Kind::Closed`]: it is.
    pub fn check(&self) -> Result<()> {
        if self.is_set() { Err(Error::new(Kind::Closed, "it was ended")) } else { Ok(()) }
    }

    /// A stream that cannot be read or written any more when it is to end. What goes at once has to be little.
    pub fn over<S>(&self, stream: S) -> Stoppable<S> {
        Stoppable { stream, stop: self.clone() }
    }

    /// A program that is killed when it is to end, as long as the result is there.
    ///
    /// # Errors
    /// The kernel has no descriptors left.
    pub fn over_program(&self, program: &Child) -> Result<StoppableProgram> {
        let process = pidfd_open(Pid::from_child(program), PidfdFlags::empty()).context(|| "pidfd_open")?;
        let process = Arc::new(process);
        let mut programs = self.0.programs.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_set() {
            let _ = pidfd_send_signal(&process, Signal::KILL);
        }
        programs.push(process.clone());
        Ok(StoppableProgram { process, stop: self.clone() })
    }
}

/// A stream on which work depends.
#[derive(Debug)]
pub struct Stoppable<S> {
    stream: S,
    stop: Stop,
}

impl<R: Read> Read for Stoppable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stop.check().map_err(std::io::Error::other)?;
        self.stream.read(buffer)
    }
}

impl<W: Write> Write for Stoppable<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stop.check().map_err(std::io::Error::other)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

/// A program that works for somebody.
#[derive(Debug)]
pub struct StoppableProgram {
    process: Arc<OwnedFd>,
    stop: Stop,
}

impl Drop for StoppableProgram {
    fn drop(&mut self) {
        let mut programs = self.stop.0.programs.lock().unwrap_or_else(PoisonError::into_inner);
        programs.retain(|known| !Arc::ptr_eq(known, &self.process));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ended_goes_no_further() {
        let stop = Stop::default();
        let mut zeros = stop.over(std::io::repeat(0));
        zeros.read_exact(&mut [0; 10]).unwrap();
        stop.over(std::io::sink()).write_all(&[0; 10]).unwrap();
        let sleep = || std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let (mut first, mut second, mut third) = (sleep(), sleep(), sleep());
        let first_kept = stop.over_program(&first).unwrap();
        drop(stop.over_program(&second).unwrap());
        stop.clone().set();
        assert!(!first.wait().unwrap().success());
        assert!(second.try_wait().unwrap().is_none());
        let _third_kept = stop.over_program(&third).unwrap();
        assert!(!third.wait().unwrap().success());
        drop(first_kept);
        let error = zeros.read(&mut [0; 10]).map(drop).map_err(Error::from).unwrap_err();
        assert_eq!(error.kind(), Kind::Closed);
        assert!(stop.over(std::io::sink()).write_all(&[0; 10]).is_err());
        second.kill().unwrap();
        second.wait().unwrap();
    }
}
