//! The words of the history, which are BuildKit's: tools read them.

use std::time::Duration;

use crate::build::syntax::{CommandLine, Health};

/// Go's `%q` of words: `["a" "b"]`.
pub fn quoted(words: &[String]) -> String {
    let quote = |word: &String| serde_json::Value::String(word.clone()).to_string();
    format!("[{}]", words.iter().map(quote).collect::<Vec<_>>().join(" "))
}

/// Go's `%v` of words: `[a b]`.
pub fn listed(words: &[String]) -> String {
    format!("[{}]", words.join(" "))
}

/// HEALTHCHECK, as Go prints the struct of it.
pub fn health(health: &Health) -> String {
    let Health::Command { command, interval, timeout, start_period, start_interval, retries } = health else {
        return format!(
            "HEALTHCHECK &{{{} \"0s\" \"0s\" \"0s\" \"0s\" '\\x00'}}",
            quoted(&["NONE".to_string()])
        );
    };
    let words = match command {
        CommandLine::Shell(line) => vec!["CMD-SHELL".to_string(), line.clone()],
        CommandLine::Exec(words) => [vec!["CMD".to_string()], words.clone()].concat(),
    };
    let times: Vec<String> = [interval, timeout, start_period, start_interval]
        .map(|time| format!("\"{}\"", duration(time.unwrap_or_default())))
        .to_vec();
    format!("HEALTHCHECK &{{{} {} {}}}", quoted(&words), times.join(" "), letter(retries.unwrap_or(0)))
}

/// As Go prints durations: `1m30s`, `1.5s`, `100ms`.
fn duration(time: Duration) -> String {
    let nanoseconds = time.as_nanos();
    if nanoseconds == 0 {
        return "0s".to_string();
    }
    let fraction = |value: u128, unit: u128| {
        let text = format!("{}.{:0width$}", value / unit, value % unit, width = unit.ilog10() as usize);
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    };
    match nanoseconds {
        1..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(nanoseconds, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(nanoseconds, 1_000_000)),
        _ => {
            let (minutes, rest) = (time.as_secs() / 60, nanoseconds % 60_000_000_000);
            let seconds = format!("{}s", fraction(rest, 1_000_000_000));
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

/// Go's `%q` of a number is the letter with that number.
fn letter(number: u32) -> String {
    match number {
        7 => "'\\a'".to_string(),
        8 => "'\\b'".to_string(),
        9 => "'\\t'".to_string(),
        10 => "'\\n'".to_string(),
        11 => "'\\v'".to_string(),
        12 => "'\\f'".to_string(),
        13 => "'\\r'".to_string(),
        39 => "'\\''".to_string(),
        92 => "'\\\\'".to_string(),
        32..127 => format!("'{}'", char::from_u32(number).unwrap_or(' ')),
        0..128 => format!("'\\x{number:02x}'"),
        _ => format!("'\\u{number:04x}'"),
    }
}

/// What of a script is shown: its first line.
pub fn summary(script: &str) -> String {
    let mut lines = script.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or_default();
    match lines.next() {
        Some(_) => format!("({first}...)"),
        None => format!("({first})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_go_s() {
        let words = ["a b".to_string(), "\"".to_string()];
        assert_eq!((quoted(&words), listed(&words)), ("[\"a b\" \"\\\"\"]".into(), "[a b \"]".into()));
        for (milliseconds, expected) in
            [(0, "0s"), (5_000, "5s"), (90_500, "1m30.5s"), (100, "100ms"), (3_600_000, "1h0m0s")]
        {
            assert_eq!(duration(Duration::from_millis(milliseconds)), expected);
        }
        let check = Health::Command {
            command: CommandLine::Shell("echo ok".into()),
            interval: Some(Duration::from_secs(5)),
            timeout: None,
            start_period: None,
            start_interval: None,
            retries: Some(2),
        };
        assert_eq!(
            health(&check),
            "HEALTHCHECK &{[\"CMD-SHELL\" \"echo ok\"] \"5s\" \"0s\" \"0s\" \"0s\" '\\x02'}"
        );
    }
}
