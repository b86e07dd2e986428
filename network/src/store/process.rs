//! The process that has a port, as far as /proc shows it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use rustix::fs::{Dir, Mode, OFlags};

use crate::ip::Ip;
use crate::port::{Port, Protocol};

/// Which process has the port, in words.
pub(super) fn holder(port: &Port) -> String {
    find(&sockets(port)).unwrap_or_else(|| "a process that cannot be seen".to_string())
}

/// The sockets that are bound to the port, as links in /proc/PID/fd name them.
fn sockets(port: &Port) -> Vec<String> {
    let tables: &[&str] = match port.protocol {
        Protocol::Tcp => &["tcp", "tcp6"],
        Protocol::Udp => &["udp", "udp6"],
        // Its table has another form.
        Protocol::Sctp => &[],
    };
    let mut sockets = Vec::new();
    for table in tables {
        // That of the namespace in which the port was bound.
        let table = fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
        for (ip, number, inode) in table.lines().filter_map(row) {
            let asked = port.host_ip.map(|Ip(ip)| ip).filter(|ip| !ip.is_unspecified());
            let is_meant = ip.is_unspecified() || asked.is_none_or(|asked| asked == ip.to_canonical());
            // Without an inode nobody has it any more (TIME_WAIT).
            if number == port.host_port && is_meant && inode != "0" {
                sockets.push(format!("socket:[{inode}]"));
            }
        }
    }
    sockets
}

/// Local address, port and inode of a line in /proc/net/tcp, tcp6, udp, udp6 (proc_pid_net(5)).
fn row(line: &str) -> Option<(IpAddr, u16, &str)> {
    let mut columns = line.split_ascii_whitespace();
    let (ip, port) = columns.nth(1)?.split_once(':')?;
    let inode = columns.nth(7)?;
    // Words of the machine's order, of which the bytes are those of the address.
    let words: Option<Vec<[u8; 4]>> = ip
        .as_bytes()
        .chunks(8)
        .map(|word| u32::from_str_radix(str::from_utf8(word).ok()?, 16).ok().map(u32::to_ne_bytes))
        .collect();
    let words = words?;
    let ip = match (<[u8; 16]>::try_from(words.as_flattened()), words.as_slice()) {
        (Ok(ip), _) => IpAddr::from(ip),
        (Err(_), &[ip]) => Ipv4Addr::from(ip).into(),
        _ => return None,
    };
    Some((ip, u16::from_str_radix(port, 16).ok()?, inode))
}

/// The first process that has one of the sockets open: its number and name.
fn find(sockets: &[String]) -> Option<String> {
    if sockets.is_empty() {
        return None;
    }
    let is_number = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    for process in names("/proc").into_iter().filter(|name| is_number(name)) {
        // Those of others cannot be listed.
        let has_one = names(&format!("/proc/{process}/fd")).iter().any(|descriptor| {
            let target = rustix::fs::readlink(format!("/proc/{process}/fd/{descriptor}"), Vec::new());
            target.is_ok_and(|target| sockets.iter().any(|socket| socket.as_bytes() == target.as_bytes()))
        });
        if has_one {
            let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
            let name = format!("{:?}", name.trim_end());
            return Some(format!("process {process} ({})", &name[1..name.len() - 1]));
        }
    }
    None
}

/// The names in a folder, in its order; none if it cannot be listed.
fn names(folder: &str) -> Vec<String> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let entries =
        rustix::fs::open(folder, flags, Mode::empty()).and_then(Dir::new).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernels_table_is_read() {
        let v4 = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0";
        let v6 = "   1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 12 2 0";
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        if cfg!(target_endian = "little") {
            assert_eq!(row(v4), Some((ip("127.0.0.1"), 8080, "4711")));
            assert_eq!(row(v6), Some((ip("::1"), 80, "12")));
        }
        for other in [
            "",
            "  sl  local_address rem_address   st",
            "0: 0x0y:1 0:0 0A 0 0 0 0 0 1",
            "0: 0100007F 0 0 0 0 0 0 0 1",
        ] {
            assert_eq!(row(other), None, "{other}");
        }
    }
}
