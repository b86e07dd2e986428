//! `mounts[]` and id mappings.

use super::json::{List, Text, object};

object! {
    /// One mount, in the order in which they are made.
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
    /// `size` ids from `container_id` inside are those from `host_id` outside.
    IdMapping {
        "containerID" required => container_id: u32,
        "hostID" required => host_id: u32,
        "size" required => size: u32,
    }
}
