//! Which unit is a container's: `linux.cgroupsPath` as `SLICE:PREFIX:NAME`, and the cgroup that follows from
//! it.

use crate::cgroup::CgroupPath;
use crate::error::{Error, Result};

const SLICE: &str = ".slice";

/// A transient unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// `PREFIX-NAME.scope`, or the name of a slice.
    pub name: String,
    /// The slice that it is in.
    pub slice: String,
}

impl Unit {
    /// runc's rule for `linux.cgroupsPath`: its docs/systemd.md, "systemd unit name and placement".
    ///
    /// # Errors
    /// The path does not have three parts, or they do not make the name of a unit.
    pub fn resolve(cgroups_path: Option<&str>, id: &str, default_slice: &str) -> Result<Unit> {
        let path = cgroups_path.filter(|path| !path.is_empty());
        let parts: Vec<&str> = path.map_or(vec!["", "pillbox", id], |path| path.split(':').collect());
        let &[slice, prefix, name] = &parts[..] else {
            return Err(Error::formatted(format_args!(
                "linux.cgroupsPath: {:?} must be SLICE:PREFIX:NAME for the cgroup manager systemd",
                path.unwrap_or_default()
            )));
        };
        let slice = match slice {
            "" => default_slice,
            "-" => "-.slice",
            slice => slice,
        };
        let name = if name.ends_with(SLICE) { name.to_string() } else { format!("{prefix}-{name}.scope") };
        let unit = Unit { name, slice: slice.to_string() };
        unit.below(String::new())?;
        Ok(unit)
    }

    /// Whether it is a slice, which needs no process.
    pub fn is_slice(&self) -> bool {
        self.name.ends_with(SLICE)
    }

    /// Its cgroup, given that of the manager.
    pub fn cgroup(&self, manager: &str) -> Result<CgroupPath> {
        CgroupPath::parse(&self.below(manager.trim_end_matches('/').to_string())?)
    }

    fn below(&self, mut path: String) -> Result<String> {
        let (parent, name) = if self.is_slice() {
            (self.name.as_str(), "")
        } else {
            (self.slice.as_str(), self.name.as_str())
        };
        expand_slice(&self.slice)?;
        path.push_str(&expand_slice(parent)?);
        if !name.is_empty() {
            check_name(name)?;
            path.push('/');
            path.push_str(name);
        }
        Ok(path)
    }
}

/// A slice's cgroup below the manager's: each dash is a level, so that `a-b.slice` is `/a.slice/a-b.slice`
/// (systemd.slice(5)).
fn expand_slice(slice: &str) -> Result<String> {
    check_name(slice)?;
    let invalid = || {
        Error::formatted(format_args!(
            "linux.cgroupsPath: {slice:?} is not the name of a slice, such as system.slice"
        ))
    };
    let name = slice.strip_suffix(SLICE).ok_or_else(invalid)?;
    if name == "-" {
        return Ok(String::new());
    }
    let mut path = String::new();
    let mut so_far = String::new();
    for part in name.split('-') {
        if part.is_empty() {
            return Err(invalid());
        }
        so_far.push_str(part);
        path.push_str(&format!("/{so_far}{SLICE}"));
        so_far.push('-');
    }
    Ok(path)
}

/// Checks the name of a unit: systemd.unit(5).
fn check_name(name: &str) -> Result<()> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || ":-_.\\@".contains(character);
    if name.len() > 255 || !name.chars().all(allowed) {
        return Err(Error::formatted(format_args!(
            "linux.cgroupsPath: {name:?} is not the name of a unit: letters, digits and :-_.\\@ make one, at most 255"
        )));
    }
    Ok(())
}
