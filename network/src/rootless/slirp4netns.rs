//! slirp4netns(1); 1.2.0 and 1.3.3 were tried.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::io::{Errno, FdFlags};
use rustix::process::{Pid, PidfdFlags};

use super::process::{LIMIT, Process, errno, is_readable, one_line, pipe};
use super::{INTERFACE, Options, Target};
use crate::error::{Context, Error, Kind, Result};
use crate::ip::Ip;
use crate::port::Port;

/// The address that stands for the host's name server.
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

/// The socket for requests, in the container's state folder until the ports are published.
pub(super) const SOCKET: &str = "slirp4netns.sock";

/// The arguments, with spaces in between. The container's pidfd is its stdin, for the end of a process is an
/// event there; it tells on descriptor `ready` when it is ready; the working directory is the container's
/// state folder.
pub fn compile(target: &Target, ports: &[Port], options: &Options, ready: RawFd) -> String {
    let v6 = if options.ipv6 { " --enable-ipv6" } else { "" };
    let (mtu, pid) = (options.mtu.unwrap_or(65520), target.pid);
    let [api, socket] = if ports.is_empty() { ["", ""] } else { [" --api-socket=", SOCKET] };
    format!(
        "--configure --disable-host-loopback --enable-sandbox --enable-seccomp --exit-fd=0 --ready-fd={ready} \
         --mtu={mtu}{v6}{api}{socket} {pid} {INTERFACE}"
    )
}

/// Starts it, and returns its pid.
pub(super) fn start(
    path: &Path,
    target: &Target,
    folder: &Path,
    ports: &[Port],
    options: &Options,
) -> Result<Pid> {
    let opened = Descriptors::open(target).context(format_args!("open process {}", target.pid))?;
    let Descriptors { container, namespace, ready, end } = opened;
    let arguments = compile(target, ports, options, end.as_raw_fd());
    let mut process = Process::spawn(path, folder, &arguments, container.into(), namespace)?;
    drop(end);
    if !is_readable(&ready, LIMIT) || rustix::io::read(&ready, &mut [0]) != Ok(1) {
        return Err(process.failed());
    }
    let published = publish(folder, ports);
    if published.is_err() {
        process.end();
    }
    published.map(|()| process.pid())
}

/// What it is started with.
struct Descriptors {
    /// The pidfd of the container's process.
    container: OwnedFd,
    /// The container's network namespace. Where the kernel does not report the container's end on the pidfd,
    /// it would poll a lost interface without a pause. So it keeps the namespace, as its stdout, to which it
    /// writes nothing that matters.
    namespace: OwnedFd,
    /// Where it tells that it is ready.
    ready: OwnedFd,
    /// Its own end of that, which it inherits.
    end: OwnedFd,
}

impl Descriptors {
    fn open(target: &Target) -> rustix::io::Result<Descriptors> {
        let pid = Pid::from_raw(target.pid).ok_or(Errno::SRCH)?;
        let container = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        let namespace = File::open(target.namespace("net")).map_err(errno)?.into();
        let (ready, end) = pipe()?;
        rustix::io::fcntl_setfd(&end, FdFlags::empty())?;
        Ok(Descriptors { container, namespace, ready, end })
    }
}

/// Publishes the ports, and removes the socket, over which anybody could publish more.
fn publish(folder: &Path, ports: &[Port]) -> Result<()> {
    if ports.is_empty() {
        return Ok(());
    }
    let mut answer = Vec::new();
    let mut refused = None;
    let asked = File::open(folder).and_then(|folder| {
        // A socket's path may have only 107 bytes.
        let path = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
        for port in ports {
            answer.clear();
            ask(&path, &request(port), &mut answer)?;
            if !answer.starts_with(b"{\"return\"") {
                refused = Some(port);
                break;
            }
        }
        std::fs::remove_file(path)
    });
    if let Some(port) = refused {
        return Err(Error::new(Kind::PortTaken, format!("port {port} was refused: {}", one_line(&answer))));
    }
    asked.map_err(errno).context(format_args!("publish ports by {SOCKET}"))
}

/// One request, as slirp4netns(1) words it.
fn request(port: &Port) -> String {
    let host = port.host_ip.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Ip(ip)| ip);
    format!(
        r#"{{"execute":"add_hostfwd","arguments":{{"proto":"{}","host_addr":"{host}","host_port":{},"guest_port":{}}}}}"#,
        port.protocol.name(),
        port.host_port,
        port.container_port,
    )
}

fn ask(path: &str, request: &str, answer: &mut Vec<u8>) -> std::io::Result<()> {
    let mut socket = UnixStream::connect(path)?;
    socket.write_all(request.as_bytes())?;
    socket.shutdown(Shutdown::Write)?;
    if !is_readable(&socket, LIMIT) {
        return Err(Errno::TIMEDOUT.into());
    }
    socket.read_to_end(answer).map(drop)
}
