//! registry.json: images by names of one's own, each a tar of a root file system at an address.
//!
//! ```json
//! {"tools": {"url": "https://example.org/tools.tar.gz", "sha256": "…"}}
//! ```

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde::Deserialize;

use crate::archive::{Imported, import};
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::file;
use crate::image::{Execution, Platform};
use crate::reference::Reference;
use crate::registry::{Access, download_trusted};
use crate::store::{ImageRecord, Store};

const FILE: &str = "registry.json";

/// An image of the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogEntry {
    /// Where its tar is.
    pub url: String,
    /// What it is to be, in 64 hexadecimal digits.
    sha256: String,
}

/// What a name stands for, as it is said on a command line. The data folder's file counts first, then its user's own.
///
/// # Errors
/// A file cannot be read, or is none of these.
pub fn find_in_catalog(store: &Store, name: &str) -> Result<Option<(CatalogEntry, Digest)>> {
    for path in [Some(store.place().data.join(FILE)), of_user()].into_iter().flatten() {
        let text = match file::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            text => text.context(|| path.display().to_string())?,
        };
        let wrong = |what: String| Error::invalid(format!("{}: {what}", path.display()));
        let mut entries: BTreeMap<String, CatalogEntry> = serde_json::from_slice(&text).map_err(|error| {
            wrong(format!("must be {{\"NAME\": {{\"url\": …, \"sha256\": …}}, …}}: {error}"))
        })?;
        let Some(entry) = entries.remove(name).or_else(|| entries.remove(name.strip_suffix(":latest")?))
        else {
            continue;
        };
        let digest = format!("sha256:{}", entry.sha256).parse();
        let digest: Digest = digest.map_err(|_| {
            wrong(format!("{name}: sha256: {:?}: must have 64 hexadecimal digits", entry.sha256))
        })?;
        return Ok(Some((entry, digest)));
    }
    Ok(None)
}

fn of_user() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".config"));
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home)?;
    Some(config.join("pillbox").join(FILE))
}

/// Fetches it and gives it its name.
///
/// # Errors
/// It is not there, or not what its digest says.
pub fn fetch_from_catalog(
    store: &Store,
    name: &Reference,
    (entry, digest): &(CatalogEntry, Digest),
    access: &Access,
) -> Result<ImageRecord> {
    let mut stream = download_trusted(&entry.url, access, true)?.body;
    let (platform, message) = (Platform::of_machine(), Some(format!("from {}", entry.url)));
    let execution = Execution::default();
    let imported = Imported { name: Some(name), platform, message, execution, expected: Some(*digest) };
    import(store, &mut *stream, imported).context(|| entry.url.clone())
}
