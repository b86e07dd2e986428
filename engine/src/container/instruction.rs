//! Instructions of a Dockerfile that say how an image is run, as `commit --change` takes them.

use std::iter::Peekable;
use std::str::Chars;

use super::size::parse_time;
use crate::error::{Error, Result};
use crate::image::{DOCUMENT_MAX, Execution, Healthcheck};

const KNOWN: &str = "CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR with a value";

/// Does what instructions say, in their order.
///
/// # Errors
/// One is unknown, or its value cannot be.
pub fn change_execution(execution: &mut Execution, changes: &[String]) -> Result<()> {
    let mut has_command = false;
    for change in changes {
        let words = change.trim().split_once(char::is_whitespace).unwrap_or((change.trim(), ""));
        let instruction = words.0.to_ascii_uppercase();
        // The arguments of another program are not those of this one.
        if instruction == "ENTRYPOINT" && !has_command {
            execution.cmd.clear();
        }
        has_command |= instruction == "CMD";
        apply(execution, &instruction, words.1.trim())
            .and_then(|()| check_length(length(execution)))
            .map_err(|error| error.context(format!("--change {change}")))?;
    }
    Ok(())
}

/// Of everything that may have been expanded.
fn length(execution: &Execution) -> usize {
    let Execution { env, labels, volumes, user, working_dir, .. } = execution;
    let labels = labels.iter().map(|(name, value)| name.len() + value.len());
    let all = env.iter().map(String::len).chain(volumes.keys().map(String::len)).chain(labels);
    all.sum::<usize>() + user.len() + working_dir.len()
}

fn apply(execution: &mut Execution, instruction: &str, value: &str) -> Result<()> {
    if value.is_empty() {
        return Err(Error::invalid(format!("must be {KNOWN}")));
    }
    let variables = execution.env.clone();
    let words = |value: &str| split_words(value, &variables);
    match instruction {
        "CMD" => execution.cmd = command(value, &execution.shell),
        "ENTRYPOINT" => execution.entrypoint = command(value, &execution.shell),
        "ENV" => {
            for (name, value) in pairs(value, &variables)? {
                set_variable(&mut execution.env, &format!("{name}={value}"));
            }
        }
        "LABEL" => execution.labels.extend(pairs(value, &variables)?),
        "EXPOSE" => {
            for word in words(value)? {
                execution
                    .exposed_ports
                    .extend(ports(&word)?.into_iter().map(|port| (port, Default::default())));
            }
        }
        "HEALTHCHECK" => execution.healthcheck = Some(healthcheck(value)?),
        "ONBUILD" => execution.on_build.push(on_build(value)?),
        "USER" => execution.user = one(words(value)?)?,
        "WORKDIR" => {
            let folder = one(words(value)?)?;
            execution.working_dir = match folder.starts_with('/') {
                true => folder,
                false => format!("{}/{folder}", execution.working_dir.trim_end_matches('/')),
            };
        }
        "VOLUME" => {
            let folders = json_words(value).map_or_else(|| words(value), Ok)?;
            execution.volumes.extend(folders.into_iter().map(|folder| (folder, Default::default())));
        }
        "STOPSIGNAL" => {
            let name = one(words(value)?)?;
            pillbox::signal::parse(&name)?;
            execution.stop_signal = Some(name);
        }
        _ => return Err(Error::invalid(format!("must be {KNOWN}"))),
    }
    Ok(())
}

/// Gives a variable, `NAME=VALUE`, another value; without one it is taken away.
pub fn set_variable(variables: &mut Vec<String>, variable: &str) {
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_string();
    variables.retain(|known| name(known) != name(variable));
    if variable.contains('=') {
        variables.push(variable.to_string());
    }
}

fn one(words: Vec<String>) -> Result<String> {
    match <[String; 1]>::try_from(words) {
        Ok([word]) if !word.is_empty() => Ok(word),
        _ => Err(Error::invalid("must be one word")),
    }
}

fn json_words(value: &str) -> Option<Vec<String>> {
    if value.starts_with('[') { serde_json::from_str(value).ok() } else { None }
}

/// A JSON array, or a line for the shell, as which Docker also takes an array that is none.
fn command(value: &str, shell: &[String]) -> Vec<String> {
    json_words(value).unwrap_or_else(|| {
        let shell = if shell.is_empty() { &["/bin/sh", "-c"].map(str::to_string)[..] } else { shell };
        [shell, &[value.to_string()]].concat()
    })
}

/// `NAME=VALUE …`, or the older `NAME VALUE`, where the value is the rest of the line.
fn pairs(value: &str, variables: &[String]) -> Result<Vec<(String, String)>> {
    let mut quote = None;
    let is_space = |letter: char| {
        match quote {
            Some(open) => quote = quote.filter(|_| open != letter),
            None if matches!(letter, '"' | '\'') => quote = Some(letter),
            None => {}
        }
        quote.is_none() && letter.is_whitespace()
    };
    let first = value.split(is_space).next().unwrap_or_default();
    if !first.contains('=') {
        let (name, rest) = value
            .split_once(char::is_whitespace)
            .ok_or_else(|| Error::invalid(format!("{value}: must be NAME=VALUE")))?;
        let words = split_words(rest.trim(), variables)?;
        return Ok(vec![(name.to_string(), words.join(" "))]);
    }
    let pair = |word: String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_string(), value.to_string())),
        _ => Err(Error::invalid(format!("{word}: must be NAME=VALUE"))),
    };
    split_words(value, variables)?.into_iter().map(pair).collect()
}

/// `80`, `8000-8010/udp`: each port by itself.
fn ports(text: &str) -> Result<Vec<String>> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let protocol = protocol.to_ascii_lowercase();
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last && matches!(&*protocol, "tcp" | "udp" | "sctp") => {
            Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
        }
        _ => Err(Error::invalid(format!("{text}: must be PORT[-PORT][/tcp|udp|sctp]"))),
    }
}

fn on_build(value: &str) -> Result<String> {
    let instruction = value.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    match instruction.as_str() {
        "ONBUILD" | "FROM" | "MAINTAINER" => {
            Err(Error::invalid(format!("{instruction} cannot be done in an image that is made of it")))
        }
        _ => Ok(value.to_string()),
    }
}

fn healthcheck(value: &str) -> Result<Healthcheck> {
    let mut check = Healthcheck::default();
    let mut rest = value;
    while rest.starts_with("--") {
        let (flag, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let (name, text) =
            flag.split_once('=').ok_or_else(|| Error::invalid(format!("{flag}: a value is missing")))?;
        let time = || parse_time(name, text).map(|time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
        match name {
            "--interval" => check.interval = time()?,
            "--timeout" => check.timeout = time()?,
            "--start-period" => check.start_period = time()?,
            "--start-interval" => check.start_interval = time()?,
            "--retries" => {
                let wrong = || Error::invalid(format!("{flag}: must be a number from 1 on"));
                check.retries = text.parse().ok().filter(|number| *number > 0).ok_or_else(wrong)?;
            }
            _ => {
                return Err(Error::invalid(format!(
                    "{flag}: must be --interval, --timeout, --start-period, --start-interval or --retries"
                )));
            }
        }
        rest = behind.trim_start();
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    check.test = match (kind.to_ascii_uppercase().as_str(), command.trim()) {
        ("NONE", "") => vec!["NONE".to_string()],
        ("CMD", command) if !command.is_empty() => match json_words(command) {
            Some(words) => [vec!["CMD".to_string()], words].concat(),
            None => vec!["CMD-SHELL".to_string(), command.to_string()],
        },
        _ => return Err(Error::invalid(format!("{rest:?}: must be NONE, or CMD with a command"))),
    };
    Ok(check)
}

/// Words as a shell reads them: quotes, backslashes, and variables outside single quotes.
fn split_words(text: &str, variables: &[String]) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars().peekable();
    let mut length = 0;
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), letter) if open == letter => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (Some('"') | None, '$') => {
                let value = variable(&mut letters, variables)?;
                length += value.len();
                check_length(length)?;
                word.get_or_insert_default().push_str(&value);
            }
            (Some('"'), '\\') => match letters.next_if(|next| matches!(next, '"' | '\\' | '$')) {
                Some(next) => word.get_or_insert_default().push(next),
                None => word.get_or_insert_default().push('\\'),
            },
            (None, '\\') => word.get_or_insert_default().extend(letters.next()),
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    if let Some(open) = quote {
        return Err(Error::invalid(format!("a {open} is missing")));
    }
    words.extend(word);
    Ok(words)
}

/// No image could have more.
fn check_length(length: usize) -> Result<()> {
    match length as u64 {
        0..=DOCUMENT_MAX => Ok(()),
        _ => Err(Error::invalid(format!("it becomes longer than {DOCUMENT_MAX} bytes when it is expanded"))),
    }
}

/// What stands for a variable behind `$`: `NAME`, `{NAME}`, `{NAME:-otherwise}` or `{NAME:+instead}`.
fn variable(letters: &mut Peekable<Chars<'_>>, variables: &[String]) -> Result<String> {
    let is_name = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '_';
    let known = |name: &str| {
        let found = variables.iter().filter_map(|variable| variable.split_once('='));
        found
            .filter(|(known, _)| *known == name)
            .map(|(_, value)| value.to_string())
            .next_back()
            .unwrap_or_default()
    };
    if letters.next_if_eq(&'{').is_none() {
        let name: String = std::iter::from_fn(|| letters.next_if(is_name)).collect();
        return Ok(if name.is_empty() { "$".to_string() } else { known(&name) });
    }
    let inner: String = letters.by_ref().take_while(|letter| *letter != '}').collect();
    let end = inner.find(|letter| !is_name(&letter)).unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    let value = known(name);
    match (rest.get(..2), value.is_empty()) {
        _ if name.is_empty() => Err(Error::invalid(format!("${{{inner}}}: a name is missing"))),
        (None, _) if rest.is_empty() => Ok(value),
        (Some(":-"), true) | (Some(":+"), false) => Ok(rest[2..].to_string()),
        (Some(":-"), false) | (Some(":+"), true) => Ok(value),
        _ => Err(Error::invalid(format!("${{{inner}}}: must be NAME, NAME:-WORD or NAME:+WORD"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Result<Execution> {
        let mut execution = Execution {
            env: vec!["PATH=/bin".to_string()],
            cmd: vec!["old".to_string()],
            working_dir: "/srv".to_string(),
            ..Execution::default()
        };
        let changes: Vec<String> = changes.iter().map(|change| change.to_string()).collect();
        change_execution(&mut execution, &changes).map(|()| execution)
    }

    #[test]
    fn programs() {
        let made = changed(&["ENTRYPOINT [\"/app\", \"-x\"]"]).unwrap();
        assert_eq!((made.entrypoint, made.cmd.len()), (vec!["/app".to_string(), "-x".to_string()], 0));
        let made = changed(&["cmd [ -f /x ] && run", "ENTRYPOINT serve --all"]).unwrap();
        assert_eq!(made.cmd, ["/bin/sh", "-c", "[ -f /x ] && run"]);
        assert_eq!(made.entrypoint, ["/bin/sh", "-c", "serve --all"]);
        assert_eq!(changed(&["CMD []"]).unwrap().cmd, [""; 0]);
    }

    #[test]
    fn variables_and_labels() {
        let made = changed(&[
            "ENV A=1 B=\"two words\" C=three\\ x D='$A'",
            "ENV PATH $PATH:/opt  more",
            "ENV E=${A}${F:-z}",
        ]);
        assert_eq!(
            made.unwrap().env,
            ["A=1", "B=two words", "C=three x", "D=$A", "PATH=/bin:/opt more", "E=1z"]
        );
        let made = changed(&["LABEL \"com.example.a b\"=\"x=y\" plain=z", "LABEL old form here"]).unwrap();
        let labels: Vec<_> = made.labels.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        assert_eq!(labels, ["com.example.a b:x=y", "old:form here", "plain:z"]);
    }

    #[test]
    fn everything_else() {
        let made = changed(&[
            "EXPOSE 80 53/udp 8000-8001",
            "USER web:web",
            "WORKDIR sub",
            "VOLUME [\"/data\", \"/logs\"]",
            "VOLUME /a /b",
            "STOPSIGNAL SIGINT",
            "ONBUILD RUN make",
            "HEALTHCHECK --interval=5s --retries=3 CMD curl localhost",
        ])
        .unwrap();
        assert_eq!(
            made.exposed_ports.into_keys().collect::<Vec<_>>(),
            ["53/udp", "80/tcp", "8000/tcp", "8001/tcp"]
        );
        assert_eq!((&*made.user, &*made.working_dir), ("web:web", "/srv/sub"));
        assert_eq!(made.volumes.into_keys().collect::<Vec<_>>(), ["/a", "/b", "/data", "/logs"]);
        assert_eq!(
            (made.stop_signal.as_deref(), made.on_build),
            (Some("SIGINT"), vec!["RUN make".to_string()])
        );
        let check = made.healthcheck.unwrap();
        assert_eq!((check.interval, check.retries), (5_000_000_000, 3));
        assert_eq!(check.test, ["CMD-SHELL", "curl localhost"]);
        assert_eq!(changed(&["HEALTHCHECK NONE"]).unwrap().healthcheck.unwrap().test, ["NONE"]);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let refused = |change| changed(&[change]).unwrap_err().to_string();
        assert_eq!(refused("FROM x"), format!("--change FROM x: must be {KNOWN}"));
        assert_eq!(refused("CMD"), format!("--change CMD: must be {KNOWN}"));
        assert_eq!(refused("ENV A"), "--change ENV A: A: must be NAME=VALUE");
        assert_eq!(refused("ENV A='x"), "--change ENV A='x: a ' is missing");
        assert_eq!(refused("EXPOSE 0"), "--change EXPOSE 0: 0: must be PORT[-PORT][/tcp|udp|sctp]");
        assert_eq!(refused("USER a b"), "--change USER a b: must be one word");
        assert!(refused("ONBUILD FROM x").contains("cannot be done"));
        assert!(refused("HEALTHCHECK curl").contains("must be NONE, or CMD with a command"));
        assert!(refused("HEALTHCHECK --every=1s CMD x").contains("--every=1s: must be --interval"));
        assert!(refused("STOPSIGNAL SIGNOTHING").contains("SIGNOTHING"));
    }
}
