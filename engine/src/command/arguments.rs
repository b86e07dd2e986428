//! The command line: one table of commands and flags, for parsing, help and completion.
//!
//! Flags are written as Docker's users write them: `--x v`, `--x=v`, `-x v`, `-xv`, `-it`, `--x=false`.

use std::ffi::{OsStr, OsString};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use lexopt::Arg;

use super::refused::{self, Refused};
use crate::error::{Error, Result};
use crate::order;

/// A flag of the program or of a command.
#[derive(Debug)]
pub struct Flag {
    /// Without the dashes.
    pub long: &'static str,
    /// The letter, if there is one.
    pub short: Option<char>,
    /// The name of its value in the help; `None` for a switch.
    pub value: Option<&'static str>,
    /// One line of help.
    pub help: &'static str,
}

/// A command.
pub struct Command {
    /// Its name, of one word or two: `run`, `image ls`.
    pub name: &'static str,
    /// Other names of it.
    pub aliases: &'static [&'static str],
    /// The names of its operands in the help.
    pub operands: &'static str,
    /// How many operands there may be.
    pub operand_count: RangeInclusive<usize>,
    /// One line of help.
    pub help: &'static str,
    /// Its flags, in groups that several commands share.
    pub flags: &'static [&'static [Flag]],
    /// Whether everything after the first operand is for another program.
    pub ends_at_operand: bool,
    /// What it does; the result is the exit status.
    pub run: fn(&Global, &Arguments) -> Result<u8>,
}

/// The flags before the command.
#[derive(Debug, Default)]
pub struct Global {
    /// `--data-root`.
    pub data_root: Option<PathBuf>,
    /// `--exec-root`.
    pub exec_root: Option<PathBuf>,
    /// What `daemon` does.
    pub serve: Option<Serve>,
}

/// Serves the API.
pub type Serve = fn(&Global, &Arguments) -> Result<u8>;

/// The flags and operands of a command.
#[derive(Debug, Default)]
pub struct Arguments {
    flags: Vec<(&'static str, OsString)>,
    /// What is not a flag.
    pub operands: Vec<OsString>,
}

/// What a command line asks for.
pub enum Request {
    /// To run a command.
    Run(&'static Command, Global, Arguments),
    /// For the help of the program, of a group such as `image`, or of one command.
    Help(Topic),
    /// For the version.
    Version,
}

/// What help is about.
#[derive(Clone, Copy)]
pub enum Topic {
    /// All commands.
    Program,
    /// The commands whose first word this is.
    Group(&'static str),
    /// One command.
    Command(&'static Command),
}

/// The flags before the command.
pub const GLOBAL_FLAGS: &[Flag] = &[
    Flag {
        long: "data-root",
        short: None,
        value: Some("FOLDER"),
        help: "where images and containers are kept",
    },
    Flag {
        long: "exec-root",
        short: None,
        value: Some("FOLDER"),
        help: "where the state of what runs is kept",
    },
    HELP,
    Flag { long: "version", short: Some('v'), value: None, help: "show the version" },
];

const HELP: Flag = Flag { long: "help", short: None, value: None, help: "show this help" };

impl Arguments {
    /// What a command line with these flags would be.
    pub fn of(flags: impl IntoIterator<Item = (&'static str, String)>) -> Arguments {
        let flags = flags.into_iter().map(|(name, value)| (name, OsString::from(value))).collect();
        Arguments { flags, operands: Vec::new() }
    }

    /// The value of a flag; the last one if there are several.
    pub fn value(&self, long: &str) -> Option<&OsStr> {
        self.flags.iter().rev().find(|(name, _)| *name == long).map(|(_, value)| value.as_os_str())
    }

    /// The same as text.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn text(&self, long: &str) -> Result<Option<&str>> {
        self.value(long).map(|value| text(value, &format!("--{long}"))).transpose()
    }

    /// All values of a flag that may be repeated.
    ///
    /// # Errors
    /// One is not UTF-8.
    pub fn texts(&self, long: &str) -> Result<Vec<String>> {
        let values = self.flags.iter().filter(|(name, _)| *name == long);
        values.map(|(_, value)| text(value, &format!("--{long}")).map(str::to_string)).collect()
    }

    /// Whether a switch is on.
    pub fn is_set(&self, long: &str) -> bool {
        self.value(long).is_some_and(|value| value == "true")
    }

    /// Whether a switch that is on by itself has not been turned off.
    pub fn is_on(&self, long: &str) -> bool {
        self.value(long).is_none_or(|value| value == "true")
    }

    /// A number.
    ///
    /// # Errors
    /// It is none, or one that cannot be.
    pub fn number<T: std::str::FromStr>(&self, long: &str) -> Result<Option<T>> {
        let wrong =
            |text: &str| Error::invalid(format!("--{long} {text}: not a number, or one that cannot be"));
        self.text(long)?.map(|text| text.parse().map_err(|_| wrong(text))).transpose()
    }

    /// The operand at `index`.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn operand(&self, index: usize) -> Result<Option<&str>> {
        self.operands.get(index).map(|operand| text(operand, "argument")).transpose()
    }

    /// All operands from `index` on.
    ///
    /// # Errors
    /// One is not UTF-8.
    pub fn operands_from(&self, index: usize) -> Result<Vec<String>> {
        let rest = self.operands.iter().skip(index);
        rest.map(|operand| text(operand, "argument").map(str::to_string)).collect()
    }
}

fn text<'a>(value: &'a OsStr, what: &str) -> Result<&'a str> {
    value.to_str().ok_or_else(|| Error::invalid(format!("{what} {:?}: not UTF-8", value.display())))
}

/// Parses a command line.
///
/// # Errors
/// A command or flag is unknown, or a value is missing or wrong; the error names it.
pub fn parse(arguments: impl Iterator<Item = OsString>, commands: &'static [Command]) -> Result<Request> {
    let mut global = Global::default();
    let mut parser = lexopt::Parser::from_args(arguments);
    let command = loop {
        match parser.next().map_err(syntax)? {
            None => return Ok(Request::Help(Topic::Program)),
            Some(Arg::Value(word)) if word == "help" => {
                let words = parser.raw_args().map_err(syntax)?;
                let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
                return topic(&words.join(" "), commands).map(Request::Help);
            }
            Some(Arg::Value(word)) => match topic(&word.to_string_lossy(), commands)? {
                Topic::Command(command) => break command,
                Topic::Program => return Ok(Request::Help(Topic::Program)),
                Topic::Group(group) => match parser.next().map_err(syntax)? {
                    Some(Arg::Value(second)) => {
                        match topic(&format!("{group} {}", second.to_string_lossy()), commands)? {
                            Topic::Command(command) => break command,
                            other => return Ok(Request::Help(other)),
                        }
                    }
                    None | Some(Arg::Long("help")) => return Ok(Request::Help(Topic::Group(group))),
                    Some(flag) => return Err(unknown_flag(&flag, group)),
                },
            },
            Some(flag) => {
                let flag = find(&flag, &[GLOBAL_FLAGS]).ok_or_else(|| unknown_flag(&flag, ""))?;
                match flag.long {
                    "help" => return Ok(Request::Help(Topic::Program)),
                    "version" => return Ok(Request::Version),
                    "data-root" => global.data_root = Some(value(&mut parser, flag, false)?.into()),
                    _ => global.exec_root = Some(value(&mut parser, flag, false)?.into()),
                }
            }
        }
    };
    parse_command(&mut parser, command).map(|arguments| match arguments {
        Some(arguments) => Request::Run(command, global, arguments),
        None => Request::Help(Topic::Command(command)),
    })
}

/// The flags and operands behind a command; `None` if they ask for its help.
fn parse_command(parser: &mut lexopt::Parser, command: &'static Command) -> Result<Option<Arguments>> {
    let mut read = Arguments::default();
    while let Some(argument) = parser.next().map_err(syntax)? {
        if let Arg::Value(operand) = argument {
            read.operands.push(operand);
            if command.ends_at_operand {
                read.operands.extend(parser.raw_args().map_err(syntax)?);
            }
            continue;
        }
        let is_short = matches!(argument, Arg::Short(_));
        let found =
            find(&argument, command.flags).or_else(|| find(&argument, &[std::slice::from_ref(&HELP)]));
        let Some(flag) = found else {
            let unknown = unknown_flag(&argument, command.name);
            let Arg::Long(long) = argument else { return Err(unknown) };
            let refused = refused::find(command.name, long).ok_or(unknown)?;
            refuse(parser, command.name, refused)?;
            continue;
        };
        if flag.long == HELP.long {
            return Ok(None);
        }
        read.flags.push((flag.long, value(parser, flag, is_short)?));
    }
    let Command { name, operands, operand_count, .. } = command;
    if read.operands.len() < *operand_count.start() {
        return Err(Error::invalid(format!("{name}: {operands} is missing: see box {name} --help")));
    }
    match read.operands.get(*operand_count.end()) {
        Some(operand) => {
            Err(Error::invalid(format!("{name}: {:?} is one argument too many", operand.display())))
        }
        None => Ok(Some(read)),
    }
}

/// The command or the group with that name.
fn topic(name: &str, commands: &'static [Command]) -> Result<Topic> {
    if name.is_empty() {
        return Ok(Topic::Program);
    }
    let is_it = |command: &&Command| command.name == name || command.aliases.contains(&name);
    if let Some(command) = commands.iter().find(is_it) {
        return Ok(Topic::Command(command));
    }
    let group =
        commands.iter().find_map(|command| command.name.split_once(' ').filter(|(word, _)| *word == name));
    match group {
        Some((group, _)) => Ok(Topic::Group(group)),
        None => Err(Error::invalid(format!("{name}: there is no such command: see box --help"))),
    }
}

fn find(argument: &Arg<'_>, groups: &[&'static [Flag]]) -> Option<&'static Flag> {
    let flags = || groups.iter().copied().flatten();
    let found = flags().find(|flag| match argument {
        Arg::Long(long) => *long == flag.long,
        Arg::Short(short) => Some(*short) == flag.short,
        Arg::Value(_) => false,
    });
    match argument {
        Arg::Long(long) if found.is_none() => {
            let meant = refused::by_alias(long)?;
            flags().find(|flag| flag.long == meant)
        }
        _ => found,
    }
}

/// One of Docker's flags that box does not have: no error only if it asks for what box does anyway.
fn refuse(parser: &mut lexopt::Parser, command: &str, flag: &Refused) -> Result<()> {
    let Refused { long, is_switch, .. } = flag;
    let value = match is_switch {
        true => switch_value(parser, long)?,
        false => needed_value(parser, long)?,
    };
    match flag.refusal(&value) {
        Some(reason) => Err(Error::invalid(format!("{command}: {reason}"))),
        None => Ok(()),
    }
}

fn unknown_flag(argument: &Arg<'_>, command: &str) -> Error {
    let name = match argument {
        Arg::Long(long) => format!("--{long}"),
        Arg::Short(short) => format!("-{short}"),
        Arg::Value(value) => value.display().to_string(),
    };
    match command {
        "" => Error::invalid(format!("{name}: there is no such flag: see box --help")),
        command => {
            Error::invalid(format!("{command}: {name}: there is no such flag: see box {command} --help"))
        }
    }
}

/// The value of a flag. A switch may be followed by `=true` or `=false`; behind the letter of one come others.
fn value(parser: &mut lexopt::Parser, flag: &Flag, is_short: bool) -> Result<OsString> {
    if flag.value.is_some_and(is_optional) {
        return Ok(parser.optional_value().unwrap_or_default());
    }
    if flag.value.is_some() {
        return needed_value(parser, flag.long);
    }
    if is_short {
        return Ok("true".into());
    }
    switch_value(parser, flag.long)
}

fn needed_value(parser: &mut lexopt::Parser, long: &str) -> Result<OsString> {
    parser.value().map_err(|_| Error::invalid(format!("--{long}: a value is missing")))
}

fn switch_value(parser: &mut lexopt::Parser, long: &str) -> Result<OsString> {
    match parser.optional_value() {
        None => Ok("true".into()),
        Some(value) if value == "true" || value == "1" => Ok("true".into()),
        Some(value) if value == "false" || value == "0" => Ok("false".into()),
        Some(value) => Err(Error::invalid(format!("--{long}={}: must be true or false", value.display()))),
    }
}

/// One that may be left out is `[=VALUE]`, and stands behind an equals sign alone.
pub fn is_optional(value: &str) -> bool {
    value.starts_with("[=")
}

fn syntax(error: lexopt::Error) -> Error {
    Error::invalid(error.to_string())
}

/// The help about a topic.
pub fn help(topic: Topic, commands: &'static [Command]) -> String {
    match topic {
        Topic::Program => {
            let head = "Usage: box [FLAGS] COMMAND\n\nContainers from images, without a daemon.\n";
            format!(
                "{head}\nCommands:\n{}\nFlags:\n{}",
                command_lines(commands, ""),
                flag_lines(&[GLOBAL_FLAGS])
            )
        }
        Topic::Group(group) => {
            format!("Usage: box {group} COMMAND\n\nCommands:\n{}", command_lines(commands, group))
        }
        Topic::Command(command) => {
            let Command { name, aliases, operands, help, flags, .. } = command;
            let also = match aliases {
                [] => String::new(),
                aliases => format!("\nAlso: box {}\n", aliases.join(", box ")),
            };
            let groups: Vec<&[Flag]> = flags.iter().copied().chain([std::slice::from_ref(&HELP)]).collect();
            format!("Usage: box {name} [FLAGS] {operands}\n\n{help}\n{also}\nFlags:\n{}", flag_lines(&groups))
        }
    }
}

/// A line for each command of a group, by the first of its names there; with an empty group, for each one of a single word and for each
/// group.
fn command_lines(commands: &'static [Command], group: &str) -> String {
    let mut text = String::new();
    let mut groups: Vec<&str> = Vec::new();
    for command in commands {
        let mut names = std::iter::once(&command.name).chain(command.aliases);
        match command.name.split_once(' ') {
            None if group.is_empty() => text += &format!("  {:<10} {}\n", command.name, command.help),
            Some((word, _)) if group.is_empty() && !groups.contains(&word) => groups.push(word),
            _ => {
                let of_group = |name: &&'static str| name.split_once(' ').filter(|(word, _)| *word == group);
                if let Some((_, name)) = names.find_map(of_group) {
                    text += &format!("  {name:<10} {}\n", command.help);
                }
            }
        }
    }
    for group in groups {
        text += &format!("  {group:<10} see box {group} --help\n");
    }
    text
}

fn flag_lines(groups: &[&[Flag]]) -> String {
    let mut flags: Vec<&Flag> = groups.iter().copied().flatten().collect();
    order::sort_by_key(&mut flags, |flag| flag.long);
    let mut text = String::new();
    for flag in flags {
        let short = flag.short.map_or("    ".to_string(), |short| format!("-{short}, "));
        let value = match flag.value {
            None => String::new(),
            Some(value) if is_optional(value) => value.to_string(),
            Some(value) => format!(" {value}"),
        };
        text += &format!("  {short}{:<26} {}\n", format!("--{}{value}", flag.long), flag.help);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN_FLAGS: &[Flag] = &[
        Flag { long: "interactive", short: Some('i'), value: None, help: "" },
        Flag { long: "tty", short: Some('t'), value: None, help: "" },
        Flag { long: "env", short: Some('e'), value: Some("NAME=VALUE"), help: "" },
    ];

    const COMMANDS: &[Command] = &[
        Command {
            name: "run",
            aliases: &["container run"],
            operands: "IMAGE",
            operand_count: 1..=usize::MAX,
            help: "",
            flags: &[RUN_FLAGS],
            ends_at_operand: true,
            run: |_, _| Ok(0),
        },
        Command {
            name: "image ls",
            aliases: &["images"],
            operands: "",
            operand_count: 0..=0,
            help: "",
            flags: &[],
            ends_at_operand: false,
            run: |_, _| Ok(0),
        },
    ];

    fn parsed(line: &str) -> Result<Request> {
        parse(line.split_whitespace().map(OsString::from), COMMANDS)
    }

    fn run(line: &str) -> Arguments {
        match parsed(line) {
            Ok(Request::Run(_, _, arguments)) => arguments,
            Ok(_) => panic!("{line}: no command"),
            Err(error) => panic!("{line}: {error}"),
        }
    }

    #[test]
    fn flags_are_written_in_every_way() {
        let arguments = run("run -it -e A=1 -eB=2 --env=C=3 --env D=4 image -e for the program");
        assert!(arguments.is_set("interactive") && arguments.is_set("tty"));
        assert_eq!(arguments.texts("env").unwrap(), ["A=1", "B=2", "C=3", "D=4"]);
        assert_eq!(arguments.operands_from(1).unwrap(), ["-e", "for", "the", "program"]);
        assert!(!run("run -t --tty=false image").is_set("tty"));
    }

    #[test]
    fn what_is_unknown_is_named() {
        let refused = |line| parsed(line).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(refused("run --walk all x"), "run: --walk: there is no such flag: see box run --help");
        assert_eq!(refused("run --runtime crun x"), "run: --runtime crun: box is its own runtime");
        assert!(refused("run --oom-kill-disable x").starts_with("run: --oom-kill-disable: cgroup v2"));
        assert_eq!(refused("run --runtime"), "--runtime: a value is missing");
        for taken in
            ["--isolation default", "--userns=host", "--oom-kill-disable=false", "--memory-swappiness -1"]
        {
            let line = format!("run {taken} x");
            assert!(parsed(&line).is_ok(), "{line}");
        }
        assert_eq!(refused("walk"), "walk: there is no such command: see box --help");
        assert_eq!(refused("image walk"), "image walk: there is no such command: see box --help");
        assert_eq!(refused("run"), "run: IMAGE is missing: see box run --help");
        assert_eq!(refused("images x"), "image ls: \"x\" is one argument too many");
        assert_eq!(refused("run --env"), "--env: a value is missing");
        assert_eq!(refused("run --tty=perhaps x"), "--tty=perhaps: must be true or false");
    }

    #[test]
    fn groups_have_help() {
        assert!(matches!(parsed("image"), Ok(Request::Help(Topic::Group("image")))));
        assert!(matches!(parsed("help image ls"), Ok(Request::Help(Topic::Command(_)))));
        assert!(matches!(parsed("run --help"), Ok(Request::Help(Topic::Command(_)))));
        assert!(help(Topic::Program, COMMANDS).contains("  image      see box image --help\n"));
        assert!(help(Topic::Group("image"), COMMANDS).contains("  ls "));
        assert!(help(Topic::Group("container"), COMMANDS).contains("  run "));
    }
}
