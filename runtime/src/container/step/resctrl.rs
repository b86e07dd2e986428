//! `linux.intelRdt`: the class of service that the container's processes are in.

use std::path::Path;

use rustix::io::Errno;

use super::{Line, Making, Prepared, Step};
use crate::error::{Context, Kind, Result};
use crate::state::{StateDirectory, resctrl};

/// Finds or makes the class and the monitoring group.
pub struct Prepare;

impl Step for Prepare {
    fn is_for(&self, prepared: &Prepared<'_>) -> bool {
        prepared.spec().intel_rdt.is_some()
    }

    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        if let Some(intel_rdt) = &making.prepared.spec().intel_rdt {
            making.group = Some(resctrl::prepare(intel_rdt, making.id, making.directory()?)?);
        }
        Ok(())
    }

    fn kind(&self) -> Kind {
        Kind::Limit
    }

    fn lines(&self, prepared: &Prepared<'_>, lines: &mut Vec<Line>) -> Result<()> {
        let class = prepared.spec().intel_rdt.as_ref().and_then(|intel_rdt| intel_rdt.clos_id.as_deref());
        let class = class.filter(|class| !class.is_empty());
        lines.push(("JoinResctrl", format!("class {}", class.unwrap_or("of the container's id"))));
        Ok(())
    }
}

/// Puts init there; its children start there.
pub struct Enter;

impl Step for Enter {
    fn is_for(&self, prepared: &Prepared<'_>) -> bool {
        Prepare.is_for(prepared)
    }

    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        let pid = making.init()?.pid;
        making.group.as_ref().map_or(Ok(()), |group| group.add(pid))
    }

    fn kind(&self) -> Kind {
        Kind::Limit
    }
}

/// Removes a class or group that was made for the container. With a class, the monitoring groups in it go,
/// too.
pub fn remove(_: &StateDirectory, folder: &Path) -> Result<()> {
    match rustix::fs::rmdir(folder) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).context(|| format!("remove {}", folder.display())),
    }
}
