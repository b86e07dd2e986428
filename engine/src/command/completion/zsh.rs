//! zsh's script: a function of its completion system, which shows what commands and flags do.

use super::{GLOBAL_FLAGS, flags, groups, lists, names, valued, words_behind};

pub fn script() -> String {
    let mut script = BEGINNING.replace("GROUPS", &groups().join("|"));
    let words = |group: Option<&str>| described(words_behind(group));
    script += &format!(
        "        '')\n            choices=({})\n            flags=({})\n            ;;\n",
        words(None),
        described(flags(&[GLOBAL_FLAGS])),
    );
    for group in groups() {
        script +=
            &format!("        {group})\n            choices=({})\n            ;;\n", words(Some(group)));
    }
    for (name, command) in names() {
        script += &format!(
            "        '{name}')\n            flags=({})\n            valued=({})\n",
            described(flags(command.flags)),
            valued(command.flags).join(" ")
        );
        if !command.operands.is_empty() {
            let lists = lists(command).map(|list| format!("'{}'", list.unwrap_or("files")));
            script += &format!("            lists=({})\n", lists.join(" "));
        }
        script += "            ;;\n";
    }
    script + END
}

/// `'word:what it does' …`, as _describe takes them.
fn described<W: AsRef<str>>(words: Vec<(W, &str)>) -> String {
    let one = |(word, help): &(W, &str)| {
        let word = word.as_ref().replace(':', "\\:");
        format!("'{word}:{}'", help.replace('\'', "’"))
    };
    words.iter().map(one).collect::<Vec<_>>().join(" ")
}

const BEGINNING: &str = r#"#compdef box
# completion for box: put it as _box into a folder of $fpath, or source it behind compinit
_box() {
    local command list index count=0
    local -a roots choices flags valued lists found
    for ((index = 2; index < CURRENT; index++)); do
        case ${words[index]} in
            --data-root|--exec-root) roots+=("${words[index]}" "${words[index + 1]}"); ((index++)) ;;
            -*) ;;
            GROUPS) [[ -n $command ]] && break; command=${words[index]} ;;
            *) command=${command:+$command }${words[index]}; ((index++)); break ;;
        esac
    done
    if ((index > CURRENT)); then
        _files -/
        return
    fi
    case $command in
"#;

const END: &str = r#"        *) return 1 ;;
    esac
    for ((; index < CURRENT; index++)); do
        if ((${valued[(Ie)${words[index]}]})); then
            ((index++))
        elif [[ ${words[index]} != -* ]]; then
            ((count++))
        fi
    done
    # The value of a flag is no name.
    if ((index > CURRENT)); then
        _files
    elif [[ ${words[CURRENT]} == -* ]]; then
        _describe -t flags flag flags
    elif ((${#choices})); then
        _describe -t commands command choices
    else
        list=${lists[count < 2 ? count + 1 : 3]}
        case $list in
            '') return 1 ;;
            files) _files ;;
            *)
                found=("${(@f)$(box "${roots[@]}" ${=list} 2>/dev/null)}")
                found=(${found:#*<none>*})
                compadd -a found || _files
                ;;
        esac
    fi
}
# As a file of $fpath it is the function that was called, and made the real one now.
if [[ ${funcstack[1]} == _box ]]; then
    _box "$@"
else
    compdef _box box
fi
"#;
