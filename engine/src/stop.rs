//! Work that is ended from elsewhere: a signal has come, or its client has gone.

use std::fmt;
use std::io::{Read, Write};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::error::{Context, Error, Kind, Result};

/// By which work is ended. Copies are one and the same.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Default)]
struct Inner {
    is_set: AtomicBool,
    /// How others are ended that work for it.
    ends: Mutex<Vec<End>>,
}

type End = Arc<dyn Fn() + Send + Sync>;

impl fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Stop").field(&self.is_set).finish()
    }
}

impl Stop {
    /// Ends it, and what works for it in other processes or waits for others.
    pub fn set(&self) {
        let ends = self.0.ends.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.is_set.store(true, Ordering::SeqCst);
        ends.iter().for_each(|end| end());
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
    pub fn over_program(&self, program: &Child) -> Result<Ending> {
        let process = pidfd_open(Pid::from_child(program), PidfdFlags::empty()).context(|| "pidfd_open")?;
        Ok(self.also(move || {
            // It may have ended already.
            let _ = pidfd_send_signal(&process, Signal::KILL);
        }))
    }

    /// Something more that is done when it is to end, as long as the result is there.
    pub fn also(&self, end: impl Fn() + Send + Sync + 'static) -> Ending {
        let end: End = Arc::new(end);
        let mut ends = self.0.ends.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_set() {
            end();
        }
        ends.push(end.clone());
        Ending { end, stop: self.clone() }
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

/// Something that is done when work is to end.
pub struct Ending {
    end: End,
    stop: Stop,
}

impl fmt::Debug for Ending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Ending").field(&self.stop).finish()
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let mut ends = self.stop.0.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.retain(|known| !Arc::ptr_eq(known, &self.end));
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
