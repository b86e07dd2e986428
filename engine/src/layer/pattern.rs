//! Patterns of paths: those of Go's `filepath.Match`, and lists of them with `**` and `!`, as `.dockerignore` has them.

use crate::error::{Context, Error, Result};

/// A list of patterns; the last one that matches decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    parts: Vec<Vec<u8>>,
    /// `!`: what matches is no exception any more.
    is_negated: bool,
}

impl Patterns {
    /// From the lines of a `.dockerignore`.
    pub fn of_lines(text: &str) -> Vec<String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().filter(|line| !line.starts_with('#')).map(str::trim);
        lines.filter(|line| !line.is_empty()).map(str::to_string).collect()
    }

    /// Reads patterns; one that means nothing is left out.
    pub fn new(texts: &[String]) -> Patterns {
        let patterns = texts.iter().filter_map(|text| {
            let (is_negated, text) =
                text.strip_prefix('!').map_or((false, &text[..]), |rest| (true, rest.trim()));
            let parts = normal(text.as_bytes());
            (!parts.is_empty()).then_some(Pattern { parts, is_negated })
        });
        Patterns { patterns: patterns.collect() }
    }

    /// The same for patterns that somebody wrote, where `name` says.
    ///
    /// # Errors
    /// As for [`Patterns::check`].
    pub fn checked(name: &str, texts: &[String]) -> Result<Patterns> {
        let check = |text: &String| Patterns::check(text).context(|| format!("{name}: {text}"));
        texts.iter().try_for_each(check)?;
        Ok(Patterns::new(texts))
    }

    /// Checks one before it is read: with a bracket that stays open it would match nothing.
    ///
    /// # Errors
    /// It has such a one.
    pub fn check(text: &str) -> Result<()> {
        match normal(text.as_bytes()).iter().any(|part| is_open(part)) {
            true => Err(Error::invalid(
                "a bracket is open: write ] behind the letters that are meant, or \\[ for the sign itself",
            )),
            false => Ok(()),
        }
    }

    /// Whether a path, or a folder that it is in, is meant.
    pub fn matches(&self, path: &[u8]) -> bool {
        let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        let mut is_meant = false;
        for pattern in &self.patterns {
            // One that would change nothing need not be looked at.
            if is_meant != pattern.is_negated {
                continue;
            }
            if (1..=parts.len()).any(|length| matches_parts(&pattern.parts, &parts[..length])) {
                is_meant = !pattern.is_negated;
            }
        }
        is_meant
    }

    /// Whether something in a folder that is meant may not be meant.
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.is_negated)
    }
}

/// Without `.`, `..` and slashes that mean nothing.
fn normal(text: &[u8]) -> Vec<Vec<u8>> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for part in text.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part.to_vec()),
        }
    }
    parts
}

/// A `**` takes no part at first, and one more whenever what stands behind it does not fit: only the last one that was met need do
/// so, and nothing is tried twice.
fn matches_parts(pattern: &[Vec<u8>], path: &[&[u8]]) -> bool {
    let (mut rest, mut left, mut last) = (pattern, path, None);
    loop {
        match (rest, left) {
            ([only], left) if only == b"**" => return !left.is_empty(),
            ([any, behind @ ..], _) if any == b"**" => {
                (rest, last) = (behind, Some((behind, left)));
                continue;
            }
            ([], []) => return true,
            ([first, behind @ ..], [part, others @ ..]) if matches_part(first, part) => {
                (rest, left) = (behind, others);
                continue;
            }
            _ => {}
        }
        let Some((behind, [_, others @ ..])) = last else { return false };
        (rest, left, last) = (behind, others, Some((behind, others)));
    }
}

/// Whether a text has signs that mean more than themselves. A backslash means something before those alone.
pub fn is_pattern(text: &[u8]) -> bool {
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => return true,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
    false
}

/// Whether a bracket of a name's pattern has nothing in it or no end.
fn is_open(mut pattern: &[u8]) -> bool {
    loop {
        pattern = match pattern {
            [] => return false,
            [b'\\', _, rest @ ..] => rest,
            [b'[', b']', ..] | [b'[', b'^' | b'!', b']', ..] => return true,
            [b'[', rest @ ..] => match class(rest, b"") {
                Some((_, rest)) => rest,
                None => return true,
            },
            [_, rest @ ..] => rest,
        };
    }
}

/// Whether a name matches: `*`, `?`, `[a-z]`, `[^a]`, `\*`. A `*` is taken as `**` is in paths.
pub fn matches_part(pattern: &[u8], name: &[u8]) -> bool {
    let (mut rest, mut left, mut last) = (pattern, name, None);
    loop {
        if let [b'*', behind @ ..] = rest {
            (rest, last) = (behind, Some((behind, left)));
            continue;
        }
        if rest.is_empty() && left.is_empty() {
            return true;
        }
        if let Some(behind) = without_letter(rest, left) {
            (rest, left) = behind;
            continue;
        }
        let Some((behind, [_, others @ ..])) = last else { return false };
        (rest, left, last) = (behind, others, Some((behind, others)));
    }
}

/// What is left of both if the first letter fits; `None` if it does not.
fn without_letter<'p, 'n>(pattern: &'p [u8], name: &'n [u8]) -> Option<(&'p [u8], &'n [u8])> {
    let letter = letter_length(name);
    match pattern {
        [b'?', rest @ ..] if letter > 0 => Some((rest, &name[letter..])),
        [] | [b'?', ..] => None,
        [b'[', rest @ ..] => match class(rest, name) {
            Some((true, after)) if letter > 0 => Some((after, &name[letter..])),
            _ => None,
        },
        [b'\\', sign, rest @ ..] | [sign, rest @ ..] => {
            (name.first() == Some(sign)).then(|| (rest, &name[1..]))
        }
    }
}

/// Of UTF-8; what is none counts byte by byte.
fn letter_length(name: &[u8]) -> usize {
    let length = match name.first() {
        None => 0,
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        Some(_) => 1,
    };
    length.min(name.len())
}

/// Whether the name's first byte is in a class, and what stands behind it; `None` if it has no end.
fn class<'p>(pattern: &'p [u8], name: &[u8]) -> Option<(bool, &'p [u8])> {
    let (is_negated, mut rest) = match pattern {
        [b'^' | b'!', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let found = *name.first().unwrap_or(&0);
    let mut is_in = false;
    loop {
        let (first, after) = match rest {
            [b']', after @ ..] => return Some((is_in != is_negated, after)),
            [b'\\', letter, after @ ..] | [letter, after @ ..] => (*letter, after),
            [] => return None,
        };
        let (last, after) = match after {
            [b'-', b'\\', letter, after @ ..] => (*letter, after),
            [b'-', letter, after @ ..] if *letter != b']' => (*letter, after),
            after => (first, after),
        };
        is_in |= (first..=last).contains(&found);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Patterns {
        Patterns::new(&Patterns::of_lines(text))
    }

    #[test]
    fn the_last_one_decides() {
        let patterns = of(
            "# no\n\n*.md\n!README.md\n/node_modules/\n**/*.o\ndocs/**\n!docs/keep\na?[b-d]\n ./x/../y \n",
        );
        for path in [
            "CHANGES.md",
            "node_modules",
            "node_modules/a/b",
            "a.o",
            "d/e/a.o",
            "docs/a",
            "docs/a/b",
            "axc",
            "y",
        ] {
            assert!(patterns.matches(path.as_bytes()), "{path}");
        }
        for path in
            ["README.md", "d/CHANGES.md", "d/node_modules", "docs", "docs/keep", "docs/keep/x", "axe", "x"]
        {
            assert!(!patterns.matches(path.as_bytes()), "{path}");
        }
        assert!(patterns.has_exceptions() && !of("a").has_exceptions());
    }

    #[test]
    fn two_stars_are_any_folders() {
        for (pattern, path, expected) in [
            ("**/b", "b", true),
            ("**/a/**/b", "a/x/a/y/b", true),
            ("**/a/**/b", "a/x/a/y/c", false),
            ("a/**", "a", false),
            ("**/**", "a", true),
            ("a/**/**/b", "a/b", true),
        ] {
            assert_eq!(of(pattern).matches(path.as_bytes()), expected, "{pattern} {path}");
        }
    }

    /// What backtracks would take longer than anybody lives.
    #[test]
    fn no_pattern_takes_long() {
        let name = "a".repeat(255);
        assert!(!matches_part(("*a".repeat(100) + "b").as_bytes(), name.as_bytes()));
        assert!(!of(&("**/a/".repeat(100) + "b")).matches("a/".repeat(1000).as_bytes()));
    }

    #[test]
    fn a_bracket_has_an_end() {
        let whole = ["a", "[a]", "\\[", "[\\]]", "[^a-c]x/[b]", "!*.py[cod]", "a]"];
        assert!(whole.iter().all(|text| Patterns::check(text).is_ok()));
        let open = ["[", "a/[b", "[a\\]", "[]", "[^]", "![a", "[a/b]"];
        assert!(open.iter().all(|text| Patterns::check(text).is_err()));
    }

    #[test]
    fn names_match_as_in_go() {
        for (pattern, name, expected) in [
            ("a*c", "abbc", true),
            ("a*c", "ab", false),
            ("?", "ä", true),
            ("[^a-c]x", "dx", true),
            ("[^a-c]x", "bx", false),
            ("[a\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("[a", "a", false),
            ("*a*b", "aab", true),
            ("*a*b", "aba", false),
            ("**", "", true),
            ("*", "x", true),
            ("a*", "a", true),
        ] {
            assert_eq!(matches_part(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
