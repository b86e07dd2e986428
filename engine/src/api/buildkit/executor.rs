//! HTTP/2 among blocking threads, without a runtime: the thread that has the connection drives it, and every other thread waits for its
//! own stream, asleep until the connection's thread wakes it.

use std::cell::Cell;
use std::future::Future;
use std::io::{ErrorKind, Read, Result, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a connection waits for.
#[derive(Debug, Default)]
pub struct Wanted {
    reads: Cell<bool>,
    writes: Cell<bool>,
}

/// A connection that never blocks; what has come of it already is read first.
#[derive(Debug)]
pub struct Socket<'c> {
    stream: &'c UnixStream,
    begun: Vec<u8>,
    wanted: &'c Wanted,
}

impl<'c> Socket<'c> {
    /// A connection, and the beginning of what has come on it.
    ///
    /// # Errors
    /// The kernel refuses to make it one that never blocks.
    pub fn new(stream: &'c UnixStream, begun: Vec<u8>, wanted: &'c Wanted) -> Result<Socket<'c>> {
        stream.set_nonblocking(true)?;
        Ok(Socket { stream, begun, wanted })
    }
}

/// A result, or that it is to be waited for.
fn poll_of(done: Result<usize>, wanted: &Cell<bool>) -> Poll<Result<usize>> {
    match done {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            wanted.set(true);
            Poll::Pending
        }
        done => Poll::Ready(done),
    }
}

impl AsyncRead for Socket<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        if !self.begun.is_empty() {
            let length = self.begun.len().min(buffer.remaining());
            buffer.put_slice(&self.begun[..length]);
            self.begun.drain(..length);
            return Poll::Ready(Ok(()));
        }
        let mut stream = self.stream;
        let room = buffer.initialize_unfilled();
        let read = retried(|| stream.read(room));
        poll_of(read, &self.wanted.reads).map_ok(|length| buffer.advance(length))
    }
}

impl AsyncWrite for Socket<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let mut stream = self.stream;
        poll_of(retried(|| stream.write(bytes)), &self.wanted.writes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(self.stream.shutdown(std::net::Shutdown::Write))
    }
}

fn retried(mut act: impl FnMut() -> Result<usize>) -> Result<usize> {
    loop {
        match act() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Wakes a thread that waits for its connection.
struct Bell(OwnedFd);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // One that cannot be rung once more has been rung.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

/// Drives what works on a connection to its end, in this thread.
///
/// # Errors
/// The kernel refuses to wait.
pub fn drive<T>(stream: &UnixStream, wanted: &Wanted, work: impl Future<Output = T>) -> Result<T> {
    let bell = Arc::new(Bell(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?));
    let waker = Waker::from(bell.clone());
    let mut work = pin!(work);
    loop {
        if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Ok(done);
        }
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, wanted.reads.take());
        flags.set(PollFlags::OUT, wanted.writes.take());
        let mut polled = [
            PollFd::from_borrowed_fd(bell.0.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(stream.as_fd(), flags),
        ];
        match poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if !polled[0].revents().is_empty() {
            // It is silent until it is rung again.
            let _ = rustix::io::read(&bell.0, &mut [0; 8]);
        }
    }
}

/// Wakes a thread that waits for a stream.
struct Sleeper(Thread);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits, in a thread that drives nothing.
pub fn wait<T>(work: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Sleeper(std::thread::current())));
    let mut work = pin!(work);
    loop {
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}
