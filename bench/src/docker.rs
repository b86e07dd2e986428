//! Docker's recorded configuration, adapted to a bundle of the benchmark's. Capabilities, seccomp profile,
//! device rules, sysctls, masks and binds stay as dockerd wrote them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::error::{Context, Result, error};

/// What dockerd wrote for `docker run`.
pub const RECORDED: &str = include_str!("../../tests/fixtures/docker-plain.config.json");

/// The configuration for a bundle: with another program, the bundle's root, binds of files that are made
/// here, the runtime's own choice of a cgroup, and no limits, since the machine may not have the controllers.
pub fn config(bundle: &Path, arguments: &[&str], seccomp: bool) -> Result<String> {
    let mut config: Value = serde_json::from_str(RECORDED).context(|| "parse Docker's configuration")?;
    config["root"] = json!({ "path": "rootfs" });
    config["process"]["args"] = json!(arguments);
    let devices = config["linux"]["resources"]["devices"].take();
    config["linux"]["resources"] = json!({ "devices": devices });
    let linux = config["linux"].as_object_mut().ok_or_else(|| error("no linux in Docker's configuration"))?;
    linux.remove("cgroupsPath");
    if !seccomp {
        linux.remove("seccomp");
    }
    for mount in config["mounts"].as_array_mut().into_iter().flatten() {
        if mount["type"] == "bind" {
            let name = mount["destination"].as_str().unwrap_or_default().replace('/', "-");
            let source = bundle.join(format!("file{name}"));
            fs::write(&source, "").context(|| format!("write {}", source.display()))?;
            mount["source"] = json!(source);
        }
    }
    Ok(config.to_string())
}
