//! What a client calls: builds and what happens in them, workers, what builds have kept.

use std::time::Duration;

use super::bridge;
use super::cache;
use super::job::News;
use super::message::{
    DiskUsageRequest, Empty, HealthResponse, PruneRequest, SolveRequest, StatusRequest, VersionResponse,
    WorkersResponse,
};
use super::server::{Call, unknown};
use super::solve::solve;
use super::status::{CANCELLED, Status, UNIMPLEMENTED};
use super::worker::{version, worker};
use crate::api::daemon::Daemon;

/// How often it is looked whether somebody still looks on.
const LOOK: Duration = Duration::from_secs(1);

/// Answers a call.
///
/// # Errors
/// There is no such call; what it says.
pub fn handle(daemon: &Daemon, call: &mut Call) -> Result<(), Status> {
    let path = call.path.clone();
    match path.rsplit_once('/') {
        Some(("/moby.buildkit.v1.Control", method)) => control(daemon, call, method),
        Some(("/moby.buildkit.v1.frontend.LLBBridge", method)) => bridge::handle(daemon, call, method),
        Some(("/grpc.health.v1.Health", "Check")) => call.send(&HealthResponse { status: 1 }),
        _ => Err(unknown(&path)),
    }
}

fn control(daemon: &Daemon, call: &mut Call, method: &str) -> Result<(), Status> {
    match method {
        "Info" => {
            call.message::<Empty>()?;
            call.send(&VersionResponse { version: Some(version()) })
        }
        "ListWorkers" => {
            call.message::<Empty>()?;
            call.send(&WorkersResponse { workers: vec![worker()] })
        }
        "Solve" => {
            let request: SolveRequest = call.message()?;
            let job = daemon.jobs.begin(&request.reference)?;
            let solved = solve(daemon, &job, request, call);
            job.end();
            call.send(&solved?)
        }
        "Status" => status(daemon, call),
        "DiskUsage" => {
            let request: DiskUsageRequest = call.message()?;
            call.send(&cache::list(&daemon.store, &request.filters)?)
        }
        "Prune" => {
            let request: PruneRequest = call.message()?;
            cache::prune(&daemon.store, &request)?.iter().try_for_each(|record| call.send(record))
        }
        "ListenBuildHistory" | "UpdateBuildHistory" => {
            Err(Status::new(UNIMPLEMENTED, "boxd keeps no history of builds"))
        }
        _ => Err(unknown(&call.path)),
    }
}

/// Tells what happens in a build until it has ended.
fn status(daemon: &Daemon, call: &mut Call) -> Result<(), Status> {
    let request: StatusRequest = call.message()?;
    let job = daemon.jobs.find(&request.reference)?;
    loop {
        match job.next(LOOK) {
            News::Status(news) => call.send(&news)?,
            News::End => return Ok(()),
            News::Nothing if call.is_given_up() => {
                return Err(Status::new(CANCELLED, "nobody looks on any more"));
            }
            News::Nothing => {}
        }
    }
}
