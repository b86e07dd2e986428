//! `moby.buildkit.v1.frontend.LLBBridge`: a client that is the front end of its own build, as buildx is.

use std::collections::BTreeMap;

use super::control::{Definition, Worker};

/// What this side can do.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Pong {
    #[prost(message, repeated, tag = "1")]
    pub frontend: Vec<Capability>,
    #[prost(message, repeated, tag = "2")]
    pub llb: Vec<Capability>,
    #[prost(message, repeated, tag = "3")]
    pub workers: Vec<Worker>,
}

/// Something that it can do.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Capability {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(bool, tag = "2")]
    pub enabled: bool,
}

/// What a front end is asked for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BridgeRequest {
    #[prost(message, optional, tag = "1")]
    pub definition: Option<Definition>,
    #[prost(string, tag = "2")]
    pub frontend: String,
    #[prost(btree_map = "string, string", tag = "3")]
    pub attributes: BTreeMap<String, String>,
    #[prost(btree_map = "string, message", tag = "13")]
    pub inputs: BTreeMap<String, Definition>,
}

/// What it has come to.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BridgeResponse {
    #[prost(message, optional, tag = "3")]
    pub result: Option<Result>,
}

/// Something that was built, or will be.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Result {
    #[prost(message, optional, tag = "3")]
    pub reference: Option<Reference>,
}

/// Its name.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reference {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(message, optional, tag = "2")]
    pub definition: Option<Definition>,
}

/// What the build as a whole has come to.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReturnRequest {
    #[prost(message, optional, tag = "1")]
    pub result: Option<Result>,
    #[prost(message, optional, tag = "2")]
    pub error: Option<Rpc>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Rpc {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Detail {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}
