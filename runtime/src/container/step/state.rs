//! The state folder, and what is recorded in it.

use std::time::SystemTime;

use super::{Line, Making, Prepared, Step, too_early};
use crate::cgroup::Cgroup;
use crate::console;
use crate::container::networks::Attached;
use crate::error::{Context, Result};
use crate::spawn::notify;
use crate::state::{ProcessId, Record, StateDirectory, boot_id};
use crate::text::json::Members;
use crate::text::time;
use crate::validate::ValidSpec;

/// Makes the state folder, which reserves the id.
pub struct MakeFolder;

impl Step for MakeFolder {
    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        making.directory = Some(making.root.reserve(making.id)?);
        Ok(())
    }
}

/// Makes the folder of the container's own NOTIFY_SOCKET.
pub struct MakeNotifyFolder;

impl Step for MakeNotifyFolder {
    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        match making.options.line.notify {
            Some(_) => notify::make_folder(making.directory()?.folder()),
            None => Ok(()),
        }
    }
}

/// Makes the socket at which init waits for `start`.
pub struct MakeGate;

impl Step for MakeGate {
    fn is_for(&self, prepared: &Prepared<'_>) -> bool {
        prepared.plan.waits_for_start()
    }

    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        making.gate = Some(StateDirectory::make_gate()?);
        Ok(())
    }
}

/// Gives the gate its name.
pub struct OpenGate;

impl Step for OpenGate {
    fn is_for(&self, prepared: &Prepared<'_>) -> bool {
        MakeGate.is_for(prepared)
    }

    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        let gate = making.gate.as_ref().ok_or_else(|| too_early("gate"))?;
        making.directory()?.open_gate(gate)
    }
}

/// Writes state.json under another name: an unfinished container does not count.
pub struct Write;

impl Step for Write {
    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        let record = record_of(making)?;
        if making.cgroup.is_none() {
            making.directory()?.note_process(&record)?;
        }
        making.directory()?.store(&record, &making.bundle.config)?;
        making.record = Some(record);
        Ok(())
    }
}

fn record_of(making: &Making<'_, '_>) -> Result<Record> {
    let (prepared, init, cgroup) = (making.prepared, making.init()?, making.cgroup.as_ref());
    let ProcessId { pid, pidfd_inode, start_time } = ProcessId::of(init.pid, &init.process)?;
    Ok(Record {
        oci_version: prepared.oci_version.clone(),
        id: making.id.to_string(),
        pid,
        pidfd_inode,
        start_time,
        boot_id: boot_id()?,
        bundle: making.bundle.path.display().to_string(),
        rootfs: prepared.rootfs.clone(),
        created: time::rfc3339(SystemTime::now()),
        owner: rustix::process::geteuid().as_raw().to_string(),
        cgroup: cgroup.map(|cgroup| cgroup.path().as_str().to_string()),
        cgroup_inode: cgroup.map_or(Ok(0), Cgroup::inode)?,
        systemd_unit: making.unit.clone(),
        annotations: Members(prepared.annotations.clone()),
        chrooted: prepared.is_chrooted(),
        startable: !prepared.spec().process.args.is_empty(),
        hooks: has_later_hooks(prepared.spec()),
        network: making.attached.as_ref().map_or(Vec::new(), Attached::records).into(),
    })
}

fn has_later_hooks(spec: &ValidSpec<'_>) -> bool {
    let hooks = &spec.hooks;
    !(hooks.start_container.is_empty() && hooks.poststart.is_empty() && hooks.poststop.is_empty())
}

/// Gives state.json its name: from here on the container exists.
pub struct Publish;

impl Step for Publish {
    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        making.directory()?.publish()
    }

    fn lines(&self, prepared: &Prepared<'_>, lines: &mut Vec<Line>) -> Result<()> {
        lines.push(("WriteState", format!("OCI version {}", prepared.oci_version)));
        for (key, value) in &prepared.annotations {
            lines.push(("Annotate", format!("{key} = {value}")));
        }
        Ok(())
    }
}

/// Sends init's pidfd to `--pidfd-socket`.
pub struct SendPidfd;

impl Step for SendPidfd {
    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        let Some(socket) = &making.options.line.pidfd_socket else { return Ok(()) };
        console::send_descriptor(socket, &making.init()?.process, "pidfd").context(|| "--pidfd-socket")
    }
}
