//! Property values in annotations, in GVariant's text format: `true`, `'text'`, `uint64 5`, `['a', 'b']`,
//! `@as []`.
//!
//! Source: "GVariant Text Format" of GLib's reference. Dictionaries and maybe types are left out: no property
//! of a transient unit has such a type.

use pillbox_dbus::{Value, complete_type};

use crate::error::{Error, Result};

const DEPTH_MAX: usize = 8;

/// Parses a value. A number without a type is an int32, or a double if it has a fraction.
///
/// # Errors
/// The text is not a value; the error says where.
pub fn parse(text: &str) -> Result<Value> {
    let mut parser = Parser { text, position: 0 };
    let value = parser.value(None, 0)?;
    parser.skip_space();
    if parser.rest().is_empty() { Ok(value) } else { Err(parser.error("one value")) }
}

struct Parser<'a> {
    text: &'a str,
    position: usize,
}

/// The names of types, each with its signature.
const TYPES: [(&str, &str); 11] = [
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
    ("string", "s"),
    ("objectpath", "o"),
];

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn skip_space(&mut self) {
        self.position = self.text.len() - self.rest().trim_start().len();
    }

    fn error(&self, right: &str) -> Error {
        Error::formatted(format_args!(
            "{:?}: must be {right} in GVariant's text format, from byte {} on",
            self.text, self.position
        ))
    }

    /// Skips `token` if it comes next.
    fn accept(&mut self, token: char) -> bool {
        self.skip_space();
        let accepted = self.rest().starts_with(token);
        self.position += if accepted { token.len_utf8() } else { 0 };
        accepted
    }

    /// The next word: letters and digits, and `extra` characters for numbers and signatures.
    fn word(&mut self, extra: &str) -> &'a str {
        self.skip_space();
        let rest = self.rest();
        let end =
            rest.find(|character: char| !character.is_ascii_alphanumeric() && !extra.contains(character));
        let word = &rest[..end.unwrap_or(rest.len())];
        self.position += word.len();
        word
    }

    fn value(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value> {
        if depth > DEPTH_MAX {
            return Err(self.error("less nested"));
        }
        self.skip_space();
        match self.rest().chars().next() {
            Some('[') => self.array(wanted, depth),
            Some('(') => self.structure(wanted, depth),
            Some(quote @ ('\'' | '"')) => {
                let text = self.quoted(quote)?;
                match wanted {
                    Some("o") => Ok(Value::ObjectPath(text)),
                    Some("g") => Ok(Value::Signature(text)),
                    None | Some("s") => Ok(Value::Text(text)),
                    Some(_) => Err(self.error("of its type")),
                }
            }
            Some('@') => {
                self.position += 1;
                let start = self.position;
                let signature = self.word("(){}");
                if complete_type(signature).ok() != Some(signature.len())
                    || signature.contains(['{', 'h', 'v'])
                {
                    self.position = start;
                    return Err(self.error("of a known type"));
                }
                self.value(Some(signature), depth + 1)
            }
            Some('<') => {
                self.position += 1;
                let inner = self.value(None, depth + 1)?;
                if self.accept('>') { Ok(inner.variant()) } else { Err(self.error("closed with '>'")) }
            }
            _ => self.plain(wanted, depth),
        }
    }

    /// `true`, `false`, a number, or the name of a type and a value.
    fn plain(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value> {
        let start = self.position;
        let word = self.word("+-.");
        if let Some((_, signature)) = TYPES.iter().find(|(name, _)| *name == word) {
            return self.value(Some(signature), depth + 1);
        }
        if word == "b" && self.rest().starts_with(['\'', '"']) {
            let quote = if self.rest().starts_with('"') { '"' } else { '\'' };
            let text = self.quoted(quote)?;
            // A bytestring includes its terminating NUL.
            let bytes = text.bytes().chain([0]).map(Value::Byte).collect();
            return Ok(Value::Array("y".into(), bytes));
        }
        let value = match (word, wanted) {
            ("true" | "false", None | Some("b")) => Some(Value::Boolean(word == "true")),
            (number, wanted) => read_number(number, wanted),
        };
        value.ok_or_else(|| {
            self.position = start;
            self.error("a value of its type")
        })
    }

    fn array(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value> {
        let wanted_items = match wanted {
            None => None,
            Some(signature) => Some(signature.strip_prefix('a').ok_or_else(|| self.error("of its type"))?),
        };
        let items = self.list('[', ']', |parser| parser.value(wanted_items, depth + 1))?;
        let signature = match (wanted_items, items.first()) {
            (Some(signature), _) => signature.to_string(),
            (None, Some(first)) => first.signature(),
            (None, None) => return Err(self.error("an array with its type, such as @as []")),
        };
        if items.iter().any(|item| item.signature() != signature) {
            return Err(self.error("an array of one type"));
        }
        Ok(Value::Array(signature, items))
    }

    fn structure(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value> {
        let mut rest = match wanted {
            None => None,
            Some(signature) => {
                let members = signature.strip_prefix('(').and_then(|signature| signature.strip_suffix(')'));
                Some(members.ok_or_else(|| self.error("of its type"))?)
            }
        };
        let members = self.list('(', ')', |parser| {
            let wanted = match rest {
                None => None,
                Some(signatures) => {
                    let (first, remaining) = signatures.split_at(complete_type(signatures)?);
                    rest = Some(remaining);
                    Some(first)
                }
            };
            parser.value(wanted, depth + 1)
        })?;
        if members.is_empty() || rest.is_some_and(|rest| !rest.is_empty()) {
            return Err(self.error("a structure with all its members"));
        }
        Ok(Value::Structure(members))
    }

    /// Values between brackets, separated by commas; a trailing comma is allowed.
    fn list(
        &mut self,
        open: char,
        close: char,
        mut item: impl FnMut(&mut Self) -> Result<Value>,
    ) -> Result<Vec<Value>> {
        let mut items = Vec::new();
        self.accept(open);
        while !self.accept(close) {
            items.push(item(self)?);
            if !self.accept(',') && !self.rest().trim_start().starts_with(close) {
                return Err(self.error("a list with commas"));
            }
        }
        Ok(items)
    }

    fn quoted(&mut self, quote: char) -> Result<String> {
        let start = self.position;
        let mut text = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((index, character)) = characters.next() {
            match character {
                '\\' => {
                    let escaped =
                        characters.next().and_then(|(_, escaped)| unescape(escaped, &mut characters));
                    text.push(escaped.ok_or_else(|| self.error("a text with known escapes"))?);
                }
                character if character == quote => {
                    self.position = start + index + 1;
                    return Ok(text);
                }
                character => text.push(character),
            }
        }
        Err(self.error("a text with its closing quote"))
    }
}

fn unescape(escaped: char, characters: &mut impl Iterator<Item = (usize, char)>) -> Option<char> {
    let mut hexadecimal = |digits: usize| {
        let mut code = 0;
        for _ in 0..digits {
            code = code * 16 + characters.next()?.1.to_digit(16)?;
        }
        // D-Bus allows no NUL in a string.
        char::from_u32(code).filter(|character| *character != '\0')
    };
    match escaped {
        'u' => hexadecimal(4),
        'U' => hexadecimal(8),
        'a' => Some('\x07'),
        'b' => Some('\x08'),
        'f' => Some('\x0c'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\x0b'),
        other => Some(other),
    }
}

/// Reads a decimal of at most 15 digits with a power of ten up to 22: a double holds both exactly, so that
/// rounding once gives the right result.
// parse() reads every number, but adds 20 KB of tables and big integers.
fn read_double(word: &str) -> Option<f64> {
    let (sign, word) = match word.strip_prefix('-') {
        Some(word) => (-1.0, word),
        None => (1.0, word.strip_prefix('+').unwrap_or(word)),
    };
    let (digits, exponent) = word.split_once(['e', 'E']).unwrap_or((word, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > 15 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let exponent = exponent.parse::<i32>().ok()?.checked_sub(fraction.len() as i32)?;
    if exponent.unsigned_abs() > 22 {
        return None;
    }
    let power = (0..exponent.unsigned_abs()).fold(1.0, |power, _| power * 10.0);
    let number = digits.parse::<u64>().ok()? as f64;
    Some(sign * if exponent < 0 { number / power } else { number * power })
}

/// Reads a decimal number, hexadecimal with `0x`, octal with a leading zero; a double if it has a point or if
/// one is wanted.
fn read_number(word: &str, wanted: Option<&str>) -> Option<Value> {
    let is_hexadecimal = word.trim_start_matches(['+', '-']).starts_with("0x");
    let has_fraction = !is_hexadecimal && word.contains(['.', 'e', 'E']);
    if wanted == Some("d") || wanted.is_none() && has_fraction {
        return read_double(word).map(Value::Double);
    }
    let (negative, digits) = match word.as_bytes().first()? {
        b'-' => (true, &word[1..]),
        b'+' => (false, &word[1..]),
        _ => (false, word),
    };
    let (digits, radix) = match digits {
        _ if digits.starts_with("0x") => (&digits[2..], 16),
        _ if digits.starts_with('0') && digits.len() > 1 => (&digits[1..], 8),
        _ => (digits, 10),
    };
    // from_str_radix would accept a second sign.
    let magnitude = i128::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with(['+', '-']))?;
    let number = if negative { -magnitude } else { magnitude };
    Some(match wanted.unwrap_or("i") {
        "y" => Value::Byte(number.try_into().ok()?),
        "n" => Value::Int16(number.try_into().ok()?),
        "q" => Value::Uint16(number.try_into().ok()?),
        "i" => Value::Int32(number.try_into().ok()?),
        "u" => Value::Uint32(number.try_into().ok()?),
        "x" => Value::Int64(number.try_into().ok()?),
        "t" => Value::Uint64(number.try_into().ok()?),
        _ => return None,
    })
}
