//! Tables for people.

use crate::message;

/// Lines of cells, each column as wide as its widest cell.
pub fn columns(lines: &[Vec<String>]) -> String {
    let lines: Vec<Vec<_>> =
        lines.iter().map(|line| line.iter().map(|cell| message::line(cell)).collect()).collect();
    let count = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for cells in &lines {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            line += &format!("{cell:<width$}   ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
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
