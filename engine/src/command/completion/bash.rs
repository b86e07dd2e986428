//! bash's script: a function that fills COMPREPLY.

use super::{GLOBAL_FLAGS, flags, groups, lists, names, valued, words_behind};

pub fn script() -> String {
    let mut script = BEGINNING.replace("GROUPS", &groups().join("|"));
    let words = |group: Option<&str>| {
        words_behind(group).into_iter().map(|(word, _)| word).collect::<Vec<_>>().join(" ")
    };
    let spellings =
        |all: Vec<(String, &str)>| all.into_iter().map(|(flag, _)| flag).collect::<Vec<_>>().join(" ");
    let global = spellings(flags(&[GLOBAL_FLAGS]));
    script += &format!("        '') choices='{} {global}' ;;\n", words(None));
    for group in groups() {
        script += &format!("        {group}) choices='{}' ;;\n", words(Some(group)));
    }
    for (name, command) in names() {
        let (all, valued) = (spellings(flags(command.flags)), valued(command.flags).join(" "));
        script += &format!("        '{name}') flags='{all}' valued=' {valued} '");
        if lists(command).iter().any(Option::is_some) {
            let lists = lists(command).map(|list| format!("'{}'", list.unwrap_or_default()));
            script += &format!(" lists=({})", lists.join(" "));
        }
        script += " ;;\n";
    }
    script + END
}

/// A name may have a colon, at which bash divides words: what stands before it is put in front, and is taken away from what is found.
const BEGINNING: &str = r#"# completion for box: source it, or put it into /usr/share/bash-completion/completions/box
_box() {
    local word=${COMP_WORDS[COMP_CWORD]} before= command= choices= flags= valued= list= last= index count=0
    local -a roots=() lists=()
    COMPREPLY=()
    for ((index = 1; index < COMP_CWORD; index++)); do
        case ${COMP_WORDS[index]} in
            --data-root|--exec-root) roots+=("${COMP_WORDS[index]}" "${COMP_WORDS[index + 1]}"); ((index++)) ;;
            -*) ;;
            GROUPS) [[ -n $command ]] && break; command=${COMP_WORDS[index]} ;;
            *) command=${command:+$command }${COMP_WORDS[index]}; ((index++)); break ;;
        esac
    done
    case $command in
"#;

const END: &str = r#"        *) return ;;
    esac
    if [[ -n $choices ]]; then
        COMPREPLY=($(compgen -W "$choices" -- "$word"))
        return
    fi
    for ((; index < COMP_CWORD; index++)); do
        last=
        if [[ ${COMP_WORDS[index]} == : || ${COMP_WORDS[index - 1]} == : ]]; then
            continue
        elif [[ $valued == *" ${COMP_WORDS[index]} "* ]]; then
            last=${COMP_WORDS[index]}
            ((index++))
        elif [[ ${COMP_WORDS[index]} != -* ]]; then
            ((count++))
        fi
    done
    # The value of a flag is no name.
    [[ -n $last && $index -gt $COMP_CWORD ]] && return
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$flags" -- "$word"))
        return
    fi
    if [[ $word == : ]]; then
        before=${COMP_WORDS[COMP_CWORD - 1]}: word=
    elif [[ $COMP_CWORD -gt 2 && ${COMP_WORDS[COMP_CWORD - 1]} == : ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}:
    fi
    [[ -n $before ]] && ((count--))
    list=${lists[count < 2 ? count : 2]}
    [[ -z $list ]] && return
    COMPREPLY=($(compgen -W "$(box "${roots[@]}" $list 2>/dev/null | grep -v '<none>')" -- "$before$word"))
    COMPREPLY=("${COMPREPLY[@]#"$before"}")
}
complete -o default -F _box box
"#;
