//! A container, made or found, with everything that its monitor has of it.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread::JoinHandle;

use pillbox::container::Waiting;
use pillbox::{Container, Root, Stdio};

use super::Monitored;
use super::input::Input;
use super::names::Naming;
use super::output::{Output, Pipes};
use crate::container::overlay::Overlay;
use crate::container::own::forget_state;
use crate::container::prepare::{Prepared, prepare};
use crate::container::root::RootFolders;
use crate::error::{Context, Error, Result};

/// A container that is there, with everything that the monitor has of it.
pub struct Served {
    pub container: Container,
    pub ended: OwnedFd,
    pub outputs: Vec<Output>,
    pub input: Option<Input>,
    /// The master of the program's terminal, to set its size.
    pub terminal: Option<OwnedFd>,
    /// Waits for the end of a container of which this process is not the parent: its status is known only to whoever has looked at
    /// it before.
    waiting: Option<JoinHandle<pillbox::Result<u8>>>,
    /// It is unmounted when everybody has heard of the end.
    pub overlay: Option<Overlay>,
    /// Who answers it for names, if it is on networks that have some.
    pub naming: Option<Naming>,
}

/// Makes the container, whose program waits.
pub fn make(monitored: &Monitored, folder: &Path) -> Result<Served> {
    let Monitored { store, folder: own, record, .. } = monitored;
    // Pipes of one that was killed have what it had not read.
    for name in ["stdout", "stderr"] {
        let _ = std::fs::remove_file(folder.join(name));
    }
    forget_state(store, &own.id)?;
    let Prepared { bundle, mut options, account: _, mut overlay } = prepare(store, own, record)?;
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
    if let Some(overlay) = &mut overlay {
        overlay.keep_root_of(&container);
    }
    Ok(Served {
        ended,
        container,
        outputs,
        input: stdin.map(Input::new).transpose()?,
        terminal,
        waiting: None,
        overlay,
        naming: None,
    })
}

/// Finds a container that runs. Its pipes are still there; a terminal and what it read from are gone with the monitor before.
pub fn find(monitored: &Monitored, folder: &Path) -> Result<Served> {
    let root = Root::at(&monitored.store.place().runtime);
    let container = Container::open(&root, monitored.folder.id.as_str())?;
    let waiting = Waiting::begin(&root, &pillbox::ContainerId::new(container.id())?)?;
    let waiting = std::thread::Builder::new().spawn(move || waiting.end());
    let waiting = Some(waiting.context(|| "a thread that waits for the container")?);
    let outputs = match monitored.record.options.streams.terminal {
        true => Vec::new(),
        false => Pipes::in_folder(folder).open()?,
    };
    let ended = container.pidfd()?;
    let folders = RootFolders::planned(&monitored.store, monitored.folder.path(), &monitored.record.base);
    // Without one the container runs as well.
    let mut overlay = Overlay::begin(folders.work()).ok().filter(|_| !monitored.record.auto_remove);
    if let Some(overlay) = &mut overlay {
        overlay.keep_root_of(&container);
    }
    Ok(Served { ended, container, outputs, input: None, terminal: None, waiting, overlay, naming: None })
}

impl Served {
    /// Has somebody answer the container for names, if nobody does.
    ///
    /// # Errors
    /// Nobody can.
    pub fn begin_naming(&mut self, monitored: &Monitored) -> Result<()> {
        if self.naming.is_none() {
            self.naming = Some(Naming::begin(monitored, &self.container)?);
        }
        Ok(())
    }

    /// How it has ended, with a status as a shell shows it.
    ///
    /// # Errors
    /// Its parent was killed, and the kernel tells nobody else.
    pub fn status(&mut self) -> Result<u8> {
        let Some(waiting) = self.waiting.take() else { return Ok(self.container.wait()?) };
        let ended = waiting.join().map_err(|_| Error::invalid("the thread that waits has ended"))?;
        Ok(ended?)
    }
}
