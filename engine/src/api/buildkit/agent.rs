//! SSH agents of a client's: a socket for RUN, each connection of which becomes a call.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::message::{Empty, SshRequest};
use super::relay::relay;
use super::session::Session;
use super::status::{NOT_FOUND, Status, UNIMPLEMENTED, UNKNOWN};
use crate::build::AgentSocket;
use crate::error::Result;
use crate::store::Store;

const CHECK: &str = "/moby.sshforward.v1.SSH/CheckAgent";
const FORWARD: &str = "/moby.sshforward.v1.SSH/ForwardAgent";

/// How a call says which agent it is for.
const ID: &str = "buildkit.ssh.id";

/// The sockets of a build.
#[derive(Debug, Default)]
pub struct Agents {
    open: Mutex<BTreeMap<String, AgentSocket>>,
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
            let (session, name) = (session.clone(), id.to_string());
            let socket =
                AgentSocket::open(store, id, move |connection| forward(&session, &name, connection))?;
            open.insert(id.to_string(), socket);
        }
        Ok(open.get(id).map(AgentSocket::path))
    }
}

/// An agent that fails is one that answers nothing.
fn forward(session: &Session, id: &str, connection: &UnixStream) {
    if let Ok((mut outgoing, mut incoming)) = session.call(FORWARD, &[(ID, id)]) {
        let _ = relay(connection, &mut outgoing, &mut incoming);
    }
}
