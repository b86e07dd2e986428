//! The files, in the order in which they count: a user's own one stands for the machine's; what lies in `.d` is added.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::toml;
use crate::error::{Context, Error, Result};
use crate::folder::names;
use crate::order;

/// Where the machine has them.
const MACHINE: &str = "/etc/containers";

const FILE: &str = "registries.conf";
const FOLDER: &str = "registries.conf.d";

/// The registry of names that have none.
const SEARCH: &str = "unqualified-search-registries";

/// What is known of a file's members; others are ignored, as podman does.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Document {
    pub unqualified_search_registries: Option<Vec<String>>,
    pub registry: Vec<RegistryTable>,
    pub aliases: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct RegistryTable {
    pub prefix: String,
    pub location: String,
    pub insecure: bool,
    pub blocked: bool,
    pub mirror_by_digest_only: bool,
    pub mirror: Vec<MirrorTable>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct MirrorTable {
    pub location: String,
    pub insecure: bool,
    pub pull_from_mirror: Option<PullFrom>,
}

/// What a mirror is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PullFrom {
    All,
    DigestOnly,
    TagOnly,
}

/// The files of the calling user.
///
/// # Errors
/// A folder cannot be read.
pub fn of_caller() -> Result<Vec<PathBuf>> {
    find(Path::new(MACHINE), of_user().as_deref())
}

/// Where the calling user has his own.
fn of_user() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = folder("XDG_CONFIG_HOME").or(folder("HOME").map(|home| home.join(".config")));
    config.map(|config| config.join("containers"))
}

/// What shows which files those are: as long as these are as they were, they are the same ones.
pub fn places_of_caller() -> Vec<PathBuf> {
    let folders = [Some(PathBuf::from(MACHINE)), of_user()].into_iter().flatten();
    folders.flat_map(|folder| [FILE, FOLDER].map(|name| folder.join(name))).collect()
}

fn find(machine: &Path, user: Option<&Path>) -> Result<Vec<PathBuf>> {
    let has_own = user.is_some_and(|user| user.join(FILE).exists());
    let (main, folders) = match user {
        Some(user) if has_own => (user.join(FILE), vec![user]),
        user => (machine.join(FILE), [machine].into_iter().chain(user).collect()),
    };
    let mut files = vec![main];
    for folder in folders.iter().map(|folder| folder.join(FOLDER)) {
        let names = match names(&folder) {
            Ok(names) => names,
            Err(error) if is_missing(&error) => continue,
            Err(error) => return Err(error).context(|| folder.display().to_string()),
        };
        let mut paths: Vec<PathBuf> = names.into_iter().map(|name| folder.join(name)).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
        order::sort(&mut paths);
        files.extend(paths);
    }
    Ok(files)
}

fn is_missing(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

/// Reads a file; `None` if it is not there, or if it is nothing that is wanted.
///
/// # Errors
/// It cannot be read, is no TOML, or a member is of another kind.
pub fn read(path: &Path, is_wanted: impl FnOnce(&str) -> bool) -> Result<Option<Document>> {
    let named = || path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(error).context(named),
    };
    if !is_wanted(&text) {
        return Ok(None);
    }
    let value = toml::parse(&text).context(named)?;
    serde_json::from_value(value).map(Some).map_err(|error| Error::corrupt(format!("{}: {error}", named())))
}

/// Whether a file can say what a name without a registry means: by an alias, or by a registry for all of them. A name may be written
/// with escapes.
pub fn speaks_of(text: &str, name: &str) -> bool {
    let mut lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
    lines.any(|line| line.contains(name) || line.contains(SEARCH) || line.contains('\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_file_stands_for_the_machines() {
        let folder = std::env::temp_dir().join(format!("box-registries-{}", std::process::id()));
        let (machine, user) = (folder.join("machine"), folder.join("user"));
        for path in [&machine, &user] {
            std::fs::create_dir_all(path.join(FOLDER)).unwrap();
            for name in ["20.conf", "10.conf", "10.conf.bak"] {
                std::fs::write(path.join(FOLDER).join(name), "").unwrap();
            }
        }
        let found = || find(&machine, Some(&user)).unwrap();
        let of = |path: &Path| ["10.conf", "20.conf"].map(|name| path.join(FOLDER).join(name)).to_vec();
        assert_eq!(found(), [vec![machine.join(FILE)], of(&machine), of(&user)].concat());
        std::fs::write(user.join(FILE), "").unwrap();
        assert_eq!(found(), [vec![user.join(FILE)], of(&user)].concat());
        assert_eq!(find(&machine, None).unwrap().len(), 3);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
