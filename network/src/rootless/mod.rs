//! Networks for an ordinary user's container. Such a user makes no interfaces on the host; a program in user
//! mode does the container's traffic with sockets of its own: pasta (Debian's package passt), else
//! slirp4netns. Both show the container the addresses of its clients at published ports.
//!
//! A runtime calls
//! 1. [`prepare`] before it makes anything: finds the program, checks the ports. From now on
//!    [`Prepared::name_server`] is known, for the container's resolv.conf.
//! 2. [`Prepared::start`] when the container's init stands in its new user and network namespaces, with its
//!    ids mapped, and waits: where createRuntime hooks run. When it returns the container has `eth0` with
//!    addresses and routes, `lo` is up, and the ports are open. The program keeps what the caller has at that
//!    moment: cgroup, processors, priority.
//! 3. [`Helper::end`] at delete, and when anything after `start` fails. The record is all that it needs.
//!
//! A runtime may be killed at any moment: the program watches by itself for the end of the container's first
//! process, as far as it can:
//! - pasta of August 2024 or later ends within a second after that process has been waited for.
//! - Older pasta, as in Debian 12, can only watch a folder. It ends when `netns`, a link that `start` makes
//!   in the container's state folder, is removed, for instance with the folder.
//! - slirp4netns ends as soon as that process has been waited for; before Linux 6.9 only by [`Helper::end`].
//!
//! ```no_run
//! use std::path::Path;
//!
//! use pillbox_network::Port;
//! use pillbox_network::rootless::{self, Options, Tools};
//! use rustix::process::Pid;
//!
//! let path = std::env::var_os("PATH").unwrap_or_default();
//! let options = Options { mtu: None, ipv6: true, name_server: None };
//! let prepared = rootless::prepare(&Tools { search_path: &path }, &Port::parse("8080:80")?, &options)?;
//! let resolv_conf = format!("nameserver {}\n", prepared.name_server());
//! let init = Pid::from_raw(4711).expect("the container's first process");
//! let helper = prepared.start(init, Path::new("/run/user/1000/pillbox/web"))?;
//! helper.end()?;
//! # Ok::<(), pillbox_network::Error>(())
//! ```

mod helper;
pub mod pasta;
mod process;
mod reservation;
pub mod slirp4netns;
mod target;
mod unrecorded;

use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use pillbox_json::Value;
use pillbox_json::reader::{Failed, Reader};
use rustix::fs::Access;
use rustix::process::{Pid, Signal};
use serde::{Serialize, Serializer};

use crate::error::{Error, Kind, Result};
use crate::ip;
use crate::port::Port;

use self::pasta::Dialect;

pub use helper::Helper;
pub use reservation::bind_ports;
pub use target::Target;
pub use unrecorded::end_unrecorded;

/// The interface's name in the container.
pub const INTERFACE: &str = "eth0";

/// Where programs are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Tools<'a> {
    /// Folders with colons in between, as in `PATH`. Those that are not absolute are left out.
    pub search_path: &'a OsStr,
}

/// A program that connects a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Program {
    /// pasta(1).
    #[default]
    Pasta,
    /// slirp4netns(1).
    Slirp4netns,
}

/// What the container's network is like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The largest packet in bytes; none: 65520.
    pub mtu: Option<u16>,
    /// IPv6 as well, where the host has it.
    pub ipv6: bool,
    /// Where pasta takes questions to the host's name server; none: 169.254.1.1. That of slirp4netns is
    /// always 10.0.2.3.
    pub name_server: Option<IpAddr>,
}

/// A program and what it will do, all of it checked.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The program.
    pub program: Program,
    path: PathBuf,
    /// The ports, with those of the host that were chosen.
    pub ports: Vec<Port>,
    options: Options,
}

impl Program {
    const ALL: [Program; 2] = [Program::Pasta, Program::Slirp4netns];

    /// `pasta` or `slirp4netns`.
    pub fn name(self) -> &'static str {
        match self {
            Program::Pasta => "pasta",
            Program::Slirp4netns => "slirp4netns",
        }
    }

    fn of_name(name: &str) -> Option<Program> {
        Program::ALL.into_iter().find(|program| program.name() == name)
    }
}

impl Serialize for Program {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Value<'_> for Program {
    fn read(&mut self, reader: &mut Reader<'_>) -> std::result::Result<(), Failed> {
        *self = ip::read(reader, "pasta or slirp4netns", Program::of_name)?;
        Ok(())
    }
}

impl Tools<'_> {
    /// The first of pasta and slirp4netns that is installed.
    ///
    /// # Errors
    /// Neither is.
    fn find(&self) -> Result<(Program, PathBuf)> {
        let folders =
            self.search_path.as_bytes().split(|byte| *byte == b':').filter(|name| name.starts_with(b"/"));
        for program in Program::ALL {
            for folder in folders.clone() {
                let path = Path::new(OsStr::from_bytes(folder)).join(program.name());
                if path.is_file() && rustix::fs::access(&path, Access::EXEC_OK).is_ok() {
                    return Ok((program, path));
                }
            }
        }
        let text = "an ordinary user's container gets a network by pasta or slirp4netns, and neither is in PATH: install \
                    the package passt or slirp4netns; without them there is the host's network, or none";
        Err(Error::new(Kind::Missing, text))
    }
}

/// Finds a program, and checks what is asked of it. Ports of the host that are 0 are chosen.
///
/// # Errors
/// No program; a port that is taken, reserved for root or not of a kind that can be published; an option that
/// the program does not have.
pub fn prepare(tools: &Tools<'_>, ports: &[Port], options: &Options) -> Result<Prepared> {
    let (program, path) = tools.find()?;
    if let Some(mtu) = options.mtu.filter(|mtu| !(68..=65520).contains(mtu)) {
        return Err(Error::invalid(format_args!("mtu {mtu}: must be from 68 to 65520")));
    }
    if let (Program::Slirp4netns, Some(ip)) = (program, options.name_server) {
        let own = slirp4netns::NAME_SERVER;
        return Err(Error::invalid(format_args!("name server {ip}: slirp4netns has its own, {own}")));
    }
    let ports = reservation::reserve(program, ports, options)?;
    Ok(Prepared { program, path, ports, options: options.clone() })
}

impl Prepared {
    /// What the container's resolv.conf must name: leads to the host's name server.
    pub fn name_server(&self) -> IpAddr {
        match self.program {
            Program::Pasta => self.options.name_server(),
            Program::Slirp4netns => slirp4netns::NAME_SERVER.into(),
        }
    }

    /// Starts the program for the network namespace of a process, and waits until the network is there, at
    /// most 10 s. `folder` is the container's state folder, which its deletion removes.
    ///
    /// # Errors
    /// What the program has written to stderr; it took too long. Nothing is left of it then.
    pub fn start(&self, container: Pid, folder: &Path) -> Result<Helper> {
        let Prepared { program, path, ports, options } = self;
        let target = Target::of(container)?;
        let started = match program {
            Program::Pasta => pasta::start(path, &target, folder, ports, options),
            Program::Slirp4netns => {
                slirp4netns::start(path, &target, folder, ports, options).map(|pid| (pid, Dialect::Current))
            }
        };
        let recorded = started.and_then(|(pid, dialect)| match Helper::of(*program, pid, ports) {
            Ok(helper) => Ok(Helper { old: dialect == Dialect::Old, ..helper }),
            Err(error) => {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
                Err(error)
            }
        });
        recorded.map_err(|error| {
            for name in [pasta::LINK, slirp4netns::SOCKET] {
                let _ = std::fs::remove_file(folder.join(name));
            }
            error.after(program.name())
        })
    }
}

#[cfg(test)]
mod tests;
