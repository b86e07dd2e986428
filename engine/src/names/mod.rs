//! Names in networks: who answers a container's questions (RFC 1035). What the container's networks know is answered from the records,
//! everything else by the host's own servers, which are asked from where the host stands.
//!
//! Whatever is sent here comes from programs that nobody trusts: what cannot be read is refused or dropped, there is a bound to
//! everything that is kept, and nobody is waited for.

mod forward;
mod message;
mod server;

use std::net::{IpAddr, SocketAddr};

pub use server::Server;

/// Who knows names.
pub trait Directory {
    /// The addresses of a name in small letters; `None`: nobody there is called that.
    fn addresses(&mut self, name: &str) -> Option<Vec<IpAddr>>;

    /// What an address is called; `None`: it is nobody's there.
    fn name(&mut self, address: IpAddr) -> Option<String>;

    /// Who is asked for everything else, the first one first; nobody: there is nothing else.
    fn servers(&mut self) -> Vec<SocketAddr>;
}
