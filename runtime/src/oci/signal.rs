//! Signals by name or number, as people and programs write them.

use linux_raw_sys::general as kernel;
use rustix::process::Signal;

use crate::error::{Error, Kind, Result};

const NAMES: [(&str, u32); 31] = [
    ("HUP", kernel::SIGHUP),
    ("INT", kernel::SIGINT),
    ("QUIT", kernel::SIGQUIT),
    ("ILL", kernel::SIGILL),
    ("TRAP", kernel::SIGTRAP),
    ("ABRT", kernel::SIGABRT),
    ("BUS", kernel::SIGBUS),
    ("FPE", kernel::SIGFPE),
    ("KILL", kernel::SIGKILL),
    ("USR1", kernel::SIGUSR1),
    ("SEGV", kernel::SIGSEGV),
    ("USR2", kernel::SIGUSR2),
    ("PIPE", kernel::SIGPIPE),
    ("ALRM", kernel::SIGALRM),
    ("TERM", kernel::SIGTERM),
    ("STKFLT", kernel::SIGSTKFLT),
    ("CHLD", kernel::SIGCHLD),
    ("CONT", kernel::SIGCONT),
    ("STOP", kernel::SIGSTOP),
    ("TSTP", kernel::SIGTSTP),
    ("TTIN", kernel::SIGTTIN),
    ("TTOU", kernel::SIGTTOU),
    ("URG", kernel::SIGURG),
    ("XCPU", kernel::SIGXCPU),
    ("XFSZ", kernel::SIGXFSZ),
    ("VTALRM", kernel::SIGVTALRM),
    ("PROF", kernel::SIGPROF),
    ("WINCH", kernel::SIGWINCH),
    ("IO", kernel::SIGIO),
    ("PWR", kernel::SIGPWR),
    ("SYS", kernel::SIGSYS),
];

/// Parses a signal: `9`, `KILL` or `SIGKILL` in any case, `RTMIN+3`, `RTMAX-1`.
///
/// # Errors
/// There is no such signal.
pub fn parse(text: &str) -> Result<Signal> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = match name.parse::<i32>() {
        Ok(number) => Some(number),
        Err(_) => NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, number)| *number as i32)
            .or(realtime(name)),
    };
    number.and_then(from_number).ok_or_else(|| {
        Error::formatted(format_args!(
            "signal {text:?}: unknown: use a number from 1 to 64 or a name such as TERM"
        ))
        .or_kind(Kind::Invalid)
    })
}

/// The name of a signal, or its number if it has no name; [`parse`] accepts both.
pub fn name(number: u32) -> String {
    let known = NAMES.iter().find(|(_, known)| *known == number);
    known.map_or_else(|| number.to_string(), |(name, _)| name.to_string())
}

/// C libraries reserve the first two realtime signals for themselves: RTMIN is 34, RTMAX 64.
fn realtime(name: &str) -> Option<i32> {
    const MIN: i32 = 34;
    const MAX: i32 = 64;
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        MIN + if rest.is_empty() { 0 } else { rest.strip_prefix('+')?.parse().ok()? }
    } else {
        let rest = name.strip_prefix("RTMAX")?;
        MAX - if rest.is_empty() { 0 } else { rest.strip_prefix('-')?.parse().ok()? }
    };
    (MIN..=MAX).contains(&number).then_some(number)
}

/// A signal by its number.
pub fn from_number(number: i32) -> Option<Signal> {
    Signal::from_named_raw(number).or_else(|| crate::sys::realtime_signal(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("sigterm", 15),
            ("SigUsr1", 10),
            ("64", 64),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmax-1", 63),
        ] {
            assert_eq!(parse(text).unwrap().as_raw(), number, "{text}");
        }
        for text in ["", "0", "65", "-1", "NOPE", "SIG", "RTMIN+31", "RTMAX+1", "9x"] {
            assert!(parse(text).unwrap_err().to_string().contains(&format!("{text:?}")), "{text}");
        }
    }
}
