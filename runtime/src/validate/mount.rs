//! Mounts and settings that are mounts: masked and read-only paths, propagation.

use std::fmt;

use super::id_mapping::validate_mappings;
use super::namespace::{NamespaceKind, ValidNamespace, find};
use super::text::{check_absolute, check_optional, check_text, check_texts, reject};
use crate::error::{Result, Warning, WarningKind};
use crate::oci::spec::Mount;
use crate::oci::spec::json::Text;

/// How mount events propagate between host and container: mount_namespaces(7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // mount(2)'s words
pub enum RootfsPropagation {
    /// The configuration does not set it.
    #[default]
    Default,
    Private,
    Slave,
    Shared,
    Unbindable,
}

pub(super) fn validate_mount(
    index: usize,
    mount: &mut Mount<'_>,
    namespaces: &[ValidNamespace<'_>],
    warnings: &mut Vec<Warning>,
) -> Result<()> {
    let Mount { destination, kind, source, options, uid_mappings, gid_mappings } = mount;
    let field = format_args!("mounts[{index}]");
    check_text(format_args!("{field}.destination"), destination)?;
    if destination.is_empty() {
        reject!("{field}.destination: missing: write a path inside the container");
    }
    if !destination.starts_with('/') {
        let absolute = format!("/{destination}");
        warnings.push(Warning::new(
            WarningKind::Ignored,
            format_args!("{field}.destination: {:?} is relative: taken as {absolute:?}", &**destination),
        ));
        *destination = Text(absolute.into());
    }
    check_optional(format_args!("{field}.type"), kind)?;
    check_optional(format_args!("{field}.source"), source)?;
    check_texts(format_args!("{field}.options"), options)?;
    validate_mappings(format_args!("{field}.uidMappings"), uid_mappings)?;
    validate_mappings(format_args!("{field}.gidMappings"), gid_mappings)?;
    let (is_mapped, has_gids) = (!uid_mappings.is_empty(), !gid_mappings.is_empty());
    if is_mapped != has_gids {
        let (there, missing) =
            if is_mapped { ("uidMappings", "gidMappings") } else { ("gidMappings", "uidMappings") };
        reject!("{field}.{missing}: missing: {there} needs it");
    }
    if let Some(option) = options.iter().find(|option| ["idmap", "ridmap"].contains(&&***option))
        && !is_mapped
        && find(namespaces, NamespaceKind::User).is_none()
    {
        reject!(
            "{field}.options: {option:?} needs uidMappings and gidMappings or a user namespace",
            option = &**option
        );
    }
    Ok(())
}

/// Checks paths that become mounts, which without a mount namespace would show on the host.
pub(super) fn validate_restricted_paths(
    field: fmt::Arguments<'_>,
    paths: &[Text<'_>],
    namespaces: &[ValidNamespace<'_>],
) -> Result<()> {
    if !paths.is_empty() && find(namespaces, NamespaceKind::Mount).is_none() {
        reject!("{field}: needs a mount namespace: add \"mount\" to linux.namespaces");
    }
    let mut paths = paths.iter().enumerate();
    paths.try_for_each(|(index, path)| check_absolute(format_args!("{field}[{index}]"), path))
}

pub(super) fn parse_propagation(propagation: Option<&str>) -> Result<RootfsPropagation> {
    Ok(match propagation.unwrap_or_default() {
        "" => RootfsPropagation::Default,
        "private" | "rprivate" => RootfsPropagation::Private,
        "slave" | "rslave" => RootfsPropagation::Slave,
        "shared" | "rshared" => RootfsPropagation::Shared,
        "unbindable" | "runbindable" => RootfsPropagation::Unbindable,
        other => {
            reject!("linux.rootfsPropagation: {other:?} is not one of private, slave, shared, unbindable")
        }
    })
}
