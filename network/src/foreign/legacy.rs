//! iptables-legacy, whose tables nf_tables does not show. They are only read: a change replaces the whole
//! table, and with it what another program has changed meanwhile.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::xtables::Table;
use super::{Passage, iptables};
use crate::error::{Context, Error, Kind, Result};
use crate::sys::{TableQuestion, ask_table};

/// How often a table is read again if it changes meanwhile.
const ATTEMPTS: u32 = 10;

/// Refuses a link whose packets the chain FORWARD certainly drops, unless some rule names the link: its
/// author knows the link.
///
/// # Errors
/// It is so, and the remedy is named; or the table cannot be read.
pub fn refuse(passage: &Passage<'_>) -> Result<()> {
    let link = passage.link;
    for (is_v4, program, is_used) in
        [(true, "iptables-legacy", passage.has_v4), (false, "ip6tables-legacy", passage.has_v6)]
    {
        if !is_used {
            continue;
        }
        let Some(table) = read(is_v4).context(format_args!("read the filter table of {program}"))? else {
            continue;
        };
        if table.drops_forwarded() && !table.names(link.as_bytes()) {
            return Err(Error::of(
                Kind::Host,
                format_args!(
                    "link {link}: chain FORWARD of {program} drops what is forwarded: let it accept packets from and to \
                     {link} ({program} -I FORWARD -i {link} -j ACCEPT; {program} -I FORWARD -o {link} -j ACCEPT)"
                ),
            ));
        }
    }
    Ok(())
}

/// The filter table, if there is one; asking for it otherwise would make it.
fn read(is_v4: bool) -> std::result::Result<Option<Table>, Errno> {
    let names = if is_v4 { "/proc/net/ip_tables_names" } else { "/proc/net/ip6_tables_names" };
    let names = std::fs::read_to_string(names).unwrap_or_default();
    if !names.lines().any(|name| name == iptables::TABLE) {
        return Ok(None);
    }
    let family = if is_v4 { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    for _ in 0..ATTEMPTS {
        let mut info = Table::info_request(iptables::TABLE);
        match ask_table(socket.as_fd(), is_v4, TableQuestion::Info, &mut info) {
            Err(Errno::NOENT) => return Ok(None),
            asked => asked?,
        }
        let mut entries = Table::entries_request(iptables::TABLE, &info);
        match ask_table(socket.as_fd(), is_v4, TableQuestion::Entries, &mut entries) {
            Err(Errno::AGAIN) => {}
            asked => return asked.map(|()| Some(Table::new(is_v4, &info, entries))),
        }
    }
    Err(Errno::AGAIN)
}
