//! fish's script: a rule for each word, with a condition that says behind which command it stands.

use super::{Command, GLOBAL_FLAGS, groups, is_optional, lists, names, words_behind};

pub fn script() -> String {
    let mut script = BEGINNING.replace("GROUPS", &groups().join(" "));
    for group in [None].into_iter().chain(groups().into_iter().map(Some)) {
        let condition = condition(group.unwrap_or_default());
        for (word, help) in words_behind(group) {
            script += &format!("complete -c box -f -n {condition} -a {word} -d '{}'\n", quoted(help));
        }
    }
    script += &flag_rules("", &[GLOBAL_FLAGS]);
    for (name, command) in names() {
        script += &flag_rules(name, command.flags);
        script += &operand_rules(name, command);
    }
    script
}

fn condition(command: &str) -> String {
    format!("'__box_is {}'", if command.is_empty() { "\"\"" } else { command })
}

fn quoted(text: &str) -> String {
    text.replace('\'', "’")
}

fn flag_rules(command: &str, flags: &[&'static [super::Flag]]) -> String {
    let condition = condition(command);
    let rule = |flag: &super::Flag| {
        let short = flag.short.map_or(String::new(), |short| format!(" -s {short}"));
        let value = if flag.value.is_some_and(|value| !is_optional(value)) { " -r" } else { "" };
        let help = quoted(flag.help);
        format!("complete -c box -n {condition} -l {}{short}{value} -d '{help}'\n", flag.long)
    };
    flags.iter().copied().flatten().map(rule).collect()
}

fn operand_rules(name: &str, command: &Command) -> String {
    let valued = super::valued(command.flags).join(" ");
    let all = lists(command);
    let rule = |place: usize, list: &str| {
        let list = list.replace("{{", "\"{{").replace("}}", "}}\"").replace("\":\"", ":");
        // An image may be a file.
        let files = if list.starts_with("images") { "" } else { " -f" };
        format!(
            "complete -c box{files} -n '__box_is {name}; and __box_place {place} {valued}' -a '(__box_list {list})'\n"
        )
    };
    let lists = all.iter().enumerate().filter_map(|(place, list)| Some((place, (*list)?)));
    lists.map(|(place, list)| rule(place, list)).collect()
}

const BEGINNING: &str = r#"# completion for box: put it into ~/.config/fish/completions/box.fish
# The words that stand before, behind those that name the command: a line each.
function __box_rest
    set -l tokens (commandline -opc)
    set -l command
    set -l index 2
    while test $index -le (count $tokens)
        switch $tokens[$index]
            case --data-root --exec-root
                set index (math $index + 1)
            case '-*'
            case GROUPS
                test -n "$command"; and break
                set command $tokens[$index]
            case '*'
                set command (string join ' ' $command $tokens[$index])
                set index (math $index + 1)
                break
        end
        set index (math $index + 1)
    end
    echo "$command"
    test $index -le (count $tokens); and printf '%s\n' $tokens[$index..-1]
    return 0
end
function __box_is
    set -l rest (__box_rest)
    test "$rest[1]" = "$argv"
end
# Whether an operand is the first (0), the second (1) or a later one (2); behind it stand the flags whose values are words.
function __box_place
    set -l rest (__box_rest)
    set -l index 2
    set -l place 0
    while test $index -le (count $rest)
        if contains -- $rest[$index] $argv[2..-1]
            set index (math $index + 1)
        else if not string match -q -- '-*' $rest[$index]
            set place (math "min($place + 1, 2)")
        end
        set index (math $index + 1)
    end
    test $place = $argv[1]; and test $index -le (math (count $rest) + 1)
end
function __box_list
    set -l tokens (commandline -opc)
    set -l roots
    for index in (seq 2 (count $tokens))
        contains -- $tokens[$index] --data-root --exec-root; and set -a roots $tokens[$index..(math $index + 1)]
    end
    box $roots $argv 2>/dev/null | string match -v '*<none>*'
end
"#;
