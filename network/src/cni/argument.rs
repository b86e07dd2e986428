//! The parameters of a call that stand in its environment: what each may be.

use crate::error::{Error, Result};
use crate::link::check_name;

/// Checks what stands in CNI_CONTAINERID. Less is allowed there than in an OCI container's id.
///
/// # Errors
/// It is empty, begins with another character than a letter or a digit, or has others than these and `_.-`.
pub fn check_container_id(id: &str) -> Result<()> {
    check_word("container id", id)
}

/// Checks a network's name, for which the same holds.
///
/// # Errors
/// As for [`check_container_id`].
pub fn check_network_name(name: &str) -> Result<()> {
    check_word("network name", name)
}

fn check_word(what: &str, name: &str) -> Result<()> {
    let begins_well = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if begins_well && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) {
        return Ok(());
    }
    Err(Error::invalid(format_args!(
        "{what} {name:?}: CNI allows letters, digits and _ . -, and a letter or a digit at the beginning"
    )))
}

/// Checks what stands in CNI_IFNAME: a name that the kernel takes as it is.
///
/// # Errors
/// It is none that a link can have.
pub fn check_interface_name(name: &str) -> Result<()> {
    check_name("interface name", name).map(drop)
}

/// The pairs in CNI_ARGS: `KEY=VALUE;KEY=VALUE`.
///
/// # Errors
/// A part is not a key, `=` and a value without another `=`, or there is a control character: the plugins
/// that are in use refuse that without saying which part it is.
pub fn parse_args(args: &str) -> Result<Vec<(&str, &str)>> {
    let mut pairs = Vec::new();
    if args.is_empty() {
        return Ok(pairs);
    }
    for pair in args.split(';') {
        let split = pair.split_once('=').filter(|(key, value)| !key.is_empty() && !value.contains('='));
        let Some(split) = split.filter(|_| !pair.contains(char::is_control)) else {
            return Err(Error::invalid(format_args!(
                "CNI_ARGS {args:?}: {pair:?} must be like KEY=VALUE, with a ; before the next one"
            )));
        };
        pairs.push(split);
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_ids_and_network_names() {
        for right in ["a", "0", "cnitool-77383ca0a0715733ca6f", "a_b.c-d"] {
            check_container_id(right).unwrap();
            check_network_name(right).unwrap();
        }
        for wrong in ["", "-a", ".a", "_a", "a+b", "a b", "a/b", "ä", "a\0"] {
            let error = check_container_id(wrong).unwrap_err().to_string();
            assert!(error.starts_with(&format!("container id {wrong:?}: ")), "{error}");
            assert!(check_network_name(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn interface_names() {
        for right in ["eth0", "lo", "a", "exactly15bytes_", "net.1", "ü"] {
            check_interface_name(right).unwrap();
        }
        for wrong in ["", "sixteen_bytes_xx", ".", "..", "a/b", "a:b", "a b", "a\tb", "eth%d", "a\0"] {
            let error = check_interface_name(wrong).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("interface name: {wrong:?} cannot be a link's name: ")),
                "{error}"
            );
        }
    }

    #[test]
    fn arguments() {
        assert_eq!(parse_args("").unwrap(), []);
        assert_eq!(parse_args("FOO=BAR;ABC=").unwrap(), [("FOO", "BAR"), ("ABC", "")]);
        assert_eq!(parse_args("IP=10.1.0.7/16").unwrap(), [("IP", "10.1.0.7/16")]);
        for (wrong, part) in [
            ("FOO", "FOO"),
            ("A=1;", ""),
            (";A=1", ""),
            ("=1", "=1"),
            ("A=1;B=2=3", "B=2=3"),
            ("A=1\n", "A=1\n"),
        ] {
            let error = parse_args(wrong).unwrap_err().to_string();
            assert!(error.contains(&format!("{part:?} must be like")), "{error}");
        }
    }
}
