//! Tables for people.

/// Rows below their heads, each column as wide as its widest cell.
pub fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let rows = [["1".to_string(), "long cell".to_string()], ["22222".to_string(), String::new()]];
        assert_eq!(table(["ID", "NAME"], &rows), "ID      NAME\n1       long cell\n22222\n");
        assert_eq!((shortened("abcdef", 4), shortened("abcd", 4)), ("abc…".to_string(), "abcd".to_string()));
    }
}
