//! pasta(1); those of March 2023 (Debian 12) and of 2026 were tried.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Stdio;

use rustix::process::Pid;

use super::process::{Process, errno, is_readable, pipe};
use super::{INTERFACE, Options, Target};
use crate::error::{Context, Error, Kind, Result};
use crate::port::{Port, Protocol};

/// The address that stands for the host's name server: link-local, so that it hides no other.
const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// The link to the network namespace, for a pasta that can only watch a folder.
pub(super) const LINK: &str = "netns";

/// Which options there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Of August 2024 and later.
    Current,
    /// Before that, as in Debian 12.
    Old,
}

impl Options {
    pub(super) fn name_server(&self) -> IpAddr {
        self.name_server.unwrap_or(NAME_SERVER.into())
    }
}

/// The arguments, with spaces in between. It writes its pid to stdout; the working directory is the
/// container's state folder.
pub fn compile(target: &Target, ports: &[Port], options: &Options, dialect: Dialect) -> String {
    let mut text = format!(
        "--quiet --config-net --ns-ifname {INTERFACE} --pid /proc/self/fd/1 --dns-forward {}",
        options.name_server()
    );
    let mut add = |argument: fmt::Arguments<'_>| {
        let _ = text.write_fmt(argument);
    };
    if let Some(mtu) = options.mtu {
        add(format_args!(" --mtu {mtu}"));
    }
    for ports in ports.chunk_by(continues) {
        let (first, last) = (ports[0], ports[ports.len() - 1]);
        add(format_args!(" {} ", flag(first.protocol)));
        if let Some(ip) = first.host_ip {
            add(format_args!("{ip}/"));
        }
        let (from, to) = (first.host_port, last.host_port);
        add(format_args!("{from}-{to}:{}-{}", first.container_port, last.container_port));
    }
    // What is not said is forwarded as it comes, from the host and from the container.
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        if !ports.iter().any(|port| port.protocol == protocol) {
            add(format_args!(" {} none", flag(protocol)));
        }
    }
    add(format_args!(" -T none -U none"));
    if target.has_own_users {
        add(format_args!(" --userns {}", target.namespace("user")));
    }
    match dialect {
        Dialect::Current => {
            add(format_args!(" --map-host-loopback none --netns {}", target.namespace("net")))
        }
        // Without a slash it would be a name in /run/netns.
        Dialect::Old => add(format_args!(" --no-map-gw --netns ./{LINK}")),
    }
    if !options.ipv6 {
        add(format_args!(" --ipv4-only"));
    }
    text
}

fn flag(protocol: Protocol) -> &'static str {
    if protocol == Protocol::Udp { "-u" } else { "-t" }
}

/// Whether both can be in one range.
fn continues(one: &Port, next: &Port) -> bool {
    let Port { protocol, host_ip, host_port, container_port } = *one;
    let after = |port: u16| port.checked_add(1);
    (protocol, host_ip, after(host_port), after(container_port))
        == (next.protocol, next.host_ip, Some(next.host_port), Some(next.container_port))
}

/// Starts it, and returns its pid, and how it was spoken to.
pub(super) fn start(
    path: &Path,
    target: &Target,
    folder: &Path,
    ports: &[Port],
    options: &Options,
) -> Result<(Pid, Dialect)> {
    match run(path, folder, &compile(target, ports, options, Dialect::Current)) {
        // It has looked at nothing else yet.
        Err(error) if error.kind() == Kind::Invalid => {}
        result => return Ok((result?, Dialect::Current)),
    }
    std::os::unix::fs::symlink(target.namespace("net"), folder.join(LINK))
        .map_err(errno)
        .context(format_args!("make the link {LINK}"))?;
    let pid = run(path, folder, &compile(target, ports, options, Dialect::Old))?;
    Ok((pid, Dialect::Old))
}

/// When all is ready it goes on in a child, and the process that was started ends.
fn run(path: &Path, folder: &Path, arguments: &str) -> Result<Pid> {
    let (stdout, end) = pipe().context(format_args!("make a pipe"))?;
    let mut process = Process::spawn(path, folder, arguments, Stdio::null(), end)?;
    if !(process.listen() && process.succeeds()) {
        return Err(process.failed());
    }
    // The child may keep the pipe open: it has no end to wait for.
    let mut told = [0; 16];
    if is_readable(&stdout, 0) {
        let _ = rustix::io::read(&stdout, &mut told);
    }
    let digits = told.iter().take_while(|byte| byte.is_ascii_digit());
    let pid = digits.fold(0, |pid: i32, byte| pid.wrapping_mul(10).wrapping_add(i32::from(byte - b'0')));
    Pid::from_raw(pid).ok_or_else(|| Error::new(Kind::Host, "has not told its pid"))
}
