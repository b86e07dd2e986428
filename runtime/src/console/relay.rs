//! Copies between the user's terminal and the container's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::termios::{LocalModes, SpecialCodeIndex};

use super::keyboard::Keyboard;
use super::ring::Ring;
use super::stream::Stream;
use super::{stdin, stdout};

/// How often to check for changes that raise no event: whether a process has the container's terminal open,
/// and which job the user's terminal belongs to.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// How many reads come before the other descriptors are looked at again. A terminal gives 4 KiB per read.
const READS: usize = 16;

/// More than an unread terminal holds. Any output beyond it is not from the program that has ended.
const LEFT_AT_END: usize = 64 * 1024;

/// Copies in both directions and never blocks: what one end does not take stays in a ring, and while that is
/// full the other end is not read.
pub struct Relay {
    master: OwnedFd,
    input: Stream,
    output: Stream,
    keyboard: Keyboard,
    to_program: Ring,
    to_user: Ring,
    typing: Typing,
    /// Whether the last byte that was typed ended a line.
    at_line_start: bool,
    /// No process in the container has the terminal open; one may open it again.
    deserted: bool,
    /// The output takes nothing more at the moment.
    stalled: bool,
    /// poll(2) reported the output as writable, but it took nothing: a newline that becomes two bytes needs
    /// room for both.
    balking: bool,
    /// How many more bytes to read from the container's terminal.
    readable: usize,
}

/// The state of stdin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Typing {
    GoesOn,
    /// It has ended, and the program has not been told yet.
    Ended,
    Over,
}

/// What a relay waits for: its three descriptors, each with its events or left out.
pub type Wanted<'a> = [Option<(BorrowedFd<'a>, PollFlags)>; 3];

impl Relay {
    /// A relay between a terminal's master and the caller's stdin and stdout.
    pub fn new(master: OwnedFd) -> Relay {
        // The master is the runtime's alone. If this failed, which it does not, the relay might block, but
        // would lose nothing.
        let _ = rustix::io::ioctl_fionbio(&master, true);
        Relay {
            master,
            input: Stream::new(stdin(), OFlags::RDONLY),
            output: Stream::new(stdout(), OFlags::WRONLY),
            keyboard: Keyboard::take(),
            to_program: Ring::new(),
            to_user: Ring::new(),
            typing: Typing::GoesOn,
            at_line_start: true,
            deserted: false,
            stalled: false,
            balking: false,
            readable: usize::MAX,
        }
    }

    /// The container's terminal.
    pub fn master(&self) -> &OwnedFd {
        &self.master
    }

    /// What to poll for before [`Self::pass_on`], which takes the results in the same order, and for how long
    /// at most.
    pub fn wanted(&mut self) -> (Wanted<'_>, Option<Timespec>) {
        let away = self.typing == Typing::GoesOn && self.keyboard.is_away();
        let wants_input = self.typing == Typing::GoesOn && !away && !self.to_program.is_full();
        let mut master = PollFlags::empty();
        master.set(PollFlags::IN, !self.to_user.is_full());
        master.set(PollFlags::OUT, !self.to_program.is_empty());
        // A terminal that has hung up is always ready, whatever the events, and so is left out.
        let wants_master = !master.is_empty() && !self.deserted;
        let wanted = [
            wants_master.then(|| (self.master.as_fd(), master)),
            wants_input.then(|| (self.input.as_fd(), PollFlags::IN)),
            (self.stalled && !self.balking).then(|| (self.output.as_fd(), PollFlags::OUT)),
        ];
        (wanted, (away || self.deserted || self.balking).then_some(LOOK_AGAIN))
    }

    /// Copies what can be copied now; `ready` says which of [`Self::wanted`] are ready.
    ///
    /// # Errors
    /// stdout will never take anything again.
    pub fn pass_on(&mut self, ready: [bool; 3]) -> Result<(), Errno> {
        let [master, input, output] = ready;
        if input {
            self.read_input();
        }
        let typed = self.write_input();
        if master && !typed && self.to_user.is_full() {
            // It can only have been ready because the terminal hung up.
            self.deserted = true;
        }
        if output || self.balking {
            self.balking = !self.write_output()?;
        }
        if master || self.deserted {
            for _ in 0..READS {
                if !self.read_output() {
                    break;
                }
                // Bytes read earlier are written only when there is room for them.
                if !self.stalled {
                    self.write_output()?;
                }
            }
        }
        Ok(())
    }

    /// After the program has ended, copies what is left in its terminal; false once everything is written.
    ///
    /// # Errors
    /// As for [`Self::pass_on`].
    pub fn drain(&mut self) -> Result<bool, Errno> {
        self.typing = Typing::Over;
        self.readable = self.readable.min(LEFT_AT_END);
        loop {
            let more = self.to_user.is_full() || self.read_output();
            let written = self.write_output()?;
            if self.stalled {
                self.balking = !written;
                return Ok(true);
            }
            if !more {
                return Ok(false);
            }
        }
    }

    fn read_input(&mut self) {
        let room = self.to_program.room();
        match self.input.read(room) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(1..) if room.is_empty() => {}
            Ok(length @ 1..) => {
                self.at_line_start = matches!(room[length - 1], b'\n' | b'\r');
                self.to_program.add(length);
            }
            Err(Errno::IO) if self.keyboard.was_taken_away() => {}
            // Whatever the error is, nothing more will come.
            Ok(0) | Err(_) => self.typing = Typing::Ended,
        }
    }

    /// Returns whether anything was written.
    fn write_input(&mut self) -> bool {
        let mut any = false;
        while !self.to_program.is_empty() {
            match rustix::io::write(&self.master, self.to_program.pending()) {
                Ok(written @ 1..) => self.to_program.take(written),
                // Tried again when there is room, or when a process opens the terminal.
                Ok(0) | Err(_) => return any,
            }
            any = true;
        }
        if self.typing == Typing::Ended {
            self.type_end();
        }
        any
    }

    /// Passes on the end of stdin as a person would type it: Ctrl-D, and a second one if the first only ends
    /// the line.
    fn type_end(&mut self) {
        const END_OF_TRANSMISSION: u8 = 4;
        let (mut end, mut twice) = (END_OF_TRANSMISSION, false);
        if let Ok(modes) = rustix::termios::tcgetattr(&self.master)
            && modes.local_modes.contains(LocalModes::ICANON)
            && modes.special_codes[SpecialCodeIndex::VEOF] != 0
        {
            end = modes.special_codes[SpecialCodeIndex::VEOF];
            twice = !self.at_line_start;
        }
        let count = if twice { 2 } else { 1 };
        self.to_program.room()[..count].fill(end);
        self.to_program.add(count);
        self.typing = Typing::Over;
        self.write_input();
    }

    /// Returns whether anything was read.
    fn read_output(&mut self) -> bool {
        let room = self.to_user.room();
        let length = room.len().min(self.readable);
        if length == 0 {
            return false;
        }
        match rustix::io::read(&self.master, &mut room[..length]) {
            Err(Errno::AGAIN | Errno::INTR) => {
                self.deserted = false;
                false
            }
            Ok(length @ 1..) => {
                self.deserted = false;
                self.to_user.add(length);
                self.readable -= length;
                true
            }
            // If the slave side of a pty is closed, reading gives EIO.
            Ok(0) | Err(_) => {
                self.deserted = true;
                false
            }
        }
    }

    /// Returns whether anything was written.
    fn write_output(&mut self) -> Result<bool, Errno> {
        let mut any = false;
        while !self.to_user.is_empty() {
            match self.output.write(self.to_user.pending()) {
                Ok(written @ 1..) => self.to_user.take(written),
                Ok(0) | Err(Errno::AGAIN | Errno::INTR) => {
                    self.stalled = true;
                    return Ok(any);
                }
                Err(errno) => return Err(errno),
            }
            any = true;
        }
        self.stalled = false;
        Ok(any)
    }
}
