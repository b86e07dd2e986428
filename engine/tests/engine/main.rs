//! box as people use it: the built program, a root file system made on the spot, in namespaces of the tests' own. Needs root.

mod api;
mod api_limits;
mod boxd;
mod broken;
mod build;
mod build_cache;
mod build_context;
mod build_limits;
mod buildkit;
mod detached;
mod distribution;
mod docker;
mod enter;
mod explain;
mod files;
mod flags;
mod grpc;
mod harness;
mod health;
#[allow(dead_code)]
#[path = "../../../tests/blackbox/harness/host.rs"]
mod host;
mod images;
mod killed;
mod load;
mod logs;
mod monitors;
mod names;
mod networks;
mod output;
mod peers;
mod pull;
mod registries;
mod registry;
mod replay;
mod rootless;
mod rootless_networks;
mod run;
mod secrets;
mod sources;
mod streams;
mod system;
mod terminal;
mod tls;
mod unmounting;
mod volumes;
