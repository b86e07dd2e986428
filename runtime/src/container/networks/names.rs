//! What stands in the files by which a container finds names.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::Path;

use super::worded;
use crate::error::Result;
use crate::plan::MadeMount;
use crate::spawn::names::{self, FILES};
use pillbox_network::dns::{self, Resolver};
use pillbox_network::netconf::Netconf;

/// Where the container sees them.
pub fn mounts(folder: &Path, has_hostname: bool) -> Vec<MadeMount> {
    let files = FILES.into_iter().filter(|(name, _)| has_hostname || *name != "hostname");
    let mount = |(name, target): (&str, &str)| MadeMount {
        source: folder.join(name).display().to_string(),
        target: target.to_string(),
        field: "the container's names",
        writable: true,
    };
    files.map(mount).collect()
}

/// Writes them. What netconf.json says of name resolution counts first, then `resolver`, then what the host
/// does.
pub fn write(
    folder: BorrowedFd<'_>,
    hostname: Option<&str>,
    netconf: &Netconf,
    resolver: Option<&Resolver>,
    addresses: &[IpAddr],
    gateway: Option<IpAddr>,
) -> Result<()> {
    let Netconf { requests: _, user_mode: _, resolver: own, hosts } = netconf;
    let hostname = hostname.unwrap_or_default();
    // No address stands for the host, as the network has it.
    let address = |ip: IpAddr| if ip.is_unspecified() { gateway } else { Some(ip) };
    let hosts: Vec<_> = hosts.iter().filter_map(|(name, ip)| Some((name.clone(), address(*ip)?))).collect();
    let domain = own.as_ref().and_then(|resolver| resolver.domain.as_deref());
    let resolver = own.as_ref().or(resolver).cloned().unwrap_or_else(Resolver::of_host);
    for (name, _) in FILES {
        let text = match name {
            "hosts" => dns::hosts(hostname, domain, addresses, &hosts),
            "resolv.conf" => resolver.text("dns").map_err(worded)?,
            _ => format!("{hostname}\n"),
        };
        names::write(folder, name, &text)?;
    }
    Ok(())
}
