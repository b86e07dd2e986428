//! The table of iptables-legacy as the kernel hands it out. Layouts: linux/netfilter/x_tables.h,
//! linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h.

/// `XT_TABLE_MAXNAMELEN`.
const NAME: usize = 32;

/// The chain FORWARD's number: `NF_INET_FORWARD`.
const FORWARD: usize = 2;

/// `struct ipt_getinfo`: the name; the hooks that it has; of each of five hooks where its chain begins, and
/// where its policy is; the number of rules and their length.
const INFO: usize = 84;
const BEGINS: usize = NAME + 4;
const LENGTH: usize = INFO - 4;

/// `struct ipt_get_entries`: the name, the length, padding.
const ENTRIES: usize = 40;

/// The length of a link's name in an entry (`IFNAMSIZ`).
const LINK: usize = 16;

/// `struct xt_entry_target`: the length, the name, the revision; behind them, of a standard target, the
/// verdict.
const TARGET_NAME: std::ops::Range<usize> = 2..31;
const VERDICT: usize = 32;

/// Verdicts of a standard target; others are where a jump leads.
const DROP: i32 = -1;
const RETURN: i32 = -5;

/// Deeper than user-defined chains are followed.
const DEPTH: u32 = 16;

/// Where things are in an entry.
#[derive(Debug)]
struct Layout {
    /// The name of the link that a packet comes in by; behind it are that by which it goes out, and a mask
    /// for each.
    links: usize,
    /// The end of what a packet is compared with.
    conditions: usize,
    /// Where the offsets of the target and of the next entry are.
    offsets: usize,
    /// The whole entry, without matches and target.
    size: usize,
}

const V4: Layout = Layout { links: 16, conditions: 84, offsets: 88, size: 112 };
const V6: Layout = Layout { links: 64, conditions: 136, offsets: 140, size: 168 };

/// A table's rules.
#[derive(Debug)]
pub struct Table {
    layout: Layout,
    entries: Vec<u8>,
    forward: usize,
}

/// What becomes of every packet in a chain.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Dropped,
    /// It is accepted, or that depends on the packet.
    Passes,
    /// The chain that has led here sees it again.
    Returns,
}

impl Table {
    /// What the kernel is to fill in with where chains begin.
    pub fn info_request(name: &str) -> Vec<u8> {
        let mut request = name.as_bytes().to_vec();
        request.resize(INFO, 0);
        request
    }

    /// What the kernel is to fill in with the rules.
    pub fn entries_request(name: &str, info: &[u8]) -> Vec<u8> {
        let length = number(info, LENGTH).unwrap_or(0);
        let mut request = name.as_bytes().to_vec();
        request.resize(NAME, 0);
        request.extend(length.to_ne_bytes());
        request.resize(ENTRIES + length as usize, 0);
        request
    }

    /// The table from the kernel's answers.
    pub fn new(is_v4: bool, info: &[u8], mut entries: Vec<u8>) -> Table {
        let entries = entries.split_off(ENTRIES.min(entries.len()));
        let forward = number(info, BEGINS + 4 * FORWARD).unwrap_or(u32::MAX) as usize;
        Table { layout: if is_v4 { V4 } else { V6 }, entries, forward }
    }

    /// Whether the chain FORWARD drops or rejects what none of its rules with conditions decides upon.
    pub fn drops_forwarded(&self) -> bool {
        self.fate(self.forward, 0) == Fate::Dropped
    }

    /// Whether a rule of any chain names that link, or a pattern that it meets.
    pub fn names(&self, link: &[u8]) -> bool {
        let mut padded = [0; LINK];
        let length = link.len().min(LINK - 1);
        padded[..length].copy_from_slice(&link[..length]);
        let mut at = 0;
        while let Some(entry) = self.entry(at) {
            let links = |number: usize| &entry[self.layout.links + number * LINK..][..LINK];
            let is_named = |name: &[u8], mask: &[u8]| {
                let meets =
                    name.iter().zip(mask).zip(&padded).all(|((name, mask), own)| (name ^ own) & mask == 0);
                mask.iter().any(|mask| *mask != 0) && meets
            };
            if is_named(links(0), links(2)) || is_named(links(1), links(3)) {
                return true;
            }
            at += entry.len();
        }
        false
    }

    /// The policy is the last entry of a chain, without conditions.
    fn fate(&self, mut at: usize, depth: u32) -> Fate {
        while let Some(entry) = self.entry(at).filter(|_| depth < DEPTH) {
            at += entry.len();
            let Some(target) = self.target_of_all(entry) else { continue };
            let name = target.get(TARGET_NAME).unwrap_or_default();
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            let verdict = match name {
                b"" => number(target, VERDICT).map_or(0, u32::cast_signed),
                b"REJECT" => DROP,
                // It decides nothing: LOG, MARK.
                _ => continue,
            };
            match usize::try_from(verdict) {
                // A rule without a target.
                Ok(next) if next == at => {}
                Ok(chain) => match self.fate(chain, depth + 1) {
                    Fate::Returns => {}
                    fate => return fate,
                },
                Err(_) if verdict == DROP => return Fate::Dropped,
                Err(_) if verdict == RETURN => return Fate::Returns,
                Err(_) => return Fate::Passes,
            }
        }
        Fate::Passes
    }

    /// The entry that begins there, with its matches and its target.
    fn entry(&self, at: usize) -> Option<&[u8]> {
        let rest = self.entries.get(at..)?;
        let length = usize::from(short(rest, self.layout.offsets + 2)?);
        rest.get(..length).filter(|_| length >= self.layout.size)
    }

    /// The target of an entry without conditions.
    fn target_of_all<'a>(&self, entry: &'a [u8]) -> Option<&'a [u8]> {
        let target = usize::from(short(entry, self.layout.offsets)?);
        let is_of_all =
            target == self.layout.size && entry[..self.layout.conditions].iter().all(|byte| *byte == 0);
        entry.get(target..).filter(|_| is_of_all)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
