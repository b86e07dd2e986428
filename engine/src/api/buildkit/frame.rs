//! gRPC's messages on a stream of HTTP/2: a byte that says whether it is compressed, a length, and so many bytes.

use std::future::poll_fn;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use prost::Message;

use super::executor::wait;
use super::message::Empty;
use super::status::{EXHAUSTED, Status, UNAVAILABLE, UNIMPLEMENTED, UNKNOWN};

/// The most bytes of a message that comes.
pub const MESSAGE_MAX: usize = 16 << 20;

/// What stands before a message.
const HEAD: usize = 5;

/// Messages that come.
pub struct Incoming {
    source: Source,
    begun: BytesMut,
}

enum Source {
    /// Whoever was called has not answered yet.
    Called(Box<ResponseFuture>),
    /// Of whom it is known how the call ended by what stands behind the messages.
    Answer(RecvStream),
    /// Of whoever calls.
    Call(RecvStream),
    /// It has ended.
    Ended,
}

impl Incoming {
    /// Of a call that somebody makes.
    pub fn of_call(stream: RecvStream) -> Incoming {
        Incoming { source: Source::Call(stream), begun: BytesMut::new() }
    }

    /// Of a call that was made.
    pub fn of_answer(answer: ResponseFuture) -> Incoming {
        Incoming { source: Source::Called(Box::new(answer)), begun: BytesMut::new() }
    }

    /// The next message; `None` if the other side has ended well.
    ///
    /// # Errors
    /// It has ended otherwise, or what comes is no message.
    pub fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(whole) = self.whole()? {
                let wrong = |error| Status::invalid(format!("a message that is none: {error}"));
                return M::decode(whole).map(Some).map_err(wrong);
            }
            if !self.read()? {
                return match self.begun.is_empty() {
                    true => Ok(None),
                    false => Err(Status::new(UNAVAILABLE, "a message that was cut")),
                };
            }
        }
    }

    /// Why the other side wants no more, as it says itself; if it says nothing, what was seen of it.
    pub fn reason(&mut self, seen: Status) -> Status {
        match self.next::<Empty>() {
            Err(status) if !status.is_of_gone_peer() => status,
            _ => seen,
        }
    }

    /// A message that is there as a whole.
    fn whole(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(head) = self.begun.first_chunk::<HEAD>() else { return Ok(None) };
        let [is_compressed, length @ ..] = *head;
        let length = u32::from_be_bytes(length) as usize;
        if is_compressed != 0 {
            return Err(Status::new(UNIMPLEMENTED, "compressed messages are not read"));
        }
        if length > MESSAGE_MAX {
            return Err(Status::new(
                EXHAUSTED,
                format!("a message of {length} bytes: {MESSAGE_MAX} are the most"),
            ));
        }
        if self.begun.len() < HEAD + length {
            return Ok(None);
        }
        self.begun.advance(HEAD);
        Ok(Some(self.begun.split_to(length).freeze()))
    }

    /// Reads on; false at the end.
    fn read(&mut self) -> Result<bool, Status> {
        if let Source::Called(answer) = &mut self.source {
            let (head, stream) = wait(answer)?.into_parts();
            if head.status != http::StatusCode::OK {
                return Err(Status::new(UNKNOWN, format!("the client's session answers {}", head.status)));
            }
            if head.headers.contains_key("grpc-status") {
                self.source = Source::Ended;
                return Status::of_trailers(&head.headers).map(|()| false);
            }
            self.source = Source::Answer(stream);
        }
        let (Source::Answer(stream) | Source::Call(stream)) = &mut self.source else { return Ok(false) };
        if let Some(piece) = wait(poll_fn(|context| stream.poll_data(context))) {
            let piece = piece?;
            // A window of a stream that has ended needs nothing.
            let _ = stream.flow_control().release_capacity(piece.len());
            self.begun.extend_from_slice(&piece);
            return Ok(true);
        }
        match std::mem::replace(&mut self.source, Source::Ended) {
            Source::Answer(mut stream) => {
                let trailers = wait(poll_fn(|context| stream.poll_trailers(context)))?;
                Status::of_trailers(&trailers.unwrap_or_default()).map(|()| false)
            }
            _ => Ok(false),
        }
    }
}

/// Messages that go.
pub struct Outgoing {
    stream: SendStream<Bytes>,
}

impl Outgoing {
    /// On a stream.
    pub fn new(stream: SendStream<Bytes>) -> Outgoing {
        Outgoing { stream }
    }

    /// Sends a message, when there is room for it.
    ///
    /// # Errors
    /// The other side has gone, or wants no more.
    pub fn send(&mut self, message: &impl Message) -> Result<(), Status> {
        self.write(message, false)
    }

    /// Sends a message behind which nothing more goes.
    ///
    /// # Errors
    /// The other side has gone, or wants no more.
    pub fn send_last(&mut self, message: &impl Message) -> Result<(), Status> {
        self.write(message, true)
    }

    fn write(&mut self, message: &impl Message, is_last: bool) -> Result<(), Status> {
        let length = message.encoded_len();
        let mut bytes = BytesMut::with_capacity(HEAD + length);
        bytes.put_u8(0);
        bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        // There is room for all of it.
        let _ = message.encode(&mut bytes);
        let mut rest = bytes.freeze();
        while !rest.is_empty() {
            self.stream.reserve_capacity(rest.len());
            let room = match wait(poll_fn(|context| self.stream.poll_capacity(context))) {
                Some(room) => room?,
                None => return Err(Status::new(UNAVAILABLE, "the other side wants no more")),
            };
            let piece = rest.split_to(room.min(rest.len()));
            self.stream.send_data(piece, is_last && rest.is_empty())?;
        }
        Ok(())
    }

    /// Nothing more goes.
    ///
    /// # Errors
    /// The other side has gone.
    pub fn end(&mut self) -> Result<(), Status> {
        Ok(self.stream.send_data(Bytes::new(), true)?)
    }

    /// Says how a call has ended.
    ///
    /// # Errors
    /// The other side has gone.
    pub fn finish(&mut self, outcome: &Result<(), Status>) -> Result<(), Status> {
        Ok(self.stream.send_trailers(Status::trailers(outcome))?)
    }

    /// Whether the other side has given the call up.
    pub fn is_given_up(&mut self) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        self.stream.poll_reset(&mut context).is_ready()
    }
}
