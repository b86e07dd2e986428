//! Debian packages, downloaded and unpacked into a cache, never installed.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The unpacked tree of `package`, in the version that the distribution offers. The network is used once per
/// version.
pub fn unpacked(package: &str) -> Result<PathBuf, String> {
    let cache = cache()?;
    let Some(version) = offered_version(package)? else {
        return cached(&cache, package).ok_or_else(|| {
            format!(
                "{package}: apt does not know this package (run `apt-get update`), and none is in {}",
                cache.display()
            )
        });
    };
    Ok(unpacked_versions(&cache, &[(package, &version)])?.remove(0))
}

/// The unpacked trees of `packages` and all their dependencies, except those for which `is_left_out` is true.
/// apt resolves them as on a system without any packages; `None` if there is no apt.
pub fn closure(
    packages: &[&str],
    is_left_out: impl Fn(&str) -> bool,
) -> Result<Option<Vec<PathBuf>>, String> {
    let mut apt = Command::new("apt-get");
    apt.args([
        "-q",
        "--simulate",
        "--no-install-recommends",
        "-o",
        "Dir::State::status=/dev/null",
        "install",
    ]);
    let output = match apt.args(packages).output() {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        output => output.map_err(|e| format!("apt-get: {e}"))?,
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("apt-get install {}: {}", packages.join(" "), said.trim()));
    }
    let cache = cache()?;
    let plan = String::from_utf8_lossy(&output.stdout);
    let wanted = plan.lines().filter_map(to_install).filter(|(package, _)| !is_left_out(package));
    unpacked_versions(&cache, &wanted.collect::<Vec<_>>()).map(Some)
}

/// Package and version of a line `Inst PACKAGE (VERSION ORIGIN [ARCHITECTURE])` in apt-get's simulation.
fn to_install(line: &str) -> Option<(&str, &str)> {
    let (package, rest) = line.strip_prefix("Inst ")?.split_once(" (")?;
    Some((package, rest.split(' ').next()?))
}

/// The trees of these packages and versions; those missing from the cache are downloaded together.
fn unpacked_versions(cache: &Path, packages: &[(&str, &str)]) -> Result<Vec<PathBuf>, String> {
    let tree = |(package, version): &(&str, &str)| cache.join(format!("{package}_{version}"));
    let missing: Vec<_> = packages.iter().filter(|package| !tree(package).exists()).copied().collect();
    if !missing.is_empty() {
        let partial = cache.join(format!(".partial.{}", std::process::id()));
        let result = download(&missing, &partial).and_then(|()| {
            missing.iter().try_for_each(|package| {
                let (unpacked, tree) = (partial.join(package.0), tree(package));
                // Another run may have put the same tree there meanwhile.
                fs::rename(unpacked, &tree)
                    .or_else(|e| if tree.exists() { Ok(()) } else { Err(e.to_string()) })
            })
        });
        let _ = fs::remove_dir_all(&partial);
        result?;
    }
    Ok(packages.iter().map(tree).collect())
}

/// The dependencies of `package` whose names begin with one of `prefixes`; empty if apt does not know the
/// package.
pub fn dependencies(package: &str, prefixes: &[&str]) -> Result<Vec<String>, String> {
    let listing = apt_cache(&["depends", "--important", package])?.unwrap_or_default();
    let names = listing.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    Ok(names
        .filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
        .map(str::to_owned)
        .collect())
}

/// The newest unpacked package whose name begins with `prefix`, to be used if apt knows nothing.
pub fn newest_cached(prefix: &str) -> Option<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(cache().ok()?).ok()?.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)));
    found.sort_by_key(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
    found.pop()
}

fn cached(cache: &Path, package: &str) -> Option<PathBuf> {
    newest_cached(&format!("{package}_")).filter(|path| path.starts_with(cache))
}

fn cache() -> Result<PathBuf, String> {
    let base = match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(cache), _) if !cache.is_empty() => PathBuf::from(cache),
        (_, Some(home)) => PathBuf::from(home).join(".cache"),
        _ => return Err("neither XDG_CACHE_HOME nor HOME says where to keep the kernel".into()),
    };
    let cache = base.join("pillbox-vm-tests");
    fs::create_dir_all(&cache).map_err(|e| format!("{}: {e}", cache.display()))?;
    Ok(cache)
}

fn offered_version(package: &str) -> Result<Option<String>, String> {
    let record = apt_cache(&["show", "--no-all-versions", package])?.unwrap_or_default();
    Ok(record.lines().find_map(|line| line.strip_prefix("Version: ")).map(str::to_owned))
}

/// The output of apt-cache; `None` if there is no apt, or if it does not know the package.
fn apt_cache(arguments: &[&str]) -> Result<Option<String>, String> {
    match Command::new("apt-cache").args(arguments).output() {
        Ok(output) if output.status.success() => {
            Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()))
        }
        // If it was killed, it has not answered: taking this for "unknown" would boot the wrong kernel.
        Ok(output) if output.status.code().is_none() => Err(format!("apt-cache: {}", output.status)),
        Ok(_) => Ok(None),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("apt-cache: {e}")),
    }
}

/// Puts the tree of each package into `folder`, under the package's name.
fn download(packages: &[(&str, &str)], folder: &Path) -> Result<(), String> {
    let pairs: Vec<_> = packages.iter().map(|(package, version)| format!("{package}={version}")).collect();
    eprintln!("vm-tests: downloading {}", pairs.join(" "));
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    // As root, apt would download as a user who cannot write here, and warn about it.
    let mut apt = Command::new("apt-get");
    apt.args(["-q", "-o", "APT::Sandbox::User=root", "download"]).args(pairs);
    run(apt.current_dir(folder))?;
    let files = fs::read_dir(folder).map_err(|e| e.to_string())?.flatten().map(|entry| entry.path());
    for archive in files.filter(|path| path.extension() == Some(OsStr::new("deb"))) {
        // PACKAGE_VERSION_ARCHITECTURE.deb
        let name = archive.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let tree = folder.join(name.split('_').next().unwrap_or_default());
        run(Command::new("dpkg-deb").arg("-x").arg(archive).arg(&tree))?;
    }
    match packages.iter().find(|(package, _)| !folder.join(package).exists()) {
        Some((package, _)) => Err(format!("apt-get download {package} left no .deb in {}", folder.display())),
        None => Ok(()),
    }
}

/// Runs `command` to its end; an error has its stderr.
fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("{name}: {e} (is it installed?)"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{name}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use super::to_install;

    #[test]
    fn what_apt_would_install_is_read() {
        let line = "Inst libc6 (2.36-9+deb12u13 Debian:12.12/oldstable [amd64]) []";
        assert_eq!(to_install(line), Some(("libc6", "2.36-9+deb12u13")));
        assert_eq!(to_install("Conf libc6 (2.36-9+deb12u13 Debian:12.12/oldstable [amd64])"), None);
    }
}
