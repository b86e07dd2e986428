//! The monitor's life: the container is made, started, served until its end; the end is recorded.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pillbox::{Container, Root, Signal, Stdio};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::client::Client;
use super::input::Input;
use super::output::{CHUNK, Look, Output, Pipes};
use super::protocol::{Failure, Kind, Size, decode_value, encode, encode_value};
use super::{Beginning, Monitored, socket_path};
use crate::container::log::{LogBounds, LogWriter, Stream};
use crate::container::own::forget_state;
use crate::container::prepare::{Prepared, prepare};
use crate::container::record::{Exit, Progress};
use crate::error::{Context, Error, Result};
use crate::time::Moment;

/// How long clients have to take what is left for them after the end.
const PATIENCE: Duration = Duration::from_secs(5);

/// The status of a program whose parent was killed, where the kernel tells nobody else.
const UNKNOWN: u8 = 255;

/// A container that is there, with everything that the monitor has of it.
struct Served {
    container: Container,
    ended: OwnedFd,
    outputs: Vec<Output>,
    input: Option<Input>,
    /// The master of the program's terminal, to set its size.
    terminal: Option<OwnedFd>,
    /// Waits for the end of a container of which this process is not the parent: its status is known only to whoever has looked at
    /// it before.
    waiting: Option<JoinHandle<pillbox::Result<u8>>>,
    /// Whoever keeps it decides when an overlay's changes are synced: after the end is recorded.
    root: Option<std::sync::Arc<OwnedFd>>,
}

/// Everything, from the beginning to the end.
pub fn live(mut monitored: Monitored, beginning: Beginning, first: UnixStream) -> Result<()> {
    let mut clients = vec![Client::new(first)?];
    let made = monitored.make_runtime_folder().and_then(|folder| {
        let listener = listen(&folder)?;
        let served = match beginning {
            Beginning::Make => make(&monitored, &folder)?,
            Beginning::Adopt => find(&monitored, &folder)?,
        };
        Ok((listener, served))
    });
    let (listener, mut served) = match made {
        Ok(made) => made,
        Err(error) => return refuse(&mut monitored, &mut clients, &error),
    };
    for warning in served.container.warnings() {
        clients[0].say(&encode(Kind::Warning, warning.to_string().as_bytes()));
    }
    clients[0].say(&encode(Kind::Created, b""));
    let log = LogWriter::open(&monitored.folder.path().join("log"), LogBounds::default())?;
    let mut watch =
        Watch { clients, listener, log, is_started: beginning == Beginning::Adopt, failure: None };
    watch.serve(&mut served, &monitored)?;
    let failure = watch.failure.take();
    if let Some(error) = failure {
        served.container.delete(true)?;
        return refuse(&mut monitored, &mut watch.clients, &error);
    }
    if !watch.is_started {
        // Whoever was to start it has gone.
        served.container.delete(true)?;
        return monitored.give_up();
    }
    let status = record_end(&monitored, &mut served)?;
    let root = served.root.take();
    // What cannot be deleted now is deleted by the next command.
    let deleted = served.container.delete(true);
    drop(root);
    monitored.give_up()?;
    watch.say_to_all(&encode(Kind::Ended, &[status]));
    watch.flush_all();
    Ok(deleted?)
}

fn record_end(monitored: &Monitored, served: &mut Served) -> Result<u8> {
    let ended = match served.waiting.take() {
        None => served.container.wait(),
        Some(waiting) => match waiting.join() {
            Ok(ended) => ended,
            Err(_) => return Err(Error::invalid("the thread that waits has ended")),
        },
    };
    let finished = Moment::now();
    let exit = match ended {
        Ok(status) => Exit { status, finished, error: None },
        Err(error) => Exit { status: UNKNOWN, finished, error: Some(error.to_string()) },
    };
    let mut progress = Progress::read(&monitored.folder)?;
    let status = exit.status;
    progress.exit = Some(exit);
    progress.write(&monitored.folder)?;
    Ok(status)
}

/// Records that it could not be started, and tells whoever wanted it.
fn refuse(monitored: &mut Monitored, clients: &mut [Client], error: &Error) -> Result<()> {
    let (text, status) = (error.to_string(), error.status());
    let exit = Exit { status, finished: Moment::now(), error: Some(text.clone()) };
    Progress { started: Some(Moment::now()), exit: Some(exit) }.write(&monitored.folder)?;
    monitored.give_up()?;
    let frame = encode_value(Kind::Failed, &Failure { text, status });
    for client in clients {
        client.say(&frame);
    }
    Ok(())
}

fn listen(folder: &Path) -> Result<UnixListener> {
    let path = socket_path(folder);
    // Of a monitor that was killed.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).context(|| path.display().to_string())?;
    listener.set_nonblocking(true).context(|| path.display().to_string())?;
    Ok(listener)
}

/// Makes the container, whose program waits.
fn make(monitored: &Monitored, folder: &Path) -> Result<Served> {
    let Monitored { store, folder: own, record, .. } = monitored;
    // Pipes of one that was killed have what it had not read.
    for name in ["stdout", "stderr"] {
        let _ = std::fs::remove_file(folder.join(name));
    }
    forget_state(store, &own.id)?;
    let Prepared { bundle, mut options, root } = prepare(store, own, record)?;
    let (mut outputs, mut stdin) = (Vec::new(), None);
    if !record.options.streams.terminal {
        let pipes = Pipes::in_folder(folder);
        let [stdout, stderr] = pipes.make()?;
        outputs = pipes.open()?;
        options = options.stdout(stdout).stderr(stderr);
        options = match record.options.streams.interactive {
            true => {
                let (read, write) = std::io::pipe().context(|| "a pipe")?;
                stdin = Some(OwnedFd::from(write));
                options.stdin(read)
            }
            false => options.stdin(Stdio::Null),
        };
    }
    let root_folder = Root::at(&store.place().runtime);
    let mut container = Container::create(&root_folder, own.id.as_str(), &bundle, options)?;
    let terminal = container.take_terminal();
    let clone =
        |master: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(master, 3).context(|| "the program's terminal");
    if let Some(master) = &terminal {
        rustix::io::ioctl_fionbio(master, true).context(|| "the program's terminal")?;
        outputs.push(Output::of_terminal(clone(master)?));
        if record.options.streams.interactive {
            stdin = Some(clone(master)?);
        }
    }
    let ended = container.pidfd()?;
    Ok(Served {
        ended,
        container,
        outputs,
        input: stdin.map(Input::new).transpose()?,
        terminal,
        waiting: None,
        root,
    })
}

/// Finds a container that runs. Its pipes are still there; a terminal and what it read from are gone with the monitor before.
fn find(monitored: &Monitored, folder: &Path) -> Result<Served> {
    let root = Root::at(&monitored.store.place().runtime);
    let container = Container::open(&root, monitored.folder.id.as_str())?;
    let again = Container::open(&root, monitored.folder.id.as_str())?;
    let waiting = Some(std::thread::spawn(move || again.wait()));
    let outputs = match monitored.record.options.streams.terminal {
        true => Vec::new(),
        false => Pipes::in_folder(folder).open()?,
    };
    let ended = container.pidfd()?;
    Ok(Served { ended, container, outputs, input: None, terminal: None, waiting, root: None })
}

/// Who is served, and how far it has come.
struct Watch {
    clients: Vec<Client>,
    listener: UnixListener,
    log: LogWriter,
    is_started: bool,
    /// Why it could not be started.
    failure: Option<Error>,
}

impl Watch {
    /// Until the program has ended and everything that it wrote is read.
    fn serve(&mut self, served: &mut Served, monitored: &Monitored) -> Result<()> {
        let mut buffer = vec![0; CHUNK];
        let mut has_ended = false;
        loop {
            self.wait(served, has_ended)?;
            self.accept()?;
            for index in 0..self.clients.len() {
                self.clients[index].flush();
                let frames = match self.clients[index].hear() {
                    Ok(frames) => frames,
                    // A client of another version.
                    Err(_) => {
                        self.clients[index] =
                            Client::new(UnixStream::pair().context(|| "a pair of sockets")?.0)?;
                        continue;
                    }
                };
                for (kind, payload) in frames {
                    self.obey(index, kind, &payload, served, monitored)?;
                }
            }
            let starter_is_gone = self.clients.first().is_none_or(Client::is_gone);
            self.clients.retain(|client| !client.is_gone());
            if self.failure.is_some() || (!self.is_started && starter_is_gone) {
                return Ok(());
            }
            if served.input.as_mut().is_some_and(|input| !input.flush()) {
                served.input = None;
            }
            let was_full = self.clients.iter().any(Client::is_full);
            let is_drained = was_full || self.copy(served, &mut buffer)?;
            // Processes that have outlived the program may keep a pipe open, and write no more of interest.
            if has_ended && is_drained && !was_full {
                return Ok(());
            }
            has_ended |= self.is_started && is_readable(&served.ended)?;
        }
    }

    /// Copies what is there of each stream; true if nothing was.
    fn copy(&mut self, served: &mut Served, buffer: &mut [u8]) -> Result<bool> {
        let mut is_drained = true;
        let mut index = 0;
        while let Some(output) = served.outputs.get(index) {
            match output.read(buffer)? {
                Look::Some(length) => {
                    is_drained = false;
                    let stream = output.stream;
                    self.log.write(stream, &buffer[..length]);
                    let kind = if stream == Stream::Stderr { Kind::Stderr } else { Kind::Stdout };
                    self.clients.iter_mut().for_each(|client| client.show(kind, &buffer[..length]));
                    index += 1;
                }
                Look::Nothing => index += 1,
                // Before the program begins nobody has its terminal open.
                Look::End if !self.is_started => index += 1,
                Look::End => {
                    served.outputs.remove(index);
                }
            }
        }
        Ok(is_drained)
    }

    fn wait(&self, served: &Served, has_ended: bool) -> Result<()> {
        let is_full = self.clients.iter().any(Client::is_full);
        let input_is_full = served.input.as_ref().is_some_and(Input::is_full);
        let mut polled = vec![PollFd::new(&self.listener, PollFlags::IN)];
        if !has_ended && self.is_started {
            polled.push(PollFd::new(&served.ended, PollFlags::IN));
        }
        for client in &self.clients {
            let may_read = !(client.has_input() && input_is_full);
            polled.push(PollFd::new(client, client.wanted(may_read)));
        }
        if !is_full && self.is_started {
            polled.extend(served.outputs.iter().map(|output| PollFd::new(output, PollFlags::IN)));
        }
        if let Some(input) = served.input.as_ref().filter(|input| input.is_behind()) {
            polled.push(PollFd::new(input, PollFlags::OUT));
        }
        // What is left after the end is there already.
        let timeout =
            has_ended.then_some(Timespec { tv_sec: 0, tv_nsec: if is_full { 10_000_000 } else { 0 } });
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno).context(|| "wait for the container"),
        }
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.clients.push(Client::new(stream)?),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                // Without descriptors the next one waits.
                Err(_) => return Ok(()),
            }
        }
    }

    fn obey(
        &mut self,
        index: usize,
        kind: Kind,
        payload: &[u8],
        served: &mut Served,
        monitored: &Monitored,
    ) -> Result<()> {
        match kind {
            Kind::Start if !self.is_started => {
                let started = served.container.start().map_err(Error::from).and_then(|()| {
                    Progress { started: Some(Moment::now()), exit: None }.write(&monitored.folder)
                });
                match started {
                    Ok(()) => {
                        self.is_started = true;
                        self.clients[index].say(&encode(Kind::Started, b""));
                    }
                    Err(error) => self.failure = Some(error),
                }
            }
            Kind::Input => {
                if let Some(input) = &mut served.input {
                    input.add(payload);
                }
            }
            Kind::InputEnd if served.terminal.is_none() => {
                if let Some(input) = &mut served.input {
                    input.end();
                }
            }
            Kind::Resize => {
                let Size { rows, columns } = decode_value(payload)?;
                if let Some(terminal) = &served.terminal {
                    // One that is gone has no size.
                    let _ = pillbox::resize_terminal(terminal, rows, columns);
                }
            }
            Kind::Signal => {
                let number = payload.first().map(u8::to_string).unwrap_or_default();
                let signal: Signal = pillbox::signal::parse(&number)?;
                // It may just have ended.
                let _ = served.container.kill(signal);
            }
            _ => {}
        }
        Ok(())
    }

    fn say_to_all(&mut self, frame: &[u8]) {
        self.clients.iter_mut().for_each(|client| client.say(frame));
    }

    /// Gives clients time to take what is left.
    fn flush_all(&mut self) {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            self.clients.retain(Client::is_behind);
            if self.clients.is_empty() {
                return;
            }
            let mut polled: Vec<_> =
                self.clients.iter().map(|client| PollFd::new(client, PollFlags::OUT)).collect();
            let limit = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
            if poll(&mut polled, Some(&limit)).is_err_and(|errno| errno != Errno::INTR) {
                return;
            }
            self.clients.iter_mut().for_each(Client::flush);
        }
    }
}

fn is_readable(descriptor: &OwnedFd) -> Result<bool> {
    let descriptor: BorrowedFd<'_> = descriptor.as_fd();
    let mut polled = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
    match poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(errno).context(|| "wait for the container"),
    }
}
