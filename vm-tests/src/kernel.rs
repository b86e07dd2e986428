//! The guest's kernel and its modules: from a Debian package, or given by the caller.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::arch::Arch;
use crate::debian;

/// A kernel to boot.
pub struct Kernel {
    /// The image that QEMU loads.
    pub image: PathBuf,
    /// For people: the release, or the path of a given image.
    pub version: String,
    modules: Modules,
}

/// The files of the module trees, by the names of the modules.
#[derive(Default)]
struct Modules {
    files: BTreeMap<String, PathBuf>,
    builtin: Vec<String>,
}

/// A module and its dependencies in the order of loading; empty if it is built in.
pub type LoadOrder = Vec<String>;

/// The kernel at `image`, with the modules in the folder `modules` (as in /lib/modules/RELEASE).
pub fn given(image: PathBuf, modules: Option<PathBuf>) -> Result<Kernel, String> {
    fs::metadata(&image).map_err(|e| format!("--kernel {}: {e}", image.display()))?;
    let mut known = Modules::default();
    if let Some(folder) = modules {
        known.add_tree(&folder).map_err(|e| format!("--modules {}: {e}", folder.display()))?;
    }
    Ok(Kernel { version: image.display().to_string(), image, modules: known })
}

/// Debian's newest 6.12 kernel, or the distribution's own if there is none, or if that is wanted.
pub fn from_debian(arch: &Arch, own: bool) -> Result<Kernel, String> {
    let suffix = arch.kernel_suffix;
    let metas = [format!("linux-image-6.12-{suffix}"), format!("linux-image-{suffix}")];
    let mut images = Vec::new();
    for meta in &metas[usize::from(own)..] {
        images.extend(debian::dependencies(meta, &["linux-image-"])?);
    }
    let mut trees = Vec::new();
    match images.into_iter().next() {
        Some(package) => {
            trees.push(debian::unpacked(&package)?);
            // Newer Debian releases have the modules in a package of their own.
            for package in debian::dependencies(&package, &["linux-modules-"])? {
                trees.push(debian::unpacked(&package)?);
            }
        }
        None => trees.extend(
            debian::newest_cached("linux-image-6.12.").or_else(|| debian::newest_cached("linux-image-")),
        ),
    }
    let Some(tree) = trees.first() else {
        return Err(format!(
            "no kernel: apt offers neither {} nor {} (Debian: run `apt-get update`; elsewhere: --kernel PATH [--modules DIR])",
            metas[0], metas[1]
        ));
    };
    let (release, image) = boot_image(&tree.join("boot"))?;
    let mut modules = Modules::default();
    for tree in &trees {
        for folder in [tree.join("lib/modules").join(&release), tree.join("usr/lib/modules").join(&release)] {
            if folder.exists() {
                modules.add_tree(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
            }
        }
    }
    Ok(Kernel { image, version: release, modules })
}

fn boot_image(folder: &Path) -> Result<(String, PathBuf), String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut images = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let release = name.strip_prefix("vmlinuz-").or_else(|| name.strip_prefix("vmlinux-"))?;
        Some((release.to_owned(), entry.path()))
    });
    images.next().ok_or_else(|| format!("{}: no vmlinuz-RELEASE in it", folder.display()))
}

impl Kernel {
    /// What to load, in order, for the module `name`; `None` if this kernel does not have it.
    pub fn load_order(&self, name: &str) -> Result<Option<LoadOrder>, String> {
        let mut order = Vec::new();
        Ok(self.modules.collect(name, &mut order)?.then_some(order))
    }

    /// The content of the module `name`, uncompressed.
    pub fn module(&self, name: &str) -> Result<Vec<u8>, String> {
        let file = self.modules.files.get(name).ok_or_else(|| format!("module {name}: not found"))?;
        read_module(file)
    }
}

impl Modules {
    fn add_tree(&mut self, folder: &Path) -> std::io::Result<()> {
        if let Ok(builtin) = fs::read_to_string(folder.join("modules.builtin")) {
            self.builtin.extend(builtin.lines().map(|line| module_name(Path::new(line))));
        }
        self.add_folder(&folder.join("kernel"))
    }

    fn add_folder(&mut self, folder: &Path) -> std::io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                self.add_folder(&path)?;
            } else if entry.file_name().to_string_lossy().contains(".ko") {
                self.files.insert(module_name(&path), path);
            }
        }
        Ok(())
    }

    /// Reads dependencies from the modules themselves: modules.dep is made at installation, which never
    /// happens here.
    fn collect(&self, name: &str, order: &mut LoadOrder) -> Result<bool, String> {
        if order.iter().any(|known| known == name) || self.builtin.iter().any(|known| known == name) {
            return Ok(true);
        }
        let Some(file) = self.files.get(name) else { return Ok(false) };
        for dependency in dependencies(&read_module(file)?) {
            if !self.collect(&dependency, order)? {
                return Err(format!("module {name}: it needs {dependency}, which is missing"));
            }
        }
        order.push(name.to_owned());
        Ok(true)
    }
}

/// The module's name: `nf-nat.ko.xz` is the module nf_nat.
fn module_name(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    file.split(".ko").next().unwrap_or_default().replace('-', "_")
}

fn read_module(file: &Path) -> Result<Vec<u8>, String> {
    let program = match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::read(file).map_err(|e| format!("{}: {e}", file.display())),
    };
    let output = Command::new(program).args(["-dc", "--"]).arg(file).output();
    let output = output
        .map_err(|e| format!("{program}: {e} (install it: the kernel's modules are packed with it)"))?;
    if !output.status.success() {
        return Err(format!("{program} -dc {}: {}", file.display(), output.status));
    }
    Ok(output.stdout)
}

/// The names in the `depends=` line of a module's .modinfo section.
fn dependencies(module: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(start) = module.windows(key.len()).position(|window| window == key) else { return Vec::new() };
    let value = module[start + key.len()..].split(|&byte| byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_names_are_the_kernels() {
        assert_eq!(module_name(Path::new("kernel/net/nf-nat.ko.xz")), "nf_nat");
        assert_eq!(module_name(Path::new("overlay.ko")), "overlay");
    }

    #[test]
    fn dependencies_are_read_from_modinfo() {
        assert_eq!(dependencies(b"x\0license=GPL\0depends=stp,ll-c\0name=bridge\0"), ["stp", "ll_c"]);
        assert!(dependencies(b"\0depends=\0").is_empty());
    }
}
