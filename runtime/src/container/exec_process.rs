//! The process that `exec` runs: the container's own, as the options change it.

use rustix::process::Gid;

use super::options::ExecOptions;
use crate::error::{Context, Error, Result};
use crate::oci::spec::json::{self, List, Text};
use crate::oci::spec::process::ConsoleSize;
use crate::oci::spec::{Process, Spec};
use crate::validate::{ValidSpec, validate};

/// The container's configuration, with its process replaced by the one to run.
pub(super) fn with_process<'a>(mut spec: Spec<'a>, options: &'a ExecOptions) -> Result<ValidSpec<'a>> {
    let own = spec.process.take().unwrap_or_default();
    let process = match &options.process {
        Some(document) => {
            let mut process: Process<'a> = json::parse(document.as_bytes())
                .map_err(|error| Error::formatted(format_args!("--process: {error}")))?;
            // What the document leaves out is as in the container.
            if process.capabilities.is_none() {
                process.capabilities = own.capabilities;
            }
            if process.rlimits.is_empty() {
                process.rlimits = own.rlimits;
            }
            process
        }
        None => from_options(own, options)?,
    };
    spec.process = Some(process);
    validate(spec).context(|| "exec")
}

fn from_options<'a>(mut process: Process<'a>, options: &'a ExecOptions) -> Result<Process<'a>> {
    let texts = |words: &'a [String]| words.iter().map(|word| Text::from(word.as_str()));
    if options.arguments.is_empty() {
        return Err(Error::new("exec: a command is missing: pillbox exec ID COMMAND, or --process FILE"));
    }
    process.args = List(texts(&options.arguments).collect());
    process.env.0.extend(texts(&options.environment));
    process.terminal = options.terminal;
    process.console_size = options
        .terminal_size
        .map(|(height, width)| ConsoleSize { height: height.into(), width: width.into() });
    process.no_new_privileges |= options.no_new_privileges;
    if let Some(cwd) = &options.cwd {
        process.cwd = cwd.as_str().into();
    }
    if let Some((uid, gid)) = options.user {
        process.user.uid = uid.as_raw();
        process.user.gid = gid.map_or(process.user.gid, Gid::as_raw);
        // The container's HOME is another user's.
        process.env.0.retain(|variable| !variable.starts_with("HOME="));
    }
    process.user.additional_gids.0.extend(options.additional_gids.iter().map(|gid| gid.as_raw()));
    if let Some(profile) = &options.apparmor {
        process.apparmor_profile = Some(profile.as_str().into());
    }
    if let Some(label) = &options.process_label {
        process.selinux_label = Some(label.as_str().into());
    }
    if !options.capabilities.is_empty() {
        let sets = process.capabilities.get_or_insert_default();
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.0.extend(texts(&options.capabilities));
        }
        // If the container has inheritable capabilities, a user keeps the added ones through execve, as with
        // runc.
        if !sets.inheritable.is_empty() {
            sets.ambient.0.extend(texts(&options.capabilities));
        }
    }
    Ok(process)
}
