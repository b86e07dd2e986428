//! The user's terminal, as far as it is typed at: raw, so that every key is the container's.

use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios};

use super::stdin;

/// What is done to stdin for the container's terminal.
pub enum Keyboard {
    /// It is a terminal, raw now; how it was before.
    Raw(Termios),
    /// It is a terminal, and another job's at the moment: its keys and modes are that one's.
    Away,
    /// It is none, or gone: read as it is.
    Plain,
}

impl Keyboard {
    /// Makes stdin raw if it is a terminal and this job's.
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

    /// Whether stdin is another job's. The kernel does not say when that changes: to be asked now and then.
    pub fn is_away(&mut self) -> bool {
        if matches!(self, Keyboard::Away) {
            *self = Keyboard::take();
        }
        matches!(self, Keyboard::Away)
    }

    /// After a read that failed: whether it failed because stdin is another job's now.
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
        // In the background the modes are those of who is in front. A terminal that is gone needs no restoring.
        if let Keyboard::Raw(before) = self
            && in_foreground()
        {
            // At once: what the user does not read yet would be waited for otherwise, and what is typed ahead be lost.
            let _ = rustix::termios::tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}

/// tcgetpgrp(3) fails for what is not this session's terminal, where there are no jobs.
fn in_foreground() -> bool {
    rustix::termios::tcgetpgrp(stdin()).map_or(true, |group| group == rustix::process::getpgrp())
}
