//! Records that cannot be read: empty, not JSON, folders in place of files, of another owner. Lists pass over them; here they are found and
//! mended or put aside.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::image::file_name;
use super::whole::read_own;
use super::{ImageRecord, Store, VolumeRecord, fresh_name, names_in, write_whole};
use crate::error::{Context, Error, Result};
use crate::file;
use crate::order;
use crate::thread::by_shares;
use crate::time::Moment;

/// Names of what has been put aside.
pub const BROKEN: &str = ".broken-";

/// A record that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// `volume web`.
    pub what: String,
    /// What is put aside: a file, or a folder with everything in it.
    pub path: PathBuf,
    why: String,
    remedy: Remedy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Remedy {
    PutAside,
    /// It becomes the caller's.
    TakeOver,
    /// The data is there: a record with its name is all that is missing.
    WriteVolume(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.what, self.path.display(), self.why)
    }
}

impl Broken {
    /// One that is put aside.
    pub fn new(what: String, path: PathBuf, why: String) -> Broken {
        Broken { what, path, why, remedy: Remedy::PutAside }
    }

    /// Mends it, or gives it a name under which nobody looks; the result says what was done.
    ///
    /// # Errors
    /// It cannot be changed.
    pub fn repair(&self) -> Result<String> {
        match &self.remedy {
            Remedy::PutAside => put_aside(&self.path).map(|path| format!(": now it is {}", path.display())),
            Remedy::TakeOver => {
                let user = rustix::process::geteuid();
                rustix::fs::chown(&self.path, Some(user), None)
                    .context(|| self.path.display().to_string())?;
                Ok(": it is yours now".to_string())
            }
            Remedy::WriteVolume(name) => {
                let record = self.path.join("volume.json");
                if record.symlink_metadata().is_ok() {
                    put_aside(&record)?;
                }
                write_volume(&self.path, name)?;
                Ok(": it has a record again, without labels".to_string())
            }
        }
    }
}

fn put_aside(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let suffix = fresh_name("")?;
    let shortened: String = name.chars().take(100).collect();
    let aside = path.with_file_name(format!("{BROKEN}{shortened}-{}", &suffix[..8]));
    std::fs::rename(path, &aside).context(|| format!("put {} aside", path.display()))?;
    Ok(aside)
}

fn write_volume(folder: &Path, name: &str) -> Result<()> {
    let created = std::fs::metadata(folder).and_then(|status| status.modified()).ok();
    let created = created.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let created = created.and_then(|since| u64::try_from(since.as_nanos()).ok());
    let record = VolumeRecord {
        is_anonymous: name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()),
        created: created.map_or_else(Moment::now, Moment),
        ..VolumeRecord::new(name)
    };
    let text = serde_json::to_vec(&record).map_err(|error| Error::invalid(error.to_string()))?;
    write_whole(&folder.join("volume.json"), &text)
}

/// What is wrong with a file or folder that is there.
fn owner(path: &Path) -> Option<(Metadata, Option<String>)> {
    let status = path.symlink_metadata().ok()?;
    let user = rustix::process::geteuid().as_raw();
    let why = (status.uid() != user).then(|| format!("it belongs to the user {}", status.uid()));
    Some((status, why))
}

/// What is wrong with a record, which is a file with JSON; `is_right` says whether it is one of its kind.
fn fault(
    path: &Path,
    is_right: impl Fn(&[u8]) -> std::result::Result<bool, serde_json::Error>,
) -> Option<String> {
    let (status, _) = owner(path)?;
    if !status.is_file() {
        return Some("it must be a file".to_string());
    }
    match file::read(path) {
        // Removed meanwhile.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => Some(Error::from(error).to_string()),
        Ok(text) if text.is_empty() => Some("it is empty".to_string()),
        Ok(text) => match is_right(&text) {
            Ok(true) => None,
            Ok(false) => Some("it is the record of another name".to_string()),
            Err(error) => Some(error.to_string()),
        },
    }
}

fn broken(what: String, path: PathBuf, why: Option<String>) -> Option<Broken> {
    match why {
        Some(why) => Some(Broken::new(what, path, why)),
        None => {
            let why = owner(&path)?.1?;
            Some(Broken { what, path, why, remedy: Remedy::TakeOver })
        }
    }
}

fn broken_image(folder: &Path, file: String) -> Option<Broken> {
    let path = folder.join(&file);
    let is_right = |text: &[u8]| {
        serde_json::from_slice::<ImageRecord>(text).map(|record| file_name(&record.name) == file)
    };
    let why = fault(&path, is_right);
    broken(format!("image {file}"), path, why)
}

impl Store {
    /// Names of images whose records cannot be read.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn broken_images(&self) -> Result<Vec<Broken>> {
        let folder = self.place().data.join("images");
        Ok(names_in(&folder)?.into_iter().filter_map(|file| broken_image(&folder, file)).collect())
    }

    /// All names of images, and those whose records cannot be read: each record is read once, unless something is wrong with it.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn images_and_broken(&self) -> Result<(Vec<ImageRecord>, Vec<Broken>)> {
        let folder = self.place().data.join("images");
        let caller = rustix::process::geteuid();
        let (mut records, mut all_broken) = (Vec::new(), Vec::new());
        let read = |file: &String| {
            let path = folder.join(file);
            let record = read_own(&path, caller, |text| serde_json::from_slice::<ImageRecord>(text).ok());
            record.flatten().filter(|record| file_name(&record.name) == *file)
        };
        let files = names_in(&folder)?;
        for (record, file) in by_shares(&files, read).into_iter().zip(files) {
            match record {
                Some(record) => records.push(record),
                None => {
                    records.extend(self.images().read(&folder.join(&file)).ok().flatten());
                    all_broken.extend(broken_image(&folder, file));
                }
            }
        }
        order::sort_by(&mut records, |one, other| one.name.cmp(&other.name));
        Ok((records, all_broken))
    }

    /// Networks whose records cannot be read.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn broken_networks(&self) -> Result<Vec<Broken>> {
        let folder = self.place().data.join("networks");
        let look = |file: String| {
            let (path, name) = (folder.join(&file), file.strip_suffix(".json")?.to_string());
            let is_right = |text: &[u8]| {
                serde_json::from_slice::<super::NetworkRecord>(text).map(|record| record.name == name)
            };
            let why = fault(&path, is_right);
            broken(format!("network {name}"), path, why)
        };
        Ok(names_in(&folder)?.into_iter().filter_map(look).collect())
    }

    /// Volumes whose records cannot be read.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn broken_volumes(&self) -> Result<Vec<Broken>> {
        let folder = self.place().data.join("volumes");
        let look = |name: String| {
            let path = folder.join(&name);
            let what = format!("volume {name}");
            let (status, _) = owner(&path)?;
            if !status.is_dir() || !path.join("_data").is_dir() {
                return Some(Broken::new(
                    what,
                    path,
                    "it must be a folder with the data in _data".to_string(),
                ));
            }
            let record = path.join("volume.json");
            if record.symlink_metadata().is_err() {
                let why = "its record, volume.json, is missing".to_string();
                return Some(Broken { what, path, why, remedy: Remedy::WriteVolume(name) });
            }
            let is_right =
                |text: &[u8]| serde_json::from_slice::<VolumeRecord>(text).map(|record| record.name == name);
            match fault(&record, is_right) {
                Some(why) => {
                    let why = format!("its record, volume.json: {why}");
                    Some(Broken { what, path, why, remedy: Remedy::WriteVolume(name) })
                }
                None => broken(what.clone(), record, None).or_else(|| broken(what, path, None)),
            }
        };
        Ok(names_in(&folder)?.into_iter().filter_map(look).collect())
    }

    /// Names of containers that lead nowhere because they are no links.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn broken_names(&self) -> Result<Vec<Broken>> {
        let folder = self.place().data.join("names");
        let look = |name: String| {
            let path = folder.join(&name);
            let is_link = path.symlink_metadata().ok()?.is_symlink();
            let why = (!is_link).then(|| "it must be a link".to_string())?;
            Some(Broken::new(format!("name {name} of a container"), path, why))
        };
        Ok(names_in(&folder)?.into_iter().filter_map(look).collect())
    }

    /// Files of events that are none.
    pub fn broken_events(&self) -> Vec<Broken> {
        let look = |name: &str| {
            let path = self.place().data.join("events").join(name);
            let is_file = path.symlink_metadata().ok()?.is_file();
            (!is_file).then(|| Broken::new(format!("events/{name}"), path, "it must be a file".to_string()))
        };
        ["before", "now"].into_iter().filter_map(look).collect()
    }

    /// Folders of containers whose records cannot be read; `is_record` says what is one of the container with that id.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn broken_containers(&self, is_record: impl Fn(&[u8], &str) -> bool) -> Result<Vec<Broken>> {
        let folder = self.place().data.join("containers");
        let look = |id: String| {
            let path = folder.join(&id);
            let what = format!("container {}", id.get(..12).unwrap_or(&id));
            let (status, _) = owner(&path)?;
            if !status.is_dir() {
                return Some(Broken::new(what, path, "it must be a folder".to_string()));
            }
            // One that is just being made has none yet; one that never came so far is put away by itself.
            let json = |text: &[u8]| serde_json::from_slice::<Value>(text).map(|_| is_record(text, &id));
            let why = fault(&path.join("container.json"), json).map(|why| format!("container.json: {why}"));
            let why = why.or_else(|| {
                let any = |text: &[u8]| serde_json::from_slice::<Value>(text).map(|_| true);
                fault(&path.join("progress.json"), any).map(|why| format!("progress.json: {why}"))
            });
            match why {
                Some(why) => Some(Broken::new(what, path, why)),
                None => broken(what.clone(), path.join("container.json"), None)
                    .or_else(|| broken(what, path, None)),
            }
        };
        Ok(names_in(&folder)?.into_iter().filter_map(look).collect())
    }
}
