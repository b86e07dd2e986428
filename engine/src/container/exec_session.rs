//! One more program in a container, for somebody who is not the caller of box: his streams are copied, and the status is told when
//! everything that the program wrote has been shown.

use std::os::fd::{AsFd, OwnedFd};

use pillbox::{ExecOptions, Process, Stdio};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::attach::Caller;
use super::detach::{DetachKeys, Keyboard, Typed};
use super::exec::{ExecRequest, options_of};
use super::log::Stream;
use super::monitor::{Input, Look, Output, Size};
use crate::error::{Context, Result};
use crate::store::{ContainerFolder, Store};

/// A program that has begun.
#[derive(Debug)]
pub struct ExecSession {
    process: Process,
    input: Option<Input>,
    outputs: Vec<Output>,
    /// Of its terminal, to set its size.
    terminal: Option<OwnedFd>,
    /// What lets go of that.
    keys: DetachKeys,
}

impl ExecSession {
    /// Starts it.
    ///
    /// # Errors
    /// The container does not run; the program cannot be executed.
    pub fn begin(
        store: &Store,
        folder: &ContainerFolder,
        request: &ExecRequest,
        size: Option<Size>,
    ) -> Result<ExecSession> {
        let (container, mut options) = options_of(store, folder, request)?;
        if request.streams.terminal {
            return ExecSession::with_terminal(&container, options, request, size);
        }
        let (mut input, mut outputs) = (None, Vec::new());
        options = match (request.streams.interactive, request.detached) {
            (true, false) => {
                let (read, write) = std::io::pipe().context(|| "a pipe")?;
                input = Some(Input::new(OwnedFd::from(write))?);
                options.stdin(read)
            }
            _ => options.stdin(Stdio::Null),
        };
        if request.detached {
            options = options.stdout(Stdio::Null).stderr(Stdio::Null);
        } else {
            let mut lead = |stream| {
                let (read, write) = std::io::pipe().context(|| "a pipe")?;
                outputs.push(Output::of_pipe(stream, OwnedFd::from(read))?);
                Ok::<_, crate::Error>(write)
            };
            let (stdout, stderr) = (lead(Stream::Stdout)?, lead(Stream::Stderr)?);
            options = options.stdout(stdout).stderr(stderr);
        }
        let process = container.exec(options)?;
        Ok(ExecSession { process, input, outputs, terminal: None, keys: DetachKeys::default() })
    }

    fn with_terminal(
        container: &pillbox::Container,
        options: ExecOptions,
        request: &ExecRequest,
        size: Option<Size>,
    ) -> Result<ExecSession> {
        let options = match size {
            Some(Size { rows, columns }) => options.terminal_size(rows, columns),
            None => options.terminal(true),
        };
        let mut process = container.exec(options)?;
        let Some(master) = process.take_terminal() else {
            return Err(crate::Error::invalid("the program has no terminal"));
        };
        let clone = || rustix::io::fcntl_dupfd_cloexec(&master, 3).context(|| "the program's terminal");
        rustix::io::ioctl_fionbio(&master, true).context(|| "the program's terminal")?;
        let input = if request.streams.interactive { Some(Input::new(clone()?)?) } else { None };
        let outputs = vec![Output::of_terminal(clone()?)];
        Ok(ExecSession { process, input, outputs, terminal: Some(master), keys: request.keys.clone() })
    }

    /// Its first process.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Its terminal, to set the size of.
    pub fn terminal(&self) -> Option<&OwnedFd> {
        self.terminal.as_ref()
    }

    /// Waits for its end, and shows what it writes meanwhile. If the client goes it goes on, and what it writes is nobody's.
    ///
    /// # Errors
    /// The kernel refuses to wait.
    pub fn finish(mut self, caller: Option<&mut dyn Caller>) -> Result<u8> {
        let keyboard = self.terminal.as_ref().map(|_| Keyboard::new(self.keys.clone()));
        let mut client = Client { reads: caller.is_some() && self.input.is_some(), caller, keyboard };
        let mut has_ended = false;
        loop {
            if !has_ended && self.wait(&client)? {
                has_ended = true;
                self.outputs.iter_mut().for_each(Output::read_only_the_rest);
            }
            client.read(&mut self.input);
            if self.input.as_mut().is_some_and(|input| !input.flush()) {
                self.input = None;
            }
            let length = self.show(&mut client)?;
            // Processes that have outlived the program may keep a pipe open, and write no more of interest.
            if has_ended && length == 0 {
                return Ok(self.process.wait()?);
            }
        }
    }

    /// True if the program has ended.
    fn wait(&self, client: &Client<'_>) -> Result<bool> {
        let mut polled = vec![PollFd::new(&self.process, PollFlags::IN)];
        polled.extend(self.outputs.iter().map(|output| PollFd::new(output, PollFlags::IN)));
        if let Some(input) = self.input.as_ref().filter(|input| input.is_behind()) {
            polled.push(PollFd::new(input, PollFlags::OUT));
        }
        let is_full = self.input.as_ref().is_some_and(Input::is_full);
        if let Some(caller) = client.caller.as_deref().filter(|_| client.reads && !is_full) {
            if caller.has_input() {
                return Ok(false);
            }
            polled.push(PollFd::from_borrowed_fd(caller.input(), PollFlags::IN));
        }
        match poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => Ok(!polled[0].revents().is_empty()),
            Err(errno) => Err(errno).context(|| "wait for the program"),
        }
    }

    fn show(&mut self, client: &mut Client<'_>) -> Result<usize> {
        let mut buffer = vec![0; 1 << 16];
        let (mut sum, mut index) = (0, 0);
        while let Some(output) = self.outputs.get_mut(index) {
            match output.read(&mut buffer)? {
                Look::Some(length) => {
                    sum += length;
                    if let Some(caller) = client.caller.as_deref_mut() {
                        caller.show(output.stream, &buffer[..length]);
                    }
                    index += 1;
                }
                Look::Nothing => index += 1,
                Look::End => drop(self.outputs.remove(index)),
            }
        }
        Ok(sum)
    }
}

/// Whoever has asked for the program.
struct Client<'a> {
    caller: Option<&'a mut dyn Caller>,
    /// Whether he may have more to say.
    reads: bool,
    /// Of a terminal.
    keyboard: Option<Keyboard>,
}

impl Client<'_> {
    fn read(&mut self, input: &mut Option<Input>) {
        let Some(caller) = self.caller.as_deref_mut().filter(|_| self.reads) else { return };
        let is_full = input.as_ref().is_none_or(Input::is_full);
        let mut polled = [PollFd::from_borrowed_fd(caller.input(), PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let is_there = caller.has_input() || poll(&mut polled, Some(&now)).is_ok_and(|ready| ready > 0);
        if is_full || !is_there {
            return;
        }
        let mut buffer = [0; 1 << 14];
        match caller.read(&mut buffer) {
            Ok(length) if length > 0 => {
                let typed = match &mut self.keyboard {
                    Some(keyboard) => keyboard.take(&buffer[..length]),
                    None => Typed { text: buffer[..length].to_vec(), lets_go: false },
                };
                if let Some(input) = input {
                    input.add(&typed.text);
                }
                if typed.lets_go {
                    self.caller = None;
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            _ => {
                self.reads = false;
                if let Some(input) = input {
                    input.end();
                }
            }
        }
    }
}

impl AsFd for ExecSession {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.process.as_fd()
    }
}
