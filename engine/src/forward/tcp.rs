//! Connections.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::begin;

/// More connections at a time wait until others have ended.
const MOST: usize = 4096;

/// How long is waited where the kernel has no room for one more.
const PAUSE: Duration = Duration::from_millis(100);

/// What one thread reads at once.
const PIECE: usize = 32 << 10;

/// Takes connections, for ever.
pub fn serve(listener: &TcpListener, port: u16) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        if open.load(Ordering::Relaxed) >= MOST {
            std::thread::sleep(PAUSE);
            continue;
        }
        // Whoever has given up meanwhile, or too many open files: the next one is taken.
        let Ok((client, _)) = listener.accept() else {
            std::thread::sleep(PAUSE);
            continue;
        };
        open.fetch_add(1, Ordering::Relaxed);
        let counted = open.clone();
        let begun = begin(move || {
            connect(client, port);
            counted.fetch_sub(1, Ordering::Relaxed);
        });
        if begun.is_err() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A client that finds nobody is hung up on.
fn connect(client: TcpStream, port: u16) {
    let found = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .or_else(|_| TcpStream::connect((Ipv6Addr::LOCALHOST, port)));
    let Ok(server) = found else { return };
    let (client, server) = (Arc::new(client), Arc::new(server));
    // What is written at once is sent at once, as without anybody in between.
    let _ = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    let (from, to) = (client.clone(), server.clone());
    if begin(move || pass_on(&from, &to)).is_ok() {
        pass_on(&server, &client);
    }
}

/// Passes on what one end writes, then its end.
fn pass_on(mut from: &TcpStream, mut to: &TcpStream) {
    let mut piece = [0; PIECE];
    loop {
        let written = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => to.write_all(&piece[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        if written.is_err() {
            // Whoever cannot be written to, or is gone, ends both directions.
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
