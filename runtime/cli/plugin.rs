//! pillbox as a CNI plugin: called by another name, it takes variables and stdin instead of arguments.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use pillbox::container::STORE;
use pillbox::error::{Error, Result};
use pillbox_network::cni::{self, Programs, Refusal};
use pillbox_network::detach::Remains;
use pillbox_network::plugin::{self, Answer, Call};
use rustix::stdio::stdin;
use rustix::termios::isatty;

/// Whether that is the name, whatever folder stands before it.
pub fn is_called(program: &OsStr) -> bool {
    let folder = program.as_bytes().strip_suffix(plugin::NAME.as_bytes());
    folder.is_some_and(|folder| folder.is_empty() || folder.ends_with(b"/"))
}

/// Answers the call, and returns the exit status. If `stdio` is an error, it is only safe to report it.
pub fn main(stdio: Result<()>) -> u8 {
    // Plugins that are executed have their end seen.
    let _ = pillbox_init::sys::default_signal(linux_raw_sys::general::SIGCHLD);
    let command = variable("CNI_COMMAND");
    let input = stdio.and_then(|()| crate::refuse_setuid()).and_then(|()| read(&command));
    let answer = match input {
        Ok(input) => answer(&command, &input),
        Err(error) => {
            let refusal = Refusal {
                code: Refusal::IO,
                details: error.to_string(),
                msg: "stdin".into(),
                ..Refusal::default()
            };
            Answer { text: refusal.write(), status: 1, remains: None }
        }
    };
    let Answer { mut text, status, remains } = answer;
    if !text.is_empty() {
        text.push('\n');
    }
    let mut stdout = std::io::stdout();
    let printed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    if let Some(remains) = remains {
        leave(remains);
    }
    if printed.is_err() { 1 } else { status }
}

fn answer(command: &str, input: &str) -> Answer {
    plugin::answer(&Call {
        command,
        container_id: &variable("CNI_CONTAINERID"),
        namespace: &variable("CNI_NETNS"),
        interface: &variable("CNI_IFNAME"),
        args: &variable("CNI_ARGS"),
        programs,
        store: Path::new(STORE),
        input,
    })
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn read(command: &str) -> Result<String> {
    // A person at a terminal who asks for the versions need not type a configuration.
    if command == "VERSION" && isatty(stdin()) {
        return Ok(String::new());
    }
    let read = stdin().try_clone_to_owned().and_then(|stdin| pillbox_json::read_document(stdin.into()));
    let text = read.map_err(|error| Error::formatted(format_args!("read stdin: {error}")))?;
    String::from_utf8(text).map_err(|_| Error::new("stdin is not UTF-8"))
}

fn programs() -> pillbox_network::Result<Programs> {
    let folders = cni::parse_path(&variable("CNI_PATH"))?;
    let environment = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(Programs { folders, environment, ..Programs::new(cni::execute) })
}

/// Lets a copy of this process delete links. Nothing depends on it: they are down, have other names, and go
/// with their namespace.
fn leave(remains: Remains) {
    let mut remains = Some(remains);
    let mut delete = || drop(remains.take().map(Remains::delete));
    // The kernel's socket is among it.
    if pillbox::in_background(pillbox::Open::Descriptors, &mut delete).is_err() {
        delete();
    }
}
