//! Tables for people.

use crate::message;

/// Rows below their heads, each column as wide as its widest cell.
pub fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let rows = rows
        .iter()
        .map(|row| row.clone().map(|cell| message::line(&cell).into_owned()))
        .collect::<Vec<[String; N]>>();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heads[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in std::iter::once(heads.map(str::to_string)).chain(rows.iter().cloned()) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
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
        let rows = [["1".to_string(), "long cell".to_string()], ["22222".to_string(), String::new()]];
        assert_eq!(table(["ID", "NAME"], &rows), "ID      NAME\n1       long cell\n22222\n");
        assert_eq!(table(["A"], &[["x\n\u{1b}[2J".to_string()]]), "A\nx\\n\\u001b[2J\n");
        assert_eq!((shortened("abcdef", 4), shortened("abcd", 4)), ("abc…".to_string(), "abcd".to_string()));
    }
}
