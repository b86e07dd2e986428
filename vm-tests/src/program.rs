//! Programs for the guest. A static one is a single file; a dynamic one comes with its loader and libraries.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use elf::ElfBytes;
use elf::abi::PT_INTERP;
use elf::endian::AnyEndian;

use crate::arch::Arch;
use crate::image::Image;

/// Puts the program at `path` into the image at `place`, with the files that its loader will need.
///
/// Libraries come from the nearest folder above `path` that has the program's loader: a program inside
/// another system's tree gets that system's libraries.
pub fn add(image: &mut Image, arch: &Arch, path: &Path, place: &str) -> Result<(), String> {
    let path = fs::canonicalize(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let content = read(&path)?;
    image.file(place, 0o755, &content);
    let (loader, needed) = linkage(&content).map_err(|e| format!("{}: {e}", path.display()))?;
    let Some(loader) = loader else { return Ok(()) };
    let root = path
        .ancestors()
        .skip(1)
        .find(|root| below(root, &loader).exists())
        .ok_or_else(|| format!("{}: its loader {loader} is nowhere", path.display()))?;
    image.file(&loader, 0o755, &read(&below(root, &loader))?);
    let mut known = BTreeSet::from([file_name(&loader)]);
    let mut queue = needed;
    while let Some(name) = queue.pop() {
        if known.insert(name.clone()) {
            let library = find_library(root, arch, &name).ok_or_else(|| {
                format!("{}: its library {name} is not below {}", path.display(), root.display())
            })?;
            let content = read(&below(root, &library))?;
            queue.extend(linkage(&content).map_err(|e| format!("{library}: {e}"))?.1);
            image.file(&library, 0o755, &content);
        }
    }
    Ok(())
}

/// The loader that a program names, and the libraries that a program or library needs.
fn linkage(content: &[u8]) -> Result<(Option<String>, Vec<String>), String> {
    let file = ElfBytes::<AnyEndian>::minimal_parse(content).map_err(|e| e.to_string())?;
    let segments = file.segments().ok_or("no program headers")?;
    let loader = match segments.iter().find(|segment| segment.p_type == PT_INTERP) {
        Some(segment) => {
            let bytes = file.segment_data(&segment).map_err(|e| e.to_string())?;
            Some(String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned())
        }
        None => None,
    };
    let common = file.find_common_data().map_err(|e| e.to_string())?;
    let mut needed = Vec::new();
    if let (Some(dynamic), Some(names)) = (common.dynamic, common.dynsyms_strs) {
        for entry in dynamic.iter().filter(|entry| entry.d_tag == elf::abi::DT_NEEDED) {
            let at = usize::try_from(entry.d_val()).map_err(|e| e.to_string())?;
            needed.push(names.get(at).map_err(|e| e.to_string())?.to_owned());
        }
    }
    Ok((loader, needed))
}

fn find_library(root: &Path, arch: &Arch, name: &str) -> Option<String> {
    let triple = arch.libraries;
    let folders =
        [format!("/usr/lib/{triple}"), format!("/lib/{triple}"), "/usr/lib64".into(), "/usr/lib".into()];
    let folders = folders.into_iter().chain(["/lib64".to_owned(), "/lib".to_owned()]);
    folders.map(|folder| format!("{folder}/{name}")).find(|path| below(root, path).exists())
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn file_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}
