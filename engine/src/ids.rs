//! The ids of an ordinary user's containers: the user is root in them, and the ranges in /etc/subuid and /etc/subgid are the others.

use std::path::Path;

use serde_json::{Value, json};

use rustix::process::{getegid, geteuid};

/// A range of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// In the container.
    pub inside: u32,
    /// On the host.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// The maps of users and of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMaps {
    /// Of users.
    pub users: Vec<Range>,
    /// Of groups.
    pub groups: Vec<Range>,
}

impl IdMaps {
    /// Those of the calling user; `None` for root. Without ranges, or without newuidmap(1) and newgidmap(1), which alone may set
    /// them, the user's own ids are all there is.
    pub fn of_caller() -> Option<IdMaps> {
        let (uid, gid) = (geteuid(), getegid());
        if uid.is_root() {
            return None;
        }
        let name = user_name(uid.as_raw());
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (users, groups) = match ["newuidmap", "newgidmap"].map(is_installed) {
            [true, true] => (read("/etc/subuid"), read("/etc/subgid")),
            _ => Default::default(),
        };
        Some(IdMaps::compile(uid.as_raw(), gid.as_raw(), name.as_deref(), &users, &groups))
    }

    /// From the texts of subuid(5) and subgid(5).
    fn compile(uid: u32, gid: u32, name: Option<&str>, users: &str, groups: &str) -> IdMaps {
        let maps = IdMaps { users: map(uid, uid, name, users), groups: map(gid, uid, name, groups) };
        // A map of users alone would be half of what is needed.
        if maps.users.len() == 1 || maps.groups.len() == 1 {
            return IdMaps { users: maps.users[..1].to_vec(), groups: maps.groups[..1].to_vec() };
        }
        maps
    }

    /// Whether the user's own ids are all there is.
    pub fn is_squashed(&self) -> bool {
        self.users.len() == 1
    }

    /// Whether a group of the container is one on the host.
    pub fn has_group(&self, gid: u32) -> bool {
        self.groups.iter().any(|range| gid >= range.inside && gid - range.inside < range.count)
    }

    /// As `linux.uidMappings` has it.
    pub fn as_json(ranges: &[Range]) -> Value {
        let one = |range: &Range| json!({"containerID": range.inside, "hostID": range.outside, "size": range.count});
        ranges.iter().map(one).collect()
    }
}

/// The caller's own id becomes 0, and the ranges follow from 1 on.
fn map(own: u32, uid: u32, name: Option<&str>, text: &str) -> Vec<Range> {
    let mut ranges = vec![Range { inside: 0, outside: own, count: 1 }];
    let mut inside = 1u32;
    for line in text.lines() {
        let mut fields = line.split(':');
        let owner = fields.next().unwrap_or_default();
        let mut number = || fields.next().and_then(|field| field.trim().parse::<u32>().ok());
        let (Some(outside), Some(count)) = (number(), number()) else { continue };
        if (Some(owner) == name || owner == uid.to_string()) && count > 0 {
            ranges.push(Range { inside, outside, count });
            inside = inside.saturating_add(count);
        }
    }
    ranges
}

fn user_name(uid: u32) -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let line =
        passwd.lines().find(|line| line.split(':').nth(2).and_then(|id| id.parse().ok()) == Some(uid))?;
    line.split(':').next().map(str::to_string)
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    std::env::split_paths(&path).any(|folder| Path::new(&folder).join(program).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_root_and_the_ranges_are_the_others() {
        let text = "bob:1:2\nann:100000:65536\n1000:300000:10\nbroken\n";
        let maps = IdMaps::compile(1000, 1001, Some("ann"), text, text);
        let expected = [(0, 1000, 1), (1, 100_000, 65_536), (65_537, 300_000, 10)];
        let ranges: Vec<_> =
            maps.users.iter().map(|range| (range.inside, range.outside, range.count)).collect();
        assert_eq!(ranges, expected);
        assert_eq!(maps.groups[0].outside, 1001);
        assert!(maps.has_group(5) && maps.has_group(65_546) && !maps.has_group(65_547));
        assert!(!maps.is_squashed());
    }

    #[test]
    fn ranges_of_users_alone_are_none() {
        let maps = IdMaps::compile(1000, 1000, Some("ann"), "ann:100000:65536\n", "");
        assert!(maps.is_squashed() && maps.groups.len() == 1);
        assert!(maps.has_group(0) && !maps.has_group(5));
        let none = IdMaps::compile(1000, 1000, None, "", "");
        assert!(none.is_squashed());
    }
}
