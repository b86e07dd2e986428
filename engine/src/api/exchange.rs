//! One request and its answer.

use std::io::{BufWriter, Read, Result as IoResult, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::body::Body;
use super::document::parse;
use super::fault::{Fault, Form, Outcome};
use super::head::{Head, Length};
use super::web_socket::accept_key;
use crate::time::{Moment, http_date};

/// The version of the API that boxd speaks, and the oldest one.
pub const API_VERSION: &str = "1.51";
pub const API_VERSION_MIN: &str = "1.24";

/// The most bytes of a JSON document that a client sends.
const DOCUMENT_MAX: u64 = 4 << 20;

/// How long a client has to read the head of an answer alone. Docker's SDK for Python, which has many names, loses what has come with
/// it when it takes the connection over.
const HEAD_START: Duration = Duration::from_secs(10);

/// What is answered to a request.
#[derive(Debug)]
pub enum Reply {
    /// A document.
    Json(u16, Value),
    /// A document that is written already.
    Written(u16, Vec<u8>),
    /// A text.
    Text(u16, &'static str),
    /// A status alone.
    Empty(u16),
    /// What was to be said has been said.
    Sent,
}

/// What has become of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Nothing is said yet.
    Open,
    /// It has been said, and where it ends.
    Whole,
    /// It ends with the connection.
    Last,
}

/// A request on its connection.
#[derive(Debug)]
pub struct Exchange<'c> {
    /// What the request says before its body.
    pub head: Head,
    /// What stands in the path where the route has a star.
    pub parameters: Vec<String>,
    body: Body<'c>,
    connection: &'c UnixStream,
    headers: Vec<(&'static str, String)>,
    progress: Progress,
}

impl<'c> Exchange<'c> {
    /// A request whose head has been read; `begun` is what has come behind it.
    pub fn new(head: Head, begun: Vec<u8>, connection: &'c UnixStream) -> Exchange<'c> {
        let body = Body::new(begun, connection, head.length, head.expects_continue());
        Exchange {
            head,
            parameters: Vec::new(),
            body,
            connection,
            headers: Vec::new(),
            progress: Progress::Open,
        }
    }

    /// What stands in the path in place of a star.
    pub fn parameter(&self, index: usize) -> &str {
        self.parameters.get(index).map_or("", String::as_str)
    }

    /// The body as a stream.
    pub fn body(&mut self) -> &mut (dyn Read + Send) {
        &mut self.body
    }

    /// The body as a stream for somebody else. No other request follows on the connection: nobody would know where it begins.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn take_body(&mut self) -> Outcome<Body<'static>> {
        self.head.keeps_alive = false;
        let empty = Body::new(Vec::new(), self.connection, Length::Known(0), false);
        Ok(std::mem::replace(&mut self.body, empty).into_own()?)
    }

    /// The connection, to see whether the client is still there.
    pub fn connection(&self) -> &'c UnixStream {
        self.connection
    }

    /// The document in the body.
    ///
    /// # Errors
    /// It is none, or one of another form.
    pub fn document<T: DeserializeOwned>(&mut self) -> Outcome<T> {
        self.document_if_any()?
            .ok_or_else(|| Fault::invalid("invalid JSON: got EOF while reading request body"))
    }

    /// The same where a body may be left out.
    ///
    /// # Errors
    /// As for that.
    pub fn document_if_any<T: DeserializeOwned>(&mut self) -> Outcome<Option<T>> {
        let mut text = Vec::new();
        let read = (&mut self.body).take(DOCUMENT_MAX + 1).read_to_end(&mut text);
        read.map_err(|error| Fault::invalid(format!("the request's body: {error}")))?;
        if text.len() as u64 > DOCUMENT_MAX {
            return Err(Fault::new(413, format!("the request's body has more than {DOCUMENT_MAX} bytes")));
        }
        // A client in Go writes null for a document that it does not have.
        if text.is_empty() || text.trim_ascii() == b"null" {
            return Ok(None);
        }
        let kind = self.head.header("content-type").unwrap_or_default();
        let plain = kind.split(';').next().unwrap_or_default().trim();
        if !plain.eq_ignore_ascii_case("application/json") {
            return Err(Fault::invalid(format!(
                "unsupported Content-Type header ({kind}): must be 'application/json'"
            )));
        }
        parse(&text).map(Some)
    }

    /// One more header for the answer.
    pub fn add_header(&mut self, name: &'static str, value: impl Into<String>) {
        self.headers.push((name, value.into()));
    }

    /// Says what a handler has found, unless something has been said already: then the client sees that it was cut off.
    ///
    /// # Errors
    /// The client has gone.
    pub fn finish(&mut self, outcome: Outcome<Reply>) -> IoResult<()> {
        match outcome {
            Ok(Reply::Json(status, document)) => self.send_json(status, &document),
            Ok(Reply::Written(status, text)) => self.send(status, Some("application/json"), &text),
            Ok(Reply::Text(status, text)) => {
                self.send(status, Some("text/plain; charset=utf-8"), text.as_bytes())
            }
            Ok(Reply::Empty(status)) => self.send(status, None, b""),
            Ok(Reply::Sent) => Ok(()),
            Err(_) if self.progress != Progress::Open => {
                self.progress = Progress::Last;
                Ok(())
            }
            Err(fault) if fault.form() == Form::Line => {
                let text = format!("{}\n", fault.message());
                self.send(fault.status(), Some("text/plain; charset=utf-8"), text.as_bytes())
            }
            Err(fault) => self.send_json(fault.status(), &serde_json::json!({ "message": fault.message() })),
        }
    }

    fn send_json(&mut self, status: u16, document: &Value) -> IoResult<()> {
        // A document of texts, numbers and lists can be written.
        let mut text = serde_json::to_vec(document).unwrap_or_default();
        text.push(b'\n');
        self.send(status, Some("application/json"), &text)
    }

    fn send(&mut self, status: u16, kind: Option<&str>, text: &[u8]) -> IoResult<()> {
        self.progress = Progress::Whole;
        let mut answer = self.answer_head(status, kind);
        if !matches!(status, 204 | 304) {
            answer += &format!("Content-Length: {}\r\n", text.len());
        }
        if !self.head.keeps_alive {
            answer += "Connection: close\r\n";
        }
        answer += "\r\n";
        let mut answer = answer.into_bytes();
        if self.head.method != "HEAD" {
            answer.extend_from_slice(text);
        }
        self.connection.write_all(&answer)
    }

    fn answer_head(&self, status: u16, kind: Option<&str>) -> String {
        let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
        let fixed = [
            ("Api-Version", API_VERSION),
            ("Docker-Experimental", "false"),
            ("Ostype", "linux"),
            ("Server", concat!("boxd/", env!("CARGO_PKG_VERSION"), " (linux)")),
        ];
        let own = self.headers.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in fixed.into_iter().chain(own) {
            // A value with a line end would be another header.
            let value: String = value.chars().filter(|letter| !letter.is_control()).collect();
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Date: {}\r\n", http_date(Moment::now()));
        if let Some(kind) = kind {
            head += &format!("Content-Type: {kind}\r\n");
        }
        head
    }

    /// Begins an answer whose length nobody knows. Its head is sent at once.
    ///
    /// # Errors
    /// The client has gone.
    pub fn stream(&mut self, kind: &str) -> Outcome<Stream<'c>> {
        let mut head = self.answer_head(200, Some(kind));
        let is_chunked = self.head.takes_chunks;
        if !self.head.keeps_alive {
            head += "Connection: close\r\n";
        }
        head += if is_chunked { "Transfer-Encoding: chunked\r\n\r\n" } else { "\r\n" };
        // Until its end is written nobody knows where it is.
        self.progress = Progress::Last;
        (&mut &*self.connection).write_all(head.as_bytes())?;
        Ok(Stream { connection: self.connection, is_chunked })
    }

    /// Answers with what `write` writes. What goes wrong before that is an error like any other.
    ///
    /// # Errors
    /// Those of `write`; the client has gone.
    pub fn write_late(
        &mut self,
        kind: &str,
        write: impl FnOnce(&mut dyn Write) -> crate::error::Result<()>,
    ) -> Outcome<Reply> {
        let mut late = BufWriter::with_capacity(1 << 16, Late { exchange: self, kind, stream: None });
        if let Err(error) = write(&mut late) {
            // What has been gathered is not sent.
            drop(late.into_parts());
            return Err(error.into());
        }
        let Late { exchange, stream, .. } =
            late.into_inner().map_err(|error| Fault::from(std::io::Error::from(error)))?;
        let stream = stream.map_or_else(|| exchange.stream(kind), Ok)?;
        exchange.end(stream)
    }

    /// Ends an answer whose length nobody knew.
    ///
    /// # Errors
    /// The client has gone.
    pub fn end(&mut self, stream: Stream<'c>) -> Outcome<Reply> {
        if stream.is_chunked {
            (&mut &*self.connection).write_all(b"0\r\n\r\n")?;
            self.progress = Progress::Whole;
        }
        Ok(Reply::Sent)
    }

    /// Makes the connection a stream in both directions: upgraded if the client asks for that, and else as an answer that ends with
    /// the connection. The result is what has come of the client's already.
    ///
    /// # Errors
    /// The client has gone.
    pub fn hijack(&mut self, kind: &str) -> Outcome<Vec<u8>> {
        let head = match self.head.is_upgrade() {
            true => {
                format!(
                    "HTTP/1.1 101 UPGRADED\r\nContent-Type: {kind}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nApi-Version: {API_VERSION}\r\nOstype: linux\r\n\r\n"
                )
            }
            false => "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n".to_string(),
        };
        self.take_over(&head)?;
        self.wait_until_read();
        Ok(self.take_rest())
    }

    /// Makes the connection one of another protocol. The result is what has come of that already.
    ///
    /// # Errors
    /// The client does not ask for it, or has gone.
    pub fn upgrade(&mut self, protocol: &str) -> Outcome<Vec<u8>> {
        let asked = self.head.header("upgrade").unwrap_or_default();
        if !self.head.is_upgrade() || !asked.eq_ignore_ascii_case(protocol) {
            return Err(Fault::invalid(format!("header Upgrade {asked}: must be {protocol}")));
        }
        self.take_over(&format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
        ))?;
        Ok(self.take_rest())
    }

    /// Makes the connection a web socket. The result is what has come of that already.
    ///
    /// # Errors
    /// The client has gone.
    pub fn accept_web_socket(&mut self) -> Outcome<Vec<u8>> {
        let key = accept_key(self.head.header("sec-websocket-key").unwrap_or_default());
        self.take_over(&format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {key}\r\n\r\n"
        ))?;
        Ok(self.take_rest())
    }

    /// The last that is said of HTTP on the connection.
    fn take_over(&mut self, head: &str) -> Outcome<()> {
        self.progress = Progress::Last;
        self.head.keeps_alive = false;
        Ok((&mut &*self.connection).write_all(head.as_bytes())?)
    }

    /// Waits until the client, or what speaks TLS with it, has read all that was written. A record of TLS is read alone.
    fn wait_until_read(&self) {
        let end = Instant::now() + HEAD_START;
        let mut pause = Duration::from_micros(20);
        let is_unread = || pillbox::unread(self.connection.as_fd()).is_ok_and(|length| length > 0);
        while is_unread() && !has_gone(self.connection.as_fd()) && Instant::now() < end {
            std::thread::sleep(pause);
            // Long in the end: there may be a thousand that never read.
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    /// What has come behind the head.
    fn take_rest(&mut self) -> Vec<u8> {
        let empty = Body::new(Vec::new(), self.connection, Length::Known(0), false);
        std::mem::replace(&mut self.body, empty).into_rest()
    }

    /// The beginning of the next request, if there may be one on the connection.
    pub fn into_next(mut self) -> Option<Vec<u8>> {
        let goes_on = self.head.keeps_alive && self.progress == Progress::Whole;
        (goes_on && self.body.discard(DOCUMENT_MAX)).then(|| self.body.into_rest())
    }
}

/// An answer that begins with its first byte.
struct Late<'e, 'c> {
    exchange: &'e mut Exchange<'c>,
    kind: &'e str,
    stream: Option<Stream<'c>>,
}

impl Write for Late<'_, '_> {
    fn write(&mut self, content: &[u8]) -> IoResult<usize> {
        if self.stream.is_none() {
            // All that can go wrong is that the client has gone.
            let gone = |_| std::io::Error::from(std::io::ErrorKind::BrokenPipe);
            self.stream = Some(self.exchange.stream(self.kind).map_err(gone)?);
        }
        self.stream.as_mut().map_or(Ok(0), |stream| stream.write(content))
    }

    fn flush(&mut self) -> IoResult<()> {
        Ok(())
    }
}

/// An answer on its way.
#[derive(Debug)]
pub struct Stream<'c> {
    connection: &'c UnixStream,
    is_chunked: bool,
}

impl Write for Stream<'_> {
    fn write(&mut self, content: &[u8]) -> IoResult<usize> {
        if content.is_empty() {
            return Ok(0);
        }
        match self.is_chunked {
            true => {
                // One call for a piece.
                let mut chunk = format!("{:x}\r\n", content.len()).into_bytes();
                chunk.extend_from_slice(content);
                chunk.extend_from_slice(b"\r\n");
                self.connection.write_all(&chunk).map_err(gone)?;
            }
            false => self.connection.write_all(content).map_err(gone)?,
        }
        Ok(content.len())
    }

    fn flush(&mut self) -> IoResult<()> {
        Ok(())
    }
}

/// One that has left without reading everything has left.
fn gone(error: std::io::Error) -> std::io::Error {
    match error.kind() {
        std::io::ErrorKind::ConnectionReset => std::io::ErrorKind::BrokenPipe.into(),
        _ => error,
    }
}

impl Stream<'_> {
    /// A document of a stream of documents.
    ///
    /// # Errors
    /// The client has gone.
    pub fn document(&mut self, document: &Value) -> IoResult<()> {
        let mut text = serde_json::to_vec(document)?;
        text.extend_from_slice(b"\r\n");
        self.write_all(&text)
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Request Entity Too Large",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

/// Whether a client has closed its end altogether. That is always told, whatever is asked.
pub fn has_gone(connection: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(connection, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&now)).is_ok() && !polled[0].revents().is_empty()
}
