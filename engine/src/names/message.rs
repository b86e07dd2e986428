//! Messages of the domain name system, as far as they are read and written here. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a message has in front, in bytes.
const HEADER: usize = 12;

/// The longest packet over UDP that everybody takes, and the longest that is sent to who takes more (RFC 6891, RFC 9715).
const PLAIN: usize = 512;
const LONGEST: usize = 1232;

/// A message over TCP has 16 bits for its length.
pub const MOST: usize = u16::MAX as usize;

/// How long others may remember an answer, in seconds: containers come and go.
const SECONDS: u32 = 5;

const ANSWER: u8 = 0x80;
const AUTHORITATIVE: u8 = 0x04;
const TRUNCATED: u8 = 0x02;
const RECURSION_DESIRED: u8 = 0x01;
const RECURSION_AVAILABLE: u8 = 0x80;

const INTERNET: u16 = 1;
const OPTIONS: u16 = 41;
const OPTIONS_LENGTH: usize = 11;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// An IPv4 address.
    V4,
    /// An IPv6 address.
    V6,
    /// What an address is called.
    Name(IpAddr),
    /// Something that is not known of containers.
    Other,
}

/// How a question is answered without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// All is well.
    Fine = 0,
    /// It cannot be read.
    Malformed = 1,
    /// Who should know does not answer.
    Failed = 2,
    /// There is no such name.
    Missing = 3,
    /// It is no question.
    Unknown = 4,
}

/// A question that can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// In small letters, without a dot at its end.
    pub name: String,
    /// What is asked for.
    pub wanted: Wanted,
    /// Where it ends in its message.
    end: usize,
    /// How long an answer over UDP may be.
    limit: usize,
    has_options: bool,
}

impl Question {
    /// Reads the question of a message; an error is what is answered, `None` that nothing is.
    ///
    /// # Errors
    /// See [`Status`].
    pub fn read(message: &[u8]) -> Result<Question, Option<Status>> {
        let header = message.get(..HEADER).ok_or(None)?;
        // What is an answer itself is never answered, or two would talk for ever.
        if header[2] & ANSWER != 0 {
            return Err(None);
        }
        if (header[2] >> 3) & 15 != 0 {
            return Err(Some(Status::Unknown));
        }
        let malformed = Some(Status::Malformed);
        if number(message, 4) != Some(1) {
            return Err(malformed);
        }
        let (name, behind) = read_name(message, HEADER).ok_or(malformed)?;
        let (kind, class) = number(message, behind).zip(number(message, behind + 2)).ok_or(malformed)?;
        let end = behind + 4;
        let wanted = match (class, kind) {
            (INTERNET, 1) => Wanted::V4,
            (INTERNET, 28) => Wanted::V6,
            (INTERNET, 12) => address_in(&name).map_or(Wanted::Other, Wanted::Name),
            _ => Wanted::Other,
        };
        let options = read_options(message, end);
        let limit = options.map_or(PLAIN, |size| usize::from(size).clamp(PLAIN, LONGEST));
        Ok(Question { name, wanted, end, limit, has_options: options.is_some() })
    }

    /// Its bytes in its message, as it was asked.
    pub fn bytes<'m>(&self, message: &'m [u8]) -> &'m [u8] {
        message.get(HEADER..self.end).unwrap_or_default()
    }

    /// Answers with addresses; those that do not fit are left out, and it is said that they are.
    pub fn with_addresses(&self, message: &[u8], addresses: &[IpAddr], limit: Option<usize>) -> Vec<u8> {
        let records = addresses.iter().map(|address| match address {
            IpAddr::V4(address) => record(1, &address.octets()),
            IpAddr::V6(address) => record(28, &address.octets()),
        });
        self.answer(message, Status::Fine, &records.collect::<Vec<_>>(), limit)
    }

    /// Answers with a name.
    pub fn with_name(&self, message: &[u8], name: &str, limit: Option<usize>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for label in name.split('.').filter(|label| (1..64).contains(&label.len())) {
            bytes.push(u8::try_from(label.len()).unwrap_or(0));
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
        self.answer(message, Status::Fine, &[record(12, &bytes)], limit)
    }

    /// Answers without an answer.
    pub fn with_status(&self, message: &[u8], status: Status) -> Vec<u8> {
        self.answer(message, status, &[], None)
    }

    /// Says that there is an answer that is too long.
    pub fn with_nothing_but_that_there_is_more(&self, message: &[u8]) -> Vec<u8> {
        let mut answer = self.answer(message, Status::Fine, &[], None);
        answer[2] |= TRUNCATED;
        answer
    }

    fn answer(&self, message: &[u8], status: Status, records: &[Vec<u8>], limit: Option<usize>) -> Vec<u8> {
        let mut answer = header(message, status);
        answer[2] |= AUTHORITATIVE;
        answer[5] = 1;
        answer.extend_from_slice(self.bytes(message));
        let behind = if self.has_options { OPTIONS_LENGTH } else { 0 };
        let limit = limit.unwrap_or(self.limit);
        let mut count: u16 = 0;
        for record in records {
            if answer.len() + record.len() + behind > limit || count == u16::MAX {
                answer[2] |= TRUNCATED;
                break;
            }
            answer.extend_from_slice(record);
            count += 1;
        }
        answer[6..8].copy_from_slice(&count.to_be_bytes());
        if self.has_options {
            answer[11] = 1;
            answer.push(0);
            answer.extend_from_slice(&OPTIONS.to_be_bytes());
            answer.extend_from_slice(&1232_u16.to_be_bytes());
            answer.extend_from_slice(&[0; 6]);
        }
        answer
    }
}

/// Answers to what has no question that can be read.
pub fn refusal(message: &[u8], status: Status) -> Vec<u8> {
    header(message, status)
}

/// Of what is sent here, the shortest has a header.
fn header(message: &[u8], status: Status) -> Vec<u8> {
    let mut header = vec![0; HEADER];
    if let Some(asked) = message.get(..HEADER) {
        header[..2].copy_from_slice(&asked[..2]);
        header[2] = ANSWER | (asked[2] & (0x78 | RECURSION_DESIRED));
    }
    header[3] = RECURSION_AVAILABLE | status as u8;
    header
}

/// An answer to the name in question.
fn record(kind: u16, content: &[u8]) -> Vec<u8> {
    // A pointer to the name behind the header.
    let mut record = vec![0xc0, 12];
    record.extend_from_slice(&kind.to_be_bytes());
    record.extend_from_slice(&INTERNET.to_be_bytes());
    record.extend_from_slice(&SECONDS.to_be_bytes());
    record.extend_from_slice(&u16::try_from(content.len()).unwrap_or(0).to_be_bytes());
    record.extend_from_slice(content);
    record
}

/// The number by which question and answer belong together.
pub fn id(message: &[u8]) -> Option<u16> {
    number(message, 0)
}

/// Gives a message another number.
pub fn set_id(message: &mut [u8], id: u16) {
    if let Some(place) = message.get_mut(..2) {
        place.copy_from_slice(&id.to_be_bytes());
    }
}

/// Whether a message answers the question with these bytes.
pub fn answers(message: &[u8], id: u16, question: &[u8]) -> bool {
    let asked = message.get(HEADER..HEADER + question.len());
    self::id(message) == Some(id)
        && message.get(2).is_some_and(|flags| flags & ANSWER != 0)
        && asked.is_some_and(|asked| asked.eq_ignore_ascii_case(question))
}

fn number(message: &[u8], place: usize) -> Option<u16> {
    let bytes = message.get(place..place.checked_add(2)?)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

/// A name without pointers, which questions have no need of; where it ends.
fn read_name(message: &[u8], place: usize) -> Option<(String, usize)> {
    let (mut name, mut place, mut length) = (String::new(), place, 1);
    loop {
        let count = usize::from(*message.get(place)?);
        place += 1;
        if count == 0 {
            return Some((name, place));
        }
        length += count + 1;
        if count > 63 || length > 255 {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        let label = message.get(place..place + count)?;
        // Other bytes than those of names are in nobody's name here.
        let letter =
            |byte: &u8| if byte.is_ascii_graphic() { char::from(byte.to_ascii_lowercase()) } else { '?' };
        name.extend(label.iter().map(letter));
        place += count;
    }
}

/// How long an answer over UDP may be, if it is said: the record OPT of RFC 6891, which questions have as their only one.
fn read_options(message: &[u8], place: usize) -> Option<u16> {
    let has_others = number(message, 6)? != 0 || number(message, 8)? != 0;
    if has_others || number(message, 10)? == 0 || *message.get(place)? != 0 {
        return None;
    }
    (number(message, place + 1)? == OPTIONS).then_some(())?;
    number(message, place + 3)
}

/// The address that is asked about: `5.0.88.10.in-addr.arpa`, or 32 digits and `ip6.arpa`.
fn address_in(name: &str) -> Option<IpAddr> {
    if let Some(numbers) = name.strip_suffix(".in-addr.arpa") {
        let mut parts: Vec<&str> = numbers.split('.').collect();
        parts.reverse();
        return Some(IpAddr::V4(parts.join(".").parse::<Ipv4Addr>().ok()?));
    }
    let digits: Vec<&str> = name.strip_suffix(".ip6.arpa")?.split('.').collect();
    if digits.len() != 32 || digits.iter().any(|digit| digit.len() != 1) {
        return None;
    }
    let number = u128::from_str_radix(&digits.iter().rev().copied().collect::<String>(), 16).ok()?;
    Some(IpAddr::V6(Ipv6Addr::from(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name by which an address is asked about.
    fn name_of_address(address: IpAddr) -> String {
        match address {
            IpAddr::V4(address) => {
                let [a, b, c, d] = address.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            IpAddr::V6(address) => {
                let digits = format!("{:032x}", u128::from(address));
                digits.chars().rev().map(|digit| format!("{digit}.")).collect::<String>() + "ip6.arpa"
            }
        }
    }

    fn question(name: &str, kind: u16, size: Option<u16>) -> Vec<u8> {
        let mut message =
            vec![0x12, 0x34, RECURSION_DESIRED, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(size.is_some())];
        for label in name.split('.') {
            message.push(label.len() as u8);
            message.extend_from_slice(label.as_bytes());
        }
        message.push(0);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        if let Some(size) = size {
            message.extend_from_slice(&[0, 0, 41]);
            message.extend_from_slice(&size.to_be_bytes());
            message.extend_from_slice(&[0; 6]);
        }
        message
    }

    #[test]
    fn questions_are_read() {
        let read =
            |message: &[u8]| Question::read(message).map(|one| (one.name.clone(), one.wanted, one.limit));
        assert_eq!(read(&question("DB.Backend", 1, None)), Ok(("db.backend".into(), Wanted::V4, 512)));
        assert_eq!(read(&question("db", 28, Some(4096))), Ok(("db".into(), Wanted::V6, 1232)));
        assert_eq!(read(&question("db", 15, Some(100))), Ok(("db".into(), Wanted::Other, 512)));
        for address in ["10.88.0.5", "fd00::5"] {
            let address: IpAddr = address.parse().unwrap();
            let name = name_of_address(address);
            assert_eq!(read(&question(&name, 12, None)).unwrap().1, Wanted::Name(address), "{name}");
        }
        assert_eq!(read(&question("5.88.10.in-addr.arpa", 12, None)).unwrap().1, Wanted::Other);
    }

    #[test]
    fn what_is_no_question_is_refused_or_dropped() {
        let good = question("db", 1, None);
        assert_eq!(Question::read(&good[..11]), Err(None));
        let with = |place: usize, byte: u8| {
            let mut message = good.clone();
            message[place] = byte;
            Question::read(&message).map(drop)
        };
        assert_eq!(with(2, ANSWER), Err(None));
        assert_eq!(with(2, 0x28), Err(Some(Status::Unknown)));
        assert_eq!(with(5, 2), Err(Some(Status::Malformed)));
        // A pointer to itself, and a name that goes on behind the end.
        assert_eq!(with(12, 0xc0), Err(Some(Status::Malformed)));
        assert_eq!(with(12, 63), Err(Some(Status::Malformed)));
        let long = question(&vec!["a".repeat(63); 4].join("."), 1, None);
        assert_eq!(Question::read(&long), Err(Some(Status::Malformed)));
    }

    #[test]
    fn answers_fit_and_say_when_they_do_not() {
        let message = question("db", 1, Some(1232));
        let asked = Question::read(&message).unwrap();
        let answer = asked.with_addresses(&message, &["10.0.0.1".parse().unwrap()], None);
        assert!(answers(&answer, 0x1234, asked.bytes(&message)));
        assert_eq!((answer[2] & TRUNCATED, number(&answer, 6), number(&answer, 10)), (0, Some(1), Some(1)));
        assert_eq!(&answer[answer.len() - 15..answer.len() - 11], &[10, 0, 0, 1]);
        let many: Vec<IpAddr> = (0..200).map(|last| IpAddr::from([10, 0, 0, last])).collect();
        let cut = asked.with_addresses(&message, &many, None);
        assert!(cut.len() <= LONGEST && cut[2] & TRUNCATED != 0);
        let whole = asked.with_addresses(&message, &many, Some(MOST));
        assert_eq!((whole[2] & TRUNCATED, number(&whole, 6)), (0, Some(200)));
        assert_eq!(asked.with_status(&message, Status::Missing)[3] & 15, 3);
    }

    #[test]
    fn whatever_is_sent_is_survived() {
        // xorshift: always the same bytes.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let good = question("a.database.backend", 28, Some(4096));
        for round in 0..200_000_u32 {
            let mut message = if round % 2 == 0 { good.clone() } else { vec![0; (random() % 600) as usize] };
            let changes = if round % 2 == 0 { 1 + random() % 8 } else { message.len() as u64 };
            for _ in 0..changes.min(message.len() as u64) {
                let place = (random() % message.len() as u64) as usize;
                message[place] = random() as u8;
            }
            message.truncate((random() % 700) as usize);
            match Question::read(&message) {
                Ok(asked) => {
                    let address = [IpAddr::from([10, 0, 0, 1]); 40];
                    let answer = asked.with_addresses(&message, &address, None);
                    assert!(answer.len() <= LONGEST && answer[2] & ANSWER != 0);
                    asked.with_name(&message, "a.b", None);
                }
                Err(Some(status)) => assert_eq!(refusal(&message, status).len(), HEADER),
                Err(None) => {}
            }
            answers(&message, 1, &good[HEADER..]);
        }
    }
}
