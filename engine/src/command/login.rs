//! login and logout: names and passwords for registries.

use std::io::{IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::registry_flags::{FLAGS, access};
use super::{Arguments, Command, Flag, Global, print, say};
use crate::error::{Context, Error, Result};
use crate::reference::{DOCKER_HUB, Repository};
use crate::registry::{Credential, Credentials, Purpose, Registry, Verification};

pub const LOGIN: Command = Command {
    name: "login",
    aliases: &[],
    operands: "[REGISTRY]",
    operand_count: 0..=1,
    help: "keep a name and a password for a registry (default: Docker Hub)",
    flags: &[
        &[
            Flag { long: "username", short: Some('u'), value: Some("NAME"), help: "the name" },
            Flag {
                long: "password",
                short: Some('p'),
                value: Some("PASSWORD"),
                help: "the password; others can see it",
            },
            Flag { long: "password-stdin", short: None, value: None, help: "read the password from stdin" },
        ],
        FLAGS,
    ],
    ends_at_operand: false,
    run: login,
};

pub const LOGOUT: Command = Command {
    name: "logout",
    aliases: &[],
    operands: "[REGISTRY]",
    operand_count: 0..=1,
    help: "forget the name and the password for a registry",
    flags: &[],
    ends_at_operand: false,
    run: logout,
};

fn login(_: &Global, arguments: &Arguments) -> Result<u8> {
    let registry = registry(arguments)?;
    let access = access(arguments)?;
    let name = match arguments.text("username")? {
        Some(name) => name.to_string(),
        None if arguments.is_set("password-stdin") => {
            return Err(Error::invalid("--password-stdin: --username is missing"));
        }
        None => ask("Username: ", false)?,
    };
    let password = match arguments.text("password")? {
        Some(_) if arguments.is_set("password-stdin") => {
            return Err(Error::invalid("--password and --password-stdin: one of them is possible"));
        }
        Some(password) => {
            say("--password: it can be seen in the list of processes: --password-stdin hides it");
            password.to_string()
        }
        None if arguments.is_set("password-stdin") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context(|| "--password-stdin")?;
            text.trim_end_matches(['\n', '\r']).to_string()
        }
        None => ask("Password: ", true)?,
    };
    if name.is_empty() || password.is_empty() {
        return Err(Error::invalid("login: the name and the password must not be empty"));
    }
    let credential = Credential::Password { name, password };
    let whole = Repository { registry: registry.clone(), path: String::new() };
    let is_insecure = access.registries.is_insecure(&registry);
    let verification = if is_insecure { Verification::Waived } else { access.verification };
    let opened = Registry::open_as(&whole, Purpose::Pull, verification, Some(credential.clone()))?;
    opened.check_credentials()?;
    let place = access.credentials.keep(&registry, &credential)?;
    if place.starts_with('/') {
        say(&format!("the password is kept in {place}, where whoever may read the file can see it"));
    }
    print("Login Succeeded\n")
}

fn logout(_: &Global, arguments: &Arguments) -> Result<u8> {
    let registry = registry(arguments)?;
    match Credentials::of_caller().forget(&registry)? {
        true => print(&format!("Removing login credentials for {registry}\n")),
        false => print(&format!("Not logged in to {registry}\n")),
    }
}

/// The registry that is meant, without what people write around it.
fn registry(arguments: &Arguments) -> Result<String> {
    let Some(text) = arguments.operand(0)? else { return Ok(DOCKER_HUB.to_string()) };
    let host = text.strip_prefix("https://").or(text.strip_prefix("http://")).unwrap_or(text);
    let host = host.split('/').next().unwrap_or(host);
    Ok(match host {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_string(),
        "" => return Err(Error::invalid(format!("registry {text:?}: must be a host"))),
        host => host.to_string(),
    })
}

/// Asks on the terminal; what is secret does not show.
fn ask(question: &str, secret: bool) -> Result<String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Error::invalid(
            "login: nobody can be asked, because stdin is no terminal: --username with --password-stdin",
        ));
    }
    print(question)?;
    let hidden = if secret { Some(Hidden::new()?) } else { None };
    let mut line = String::new();
    stdin.read_line(&mut line)?;
    if hidden.is_some() {
        std::io::stdout().write_all(b"\n")?;
    }
    Ok(line.trim_end_matches(['\n', '\r']).to_string())
}

/// The terminal, while it does not show what is typed.
struct Hidden(Termios);

impl Hidden {
    fn new() -> Result<Hidden> {
        let before = tcgetattr(std::io::stdin()).context(|| "the terminal")?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &silent).context(|| "the terminal")?;
        Ok(Hidden(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
    }
}
