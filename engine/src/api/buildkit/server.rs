//! Calls that a client makes, each in a thread of its own.

use std::future::poll_fn;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::{HeaderMap, Request, Response};
use prost::Message;

use super::executor::{Socket, Wanted, drive};
use super::frame::{Incoming, Outgoing};
use super::status::{EXHAUSTED, Status, UNIMPLEMENTED};

/// Calls at once on a connection.
const CALLS_MAX: u32 = 256;

/// The same on all connections: each has a thread.
const THREADS_MAX: usize = 2048;

/// The most bytes of the headers of a call.
pub const HEADERS_MAX: u32 = 64 << 10;

/// What a thread may have on its stack. Only what is touched takes memory.
const STACK: usize = 1 << 20;

/// How many bytes may be on their way in a stream, and in all of a connection.
pub const STREAM_WINDOW: u32 = 1 << 20;
pub const CONNECTION_WINDOW: u32 = 4 << 20;

static THREADS: AtomicUsize = AtomicUsize::new(0);

/// A call.
pub struct Call {
    /// `/SERVICE/METHOD`.
    pub path: String,
    /// What stands beside the messages.
    pub metadata: HeaderMap,
    incoming: Incoming,
    answer: Answer,
}

enum Answer {
    /// Nothing has been said.
    Open(SendResponse<Bytes>),
    /// Messages are being said.
    Begun(Outgoing),
}

impl Call {
    fn new(request: Request<RecvStream>, answer: SendResponse<Bytes>) -> Call {
        let (head, body) = request.into_parts();
        Call {
            path: head.uri.path().to_string(),
            metadata: head.headers,
            incoming: Incoming::of_call(body),
            answer: Answer::Open(answer),
        }
    }

    /// The one message that is asked with.
    ///
    /// # Errors
    /// There is none.
    pub fn message<M: Message + Default>(&mut self) -> Result<M, Status> {
        self.incoming.next()?.ok_or_else(|| Status::invalid("a call without a message"))
    }

    /// Answers with a message.
    ///
    /// # Errors
    /// The client has gone.
    pub fn send(&mut self, message: &impl Message) -> Result<(), Status> {
        self.begin()?.send(message)
    }

    /// Says that messages may come later.
    ///
    /// # Errors
    /// The client has gone.
    pub fn begin(&mut self) -> Result<&mut Outgoing, Status> {
        if let Answer::Open(answer) = &mut self.answer {
            self.answer = Answer::Begun(Outgoing::new(answer.send_response(head(), false)?));
        }
        match &mut self.answer {
            Answer::Begun(outgoing) => Ok(outgoing),
            Answer::Open(_) => Err(Status::invalid("an answer that has not begun")),
        }
    }

    /// Both directions, of a call that is a connection.
    ///
    /// # Errors
    /// The client has gone.
    pub fn streams(&mut self) -> Result<(&mut Outgoing, &mut Incoming), Status> {
        self.begin()?;
        match &mut self.answer {
            Answer::Begun(outgoing) => Ok((outgoing, &mut self.incoming)),
            Answer::Open(_) => Err(Status::invalid("an answer that has not begun")),
        }
    }

    /// Whether the client has given it up, or gone.
    pub fn is_given_up(&mut self) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match &mut self.answer {
            Answer::Open(answer) => answer.poll_reset(&mut context).is_ready(),
            Answer::Begun(outgoing) => outgoing.is_given_up(),
        }
    }

    /// Says how it has ended. Nobody is told who has gone.
    fn finish(mut self, outcome: Result<(), Status>) {
        let _ = match &mut self.answer {
            Answer::Open(answer) if outcome.is_err() => {
                let mut response = head();
                response.headers_mut().extend(Status::trailers(&outcome));
                answer.send_response(response, true).map(drop).map_err(Status::from)
            }
            _ => self.begin().and_then(|outgoing| outgoing.finish(&outcome)),
        };
    }
}

fn head() -> Response<()> {
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
    response
}

/// Serves the calls of a connection until its client goes, in whatever way. `begun` is what has come on it.
///
/// # Errors
/// The client does not speak HTTP/2.
pub fn serve(
    connection: &UnixStream,
    begun: Vec<u8>,
    handle: impl Fn(&mut Call) -> Result<(), Status> + Sync,
) -> std::io::Result<()> {
    let wanted = Wanted::default();
    let socket = Socket::new(connection, begun, &wanted)?;
    std::thread::scope(|scope| {
        let handle = &handle;
        let work = async {
            let mut builder = Builder::new();
            builder.max_concurrent_streams(CALLS_MAX).max_header_list_size(HEADERS_MAX);
            builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
            let mut connection = builder.handshake::<_, Bytes>(socket).await?;
            poll_fn(move |context| {
                loop {
                    let (request, answer) = match connection.poll_accept(context) {
                        Poll::Ready(Some(Ok(call))) => call,
                        Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                        Poll::Ready(None) => return Poll::Ready(Ok(())),
                        Poll::Pending => return Poll::Pending,
                    };
                    let call = Call::new(request, answer);
                    if THREADS.fetch_add(1, Ordering::AcqRel) >= THREADS_MAX {
                        THREADS.fetch_sub(1, Ordering::AcqRel);
                        let text = format!("{THREADS_MAX} calls are being answered: try again later");
                        call.finish(Err(Status::new(EXHAUSTED, text)));
                        continue;
                    }
                    let work = move || {
                        let mut call = call;
                        let outcome = handle(&mut call);
                        call.finish(outcome);
                        THREADS.fetch_sub(1, Ordering::AcqRel);
                    };
                    if std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).is_err() {
                        // Its stream is reset.
                        THREADS.fetch_sub(1, Ordering::AcqRel);
                    }
                }
            })
            .await
        };
        drive(connection, &wanted, work)
    })?
    .or_else(|error: h2::Error| match error.is_io() {
        true => Ok(()),
        false => Err(std::io::Error::other(error)),
    })
}

/// There is no such call.
pub fn unknown(path: &str) -> Status {
    Status::new(UNIMPLEMENTED, format!("{path}: boxd has no such call"))
}
