//! What a build asks its client for while it runs: secrets, SSH agents, names and passwords for registries.

use std::path::PathBuf;
use std::sync::Arc;

use super::agent::Agents;
use super::message::{CredentialsRequest, CredentialsResponse, SecretRequest, SecretResponse};
use super::session::Session;
use super::status::{NOT_FOUND, Status};
use crate::build::Keeper as BuildKeeper;
use crate::error::Result;
use crate::reference::DOCKER_HUB;
use crate::registry::{Credential, Keeper as RegistryKeeper};
use crate::store::Store;

const SECRET: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
const CREDENTIALS: &str = "/moby.filesync.v1.Auth/Credentials";

/// By which name clients know Docker Hub.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// The most bytes of a secret.
const SECRET_MAX: usize = 500 << 10;

/// A client's session, as a build asks it.
#[derive(Debug)]
pub struct SessionKeeper {
    session: Arc<Session>,
    store: Store,
    agents: Agents,
}

impl SessionKeeper {
    /// Of a session; what it needs on the disk is in the store's runtime folder.
    pub fn new(session: Arc<Session>, store: Store) -> SessionKeeper {
        SessionKeeper { session, store, agents: Agents::default() }
    }
}

impl BuildKeeper for SessionKeeper {
    fn secret(&self, id: &str) -> Result<Option<Vec<u8>>> {
        if !self.session.serves(SECRET) {
            return Ok(None);
        }
        match self.session.ask::<SecretResponse>(SECRET, &[], &SecretRequest { id: id.to_string() }) {
            Ok(SecretResponse { data }) if data.len() > SECRET_MAX => {
                Err(Status::invalid(format!("it has more than {SECRET_MAX} bytes")).into())
            }
            Ok(SecretResponse { data }) => Ok(Some(data)),
            Err(Status { code: NOT_FOUND, .. }) => Ok(None),
            Err(status) => Err(status.into()),
        }
    }

    fn agent(&self, id: &str) -> Result<Option<PathBuf>> {
        self.agents.socket(&self.store, &self.session, id)
    }
}

impl RegistryKeeper for SessionKeeper {
    fn credential(&self, registry: &str) -> Result<Option<Credential>> {
        if !self.session.serves(CREDENTIALS) {
            return Ok(None);
        }
        let host = if registry == DOCKER_HUB { DOCKER_HUB_HOST } else { registry };
        let CredentialsResponse { name, secret } =
            self.session.ask(CREDENTIALS, &[], &CredentialsRequest { host: host.to_string() })?;
        Ok(match (name.is_empty(), secret.is_empty()) {
            (_, true) => None,
            (true, false) => Some(Credential::Identity(secret)),
            (false, false) => Some(Credential::Password { name, password: secret }),
        })
    }
}
