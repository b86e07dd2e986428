//! `mounts[]` and id mappings.

use super::json::{List, Text};
use super::object::object;

object! {
    /// One mount; they are made in their order.
    Mount<'a> {
        "destination" => destination: Text<'a>,
        "type" => kind: Option<Text<'a>>,
        "source" => source: Option<Text<'a>>,
        "options" => options: List<Text<'a>>,
        "uidMappings" => uid_mappings: List<IdMapping>,
        "gidMappings" => gid_mappings: List<IdMapping>,
    }
}

object! {
    /// Maps `size` ids from `container_id` on inside to those from `host_id` on outside.
    IdMapping {
        "containerID" required => container_id: u32,
        "hostID" required => host_id: u32,
        "size" required => size: u32,
    }
}

impl IdMapping {
    /// The id outside of an id inside; `None` if the map does not have it.
    pub fn host_id(map: &[IdMapping], id: u32) -> Option<u32> {
        map.iter().find_map(|&IdMapping { container_id, host_id, size }| {
            let offset = id.checked_sub(container_id).filter(|offset| *offset < size)?;
            host_id.checked_add(offset)
        })
    }
}
