//! Names of containers on the same network: a part of each one's /etc/hosts, written anew when one comes or goes.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use pillbox::Root;
use rustix::fs::OFlags;

use super::options::{NetworkMode, Options};
use super::record::ContainerRecord;
use crate::error::{Context, Error, Kind, Result};
use crate::store::{ContainerFolder, Store};

/// A container on a network that has its addresses.
struct Neighbour {
    folder: ContainerFolder,
    names: Vec<String>,
    addresses: Vec<String>,
}

/// Writes the names of all containers on a network into the files of all of them. What is wrong with one of them does not keep the others
/// from it.
///
/// # Errors
/// A file cannot be written, the first one is named.
pub fn refresh_names(store: &Store, record: &ContainerRecord) -> Result<()> {
    let NetworkMode::Named(network) = &record.options.network.mode else { return Ok(()) };
    let _lock = match store.networks().lock(network) {
        Ok(lock) => lock,
        // Without the network there is nobody on it.
        Err(error) if error.kind() == Kind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let neighbours = neighbours(store, network)?;
    let mut refreshed = Ok(());
    for one in &neighbours {
        let mut section = String::new();
        for other in neighbours.iter().filter(|other| other.folder.id != one.folder.id) {
            for address in &other.addresses {
                // Writing to a String cannot fail.
                let _ = writeln!(section, "{address}\t{}", other.names.join(" "));
            }
        }
        let path = one.folder.names().join("hosts");
        match write_section(&path, &section) {
            // It has just been removed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            written => refreshed = refreshed.and(written.context(|| path.display().to_string())),
        }
    }
    refreshed
}

/// Whether a container with this name and these options can be announced on its network.
///
/// # Errors
/// A name means the container itself to every other one.
pub fn check_names_on_network(name: &str, options: &Options) -> Result<()> {
    let NetworkMode::Named(network) = &options.network.mode else { return Ok(()) };
    let aliases = options.network.aliases.iter().map(|alias| ("--network-alias", alias.as_str()));
    let hostname = options.hostname.iter().map(|hostname| ("--hostname", hostname.as_str()));
    for (flag, name) in std::iter::once(("--name", name)).chain(aliases).chain(hostname) {
        if OWN_NAMES.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            return Err(Error::invalid(format!(
                "{flag} {name}: on the network {network} it would be that of each other container itself: choose another"
            )));
        }
    }
    Ok(())
}

/// What every /etc/hosts has for the machine itself.
const OWN_NAMES: [&str; 5] =
    ["localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "localhost6"];

fn neighbours(store: &Store, network: &str) -> Result<Vec<Neighbour>> {
    let root = Root::at(&store.place().runtime);
    let mut neighbours = Vec::new();
    for folder in store.containers().list()? {
        let Ok(Some(record)) = ContainerRecord::read(&folder) else { continue };
        if record.options.network.mode != NetworkMode::Named(network.to_string()) {
            continue;
        }
        let id = pillbox::ContainerId::new(folder.id.as_str())?;
        // One that does not run has no addresses.
        let Ok(state) = root.find(&id).and_then(|state| state.load()) else { continue };
        let addresses = state.network.iter().flat_map(|interface| interface.addresses.iter());
        let addresses =
            addresses.filter_map(|address| Some(address.split_once('/')?.0.to_string())).collect();
        let short = folder.id.short().to_string();
        let own = record.options.hostname.clone().into_iter();
        let mut names = vec![record.name.clone()];
        for name in record.options.network.aliases.iter().cloned().chain(own).chain([short]) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        neighbours.push(Neighbour { folder, names, addresses });
    }
    Ok(neighbours)
}

const BEGINNING: &str = "# containers on the same network\n";

/// The most that is read of a file into which a container's program writes what it likes.
const FILE_MAX: u64 = 1 << 20;

/// In place: a rename would not be seen through a bind mount. What stands before is the container's, also what is no text. A larger file
/// than anybody needs is left alone: its container does without the names.
fn write_section(path: &Path, section: &str) -> std::io::Result<()> {
    let mut options = File::options();
    let mut file =
        options.read(true).write(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path)?;
    let mut text = Vec::new();
    (&mut file).take(FILE_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_MAX {
        return Ok(());
    }
    let found = text.windows(BEGINNING.len()).position(|window| window == BEGINNING.as_bytes());
    let own = found.unwrap_or(text.len());
    let mut rest = Vec::new();
    if !section.is_empty() {
        if own > 0 && text[own - 1] != b'\n' {
            rest.push(b'\n');
        }
        rest.extend_from_slice(BEGINNING.as_bytes());
        rest.extend_from_slice(section.as_bytes());
    }
    if text[own..] == rest {
        return Ok(());
    }
    file.seek(SeekFrom::Start(own as u64))?;
    file.write_all(&rest)?;
    file.set_len((own + rest.len()) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_containers_stays() {
        let path = std::env::temp_dir().join(format!("box-hosts-{}", std::process::id()));
        std::fs::write(&path, "127.0.0.1\tlocalhost\n").unwrap();
        let text = || std::fs::read_to_string(&path).unwrap();
        write_section(&path, "10.0.0.1\tdb\n10.0.0.2\tweb\n").unwrap();
        assert!(text().starts_with("127.0.0.1\tlocalhost\n# ") && text().ends_with("\n10.0.0.2\tweb\n"));
        write_section(&path, "10.0.0.1\tdb\n").unwrap();
        assert!(text().ends_with("network\n10.0.0.1\tdb\n"));
        write_section(&path, "").unwrap();
        assert_eq!(text(), "127.0.0.1\tlocalhost\n");
        // One without a line end, and one that somebody has filled.
        std::fs::write(&path, b"\xff\xfe").unwrap();
        write_section(&path, "10.0.0.1\tdb\n").unwrap();
        write_section(&path, "10.0.0.2\tdb\n").unwrap();
        assert!(
            std::fs::read(&path)
                .unwrap()
                .starts_with(b"\xff\xfe\n# containers on the same network\n10.0.0.2")
        );
        std::fs::write(&path, vec![b'x'; (1 << 20) + 1]).unwrap();
        write_section(&path, "10.0.0.1\tdb\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), vec![b'x'; (1 << 20) + 1]);
        std::fs::remove_file(&path).unwrap();
    }
}
