//! try: a throwaway container over this system's own files.

use std::ffi::OsStr;
use std::path::PathBuf;

use crate::scratch;
use pillbox::ContainerId;
use pillbox::container::{self, Bundle};
use pillbox::error::{Error, Result};
use rustix::process::Uid;
use rustix::stdio;

use super::{create_options, named_networks, root, warn};
use crate::arguments::{Arguments, Global};

pub fn r#try(global: &Global, arguments: Arguments) -> Result<u8> {
    let command = arguments
        .operands
        .iter()
        .map(|word| {
            word.to_str()
                .map(str::to_string)
                .ok_or_else(|| Error::formatted(format_args!("{}: not UTF-8", word.display())))
        })
        .collect::<Result<Vec<_>>>()?;
    let interactive = rustix::termios::isatty(stdio::stdin()) && rustix::termios::isatty(stdio::stdout());
    let command = if command.is_empty() { vec![shell()] } else { command };
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let config = scratch::config(&scratch::Program {
        arguments: command,
        environment: environment(uid),
        cwd: std::env::current_dir().ok().and_then(|folder| folder.to_str().map(str::to_string)),
        terminal: interactive,
        user: (uid, gid),
    })?;
    let bundle = Bundle { path: PathBuf::from("/"), config, config_name: "pillbox try".to_string() };
    let mut options = create_options(global, &arguments, false)?;
    options.scratch_over = pillbox::host::layers()?;
    options.networks = named_networks(global, &arguments, None)?;
    let id = ContainerId::new(format!("try-{}", std::process::id()))?;
    let ended =
        container::run(&root(global), &id, &bundle, &options, false, &mut |warning| warn(global, &warning))?;
    Ok(ended.status)
}

fn shell() -> String {
    let wanted = std::env::var("SHELL").unwrap_or_default();
    if wanted.starts_with('/') && std::path::Path::new(&wanted).exists() {
        wanted
    } else {
        "/bin/sh".to_string()
    }
}

/// The variables that an interactive shell needs; none that could name a socket or a secret of the user's.
fn environment(uid: Uid) -> Vec<String> {
    const KEPT: [&str; 7] = ["PATH", "TERM", "COLORTERM", "LANG", "LC_ALL", "TZ", "SHELL"];
    let kept = KEPT.iter().filter_map(|name| std::env::var(name).ok().map(|value| format!("{name}={value}")));
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let home = home.as_deref().and_then(OsStr::to_str).unwrap_or(if uid.is_root() { "/root" } else { "/" });
    kept.chain([format!("HOME={home}"), "container=pillbox".to_string()]).collect()
}
