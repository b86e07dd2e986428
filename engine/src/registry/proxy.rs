//! Which proxy leads to a host, by the environment, as curl and Go read it.

use std::net::IpAddr;

/// The proxies of an environment.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    http: Option<String>,
    https: Option<String>,
    exceptions: Vec<String>,
}

impl Proxies {
    /// This process's.
    pub fn of_process() -> Proxies {
        let value = |name: &str| {
            let of = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
            of(name).or_else(|| of(&name.to_ascii_lowercase()))
        };
        let all = value("ALL_PROXY");
        Proxies {
            http: value("HTTP_PROXY").or_else(|| all.clone()),
            https: value("HTTPS_PROXY").or(all),
            exceptions: exceptions(&value("NO_PROXY").unwrap_or_default()),
        }
    }

    /// The proxy for a host; never one for this machine itself.
    pub fn find(&self, is_https: bool, host: &str, port: Option<u16>) -> Option<&str> {
        let proxy = if is_https { &self.https } else { &self.http };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let is_excepted = is_loopback(&host) || self.exceptions.iter().any(|rule| matches(rule, &host, port));
        proxy.as_deref().filter(|_| !is_excepted)
    }
}

/// Whether a name or an address is this machine's own.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn exceptions(text: &str) -> Vec<String> {
    text.split([',', ' '])
        .map(|rule| rule.trim().to_ascii_lowercase())
        .filter(|rule| !rule.is_empty())
        .collect()
}

/// `*`, `host`, `.domain`, `host:port`, an address, or a range of them.
fn matches(rule: &str, host: &str, port: Option<u16>) -> bool {
    if rule == "*" {
        return true;
    }
    if let (Ok(address), Some((network, bits))) = (host.parse::<IpAddr>(), rule.split_once('/')) {
        let network = network.parse::<IpAddr>().ok().zip(bits.parse().ok());
        return network.is_some_and(|(network, bits)| is_within(address, network, bits));
    }
    let rule = match rule.rsplit_once(':') {
        Some((name, digits)) if !name.contains(':') => match digits.parse::<u16>() {
            Ok(digits) if Some(digits) != port => return false,
            Ok(_) => name,
            Err(_) => rule,
        },
        _ => rule,
    };
    let domain = rule.trim_start_matches('*').trim_start_matches('.');
    let is_host = host == domain && !rule.starts_with('.');
    is_host || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let same = |one: u128, other: u128, length: u32| {
        bits <= length && (bits == 0 || (one ^ other) >> (length - bits) == 0)
    };
    match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => same(one.to_bits().into(), other.to_bits().into(), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => same(one.to_bits(), other.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_names_domains_addresses_and_ranges() {
        let proxies = |exceptions_text: &str| Proxies {
            http: None,
            https: Some("http://proxy:3128".into()),
            exceptions: exceptions(exceptions_text),
        };
        let is_direct = |rules: &str, host: &str| proxies(rules).find(true, host, Some(443)).is_none();
        assert!(!is_direct("", "quay.io") && is_direct("*", "quay.io"));
        assert!(is_direct("example.org, quay.io", "quay.io") && is_direct("quay.io", "cdn.quay.io"));
        assert!(!is_direct("quay.io", "notquay.io") && !is_direct(".quay.io", "quay.io"));
        assert!(is_direct(".quay.io", "cdn.quay.io") && is_direct("*.quay.io", "cdn.quay.io"));
        assert!(is_direct("quay.io:443", "quay.io") && !is_direct("quay.io:80", "quay.io"));
        assert!(is_direct("10.0.0.0/8", "10.1.2.3") && !is_direct("10.0.0.0/8", "11.1.2.3"));
        assert!(is_direct("fd00::/8", "[fd00::1]") && !is_direct("10.0.0.0/33", "10.0.0.1"));
        assert!(is_direct("", "localhost") && is_direct("", "127.0.0.9") && is_direct("", "[::1]"));
        assert_eq!(proxies("").find(false, "quay.io", None), None);
    }
}
