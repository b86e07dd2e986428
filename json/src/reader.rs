//! JSON's grammar (RFC 8259), strictly, in one pass over the document. Values that are skipped cost no
//! recursion.
//!
//! Nothing here has a type parameter, so that forty structs of config.json share one copy of the
//! code.

use std::borrow::Cow;

use crate::{Object, read_member};

/// How deeply objects and lists may be nested; the specification needs eight levels.
const DEPTH_LIMIT: u32 = 128;

/// Reading has failed; the reader knows where and why.
#[derive(Debug)]
pub struct Failed;

/// Where reading failed, and what was expected there.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// Offset in bytes: of the offending byte, or of the beginning of the offending value.
    pub at: usize,
    /// Such as "a string", or the name of the missing member.
    pub expected: &'static str,
    /// What kind of fault it is.
    pub kind: FaultKind,
}

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// It is not JSON.
    Malformed,
    /// A well-formed value of the wrong type.
    Mistyped,
    /// An object without a required member.
    Missing,
    /// The value of a member that occurred before.
    Repeated,
    /// The value of a member that a strict reader does not know.
    Unknown,
}

/// A place in a document.
#[derive(Clone, Copy)]
pub struct Reader<'de> {
    document: &'de str,
    at: usize,
    /// How many objects and lists are open.
    depth: u32,
    /// Whether unknown members are faults.
    strict: bool,
    fault: Fault,
}

impl<'de> Reader<'de> {
    /// At the beginning of the document.
    pub fn new(document: &'de str) -> Self {
        let fault = Fault { at: 0, expected: "", kind: FaultKind::Malformed };
        Reader { document, at: 0, depth: 0, strict: false, fault }
    }

    /// The same, for documents in which unknown members are faults.
    pub fn strict(self) -> Self {
        Reader { strict: true, ..self }
    }

    /// Why reading has failed, once it has.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// The current place, in bytes.
    pub fn at(&self) -> usize {
        self.at
    }

    #[cold]
    fn malformed(&mut self, expected: &'static str) -> Failed {
        self.fault = Fault { at: self.at, expected, kind: FaultKind::Malformed };
        Failed
    }

    /// Reports that the member whose value begins at `at` occurred before.
    #[cold]
    pub fn repeated(&mut self, at: usize) -> Failed {
        self.fault = Fault { at, expected: "", kind: FaultKind::Repeated };
        Failed
    }

    /// Reports that a member is missing in the object that begins at `at`.
    #[cold]
    fn missing(&mut self, at: usize, name: &'static str) -> Failed {
        self.fault = Fault { at, expected: name, kind: FaultKind::Missing };
        Failed
    }

    /// Reports that the value here is not what was `expected`, or that it is not JSON at all.
    #[cold]
    pub fn mistyped(&mut self, expected: &'static str) -> Failed {
        let at = self.at;
        if self.skip_value().is_ok() {
            self.fault = Fault { at, expected, kind: FaultKind::Mistyped };
        }
        Failed
    }

    fn byte(&self) -> Option<u8> {
        self.document.as_bytes().get(self.at).copied()
    }

    /// Skips white space and returns the next byte.
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            match self.byte() {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                other => return other,
            }
        }
    }

    /// Makes sure that only white space follows.
    pub fn finish(&mut self) -> Result<(), Failed> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.malformed("nothing after the end of the document")),
        }
    }

    /// Skips `null` if it comes next.
    pub fn take_null(&mut self) -> Result<bool, Failed> {
        match self.peek() {
            Some(b'n') => self.skip_word("null").map(|()| true),
            _ => Ok(false),
        }
    }

    /// Reads `true` or `false`.
    pub fn boolean(&mut self, expected: &'static str) -> Result<bool, Failed> {
        match self.byte() {
            Some(b't') => self.skip_word("true").map(|()| true),
            Some(b'f') => self.skip_word("false").map(|()| false),
            _ => Err(self.mistyped(expected)),
        }
    }

    /// Reads a whole number from `min` to `max`; returns it in two's complement.
    pub fn integer(&mut self, min: i64, max: u64, expected: &'static str) -> Result<u64, Failed> {
        let start = self.at;
        if !matches!(self.byte(), Some(b'-' | b'0'..=b'9')) {
            return Err(self.mistyped(expected));
        }
        self.skip_number()?;
        let digits = &self.document[start..self.at];
        let (is_negative, digits) = match digits.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, digits),
        };
        let limit = if is_negative { min.unsigned_abs() } else { max };
        let magnitude = digits.bytes().try_fold(0u64, |number, byte| {
            let digit = byte.is_ascii_digit().then_some(u64::from(byte & 15))?;
            number.checked_mul(10)?.checked_add(digit).filter(|&number| number <= limit)
        });
        match magnitude {
            Some(magnitude) if is_negative => Ok(magnitude.wrapping_neg()),
            Some(magnitude) => Ok(magnitude),
            None => {
                self.at = start;
                Err(self.mistyped(expected))
            }
        }
    }

    /// Reads a string and resolves its escapes.
    pub fn string(&mut self, expected: &'static str) -> Result<Cow<'de, str>, Failed> {
        if self.byte() != Some(b'"') {
            return Err(self.mistyped(expected));
        }
        let start = self.at + 1;
        let has_escapes = self.skip_string()?;
        let text = &self.document[start..self.at - 1];
        Ok(if has_escapes { Cow::Owned(unescape(text)) } else { Cow::Borrowed(text) })
    }

    /// Reads a member's name and the colon after it.
    pub fn key(&mut self) -> Result<Cow<'de, str>, Failed> {
        if self.peek() != Some(b'"') {
            return Err(self.malformed("a name in double quotes"));
        }
        let key = self.string("")?;
        match self.peek() {
            Some(b':') => {
                self.at += 1;
                self.peek();
                Ok(key)
            }
            _ => Err(self.malformed("\":\"")),
        }
    }

    /// Enters the object (`{`) or list (`[`) that begins here.
    pub fn open(&mut self, bracket: u8, expected: &'static str) -> Result<(), Failed> {
        if self.byte() != Some(bracket) {
            return Err(self.mistyped(expected));
        }
        self.deepen()
    }

    fn deepen(&mut self) -> Result<(), Failed> {
        if self.depth == DEPTH_LIMIT {
            return Err(self.malformed("no more than 128 levels of objects and lists"));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// Goes to the next member or element, or past the closing `bracket`.
    pub fn next(&mut self, bracket: u8, is_first: bool) -> Result<bool, Failed> {
        match self.peek() {
            Some(byte) if byte == bracket => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            Some(b',') if !is_first => {
                self.at += 1;
                self.peek();
                Ok(true)
            }
            _ if is_first => Ok(true),
            _ => Err(self.malformed(if bracket == b'}' { "\",\" or \"}\"" } else { "\",\" or \"]\"" })),
        }
    }

    /// Reads every member of the object that begins here.
    pub fn object(&mut self, object: &mut dyn Object<'de>) -> Result<(), Failed> {
        let start = self.at;
        self.open(b'{', "an object")?;
        let (names, required) = object.members();
        let (mut seen, mut missing, mut is_first) = (0u32, required, true);
        // Members usually come in the specification's order.
        let mut next = 0;
        while self.next(b'}', is_first)? {
            is_first = false;
            let key = self.key()?;
            let (before, from_here) = names.split_at(next);
            let in_order = from_here.iter().position(|name| *name == &*key).map(|place| next + place);
            let Some(place) = in_order.or_else(|| before.iter().position(|name| *name == &*key)) else {
                if self.strict {
                    self.fault = Fault { at: self.at, expected: "", kind: FaultKind::Unknown };
                    return Err(Failed);
                }
                self.skip_value()?;
                continue;
            };
            next = place + 1;
            if seen >> place & 1 == 1 {
                return Err(self.repeated(self.at));
            }
            seen |= 1 << place;
            if self.byte() != Some(b'n') {
                missing &= !(1 << place);
            }
            if let Some(member) = object.member(place) {
                read_member(member, self)?;
            }
        }
        match names.get(missing.trailing_zeros() as usize) {
            Some(name) => Err(self.missing(start, name)),
            None => Ok(()),
        }
    }

    /// Reads one value as it stands in the document.
    ///
    /// # Errors
    /// It is not JSON.
    pub fn raw(&mut self) -> Result<&'de str, Failed> {
        let start = self.at;
        self.skip_value()?;
        Ok(&self.document[start..self.at])
    }

    /// Skips one value; deep nesting costs no stack.
    pub fn skip_value(&mut self) -> Result<(), Failed> {
        // One bit for each level that this value opens, the innermost lowest: 1 is an object, 0 a list.
        let mut objects: u128 = 0;
        let outside = self.depth;
        loop {
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    self.deepen()?;
                    objects = objects << 1 | u128::from(bracket == b'{');
                    if self.next(closing(objects), true)? {
                        if bracket == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                    objects >>= 1;
                }
                Some(b'"') => drop(self.skip_string()?),
                Some(b'-' | b'0'..=b'9') => self.skip_number()?,
                Some(b't') => self.skip_word("true")?,
                Some(b'f') => self.skip_word("false")?,
                Some(b'n') => self.skip_word("null")?,
                _ => return Err(self.malformed("a value")),
            }
            // A value has ended: leave all levels that end with it.
            loop {
                if self.depth == outside {
                    return Ok(());
                }
                if self.next(closing(objects), false)? {
                    if objects & 1 == 1 {
                        self.key()?;
                    }
                    break;
                }
                objects >>= 1;
            }
        }
    }

    /// Skips a string; true if it has escapes.
    fn skip_string(&mut self) -> Result<bool, Failed> {
        let bytes = self.document.as_bytes();
        let mut has_escapes = false;
        self.at += 1;
        loop {
            while bytes.get(self.at).is_some_and(|&byte| PLAIN[usize::from(byte)]) {
                self.at += 1;
            }
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(has_escapes);
                }
                Some(b'\\') => {
                    has_escapes = true;
                    self.skip_escape()?;
                }
                Some(_) => return Err(self.malformed("no control character inside a string")),
                None => return Err(self.malformed("the closing quote of a string")),
            }
        }
    }

    fn skip_escape(&mut self) -> Result<(), Failed> {
        self.at += 1;
        match self.byte() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                for _ in 0..4 {
                    self.at += 1;
                    if !self.byte().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(self.malformed("four hexadecimal digits"));
                    }
                }
                self.at += 1;
            }
            _ => return Err(self.malformed("one of \" \\ / b f n r t u after a backslash")),
        }
        Ok(())
    }

    fn skip_number(&mut self) -> Result<(), Failed> {
        self.at += usize::from(self.byte() == Some(b'-'));
        if self.byte() == Some(b'0') {
            self.at += 1;
            if self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
                return Err(self.malformed("no digit after a leading zero"));
            }
        } else {
            self.skip_digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.skip_digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.skip_digits()?;
        }
        Ok(())
    }

    fn skip_digits(&mut self) -> Result<(), Failed> {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.malformed("a digit")) }
    }

    fn skip_word(&mut self, word: &str) -> Result<(), Failed> {
        if self.document.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.malformed("a value"))
        }
    }
}

/// The bracket that closes the innermost level.
fn closing(objects: u128) -> u8 {
    if objects & 1 == 1 { b'}' } else { b']' }
}

/// The bytes that need no attention inside a string.
static PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        plain[byte] = false;
        byte += 1;
    }
    plain[b'"' as usize] = false;
    plain[b'\\' as usize] = false;
    plain
};

/// Resolves the escapes of a string whose grammar has been checked.
fn unescape(escaped: &str) -> String {
    let mut text = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut characters = escape.chars();
        text.push(match characters.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let (character, behind) = unescape_utf16(characters.as_str());
                characters = behind.chars();
                character
            }
            Some(itself) => itself,
            None => break,
        });
        rest = characters.as_str();
    }
    text.push_str(rest);
    text
}

/// Reads the four digits after `\u`, and the escape of the low surrogate that must follow a high one.
fn unescape_utf16(digits: &str) -> (char, &str) {
    let unit = |digits: &str| u32::from_str_radix(digits.get(..4)?, 16).ok();
    let high = unit(digits).unwrap_or(0xfffd);
    let behind = digits.get(4..).unwrap_or_default();
    if let 0xd800..0xdc00 = high
        && let Some(escape) = behind.strip_prefix("\\u")
        && let Some(low @ 0xdc00..0xe000) = unit(escape)
    {
        let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), &escape[4..]);
    }
    // A lone surrogate is not a character. Like Go's decoder, which callers use, this puts U+FFFD in its
    // place.
    (char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), behind)
}
