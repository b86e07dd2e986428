//! Sessions: connections on which it is boxd that calls, and the client that serves its files, secrets and names.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use prost::Message;

use super::executor::{Socket, Wanted, drive, wait};
use super::frame::{Incoming, Outgoing};
use super::server::{CONNECTION_WINDOW, HEADERS_MAX, STREAM_WINDOW};
use super::status::{EXISTS, NOT_FOUND, Status, UNAVAILABLE, UNIMPLEMENTED, UNKNOWN};

/// How long a build waits for a session that it names.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a client says of its session before it begins.
#[derive(Debug)]
pub struct Offer {
    /// Its name.
    id: String,
    /// What it serves, in lower case.
    methods: BTreeSet<String>,
}

impl Offer {
    /// As it stands in headers, whose names are in lower case.
    ///
    /// # Errors
    /// It has no name.
    pub fn parse<'h>(headers: impl Iterator<Item = (&'h str, &'h str)>) -> Result<Offer, Status> {
        let mut offer = Offer { id: String::new(), methods: BTreeSet::new() };
        for (name, value) in headers {
            match name {
                "x-docker-expose-session-uuid" => offer.id = value.to_string(),
                "x-docker-expose-session-grpc-method" => {
                    offer.methods.extend(value.split(',').map(|one| one.trim().to_ascii_lowercase()));
                }
                _ => {}
            }
        }
        match offer.id.is_empty() {
            true => Err(Status::invalid("header X-Docker-Expose-Session-Uuid is missing")),
            false => Ok(offer),
        }
    }
}

/// A client's session.
pub struct Session {
    /// What it serves, in lower case.
    methods: BTreeSet<String>,
    sender: SendRequest<Bytes>,
}

impl Session {
    /// Whether the client serves a method.
    pub fn serves(&self, method: &str) -> bool {
        self.methods.contains(&method.to_ascii_lowercase())
    }

    /// Begins a call.
    ///
    /// # Errors
    /// The client has gone, or does not serve that.
    pub fn call(
        &self,
        method: &'static str,
        metadata: &[(&'static str, &str)],
    ) -> Result<(Outgoing, Incoming), Status> {
        if !self.serves(method) {
            return Err(Status::new(UNIMPLEMENTED, format!("the client does not serve {method}")));
        }
        let mut sender = self.sender.clone();
        wait(poll_fn(|context| sender.poll_ready(context)))?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        let uri = Uri::builder().scheme("http").authority("localhost").path_and_query(method).build();
        *request.uri_mut() = uri.map_err(|error| Status::new(UNKNOWN, format!("{method}: {error}")))?;
        let headers = request.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("te", HeaderValue::from_static("trailers"));
        for (name, value) in metadata {
            let wrong = |_| Status::invalid(format!("{name}: {value:?} cannot be sent"));
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).map_err(wrong)?);
        }
        let (answer, stream) = sender.send_request(request, false)?;
        Ok((Outgoing::new(stream), Incoming::of_answer(answer)))
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// As for a call; what the client says.
    pub fn ask<M: Message + Default>(
        &self,
        method: &'static str,
        metadata: &[(&'static str, &str)],
        question: &impl Message,
    ) -> Result<M, Status> {
        let (mut outgoing, mut incoming) = self.call(method, metadata)?;
        // Whoever wants no more may have answered.
        let sent = outgoing.send_last(question);
        let answer = match (incoming.next(), sent) {
            (Err(status), Err(seen)) if status.is_of_gone_peer() => return Err(seen),
            (answer, _) => answer?,
        };
        // What stands behind it says whether it counts.
        while incoming.next::<M>()?.is_some() {}
        answer.ok_or_else(|| Status::new(UNKNOWN, format!("{method}: the client says nothing")))
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Session").field("methods", &self.methods).finish_non_exhaustive()
    }
}

/// A session that builds find, until this value goes.
struct Listed<'s> {
    sessions: &'s Sessions,
    id: String,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.sessions.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

fn exists(id: &str) -> Status {
    Status::new(EXISTS, format!("session {id} already exists"))
}

/// The sessions that there are.
#[derive(Debug, Default)]
pub struct Sessions {
    known: Mutex<BTreeMap<String, Arc<Session>>>,
    changed: Condvar,
}

impl Sessions {
    /// Refuses a name that there is.
    ///
    /// # Errors
    /// There is one.
    pub fn check(&self, offer: &Offer) -> Result<(), Status> {
        match self.known.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&offer.id) {
            true => Err(exists(&offer.id)),
            false => Ok(()),
        }
    }

    /// A session, which may be about to begin.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, id: &str) -> Result<Arc<Session>, Status> {
        // What stands before a colon tells builds of the same client apart.
        let id = id.split_once(':').map_or(id, |(_, id)| id);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, _) = self
            .changed
            .wait_timeout_while(known, PATIENCE, |known| !known.contains_key(id))
            .unwrap_or_else(PoisonError::into_inner);
        known.get(id).cloned().ok_or_else(|| Status::new(NOT_FOUND, format!("no active session for {id}")))
    }

    fn list(&self, id: &str, session: Arc<Session>) -> Result<Listed<'_>, Status> {
        match self.known.lock().unwrap_or_else(PoisonError::into_inner).entry(id.to_string()) {
            Entry::Vacant(place) => drop(place.insert(session)),
            Entry::Occupied(_) => return Err(exists(id)),
        }
        self.changed.notify_all();
        Ok(Listed { sessions: self, id: id.to_string() })
    }

    /// Serves a session on a connection until the client ends it.
    ///
    /// # Errors
    /// The client does not speak HTTP/2.
    pub fn run(&self, offer: Offer, connection: &UnixStream, begun: Vec<u8>) -> Result<(), Status> {
        let Offer { id, methods } = offer;
        let wanted = Wanted::default();
        let socket = Socket::new(connection, begun, &wanted)?;
        let work = async {
            let mut builder = Builder::new();
            builder.enable_push(false).max_header_list_size(HEADERS_MAX);
            builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
            let (sender, connection) = builder.handshake::<_, Bytes>(socket).await?;
            let _listed = self.list(&id, Arc::new(Session { methods, sender }))?;
            Ok(connection.await?)
        };
        let ended = drive(connection, &wanted, work);
        match ended? {
            // Clients close the connection in the middle.
            Err(Status { code: UNAVAILABLE, .. }) | Ok(()) => Ok(()),
            Err(status) => Err(status),
        }
    }
}
