//! golden/linux-6.18.hex is how the kernel listed three entries, and golden/conntrack-1.4.7.hex what
//! conntrack(8) 1.4.7 sent to delete them: `conntrack -D -p udp --orig-port-dst 5353`, with `-f ipv6` and
//! with `--zone 7`. It sends all that it knows of an entry.

use super::*;
use crate::error::Cause;
use crate::reply::u16_at;

const LISTED: &str = include_str!("golden/linux-6.18.hex");
const DELETED: &str = include_str!("golden/conntrack-1.4.7.hex");

/// Reads a reply as an entry; only that it returns matters.
pub(crate) fn read_anything(reply: &Reply<'_>) {
    let _ = read(&Reply { kind: NEW, ..*reply });
}

fn bytes(line: &str) -> Vec<u8> {
    (0..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap()).collect()
}

fn entries() -> Vec<Entry> {
    let read_line = |line| {
        let message = bytes(line);
        let kind = u16_at(&message, 4).unwrap();
        read(&Reply { kind, flags: 2, sequence: 1, body: &message[16..] }).unwrap().unwrap()
    };
    LISTED.lines().map(read_line).collect()
}

fn entry(ip: IpAddr, port: u16) -> Entry {
    let mut entries = entries().into_iter();
    entries.find(|entry| entry.original.source == ip && entry.original.destination_port == port).unwrap()
}

fn loopback() -> IpAddr {
    "127.0.0.1".parse().unwrap()
}

fn loopback6() -> IpAddr {
    "::1".parse().unwrap()
}

/// A message about a filter, of its own family.
fn asked(kind: u16, flags: NlmF, filter: &Filter) -> Result<Message<'static>> {
    message(kind, flags, filter.family()?, filter)
}

#[test]
fn entries_are_read_as_the_kernel_lists_them() {
    assert_eq!(entries().len(), 3);
    for ip in [loopback(), loopback6()] {
        let Entry { original, reply, status, mark, zone, .. } = entry(ip, 5353);
        let protocol = 17;
        let expected =
            Tuple { source: ip, destination: ip, protocol, source_port: 40000, destination_port: 5353 };
        assert_eq!(original, expected);
        assert_eq!(reply, Tuple { source_port: 5300, destination_port: 40000, ..expected });
        assert_ne!(status & crate::nft::connection::DESTINATION_TRANSLATED, 0);
        assert_eq!((mark, zone), (0, 0));
    }
    let unanswered = entry(loopback6(), 7000);
    assert_eq!((unanswered.zone, unanswered.status & 2), (7, 0));
    assert_ne!(unanswered.id, entry(loopback6(), 5353).id);
}

#[test]
fn a_deletion_is_the_part_of_what_conntrack_sends_that_counts() {
    let ours = [(loopback(), 5353), (loopback6(), 5353), (loopback6(), 7000)];
    for (line, (ip, port)) in DELETED.lines().zip(ours) {
        let (recorded, entry) = (bytes(line), entry(ip, port));
        let sent = entry.deletion().unwrap().encode(1).unwrap();
        // Type, flags; family. (The version matters where everything is deleted.)
        assert_eq!((&sent[4..8], sent[16]), (&recorded[4..8], recorded[16]));
        for kind in [ORIGINAL, ZONE] {
            let part = |message: &[u8]| reply::find(&message[20..], kind).unwrap().map(<[u8]>::to_vec);
            assert_eq!(part(&sent), part(&recorded), "{ip} {port} {kind}");
        }
        let id = reply::find(&sent[20..], ID).unwrap().unwrap();
        assert_eq!(be32_at(id, 0), Some(entry.id));
    }
}

#[test]
fn a_filter_says_which_parts_count() {
    let filter = Filter {
        protocol: Some(17),
        original: Pattern { destination_port: Some(5353), ..Pattern::default() },
        reply: Pattern { source: Some(loopback()), source_port: Some(5300), ..Pattern::default() },
    };
    let sent = asked(GET, NlmF::DUMP, &filter).unwrap().encode(1).unwrap();
    // IPCTNL_MSG_CT_GET, with REQUEST, ACK and DUMP; AF_INET.
    assert_eq!((u16_at(&sent, 4), u16_at(&sent, 6), sent[16]), (Some(0x101), Some(0x305), 2));
    let sub_attribute = |kind: u16, flags: u32| {
        let (length, kind) = (8u16.to_ne_bytes(), kind.to_ne_bytes());
        [&length[..], &kind[..], &flags.to_ne_bytes()[..]].concat()
    };
    let expected = [
        // CTA_TUPLE_ORIG: CTA_TUPLE_PROTO: the protocol, the destination's port.
        (0x8001, bytes("1400028005000100110000000600030014e90000")),
        // CTA_TUPLE_REPLY: CTA_TUPLE_IP: the source; CTA_TUPLE_PROTO: the protocol, the source's port.
        (0x8002, bytes("0c000180080001007f0000011400028005000100110000000600020014b40000")),
        // CTA_FILTER: protocol 8, destination's port 32; source 1, protocol 8, source's port 16.
        (0x8019, [sub_attribute(1, 40), sub_attribute(2, 25)].concat()),
    ];
    let mut rest = &sent[20..];
    for (kind, payload) in expected {
        let length = u16::try_from(4 + payload.len()).unwrap();
        assert_eq!((u16_at(rest, 0), u16_at(rest, 2)), (Some(length), Some(kind)));
        assert_eq!(rest[4..length.into()], payload[..], "{kind:x}");
        rest = &rest[length.into()..];
    }
    assert!(rest.is_empty());
    let all = asked(GET, NlmF::DUMP, &Filter::default()).unwrap().encode(1).unwrap();
    assert_eq!((all.len(), &all[16..]), (20, &[0, 1, 0, 0][..]));
    // Only the family of an IPv6 address.
    let original = Pattern { source: Some(loopback6()), ..Pattern::default() };
    let six = asked(GET, NlmF::DUMP, &Filter { original, ..Filter::default() }).unwrap().encode(1).unwrap();
    assert_eq!((six.len(), six[16]), (20, 10));
}

#[test]
fn only_what_every_kernel_understands_is_deleted_by_the_kernel() {
    let any = Pattern::default();
    let port = Pattern { destination_port: Some(53), ..any };
    let pair = Pattern { source: Some(loopback()), destination: Some(loopback()), ..any };
    let filter = |protocol, original, reply| Filter { protocol, original, reply };
    for (expected, filter) in [
        (true, filter(Some(17), port, Pattern { source: Some(loopback()), source_port: Some(1), ..any })),
        (true, filter(Some(17), any, any)),
        (true, filter(None, Pattern { source: Some(loopback()), ..any }, any)),
        // Everything would go.
        (false, filter(None, any, any)),
        // Those of other addresses would go.
        (false, filter(Some(17), port, Pattern { source: Some(loopback6()), ..any })),
        // The other pattern might not count.
        (false, filter(Some(17), pair, port)),
        (false, filter(Some(17), port, pair)),
    ] {
        assert_eq!(filter.can_delete(), expected, "{filter:?}");
    }
    let filter = filter(Some(17), port, any);
    let sent = asked(DELETE, NlmF::empty(), &filter).unwrap().encode(1).unwrap();
    assert_eq!((u16_at(&sent, 4), u16_at(&sent, 6)), (Some(0x102), Some(5)));
    let asked = asked(GET, NlmF::DUMP, &filter).unwrap().encode(1).unwrap();
    assert_eq!(sent[16..], asked[16..]);
}

#[test]
fn filters_match_what_they_say() {
    let filter = |original, reply| Filter { protocol: Some(17), original, reply };
    let count = |filter: Filter| entries().iter().filter(|entry| filter.matches(entry)).count();
    let any = Pattern::default();
    assert_eq!(count(Filter::default()), 3);
    assert_eq!(count(filter(any, any)), 3);
    assert_eq!(count(Filter { protocol: Some(6), ..Filter::default() }), 0);
    assert_eq!(count(filter(Pattern { destination_port: Some(5353), ..any }, any)), 2);
    assert_eq!(count(filter(Pattern { source_port: Some(5353), ..any }, any)), 0);
    assert_eq!(count(filter(Pattern { source: Some(loopback6()), ..any }, any)), 2);
    assert_eq!(count(filter(any, Pattern { destination: Some(loopback()), ..any })), 1);
    assert_eq!(count(filter(any, Pattern { source_port: Some(7000), ..any })), 1);
    assert_eq!(count(filter(any, Pattern { destination_port: Some(40000), ..any })), 3);
}

#[test]
fn filters_that_cannot_be_are_refused() {
    let any = Pattern::default();
    let port = Pattern { source_port: Some(1), ..any };
    let mixed = Pattern { source: Some(loopback()), destination: Some(loopback6()), ..any };
    for filter in [
        Filter { original: port, ..Filter::default() },
        Filter { reply: port, ..Filter::default() },
        Filter { original: mixed, ..Filter::default() },
    ] {
        assert!(
            matches!(asked(GET, NlmF::DUMP, &filter), Err(error) if matches!(error.cause(), Cause::Invalid(_))),
            "{filter:?}"
        );
    }
}

/// Every cut, and every byte turned over.
#[test]
fn entries_that_are_cut_or_changed_never_panic() {
    for line in LISTED.lines() {
        let message = bytes(line);
        for at in 16..message.len() {
            let _ = read(&Reply { kind: NEW, flags: 2, sequence: 1, body: &message[16..at] });
            let mut changed = message.clone();
            changed[at] ^= 0xff;
            let _ = read(&Reply { kind: NEW, flags: 2, sequence: 1, body: &changed[16..] });
        }
    }
}
