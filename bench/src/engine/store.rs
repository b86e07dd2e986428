//! Where the engines have their stores.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{UnmountFlags, unmount};

use crate::error::{Context, Result, error};

/// How large an image is that is made, in bytes; it takes as much of the disk as is written.
const SIZE: u64 = 14 << 30;

/// A folder on a disk, removed when dropped.
pub struct Disk {
    folder: PathBuf,
    is_image: bool,
}

impl Disk {
    /// A new folder.
    pub fn new(folder: PathBuf) -> Result<Disk> {
        fs::create_dir(&folder).context(|| format!("mkdir {}", folder.display()))?;
        Ok(Disk { folder, is_image: false })
    }

    /// The file system in an image, mounted at a new folder. It has a journal, as users' disks have: ext4 without one passes over each inode
    /// that was deleted in the last minutes, so that what an engine removes slows down what is made after it.
    pub fn of_image(image: &Path, folder: PathBuf) -> Result<Disk> {
        if !image.exists() {
            let file = fs::File::create_new(image).context(|| format!("create {}", image.display()))?;
            file.set_len(SIZE).context(|| format!("create {}", image.display()))?;
            // What is initialized later would be written while something is measured.
            let at_once = "lazy_itable_init=0,lazy_journal_init=0";
            run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", at_once]).arg(image))?;
        }
        let mut disk = Disk::new(folder)?;
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(&disk.folder))?;
        disk.is_image = true;
        Ok(disk)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.folder
    }
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().context(|| format!("{command:?}"))?;
    if status.success() { Ok(()) } else { Err(error(format!("{command:?}: {status}"))) }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // podman leaves its store mounted on itself.
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut paths: Vec<_> = mounts.lines().filter_map(|line| line.split(' ').nth(4)).collect();
        paths.retain(|path| Path::new(path).starts_with(&self.folder) && Path::new(path) != self.folder);
        for path in paths.iter().rev() {
            let _ = unmount(*path, UnmountFlags::DETACH);
        }
        let left = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        left.for_each(|entry| drop(fs::remove_dir_all(entry.path())));
        if self.is_image {
            let _ = unmount(&self.folder, UnmountFlags::DETACH);
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("bench: {} is left: {error}", self.folder.display());
        }
    }
}
