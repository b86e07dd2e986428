//! What a client calls: builds and what happens in them, workers, what builds have kept.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::bridge;
use super::builds::Builds;
use super::cache;
use super::export::IMAGE_ID;
use super::job::News;
use super::message::{
    DiskUsageRequest, Empty, HealthResponse, PruneRequest, SolveRequest, StatusRequest, VersionResponse,
    WorkersResponse,
};
use super::relay::relay;
use super::server::{Call, unknown};
use super::session::Offer;
use super::solve::solve;
use super::status::{CANCELLED, Status, UNIMPLEMENTED};
use super::worker::{version, worker};
use crate::thread::spawn;

/// How often it is looked whether somebody still looks on.
const LOOK: Duration = Duration::from_secs(1);

/// Answers a call.
///
/// # Errors
/// There is no such call; what it says.
pub fn handle(builds: &Builds, call: &mut Call) -> Result<(), Status> {
    let path = call.path.clone();
    match path.rsplit_once('/') {
        Some(("/moby.buildkit.v1.Control", method)) => control(builds, call, method),
        Some(("/moby.buildkit.v1.frontend.LLBBridge", method)) => bridge::handle(builds, call, method),
        Some(("/grpc.health.v1.Health", "Check")) => call.send(&HealthResponse { status: 1 }),
        _ => Err(unknown(&path)),
    }
}

fn control(builds: &Builds, call: &mut Call, method: &str) -> Result<(), Status> {
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
            let job = builds.jobs.begin(&request.reference)?;
            let solved = solve(builds, &job, request, call);
            job.end(solved.as_ref().ok().and_then(|solved| solved.exporter.get(IMAGE_ID)).cloned());
            while !job.is_told(LOOK) && !call.is_given_up() {}
            call.send(&solved?)
        }
        "Status" => status(builds, call),
        "Session" => session(builds, call),
        "DiskUsage" => {
            let request: DiskUsageRequest = call.message()?;
            call.send(&cache::list(&builds.store, &request.filters)?)
        }
        "Prune" => {
            let request: PruneRequest = call.message()?;
            cache::prune(&builds.store, &request)?.iter().try_for_each(|record| call.send(record))
        }
        "ListenBuildHistory" | "UpdateBuildHistory" => {
            Err(Status::new(UNIMPLEMENTED, "boxd keeps no history of builds"))
        }
        _ => Err(unknown(&call.path)),
    }
}

/// A session within a call, as several builds share it.
fn session(builds: &Builds, call: &mut Call) -> Result<(), Status> {
    let headers: Vec<(&str, &str)> = call
        .metadata
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect();
    let offer = Offer::parse(headers.into_iter())?;
    let (own, other) = UnixStream::pair()?;
    let (outgoing, incoming) = call.streams()?;
    std::thread::scope(|scope| {
        spawn(scope, || builds.sessions.run(offer, &own, Vec::new()))?;
        Ok(relay(&other, outgoing, incoming)?)
    })
}

/// Tells what happens in a build until it has ended.
fn status(builds: &Builds, call: &mut Call) -> Result<(), Status> {
    let request: StatusRequest = call.message()?;
    let job = builds.jobs.find(&request.reference)?;
    let _watch = job.watch();
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
