//! The files by which a container finds names: /etc/hosts, /etc/hostname, /etc/resolv.conf. Pure but for
//! [`Resolver::of_host`].

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::error::{Error, Result};

/// What the C library takes no more of (resolv.conf(5), `MAXNS`).
const MOST_SERVERS: usize = 3;

/// How names are resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Servers, the first asked first.
    pub servers: Vec<String>,
    /// The domain of short names, if `search` is empty.
    pub domain: Option<String>,
    /// The domains in which short names are looked up.
    pub search: Vec<String>,
    /// Such as `ndots:2`.
    pub options: Vec<String>,
}

impl Resolver {
    /// The text of resolv.conf(5).
    ///
    /// # Errors
    /// A server is no address, or a word has white space; `field` is named.
    pub fn text(&self, field: &str) -> Result<String> {
        let Resolver { servers, domain, search, options } = self;
        if servers.len() > MOST_SERVERS {
            let count = servers.len();
            return Err(Error::invalid(format_args!(
                "{field}.nameservers: {count} of them: the C library asks the first {MOST_SERVERS} only"
            )));
        }
        let mut text = String::new();
        for (index, server) in servers.iter().enumerate() {
            let address = server.split('%').next().unwrap_or_default();
            if address.parse::<IpAddr>().is_err() {
                return Err(Error::invalid(format_args!(
                    "{field}.nameservers[{index}]: {server:?} is not an IP address"
                )));
            }
            // Writing to a String cannot fail.
            let _ = writeln!(text, "nameserver {server}");
        }
        let words = |name: &str, words: &[String]| match words.iter().find(|word| !is_word(word)) {
            Some(wrong) => {
                Err(Error::invalid(format_args!("{field}.{name}: {wrong:?} is not a single word")))
            }
            None => Ok(words.join(" ")),
        };
        // The last of `domain` and `search` in the file counts.
        let domain = words("domain", domain.as_slice())?;
        let search = words("search", search)?;
        let options = words("options", options)?;
        for (name, words) in [("domain", domain), ("search", search), ("options", options)] {
            if !words.is_empty() {
                let _ = writeln!(text, "{name} {words}");
            }
        }
        Ok(text)
    }

    /// As the host resolves names, without the servers on its loopback, which a container does not reach.
    pub fn of_host() -> Resolver {
        let read = |path: &str| parse(&std::fs::read_to_string(path).unwrap_or_default());
        let resolver = read("/etc/resolv.conf");
        if !resolver.servers.is_empty() {
            return resolver;
        }
        // systemd-resolved listens on the loopback, and names here the servers that it asks itself.
        let real = read("/run/systemd/resolve/resolv.conf");
        if real.servers.is_empty() { resolver } else { real }
    }
}

/// The servers that programs of this host ask for names. Servers on the host's loopback are among them,
/// except for systemd-resolved's: those that it asks itself stand in its place.
pub fn servers_of_host() -> Vec<IpAddr> {
    let addresses = |servers: &[String]| -> Vec<IpAddr> {
        servers.iter().filter_map(|server| server.parse().ok()).collect()
    };
    let outside = addresses(&Resolver::of_host().servers);
    if !outside.is_empty() {
        return outside;
    }
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = text.lines().filter_map(|line| line.strip_prefix("nameserver"));
    servers.filter_map(|server| server.trim().parse().ok()).take(MOST_SERVERS).collect()
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|character: char| character.is_whitespace() || character.is_control())
}

pub(crate) fn parse(text: &str) -> Resolver {
    let mut resolver = Resolver::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let name = words.next().unwrap_or_default();
        let words = words.map(str::to_string);
        match name {
            "nameserver" => {
                let is_reachable = |server: &String| {
                    let address = server.split('%').next().unwrap_or_default();
                    address.parse::<IpAddr>().is_ok_and(|ip| !ip.is_loopback())
                };
                resolver.servers.extend(words.take(1).filter(is_reachable));
            }
            "domain" => resolver.domain = words.take(1).next(),
            "search" => resolver.search = words.collect(),
            "options" => resolver.options.extend(words),
            _ => {}
        }
    }
    resolver.servers.truncate(MOST_SERVERS);
    resolver
}

/// The text of hosts(5) for a container with that name and those addresses, and for others by name.
pub fn hosts(
    hostname: &str,
    domain: Option<&str>,
    addresses: &[IpAddr],
    others: &[(String, IpAddr)],
) -> String {
    let mut text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_string();
    if !hostname.is_empty() {
        let long = domain.filter(|domain| !domain.is_empty() && !hostname.contains('.'));
        let names = long.map_or(hostname.to_string(), |domain| format!("{hostname}.{domain} {hostname}"));
        let loopback = [IpAddr::from([127, 0, 1, 1])];
        // Without an address of its own it still finds itself.
        for address in if addresses.is_empty() { &loopback } else { addresses } {
            let _ = writeln!(text, "{address}\t{names}");
        }
    }
    for (name, address) in others {
        let _ = writeln!(text, "{address}\t{name}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_string).collect()
    }

    #[test]
    fn resolv_conf_says_what_was_asked_for() {
        let resolver = Resolver {
            servers: words("8.8.8.8 fe80::1%eth0"),
            domain: Some("box".into()),
            search: words("box box.local"),
            options: words("ndots:2"),
        };
        assert_eq!(
            resolver.text("dns").unwrap(),
            "nameserver 8.8.8.8\nnameserver fe80::1%eth0\ndomain box\nsearch box box.local\noptions ndots:2\n"
        );
        assert_eq!(Resolver::default().text("dns").unwrap(), "");
    }

    #[test]
    fn what_the_c_library_would_not_take_is_refused() {
        let text = |servers: &str, search: &str| {
            let resolver =
                Resolver { servers: words(servers), search: vec![search.into()], ..Resolver::default() };
            resolver.text("dns").expect_err("refused").to_string()
        };
        assert_eq!(text("8.8.8", "a"), "dns.nameservers[0]: \"8.8.8\" is not an IP address");
        assert_eq!(
            text("1.1.1.1", "a\nnameserver 6.6.6.6"),
            "dns.search: \"a\\nnameserver 6.6.6.6\" is not a single word"
        );
        assert!(text("1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1", "a").starts_with("dns.nameservers: 4 of them"));
    }

    #[test]
    fn servers_on_the_hosts_loopback_are_left_out() {
        let resolver = parse("# c\nnameserver 127.0.0.53\nnameserver 9.9.9.9\nsearch a b\noptions edns0\n");
        assert_eq!(resolver.servers, ["9.9.9.9"]);
        assert_eq!((resolver.search, resolver.options), (words("a b"), words("edns0")));
    }

    #[test]
    fn a_container_finds_itself_and_others() {
        let addresses = ["10.88.0.5".parse().unwrap(), "fd00::5".parse().unwrap()];
        let text = hosts("web", Some("box"), &addresses, &[("db".into(), "10.88.0.6".parse().unwrap())]);
        assert!(text.ends_with("10.88.0.5\tweb.box web\nfd00::5\tweb.box web\n10.88.0.6\tdb\n"), "{text}");
        assert!(hosts("web", None, &[], &[]).ends_with("127.0.1.1\tweb\n"));
        assert!(!hosts("", None, &[], &[]).contains("127.0.1.1"));
    }
}
