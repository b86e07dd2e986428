//! CHECK and GC: what the plugins of all containers below a root folder find wrong, and what they are to
//! drop.

use pillbox_network::cni::ValidAttachment;

use super::cni::{self, CniNetwork, CniSettings};
use super::worded;
use crate::error::{Kind, Result};
use crate::oci::ContainerId;
use crate::state::{Root, StateDirectory};

/// Asks the plugins of all containers that have some whether everything is as they have left it (CHECK). The
/// result is what they find wrong, a line each.
///
/// # Errors
/// The root folder cannot be read.
pub fn check_attachments(root: &Root) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    if root.ids()?.is_empty() {
        return Ok(problems);
    }
    // What is just being connected or disconnected would look wrong.
    let _exclusive = root.keep_attachments()?;
    for id in root.ids()? {
        let checked = with_container(root, &id, |directory| check(directory, &mut problems));
        problems.extend(checked.err().map(|error| format!("container {id}: {error}")));
    }
    Ok(problems)
}

fn check(directory: &StateDirectory, problems: &mut Vec<String>) -> Result<()> {
    let Some((programs, all)) = cni::read(directory)? else { return Ok(()) };
    for attached in &all {
        // False is for those whose version has no CHECK.
        if let Err(error) = attached.check(&programs) {
            problems.push(format!("container {}: {error}", directory.id()));
        }
    }
    Ok(())
}

/// Tells the plugins of these networks which containers below a root folder they have, so that they drop what
/// they keep of others (GC). No container is connected or disconnected meanwhile. The result is what was not
/// done, a line each.
///
/// # Errors
/// A plugin fails; what is recorded of a container cannot be read: its network might be taken away.
pub fn collect_garbage(root: &Root, networks: &[CniNetwork], settings: &CniSettings) -> Result<Vec<String>> {
    let _exclusive = root.keep_attachments()?;
    let programs = cni::programs(&settings.folders, settings.path.as_deref());
    let mut undone = Vec::new();
    for network in networks {
        let conflist = network.conflist();
        let mut valid = Vec::new();
        for id in root.ids()? {
            with_container(root, &id, |directory| list(directory, &conflist.name, &mut valid))?;
        }
        if !conflist.collect_garbage(&programs, &valid).map_err(worded)? {
            undone.push(format!(
                "network {}: its plugins have not been called: GC is forbidden there (disableGC), or its cniVersion is before 1.1.0",
                conflist.name
            ));
        }
    }
    Ok(undone)
}

fn list(directory: &StateDirectory, network: &str, valid: &mut Vec<ValidAttachment>) -> Result<()> {
    let Some((_, all)) = cni::read(directory)? else { return Ok(()) };
    for attached in all.iter().filter(|attached| attached.conflist().name == network) {
        let parameters = attached.parameters();
        valid.push(ValidAttachment {
            container_id: parameters.container_id.clone(),
            ifname: parameters.interface.clone(),
        });
    }
    Ok(())
}

/// One that has been deleted meanwhile needs nothing.
fn with_container(
    root: &Root,
    id: &ContainerId,
    act: impl FnOnce(&StateDirectory) -> Result<()>,
) -> Result<()> {
    match root.find(id) {
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        found => act(&found?),
    }
}
