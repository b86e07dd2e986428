//! The cgroup above a container's, by `--cgroup-parent`. An ordinary user's part of the hierarchy begins beside his own cgroup.

use pillbox::cgroup::Hierarchy;

use crate::error::Result;

/// Where monitors are, beside containers.
pub const MONITORS: &str = "box-monitors";

/// Its path in the hierarchy.
///
/// # Errors
/// It is not known where the user's own cgroup is.
pub fn cgroup_parent(wanted: &str, is_users: bool) -> Result<String> {
    match if is_users { Hierarchy::find()? } else { None } {
        Some(hierarchy) => Ok(beside(&hierarchy.own_cgroup()?, wanted)),
        None => Ok(format!("/{}", wanted.trim_matches('/'))),
    }
}

fn beside(own: &str, wanted: &str) -> String {
    let wanted = wanted.trim_matches('/');
    let above = own.rsplit_once('/').map_or("", |(above, _)| above);
    // A monitor has gone there already.
    if own.ends_with(&format!("/{wanted}/{MONITORS}")) {
        return above.to_string();
    }
    format!("{above}/{wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_is_beside_his_own() {
        assert_eq!(beside("/user.slice/session", "web"), "/user.slice/web");
        assert_eq!(beside("/user.slice/web/box-monitors", "/web/"), "/user.slice/web");
        assert_eq!(beside("/", "web"), "/web");
        assert_eq!(cgroup_parent("web/", false).unwrap(), "/web");
    }
}
