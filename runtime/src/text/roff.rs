//! Manual pages: text as man(7) wants it.

/// Escapes what roff would interpret.
pub fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('…', "...");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// A sentence's beginning.
pub fn capitalize(text: &str) -> String {
    let mut text = text.to_string();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

/// The paragraph of a flag; `value` is written already, with what stands before it.
pub fn flag(long: &str, short: Option<char>, value: &str, help: &str) -> String {
    let short = short.map_or(String::new(), |short| format!("\\-{short}, "));
    format!(".TP\n\\fB{short}\\-\\-{}\\fR{value}\n{}\n", escape(long), escape(help))
}
