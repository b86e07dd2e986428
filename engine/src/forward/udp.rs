//! Datagrams: each client has a socket of its own towards the container, as long as there are answers.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Destination, begin, is_readable};

/// What of one more client than that comes is dropped.
const MOST: usize = 1024;

/// A client that has had no answer for so many seconds has another socket when it asks again.
const PATIENCE: i64 = 90;

/// The longest datagram.
const LONGEST: usize = 65_535;

type Clients = Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>;

/// Takes datagrams, for ever.
pub fn serve(socket: &UdpSocket, to: Destination) {
    let clients = Arc::new(Clients::default());
    let mut buffer = vec![0; LONGEST];
    loop {
        // An error tells of an earlier answer that could not be delivered.
        let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
        let known = lock(&clients).get(&client).cloned();
        if let Some(server) = known.or_else(|| admit(socket, client, to, &clients)) {
            let _ = server.send(&buffer[..length]);
        }
    }
}

fn lock(clients: &Clients) -> MutexGuard<'_, HashMap<SocketAddr, Arc<UdpSocket>>> {
    clients.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A socket for a client, whose answers are passed on.
fn admit(
    socket: &UdpSocket,
    client: SocketAddr,
    to: Destination,
    clients: &Arc<Clients>,
) -> Option<Arc<UdpSocket>> {
    if lock(clients).len() >= MOST {
        return None;
    }
    let server = Arc::new(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?);
    server.connect(to).ok()?;
    let (answers, back, known) = (server.clone(), socket.try_clone().ok()?, clients.clone());
    lock(clients).insert(client, server.clone());
    let begun = begin(move || {
        let mut buffer = vec![0; LONGEST];
        while is_readable(answers.as_fd(), PATIENCE) {
            // Nobody listened to what was sent: perhaps soon.
            if let Ok(length) = answers.recv(&mut buffer) {
                let _ = back.send_to(&buffer[..length], client);
            }
        }
        lock(&known).remove(&client);
    });
    if begun.is_err() {
        lock(clients).remove(&client);
    }
    Some(server)
}
