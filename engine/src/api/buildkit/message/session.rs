//! What a client serves on its session: its files, its secrets, its names and passwords, its agents.

use std::collections::BTreeMap;

/// `fsutil.types.Packet`: one of a folder on its way.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Packet {
    #[prost(enumeration = "PacketKind", tag = "1")]
    pub kind: i32,
    #[prost(message, optional, tag = "2")]
    pub stat: Option<Stat>,
    /// Which file it is about, by its place among those that were named.
    #[prost(uint32, tag = "3")]
    pub id: u32,
    #[prost(bytes = "bytes", tag = "4")]
    pub data: bytes::Bytes,
}

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum PacketKind {
    /// There is a file; without one, all have been named.
    Stat = 0,
    /// Somebody wants its content.
    Request = 1,
    /// Some of that; none at its end.
    Data = 2,
    /// Everything has come.
    End = 3,
    /// It will not come.
    Error = 4,
}

/// A file of any kind, in Go's words.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Stat {
    /// Any bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// Go's `FileMode`.
    #[prost(uint32, tag = "2")]
    pub mode: u32,
    #[prost(uint32, tag = "3")]
    pub uid: u32,
    #[prost(uint32, tag = "4")]
    pub gid: u32,
    #[prost(int64, tag = "5")]
    pub size: i64,
    /// In nanoseconds since 1970.
    #[prost(int64, tag = "6")]
    pub modified: i64,
    /// Of a symbolic link, where it leads to; of a file, of which file it is one more name.
    #[prost(bytes = "vec", tag = "7")]
    pub link: Vec<u8>,
    #[prost(int64, tag = "8")]
    pub major: i64,
    #[prost(int64, tag = "9")]
    pub minor: i64,
    #[prost(btree_map = "string, bytes", tag = "10")]
    pub attributes: BTreeMap<String, Vec<u8>>,
}

/// A piece of a stream.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Bytes {
    #[prost(bytes = "bytes", tag = "1")]
    pub data: bytes::Bytes,
}

/// Which secret is wanted.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SecretRequest {
    #[prost(string, tag = "1")]
    pub id: String,
}

/// The secret.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SecretResponse {
    #[prost(bytes = "vec", tag = "1")]
    pub data: Vec<u8>,
}

/// Whether there is an agent of that name.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SshRequest {
    #[prost(string, tag = "1")]
    pub id: String,
}

/// Who the client is in a registry.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CredentialsRequest {
    #[prost(string, tag = "1")]
    pub host: String,
}

/// Its name and password there; a password alone is an identity token.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CredentialsResponse {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub secret: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct HealthResponse {
    /// 1: it serves.
    #[prost(int32, tag = "1")]
    pub status: i32,
}

/// `containerd.services.content.v1`: which blob is looked for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InfoRequest {
    #[prost(string, tag = "1")]
    pub digest: String,
}

/// It is there.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct InfoResponse {}

/// Which blob is wanted.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ContentRead {
    #[prost(string, tag = "1")]
    pub digest: String,
    #[prost(int64, tag = "2")]
    pub offset: i64,
    /// 0: all of it.
    #[prost(int64, tag = "3")]
    pub size: i64,
}

/// A piece of it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ContentPiece {
    #[prost(int64, tag = "1")]
    pub offset: i64,
    #[prost(bytes = "bytes", tag = "2")]
    pub data: bytes::Bytes,
}

/// A piece of a blob that is to be written, or its end.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ContentWrite {
    #[prost(int32, tag = "1")]
    pub action: i32,
    /// The name of what is being written.
    #[prost(string, tag = "2")]
    pub reference: String,
    #[prost(int64, tag = "3")]
    pub total: i64,
    /// Its digest.
    #[prost(string, tag = "4")]
    pub expected: String,
    #[prost(int64, tag = "5")]
    pub offset: i64,
    #[prost(bytes = "bytes", tag = "6")]
    pub data: bytes::Bytes,
}

/// How far it has come.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ContentWritten {
    #[prost(int64, tag = "4")]
    pub offset: i64,
}
