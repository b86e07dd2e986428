//! SSH agents of a client's: a socket for RUN, each connection of which becomes a call.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::message::{Empty, SshRequest};
use super::relay::relay;
use super::session::Session;
use super::status::{NOT_FOUND, Status, UNIMPLEMENTED, UNKNOWN};
use crate::build::RunFolder;
use crate::error::{Context, Result};
use crate::store::Store;

const CHECK: &str = "/moby.sshforward.v1.SSH/CheckAgent";
const FORWARD: &str = "/moby.sshforward.v1.SSH/ForwardAgent";

/// How a call says which agent it is for.
const ID: &str = "buildkit.ssh.id";

/// What a thread may have on its stack.
const STACK: usize = 512 << 10;

/// The sockets of a build.
#[derive(Debug, Default)]
pub struct Agents {
    open: Mutex<BTreeMap<String, Agent>>,
}

/// A socket, until this value goes.
#[derive(Debug)]
struct Agent {
    folder: RunFolder,
    is_over: Arc<AtomicBool>,
}

impl Agents {
    /// The socket of an agent; `None` if the client has none of that name.
    ///
    /// # Errors
    /// The disk did not take it; the client has gone.
    pub fn socket(&self, store: &Store, session: &Arc<Session>, id: &str) -> Result<Option<PathBuf>> {
        match session.ask::<Empty>(CHECK, &[], &SshRequest { id: id.to_string() }) {
            Ok(Empty {}) => {}
            Err(Status { code: NOT_FOUND | UNIMPLEMENTED | UNKNOWN, .. }) => return Ok(None),
            Err(status) => return Err(status.into()),
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.contains_key(id) {
            open.insert(id.to_string(), Agent::begin(store, session.clone(), id.to_string())?);
        }
        Ok(open.get(id).map(Agent::path))
    }
}

impl Agent {
    fn path(&self) -> PathBuf {
        self.folder.path().join("agent")
    }

    fn begin(store: &Store, session: Arc<Session>, id: String) -> Result<Agent> {
        let agent = Agent { folder: RunFolder::make(store)?, is_over: Arc::default() };
        let path = agent.path();
        let named = || format!("the SSH agent {id}");
        let listener = UnixListener::bind(&path).context(named)?;
        // Who runs the program is not known; nobody else reaches the folder.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).context(named)?;
        let is_over = agent.is_over.clone();
        let accept = move || {
            for connection in listener.incoming() {
                let Ok(connection) = connection else { break };
                if is_over.load(Ordering::Acquire) {
                    break;
                }
                let (session, id) = (session.clone(), id.clone());
                let builder = std::thread::Builder::new().stack_size(STACK);
                // Without a thread the program sees that its connection is closed.
                let _ = builder.spawn(move || forward(&session, &id, &connection));
            }
        };
        std::thread::Builder::new()
            .stack_size(STACK)
            .spawn(accept)
            .context(|| "a thread for an SSH agent")?;
        Ok(agent)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // Whoever accepts looks up.
        let _ = UnixStream::connect(self.path());
    }
}

/// An agent that fails is one that answers nothing.
fn forward(session: &Session, id: &str, connection: &UnixStream) {
    if let Ok((mut outgoing, mut incoming)) = session.call(FORWARD, &[(ID, id)]) {
        let _ = relay(connection, &mut outgoing, &mut incoming);
    }
}
