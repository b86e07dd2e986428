//! Folders of the client's, as it sends them: first it names everything, and then it sends what it is asked for.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;

use super::frame::{Incoming, Outgoing};
use super::message::{Packet, PacketKind, Stat};
use super::session::Session;
use super::stat::{entry, mode};
use super::status::{EXHAUSTED, Status, UNAVAILABLE, UNKNOWN};
use crate::layer::tar::{Entry, EntryKind, Writer};
use crate::registry::percent_encode;

/// The call.
const METHOD: &str = "/moby.filesync.v1.FileSync/DiffCopy";

/// The most files of a folder.
const FILES_MAX: u32 = 4_000_000;

/// Files up to this size are asked for ahead: so many, and so many bytes.
const SMALL: u64 = 256 << 10;
const AHEAD_FILES: usize = 64;
const AHEAD_BYTES: u64 = 4 << 20;

/// Which files of a folder are wanted.
#[derive(Debug, Clone, Default)]
pub struct Selection<'a> {
    /// The folder's name.
    pub folder: &'a str,
    /// Patterns of what is not.
    pub excluded: &'a [String],
    /// Only these, and whatever links among them lead to.
    pub only: &'a [&'a str],
}

/// A folder on its way.
struct Transfer {
    outgoing: Outgoing,
    incoming: Incoming,
    /// How many files have been named.
    count: u32,
}

/// What comes.
enum Arrived {
    /// There is a file, and its number.
    Named(u32, Stat),
    /// That were all.
    AllNamed,
    /// Some of a file's content; none at its end.
    Content(u32, bytes::Bytes),
}

impl Transfer {
    fn begin(session: &Session, selection: &Selection<'_>) -> Result<Transfer, Status> {
        let mut metadata = vec![("dir-name", selection.folder.to_string())];
        let excluded = escaped(selection.excluded.iter().map(String::as_str));
        let only = escaped(selection.only.iter().copied());
        for (name, marker, (values, is_escaped)) in [
            ("exclude-patterns", "exclude-patterns-encoded", excluded),
            ("followpaths", "followpaths-encoded", only),
        ] {
            metadata.extend(values.into_iter().map(|value| (name, value)));
            metadata.extend(is_escaped.then(|| (marker, "1".to_string())));
        }
        let metadata: Vec<(&'static str, &str)> =
            metadata.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (outgoing, incoming) = session.call(METHOD, &metadata)?;
        Ok(Transfer { outgoing, incoming, count: 0 })
    }

    fn next(&mut self) -> Result<Arrived, Status> {
        let packet: Packet = self
            .incoming
            .next()?
            .ok_or_else(|| Status::new(UNAVAILABLE, "the client stopped in the middle"))?;
        match PacketKind::try_from(packet.kind) {
            Ok(PacketKind::Stat) => {
                let Some(stat) = packet.stat else { return Ok(Arrived::AllNamed) };
                let id = self.count;
                self.count += 1;
                if self.count > FILES_MAX {
                    return Err(Status::new(EXHAUSTED, format!("a folder has more than {FILES_MAX} files")));
                }
                Ok(Arrived::Named(id, stat))
            }
            Ok(PacketKind::Data) => Ok(Arrived::Content(packet.id, packet.data)),
            Ok(PacketKind::Error) => {
                Err(Status::new(UNKNOWN, format!("the client: {}", String::from_utf8_lossy(&packet.data))))
            }
            _ => Err(Status::invalid(format!("a packet of the kind {}, which is not expected", packet.kind))),
        }
    }

    fn request(&mut self, id: u32) -> Result<(), Status> {
        let sent = self.outgoing.send(&Packet { kind: PacketKind::Request.into(), id, ..Packet::default() });
        sent.map_err(|status| self.incoming.reason(status))
    }

    /// Says that everything has come, and waits for the client to say so.
    fn end(mut self) -> Result<(), Status> {
        let sent = self.outgoing.send(&Packet { kind: PacketKind::End.into(), ..Packet::default() });
        sent.map_err(|status| self.incoming.reason(status))?;
        // The client may have ended before.
        let _ = self.outgoing.end();
        while self.incoming.next::<Packet>()?.is_some() {}
        Ok(())
    }
}

/// Headers are ASCII: with anything else in them all are escaped, as forms are.
fn escaped<'a>(values: impl Iterator<Item = &'a str> + Clone) -> (Vec<String>, bool) {
    if values.clone().all(|value| value.bytes().all(|byte| (b' '..0x7f).contains(&byte))) {
        return (values.map(str::to_string).collect(), false);
    }
    (values.map(percent_encode).collect(), true)
}

/// A few small files of a folder, through links among them; those that are not there are left out.
///
/// # Errors
/// The client does not send them, or one is larger than `most`.
pub fn read_files(
    session: &Session,
    folder: &str,
    names: &[&str],
    most: u64,
) -> Result<BTreeMap<String, Vec<u8>>, Status> {
    let mut transfer = Transfer::begin(session, &Selection { folder, excluded: &[], only: names })?;
    let mut links: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut open: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    let mut files: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let (mut all_named, mut size) = (false, 0);
    while !all_named || !open.is_empty() {
        match transfer.next()? {
            Arrived::Named(_, stat) if !stat.link.is_empty() => drop(links.insert(stat.path, stat.link)),
            Arrived::Named(_, stat) if stat.mode & mode::KIND != 0 => {}
            Arrived::Named(id, stat) => {
                open.insert(id, stat.path.clone());
                files.insert(stat.path, Vec::new());
                transfer.request(id)?;
            }
            Arrived::AllNamed => all_named = true,
            Arrived::Content(id, data) if data.is_empty() => drop(open.remove(&id)),
            Arrived::Content(id, data) => {
                size += data.len() as u64;
                let path = open.get(&id).ok_or_else(|| unasked(id))?;
                if size > most * names.len() as u64 {
                    let path = String::from_utf8_lossy(path);
                    return Err(Status::new(EXHAUSTED, format!("{path}: it has more than {most} bytes")));
                }
                files.entry(path.clone()).or_default().extend_from_slice(&data);
            }
        }
    }
    transfer.end()?;
    let mut found = BTreeMap::new();
    for name in names {
        if let Some(bytes) = follow(name.as_bytes(), &links).and_then(|path| files.get(&path)) {
            found.insert(name.to_string(), bytes.clone());
        }
    }
    Ok(found)
}

fn unasked(id: u32) -> Status {
    Status::invalid(format!("content of file {id}, which was not asked for"))
}

/// Where a path leads to among links, none of which leads out of the folder.
fn follow(path: &[u8], links: &BTreeMap<Vec<u8>, Vec<u8>>) -> Option<Vec<u8>> {
    const LINKS_MAX: usize = 40;
    let mut rest: VecDeque<Vec<u8>> = path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
    let (mut at, mut count) = (Vec::<Vec<u8>>::new(), 0);
    while let Some(part) = rest.pop_front() {
        match &part[..] {
            b"" | b"." => continue,
            b".." => drop(at.pop()),
            _ => at.push(part),
        }
        if let Some(target) = links.get(&at.join(&b'/')) {
            count += 1;
            if count > LINKS_MAX {
                return None;
            }
            at.pop();
            if target.starts_with(b"/") {
                at.clear();
            }
            for part in target.split(|byte| *byte == b'/').rev() {
                rest.push_front(part.to_vec());
            }
        }
    }
    Some(at.join(&b'/'))
}

/// A folder as a tar. Whose the files are is not kept.
///
/// # Errors
/// The client does not send it, or nobody takes the tar.
pub fn read_folder(session: &Session, selection: &Selection<'_>, out: &mut dyn Write) -> Result<(), Status> {
    let mut transfer = Transfer::begin(session, selection)?;
    let mut queue = Queue { writer: Writer::new(out), waiting: VecDeque::new(), requested: 0, ahead: 0 };
    let (mut all_named, mut links) = (false, Vec::new());
    while !all_named || !queue.waiting.is_empty() {
        match transfer.next()? {
            Arrived::Named(id, stat) => {
                let Some(entry) = entry(stat)? else { continue };
                match entry.kind {
                    EntryKind::File => queue.waiting.push_back(Waiting::new(id, entry)),
                    // What it is another name of may still be to come.
                    EntryKind::HardLink(_) => links.push(entry),
                    _ => queue.writer.entry(&entry)?,
                }
            }
            Arrived::AllNamed => all_named = true,
            Arrived::Content(id, data) => queue.take(id, &data)?,
        }
        queue.request_ahead(&mut transfer)?;
    }
    links.iter().try_for_each(|link| queue.writer.entry(link))?;
    queue.writer.finish()?;
    transfer.end()
}

/// Files in the order in which they were named, which is that of the tar.
struct Queue<'o> {
    writer: Writer<&'o mut dyn Write>,
    waiting: VecDeque<Waiting>,
    /// How many of them, from the first one on, were asked for; and their bytes.
    requested: usize,
    ahead: u64,
}

/// A file whose content has not come.
struct Waiting {
    id: u32,
    entry: Entry,
    /// What has come, of one that is small.
    content: Vec<u8>,
    /// How much of it was written, of one that is not: then it is the first one.
    written: Option<u64>,
    is_whole: bool,
}

impl Waiting {
    fn new(id: u32, entry: Entry) -> Waiting {
        Waiting { id, entry, content: Vec::new(), written: None, is_whole: false }
    }

    fn is_small(&self) -> bool {
        self.entry.size <= SMALL
    }

    fn has_changed(&self) -> Status {
        let path = String::from_utf8_lossy(&self.entry.path).into_owned();
        Status::new(UNKNOWN, format!("{path}: it was changed while it was sent: build again"))
    }
}

impl Queue<'_> {
    fn request_ahead(&mut self, transfer: &mut Transfer) -> Result<(), Status> {
        while let Some(next) = self.waiting.get(self.requested) {
            let size = next.entry.size;
            let has_room =
                self.requested < AHEAD_FILES && self.ahead + size <= AHEAD_BYTES && next.is_small();
            if self.requested > 0 && !has_room {
                break;
            }
            transfer.request(next.id)?;
            self.requested += 1;
            self.ahead += size;
        }
        Ok(())
    }

    fn take(&mut self, id: u32, data: &[u8]) -> Result<(), Status> {
        let place = self
            .waiting
            .iter()
            .take(self.requested)
            .position(|waiting| waiting.id == id && !waiting.is_whole);
        let place = place.ok_or_else(|| unasked(id))?;
        let waiting = &mut self.waiting[place];
        if waiting.is_small() {
            waiting.content.extend_from_slice(data);
            // One that grows has room for a while.
            if waiting.content.len() as u64 > 4 * SMALL {
                return Err(waiting.has_changed());
            }
        } else {
            let written = match waiting.written {
                Some(written) => written,
                None => {
                    self.writer.entry(&waiting.entry)?;
                    0
                }
            };
            let written = written + data.len() as u64;
            waiting.written = Some(written);
            let is_right =
                if data.is_empty() { written == waiting.entry.size } else { written <= waiting.entry.size };
            if !is_right {
                return Err(waiting.has_changed());
            }
            self.writer.content(data)?;
        }
        waiting.is_whole = data.is_empty();
        self.write_whole()
    }

    /// Writes the first ones that have come.
    fn write_whole(&mut self) -> Result<(), Status> {
        while self.waiting.front().is_some_and(|first| first.is_whole) {
            let Some(mut first) = self.waiting.pop_front() else { break };
            self.requested -= 1;
            self.ahead -= first.entry.size;
            if first.written.is_none() {
                first.entry.size = first.content.len() as u64;
                self.writer.entry(&first.entry)?;
                self.writer.content(&first.content)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_in_the_folder() {
        let links: BTreeMap<Vec<u8>, Vec<u8>> =
            [("Dockerfile", "ci/../../../docker/x"), ("docker", "/real"), ("loop", "loop")]
                .map(|(from, to)| (from.as_bytes().to_vec(), to.as_bytes().to_vec()))
                .into();
        assert_eq!(follow(b"Dockerfile", &links).as_deref(), Some(&b"real/x"[..]));
        assert_eq!(follow(b"a/b", &links).as_deref(), Some(&b"a/b"[..]));
        assert_eq!(follow(b"loop", &links), None);
    }

    #[test]
    fn headers_are_ascii() {
        assert_eq!(escaped(["*.o", "!a b"].into_iter()), (vec!["*.o".into(), "!a b".into()], false));
        assert_eq!(escaped(["ü%", "a"].into_iter()), (vec!["%C3%BC%25".into(), "a".into()], true));
    }
}
