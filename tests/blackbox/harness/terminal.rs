//! A user's terminal, of which the test has the keyboard and the screen.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::{Container, Running, start_writing_to};

/// A pty; the runtime gets its slave side.
pub struct Terminal {
    pub master: File,
    pub slave: OwnedFd,
}

impl Terminal {
    pub fn open() -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pty");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("a pty");
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = ioctl_tiocgptpeer(&master, flags).expect("the pty's slave");
        let size = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size).expect("size");
        Terminal { master: File::from(master), slave }
    }

    pub fn slave(&self) -> OwnedFd {
        self.slave.try_clone().expect("slave")
    }

    /// Starts a command with this terminal as stdin, stdout and controlling terminal.
    pub fn spawn(&self, container: &Container<'_>, command: &Command) -> Running {
        let mut session = Command::new("setsid");
        session.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => session.env(name, value),
                None => session.env_remove(name),
            };
        }
        session.stdin(self.slave());
        start_writing_to(&mut session, self.slave(), &container.folder.join("output"))
    }

    /// The output, to be read with [`read_slowly`].
    pub fn screen(&self) -> File {
        self.master.try_clone().expect("master")
    }

    /// Reads the output, pausing before each read, until the slave side is closed everywhere; closes this
    /// value's own.
    pub fn read_slowly(self, pause: Duration) -> JoinHandle<String> {
        read_slowly(self.master, pause)
    }

    /// Types.
    pub fn write(&self, text: &[u8]) {
        (&self.master).write_all(text).expect("terminal");
    }
}

/// Reads to the end, pausing before each read; drops carriage returns.
pub fn read_slowly(mut from: File, pause: Duration) -> JoinHandle<String> {
    spawn(move || {
        let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            sleep(pause);
            match from.read(&mut buffer) {
                // EIO: the slave side has been closed.
                Ok(0) | Err(_) => return String::from_utf8_lossy(&text).replace('\r', ""),
                Ok(length) => text.extend_from_slice(&buffer[..length]),
            }
        }
    })
}
