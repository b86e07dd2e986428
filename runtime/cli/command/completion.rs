//! completion: scripts for shells, generated from the table of commands.

use std::fmt::Write as _;

use pillbox::error::{Error, Result};

use super::{COMMANDS, print};
use crate::arguments::{Arguments, Command, Flag, GLOBAL_FLAGS, Global};

pub fn completion(_: &Global, arguments: Arguments) -> Result<u8> {
    let script = match arguments.operand(0)? {
        "bash" => bash(),
        "zsh" => zsh(),
        "fish" => fish(),
        other => {
            return Err(Error::formatted(format_args!(
                "completion: no script for {other:?}: there are bash, zsh and fish"
            )));
        }
    };
    print(&script)?;
    Ok(0)
}

/// Whether the command's first operand is the id of an existing container.
fn takes_container(command: &Command) -> bool {
    command.operands.split(' ').next() == Some("ID") && !matches!(command.name, "create" | "run")
}

fn names(separator: &str, wanted: impl Fn(&Command) -> bool) -> String {
    let names: Vec<_> =
        COMMANDS.iter().filter(|command| wanted(command)).map(|command| command.name).collect();
    names.join(separator)
}

/// The flags as words: `--bundle -b --help`.
fn words(flags: &[Flag]) -> String {
    let mut words = String::new();
    for flag in flags {
        // Writing to a String cannot fail.
        let _ = write!(words, "--{} ", flag.long);
        if let Some(short) = flag.short {
            let _ = write!(words, "-{short} ");
        }
    }
    words + "--help"
}

/// The flags that are followed by a value, as a pattern for `case`.
fn valued(flags: &[Flag]) -> String {
    let mut patterns = Vec::new();
    for flag in flags.iter().filter(|flag| flag.value.is_some()) {
        patterns.push(format!("--{}", flag.long));
        patterns.extend(flag.short.map(|short| format!("-{short}")));
    }
    patterns.join("|")
}

fn bash() -> String {
    let mut script = format!(
        "# bash completion for pillbox: source it, or put it into /usr/share/bash-completion/completions/pillbox\n\
         _pillbox() {{\n\
         \x20   local word=${{COMP_WORDS[COMP_CWORD]}} command= index\n\
         \x20   local -a root=()\n\
         \x20   COMPREPLY=()\n\
         \x20   for ((index = 1; index < COMP_CWORD; index++)); do\n\
         \x20       case ${{COMP_WORDS[index]}} in\n\
         \x20           --root) root=(--root \"${{COMP_WORDS[index + 1]}}\"); ((index++)) ;;\n\
         \x20           {}) ((index++)) ;;\n\
         \x20           -*) ;;\n\
         \x20           *) command=${{COMP_WORDS[index]}}; break ;;\n\
         \x20       esac\n\
         \x20   done\n\
         \x20   if [[ -z $command ]]; then\n\
         \x20       COMPREPLY=($(compgen -W '{} {}' -- \"$word\"))\n\
         \x20       return\n\
         \x20   fi\n\
         \x20   case $command in\n",
        valued(GLOBAL_FLAGS),
        words(GLOBAL_FLAGS),
        names(" ", |_| true),
    );
    for command in COMMANDS {
        let _ = writeln!(script, "        {}) local flags='{}' ;;", command.name, words(command.flags));
    }
    let _ = write!(
        script,
        "        *) return ;;\n\
         \x20   esac\n\
         \x20   if [[ $word == -* ]]; then\n\
         \x20       COMPREPLY=($(compgen -W \"$flags\" -- \"$word\"))\n\
         \x20       return\n\
         \x20   fi\n\
         \x20   case $command in\n\
         \x20       {}) COMPREPLY=($(compgen -W \"$(pillbox \"${{root[@]}}\" list -q 2>/dev/null)\" -- \"$word\")) ;;\n\
         \x20       completion) COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$word\")) ;;\n\
         \x20   esac\n\
         }}\n\
         complete -o default -F _pillbox pillbox\n",
        names("|", takes_container),
    );
    script
}

/// Replaces what would end a string in zsh or fish (single quotes) or is syntax in zsh's specifications
/// (brackets and colons).
fn quote(text: &str) -> String {
    text.replace('\'', "’").replace('[', "(").replace(']', ")").replace(':', " –")
}

fn zsh_flags(flags: &[Flag]) -> String {
    let mut text = String::new();
    for flag in flags {
        let value = flag.value.map_or(String::new(), |value| format!(":{value}:_files"));
        let equals = if flag.value.is_some() { "=" } else { "" };
        let _ = write!(text, " '--{}{equals}[{}]{value}'", flag.long, quote(flag.help));
        if let Some(short) = flag.short {
            let plus = if flag.value.is_some() { "+" } else { "" };
            let _ = write!(text, " '-{short}{plus}[{}]{value}'", quote(flag.help));
        }
    }
    text
}

fn zsh() -> String {
    let mut script = format!(
        "#compdef pillbox\n\
         # zsh completion for pillbox: put it into a folder of $fpath as _pillbox\n\
         _pillbox() {{\n\
         \x20   local context state line\n\
         \x20   typeset -A opt_args\n\
         \x20   _arguments -C{} '1: :->command' '*:: :->operand'\n\
         \x20   case $state in\n\
         \x20       command)\n\
         \x20           local -a commands=(\n",
        zsh_flags(GLOBAL_FLAGS)
    );
    for command in COMMANDS {
        let _ = writeln!(script, "                '{}:{}'", command.name, quote(command.help));
    }
    script += "            )\n            _describe command commands ;;\n        operand)\n            case $words[1] in\n";
    for command in COMMANDS {
        let operand = match command.name {
            "completion" => " '1: :(bash zsh fish)'",
            _ if takes_container(command) => " '1: :_pillbox_containers'",
            _ => " '*: :_files'",
        };
        let _ = writeln!(
            script,
            "                {}) _arguments{}{operand} ;;",
            command.name,
            zsh_flags(command.flags)
        );
    }
    script += "            esac ;;\n    esac\n}\n\
               _pillbox_containers() {\n\
               \x20   local -a containers=(${(f)\"$(pillbox ${opt_args[--root]:+--root $opt_args[--root]} list -q 2>/dev/null)\"})\n\
               \x20   compadd -a containers\n\
               }\n\
               if [ \"$funcstack[1]\" = _pillbox ]; then _pillbox \"$@\"; else compdef _pillbox pillbox; fi\n";
    script
}

fn fish_flags(script: &mut String, condition: &str, flags: &[Flag]) {
    for flag in flags {
        let short = flag.short.map_or(String::new(), |short| format!(" -s {short}"));
        let value = if flag.value.is_some() { " -r" } else { "" };
        let _ = writeln!(
            script,
            "complete -c pillbox -n '{condition}' -l {}{short}{value} -d '{}'",
            flag.long,
            quote(flag.help)
        );
    }
}

fn fish() -> String {
    let mut script =
        "# fish completion for pillbox: put it into ~/.config/fish/completions/pillbox.fish\n".to_string();
    fish_flags(&mut script, "__fish_use_subcommand", GLOBAL_FLAGS);
    for command in COMMANDS {
        let (name, help) = (command.name, quote(command.help));
        let _ = writeln!(script, "complete -c pillbox -f -n __fish_use_subcommand -a {name} -d '{help}'");
        fish_flags(&mut script, &format!("__fish_seen_subcommand_from {name}"), command.flags);
    }
    let containers = names(" ", takes_container);
    let _ = writeln!(
        script,
        "complete -c pillbox -f -n '__fish_seen_subcommand_from {containers}' -a '(pillbox list -q 2>/dev/null)'"
    );
    script += "complete -c pillbox -f -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n";
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_has_every_command_and_flag() {
        for (shell, script, dashes) in [("bash", bash(), "--"), ("zsh", zsh(), "--"), ("fish", fish(), "-l ")]
        {
            for command in COMMANDS {
                assert!(script.contains(command.name), "{shell}: {}", command.name);
                for flag in command.flags {
                    assert!(script.contains(&format!("{dashes}{}", flag.long)), "{shell}: {}", flag.long);
                }
            }
        }
    }

    #[test]
    fn ids_are_completed_where_there_must_be_one() {
        let names = names(" ", takes_container);
        assert!(names.contains("start") && names.contains("ps") && !names.contains("create"), "{names}");
    }
}
