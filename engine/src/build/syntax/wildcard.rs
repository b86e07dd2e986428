//! Patterns in the modifiers of variables: `*`, `?` and escapes, matched against the beginning or the end of a text. The time that it
//! takes grows with the text and with the pattern, and is bounded.

use crate::error::{Error, Result};

/// The most comparisons of a letter with a part of a pattern: a tenth of a second, about.
const COMPARISONS_MAX: u64 = 10_000_000;

/// A pattern.
#[derive(Debug)]
pub struct Wildcard {
    parts: Vec<Part>,
    comparisons: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Any letters, or none.
    Any,
    /// One letter, whatever it is.
    One,
    /// This letter.
    Letter(char),
}

/// How much is taken if more than one length fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// As little as fits.
    Shortest,
    /// As much as fits.
    Longest,
}

impl Wildcard {
    /// Reads a pattern.
    pub fn parse(pattern: &str) -> Wildcard {
        let (mut parts, mut letters) = (Vec::new(), pattern.chars());
        while let Some(letter) = letters.next() {
            parts.push(match letter {
                '*' => Part::Any,
                '?' => Part::One,
                '\\' => Part::Letter(letters.next().unwrap_or('\\')),
                letter => Part::Letter(letter),
            });
        }
        Wildcard { parts, comparisons: 0 }
    }

    /// The text without the beginning that matches.
    ///
    /// # Errors
    /// It takes too long.
    pub fn strip_start(mut self, text: &str, length: Length) -> Result<String> {
        let letters: Vec<char> = text.chars().collect();
        let taken = self.prefix(&letters, length)?.unwrap_or(0);
        Ok(letters[taken..].iter().collect())
    }

    /// The text without the end that matches.
    ///
    /// # Errors
    /// It takes too long.
    pub fn strip_end(mut self, text: &str, length: Length) -> Result<String> {
        let backwards: Vec<char> = text.chars().rev().collect();
        self.parts.reverse();
        let taken = self.prefix(&backwards, length)?.unwrap_or(0);
        Ok(backwards[taken..].iter().rev().collect())
    }

    /// The text with the first match replaced, or with all of them; each is as long as it can be. It ends when it has `most` bytes.
    ///
    /// # Errors
    /// It takes too long.
    pub fn replace(mut self, text: &str, replacement: &str, all: bool, most: usize) -> Result<String> {
        let letters: Vec<char> = text.chars().collect();
        let (mut replaced, mut at, mut is_done) = (String::new(), 0, self.parts.is_empty());
        while at < letters.len() && replaced.len() <= most {
            let found = if is_done { None } else { self.prefix(&letters[at..], Length::Longest)? };
            match found.filter(|length| *length > 0) {
                Some(length) => {
                    replaced += replacement;
                    (at, is_done) = (at + length, !all);
                }
                None => {
                    replaced.push(letters[at]);
                    at += 1;
                }
            }
        }
        Ok(replaced)
    }

    /// How many letters of the beginning match, if any do.
    fn prefix(&mut self, text: &[char], length: Length) -> Result<Option<usize>> {
        // Where in the pattern one may be, in ascending order.
        let (mut places, mut next) = (Vec::new(), Vec::new());
        self.reach(0, &mut places);
        let mut found = None;
        for taken in 0..=text.len() {
            if places.last() == Some(&self.parts.len()) {
                found = Some(taken);
            }
            if taken == text.len() || places.is_empty() || (found.is_some() && length == Length::Shortest) {
                break;
            }
            self.comparisons += places.len() as u64;
            if self.comparisons > COMPARISONS_MAX {
                return Err(Error::invalid(format!(
                    "a pattern of {} letters takes too long on a text of this length",
                    self.parts.len()
                )));
            }
            next.clear();
            for place in &places {
                match self.parts.get(*place) {
                    Some(Part::Any) => self.reach(*place, &mut next),
                    Some(Part::One) => self.reach(place + 1, &mut next),
                    Some(Part::Letter(letter)) if *letter == text[taken] => self.reach(place + 1, &mut next),
                    Some(Part::Letter(_)) | None => {}
                }
            }
            std::mem::swap(&mut places, &mut next);
        }
        Ok(found)
    }

    /// Adds a place, and those that lie behind parts which need no letter.
    fn reach(&self, place: usize, places: &mut Vec<usize>) {
        let needless = self.parts[place..].iter().take_while(|part| **part == Part::Any).count();
        for place in place..=place + needless {
            if places.last().is_none_or(|last| *last < place) {
                places.push(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_and_ends_match() {
        let start =
            |pattern: &str, length| Wildcard::parse(pattern).strip_start("a/b/c.tar.gz", length).unwrap();
        assert_eq!(start("*/", Length::Shortest), "b/c.tar.gz");
        assert_eq!(start("*/", Length::Longest), "c.tar.gz");
        assert_eq!(start("**/**", Length::Shortest), "b/c.tar.gz");
        assert_eq!(
            (start("x", Length::Longest), start("*", Length::Shortest)),
            (start("", Length::Longest), start("", Length::Longest))
        );
        let end = |pattern: &str, length| Wildcard::parse(pattern).strip_end("a.tar.gz", length).unwrap();
        assert_eq!(end(".*", Length::Shortest), "a.tar");
        assert_eq!((end(".*", Length::Longest), end("?\\gz", Length::Longest)), ("a".into(), "a.tar".into()));
        assert_eq!((end("*", Length::Longest), end("\\*", Length::Longest)), ("".into(), "a.tar.gz".into()));
    }

    #[test]
    fn matches_are_replaced() {
        let of = |pattern: &str, all| Wildcard::parse(pattern).replace("banana", "-", all, 100).unwrap();
        assert_eq!(
            (of("a", false), of("a", true), of("a*a", true)),
            ("b-nana".into(), "b-n-n-".into(), "b-".into())
        );
        assert_eq!(
            (of("", true), of("x", true), of("?", true)),
            ("banana".into(), "banana".into(), "------".into())
        );
        assert!(
            Wildcard::parse("a").replace(&"a".repeat(1000), &"b".repeat(1000), true, 5000).unwrap().len()
                < 7000
        );
    }

    /// What backtracks would take longer than anybody lives.
    #[test]
    fn no_pattern_takes_long() {
        let text = "a".repeat(20_000);
        let pattern = "*a".repeat(30) + "b";
        assert_eq!(Wildcard::parse(&pattern).strip_start(&text, Length::Longest).unwrap(), text);
        assert_eq!(Wildcard::parse("b").replace(&text, "c", true, usize::MAX).unwrap(), text);
        assert_eq!(Wildcard::parse(&text).strip_end(&text, Length::Longest).unwrap(), "");
        let error = Wildcard::parse(&"*a".repeat(5000)).strip_start(&text, Length::Longest).unwrap_err();
        assert!(error.to_string().contains("10000 letters takes too long"), "{error}");
    }
}
