//! Tables for people.

use std::borrow::Cow;
use std::iter::repeat_n;

use crate::message;

/// Lines of cells, each column as wide as its widest cell.
pub fn columns(lines: &[Vec<String>]) -> String {
    let mut widths = Vec::new();
    let mut texts = Vec::with_capacity(lines.len());
    for line in lines {
        let cells: Vec<(Cow<'_, str>, usize)> = line.iter().map(|cell| measured(cell)).collect();
        widths.resize(widths.len().max(cells.len()), 0);
        for ((_, letters), width) in cells.iter().zip(&mut widths) {
            *width = (*width).max(*letters);
        }
        texts.push(cells);
    }
    let mut text = String::with_capacity(texts.len() * (widths.iter().sum::<usize>() + 3 * widths.len()));
    for cells in &texts {
        let begin = text.len();
        for ((cell, letters), width) in cells.iter().zip(&widths) {
            text += cell;
            text.extend(repeat_n(' ', width - letters + 3));
        }
        text.truncate(begin + text[begin..].trim_end().len());
        text.push('\n');
    }
    text
}

/// A cell as it is shown, and how many letters that has.
fn measured(cell: &str) -> (Cow<'_, str>, usize) {
    let shown = message::line(cell);
    let letters = if shown.is_ascii() { shown.len() } else { shown.chars().count() };
    (shown, letters)
}

/// The beginning of a text of more letters than this.
pub fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most - 1) {
        Some((end, _)) if text.chars().count() > most => format!("{}…", &text[..end]),
        _ => text.to_string(),
    }
}

/// Bytes with three digits, as Docker shows them: `7.83MB`.
pub fn human_size(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut units = ["B", "kB", "MB", "GB", "TB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    while size >= 1000.0 {
        let Some(larger) = units.next() else { break };
        size /= 1000.0;
        unit = larger;
    }
    let text = match size {
        size if size < 10.0 => format!("{size:.2}"),
        size if size < 100.0 => format!("{size:.1}"),
        size => format!("{size:.0}"),
    };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

/// What was removed, as Docker says it; nothing where nothing was.
pub fn list(head: &str, names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!("{head}:\n{}\n\n", names.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        let cases = [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (7_834_000, "7.83MB"),
            (77_800_000, "77.8MB"),
            (1_234_567_890, "1.23GB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(human_size(bytes), text);
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let lines = |lines: &[&[&str]]| {
            let cells = lines.iter().map(|line| line.iter().map(|cell| cell.to_string()).collect());
            columns(&cells.collect::<Vec<_>>())
        };
        let shown = lines(&[&["ID", "NAME"], &["1", "long cell"], &["22222", ""]]);
        assert_eq!(shown, "ID      NAME\n1       long cell\n22222\n");
        assert_eq!(lines(&[&["A"], &["x\n\u{1b}[2J"]]), "A\nx\\n\\u001b[2J\n");
        assert_eq!((shortened("abcdef", 4), shortened("abcd", 4)), ("abc…".to_string(), "abcd".to_string()));
    }
}
