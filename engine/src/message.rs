//! What box says on stderr, and others' text that a terminal must not obey: names, labels, what registries and images say.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::Write;

/// Says a line to whoever reads stderr. Nothing depends on it: a full disk or a reader that has gone ends nobody's work.
pub fn say(text: impl Display) {
    let line = format!("box: {}\n", line(&text.to_string()));
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// A text of others as a part of one line.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_obeyed)
}

/// The same of a file's name, which need not be text.
pub fn name(bytes: &[u8]) -> Vec<u8> {
    let chunks = bytes.utf8_chunks();
    chunks.flat_map(|chunk| [line(chunk.valid()).as_bytes(), chunk.invalid()].concat()).collect()
}

/// A text that box has put into lines and columns.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |letter| is_obeyed(letter) && !matches!(letter, '\n' | '\t'))
}

/// Control characters, and those that change the direction of what stands behind them.
fn is_obeyed(letter: char) -> bool {
    let is_mark =
        matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    letter.is_control() || is_mark
}

/// As JSON writes it, so that JSON stays what it is.
fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            letter if !is_escaped(letter) => shown.push(letter),
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            '\r' => shown.push_str("\\r"),
            letter => shown.push_str(&format!("\\u{:04x}", u32::from(letter))),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_of_it() {
        assert_eq!(line("a b ä\u{1b}[2J\n\tx\u{9b}\u{202e}"), "a b ä\\u001b[2J\\n\\tx\\u009b\\u202e");
        assert_eq!(name(b"\xff\na\xfe"), b"\xff\\na\xfe");
        assert_eq!(lines("a\tb\n\r\u{7f}"), "a\tb\n\\r\\u007f");
        assert!(matches!(line("nothing"), Cow::Borrowed("nothing")));
    }
}
