//! What is wrong with the options of a container whatever the machine has, found before it is made, and named by its flag.

use std::path::Path;

use super::options::{Limits, Mount, MountSource, Options};
use crate::error::{Error, Result};

/// What can be mounted in /proc in place of what is there: files alone.
const PROC: &str = "/proc";

/// Checks options.
///
/// # Errors
/// One has a value that cannot be.
pub fn check_options(options: &Options) -> Result<()> {
    check_workdir(options)?;
    check_limits(&options.limits)?;
    options.mounts.iter().try_for_each(check_mount)
}

fn check_workdir(options: &Options) -> Result<()> {
    match options.workdir.as_deref().filter(|path| !path.is_empty() && !path.starts_with('/')) {
        Some(path) => Err(Error::invalid(format!("--workdir {path}: must be an absolute path"))),
        None => Ok(()),
    }
}

fn check_limits(limits: &Limits) -> Result<()> {
    let Limits { pids, blkio_weight, oom_score_adj, .. } = limits;
    if let Some(score) = oom_score_adj.filter(|score| !(-1000..=1000).contains(score)) {
        return Err(Error::invalid(format!("--oom-score-adj {score}: must be from -1000 to 1000")));
    }
    if let Some(weight) = blkio_weight.filter(|weight| *weight != 0 && !(10..=1000).contains(weight)) {
        return Err(Error::invalid(format!("--blkio-weight {weight}: must be from 10 to 1000")));
    }
    match pids.filter(|count| *count < -1) {
        Some(count) => {
            Err(Error::invalid(format!("--pids-limit {count}: must be a number, or -1 for no limit")))
        }
        None => Ok(()),
    }
}

fn check_mount(mount: &Mount) -> Result<()> {
    let target = mount.destination.trim_end_matches('/');
    let is_in_proc = target.strip_prefix(PROC).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let (flag, from, is_file) = match &mount.source {
        MountSource::Bind { path, .. } => ("--volume", path.display().to_string(), !Path::new(path).is_dir()),
        MountSource::Volume { name, .. } => ("--volume", name.clone(), false),
        MountSource::Tmpfs { .. } => ("--tmpfs", String::new(), false),
    };
    // A procfs may be in the place of its own.
    let is_procfs = target == PROC && from == PROC;
    if !is_in_proc || is_procfs || (is_file && target != PROC) {
        return Ok(());
    }
    let separator = if from.is_empty() { "" } else { ":" };
    Err(Error::invalid(format!(
        "{flag} {from}{separator}{target}: nothing but single files can be mounted in {PROC}, such as {PROC}/cpuinfo"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::options::Access;

    #[test]
    fn options_are_named_by_their_flags() {
        let with = |change: &dyn Fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            check_options(&options).map_err(|error| error.to_string())
        };
        let refused = |change: &dyn Fn(&mut Options), words: &str| {
            let said = with(change).unwrap_err();
            assert!(said.starts_with(words), "{said}");
        };
        refused(&|options| options.workdir = Some("a/b".into()), "--workdir a/b: must be an absolute path");
        refused(&|options| options.limits.oom_score_adj = Some(2000), "--oom-score-adj 2000: must be from");
        refused(&|options| options.limits.blkio_weight = Some(5), "--blkio-weight 5: must be from 10");
        refused(&|options| options.limits.pids = Some(-5), "--pids-limit -5: must be a number");
        let mount = |from: &str, to: &str| {
            let source = MountSource::Bind { path: from.into(), propagation: None };
            Mount::new(source, to.to_string(), Access::ReadWrite)
        };
        refused(&|options| options.mounts = vec![mount("/etc", "/proc")], "--volume /etc:/proc: nothing but");
        refused(
            &|options| options.mounts = vec![mount("/etc", "/proc/sys/")],
            "--volume /etc:/proc/sys: nothing",
        );
        with(&|options| {
            options.mounts = vec![mount("/proc/cpuinfo", "/proc/cpuinfo"), mount("/etc", "/process")]
        })
        .unwrap();
    }
}
