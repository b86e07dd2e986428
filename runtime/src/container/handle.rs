//! Containers as values, for programs that embed pillbox: the functions that the commands call, for one
//! container.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::process::Signal;

use super::bundle::Bundle;
use super::kill::Target;
use super::options::{CreateOptions, ExecOptions};
use super::process::Process;
use super::stdio::occupy_stdio;
use super::wait;
use crate::error::{Context, Error, Kind, Result, Warning};
use crate::oci::ContainerId;
use crate::oci::Status;
use crate::state::Root;

/// A container, by its name below a [`Root`].
///
/// The value is a handle: dropping it leaves the container as it is. There may be any number of handles for
/// the same container, in this process and in others (such as the command `pillbox`). All methods may be
/// called from several threads at once.
///
/// If stdin, stdout or stderr of this process is closed, /dev/null is opened in its place, and stays open.
///
/// The process that creates a container is the parent of its first process. [`wait`](Self::wait) and
/// [`delete`](Self::delete) on the value that [`create`](Self::create) returned collect its status. If neither is
/// called, the first process stays a zombie until this process ends, as with [`std::process::Child`].
#[derive(Debug)]
pub struct Container {
    root: Root,
    id: ContainerId,
    /// The first process, if it is a child of this one.
    process: Option<Process>,
    warnings: Vec<Warning>,
}

impl Container {
    /// Makes a container whose program waits for [`start`](Self::start). This process's descriptors in the options are
    /// closed, so that what the container writes can be read to its end.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/library/example.rs"));
    /// use pillbox::{Bundle, Container, CreateOptions, Root, Stdio};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # example::prepare();
    /// let (output, write_end) = std::io::pipe()?;
    /// let options = CreateOptions::new().stdin(Stdio::Null).stdout(write_end);
    /// let bundle = Bundle::read("/srv/web".as_ref(), None)?;
    /// let container = Container::create(&Root::from_environment(), "web", &bundle, options)?;
    /// for warning in container.warnings() {
    ///     eprintln!("{warning}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Any step failed; [`Kind`] says how. Nothing is left then.
    pub fn create(root: &Root, id: &str, bundle: &Bundle, options: CreateOptions) -> Result<Container> {
        let id = ContainerId::new(id)?;
        occupy_stdio()?;
        let mut warnings = Vec::new();
        let process = super::create(root, &id, bundle, &options, &mut |warning| warnings.push(warning))?;
        Ok(Container { root: root.clone(), id, process: Some(process), warnings })
    }

    /// A container that exists already, whoever made it.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/library/example.rs"));
    /// # fn main() -> pillbox::Result<()> {
    /// # let _web = example::running();
    /// use pillbox::{Container, Root, Status};
    ///
    /// let container = Container::open(&Root::from_environment(), "web")?;
    /// if container.status()? == Status::Running {
    ///     println!("process {}", container.pid()?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn open(root: &Root, id: &str) -> Result<Container> {
        let id = ContainerId::new(id)?;
        root.find(&id)?.load()?;
        Ok(Container { root: root.clone(), id, process: None, warnings: Vec::new() })
    }

    /// The container's id.
    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    /// What of the configuration [`create`](Self::create) had to leave out.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Its status at this moment, for which the kernel is asked.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn status(&self) -> Result<Status> {
        let directory = self.root.find(&self.id)?;
        directory.status(&directory.load()?)
    }

    /// The pid of the first process, even when it has ended.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn pid(&self) -> Result<i32> {
        Ok(self.root.find(&self.id)?.load()?.pid)
    }

    /// A pidfd of the first process, which polls readable when the process has ended: pidfd_open(2).
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Status`] if the process is gone.
    pub fn pidfd(&self) -> Result<OwnedFd> {
        if let Some(process) = &self.process {
            return rustix::io::fcntl_dupfd_cloexec(process, 3).context(|| "duplicate a pidfd");
        }
        let process = self.root.find(&self.id)?.load()?.open_process()?;
        process.ok_or_else(|| Error::of(Kind::Status, format!("container {}: it has ended", self.id)))
    }

    /// The other end of the program's terminal (the master), if the configuration has `process.terminal` and
    /// this value is the one that [`create`](Self::create) returned: see [`Process::terminal`]. It exists
    /// before the program runs.
    pub fn terminal(&self) -> Option<BorrowedFd<'_>> {
        self.process.as_ref()?.terminal()
    }

    /// Gives [`terminal`](Self::terminal) to the caller, once. The terminal hangs up when the caller closes
    /// it. If nobody takes it, it is closed with this value.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/library/example.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # example::prepare();
    /// use pillbox::{Bundle, Container, CreateOptions, Root};
    ///
    /// let bundle = Bundle::read("/srv/shell".as_ref(), None)?;
    /// let mut container = Container::create(&Root::from_environment(), "shell", &bundle, CreateOptions::new())?;
    /// container.resize(24, 80)?;
    /// let mut screen = std::fs::File::from(container.take_terminal().ok_or("process.terminal is not set")?);
    /// container.start()?;
    /// // A read that fails with EIO is the end.
    /// let _ = std::io::copy(&mut screen, &mut std::io::stdout());
    /// # Ok(())
    /// # }
    /// ```
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.process.as_mut()?.take_terminal()
    }

    /// Sets the size of the program's terminal, in characters.
    ///
    /// # Errors
    /// As for [`Process::resize`]; also if this value is not the one that [`create`](Self::create) returned.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let process = self.process.as_ref().ok_or_else(|| {
            Error::of(Kind::Invalid, format!("container {}: its terminal is where it was created", self.id))
        })?;
        process.resize(rows, columns).context(|| format!("container {}", self.id))
    }

    /// Runs the program of a created container, and returns when it runs.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/library/example.rs"));
    /// # fn main() -> pillbox::Result<()> {
    /// # let container = example::created();
    /// if let Err(error) = container.start() {
    ///     // A container whose program could not be executed has ended; it is still there.
    ///     container.delete(true)?;
    ///     return Err(error);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Kind::Status`] if it is not a created one; a hook failed (the container is gone then).
    pub fn start(&self) -> Result<()> {
        occupy_stdio()?;
        super::start(&self.root, &self.id, &mut |_| {}).inspect_err(|_| self.reap())
    }

    /// Waits until the program has ended. The result is its exit status, or 128 + the signal that ended it.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/library/example.rs"));
    /// # fn main() -> pillbox::Result<()> {
    /// # let container = example::ending();
    /// container.start()?;
    /// match container.wait()? {
    ///     0 => println!("well"),
    ///     status => println!("status {status}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Kind::Status`] if the status is lost: another parent has collected it, or another part of this
    /// process. See [`container::wait`](crate::container::wait).
    pub fn wait(&self) -> Result<u8> {
        match &self.process {
            Some(process) => process.wait().context(|| format!("container {}", self.id)),
            None => wait(&self.root, &self.id),
        }
    }

    /// Sends a signal to the first process; [`signal::parse`](crate::oci::signal::parse) knows signals by
    /// name and number.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/library/example.rs"));
    /// # fn main() -> pillbox::Result<()> {
    /// # let container = example::running();
    /// use pillbox::{Kind, Signal};
    ///
    /// match container.kill(Signal::TERM) {
    ///     Err(error) if error.kind() == Kind::Status => println!("it had ended already"),
    ///     result => result?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Status`] if it has ended.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        super::kill(&self.root, &self.id, Some(signal), Target::Init)
    }

    /// Sends a signal to every process of the container. It is no error if none is left.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn kill_all(&self, signal: Signal) -> Result<()> {
        super::kill(&self.root, &self.id, Some(signal), Target::All)
    }

    /// Stops all processes, until [`resume`](Self::resume).
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/library/example.rs"));
    /// # fn main() -> pillbox::Result<()> {
    /// # let container = example::running();
    /// container.pause()?;
    /// assert_eq!(container.status()?, pillbox::Status::Paused);
    /// container.resume()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Kind::Status`]; it has no cgroup.
    pub fn pause(&self) -> Result<()> {
        super::pause(&self.root, &self.id)
    }

    /// Lets all processes go on.
    ///
    /// # Errors
    /// [`Kind::Status`]; it has no cgroup.
    pub fn resume(&self) -> Result<()> {
        super::resume(&self.root, &self.id)
    }

    /// Runs one more program in the container, and returns when it runs. No signals of the calling thread are
    /// passed on to it, and nothing is copied between its terminal and another one.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/library/example.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let container = example::running();
    /// use std::io::Read as _;
    /// use pillbox::{ExecOptions, Stdio, Uid};
    ///
    /// let (mut output, write_end) = std::io::pipe()?;
    /// let options = ExecOptions::new(["id", "-u"])
    ///     .user(Uid::from_raw(33), None)
    ///     .stdin(Stdio::Null)
    ///     .stdout(write_end);
    /// let process = container.exec(options)?;
    /// let mut text = String::new();
    /// output.read_to_string(&mut text)?;
    /// assert_eq!((text.as_str(), process.wait()?), ("33\n", 0));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Kind::Status`] if the container does not run; [`Kind::ProgramMissing`],
    /// [`Kind::InterpreterMissing`], [`Kind::NotExecutable`].
    pub fn exec(&self, options: ExecOptions) -> Result<Process> {
        occupy_stdio()?;
        super::exec(&self.root, &self.id, &options, &mut |_| {})
    }

    /// Removes a container that has stopped or was never started; with `force`, any container.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/library/example.rs"));
    /// # fn main() -> pillbox::Result<()> {
    /// # let container = example::running();
    /// container.delete(true)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Kind::Status`] if it runs; it could not be killed within ten seconds (it still exists then).
    pub fn delete(&self, force: bool) -> Result<()> {
        occupy_stdio()?;
        super::delete(&self.root, &self.id, force, &mut |_| {})?;
        self.reap();
        Ok(())
    }

    /// Collects the first process if it has ended.
    fn reap(&self) {
        self.process.iter().for_each(Process::reap);
    }
}
