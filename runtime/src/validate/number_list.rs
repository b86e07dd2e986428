//! Lists of CPUs or memory nodes, such as `0-3,7`: cpuset(7), "List format".

use std::ops::RangeInclusive;

/// The highest number: kernels are built for at most 8192 CPUs.
pub const HIGHEST: u32 = 8191;

/// The ranges of a list; `None` if it is malformed or has a number above [`HIGHEST`].
pub fn parse_number_list(list: &str) -> Option<Vec<RangeInclusive<u32>>> {
    parse_ranges(list).filter(|ranges| ranges.iter().all(|range| *range.end() <= HIGHEST))
}

/// The same with numbers of any height.
pub fn parse_ranges(list: &str) -> Option<Vec<RangeInclusive<u32>>> {
    list.split(',')
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let range = parse_number(first)?..=parse_number(last)?;
            (!range.is_empty()).then_some(range)
        })
        .collect()
}

fn parse_number(digits: &str) -> Option<u32> {
    let digits = digits.trim_matches(' ');
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(parse_number_list("0-3,7"), Some(vec![0..=3, 7..=7]));
        assert_eq!(parse_number_list(" 1 , 2-8191"), Some(vec![1..=1, 2..=8191]));
        for wrong in ["", ",", "1,", "a", "+1", "-1", "1-", "3-1", "1-2-3", "8192", "1;2", "99999999999"] {
            assert_eq!(parse_number_list(wrong), None, "{wrong}");
        }
    }
}
