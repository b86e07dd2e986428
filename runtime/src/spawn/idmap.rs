//! uid_map and gid_map, the maps of user namespaces: user_namespaces(7).

use std::fmt::Write as _;

use crate::error::{Context, Error, Result};
use crate::oci::spec::IdMapping;
use crate::text::order;

/// The kernel takes a whole map in one write(2): less than a page, and at most 340 lines.
pub(super) fn write_map(path: &str, field: &str, map: &[IdMapping]) -> Result<()> {
    const SMALLEST_PAGE: usize = 4096;
    let mut text = String::new();
    for IdMapping { container_id, host_id, size } in map {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{container_id} {host_id} {size}");
    }
    std::fs::write(path, &text).context(|| {
        let length = text.len();
        let hint = match length {
            0..SMALLEST_PAGE => String::new(),
            _ => format!(
                " ({length} bytes, and the kernel takes less than a page: map fewer and longer ranges)"
            ),
        };
        format!("{field}: write {path}{hint}")
    })
}

/// Compares the map of a joined namespace, in any order: the kernel may have sorted the lines.
pub(super) fn check_map(path: &str, field: &str, wanted: &[IdMapping]) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let text = std::fs::read_to_string(path).context(|| format!("{field}: read {path}"))?;
    let mut wanted: Vec<_> = wanted
        .iter()
        .map(|&IdMapping { container_id, host_id, size }| [container_id, host_id, size])
        .collect();
    order::sort(&mut wanted, |left, right| left < right);
    if parse_map(&text).is_some_and(|map| map == wanted) {
        return Ok(());
    }
    let lines: Vec<_> =
        text.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>().join(" ")).collect();
    Err(Error::formatted(format_args!(
        "{field}: the user namespace that is joined has other ones ({}): write these, or leave them out",
        lines.join(", ")
    )))
}

/// The lines of a map, sorted.
fn parse_map(text: &str) -> Option<Vec<[u32; 3]>> {
    let line = |line: &str| {
        let numbers: Vec<u32> =
            line.split_ascii_whitespace().map(|number| number.parse().ok()).collect::<Option<_>>()?;
        numbers.try_into().ok()
    };
    let mut map: Vec<[u32; 3]> = text.lines().map(line).collect::<Option<_>>()?;
    order::sort(&mut map, |left, right| left < right);
    Some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_as_the_kernel_writes_them() {
        let text = "      1000     200000          1\n         0     100000       1000\n";
        assert_eq!(parse_map(text), Some(vec![[0, 100_000, 1000], [1000, 200_000, 1]]));
        assert_eq!(parse_map(""), Some(vec![]));
        assert_eq!(parse_map("0 1\n"), None);
    }
}
