//! The container's network namespace, for a program that configures it.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Kind, Result};

/// A container's network namespace, before the container's program can run: see
/// [`CreateOptions::network`](super::CreateOptions::network).
#[derive(Debug)]
#[non_exhaustive]
pub struct Network {
    /// The namespace.
    pub namespace: OwnedFd,
    /// An rtnetlink socket in it, which configures its links, addresses and routes from outside.
    pub socket: pillbox_netlink::Socket,
    /// Whether the namespace was made for this container, with its loopback up; otherwise it existed before.
    pub is_new: bool,
    /// The pid of the container's first process, which is in the namespace.
    pub pid: i32,
}

type Configure = Box<dyn FnOnce(Network) -> Result<()> + Send>;

/// The caller's function that gets it, once.
#[derive(Default)]
pub(super) struct Receiver(Mutex<Option<Configure>>);

impl Receiver {
    pub fn new<E: fmt::Display>(
        configure: impl FnOnce(Network) -> std::result::Result<(), E> + Send + 'static,
    ) -> Receiver {
        let configure = move |network| {
            let worded = |error| Error::of(Kind::Network, format!("configure the network: {error}"));
            configure(network).map_err(worded)
        };
        Receiver(Mutex::new(Some(Box::new(configure))))
    }

    pub fn is_there(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub fn give(&self, network: Network) -> Result<()> {
        let configure = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        configure.map_or(Ok(()), |configure| configure(network))
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.is_there()).finish()
    }
}
