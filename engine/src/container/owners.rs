//! The owners that a mount shows, where they are others than those on the disk: an id-mapped mount.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Whose files are shown as whose. What is in no range belongs to nobody there, and nobody of those outside can make files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owners {
    /// Of users.
    pub users: Vec<OwnerRange>,
    /// Of groups.
    pub groups: Vec<OwnerRange>,
}

/// Ids that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerRange {
    /// The first one on the disk.
    pub stored: u32,
    /// The first one in the container.
    pub shown: u32,
    /// How many.
    pub count: u32,
}

/// All of them as they are.
const SAME: OwnerRange = OwnerRange { stored: 0, shown: 0, count: u32::MAX };

impl Owners {
    /// Reads Podman's form, `uids=0-1000-10#10-2000-5;gids=0-1000-10`: on the disk, in the container, how many. A kind that is left out
    /// stays as it is.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn parse(text: &str) -> Result<Owners, String> {
        let mut owners = Owners { users: vec![SAME], groups: vec![SAME] };
        for part in text.split(';') {
            match part.split_once('=') {
                Some(("uids", ranges)) => owners.users = parse_ranges(ranges)?,
                Some(("gids", ranges)) => owners.groups = parse_ranges(ranges)?,
                _ => {
                    return Err(format!(
                        "{part:?}: must be uids=STORED-SHOWN-COUNT or gids=STORED-SHOWN-COUNT"
                    ));
                }
            }
        }
        Ok(owners)
    }

    /// The same form.
    pub fn text(&self) -> String {
        let ranges = |ranges: &[OwnerRange]| {
            let texts =
                ranges.iter().map(|range| format!("{}-{}-{}", range.stored, range.shown, range.count));
            texts.collect::<Vec<_>>().join("#")
        };
        format!("uids={};gids={}", ranges(&self.users), ranges(&self.groups))
    }

    /// Writes them into a mount of config.json.
    pub fn apply(&self, mount: &mut Value) {
        let mappings = |ranges: &[OwnerRange]| {
            let one = |range: &OwnerRange| json!({"containerID": range.stored, "hostID": range.shown, "size": range.count});
            ranges.iter().map(one).collect::<Value>()
        };
        mount["uidMappings"] = mappings(&self.users);
        mount["gidMappings"] = mappings(&self.groups);
        if let Value::Array(options) = &mut mount["options"] {
            options.push(json!("ridmap"));
        }
    }
}

fn parse_ranges(text: &str) -> Result<Vec<OwnerRange>, String> {
    text.split('#').map(|range| parse_range(range).ok_or_else(|| wrong(range))).collect()
}

fn wrong(range: &str) -> String {
    format!(
        "{range:?}: must be STORED-SHOWN-COUNT, as 1000-0-1 for files of user 1000 that are root's in the container"
    )
}

fn parse_range(text: &str) -> Option<OwnerRange> {
    let mut numbers = text.split('-').map(|number| number.parse::<u32>().ok());
    let (stored, shown, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let has_end = stored.checked_add(count).is_some() && shown.checked_add(count).is_some();
    (count > 0 && has_end && numbers.next().is_none()).then_some(OwnerRange { stored, shown, count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_podmans() {
        let text = "uids=0-1000-10#10-2000-5;gids=0-7-1";
        let owners = Owners::parse(text).unwrap();
        assert_eq!((owners.users.len(), owners.users[1].shown, owners.text().as_str()), (2, 2000, text));
        assert_eq!(Owners::parse("uids=1000-0-1").unwrap().groups, [SAME]);
        for wrong in [
            "",
            "uids",
            "uids=",
            "uids=1-2",
            "uids=1-2-0",
            "uids=1-2-3-4",
            "uids=@1-2-3",
            "names=1-2-3",
            "gids=4294967295-0-1",
        ] {
            assert!(Owners::parse(wrong).unwrap_err().contains("must be"), "{wrong}");
        }
    }
}
