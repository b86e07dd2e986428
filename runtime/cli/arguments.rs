//! The command line: one table of commands and flags, for both parsing and help.
//!
//! Flags are written as callers of runc and crun write them: `--x v`, `--x=v`, `-x v`, and Go's `-long`.

use std::ffi::{OsStr, OsString};

use lexopt::Arg;
use pillbox::cgroup::Driver;
use pillbox::error::{Error, Result};

/// A flag of the program or of a command.
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
    /// Its name.
    pub name: &'static str,
    /// The names of its operands in the help.
    pub operands: &'static str,
    /// How many operands there may be.
    pub operand_count: std::ops::RangeInclusive<usize>,
    /// One line of help.
    pub help: &'static str,
    /// Its flags.
    pub flags: &'static [Flag],
    /// Whether everything after the first operand is for another program.
    pub ends_at_operand: bool,
    /// What it does; the result is the exit status.
    pub run: fn(&Global, Arguments) -> Result<u8>,
}

/// The flags before the command.
#[derive(Debug, Default)]
pub struct Global {
    /// `--root`.
    pub root: Option<OsString>,
    /// `--cgroup-manager`, `--systemd-cgroup`.
    pub driver: Driver,
    /// `--debug`: show all warnings.
    pub debug: bool,
    /// `--spec`: the configuration, instead of the bundle's config.json.
    pub spec: Option<OsString>,
    /// `--netconf`: the networks of the container.
    pub netconf: Option<OsString>,
    /// `--log`.
    pub log: crate::log::Log,
}

/// The flags and operands of a command.
#[derive(Debug, Default)]
pub struct Arguments {
    flags: Vec<(&'static str, OsString)>,
    /// The arguments that are not flags.
    pub operands: Vec<OsString>,
}

impl Arguments {
    /// The value of a flag; the last one if there are several.
    pub fn value(&self, long: &str) -> Option<&OsStr> {
        self.flags.iter().rev().find(|(name, _)| *name == long).map(|(_, value)| value.as_os_str())
    }

    /// All values of a flag that may be repeated.
    pub fn values(&self, long: &str) -> Result<Vec<String>> {
        let values = self.flags.iter().filter(|(name, _)| *name == long);
        values
            .map(|(_, value)| {
                value
                    .to_str()
                    .map(str::to_string)
                    .ok_or_else(|| Error::formatted(format_args!("--{long} {}: not UTF-8", value.display())))
            })
            .collect()
    }

    /// Whether a switch is on.
    pub fn is_set(&self, long: &str) -> bool {
        self.value(long).is_some_and(|value| value == "true")
    }

    /// The value of a flag as a number; 0 if the flag is missing.
    pub fn number(&self, long: &str) -> Result<u32> {
        match self.value(long) {
            None => Ok(0),
            Some(value) => value.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
                Error::formatted(format_args!("--{long} {}: not a whole number", value.display()))
            }),
        }
    }

    /// The operand at `index` as text.
    pub fn operand(&self, index: usize) -> Result<&str> {
        let operand = self.operands.get(index).ok_or_else(|| Error::new("an operand is missing"))?;
        operand.to_str().ok_or_else(|| Error::formatted(format_args!("{}: not UTF-8", operand.display())))
    }
}

/// The result of parsing a command line.
pub enum Request {
    /// Run a command.
    Run(&'static Command, Global, Arguments),
    /// Show the help of the program or of one command.
    Help(Option<&'static Command>),
    /// Show the version.
    Version,
}

/// Flags before the command.
pub const GLOBAL_FLAGS: &[Flag] = &[
    Flag { long: "root", short: None, value: Some("DIR"), help: "where the state of containers is kept" },
    Flag { long: "workdir", short: None, value: Some("DIR"), help: "the same as --root" },
    Flag {
        long: "spec",
        short: None,
        value: Some("FILE"),
        help: "the configuration, for commands that take one",
    },
    Flag {
        long: "netconf",
        short: None,
        value: Some("FILE"),
        help: "the container's networks, for commands that take them",
    },
    Flag { long: "log", short: None, value: Some("FILE"), help: "append errors to FILE as well" },
    Flag { long: "log-format", short: None, value: Some("FORMAT"), help: "text (default) or json" },
    Flag {
        long: "log-level",
        short: None,
        value: Some("LEVEL"),
        help: "error (default), warning, info or debug",
    },
    Flag { long: "debug", short: None, value: None, help: "the same as --log-level debug" },
    Flag {
        long: "cgroup-manager",
        short: None,
        value: Some("MANAGER"),
        help: "cgroupfs (default), systemd or disabled",
    },
    Flag { long: "systemd-cgroup", short: None, value: None, help: "the same as --cgroup-manager systemd" },
    Flag {
        long: "rootless",
        short: None,
        value: Some("BOOL"),
        help: "accepted: pillbox finds out itself what it may do",
    },
    Flag { long: "help", short: Some('h'), value: None, help: "show this help" },
    Flag { long: "version", short: Some('v'), value: None, help: "show the version" },
];

const HELP: Flag = Flag { long: "help", short: Some('h'), value: None, help: "show this help" };

/// Parses a command line.
///
/// # Errors
/// A command or flag is unknown, or a value is missing or wrong; the error names it. `log` is set up by then
/// if `--log` came first.
pub fn parse(
    arguments: Vec<OsString>,
    commands: &'static [Command],
    log: &mut crate::log::Log,
) -> Result<Request> {
    let mut global = Global::default();
    let mut parser = lexopt::Parser::from_args(undash(arguments, commands));
    let command = loop {
        match parser.next().map_err(|error| syntax_error(&error))? {
            None => return Ok(Request::Help(None)),
            Some(Arg::Value(name)) => {
                if name != "help" && name != "h" {
                    break find_command(&name, commands)?;
                }
                let of = parser.value().ok().map(|name| find_command(&name, commands)).transpose()?;
                return Ok(Request::Help(of));
            }
            // crun's flag.
            Some(Arg::Short('V')) => return Ok(Request::Version),
            Some(flag) => {
                let flag = find(&flag, GLOBAL_FLAGS, "pillbox")?;
                match flag.long {
                    "help" => return Ok(Request::Help(None)),
                    "version" => return Ok(Request::Version),
                    _ => {}
                }
                let value = read_value(&mut parser, flag)?;
                global.set(flag.long, value)?;
                *log = global.log.clone();
            }
        }
    };
    let mut read = Arguments::default();
    while let Some(argument) = parser.next().map_err(|error| syntax_error(&error))? {
        match argument {
            Arg::Value(operand) => {
                read.operands.push(operand);
                if command.ends_at_operand {
                    read.operands.extend(parser.raw_args().map_err(|error| syntax_error(&error))?);
                }
            }
            flag => {
                let flag = find(&flag, command.flags, command.name)?;
                if flag.long == "help" {
                    return Ok(Request::Help(Some(command)));
                }
                let value = read_value(&mut parser, flag)?;
                read.flags.push((flag.long, value));
            }
        }
    }
    let (least, most) = (*command.operand_count.start(), *command.operand_count.end());
    if read.operands.len() < least {
        return Err(Error::formatted(format_args!(
            "{}: {} is missing: see pillbox {0} --help",
            command.name, command.operands
        )));
    }
    if read.operands.len() > most {
        return Err(Error::formatted(format_args!(
            "{}: {:?} is one operand too many",
            command.name,
            read.operands[most].display()
        )));
    }
    Ok(Request::Run(command, global, read))
}

impl Global {
    fn set(&mut self, long: &str, value: OsString) -> Result<()> {
        let text = value.to_string_lossy();
        match long {
            "root" | "workdir" => self.root = Some(value),
            "spec" => self.spec = Some(value),
            "netconf" => self.netconf = Some(value),
            "log" if text.starts_with("journald:") || text.starts_with("syslog:") => {
                return Err(Error::formatted(format_args!(
                    "--log {text}: must be a file: other logs are not written"
                )));
            }
            "log" => self.log.open(text.strip_prefix("file:").map_or(value.clone(), Into::into).into())?,
            "log-format" => match &*text {
                "json" => self.log.json = true,
                "text" => self.log.json = false,
                _ => return Err(Error::formatted(format_args!("--log-format {text}: must be text or json"))),
            },
            "log-level" => match &*text.to_ascii_lowercase() {
                "debug" | "info" | "warn" | "warning" => self.debug = true,
                "error" | "fatal" | "panic" => self.debug = false,
                _ => {
                    return Err(Error::formatted(format_args!(
                        "--log-level {text}: must be error, warning, info or debug"
                    )));
                }
            },
            "debug" => self.debug = text == "true",
            "cgroup-manager" => match &*text {
                "cgroupfs" => self.driver = Driver::Cgroupfs,
                "systemd" => self.driver = Driver::Systemd,
                "disabled" => self.driver = Driver::Disabled,
                _ => {
                    return Err(Error::formatted(format_args!(
                        "--cgroup-manager {text}: must be cgroupfs, systemd or disabled"
                    )));
                }
            },
            // runc's flag; a caller that sets it to false chooses no other manager.
            "systemd-cgroup" if text == "true" => self.driver = Driver::Systemd,
            "rootless" if matches!(&*text, "true" | "false" | "auto") => {}
            "rootless" => {
                return Err(Error::formatted(format_args!("--rootless {text}: must be true, false or auto")));
            }
            _ => {}
        }
        Ok(())
    }
}

fn find_command(name: &OsStr, commands: &'static [Command]) -> Result<&'static Command> {
    commands.iter().find(|command| name == command.name).ok_or_else(|| {
        let names: Vec<_> = commands.iter().map(|command| command.name).collect();
        Error::formatted(format_args!("unknown command {:?}: there are {}", name.display(), names.join(", ")))
    })
}

fn find(argument: &Arg<'_>, flags: &'static [Flag], owner: &str) -> Result<&'static Flag> {
    let found = flags.iter().chain([&HELP]).find(|flag| match argument {
        // `--usage` and `-?` are crun's.
        Arg::Long(long) => *long == flag.long || (*long == "usage" && flag.long == HELP.long),
        Arg::Short(short) => Some(*short) == flag.short || (*short == '?' && flag.long == HELP.long),
        Arg::Value(_) => false,
    });
    found.ok_or_else(|| {
        let name = match argument {
            Arg::Long(long) => format!("--{long}"),
            Arg::Short(short) => format!("-{short}"),
            Arg::Value(value) => value.display().to_string(),
        };
        Error::new(match owner {
            "pillbox" => format!("unknown flag {name}: see pillbox --help"),
            _ => format!("{owner}: unknown flag {name}: see pillbox {owner} --help"),
        })
    })
}

/// The value of a flag. As in Go, a switch may be followed by `=true` or `=false`.
fn read_value(parser: &mut lexopt::Parser, flag: &Flag) -> Result<OsString> {
    if flag.value.is_some() {
        return parser
            .value()
            .map_err(|_| Error::formatted(format_args!("flag needs an argument: --{}", flag.long)));
    }
    match parser.optional_value() {
        None => Ok("true".into()),
        Some(value) if value == "true" || value == "false" => Ok(value),
        Some(value) => {
            Err(Error::formatted(format_args!("--{}={}: must be true or false", flag.long, value.display())))
        }
    }
}

fn syntax_error(error: &lexopt::Error) -> Error {
    Error::new(error.to_string())
}

/// Adds the second dash to long flags with one, which programs written in Go accept. Other arguments stay as
/// they are, as does everything after `--` and after a command like `exec`.
fn undash(arguments: Vec<OsString>, commands: &'static [Command]) -> Vec<OsString> {
    let known = |name: &str| {
        let flags = commands.iter().flat_map(|command| command.flags).chain(GLOBAL_FLAGS);
        flags.into_iter().any(|flag| flag.long == name)
    };
    let mut for_program = false;
    arguments
        .into_iter()
        .map(|argument| {
            for_program |= argument == "--"
                || commands.iter().any(|command| command.ends_at_operand && argument == command.name);
            let Some(text) = argument.to_str().filter(|_| !for_program) else { return argument };
            let name = text.split('=').next().and_then(|name| name.strip_prefix('-')).unwrap_or_default();
            if name.len() > 1 && !name.starts_with('-') && known(name) {
                format!("-{text}").into()
            } else {
                argument
            }
        })
        .collect()
}

/// The help of a command, or of the program.
pub fn help(command: Option<&Command>, commands: &[Command]) -> String {
    let mut text = match command {
        Some(command) => {
            format!("Usage: pillbox {} [FLAGS] {}\n\n{}\n", command.name, command.operands, command.help)
        }
        None => {
            let mut text =
                "Usage: pillbox [FLAGS] COMMAND\n\nA container runtime in one small static binary.\n\nCommands:\n"
                    .to_string();
            for command in commands {
                text += &format!("  {:<10} {}\n", command.name, command.help);
            }
            text
        }
    };
    text += "\nFlags:\n";
    let own = command.map_or(GLOBAL_FLAGS, |command| command.flags);
    let help = command.is_some().then_some(&HELP);
    for flag in own.iter().chain(help) {
        let short = flag.short.map_or("    ".to_string(), |short| format!("-{short}, "));
        let value = flag.value.map_or(String::new(), |value| format!(" {value}"));
        text += &format!("  {short}{:<28} {}\n", format!("--{}{value}", flag.long), flag.help);
    }
    text
}
