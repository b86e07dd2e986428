//! `/containers`: a file for each kind of work.

mod attach;
mod body;
mod create;
mod files;
mod host_config;
mod life;
mod list;
mod logs;
mod usage;
mod wait;

pub use attach::{attach, attach_by_web_socket};
pub use body::{EndpointBody, Resources, Words};
pub use create::create;
pub use files::{changes, export, get_archive, head_archive, put_archive};
pub use host_config::{connection, limits};
pub use life::{
    inspect, kill, pause, remove, rename, resize, restart, size, start, stop, unpause, with_dockers_words,
};
pub use list::{list, list_all};
pub use logs::{logs, moment};
pub use usage::{prune, stats, top, update};
pub use wait::wait;

use super::daemon::Daemon;
use super::exchange::Exchange;
use super::fault::{Fault, Outcome};
use crate::container::{ContainerRecord, Status};
use crate::store::ContainerFolder;

/// The container that the path names.
fn named(daemon: &Daemon, exchange: &Exchange<'_>) -> Outcome<(ContainerFolder, ContainerRecord)> {
    let folder = daemon.container(exchange.parameter(0))?;
    let record = ContainerRecord::of(&folder)?;
    Ok((folder, record))
}

/// The same, where it must run.
fn running(daemon: &Daemon, exchange: &Exchange<'_>) -> Outcome<(ContainerFolder, ContainerRecord)> {
    let (folder, record) = named(daemon, exchange)?;
    match Status::of(&daemon.store, &folder)?.is_alive() {
        true => Ok((folder, record)),
        false => Err(not_running(&record)),
    }
}

/// Docker's words.
pub fn not_running(record: &ContainerRecord) -> Fault {
    Fault::conflict(format!("container {} is not running", record.id))
}
