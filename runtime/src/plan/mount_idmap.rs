//! Id-mapped mounts: how the owners on a mount are mapped. Sources: mount_setattr(2), crun(1).

use super::namespace::Namespaces;
use super::{Builder, MountIdmap, MountOwners};
use crate::error::{Error, Result};
use crate::oci::spec::{IdMapping, Mount};
use crate::validate::{NamespaceKind, ValidSpec};

/// The mount option `idmap` or `ridmap`, with crun's maps after `=` if there are any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdmapOption<'a> {
    pub recursive: bool,
    pub maps: Option<&'a str>,
}

impl<'a> IdmapOption<'a> {
    pub fn parse(option: &'a str) -> Option<Self> {
        let (word, maps) = match option.split_once('=') {
            Some((word, maps)) => (word, Some(maps)),
            None => (option, None),
        };
        let recursive = match word {
            "idmap" => false,
            "ridmap" => true,
            _ => return None,
        };
        Some(IdmapOption { recursive, maps })
    }
}

/// How the owners on a mount are mapped, if they are: by the mount's own maps, else by the container's.
///
/// # Errors
/// The mount is no bind mount, the runtime may not map its owners, or the maps are malformed.
pub fn compile(
    builder: &Builder<'_>,
    spec: &ValidSpec<'_>,
    namespaces: &Namespaces,
    field: &str,
    mount: &Mount<'_>,
    option: Option<IdmapOption<'_>>,
    bind: bool,
) -> Result<Option<MountIdmap>> {
    let has_maps = !mount.uid_mappings.is_empty();
    if option.is_none() && !has_maps {
        return Ok(None);
    }
    let asking = if option.is_some() { "options: \"idmap\"" } else { "uidMappings" };
    if !bind {
        return Err(Error::formatted(format_args!(
            "{field}.{asking}: only bind mounts can be id-mapped: add the option \"bind\""
        )));
    }
    if !builder.host.privileged {
        return Err(Error::formatted(format_args!(
            "{field}.{asking}: mapping a mount's owners needs CAP_SYS_ADMIN where its file system was mounted: \
             run pillbox as root, or leave it out"
        )));
    }
    let recursive = option.is_some_and(|option| option.recursive);
    let owners = match option.and_then(|option| option.maps) {
        Some(maps) => parse_maps(&format!("{field}.options"), maps, spec)?,
        None if has_maps => {
            MountOwners::Maps { uid: mount.uid_mappings.to_vec(), gid: mount.gid_mappings.to_vec() }
        }
        None => match namespaces.joined.iter().find(|(kind, _)| *kind == NamespaceKind::User) {
            Some((_, path)) => MountOwners::Namespace(path.clone()),
            None => MountOwners::Maps { uid: spec.uid_mappings.to_vec(), gid: spec.gid_mappings.to_vec() },
        },
    };
    Ok(Some(MountIdmap { owners, recursive }))
}

/// `uids=0-1-10#10-11-10;gids=…`: triplets of an id on disk, an id on the host, and a count. After `@` the
/// second is an id in the container instead.
fn parse_maps(field: &str, text: &str, spec: &ValidSpec<'_>) -> Result<MountOwners> {
    let wrong = |part: &str| {
        Error::formatted(format_args!(
            "{field}: idmap: {part:?} is not of the form uids=0-100000-65536;gids=0-100000-65536"
        ))
    };
    let (mut uid, mut gid) = (Vec::new(), Vec::new());
    for part in text.split(';') {
        let (map, container, triplets) = match part.split_once('=') {
            Some(("uids", triplets)) => (&mut uid, &spec.uid_mappings, triplets),
            Some(("gids", triplets)) => (&mut gid, &spec.gid_mappings, triplets),
            _ => return Err(wrong(part)),
        };
        for triplet in triplets.split('#') {
            let (relative, numbers) = match triplet.strip_prefix('@') {
                Some(numbers) => (true, numbers),
                None => (false, triplet),
            };
            let numbers: Vec<u32> = numbers
                .split('-')
                .map(|number| number.parse().map_err(|_| wrong(triplet)))
                .collect::<Result<_>>()?;
            let [container_id, mapped_to, size @ 1..=u32::MAX] = numbers[..] else {
                return Err(wrong(triplet));
            };
            let host_id = if relative { IdMapping::host_id(container, mapped_to) } else { Some(mapped_to) };
            let host_id = host_id.ok_or_else(|| {
                Error::formatted(format_args!(
                    "{field}: idmap: {triplet:?}: the container's user namespace does not map {mapped_to}"
                ))
            })?;
            map.push(IdMapping { container_id, host_id, size });
        }
    }
    if uid.is_empty() || gid.is_empty() {
        return Err(wrong(text));
    }
    Ok(MountOwners::Maps { uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::spec::json::List;

    fn maps(text: &str) -> Result<MountOwners> {
        let mapping = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        let map = || List(vec![mapping(0, 500, 1), mapping(1, 1002, 1000)]);
        let spec = ValidSpec { uid_mappings: map(), gid_mappings: map(), ..ValidSpec::default() };
        parse_maps("mounts[0].options", text, &spec)
    }

    #[test]
    fn maps_after_the_option_are_absolute_or_the_containers() {
        let Ok(MountOwners::Maps { uid, gid }) = maps("uids=0-1-10#10-11-5;gids=@1-3-10") else {
            panic!("no maps")
        };
        let numbers =
            |map: &[IdMapping]| map.iter().map(|m| (m.container_id, m.host_id, m.size)).collect::<Vec<_>>();
        assert_eq!(numbers(&uid), [(0, 1, 10), (10, 11, 5)]);
        assert_eq!(numbers(&gid), [(1, 1004, 10)]);
    }

    #[test]
    fn half_maps_are_refused() {
        for text in [
            "",
            "uids=0-1-10",
            "uids=0-1;gids=0-1-1",
            "uids=0-1-0;gids=0-1-1",
            "uids=a-1-1;gids=0-1-1",
            "gids=@0-5000-1;uids=0-0-1",
        ] {
            assert!(maps(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_option_is_told_from_data() {
        assert_eq!(IdmapOption::parse("ridmap"), Some(IdmapOption { recursive: true, maps: None }));
        assert_eq!(IdmapOption::parse("idmap=uids=0-0-1").and_then(|option| option.maps), Some("uids=0-0-1"));
        assert_eq!(IdmapOption::parse("idmapped"), None);
    }
}
