//! Sockets by which a RUN, or git, speaks to an SSH agent: what is said there is passed on. They have an owner and a mode of their own,
//! whatever those of the agent are.

use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

use super::run_folder::RunFolder;
use crate::build::syntax::Access;
use crate::error::{Context, Result};
use crate::store::Store;
use crate::thread::spawn;

/// Its name in its folder.
const NAME: &str = "agent";

/// What a thread may have on its stack.
const STACK: usize = 512 << 10;

/// How long nobody is accepted where there is no room for him.
const PAUSE: Duration = Duration::from_millis(20);

/// A socket, until this value goes.
#[derive(Debug)]
pub struct AgentSocket {
    folder: RunFolder,
    listener: Arc<UnixListener>,
    /// What errors call it.
    name: String,
}

impl AgentSocket {
    /// Listens; each connection is handed to `connect`, in a thread of its own. Nobody but the caller may use it.
    ///
    /// # Errors
    /// The disk did not take it; there are too many threads.
    pub fn open(
        store: &Store,
        id: &str,
        connect: impl Fn(&UnixStream) + Send + Sync + 'static,
    ) -> Result<AgentSocket> {
        let folder = RunFolder::make(store)?;
        let name = format!("the SSH agent {id}");
        let listener = UnixListener::bind(folder.short_path().join(NAME)).context(|| name.clone())?;
        let socket = AgentSocket { folder, listener: Arc::new(listener), name };
        std::fs::set_permissions(socket.path(), PermissionsExt::from_mode(0o600))
            .context(|| socket.name.clone())?;
        let (listener, connect) = (socket.listener.clone(), Arc::new(connect));
        let accept = move || {
            while let Some(connection) = next(&listener) {
                let connect = connect.clone();
                // Without a thread the program sees that its connection is closed.
                let _ = std::thread::Builder::new().stack_size(STACK).spawn(move || connect(&connection));
            }
        };
        let begun = std::thread::Builder::new().stack_size(STACK).spawn(accept);
        begun.context(|| "a thread for an SSH agent")?;
        Ok(socket)
    }

    /// Passes on to the agent that listens at a path, however long that is.
    pub(super) fn to_agent(store: &Store, id: &str, agent: &Path) -> Result<AgentSocket> {
        let named = || format!("the SSH agent {id}: {}", agent.display());
        let agent = open(agent, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).context(named)?;
        AgentSocket::open(store, id, move |client| {
            // An agent that has gone is one that answers nothing.
            if let Ok(agent) = UnixStream::connect(format!("/proc/self/fd/{}", agent.as_raw_fd())) {
                let _ = pass_on(client, &agent);
            }
        })
    }

    /// Gives it to whom a mount says.
    pub(super) fn give(&self, store: &Store, access: Access) -> Result<()> {
        self.folder.give(store, NAME, access, &self.name)
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join(NAME)
    }
}

impl Drop for AgentSocket {
    fn drop(&mut self) {
        // Whoever accepts is told that it is over.
        let _ = shutdown(&*self.listener, Shutdown::Both);
    }
}

/// The next connection; `None` if nobody listens any more.
fn next(listener: &UnixListener) -> Option<UnixStream> {
    loop {
        match listener.accept() {
            Ok((connection, _)) => return Some(connection),
            // The listener was shut down.
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => return None,
            // As many files are open as may be: others end.
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Passes on both directions until the agent has nothing more to say, or nobody is there to hear it.
fn pass_on(client: &UnixStream, agent: &UnixStream) -> Result<()> {
    std::thread::scope(|scope| {
        let asking = spawn(scope, || {
            let _ = std::io::copy(&mut &*client, &mut &*agent);
            let _ = shutdown(agent, Shutdown::Write);
            // One that has closed its end altogether hears nothing: an agent that says nothing is not waited for then.
            while let Err(Errno::INTR) = poll(&mut [PollFd::new(client, PollFlags::empty())], None) {}
            let _ = shutdown(agent, Shutdown::Both);
        });
        if asking.is_ok() {
            let _ = std::io::copy(&mut &*agent, &mut &*client);
        }
        // Whoever reads on either side sees the end.
        for end in [client, agent] {
            let _ = shutdown(end, Shutdown::Both);
        }
        asking.map(drop)
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn questions_and_answers_are_passed_on_until_one_end_hangs_up() {
        for is_agent_first in [false, true] {
            let (mut client, outside) = UnixStream::pair().unwrap();
            let (inside, mut agent) = UnixStream::pair().unwrap();
            let passing = std::thread::spawn(move || pass_on(&outside, &inside));
            let mut said = [0; 8];
            client.write_all(b"question").unwrap();
            agent.read_exact(&mut said).unwrap();
            assert_eq!(&said, b"question");
            agent.write_all(b"answered").unwrap();
            client.read_exact(&mut said).unwrap();
            assert_eq!(&said, b"answered");
            let mut rest = Vec::new();
            if is_agent_first {
                drop(agent);
                client.read_to_end(&mut rest).unwrap();
            } else {
                drop(client);
                agent.read_to_end(&mut rest).unwrap();
                drop(agent);
            }
            assert!(rest.is_empty());
            passing.join().unwrap().unwrap();
        }
    }

    #[test]
    fn an_agent_that_says_nothing_is_not_waited_for_when_the_client_has_gone() {
        let (mut client, outside) = UnixStream::pair().unwrap();
        let (inside, mut agent) = UnixStream::pair().unwrap();
        let (ended, end) = std::sync::mpsc::channel();
        std::thread::spawn(move || ended.send(pass_on(&outside, &inside).is_ok()));
        client.write_all(b"question").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = String::new();
        agent.read_to_string(&mut said).unwrap();
        // It may still be answered.
        agent.write_all(b"answered").unwrap();
        let mut answer = [0; 8];
        client.read_exact(&mut answer).unwrap();
        assert_eq!((said.as_str(), &answer), ("question", b"answered"));
        assert!(end.recv_timeout(Duration::from_millis(100)).is_err());
        drop(client);
        assert_eq!(end.recv_timeout(Duration::from_secs(20)), Ok(true));
        drop(agent);
    }
}
