//! A client that speaks BuildKit's protocol, as buildx does: calls on one connection, and a session on which it is called.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use pillbox_engine::Digest;
use prost::Message;
use tokio::runtime::Runtime;

use crate::boxd::Boxd;

/// How a call has ended: a code of gRPC, a sentence, details.
pub type Ended = (u32, String, Vec<u8>);

/// A connection on which calls are made.
pub struct Calls {
    runtime: Arc<Runtime>,
    sender: SendRequest<Bytes>,
}

/// What a client serves on its session.
#[derive(Default)]
pub struct Served {
    /// Folders by their names: paths, and what is sent of each.
    pub folders: BTreeMap<String, Vec<(Stat, Vec<u8>)>>,
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// Blobs of its store `local:/cache`, by their digests.
    pub blobs: Mutex<BTreeMap<String, Vec<u8>>>,
    /// What was sent to it as a file.
    pub received: Mutex<Vec<u8>>,
    /// Names of what was sent to it as a folder.
    pub listed: Mutex<Vec<String>>,
    /// Patterns that a folder was asked for without.
    pub excluded: Mutex<Vec<String>>,
    /// Packets that are sent in place of those that are asked for.
    pub lie: Option<fn(Packet) -> Packet>,
}

/// A session, until this value goes.
pub struct Session {
    _runtime: Arc<Runtime>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn runtime() -> Arc<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Arc::new(builder.worker_threads(2).enable_all().build().expect("runtime"))
}

/// A connection that has become one of HTTP/2.
pub fn upgrade(boxd: &Boxd, path: &str, headers: &str) -> UnixStream {
    let mut stream = boxd.connect();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).expect("send");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the head of an answer");
        answer.push(byte[0]);
    }
    let answer = String::from_utf8(answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    stream
}

fn asynchronous(stream: UnixStream) -> tokio::net::UnixStream {
    stream.set_nonblocking(true).expect("nonblocking");
    tokio::net::UnixStream::from_std(stream).expect("stream")
}

impl Calls {
    pub fn new(boxd: &Boxd, runtime: &Arc<Runtime>) -> Calls {
        let stream = upgrade(boxd, "/grpc", "");
        let sender = runtime.block_on(async {
            let (sender, connection) = h2::client::handshake(asynchronous(stream)).await.expect("HTTP/2");
            tokio::spawn(connection);
            sender
        });
        Calls { runtime: runtime.clone(), sender }
    }

    /// Sends bytes as they are; the messages of the answer, and how it ended.
    pub fn raw(&self, path: &str, build: &str, bytes: Vec<u8>) -> (Vec<Bytes>, Ended) {
        let mut sender = self.sender.clone();
        let request = Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("buildkit-controlapi-buildid", build)
            .body(())
            .expect("request");
        self.runtime.block_on(async {
            let (answer, mut stream) = sender.send_request(request, false).expect("call");
            // A call that is refused by its path is over before anything was sent: its answer is what counts.
            let _ = stream.send_data(bytes.into(), true);
            let (head, body) = answer.await.expect("answer").into_parts();
            match head.headers.contains_key("grpc-status") {
                true => (Vec::new(), ended(&head.headers)),
                false => collect(body).await,
            }
        })
    }

    /// Asks with a message.
    pub fn ask(&self, path: &str, build: &str, question: &impl Message) -> (Vec<Bytes>, Ended) {
        self.raw(path, build, framed(question))
    }

    /// The one message of an answer.
    #[track_caller]
    pub fn one<M: Message + Default>(&self, path: &str, build: &str, question: &impl Message) -> M {
        let (messages, (code, text, _)) = self.ask(path, build, question);
        assert_eq!((code, text.as_str()), (0, ""), "{path}");
        M::decode(messages.first().cloned().expect("a message")).expect("a message of that kind")
    }
}

pub fn framed(message: &impl Message) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.put_u32(message.encoded_len() as u32);
    message.encode(&mut bytes).expect("message");
    bytes
}

fn ended(trailers: &HeaderMap) -> Ended {
    let text = |name: &str| trailers.get(name).map_or("", |value| value.to_str().expect("ASCII"));
    let mut message = Vec::new();
    let mut bytes = text("grpc-message").bytes();
    while let Some(byte) = bytes.next() {
        let digits = |bytes: &mut std::str::Bytes<'_>| {
            let digits = [bytes.next().expect("a digit"), bytes.next().expect("a digit")];
            u8::from_str_radix(std::str::from_utf8(&digits).expect("digits"), 16).expect("an escape")
        };
        message.push(if byte == b'%' { digits(&mut bytes) } else { byte });
    }
    let details = text("grpc-status-details-bin");
    let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
    let details = base64::Engine::decode(&engine, details).expect("base64");
    (text("grpc-status").parse().expect("a status"), String::from_utf8(message).expect("UTF-8"), details)
}

async fn collect(mut body: RecvStream) -> (Vec<Bytes>, Ended) {
    let mut begun = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece.expect("data");
        body.flow_control().release_capacity(piece.len()).expect("capacity");
        begun.extend_from_slice(&piece);
    }
    let mut messages = Vec::new();
    while let Some(message) = split(&mut begun) {
        messages.push(message);
    }
    let trailers = body.trailers().await.expect("trailers").expect("trailers");
    (messages, ended(&trailers))
}

fn split(begun: &mut BytesMut) -> Option<Bytes> {
    let length = u32::from_be_bytes(begun.get(1..5)?.try_into().ok()?) as usize;
    if begun.len() < 5 + length {
        return None;
    }
    begun.advance(5);
    Some(begun.split_to(length).freeze())
}

impl Session {
    /// Serves until the value goes.
    pub fn new(boxd: &Boxd, runtime: &Arc<Runtime>, id: &str, served: &Arc<Served>) -> Session {
        let methods = [
            "/moby.filesync.v1.FileSync/DiffCopy",
            "/moby.filesync.v1.FileSend/DiffCopy",
            "/moby.buildkit.secrets.v1.Secrets/GetSecret",
            "/containerd.services.content.v1.Content/Info",
            "/containerd.services.content.v1.Content/Read",
            "/containerd.services.content.v1.Content/Write",
        ];
        let methods =
            methods.map(|method| format!("X-Docker-Expose-Session-Grpc-Method: {method}\r\n")).concat();
        let stream = upgrade(boxd, "/session", &format!("X-Docker-Expose-Session-Uuid: {id}\r\n{methods}"));
        let served = served.clone();
        let task = runtime.spawn(async move {
            let mut connection = h2::server::handshake(asynchronous(stream)).await.expect("HTTP/2");
            let mut calls = tokio::task::JoinSet::new();
            while let Some(Ok((request, answer))) = connection.accept().await {
                calls.spawn(serve(served.clone(), request, answer));
            }
        });
        Session { _runtime: runtime.clone(), task }
    }
}

/// Messages of a call, both ways.
struct Stream {
    incoming: RecvStream,
    begun: BytesMut,
    outgoing: h2::SendStream<Bytes>,
}

impl Stream {
    async fn next<M: Message + Default>(&mut self) -> Option<M> {
        loop {
            if let Some(message) = split(&mut self.begun) {
                return M::decode(message).ok();
            }
            let piece = self.incoming.data().await?.ok()?;
            let _ = self.incoming.flow_control().release_capacity(piece.len());
            self.begun.extend_from_slice(&piece);
        }
    }

    async fn send(&mut self, message: &impl Message) {
        let mut rest = Bytes::from(framed(message));
        while !rest.is_empty() {
            self.outgoing.reserve_capacity(rest.len());
            let room = std::future::poll_fn(|context| self.outgoing.poll_capacity(context)).await;
            let Some(Ok(room)) = room else { return };
            let piece = rest.split_to(room.min(rest.len()));
            if self.outgoing.send_data(piece, false).is_err() {
                return;
            }
        }
    }

    fn end(&mut self, code: u32) {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", code.into());
        let _ = self.outgoing.send_trailers(trailers);
    }
}

async fn serve(served: Arc<Served>, request: Request<RecvStream>, mut answer: SendResponse<Bytes>) {
    let (head, incoming) = request.into_parts();
    let response = Response::builder().header("content-type", "application/grpc").body(()).expect("response");
    let Ok(outgoing) = answer.send_response(response, false) else { return };
    let mut stream = Stream { incoming, begun: BytesMut::new(), outgoing };
    let values = |name: &str| -> Vec<String> {
        head.headers.get_all(name).iter().map(|value| value.to_str().expect("ASCII").to_string()).collect()
    };
    match head.uri.path() {
        "/moby.filesync.v1.FileSync/DiffCopy" => {
            served.excluded.lock().unwrap().extend(values("exclude-patterns"));
            let Some(files) = served.folders.get(&values("dir-name")[0]) else { return stream.end(5) };
            let only = values("followpaths");
            let is_wanted = |stat: &Stat| only.is_empty() || only.contains(&stat.path);
            let files: Vec<_> = files.iter().filter(|(stat, _)| is_wanted(stat)).cloned().collect();
            // Those that a build begins with are never lies.
            let lie = served.lie.filter(|_| only.is_empty());
            send_files(&mut stream, &files, lie).await;
        }
        "/moby.filesync.v1.FileSend/DiffCopy" if served.listed.lock().unwrap().is_empty() => {
            while let Some(Piece { data }) = stream.next().await {
                served.received.lock().unwrap().extend_from_slice(&data);
            }
            stream.end(0);
        }
        "/moby.filesync.v1.FileSend/DiffCopy" => receive_files(&mut stream, &served).await,
        "/moby.buildkit.secrets.v1.Secrets/GetSecret" => {
            let SecretRequest { id } = stream.next().await.expect("a name");
            match served.secrets.get(&id) {
                Some(data) => {
                    stream.send(&Piece { data: data.clone() }).await;
                    stream.end(0);
                }
                None => stream.end(5),
            }
        }
        "/containerd.services.content.v1.Content/Info" | "/containerd.services.content.v1.Content/Read" => {
            assert_eq!(values("buildkit-attachable-store-id"), ["local:/cache"]);
            let Name { name } = stream.next().await.expect("a digest");
            let blob = served.blobs.lock().unwrap().get(&name).cloned();
            match blob {
                Some(blob) if head.uri.path().ends_with("/Read") => {
                    for (number, data) in blob.chunks(10_000).enumerate() {
                        let (offset, data) = (number as i64 * 10_000, data.to_vec());
                        stream.send(&ContentPiece { offset, data }).await;
                    }
                }
                Some(_) => stream.send(&Empty {}).await,
                None => return stream.end(5),
            }
            stream.end(0);
        }
        "/containerd.services.content.v1.Content/Write" => receive_blob(&mut stream, &served).await,
        _ => stream.end(12),
    }
}

/// Takes a blob as containerd's store does.
async fn receive_blob(stream: &mut Stream, served: &Served) {
    let mut blob = Vec::new();
    while let Some(ContentWrite { action, total, expected, offset, data }) = stream.next().await {
        if served.blobs.lock().unwrap().contains_key(&expected) {
            return stream.end(6);
        }
        assert_eq!(offset, blob.len() as i64);
        blob.extend_from_slice(&data);
        if action == 2 {
            assert_eq!((total, expected.as_str()), (blob.len() as i64, &*Digest::of(&blob).to_string()));
            served.blobs.lock().unwrap().insert(expected, std::mem::take(&mut blob));
        }
        stream.send(&ContentPiece { offset: blob.len() as i64, data: Vec::new() }).await;
        // It does not wait for the other side's end.
        if action == 2 {
            break;
        }
    }
    stream.end(0);
}

async fn send_files(stream: &mut Stream, files: &[(Stat, Vec<u8>)], lie: Option<fn(Packet) -> Packet>) {
    let told = |packet: Packet| lie.map_or(packet.clone(), |lie| lie(packet));
    for (stat, _) in files {
        stream.send(&told(Packet { stat: Some(stat.clone()), ..Packet::default() })).await;
    }
    stream.send(&Packet::default()).await;
    while let Some(Packet { kind, id, .. }) = stream.next().await {
        match kind {
            1 => {
                for data in files[id as usize].1.chunks(30_000) {
                    stream.send(&told(Packet { kind: 2, id, data: data.to_vec(), stat: None })).await;
                }
                stream.send(&told(Packet { kind: 2, id, ..Packet::default() })).await;
            }
            3 => {
                stream.send(&Packet { kind: 3, ..Packet::default() }).await;
                return stream.end(0);
            }
            _ => return stream.end(2),
        }
    }
}

/// Takes names, and of the content of each file what there is.
async fn receive_files(stream: &mut Stream, served: &Served) {
    let mut open = 0;
    let (mut count, mut all_named) = (0, false);
    while let Some(Packet { kind, stat, id: _, data }) = stream.next().await {
        match (kind, stat) {
            (0, Some(stat)) => {
                served.listed.lock().unwrap().push(stat.path);
                if stat.mode >> 19 == 0 && stat.link.is_empty() {
                    open += 1;
                    stream.send(&Packet { kind: 1, id: count, ..Packet::default() }).await;
                }
                count += 1;
            }
            (0, None) => all_named = true,
            (2, _) if data.is_empty() => open -= 1,
            (2, _) => served.received.lock().unwrap().extend_from_slice(&data),
            _ => return stream.end(0),
        }
        if all_named && open == 0 {
            stream.send(&Packet { kind: 3, ..Packet::default() }).await;
        }
    }
    stream.end(0);
}

#[derive(Clone, PartialEq, Message)]
pub struct Packet {
    #[prost(int32, tag = "1")]
    pub kind: i32,
    #[prost(message, optional, tag = "2")]
    pub stat: Option<Stat>,
    #[prost(uint32, tag = "3")]
    pub id: u32,
    #[prost(bytes = "vec", tag = "4")]
    pub data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Stat {
    #[prost(string, tag = "1")]
    pub path: String,
    #[prost(uint32, tag = "2")]
    pub mode: u32,
    #[prost(int64, tag = "5")]
    pub size: i64,
    #[prost(int64, tag = "6")]
    pub modified: i64,
    #[prost(string, tag = "7")]
    pub link: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Piece {
    #[prost(bytes = "vec", tag = "1")]
    pub data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SecretRequest {
    #[prost(string, tag = "1")]
    pub id: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Empty {}

/// A piece of a blob that is read; of one that is written only the place counts.
#[derive(Clone, PartialEq, Message)]
pub struct ContentPiece {
    #[prost(int64, tag = "1")]
    pub offset: i64,
    #[prost(bytes, tag = "2")]
    pub data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ContentWrite {
    #[prost(int32, tag = "1")]
    pub action: i32,
    #[prost(int64, tag = "3")]
    pub total: i64,
    #[prost(string, tag = "4")]
    pub expected: String,
    #[prost(int64, tag = "5")]
    pub offset: i64,
    #[prost(bytes, tag = "6")]
    pub data: Vec<u8>,
}

/// Caches of a build.
#[derive(Clone, PartialEq, Message)]
pub struct CacheOptions {
    #[prost(message, repeated, tag = "4")]
    pub exports: Vec<Exporter>,
    #[prost(message, repeated, tag = "5")]
    pub imports: Vec<Exporter>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SolveRequest {
    #[prost(string, tag = "1")]
    pub reference: String,
    #[prost(string, tag = "5")]
    pub session: String,
    #[prost(string, tag = "6")]
    pub frontend: String,
    #[prost(btree_map = "string, string", tag = "7")]
    pub attributes: BTreeMap<String, String>,
    #[prost(message, optional, tag = "8")]
    pub cache: Option<CacheOptions>,
    #[prost(message, repeated, tag = "13")]
    pub exporters: Vec<Exporter>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Exporter {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(btree_map = "string, string", tag = "2")]
    pub attributes: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SolveResponse {
    #[prost(btree_map = "string, string", tag = "1")]
    pub exporter: BTreeMap<String, String>,
}

/// Of a status, of a look at a build, and of whatever else has a name alone.
#[derive(Clone, PartialEq, Message)]
pub struct Name {
    #[prost(string, tag = "1")]
    pub name: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct StatusResponse {
    #[prost(message, repeated, tag = "1")]
    pub vertexes: Vec<Vertex>,
    #[prost(message, repeated, tag = "3")]
    pub logs: Vec<Log>,
    #[prost(message, repeated, tag = "4")]
    pub warnings: Vec<Warning>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Vertex {
    #[prost(string, tag = "1")]
    pub digest: String,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(bool, tag = "4")]
    pub cached: bool,
    #[prost(message, optional, tag = "6")]
    pub completed: Option<Empty>,
    #[prost(string, tag = "7")]
    pub error: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Log {
    #[prost(string, tag = "1")]
    pub vertex: String,
    #[prost(int64, tag = "3")]
    pub stream: i64,
    #[prost(bytes = "vec", tag = "4")]
    pub bytes: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Warning {
    #[prost(bytes = "vec", tag = "3")]
    pub short: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct BridgeRequest {
    #[prost(string, tag = "2")]
    pub frontend: String,
    #[prost(btree_map = "string, string", tag = "3")]
    pub attributes: BTreeMap<String, String>,
    #[prost(btree_map = "string, message", tag = "13")]
    pub inputs: BTreeMap<String, Definition>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Definition {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub operations: Vec<Vec<u8>>,
}

/// What a front end is answered.
#[derive(Clone, PartialEq, Message)]
pub struct BridgeResponse {
    #[prost(message, optional, tag = "3")]
    pub result: Option<BridgeResult>,
}

#[derive(Clone, PartialEq, Message)]
pub struct BridgeResult {
    #[prost(message, optional, tag = "3")]
    pub reference: Option<Reference>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Reference {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(message, optional, tag = "2")]
    pub definition: Option<Definition>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ReturnRequest {
    #[prost(message, optional, tag = "1")]
    pub result: Option<BridgeResult>,
}
