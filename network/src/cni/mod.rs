//! The Container Network Interface, specification 1.1 (<https://github.com/containernetworking/cni/blob/main/SPEC.md>):
//! networks that other programs make.

mod argument;
mod capability;
mod conflist;
mod folder;
mod refusal;
mod request;
mod result;
mod version;
mod writer;

pub use argument::{check_container_id, check_interface_name, check_network_name, parse_args};
pub use capability::{Capabilities, parse_port_mappings};
pub use conflist::{Conflist, Plugin};
pub use folder::{FOLDER, Found};
pub use refusal::Refusal;
pub use request::{Request, ValidAttachment};
pub use result::{AddResult, Dns, ResultAddress, ResultInterface, ResultRoute};
pub use version::{Supported, Version};
