//! What the attributes of a link message are called (linux/if_link.h).

use crate::field::{Inside, Name, Names};

pub(super) const LINK: Names = &[
    Name(1, "hardware address", Inside::Value),
    Name(3, "name", Inside::Value),
    Name(4, "MTU", Inside::Value),
    Name(5, "parent", Inside::Value),
    Name(10, "master", Inside::Value),
    Name(18, "info", Inside::Nest(INFO)),
    Name(28, "network namespace", Inside::Value),
];

const INFO: Names = &[
    Name(1, "kind", Inside::Value),
    Name(2, "data", Inside::Nest(&[])),
    Name(5, "port data", Inside::Nest(&[])),
];
