//! create, start, run, pause, resume, kill, delete.

use pillbox::ContainerId;
use pillbox::container::{self, Readiness, Target};
use pillbox::error::{Result, Warning};
use pillbox::oci::signal;
use pillbox::state::Root;

use super::{bundle, container_id, create_options, networks, notify_socket, root, warn};
use crate::arguments::{Arguments, Global};

pub fn create(global: &Global, arguments: Arguments) -> Result<u8> {
    let id = container_id(&arguments)?;
    let mut options = create_options(global, &arguments, true)?;
    options.networks = networks(global, &arguments)?;
    container::create(&root(global), &id, &bundle(global, &arguments)?, &options, &mut |warning| {
        warn(global, &warning)
    })?;
    Ok(0)
}

pub fn start(global: &Global, arguments: Arguments) -> Result<u8> {
    let (root, id) = (root(global), container_id(&arguments)?);
    start_and_wait(&root, &id, &mut |warning| warn(global, &warning))?;
    Ok(0)
}

/// Starts a container. If a service manager waits for a notification, waits until the container has sent it.
fn start_and_wait(root: &Root, id: &ContainerId, warn: &mut dyn FnMut(Warning)) -> Result<()> {
    let manager = notify_socket();
    let readiness = container::start_heard(root, id, manager.as_deref(), warn)?;
    readiness.map_or(Ok(()), Readiness::wait)
}

pub fn run(global: &Global, arguments: Arguments) -> Result<u8> {
    let (root, id) = (root(global), container_id(&arguments)?);
    let detach = arguments.is_set("detach");
    let mut options = create_options(global, &arguments, detach)?;
    options.networks = networks(global, &arguments)?;
    let bundle = bundle(global, &arguments)?;
    if detach {
        let mut note = |warning: Warning| warn(global, &warning);
        container::create(&root, &id, &bundle, &options, &mut note)?;
        return match start_and_wait(&root, &id, &mut note) {
            Ok(()) => Ok(0),
            Err(error) => {
                if let Err(left) = container::delete(&root, &id, true, &mut note) {
                    note(Warning::left_behind(format_args!("clean up container {id}: {left}")));
                }
                Err(error)
            }
        };
    }
    let keep = arguments.is_set("keep");
    let ended = container::run(&root, &id, &bundle, &options, keep, &mut |warning| warn(global, &warning))?;
    Ok(ended.status)
}

pub fn kill(global: &Global, arguments: Arguments) -> Result<u8> {
    let name = if arguments.operands.len() > 1 { arguments.operand(1)? } else { "TERM" };
    let signal = if name == "0" { None } else { Some(signal::parse(name)?) };
    let target = if arguments.is_set("all") { Target::All } else { Target::Init };
    if arguments.is_set("regex") {
        container::kill_matching(&root(global), arguments.operand(0)?, signal, target)?;
    } else {
        container::kill(&root(global), &container_id(&arguments)?, signal, target)?;
    }
    Ok(0)
}

pub fn pause(global: &Global, arguments: Arguments) -> Result<u8> {
    container::pause(&root(global), &container_id(&arguments)?)?;
    Ok(0)
}

pub fn resume(global: &Global, arguments: Arguments) -> Result<u8> {
    container::resume(&root(global), &container_id(&arguments)?)?;
    Ok(0)
}

pub fn delete(global: &Global, arguments: Arguments) -> Result<u8> {
    let (root, force) = (root(global), arguments.is_set("force"));
    let warn = &mut |warning: Warning| warn(global, &warning);
    if arguments.is_set("regex") {
        container::delete_matching(&root, arguments.operand(0)?, force, warn)?;
    } else {
        container::delete(&root, &container_id(&arguments)?, force, warn)?;
    }
    Ok(0)
}

pub fn destroy(global: &Global, arguments: Arguments) -> Result<u8> {
    container::delete(&root(global), &container_id(&arguments)?, true, &mut |warning| {
        warn(global, &warning)
    })?;
    Ok(0)
}
