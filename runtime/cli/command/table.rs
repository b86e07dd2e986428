//! Tables for people.

/// The table with these cells, each of which ends with a NUL; the first `columns` of them are its head.
pub fn table(columns: usize, cells: &str) -> String {
    let cells: Vec<_> = cells.split_terminator('\0').map(|cell| (cell, cell.chars().count())).collect();
    let mut widths = vec![0; columns];
    for row in cells.chunks(columns) {
        row.iter().zip(&mut widths).for_each(|((_, length), width)| *width = *length.max(width));
    }
    let padding = " ".repeat(widths.iter().max().map_or(0, |width| width + 2));
    let mut table =
        String::with_capacity((widths.iter().sum::<usize>() + 2 * columns) * cells.len() / columns);
    for row in cells.chunks(columns) {
        for ((cell, length), width) in row.iter().zip(&widths) {
            table.extend([cell, &padding[..width + 2 - length]]);
        }
        table.truncate(table.trim_end_matches(' ').len());
        table.push('\n');
    }
    table
}
