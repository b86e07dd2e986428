//! POSIX extended regular expressions (regex(7)) over bytes, for the ids of containers. They tell whether
//! there is a match, not where.
//!
//! The C library's version brings its allocator and tables for all of Unicode along: 45 KB for one flag of
//! two commands.

/// A compiled expression: steps whose targets are relative to themselves.
#[derive(Debug)]
pub struct Regex(Vec<Step>);

#[derive(Debug, Clone, Copy)]
enum Step {
    /// One byte out of a set.
    Byte(Bytes),
    /// Goes on in two ways.
    Fork(isize, isize),
    Start,
    End,
}

/// The maximum number of steps: nested repetitions multiply.
const STEPS_MAX: usize = 10_000;

/// POSIX's RE_DUP_MAX.
const REPETITIONS_MAX: usize = 255;

/// How deeply groups may be nested.
const DEPTH_MAX: usize = 100;

impl Regex {
    /// Compiles a pattern; `None` if it is malformed, or has `\` before a letter or digit, which POSIX leaves
    /// undefined.
    pub fn new(pattern: &str) -> Option<Regex> {
        let mut parser = Parser { rest: pattern.as_bytes(), depth: 0 };
        let steps = parser.alternatives()?;
        parser.rest.is_empty().then_some(Regex(steps))
    }

    /// Whether it matches anywhere in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        let text = text.as_bytes();
        let mut states = States { here: vec![false; self.0.len()], found: false };
        for place in 0..=text.len() {
            self.enter(&mut states, 0, (place == 0, place == text.len()));
            if states.found {
                return true;
            }
            let Some(&byte) = text.get(place) else { break };
            let before = std::mem::replace(&mut states.here, vec![false; self.0.len()]);
            for (index, _) in before.iter().enumerate().filter(|(_, here)| **here) {
                if matches!(self.0[index], Step::Byte(bytes) if bytes.contains(byte)) {
                    self.enter(&mut states, index + 1, (false, place + 1 == text.len()));
                }
            }
        }
        states.found
    }

    /// Marks a step, and all steps that can be reached from it without a byte.
    fn enter(&self, states: &mut States, first: usize, (start, end): (bool, bool)) {
        let mut open = vec![first];
        while let Some(index) = open.pop() {
            let Some(step) = self.0.get(index) else {
                states.found = true;
                return;
            };
            if std::mem::replace(&mut states.here[index], true) {
                continue;
            }
            match *step {
                Step::Byte(_) => {}
                Step::Fork(one, other) => {
                    open.extend([one, other].map(|way| index.wrapping_add_signed(way)));
                }
                Step::Start => open.extend(start.then_some(index + 1)),
                Step::End => open.extend(end.then_some(index + 1)),
            }
        }
    }
}

/// Which steps wait for a byte or were passed on the way, and whether the end was reached.
struct States {
    here: Vec<bool>,
    found: bool,
}

/// A set of bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Bytes([u128; 2]);

impl Bytes {
    fn of(which: impl Fn(u8) -> bool) -> Bytes {
        let mut bytes = Bytes::default();
        (0..=u8::MAX)
            .filter(|&byte| which(byte))
            .for_each(|byte| bytes.0[usize::from(byte >> 7)] |= 1 << (byte & 127));
        bytes
    }

    fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 7)] & 1 << (byte & 127) != 0
    }
}

struct Parser<'a> {
    rest: &'a [u8],
    depth: usize,
}

impl Parser<'_> {
    fn take(&mut self, wanted: u8) -> bool {
        let [first, rest @ ..] = self.rest else { return false };
        let taken = *first == wanted;
        if taken {
            self.rest = rest;
        }
        taken
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn alternatives(&mut self) -> Option<Vec<Step>> {
        let mut steps = self.branch()?;
        while self.take(b'|') {
            let other = self.branch()?;
            let (length, other_length) = (steps.len() as isize, other.len() as isize);
            steps.insert(0, Step::Fork(1, length + 2));
            steps.push(Step::Fork(other_length + 1, other_length + 1));
            steps.extend(other);
        }
        Some(steps)
    }

    fn branch(&mut self) -> Option<Vec<Step>> {
        let mut steps = Vec::new();
        loop {
            match self.rest.first() {
                None | Some(b'|') => return Some(steps),
                Some(b')') if self.depth > 0 => return Some(steps),
                Some(_) => {}
            }
            let mut piece = self.atom()?;
            while let Some((least, most)) = self.repetition()? {
                piece = repeat(&piece, least, most)?;
            }
            steps.extend(piece);
            if steps.len() > STEPS_MAX {
                return None;
            }
        }
    }

    fn atom(&mut self) -> Option<Vec<Step>> {
        let step = match self.next()? {
            b'(' => {
                self.depth += 1;
                let steps = if self.depth > DEPTH_MAX { None } else { self.alternatives() };
                self.depth -= 1;
                return steps.filter(|_| self.take(b')'));
            }
            b'^' => Step::Start,
            b'$' => Step::End,
            b'.' => Step::Byte(Bytes::of(|_| true)),
            b'[' => Step::Byte(self.bracket()?),
            b'*' | b'+' | b'?' | b'{' => return None,
            b'\\' => {
                let escaped = self.next().filter(|byte| !byte.is_ascii_alphanumeric())?;
                Step::Byte(Bytes::of(|byte| byte == escaped))
            }
            literal => Step::Byte(Bytes::of(|byte| byte == literal)),
        };
        Some(vec![step])
    }

    /// Reads `*`, `+`, `?` or `{m,n}`, if one comes next, as the least and the most repetitions. The outer
    /// `None` is an error.
    #[allow(clippy::type_complexity)]
    fn repetition(&mut self) -> Option<Option<(usize, Option<usize>)>> {
        let range = match self.rest.first() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') => {
                let end = self.rest.iter().position(|byte| *byte == b'}')?;
                let range = str::from_utf8(&self.rest[1..end]).ok()?;
                self.rest = &self.rest[end..];
                let (least, most) = match range.split_once(',') {
                    Some((least, "")) => (count(least)?, None),
                    Some((least, most)) => (count(least)?, Some(count(most)?)),
                    None => (count(range)?, Some(count(range)?)),
                };
                if most.is_some_and(|most| most < least) {
                    return None;
                }
                (least, most)
            }
            _ => return Some(None),
        };
        self.next();
        Some(Some(range))
    }

    /// Reads what follows `[`.
    fn bracket(&mut self) -> Option<Bytes> {
        let negated = self.take(b'^');
        let mut bytes = Bytes::default();
        let mut first = true;
        while first || self.rest.first() != Some(&b']') {
            first = false;
            let more = match self.rest {
                [b'[', b':', ..] => self.class()?,
                _ => {
                    let low = self.member()?;
                    // A hyphen that is the last member means itself.
                    let is_range = matches!(self.rest, [b'-', next, ..] if *next != b']') && self.take(b'-');
                    let high = if is_range { self.member()? } else { low };
                    if low > high {
                        return None;
                    }
                    Bytes::of(|byte| (low..=high).contains(&byte))
                }
            };
            bytes = Bytes(std::array::from_fn(|half| bytes.0[half] | more.0[half]));
        }
        self.take(b']');
        Some(if negated { Bytes(bytes.0.map(|half| !half)) } else { bytes })
    }

    /// A byte in a bracket expression, also as `[.x.]` or `[=x=]`.
    fn member(&mut self) -> Option<u8> {
        match *self.rest {
            [b'[', open @ (b'.' | b'='), byte, close, b']', ..] if open == close => {
                self.rest = &self.rest[5..];
                Some(byte)
            }
            [b'[', b'.' | b'=', ..] => None,
            _ => self.next(),
        }
    }

    /// Reads `[:name:]` in a bracket expression.
    fn class(&mut self) -> Option<Bytes> {
        let end = self.rest.windows(2).position(|pair| pair == b":]").filter(|end| *end >= 2)?;
        let which: fn(&u8) -> bool = match &self.rest[2..end] {
            b"alnum" => u8::is_ascii_alphanumeric,
            b"alpha" => u8::is_ascii_alphabetic,
            b"blank" => |byte| matches!(byte, b' ' | b'\t'),
            b"cntrl" => u8::is_ascii_control,
            b"digit" => u8::is_ascii_digit,
            b"graph" => u8::is_ascii_graphic,
            b"lower" => u8::is_ascii_lowercase,
            b"print" => |byte| matches!(byte, b' '..=b'~'),
            b"punct" => u8::is_ascii_punctuation,
            b"space" => |byte| matches!(byte, b' ' | b'\t'..=b'\r'),
            b"upper" => u8::is_ascii_uppercase,
            b"xdigit" => u8::is_ascii_hexdigit,
            _ => return None,
        };
        self.rest = &self.rest[end + 2..];
        Some(Bytes::of(|byte| which(&byte)))
    }
}

fn count(digits: &str) -> Option<usize> {
    let digits = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|count| *count <= REPETITIONS_MAX)
}

fn repeat(piece: &[Step], least: usize, most: Option<usize>) -> Option<Vec<Step>> {
    let length = piece.len() as isize;
    if piece.len() * most.unwrap_or(least + 1).max(1) > STEPS_MAX {
        return None;
    }
    let mut steps = piece.repeat(least);
    match most {
        Some(most) => {
            for _ in least..most {
                steps.push(Step::Fork(1, length + 1));
                steps.extend(piece);
            }
        }
        None => {
            steps.push(Step::Fork(1, length + 2));
            steps.extend(piece);
            steps.push(Step::Fork(-length - 1, 1));
        }
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use super::Regex;

    #[test]
    fn what_matches() {
        for (pattern, matching, others) in [
            ("", &["", "abc"][..], &[][..]),
            ("b", &["b", "abc"], &["", "ac", "B"]),
            ("^ab$", &["ab"], &["aab", "abb"]),
            ("a.c", &["abc", "xa-cx"], &["ac"]),
            ("a\\.c", &["a.c"], &["abc"]),
            ("^ab*c$", &["ac", "abc", "abbbc"], &["abb", "adc"]),
            ("^ab+c$", &["abc", "abbc"], &["ac"]),
            ("^ab?c$", &["ac", "abc"], &["abbc"]),
            ("^(ab){2}$", &["abab"], &["ab", "ababab"]),
            ("^a{2,3}$", &["aa", "aaa"], &["a", "aaaa"]),
            ("^a{2,}$", &["aa", "aaaaa"], &["a"]),
            ("^a{0}b$", &["b"], &["ab"]),
            ("^(a*)*b$", &["b", "aaab"], &["aaa"]),
            ("^(a|b|cd)+$", &["a", "bacd"], &["", "c", "cda-"]),
            ("^ab|cd$", &["abx", "xcd"], &["xab", "cdx"]),
            ("(^a|b$)", &["ax", "xb"], &["xa", "bx"]),
            ("^(|x)y$", &["y", "xy"], &["xxy"]),
            ("^[a-c-]+$", &["abc-"], &["d"]),
            ("^[]a]+$", &["]a"], &["b"]),
            ("^[^]a]+$", &["bc"], &["]", "a"]),
            ("^[[:alpha:][:digit:]_]+$", &["aZ0_"], &["-", ""]),
            ("^[[.-.]a[=b=]]+$", &["-ab"], &["c"]),
            ("^a)$", &["a)"], &["a"]),
            ("(-one|-t[a-z]o)$", &["x-one", "x-two"], &["x-three", "one"]),
        ] {
            let regex = Regex::new(pattern).unwrap_or_else(|| panic!("{pattern}"));
            matching.iter().for_each(|text| assert!(regex.is_match(text), "{pattern} {text}"));
            others.iter().for_each(|text| assert!(!regex.is_match(text), "{pattern} {text}"));
        }
    }

    #[test]
    fn what_is_no_expression() {
        let deep = "(".repeat(200) + &")".repeat(200);
        for pattern in [
            "(",
            "(a",
            "[",
            "[a",
            "[]",
            "[^]",
            "[b-a]",
            "[[:nonesuch:]]",
            "[[.ab.]]",
            "*",
            "a|*",
            "(+)",
            "a{",
            "a{}",
            "a{1",
            "a{2,1}",
            "a{256}",
            "a{x}",
            "a{+1}",
            "a\\",
            "\\d",
            "((a{255}){255}){255}",
            &deep,
        ] {
            assert!(Regex::new(pattern).is_none(), "{pattern}");
        }
    }
}
