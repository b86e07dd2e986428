use super::xtables::Table;

/// What a rule of a test does: accepts, drops, returns; leads to the entry with that number; rejects; logs.
#[derive(Clone, Copy)]
enum Does {
    Accept,
    Drop,
    Return,
    Jump(usize),
    Reject,
    Log,
}

/// A rule: the names of the links that it is for, the byte of a condition, what it does.
type Entry<'a> = (&'a str, &'a str, u8, Does);

/// As the kernel lays a table out whose chain FORWARD begins with that entry.
fn table(is_v4: bool, forward: usize, entries: &[Entry<'_>]) -> Table {
    let (links, conditions, offsets, size) = if is_v4 { (16, 84, 88, 112) } else { (64, 136, 140, 168) };
    const TARGET: usize = 40;
    let length = size + TARGET;
    let mut bytes = Vec::new();
    for (position, (incoming, outgoing, condition, does)) in entries.iter().enumerate() {
        let mut entry = vec![0; length];
        for (place, link) in [incoming, outgoing].into_iter().enumerate() {
            let (name, is_pattern) = link.strip_suffix('+').map_or((*link, false), |name| (name, true));
            let (at, mask) = (links + place * 16, links + 32 + place * 16);
            entry[at..at + name.len()].copy_from_slice(name.as_bytes());
            let compared = name.len() + usize::from(!is_pattern && !name.is_empty());
            entry[mask..mask + compared].fill(0xff);
        }
        entry[conditions - 4] = *condition;
        entry[offsets..offsets + 2].copy_from_slice(&(size as u16).to_ne_bytes());
        entry[offsets + 2..offsets + 4].copy_from_slice(&(length as u16).to_ne_bytes());
        let (name, verdict) = match does {
            Does::Accept => ("", -2),
            Does::Drop => ("", -1),
            Does::Return => ("", -5),
            Does::Jump(to) => ("", (to * length) as i32),
            Does::Reject => ("REJECT", 0),
            Does::Log => ("LOG", 0),
        };
        entry[size..size + 2].copy_from_slice(&(TARGET as u16).to_ne_bytes());
        entry[size + 2..size + 2 + name.len()].copy_from_slice(name.as_bytes());
        entry[size + 32..size + 36].copy_from_slice(&verdict.to_ne_bytes());
        assert!(position * length == bytes.len());
        bytes.extend(entry);
    }
    let mut info = Table::info_request("filter");
    info[44..48].copy_from_slice(&((forward * length) as u32).to_ne_bytes());
    info[80..84].copy_from_slice(&(bytes.len() as u32).to_ne_bytes());
    let mut answer = Table::entries_request("filter", &info);
    answer[40..].copy_from_slice(&bytes);
    Table::new(is_v4, &info, answer)
}

#[test]
fn what_is_dropped_for_certain_is_seen() {
    use Does::{Accept, Drop, Jump, Log, Reject, Return};
    let all = |does| ("", "", 0, does);
    let cases: [(&[Entry<'_>], bool); 11] = [
        (&[all(Accept)], false),
        (&[all(Drop)], true),
        // Conditions: a link, a protocol.
        (&[("eth0", "", 0, Drop), ("", "", 6, Reject), all(Accept)], false),
        (&[("", "br0", 0, Accept), ("", "", 6, Accept), all(Drop)], true),
        (&[all(Log), all(Reject), all(Accept)], true),
        (&[all(Accept), all(Drop)], false),
        // A rule without a target leads to the next one.
        (&[all(Jump(1)), all(Drop)], true),
        // FORWARD: jump, policy; behind it the chain that the jump leads to.
        (&[all(Jump(2)), all(Accept), all(Drop), all(Return)], true),
        (&[all(Jump(2)), all(Drop), all(Return)], true),
        (&[all(Jump(2)), all(Drop), all(Accept), all(Return)], false),
        // A circle, which the kernel would not take.
        (&[all(Jump(0)), all(Drop)], false),
    ];
    for (entries, expected) in cases {
        for is_v4 in [true, false] {
            // Behind the policy of another chain.
            let shifted = entries.iter().map(|entry| match *entry {
                (incoming, outgoing, condition, Jump(to)) => (incoming, outgoing, condition, Jump(to + 1)),
                other => other,
            });
            let shifted: Vec<_> = [all(Drop)].into_iter().chain(shifted).collect();
            assert_eq!(table(is_v4, 1, &shifted).drops_forwarded(), expected);
        }
    }
}

#[test]
fn links_are_named_in_either_direction() {
    use Does::{Accept, Drop};
    let entries =
        [("eth0", "", 0, Drop), ("", "pillbox0", 0, Accept), ("web+", "", 0, Accept), ("", "", 0, Drop)];
    for is_v4 in [true, false] {
        let table = table(is_v4, 0, &entries);
        for (link, expected) in [
            ("eth0", true),
            ("pillbox0", true),
            ("pillbox", false),
            ("pillbox01", false),
            ("web7", true),
            ("we", false),
            ("", false),
        ] {
            assert_eq!(table.names(link.as_bytes()), expected, "{link}");
        }
    }
}

#[test]
fn whatever_comes_does_not_panic() {
    let entry = ("br0", "", 0, Does::Jump(0));
    for is_v4 in [true, false] {
        for forward in [0, 1, 7] {
            let found = table(is_v4, forward, &[entry, ("", "", 0, Does::Jump(1))]);
            assert!(!found.drops_forwarded());
        }
        for length in 0..200 {
            let info = vec![0xff; length];
            let found = Table::new(is_v4, &info, vec![0xff; length]);
            assert!(!found.drops_forwarded() && !found.names(b"br0"));
            let found = Table::new(is_v4, &[], vec![0; length * 4]);
            assert!(!found.drops_forwarded() && !found.names(b"br0"));
        }
    }
}
