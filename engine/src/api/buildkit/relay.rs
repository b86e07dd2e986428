//! A connection of bytes within calls: both directions are passed on until one of them ends.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use super::frame::{Incoming, Outgoing};
use super::message::Bytes;
use crate::error::Result;
use crate::thread::spawn;

/// How many bytes go in a message.
const PIECE: usize = 32 << 10;

/// Passes on what a connection says and what a call says.
///
/// # Errors
/// There are too many threads already.
pub fn relay(connection: &UnixStream, outgoing: &mut Outgoing, incoming: &mut Incoming) -> Result<()> {
    std::thread::scope(|scope| {
        let sending = spawn(scope, || send(connection, outgoing));
        if sending.is_ok() {
            receive(connection, incoming);
        }
        // Whoever reads the connection sees its end.
        let _ = connection.shutdown(Shutdown::Both);
        sending.map(drop)
    })
}

fn send(mut connection: &UnixStream, outgoing: &mut Outgoing) {
    let mut buffer = vec![0; PIECE];
    while let Ok(length @ 1..) = connection.read(&mut buffer) {
        let data = bytes::Bytes::copy_from_slice(&buffer[..length]);
        if outgoing.send(&Bytes { data }).is_err() {
            return;
        }
    }
}

fn receive(mut connection: &UnixStream, incoming: &mut Incoming) {
    while let Ok(Some(Bytes { data })) = incoming.next() {
        if connection.write_all(&data).is_err() {
            return;
        }
    }
}
