//! Words as a shell has them: quotes, escapes, variables with their modifiers.

use std::cell::Cell;
use std::iter::Peekable;
use std::str::Chars;

use super::TEXT_MAX;
use super::wildcard::{Length, Wildcard};
use crate::error::{Error, Result};

/// Expands words.
pub struct Expander<'a> {
    escape: char,
    value: &'a dyn Fn(&str) -> Option<String>,
    /// Told of names without a value, where nothing is said of what is to be then.
    missing: &'a dyn Fn(&str),
    /// How many braces are open.
    depth: Cell<usize>,
}

/// The most bytes that a text may have when it is expanded: as many as a Dockerfile.
const EXPANDED_MAX: usize = TEXT_MAX as usize;

/// The most braces within one another.
const DEPTH_MAX: usize = 100;

/// Whether a word is a name and a value: `NAME=VALUE`.
pub fn has_name(word: &str) -> bool {
    word.contains('=')
}

/// The words of a line as they are written, quotes and escapes included.
pub fn split_words(line: &str, escape: char) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match quote {
            _ if letter == escape && quote != Some('\'') => {
                word.push(letter);
                word.extend(letters.next());
            }
            Some(end) => {
                word.push(letter);
                if letter == end {
                    quote = None;
                }
            }
            None if letter.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            None => {
                word.push(letter);
                if matches!(letter, '"' | '\'') {
                    quote = Some(letter);
                }
            }
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// What comes out: one text, or words that are split where white space is.
#[derive(Default)]
struct Pieces {
    done: Vec<String>,
    word: String,
    is_begun: bool,
    splits: bool,
    /// In bytes, all together.
    length: usize,
}

impl Pieces {
    fn push(&mut self, letter: char) {
        self.word.push(letter);
        self.is_begun = true;
        self.length += letter.len_utf8();
    }

    fn end_word(&mut self) {
        if std::mem::take(&mut self.is_begun) {
            self.done.push(std::mem::take(&mut self.word));
        }
    }

    /// What stands outside of quotes.
    fn add(&mut self, text: &str) {
        for letter in text.chars() {
            if self.splits && letter.is_whitespace() {
                self.end_word();
            } else {
                self.push(letter);
            }
        }
    }
}

type Letters<'t> = Peekable<Chars<'t>>;

/// What becomes of the sign before a letter that means itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// It goes.
    Taken,
    /// It stays: patterns have a meaning of their own for it, and what takes their place is as it is written.
    Kept,
}

impl<'a> Expander<'a> {
    /// `escape` is the sign before a letter that means itself, `value` gives the values of variables.
    pub fn new(escape: char, value: &'a dyn Fn(&str) -> Option<String>) -> Expander<'a> {
        Expander { escape, value, missing: &|_| {}, depth: Cell::new(0) }
    }

    /// Tells of names that have no value, and no word that would take its place.
    pub fn telling(self, missing: &'a dyn Fn(&str)) -> Expander<'a> {
        Expander { missing, ..self }
    }

    fn plain(&self, name: &str) -> String {
        (self.value)(name).unwrap_or_else(|| {
            (self.missing)(name);
            String::new()
        })
    }

    /// The text with quotes taken away and variables expanded.
    ///
    /// # Errors
    /// A quote or a brace has no end; a modifier is unknown; a variable that must be set is not; it becomes too long.
    pub fn expand(&self, text: &str) -> Result<String> {
        let mut pieces = Pieces::default();
        self.process(&mut text.chars().peekable(), None, Escapes::Taken, &mut pieces)
            .map_err(|error| named(error, text))?;
        Ok(pieces.word)
    }

    /// The same as words.
    ///
    /// # Errors
    /// As for [`Expander::expand`].
    pub fn words(&self, text: &str) -> Result<Vec<String>> {
        let mut pieces = Pieces { splits: true, ..Pieces::default() };
        self.process(&mut text.chars().peekable(), None, Escapes::Taken, &mut pieces)
            .map_err(|error| named(error, text))?;
        pieces.end_word();
        Ok(pieces.done)
    }

    /// A text in which quotes mean nothing: that of a heredoc.
    ///
    /// # Errors
    /// As for [`Expander::expand`].
    pub fn expand_heredoc(&self, text: &str) -> Result<String> {
        let (mut letters, mut expanded) = (text.chars().peekable(), String::new());
        while let Some(letter) = letters.next() {
            match letter {
                '$' => expanded += &self.dollar(&mut letters)?,
                letter if letter == self.escape => expanded.extend(letters.next()),
                letter => expanded.push(letter),
            }
            check_length(expanded.len())?;
        }
        Ok(expanded)
    }

    /// Until `stop`, which is taken as well, or the end.
    fn process(
        &self,
        letters: &mut Letters<'_>,
        stop: Option<char>,
        escapes: Escapes,
        pieces: &mut Pieces,
    ) -> Result<()> {
        loop {
            check_length(pieces.length)?;
            let Some(letter) = letters.next() else {
                return match stop {
                    None => Ok(()),
                    Some(stop) => Err(Error::invalid(format!("a {stop:?} is missing"))),
                };
            };
            match letter {
                letter if Some(letter) == stop => return Ok(()),
                '\'' => self.single_quoted(letters, pieces)?,
                '"' => self.double_quoted(letters, escapes, pieces)?,
                '$' => {
                    let value = self.dollar(letters)?;
                    pieces.add(&value);
                }
                letter if letter == self.escape => {
                    if escapes == Escapes::Kept {
                        pieces.push(letter);
                    }
                    if let Some(next) = letters.next() {
                        pieces.push(next);
                    }
                }
                letter => pieces.add(letter.encode_utf8(&mut [0; 4])),
            }
        }
    }

    fn single_quoted(&self, letters: &mut Letters<'_>, pieces: &mut Pieces) -> Result<()> {
        pieces.is_begun = true;
        for letter in letters.by_ref() {
            match letter {
                '\'' => return Ok(()),
                letter => pieces.push(letter),
            }
        }
        Err(Error::invalid("a single quote has no end"))
    }

    fn double_quoted(&self, letters: &mut Letters<'_>, escapes: Escapes, pieces: &mut Pieces) -> Result<()> {
        pieces.is_begun = true;
        while let Some(letter) = letters.next() {
            check_length(pieces.length)?;
            match letter {
                '"' => return Ok(()),
                '$' => {
                    for letter in self.dollar(letters)?.chars() {
                        pieces.push(letter);
                    }
                }
                letter if letter == self.escape => {
                    if escapes == Escapes::Kept {
                        pieces.push(letter);
                    }
                    match letters.next_if(|next| matches!(next, '"' | '$') || *next == self.escape) {
                        Some(next) => pieces.push(next),
                        None => pieces.push(letter),
                    }
                }
                letter => pieces.push(letter),
            }
        }
        Err(Error::invalid("a double quote has no end"))
    }

    /// What stands behind a dollar sign.
    fn dollar(&self, letters: &mut Letters<'_>) -> Result<String> {
        if letters.next_if_eq(&'{').is_some() {
            let depth = self.depth.get() + 1;
            if depth > DEPTH_MAX {
                return Err(Error::invalid(format!("more than {DEPTH_MAX} braces within one another")));
            }
            self.depth.set(depth);
            let expanded = self.braced(letters)?;
            self.depth.set(depth - 1);
            return Ok(expanded);
        }
        match name(letters) {
            name if name.is_empty() => Ok("$".to_string()),
            name => Ok(self.plain(&name)),
        }
    }

    fn braced(&self, letters: &mut Letters<'_>) -> Result<String> {
        let name = name(letters);
        if name.is_empty() {
            return Err(Error::invalid("${}: a name is missing"));
        }
        let value = (self.value)(&name);
        let Some(sign) = letters.next() else { return Err(Error::invalid("a '}' is missing")) };
        let (is_set, sign) = match sign {
            '}' => return Ok(self.plain(&name)),
            // Empty counts as unset.
            ':' => {
                let next = letters.next_if(|sign| "-+?".contains(*sign)).unwrap_or(':');
                (value.as_ref().is_some_and(|value| !value.is_empty()), next)
            }
            sign => (value.is_some(), sign),
        };
        let text = value.unwrap_or_default();
        match sign {
            '-' | '+' | '?' => {
                let word = self.until(letters, '}', Escapes::Taken)?;
                match (sign, is_set) {
                    ('-', true) | ('?', true) => Ok(text),
                    ('-', false) | ('+', true) => Ok(word),
                    ('+', _) => Ok(String::new()),
                    _ if word.is_empty() => {
                        Err(Error::invalid(format!("{name}: it must be set, and not be empty")))
                    }
                    _ => Err(Error::invalid(format!("{name}: {word}"))),
                }
            }
            '#' | '%' => {
                let is_longest = letters.next_if_eq(&sign).is_some();
                let length = if is_longest { Length::Longest } else { Length::Shortest };
                let pattern = Wildcard::parse(&self.until(letters, '}', Escapes::Kept)?);
                match sign {
                    '#' => pattern.strip_start(&text, length),
                    _ => pattern.strip_end(&text, length),
                }
            }
            '/' => {
                let all = letters.next_if_eq(&'/').is_some();
                let pattern = Wildcard::parse(&self.until(letters, '/', Escapes::Kept)?);
                let replacement = self.until(letters, '}', Escapes::Kept)?;
                pattern.replace(&text, &replacement, all, EXPANDED_MAX)
            }
            other => Err(Error::invalid(format!(
                "${{{name}{other}…}}: no modifier: there are :- :+ :? - + ? # ## % %% / and //"
            ))),
        }
    }

    fn until(&self, letters: &mut Letters<'_>, stop: char, escapes: Escapes) -> Result<String> {
        let mut pieces = Pieces::default();
        self.process(letters, Some(stop), escapes, &mut pieces)?;
        Ok(pieces.word)
    }
}

/// A long text would hide what is wrong with it.
fn named(error: Error, text: &str) -> Error {
    const SHOWN: usize = 100;
    let text = text.trim();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => error.context(format!("{}…", &text[..end])),
        None => error.context(text),
    }
}

fn check_length(length: usize) -> Result<()> {
    match length {
        0..=EXPANDED_MAX => Ok(()),
        _ => Err(Error::invalid(format!("it becomes longer than {EXPANDED_MAX} bytes when it is expanded"))),
    }
}

/// The name of a variable, or one of the signs that a shell takes for one.
fn name(letters: &mut Letters<'_>) -> String {
    let mut name = String::new();
    match letters.peek() {
        Some(letter) if letter.is_alphabetic() || *letter == '_' => {
            while let Some(letter) = letters.next_if(|letter| letter.is_alphanumeric() || *letter == '_') {
                name.push(letter);
            }
        }
        Some(letter) if letter.is_ascii_digit() => {
            while let Some(letter) = letters.next_if(char::is_ascii_digit) {
                name.push(letter);
            }
        }
        Some(letter) if "@*#?-$!".contains(*letter) => name.extend(letters.next()),
        _ => {}
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str) -> Option<String> {
        let known = [("A", "one"), ("EMPTY", ""), ("PATH", "/a/b/c.tar.gz"), ("S", "x y")];
        known.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
    }

    fn expand(text: &str) -> String {
        Expander::new('\\', &value).expand(text).unwrap_or_else(|error| format!("! {error}"))
    }

    #[test]
    fn variables_have_modifiers() {
        for (text, expected) in [
            ("$A", "one"),
            ("${A}x$A_", "onex"),
            ("\\$A '$A' \"$A\" \"\\$A\"", "$A $A one $A"),
            ("${NONE:-x ${A}}", "x one"),
            ("${EMPTY:-x}|${EMPTY-x}", "x|"),
            ("${A:+y}|${EMPTY:+y}|${EMPTY+y}|${NONE+y}", "y||y|"),
            ("${PATH#*/}|${PATH##*/}|${PATH%.*}|${PATH%%.*}", "a/b/c.tar.gz|c.tar.gz|/a/b/c.tar|/a/b/c"),
            ("${PATH/b/X}|${PATH//a/-}", "/a/X/c.tar.gz|/-/b/c.t-r.gz"),
            ("${A#?}", "ne"),
            ("a$", "a$"),
            ("$-|$10|$$A|$?", "||A|"),
            ("${A/n/\\/}|${A#\"o\"}|${PATH#\\/}", "o\\/e|ne|a/b/c.tar.gz"),
            ("\\a\\\\", "a\\"),
            ("\"a\\b\"", "a\\b"),
        ] {
            assert_eq!(expand(text), expected, "{text}");
        }
        assert_eq!(expand("${NONE:?is wanted}"), "! ${NONE:?is wanted}: NONE: is wanted");
        assert!(expand("${A").contains("missing") && expand("'a").contains("single quote has no end"));
        assert!(expand("${A^}").contains("no modifier") && expand("${A:#o}").contains("no modifier"));
    }

    #[test]
    fn what_grows_without_end_is_refused() {
        let nested = |depth: usize| "${NONE:-".repeat(depth) + "x" + &"}".repeat(depth);
        assert_eq!(expand(&nested(100)), "x");
        assert!(expand(&nested(100_000)).ends_with("more than 100 braces within one another"));
        assert!(expand("${NONE:?x").len() < 200);
        let large = |_: &str| Some("x".repeat(1 << 20));
        let expander = Expander::new('\\', &large);
        for text in ["$A".repeat(20), format!("\"{}\"", "$A".repeat(20)), "${A//x/$A}".to_string()] {
            let error = expander.expand(&text).unwrap_err().to_string();
            assert!(error.contains("longer than 16777216 bytes") && error.len() < 300, "{error}");
        }
        assert!(
            expander.expand_heredoc(&"$A".repeat(20)).is_err() && expander.words(&"$A ".repeat(20)).is_err()
        );
    }

    #[test]
    fn words_are_split_where_no_quotes_are() {
        let expander = Expander::new('\\', &value);
        assert_eq!(expander.words("a  $S \"$S\" ''").unwrap(), ["a", "x", "y", "x y", ""]);
        assert_eq!(split_words("a\\ b \"c d\"e 'f", '\\'), ["a\\ b", "\"c d\"e", "'f"]);
        assert_eq!(expander.expand_heredoc("'$A' \"\\$A\"\n").unwrap(), "'one' \"$A\"\n");
    }
}
