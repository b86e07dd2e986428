//! The flags that several commands have.

use crate::arguments::Flag;

pub const fn switch(long: &'static str, short: Option<char>, help: &'static str) -> Flag {
    Flag { long, short, value: None, help }
}

pub const fn valued(
    long: &'static str,
    short: Option<char>,
    value: &'static str,
    help: &'static str,
) -> Flag {
    Flag { long, short, value: Some(value), help }
}

pub const BUNDLE: Flag = valued("bundle", Some('b'), "DIR", "the bundle (default: the current folder)");
pub const CONFIG: Flag =
    valued("config", Some('f'), "FILE", "the configuration, instead of the bundle's config.json");
pub const SPEC: Flag = valued("spec", None, "FILE", "the same as --config");
pub const NETCONF: Flag = valued(
    "netconf",
    None,
    "FILE",
    "its networks (default: netconf.json beside the configuration, if it is there)",
);
pub const PUBLISH: Flag = valued(
    "publish",
    Some('p'),
    "PORTS",
    "publish a port: [HOST-ADDRESS:][HOST-PORT:]PORT[/tcp|udp|sctp]; may be repeated",
);
pub const CNI: Flag = valued("cni", None, "FILE", "connect it by these CNI plugins; may be repeated");
pub const CNI_NETWORK: Flag =
    valued("cni-network", None, "NAME", "the same for a network in /etc/cni/net.d; may be repeated");
pub const CNI_ARGS: Flag = valued("cni-args", None, "KEY=VALUE", "CNI_ARGS for the plugins; may be repeated");
pub const CNI_CAPABILITY: Flag = valued(
    "cni-capability",
    None,
    "NAME=JSON",
    "an argument for plugins that have this capability; may be repeated",
);
pub const CONSOLE_SOCKET: Flag = valued("console-socket", None, "PATH", "send the terminal to this socket");
pub const PID_FILE: Flag = valued("pid-file", None, "FILE", "write the pid of the container's first process");
pub const PIDFD_SOCKET: Flag =
    valued("pidfd-socket", None, "PATH", "send a pidfd of the process to this socket");
pub const NO_PIVOT: Flag =
    switch("no-pivot", None, "chroot instead of pivot_root (for root file systems in ramfs)");
pub const NO_NEW_KEYRING: Flag = switch("no-new-keyring", None, "keep the caller's session keyring");
pub const PRESERVE_FDS: Flag = valued("preserve-fds", None, "N", "pass on descriptors 3 to 2 + N");
pub const NO_SUBREAPER: Flag = switch("no-subreaper", None, "accepted: pillbox never becomes a subreaper");
