//! The input side of the user's terminal: raw, so that every key goes to the container.

use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios};

use super::stdin;

/// What is done to stdin for the container's terminal.
pub enum Keyboard {
    /// It is a terminal, and is raw now; this is how it was before.
    Raw(Termios),
    /// It is a terminal that another job has at the moment: its keys and modes belong to that job.
    Away,
    /// It is not a terminal, or is gone: read as it is.
    Plain,
}

impl Keyboard {
    /// Makes stdin raw if it is a terminal and this job is in the foreground.
    pub fn take() -> Keyboard {
        if !in_foreground() {
            return Keyboard::Away;
        }
        let make_raw = || {
            let before = rustix::termios::tcgetattr(stdin())?;
            let mut raw = before.clone();
            raw.make_raw();
            rustix::termios::tcsetattr(stdin(), OptionalActions::Now, &raw)?;
            Ok::<_, Errno>(before)
        };
        make_raw().map_or(Keyboard::Plain, Keyboard::Raw)
    }

    /// Whether another job has the terminal. The kernel reports no change, so call this from time to time.
    pub fn is_away(&mut self) -> bool {
        if matches!(self, Keyboard::Away) {
            *self = Keyboard::take();
        }
        matches!(self, Keyboard::Away)
    }

    /// Whether a read failed because another job has the terminal now.
    pub fn was_taken_away(&mut self) -> bool {
        let away = !matches!(self, Keyboard::Plain) && !in_foreground();
        if away {
            *self = Keyboard::Away;
        }
        away
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        // In the background the modes belong to the job in the foreground. A terminal that is gone needs no
        // restoring.
        if let Keyboard::Raw(before) = self
            && in_foreground()
        {
            // Takes effect now: otherwise it would wait for output that the user does not read yet, and
            // discard what was typed ahead.
            let _ = rustix::termios::tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}

/// tcgetpgrp(3) fails unless this is the session's terminal; without it there are no jobs.
fn in_foreground() -> bool {
    rustix::termios::tcgetpgrp(stdin()).map_or(true, |group| group == rustix::process::getpgrp())
}
