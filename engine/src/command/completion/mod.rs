//! completion: scripts for shells, from the table of commands.

mod bash;
mod fish;
mod zsh;

use super::arguments::{GLOBAL_FLAGS, is_optional};
use super::{Arguments, COMMANDS, Command, Flag, Global, print};
use crate::error::{Error, Result};
use crate::order;

pub const COMMAND: Command = Command {
    name: "completion",
    aliases: &[],
    operands: "bash|zsh|fish",
    operand_count: 1..=1,
    help: "write a script for a shell, which completes commands, flags and names",
    flags: &[],
    ends_at_operand: false,
    run: completion,
};

fn completion(_: &Global, arguments: &Arguments) -> Result<u8> {
    match arguments.operand(0)?.unwrap_or_default() {
        "bash" => print(&bash::script()),
        "zsh" => print(&zsh::script()),
        "fish" => print(&fish::script()),
        other => {
            Err(Error::invalid(format!("completion {other}: there are scripts for bash, zsh and fish alone")))
        }
    }
}

/// Each command by each of its names.
fn names() -> impl Iterator<Item = (&'static str, &'static Command)> {
    COMMANDS.iter().flat_map(|command| {
        std::iter::once(command.name).chain(command.aliases.iter().copied()).map(move |name| (name, command))
    })
}

/// The words that may stand first, or behind a group, each with what it does; of a group, that it is one.
fn words_behind(group: Option<&str>) -> Vec<(&'static str, &'static str)> {
    let mut words: Vec<(&str, &str)> = names()
        .filter_map(|(name, command)| match (group, name.split_once(' ')) {
            (None, None) => Some((name, command.help)),
            (None, Some((word, _))) => Some((word, "a group of commands")),
            (Some(group), Some((word, rest))) if word == group => Some((rest, command.help)),
            (Some(_), _) => None,
        })
        .collect();
    order::sort(&mut words);
    words.dedup_by_key(|(word, _)| *word);
    words
}

fn groups() -> Vec<&'static str> {
    let mut groups: Vec<&str> = names().filter_map(|(name, _)| Some(name.split_once(' ')?.0)).collect();
    order::sort(&mut groups);
    groups.dedup();
    groups
}

/// The flags of a command, each by each of its names, and what it does.
fn flags(flags: &[&'static [Flag]]) -> Vec<(String, &'static str)> {
    flags
        .iter()
        .copied()
        .flatten()
        .flat_map(|flag| spellings(flag).into_iter().map(|spelling| (spelling, flag.help)))
        .chain([("--help".to_string(), "show this help")])
        .collect()
}

/// Those whose value is the next word.
fn valued(flags: &[&'static [Flag]]) -> Vec<String> {
    let has_value = |flag: &&Flag| flag.value.is_some_and(|value| !is_optional(value));
    flags.iter().copied().flatten().filter(has_value).flat_map(spellings).collect()
}

fn spellings(flag: &Flag) -> Vec<String> {
    let long = format!("--{}", flag.long);
    std::iter::once(long).chain(flag.short.map(|short| format!("-{short}"))).collect()
}

/// How the names are listed that operands can be: the first, the second, and all others. Of what is no name, files are completed.
fn lists(command: &Command) -> [Option<&'static str>; 3] {
    let mut words =
        command.operands.split(' ').map(|word| word.trim_start_matches('[').trim_end_matches(']'));
    let first = words.next().unwrap_or_default();
    match words.next() {
        // Of whatever there is.
        Some("…") if first == "NAME" => [list("CONTAINER"); 3],
        Some("…") => [list(first); 3],
        second => [list(first), second.and_then(list), None],
    }
}

fn list(operand: &str) -> Option<&'static str> {
    match operand.split([':', '|', '[']).next()? {
        "CONTAINER" => Some("ps -a --format {{.Names}}"),
        "IMAGE" | "REPOSITORY" => Some("images --format {{.Repository}}:{{.Tag}}"),
        "NAME" if operand.contains("[:TAG") => list("IMAGE"),
        "VOLUME" => Some("volume ls -q"),
        "NETWORK" => Some("network ls --format {{.Name}}"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_has_every_command_and_flag() {
        for (shell, script, dashes) in
            [("bash", bash::script(), "--"), ("zsh", zsh::script(), "--"), ("fish", fish::script(), "-l ")]
        {
            for (name, command) in names() {
                let word = name.rsplit(' ').next().unwrap_or(name);
                assert!(script.contains(word), "{shell}: {name}");
                for flag in command.flags.iter().copied().flatten() {
                    assert!(
                        script.contains(&format!("{dashes}{}", flag.long)),
                        "{shell}: {name} {}",
                        flag.long
                    );
                }
            }
        }
        let has = |group: Option<&str>, word: &str| words_behind(group).iter().any(|(one, _)| *one == word);
        assert!(has(None, "volume") && has(Some("volume"), "prune"));
    }

    #[test]
    fn operands_are_listed_by_their_place() {
        let of = |name: &str| {
            let found = names().find(|(one, _)| *one == name).map(|(_, command)| lists(command));
            found.expect(name).map(|list| list.map(|list| list.split(' ').next().unwrap_or_default()))
        };
        assert_eq!(of("rm"), [Some("ps"); 3]);
        assert_eq!(of("run"), [Some("images"), None, None]);
        assert_eq!(of("exec"), [Some("ps"), None, None]);
        assert_eq!(of("network connect"), [Some("network"), Some("ps"), None]);
        assert_eq!(of("network inspect"), [Some("network"); 3]);
        assert_eq!(of("tag"), [Some("images"), Some("images"), None]);
        assert_eq!(of("push"), [Some("images"), None, None]);
        assert_eq!(of("inspect"), [Some("ps"); 3]);
        assert_eq!(of("rename"), [Some("ps"), None, None]);
        assert_eq!(of("volume create"), [None; 3]);
        assert_eq!(of("cp"), [Some("ps"), None, None]);
        assert_eq!(of("ps"), [None; 3]);
    }
}
