//! TOML (toml.io, 1.0) as JSON, as far as configurations go: numbers of other kinds than whole ones, and dates, are texts.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// How many arrays and tables may stand in one another.
const DEPTH_MAX: usize = 32;

/// Reads a document.
///
/// # Errors
/// It is none; the error has the line.
pub fn parse(text: &str) -> Result<Value> {
    let mut reader = Reader { text, at: 0 };
    let mut root = Map::new();
    match reader.document(&mut root) {
        Ok(()) => Ok(Value::Object(root)),
        Err(error) => {
            let line = text[..reader.at].matches('\n').count() + 1;
            Err(error.context(format!("line {line}")))
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

fn wrong(what: impl Into<String>) -> Error {
    Error::corrupt(what.into())
}

impl Reader<'_> {
    fn document(&mut self, root: &mut Map<String, Value>) -> Result<()> {
        let mut table: Vec<String> = Vec::new();
        loop {
            self.pass_blank(true);
            match self.peek() {
                None => return Ok(()),
                Some('[') => table = self.head(root)?,
                Some(_) => {
                    let (keys, value) = self.pair(0)?;
                    insert(descend(root, &table)?, &keys, value)?;
                }
            }
            self.end_line()?;
        }
    }

    /// `[table]` or `[[table]]`.
    fn head(&mut self, root: &mut Map<String, Value>) -> Result<Vec<String>> {
        self.at += 1;
        let is_array = self.take("[");
        let keys = self.keys()?;
        if !self.take(if is_array { "]]" } else { "]" }) {
            return Err(wrong("the name of a table has no end"));
        }
        if is_array && let Some((last, above)) = keys.split_last() {
            let above = descend(root, above)?;
            match above.entry(last.clone()).or_insert_with(|| Value::Array(Vec::new())) {
                Value::Array(tables) if tables.iter().all(Value::is_object) => {
                    tables.push(Value::Object(Map::new()));
                }
                _ => return Err(wrong(format!("{last}: it is no array of tables"))),
            }
        }
        descend(root, &keys)?;
        Ok(keys)
    }

    fn pair(&mut self, depth: usize) -> Result<(Vec<String>, Value)> {
        let keys = self.keys()?;
        if !self.take("=") {
            return Err(wrong(format!("{}: `=` must follow", keys.join("."))));
        }
        self.pass_blank(false);
        Ok((keys, self.value(depth)?))
    }

    fn keys(&mut self) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        loop {
            self.pass_blank(false);
            let key = match self.peek() {
                Some('"' | '\'') => self.string()?,
                _ => self
                    .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
                    .to_string(),
            };
            if key.is_empty() {
                return Err(wrong("a name must stand here"));
            }
            keys.push(key);
            self.pass_blank(false);
            if !self.take(".") {
                return Ok(keys);
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        if depth > DEPTH_MAX {
            return Err(wrong(format!("more than {DEPTH_MAX} arrays and tables in one another")));
        }
        match self.peek() {
            Some('"' | '\'') => self.string().map(Value::String),
            Some('[') => self.array(depth),
            Some('{') => self.inline_table(depth),
            _ => {
                let word = self.take_while(|byte| byte.is_ascii_alphanumeric() || b"+-_.:".contains(&byte));
                match word {
                    "true" => Ok(Value::Bool(true)),
                    "false" => Ok(Value::Bool(false)),
                    "inf" | "nan" => Ok(Value::String(word.to_string())),
                    _ if word
                        .starts_with(|letter: char| letter.is_ascii_digit() || "+-".contains(letter)) =>
                    {
                        let digits = word.replace('_', "");
                        Ok(digits
                            .parse::<i64>()
                            .map_or_else(|_| Value::String(word.to_string()), Value::from))
                    }
                    _ => Err(wrong(format!("{word:?}: must be a value; texts have quotes around them"))),
                }
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value> {
        self.at += 1;
        let mut values = Vec::new();
        loop {
            self.pass_blank(true);
            if self.take("]") {
                return Ok(Value::Array(values));
            }
            values.push(self.value(depth + 1)?);
            self.pass_blank(true);
            if !self.take(",") && self.peek() != Some(']') {
                return Err(wrong("`,` or `]` must follow in an array"));
            }
        }
    }

    fn inline_table(&mut self, depth: usize) -> Result<Value> {
        self.at += 1;
        let mut table = Map::new();
        loop {
            self.pass_blank(true);
            if self.take("}") {
                return Ok(Value::Object(table));
            }
            let (keys, value) = self.pair(depth + 1)?;
            insert(&mut table, &keys, value)?;
            self.pass_blank(true);
            if !self.take(",") && self.peek() != Some('}') {
                return Err(wrong("`,` or `}` must follow in a table"));
            }
        }
    }

    fn string(&mut self) -> Result<String> {
        let quote = if self.peek() == Some('"') { '"' } else { '\'' };
        let (short, long) = if quote == '"' { ("\"", "\"\"\"") } else { ("'", "'''") };
        let end = if self.take(long) { long } else { short };
        if end.len() == 1 {
            self.at += 1;
        } else if !self.take("\n") {
            self.take("\r\n");
        }
        let mut text = String::new();
        loop {
            let plain = self.take_while(|byte| !matches!(byte, b'\'' | b'"' | b'\\' | b'\n'));
            text.push_str(plain);
            if self.take(end) {
                // Quotes may stand right before the three that end it.
                while end.len() == 3 && self.take(short) {
                    text.push(quote);
                }
                return Ok(text);
            }
            match self.next() {
                None => return Err(wrong("a text has no end")),
                Some('\n') if end.len() == 1 => return Err(wrong("a text has no end in its line")),
                Some('\\') if quote == '"' => text.extend(self.escape()?),
                Some(letter) => text.push(letter),
            }
        }
    }

    /// What stands behind `\`; nothing for the end of a line.
    fn escape(&mut self) -> Result<Option<char>> {
        let letter = self.next();
        Ok(Some(match letter {
            Some('b') => '\u{8}',
            Some('t') => '\t',
            Some('n') => '\n',
            Some('f') => '\u{c}',
            Some('r') => '\r',
            Some('e') => '\u{1b}',
            Some(letter @ ('"' | '\\')) => letter,
            Some(size @ ('u' | 'U')) => {
                let length = if size == 'u' { 4 } else { 8 };
                let digits = self.text.get(self.at..self.at + length).unwrap_or_default();
                let number = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                let letter = number.ok_or_else(|| wrong(format!("\\{size}{digits}: no letter")))?;
                self.at += length;
                letter
            }
            Some(letter) if letter.is_ascii_whitespace() => {
                self.take_while(|byte| byte.is_ascii_whitespace());
                return Ok(None);
            }
            other => {
                return Err(wrong(format!("\\{}: not known", other.map_or(String::new(), String::from))));
            }
        }))
    }

    fn end_line(&mut self) -> Result<()> {
        self.pass_blank(false);
        match self.peek() {
            None | Some('\n') => Ok(()),
            Some(letter) => Err(wrong(format!("{letter:?}: the line must end before it"))),
        }
    }

    /// Blanks and comments; `lines`: ends of lines as well.
    fn pass_blank(&mut self, lines: bool) {
        loop {
            self.take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r') || (lines && byte == b'\n'));
            if self.peek() != Some('#') {
                return;
            }
            let rest = &self.text[self.at..];
            self.at += rest.find('\n').unwrap_or(rest.len());
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += letter.len_utf8();
        Some(letter)
    }

    fn take(&mut self, what: &str) -> bool {
        let is_there = self.text[self.at..].starts_with(what);
        self.at += if is_there { what.len() } else { 0 };
        is_there
    }

    /// `is_meant` is asked for bytes, and answers the same for all that are no ASCII.
    fn take_while(&mut self, is_meant: impl Fn(u8) -> bool) -> &str {
        let rest = &self.text[self.at..];
        let end = rest.bytes().position(|byte| !is_meant(byte)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }
}

/// The table of these names; of an array of tables, the last one.
fn descend<'m>(mut table: &'m mut Map<String, Value>, keys: &[String]) -> Result<&'m mut Map<String, Value>> {
    for key in keys {
        let value = table.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()));
        let last = match value {
            Value::Array(tables) => tables.last_mut(),
            value => Some(value),
        };
        table = match last {
            Some(Value::Object(table)) => table,
            _ => return Err(wrong(format!("{key}: it is no table"))),
        };
    }
    Ok(table)
}

fn insert(table: &mut Map<String, Value>, keys: &[String], value: Value) -> Result<()> {
    let Some((last, above)) = keys.split_last() else { return Err(wrong("a name must stand here")) };
    match descend(table, above)?.insert(last.clone(), value) {
        None => Ok(()),
        Some(_) => Err(wrong(format!("{}: it is there twice", keys.join(".")))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_of_every_kind() {
        let text = concat!("# A comment\r\n", "plain = 'it''s' # another\n");
        assert!(parse(text).unwrap_err().to_string().starts_with("line 2: "));
        let text = r##"
            top = "a # b" # c
            a.b."c d" = [ 'x', # one
                "y\t\u00e4", ]
            numbers = [1_000, -5, 1.5, 1979-05-27T07:32:00Z, true]
            inline = { x = 1, y.z = "w" }
            [[registry]]
            prefix = "one"
            [[registry.mirror]]
            location = "m1"
            [[registry.mirror]]
            location = "m2"
            [[registry]]
            prefix = """
two \
    lines"""
            [aliases]
            "a/b" = 'c\d'
        "##;
        let expected = json!({
            "top": "a # b", "a": {"b": {"c d": ["x", "y\tä"]}},
            "numbers": [1000, -5, "1.5", "1979-05-27T07:32:00Z", true], "inline": {"x": 1, "y": {"z": "w"}},
            "registry": [
                {"prefix": "one", "mirror": [{"location": "m1"}, {"location": "m2"}]},
                {"prefix": "two lines"},
            ],
            "aliases": {"a/b": "c\\d"},
        });
        assert_eq!(parse(text).unwrap(), expected);
        assert_eq!(parse("").unwrap(), json!({}));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let nested = format!("a = {}", "[".repeat(100_000));
        for (text, words) in [
            ("a = yes", "line 1: \"yes\": must be a value"),
            ("\n\na", "line 3: a: `=` must follow"),
            ("a = 1 b = 2", "line 1: 'b': the line must end"),
            ("a = \"x", "line 1: a text has no end"),
            ("a = \"x\n\"", "a text has no end in its line"),
            ("a = 1\na = 2", "line 2: a: it is there twice"),
            ("[a", "has no end"),
            ("a = 1\n[a]", "a: it is no table"),
            ("a = [1 2]", "`,` or `]`"),
            ("a = {b = 1 c = 2}", "`,` or `}`"),
            ("a = \"\\x\"", "\\x: not known"),
            ("a = \"\\uD800\"", "no letter"),
            ("= 1", "a name must stand here"),
            ("a = ", "must be a value"),
            ("a = []\n[[a]]\n[a.b]\n[[a.b]]", "b: it is no array"),
            (&nested, "more than 32"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
