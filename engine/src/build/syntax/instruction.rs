//! Instructions: the name, its flags, its arguments. Variables in them are expanded later.

use std::time::Duration;

use super::flag::{Flags, split};
use super::heredoc::Heredoc;
use super::mount::RunMount;
use super::unknown::unknown;
use super::word::{has_name, split_words};
use crate::container::size::parse_time;
use crate::error::{Error, Result};

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// A stage begins.
    From(From),
    /// Names that may be given values from outside.
    Arg(Vec<Argument>),
    /// Variables of the image.
    Env(Vec<(String, String)>),
    /// Labels of the image.
    Label(Vec<(String, String)>),
    /// A program is run.
    Run(Run),
    /// Files from the context or another stage.
    Copy(Transfer),
    /// The same, with URLs and archives.
    Add(Transfer),
    /// What a container runs.
    Cmd(CommandLine),
    /// What `Cmd` is arguments to.
    Entrypoint(CommandLine),
    /// What command lines are given to.
    Shell(Vec<String>),
    /// Ports.
    Expose(String),
    /// Folders that become volumes.
    Volume(Vec<String>),
    /// Who programs run as.
    User(String),
    /// Where programs run.
    Workdir(String),
    /// How a container is asked to end.
    StopSignal(String),
    /// How its health is seen.
    Healthcheck(Health),
    /// An instruction for images that are made from this one.
    OnBuild(String),
    /// Who has made it.
    Maintainer(String),
}

/// `FROM IMAGE AS NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// An image, an earlier stage, or `scratch`.
    pub image: String,
    /// What later stages call it.
    pub name: Option<String>,
    /// What it is to run on.
    pub platform: Option<String>,
}

/// `ARG NAME=DEFAULT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// Its value, if none comes from outside.
    pub default: Option<String>,
}

/// A command for the shell, or a program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// As a line.
    Shell(String),
    /// As a JSON array.
    Exec(Vec<String>),
}

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What is run.
    pub command: CommandLine,
    /// Its heredocs.
    pub heredocs: Vec<Heredoc>,
    /// What is mounted meanwhile.
    pub mounts: Vec<String>,
    /// `default`, `none`, `host`.
    pub network: Option<String>,
    /// What it may do.
    pub security: Security,
}

/// What a program may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Security {
    /// What a container may.
    #[default]
    Sandbox,
    /// Everything.
    Insecure,
}

/// `COPY` and `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Paths and patterns; of ADD, URLs as well.
    pub sources: Vec<String>,
    /// Files whose content stands in the Dockerfile.
    pub heredocs: Vec<Heredoc>,
    /// Where they go.
    pub destination: String,
    /// A stage or an image; `None`: the context.
    pub from: Option<String>,
    /// Whose they are.
    pub owner: Option<String>,
    /// Their mode.
    pub mode: Option<String>,
    /// Patterns of what is left out.
    pub excludes: Vec<String>,
    /// What the content of a URL must be.
    pub checksum: Option<String>,
    /// Whether `.git` of a repository stays.
    pub keeps_git: bool,
    /// Whether the layer does not depend on those below.
    pub link: bool,
    /// Whether the folders above a source go along.
    pub parents: bool,
    /// Whether archives are unpacked; as usual if not said.
    pub unpack: Option<bool>,
}

/// `HEALTHCHECK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It is not looked at.
    None,
    /// A program whose status tells.
    Command {
        /// The program.
        command: CommandLine,
        /// Between two looks.
        interval: Option<Duration>,
        /// The longest that a look may take.
        timeout: Option<Duration>,
        /// While it starts, failures do not count.
        start_period: Option<Duration>,
        /// Between two looks meanwhile.
        start_interval: Option<Duration>,
        /// How many failures in a row make it unhealthy.
        retries: Option<u32>,
    },
}

/// All names.
const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Reads a line of a Dockerfile, or a trigger of an image.
///
/// # Errors
/// The instruction is unknown, or something of it is missing or wrong.
pub fn parse_instruction(line: &str, heredocs: Vec<Heredoc>, escape: char) -> Result<Instruction> {
    let (word, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
    let upper = word.to_ascii_uppercase();
    let Some(name) = NAMES.iter().copied().find(|name| *name == upper) else {
        return Err(unknown(word, rest, &NAMES));
    };
    let (mut flags, rest) = match name {
        "ADD" | "COPY" | "FROM" | "HEALTHCHECK" | "RUN" => split(name, rest, escape)?,
        _ => split(name, "", escape).map(|(flags, _)| (flags, rest))?,
    };
    let rest = rest.trim();
    if rest.is_empty() && name != "RUN" {
        return Err(Error::invalid(format!("{name}: an argument is missing")));
    }
    let instruction = match name {
        "FROM" => from(rest, &mut flags)?,
        "ARG" => Instruction::Arg(
            split_words(rest, escape).iter().map(|word| argument(word)).collect::<Result<_>>()?,
        ),
        "ENV" => Instruction::Env(pairs(name, rest, escape)?),
        "LABEL" => Instruction::Label(pairs(name, rest, escape)?),
        "RUN" => run(rest, heredocs, &mut flags)?,
        "COPY" | "ADD" => transfer(name, rest, heredocs, escape, &mut flags)?,
        "CMD" => Instruction::Cmd(command(name, rest)?),
        "ENTRYPOINT" => Instruction::Entrypoint(command(name, rest)?),
        "SHELL" => match command(name, rest)? {
            CommandLine::Exec(words) if !words.is_empty() => Instruction::Shell(words),
            _ => {
                return Err(Error::invalid("SHELL: must be a JSON array of words, as [\"/bin/sh\", \"-c\"]"));
            }
        },
        "EXPOSE" => Instruction::Expose(rest.to_string()),
        "VOLUME" => match command(name, rest)? {
            CommandLine::Exec(paths) => Instruction::Volume(paths),
            CommandLine::Shell(line) => {
                Instruction::Volume(line.split_whitespace().map(str::to_string).collect())
            }
        },
        "USER" => Instruction::User(rest.to_string()),
        "WORKDIR" => Instruction::Workdir(rest.to_string()),
        "STOPSIGNAL" => Instruction::StopSignal(rest.to_string()),
        "HEALTHCHECK" => health(rest, &mut flags)?,
        "ONBUILD" => on_build(line, rest, &heredocs)?,
        _ => Instruction::Maintainer(rest.to_string()),
    };
    flags.finish()?;
    Ok(instruction)
}

fn from(rest: &str, flags: &mut Flags) -> Result<Instruction> {
    let platform = flags.value("platform")?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (image, name) = match words[..] {
        [image] => (image, None),
        [image, word, name] if word.eq_ignore_ascii_case("AS") => (image, Some(name.to_ascii_lowercase())),
        _ => return Err(Error::invalid(format!("FROM {rest}: must be FROM IMAGE or FROM IMAGE AS NAME"))),
    };
    if let Some(name) = &name {
        let is_right = name.starts_with(|letter: char| letter.is_ascii_lowercase())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte));
        if !is_right {
            return Err(Error::invalid(format!(
                "FROM … AS {name}: must begin with a letter; letters, digits, `-`, `_` and `.` may follow"
            )));
        }
        if name == "scratch" || name == "context" {
            return Err(Error::invalid(format!(
                "FROM … AS {name}: the name has a meaning of its own: choose another"
            )));
        }
    }
    Ok(Instruction::From(From { image: image.to_string(), name, platform }))
}

fn argument(word: &str) -> Result<Argument> {
    let (name, default) = match word.split_once('=') {
        Some((name, default)) => (name, Some(default.to_string())),
        None => (word, None),
    };
    match name.is_empty() {
        true => Err(Error::invalid(format!("ARG {word}: a name is missing"))),
        false => Ok(Argument { name: name.to_string(), default }),
    }
}

/// `NAME=VALUE …`, or, as it was first, `NAME VALUE`.
fn pairs(instruction: &str, rest: &str, escape: char) -> Result<Vec<(String, String)>> {
    let words = split_words(rest, escape);
    if !words.first().is_some_and(|word| has_name(word)) {
        let (name, value) = rest.split_once(char::is_whitespace).ok_or_else(|| {
            Error::invalid(format!("{instruction} {rest}: must be {instruction} NAME=VALUE"))
        })?;
        return Ok(vec![(name.to_string(), value.trim_start().to_string())]);
    }
    let pair = |word: &String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_string(), value.to_string())),
        _ => Err(Error::invalid(format!("{instruction} … {word}: must be NAME=VALUE"))),
    };
    words.iter().map(pair).collect()
}

/// What is no JSON array is a line for the shell; an array of other things than words is wrong.
fn command(instruction: &str, rest: &str) -> Result<CommandLine> {
    if !rest.starts_with('[') {
        return Ok(CommandLine::Shell(rest.to_string()));
    }
    match serde_json::from_str::<Vec<serde_json::Value>>(rest) {
        Err(_) => Ok(CommandLine::Shell(rest.to_string())),
        Ok(values) => {
            let words = values.into_iter().map(|value| match value {
                serde_json::Value::String(word) => Ok(word),
                other => Err(Error::invalid(format!(
                    "{instruction} {rest}: {other}: a JSON array must have words alone"
                ))),
            });
            words.collect::<Result<_>>().map(CommandLine::Exec)
        }
    }
}

fn run(rest: &str, heredocs: Vec<Heredoc>, flags: &mut Flags) -> Result<Instruction> {
    let mounts = flags.values("mount")?;
    for mount in &mounts {
        // Variables may stand in it: what is wrong even so is said with its line.
        if !mount.contains('$') {
            RunMount::parse(mount)?;
        }
    }
    let network = flags.value("network")?;
    let security = match flags.value("security")?.as_deref() {
        None | Some("sandbox") => Security::Sandbox,
        Some("insecure") => Security::Insecure,
        Some(other) => {
            return Err(Error::invalid(format!("RUN --security={other}: must be sandbox or insecure")));
        }
    };
    if let Some(other) = network.as_deref().filter(|network| !["default", "none", "host"].contains(network)) {
        return Err(Error::invalid(format!("RUN --network={other}: must be default, none or host")));
    }
    let command = command("RUN", rest)?;
    match &command {
        CommandLine::Shell(line) if line.is_empty() => Err(Error::invalid("RUN: a command is missing")),
        CommandLine::Exec(words) if words.is_empty() => Err(Error::invalid("RUN []: a program is missing")),
        _ => Ok(Instruction::Run(Run { command, heredocs, mounts, network, security })),
    }
}

fn transfer(
    name: &'static str,
    rest: &str,
    heredocs: Vec<Heredoc>,
    escape: char,
    flags: &mut Flags,
) -> Result<Instruction> {
    let is_add = name == "ADD";
    let mut paths = match command(name, rest)? {
        CommandLine::Exec(words) => words,
        CommandLine::Shell(line) => split_words(&line, escape),
    };
    let destination = paths.pop().filter(|_| !paths.is_empty());
    let destination = destination
        .ok_or_else(|| Error::invalid(format!("{name} {rest}: must be {name} SOURCE … DESTINATION")))?;
    paths.retain(|path| Heredoc::parse(path).is_none());
    let unpack = match is_add {
        true => flags.value("unpack")?.map(|text| match text.as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            other => Err(Error::invalid(format!("ADD --unpack={other}: must be true or false"))),
        }),
        false => None,
    };
    let transfer = Transfer {
        sources: paths,
        heredocs,
        destination,
        from: if is_add { None } else { flags.value("from")? },
        owner: flags.value("chown")?,
        mode: flags.value("chmod")?,
        excludes: flags.values("exclude")?,
        checksum: if is_add { flags.value("checksum")? } else { None },
        keeps_git: is_add && flags.switch("keep-git-dir")?,
        link: flags.switch("link")?,
        parents: if is_add { false } else { flags.switch("parents")? },
        unpack: unpack.transpose()?,
    };
    Ok(if is_add { Instruction::Add(transfer) } else { Instruction::Copy(transfer) })
}

fn health(rest: &str, flags: &mut Flags) -> Result<Instruction> {
    let (kind, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let mut time = |name: &str| {
        let time = flags.value(name)?.map(|text| parse_time(&format!("HEALTHCHECK --{name}"), &text));
        time.transpose()
    };
    let (interval, timeout) = (time("interval")?, time("timeout")?);
    let (start_period, start_interval) = (time("start-period")?, time("start-interval")?);
    let retries = flags.value("retries")?.map(|text| {
        text.parse().map_err(|_| Error::invalid(format!("HEALTHCHECK --retries={text}: must be a number")))
    });
    let retries = retries.transpose()?;
    let health = match kind.to_ascii_uppercase().as_str() {
        "NONE" if rest.trim().is_empty() => Health::None,
        "CMD" if !rest.trim().is_empty() => Health::Command {
            command: command("HEALTHCHECK CMD", rest.trim())?,
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
        },
        _ => {
            return Err(Error::invalid(format!(
                "HEALTHCHECK {kind}: must be HEALTHCHECK CMD COMMAND or HEALTHCHECK NONE"
            )));
        }
    };
    Ok(Instruction::Healthcheck(health))
}

/// The trigger is kept as it is written, with its heredocs.
fn on_build(line: &str, rest: &str, heredocs: &[Heredoc]) -> Result<Instruction> {
    let (word, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let keyword = word.to_ascii_uppercase();
    match keyword.as_str() {
        "ONBUILD" | "FROM" | "MAINTAINER" => {
            return Err(Error::invalid(format!("{line}: {keyword} cannot be a trigger")));
        }
        keyword if !NAMES.contains(&keyword) => return Err(unknown(keyword, arguments, &NAMES)),
        _ => {}
    }
    let mut trigger = rest.to_string();
    for heredoc in heredocs {
        trigger += &format!("\n{}{}", heredoc.content, heredoc.name);
    }
    Ok(Instruction::OnBuild(trigger))
}
