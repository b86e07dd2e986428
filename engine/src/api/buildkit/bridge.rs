//! A client as the front end of its own build: it asks for a result, settles on it, and what it has asked for is built then.

use super::builds::Builds;
use super::frontend::Wish;
use super::message::{
    BridgeRequest, BridgeResponse, BridgeResult, Capability, Empty, Pong, Reference, ReturnRequest,
};
use super::result::definition;
use super::server::{Call, unknown};
use super::status::Status;
use super::worker::worker;

/// Where a call says which build it belongs to.
const BUILD: &str = "buildkit-controlapi-buildid";

/// What clients may rely on. Without any they would suppose more.
const FRONTEND: [&str; 6] =
    ["solve.base", "return", "proto.refarray", "frontend.inputs", "gateway.evaluate", "reference.output"];
const LLB: [&str; 4] = ["source.image", "source.local", "file.base", "exporter.multiple"];

/// Answers a call.
///
/// # Errors
/// There is no such call; what it says.
pub fn handle(builds: &Builds, call: &mut Call, method: &str) -> Result<(), Status> {
    let build = call.metadata.get(BUILD).and_then(|value| value.to_str().ok());
    let build = build.map(str::to_string);
    let build = &build.ok_or_else(|| Status::invalid(format!("{BUILD}: it is missing")))?;
    let job = builds.jobs.find(build)?;
    match method {
        "Ping" => {
            call.message::<Empty>()?;
            let list = |names: &[&str]| {
                names.iter().map(|name| Capability { id: name.to_string(), enabled: true }).collect()
            };
            call.send(&Pong { frontend: list(&FRONTEND), llb: list(&LLB), workers: vec![worker()] })
        }
        "Solve" => {
            let request: BridgeRequest = call.message()?;
            // What is wrong with it is said to whoever asks.
            let wish = Wish::parse(request.clone())?;
            for build in wish.inputs.values() {
                builds.jobs.find(build)?.need_image();
            }
            let reference = Reference { id: job.ask(request)?, definition: Some(definition(build)) };
            call.send(&BridgeResponse { result: Some(BridgeResult { reference: Some(reference) }) })
        }
        // Everything is built when the client has settled.
        "Evaluate" => {
            call.message::<Empty>()?;
            call.send(&Empty {})
        }
        "Return" => {
            let ReturnRequest { result, error } = call.message()?;
            let name = result.and_then(|result| result.reference).map(|reference| reference.id);
            job.settle(match error {
                Some(error) => Err(error.into()),
                None => Ok(name.filter(|name| !name.is_empty())),
            });
            call.send(&Empty {})
        }
        _ => Err(unknown(&call.path)),
    }
}
