//! Id mappings: user_namespaces(7), "Defining user and group ID mappings".

use std::fmt;

use super::namespace::{NamespaceKind, ValidNamespace, find};
use super::text::reject;
use crate::error::Result;
use crate::oci::spec::IdMapping;

/// UID_GID_MAP_MAX_EXTENTS: how many lines a map may have.
const LINES: usize = 340;

/// Checks the container's mappings against its user namespace.
pub(super) fn validate_user_namespace(
    namespaces: &[ValidNamespace<'_>],
    uid_mappings: &[IdMapping],
    gid_mappings: &[IdMapping],
) -> Result<()> {
    let user = find(namespaces, NamespaceKind::User);
    for (field, mappings) in [("linux.uidMappings", uid_mappings), ("linux.gidMappings", gid_mappings)] {
        validate_mappings(format_args!("{field}"), mappings)?;
        match user {
            None if !mappings.is_empty() => {
                reject!("{field}: needs a user namespace: add \"user\" to linux.namespaces");
            }
            Some(ValidNamespace { path: None, .. })
                if mappings.is_empty() && uid_mappings.len() != gid_mappings.len() =>
            {
                reject!(
                    "{field}: missing: the other ids are mapped, and these need at least one mapping as well"
                );
            }
            // For a namespace that is joined: containerd and CRI-O give its mappings.
            _ => {}
        }
    }
    Ok(())
}

/// Checks what the kernel would check when the map is written: no empty range, no overflow, no overlap.
pub(super) fn validate_mappings(field: fmt::Arguments<'_>, mappings: &[IdMapping]) -> Result<()> {
    if mappings.len() > LINES {
        reject!("{field}: has {} mappings, more than the kernel's limit of {LINES}", mappings.len());
    }
    for (index, &IdMapping { container_id, host_id, size }) in mappings.iter().enumerate() {
        if size == 0 {
            reject!("{field}[{index}].size: 0 maps nothing: write at least 1");
        }
        for (member, first) in [("containerID", container_id), ("hostID", host_id)] {
            if first.checked_add(size).is_none() {
                reject!("{field}[{index}].size: {size} ids from {member} {first} go beyond 4294967294");
            }
        }
        for (earlier, other) in mappings[..index].iter().enumerate() {
            let overlap = |a: u32, b: u32| a < b + other.size && b < a + size;
            if overlap(container_id, other.container_id) || overlap(host_id, other.host_id) {
                reject!("{field}[{index}]: overlaps with {field}[{earlier}]");
            }
        }
    }
    Ok(())
}
