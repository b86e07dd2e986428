//! BuildKit's messages, as far as they are read and written here. What is not named is passed over, as protobuf has it.

mod bridge;
mod control;
mod session;

pub use bridge::{
    BridgeRequest, BridgeResponse, Capability, Detail, Pong, Reference, Result as BridgeResult,
    ReturnRequest, Rpc,
};
pub use control::{
    Definition, DiskUsageRequest, DiskUsageResponse, Empty, Exporter, Input, Operation, Platform,
    PruneRequest, SolveRequest, SolveResponse, Source, StatusRequest, StatusResponse, UsageRecord, Version,
    VersionResponse, Vertex, VertexLog, VertexStatus, VertexWarning, Worker, WorkersResponse,
};
pub use session::{
    Bytes, ContentPiece, ContentRead, ContentWrite, ContentWritten, CredentialsRequest, CredentialsResponse,
    HealthResponse, InfoRequest, InfoResponse, Packet, PacketKind, SecretRequest, SecretResponse, SshRequest,
    Stat,
};

use crate::time::Moment;

/// A moment.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Timestamp {
    /// Since 1970.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Of the second.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl From<Moment> for Timestamp {
    fn from(moment: Moment) -> Timestamp {
        const SECOND: u64 = 1_000_000_000;
        Timestamp { seconds: (moment.0 / SECOND).cast_signed(), nanos: (moment.0 % SECOND) as i32 }
    }
}
