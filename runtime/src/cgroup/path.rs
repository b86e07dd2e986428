//! Where a container's cgroup goes: the rule for `linux.cgroupsPath`.

use std::fmt;

use crate::error::{Error, Result};

/// NAME_MAX: the longest name that cgroupfs allows.
const NAME_MAX: usize = 255;

/// A cgroup's path below the mount of the hierarchy: `/a/b`, never the root, without `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupPath(String);

impl CgroupPath {
    /// The rule for `linux.cgroupsPath` with the cgroupfs driver (config-linux.md, "Cgroups Path").
    ///
    /// An absolute path counts from the mount of the hierarchy. A relative one counts from the parent of the
    /// runtime's own cgroup, because the own cgroup has processes and so can't pass controllers on;
    /// `own_cgroup` is called only in this case. Without a path it is `/pillbox-ID`.
    ///
    /// # Errors
    /// A path with `..`, NUL or newline, or with a component that is too long; the failure of `own_cgroup`.
    pub fn resolve(
        cgroups_path: Option<&str>,
        id: &str,
        own_cgroup: impl FnOnce() -> Result<String>,
    ) -> Result<CgroupPath> {
        match cgroups_path {
            None | Some("") => CgroupPath::parse(&format!("/pillbox-{id}")),
            Some(path) if path.starts_with('/') => CgroupPath::parse(path),
            Some(path) => {
                let own = own_cgroup()?;
                let (parent, _) = own.rsplit_once('/').unwrap_or_default();
                CgroupPath::parse(&format!("{parent}/{path}"))
            }
        }
    }

    /// The cgroup of an ordinary user's container that names no path: `pillbox-ID` beside the caller's own
    /// cgroup, as for a relative path, or below it if only the own cgroup is delegated to the user
    /// (`is_delegated`). See cgroups(7), "Cgroups delegation".
    ///
    /// # Errors
    /// Those of [`CgroupPath::parse`].
    pub fn of_user(id: &str, own: &str, is_delegated: impl Fn(&str) -> bool) -> Result<CgroupPath> {
        let (parent, _) = own.rsplit_once('/').unwrap_or_default();
        let above = if !is_delegated(parent) && is_delegated(own) { own } else { parent };
        CgroupPath::parse(&format!("{above}/pillbox-{id}"))
    }

    /// Checks an absolute path; drops double slashes and `.`.
    pub fn parse(path: &str) -> Result<CgroupPath> {
        let invalid = |why: &str| Error::formatted(format_args!("linux.cgroupsPath: {path:?} {why}"));
        if !path.starts_with('/') {
            return Err(invalid("is not absolute"));
        }
        let mut clean = String::with_capacity(path.len());
        for component in path.split('/').filter(|component| !matches!(*component, "" | ".")) {
            if component == ".." {
                return Err(invalid("has '..' in it"));
            }
            if component.contains(['\0', '\n']) {
                return Err(invalid("has a NUL or a newline in it"));
            }
            if component.len() > NAME_MAX {
                return Err(invalid(
                    "has a component of more than 255 bytes (without linux.cgroupsPath it is pillbox-ID)",
                ));
            }
            clean.push('/');
            clean.push_str(component);
        }
        if clean.is_empty() {
            return Err(invalid("is the root of the hierarchy, not a container's cgroup"));
        }
        Ok(CgroupPath(clean))
    }

    /// `/a/b`
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path relative to the mount's root, for openat(2): `a/b`.
    pub(super) fn below_root(&self) -> &str {
        &self.0[1..]
    }

    /// The components above the last one, from the top.
    pub(super) fn parents(&self) -> impl Iterator<Item = &str> {
        let (parents, _) = self.0.rsplit_once('/').unwrap_or_default();
        parents.split('/').skip(1)
    }

    /// The last component.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').unwrap_or_default().1
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(path: Option<&str>, own: &str) -> String {
        CgroupPath::resolve(path, "web", || Ok(own.to_string())).unwrap().0
    }

    #[test]
    fn absolute_relative_and_absent() {
        assert_eq!(resolve(Some("/docker/a1"), "/x"), "/docker/a1");
        assert_eq!(resolve(Some("//docker/./a1/"), "/x"), "/docker/a1");
        assert_eq!(resolve(Some("pod/a1"), "/user.slice/session.scope"), "/user.slice/pod/a1");
        assert_eq!(resolve(Some("a1"), "/own"), "/a1");
        assert_eq!(resolve(Some("a1"), "/"), "/a1");
        assert_eq!(resolve(None, "/own"), "/pillbox-web");
        assert_eq!(resolve(Some(""), "/own"), "/pillbox-web");
    }

    #[test]
    fn a_users_container_goes_where_the_user_may_write() {
        let of_user = |own: &str, delegated: &[&str]| {
            CgroupPath::of_user("web", own, |path| delegated.contains(&path)).unwrap().0
        };
        let own = "/user.slice/a.service/shell";
        let beside = "/user.slice/a.service/pillbox-web";
        assert_eq!(of_user(own, &["/user.slice/a.service", own]), beside);
        assert_eq!(of_user(own, &[own]), "/user.slice/a.service/shell/pillbox-web");
        assert_eq!(of_user(own, &[]), beside);
        assert_eq!(of_user("/", &[]), "/pillbox-web");
        assert_eq!(of_user("/own", &[""]), "/pillbox-web");
    }

    #[test]
    fn the_own_cgroup_is_read_only_when_needed() {
        let unreadable = || Err(Error::new("unreadable"));
        assert!(CgroupPath::resolve(Some("/a"), "web", unreadable).is_ok());
        assert!(CgroupPath::resolve(Some("a"), "web", unreadable).is_err());
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        let long = format!("/{}", "x".repeat(256));
        for path in ["/..", "/a/../../b", "/a\0b", "/a\nb", "/", "//.", &long] {
            assert!(CgroupPath::parse(path).is_err(), "{path}");
        }
        assert!(CgroupPath::resolve(Some("../a"), "web", || Ok("/own".into())).is_err());
        assert!(CgroupPath::parse("/..a/b..").is_ok());
    }

    #[test]
    fn parents_and_name() {
        let path = CgroupPath::parse("/a/b/c").unwrap();
        assert_eq!(path.parents().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(path.name(), "c");
        let path = CgroupPath::parse("/c").unwrap();
        assert_eq!(path.parents().count(), 0);
        assert_eq!(path.name(), "c");
    }
}
