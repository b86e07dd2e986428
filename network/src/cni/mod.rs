//! The Container Network Interface, specification 1.1
//! (<https://github.com/containernetworking/cni/blob/main/SPEC.md>): networks that other programs make. This
//! is the caller's side, and the documents of both sides.
//!
//! A [`Conflist`] names plugins. [`Attached`] puts it together with [`Parameters`] and calls them as programs
//! that [`Programs`] finds: ADD, CHECK, DEL; the network as a whole has GC and STATUS, a plugin VERSION. A
//! plugin gets its object of the configuration on stdin (`request`), answers with an [`AddResult`] or a
//! [`Refusal`] on stdout, and is killed if it takes too long. Nothing is read from the environment, and
//! nothing written to a file.
//!
//! # How a runtime uses it
//!
//! - `--cni FILE` is [`Conflist::read`], `--cni-network NAME` is [`Conflist::find`] in [`FOLDER`]; what it
//!   has skipped is a warning each. Both may be given several times: interfaces are eth0, eth1 and so on
//!   unless a name is given, and [`check_together`] finds two that are the same.
//! - [`Programs`]: the folders of CNI_PATH ([`parse_path`]) or [`FOLDERS`]; PATH for the environment, because
//!   plugins execute iptables and each other. How a program is run is the caller's: [`execute`] does it by
//!   the standard library, which takes 30 KB; a runtime that runs hooks has a way already, and needs stdout
//!   and stderr apart.
//! - [`Parameters`]: the container's id, which CNI restricts more than OCI does (no `+`, a letter or digit
//!   first); the path of the namespace; `--cni-args K=V;…` or an annotation; `--publish` by
//!   [`Capabilities::add_ports`], other capability arguments by [`Capabilities::add`]. One that no plugin
//!   wants is an error: a port would silently stay closed.
//! - The order, with the container's namespace there and its program not started: [`Attached::new`], a
//!   journal entry with [`Attached::to_json`], [`Attached::add`], the same entry with its result. To undo the
//!   entry, call [`Attached::from_json`] and [`Attached::delete`], as often as necessary; `delete --force`
//!   calls [`Attached::delete_forced`] and strikes the entry whatever comes of it. The configuration's file
//!   is not needed.
//! - The namespace's path may be that of a process (`/proc/PID/ns/net` of init). When DEL comes after that
//!   process's end, plugins are called without a namespace, also if the number is another process's by then.
//!   They can do less: the reference `bridge` then leaves its rules for `ipMasq` behind. A path that stays,
//!   made by bind mounting the namespace and undone after DEL, is what other callers give, and what is right
//!   where delete comes after the end.
//! - The result has the addresses for `state` and `list`, and `dns` for /etc/resolv.conf.
//! - GC and the two others exclude each other, as the specification wants it: a lock of the caller's, shared
//!   for ADD and DEL, exclusive for GC. [`ValidAttachment`]s are those of all containers, in all state
//!   folders.

mod argument;
mod attached;
mod call;
mod capability;
mod chain;
mod conflist;
mod folder;
mod process;
mod program;
mod refusal;
mod request;
mod result;
mod version;
mod writer;

pub(crate) use call::Operation;

pub use argument::{check_container_id, check_interface_name, check_network_name, parse_args};
pub use attached::{Attached, INTERFACE, Parameters, check_together};
pub use capability::{Capabilities, parse_port_mappings};
pub use conflist::{Conflist, Plugin};
pub use folder::{FOLDER, Found};
pub use process::execute;
pub use program::{
    Ended, Execution, FOLDERS, LIMIT, OUTPUT_MAX, Programs, STDERR_KEPT, parse_path, quote_stderr,
};
pub use refusal::Refusal;
pub use request::{Request, ValidAttachment};
pub use result::{AddResult, Dns, ResultAddress, ResultInterface, ResultRoute};
pub use version::{Supported, Version};

#[cfg(test)]
mod tests;
