//! The bundles that all runtimes run, and the folder for everything that a benchmark writes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::{Context, Result};
use crate::{docker, host, program};

/// The output of `runc spec`, without a terminal and with `/bin/true`.
const CONFIG: &str = include_str!("../config.json");

/// Everything that a benchmark writes, removed when dropped. It lies under /run, in a tmpfs of the
/// benchmark's own: state folders are usually in a tmpfs, and it disappears with the benchmark even if that
/// is killed.
pub struct Scratch {
    folder: PathBuf,
    prefix: String,
}

impl Scratch {
    /// Makes the folders and the bundles.
    pub fn new() -> Result<Self> {
        // The same length for every pid, because the length of a path shows in counted instructions.
        let prefix = format!("pillbox-bench-{}", host::run_name());
        let scratch = Scratch { folder: Path::new("/run").join(&prefix), prefix };
        scratch.write_bundle("true", CONFIG)?;
        scratch.write_bundle("pause", &CONFIG.replace("/bin/true", "/bin/pause"))?;
        scratch.write_docker_bundle("docker", &["/bin/true"], true)?;
        Ok(scratch)
    }

    /// Makes bundles for counting init's instructions: `pause` and `docker` as `pause-counted` and
    /// `docker-counted`, without paths that only some kernels have.
    pub fn write_counted_bundles(&self) -> Result<()> {
        for name in ["pause", "docker"] {
            let text = fs::read(self.bundle(name).join("config.json")).context(|| "read config.json")?;
            let mut config: Value = serde_json::from_slice(&text).context(|| "parse config.json")?;
            config["linux"]["maskedPaths"] = json!(["/proc/cmdline", "/proc/irq"]);
            config["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
            self.write_bundle(&format!("{name}-counted"), &config.to_string())?;
        }
        Ok(())
    }

    /// A bundle with Docker's configuration.
    pub fn write_docker_bundle(&self, name: &str, arguments: &[&str], seccomp: bool) -> Result<()> {
        let bundle = self.bundle(name);
        fs::create_dir_all(&bundle).context(|| format!("mkdir {}", bundle.display()))?;
        self.write_bundle(name, &docker::config(&bundle, arguments, seccomp)?)
    }

    fn write_bundle(&self, name: &str, config: &str) -> Result<()> {
        let bundle = self.bundle(name);
        for folder in ["bin", "proc", "sys", "dev"] {
            let folder = bundle.join("rootfs").join(folder);
            fs::create_dir_all(&folder).context(|| format!("mkdir {}", folder.display()))?;
        }
        for (name, bytes) in [("true", program::exit()), ("pause", program::pause())] {
            let path = bundle.join("rootfs/bin").join(name);
            fs::write(&path, bytes).context(|| format!("write {}", path.display()))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
                .context(|| format!("chmod {}", path.display()))?;
        }
        fs::write(bundle.join("config.json"), config).context(|| "write config.json")
    }

    /// The bundle whose program is `true` or `pause`.
    pub fn bundle(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A runtime's own state folder.
    pub fn state(&self, runtime: &str) -> PathBuf {
        self.folder.join("state").join(runtime)
    }

    /// A file beside the bundles.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The prefix of all container ids and cgroups of this benchmark.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        host::remove_cgroups(&self.prefix);
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("bench: {} is left: {error}", self.folder.display());
        }
    }
}
