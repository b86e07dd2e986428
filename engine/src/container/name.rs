//! Names for containers that are given none: adjective-animal-hex.

use rustix::rand::{GetRandomFlags, getrandom};

use crate::error::{Context, Error, Result};
use crate::store::NAME_MAX;

const ADJECTIVES: &[&str] = &[
    "agile", "amber", "ample", "apt", "bold", "brave", "breezy", "bright", "brisk", "calm", "candid",
    "clever", "cosy", "crisp", "curious", "dapper", "daring", "eager", "early", "fair", "fancy", "fleet",
    "fond", "frank", "fresh", "gentle", "glad", "golden", "grand", "happy", "hardy", "honest", "humble",
    "jolly", "keen", "kind", "lively", "lucky", "mellow", "merry", "mild", "neat", "nimble", "noble",
    "patient", "plucky", "polite", "proud", "quick", "quiet", "rapid", "ready", "robust", "serene", "sharp",
    "silent", "sleek", "smart", "snug", "spry", "steady", "sunny", "swift", "tidy",
];

const ANIMALS: &[&str] = &[
    "alpaca", "badger", "bat", "bear", "beaver", "bison", "bobcat", "camel", "cat", "cheetah", "cobra",
    "condor", "crane", "crow", "deer", "dolphin", "dove", "duck", "eagle", "egret", "elk", "falcon",
    "ferret", "finch", "fox", "gazelle", "gecko", "goose", "hare", "hawk", "heron", "horse", "ibex",
    "jaguar", "koala", "lark", "lemur", "lion", "llama", "lynx", "marten", "mole", "moose", "newt", "otter",
    "owl", "panda", "parrot", "pelican", "puffin", "puma", "quail", "rabbit", "raven", "robin", "seal",
    "shrew", "sparrow", "stork", "swan", "tapir", "toad", "wolf", "wren",
];

/// A name that hardly anybody else has.
///
/// # Errors
/// The kernel has no random bytes.
pub fn random_name() -> Result<String> {
    let mut bytes = [0; 4];
    getrandom(&mut bytes, GetRandomFlags::empty()).context(|| "random bytes")?;
    let [adjective, animal, high, low] = bytes;
    let of = |words: &'static [&'static str], number: u8| words[usize::from(number) % words.len()];
    Ok(format!("{}-{}-{high:02x}{low:02x}", of(ADJECTIVES, adjective), of(ANIMALS, animal)))
}

/// Whether a name may be one of a container: Docker's rule.
///
/// # Errors
/// It may not.
pub fn check_name(name: &str) -> Result<()> {
    check("--name", name)
}

/// Whether a name may be one of a network: the same rule.
///
/// # Errors
/// It may not.
pub fn check_network_name(name: &str) -> Result<()> {
    check("network", name)
}

/// Whether a name may be one of a volume: the same rule.
///
/// # Errors
/// It may not.
pub fn check_volume_name(name: &str) -> Result<()> {
    check("volume", name)
}

fn check(what: &str, name: &str) -> Result<()> {
    let is_first = |byte: u8| byte.is_ascii_alphanumeric();
    let is_other = |byte: u8| is_first(byte) || b"_.-".contains(&byte);
    let mut bytes = name.bytes();
    let is_right = bytes.next().is_some_and(is_first) && bytes.len() > 0 && bytes.all(is_other);
    match is_right {
        true if name.len() > NAME_MAX => {
            Err(Error::invalid(format!("{what} {}…: must have at most {NAME_MAX} characters", &name[..20])))
        }
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "{what} {name}: must have two characters or more of a-z, A-Z, 0-9, _, . and -, and begin with a letter or a digit"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_right() {
        for _ in 0..100 {
            let name = random_name().unwrap();
            check_name(&name).unwrap();
            assert_eq!(name.split('-').count(), 3);
        }
        for wrong in ["", "a", "-a", "a/b", ".a", "ä1", &"a".repeat(254)] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
        check_name("web_1.x-y").unwrap();
    }
}
