//! completion: scripts for shells, from the table of commands.

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
        "bash" => print(&bash()),
        // zsh reads bash's, by functions of its own.
        "zsh" => print(&format!("autoload -U +X bashcompinit && bashcompinit\n{}", bash())),
        "fish" => print(&fish()),
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

/// The words that may stand first, or behind a group.
fn words_behind(group: Option<&str>) -> Vec<&'static str> {
    let mut words: Vec<&str> = names()
        .filter_map(|(name, _)| match (group, name.split_once(' ')) {
            (None, None) => Some(name),
            (None, Some((word, _))) => Some(word),
            (Some(group), Some((word, rest))) if word == group => Some(rest),
            (Some(_), _) => None,
        })
        .collect();
    order::sort(&mut words);
    words.dedup();
    words
}

fn groups() -> Vec<&'static str> {
    let mut groups: Vec<&str> = names().filter_map(|(name, _)| Some(name.split_once(' ')?.0)).collect();
    order::sort(&mut groups);
    groups.dedup();
    groups
}

fn flags(flags: &[&[Flag]]) -> String {
    let words = flags.iter().copied().flatten().flat_map(|flag| {
        std::iter::once(format!("--{}", flag.long)).chain(flag.short.map(|short| format!("-{short}")))
    });
    words.chain(["--help".to_string()]).collect::<Vec<_>>().join(" ")
}

/// How the names are listed that a command's operands are.
fn list_of(command: &Command) -> Option<&'static str> {
    match command.operands.split([' ', '[', ':']).find(|word| !word.is_empty())? {
        "CONTAINER" => Some("ps -a --format {{.Names}}"),
        "IMAGE" => Some("images --format {{.Repository}}:{{.Tag}}"),
        "VOLUME" => Some("volume ls -q"),
        "NETWORK" => Some("network ls --format {{.Name}}"),
        _ => None,
    }
}

fn bash() -> String {
    let mut script = format!(
        "# completion for box: source it, or put it into /usr/share/bash-completion/completions/box\n\
         _box() {{\n\
         \x20   local word=${{COMP_WORDS[COMP_CWORD]}} command= flags= list= index\n\
         \x20   local -a roots=()\n\
         \x20   COMPREPLY=()\n\
         \x20   for ((index = 1; index < COMP_CWORD; index++)); do\n\
         \x20       case ${{COMP_WORDS[index]}} in\n\
         \x20           --data-root|--exec-root) roots+=(\"${{COMP_WORDS[index]}}\" \"${{COMP_WORDS[index + 1]}}\"); ((index++)) ;;\n\
         \x20           -*) ;;\n\
         \x20           {}) [[ -n $command ]] && break; command=${{COMP_WORDS[index]}} ;;\n\
         \x20           *) command=${{command:+$command }}${{COMP_WORDS[index]}}; break ;;\n\
         \x20       esac\n\
         \x20   done\n\
         \x20   case $command in\n\
         \x20       '') COMPREPLY=($(compgen -W '{} {}' -- \"$word\")); return ;;\n",
        groups().join("|"),
        words_behind(None).join(" "),
        flags(&[GLOBAL_FLAGS]),
    );
    for group in groups() {
        let words = words_behind(Some(group)).join(" ");
        script += &format!("        {group}) COMPREPLY=($(compgen -W '{words}' -- \"$word\")); return ;;\n");
    }
    for (name, command) in names() {
        let list = list_of(command).map_or(String::new(), |list| format!(" list='{list}'"));
        script += &format!("        '{name}') flags='{}'{list} ;;\n", flags(command.flags));
    }
    script += "        *) return ;;\n    esac\n    \
               if [[ $word == -* ]]; then\n        COMPREPLY=($(compgen -W \"$flags\" -- \"$word\"))\n    \
               elif [[ -n $list ]]; then\n        \
               COMPREPLY=($(compgen -W \"$(box \"${roots[@]}\" $list 2>/dev/null)\" -- \"$word\"))\n    \
               fi\n}\ncomplete -o default -F _box box\n";
    script
}

fn fish() -> String {
    let quote = |text: &str| text.replace('\'', "’");
    let mut script = "# completion for box: put it into ~/.config/fish/completions/box.fish\n".to_string();
    for word in words_behind(None) {
        let help = COMMANDS.iter().find(|command| command.name == word).map_or("", |command| command.help);
        script += &format!("complete -c box -f -n __fish_use_subcommand -a {word} -d '{}'\n", quote(help));
    }
    for group in groups() {
        for word in words_behind(Some(group)) {
            script += &format!("complete -c box -f -n '__fish_seen_subcommand_from {group}' -a {word}\n");
        }
    }
    for (name, command) in names() {
        let word = name.rsplit(' ').next().unwrap_or(name);
        let condition = match name.split_once(' ') {
            Some((group, word)) => {
                format!("__fish_seen_subcommand_from {group}; and __fish_seen_subcommand_from {word}")
            }
            None => format!("__fish_seen_subcommand_from {word}"),
        };
        for flag in command.flags.iter().copied().flatten() {
            let short = flag.short.map_or(String::new(), |short| format!(" -s {short}"));
            let value = if flag.value.is_some_and(|value| !is_optional(value)) { " -r" } else { "" };
            let help = quote(flag.help);
            script +=
                &format!("complete -c box -n '{condition}' -l {}{short}{value} -d '{help}'\n", flag.long);
        }
        if let Some(list) = list_of(command) {
            script += &format!("complete -c box -f -n '{condition}' -a '(box {list} 2>/dev/null)'\n");
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_has_every_command_and_flag() {
        for (shell, script, dashes) in [("bash", bash(), "--"), ("fish", fish(), "-l ")] {
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
        assert!(words_behind(None).contains(&"volume") && words_behind(Some("volume")).contains(&"prune"));
    }
}
