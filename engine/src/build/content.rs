//! What files are, whatever their times: the digest of a tar's entries, and of each one, to say later which has changed.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use serde::Serialize;

use crate::digest::{Digest, Hasher};
use crate::error::{Kind, Result};
use crate::layer::pipe;
use crate::layer::tar::{Archive, Entry, EntryKind};
use crate::order;
use crate::stop::Stop;
use crate::thread::spawn;

/// The most files that are remembered one by one.
const FILES_MAX: usize = 2_000;

/// What a tar has in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Of all of it: names, kinds, modes, owners, attributes, bytes.
    pub digest: Digest,
    /// Of each path, or, if there are too many, of all below each name at the top, which ends with a slash then.
    pub files: Vec<(String, Digest)>,
}

/// A digest over fields, none of which can be taken for a part of another.
#[derive(Clone, Default)]
pub struct Key(Hasher);

impl Key {
    /// For one kind of things.
    pub fn new(kind: &str) -> Key {
        let mut key = Key::default();
        key.add(kind);
        key
    }

    /// Takes a field in.
    pub fn add(&mut self, field: impl AsRef<[u8]>) {
        let field = field.as_ref();
        self.0.update(&(field.len() as u64).to_le_bytes());
        self.0.update(field);
    }

    /// Takes a value in as JSON.
    pub fn add_value(&mut self, value: &impl Serialize) {
        // What is written here has no values that JSON lacks.
        self.add(serde_json::to_vec(value).unwrap_or_default());
    }

    /// The digest.
    pub fn digest(&self) -> Digest {
        self.0.digest()
    }
}

/// Reads a tar that `compose` writes, and passes it on to `out`.
///
/// # Errors
/// It could not be composed, or nobody takes it.
pub fn read(
    compose: impl FnOnce(&mut dyn Write) -> Result<()> + Send,
    out: &mut dyn Write,
    stop: &Stop,
) -> Result<Content> {
    let (mut feed, drain) = pipe();
    std::thread::scope(|scope| {
        let composed = spawn(scope, move || {
            compose(&mut feed)?;
            Ok(feed.end()?)
        })?;
        let content = read_tar(Tee { inner: stop.over(drain), out });
        let composed = composed.join();
        // Whatever they say then.
        stop.check()?;
        match composed {
            // Whoever reads is the reason if nobody takes the tar.
            Ok(Err(error)) if content.is_ok() || crate::Error::kind(&error) != Kind::Closed => Err(error),
            _ => content,
        }
    })
}

fn read_tar(stream: impl Read) -> Result<Content> {
    let mut archive = Archive::new(stream);
    let (mut all, mut files, mut count) = (Key::new("content"), Vec::new(), 0usize);
    let mut tops: BTreeMap<String, Digest> = BTreeMap::new();
    let mut buffer = vec![0; 1 << 17];
    while let Some(entry) = archive.next_entry()? {
        let mut key = Key::new("entry");
        describe(&entry, &mut key);
        let mut hasher = Hasher::default();
        loop {
            match archive.read_content(&mut buffer)? {
                0 => break,
                length => hasher.update(&buffer[..length]),
            }
        }
        key.add(hasher.digest().hex());
        let digest = key.digest();
        all.add(digest.hex());
        count += 1;
        let name = shown(&entry.path);
        let top = format!("{}/", name.split('/').next().unwrap_or_default());
        if let Some(known) = tops.get_mut(&top) {
            let mut key = Key::new("top");
            key.add(known.hex());
            key.add(digest.hex());
            *known = key.digest();
        } else if tops.len() < FILES_MAX {
            tops.insert(top, digest);
        }
        if count <= FILES_MAX {
            files.push((name, digest));
        }
    }
    std::io::copy(&mut archive.into_inner(), &mut std::io::sink())?;
    if count > FILES_MAX {
        files = tops.into_iter().collect();
    }
    Ok(Content { digest: all.digest(), files })
}

/// Everything but its times.
fn describe(entry: &Entry, key: &mut Key) {
    let Entry { path, kind, mode, uid, gid, mtime: _, atime: _, size, xattrs, segments: _ } = entry;
    key.add(path);
    let (tag, more) = match kind {
        EntryKind::File => ("file", Vec::new()),
        EntryKind::Folder => ("folder", Vec::new()),
        EntryKind::SymbolicLink(to) => ("link", to.clone()),
        EntryKind::HardLink(to) => ("name", to.clone()),
        EntryKind::Character(device) => ("character", format!("{device:?}").into_bytes()),
        EntryKind::Block(device) => ("block", format!("{device:?}").into_bytes()),
        EntryKind::Fifo => ("fifo", Vec::new()),
    };
    key.add(tag);
    key.add(more);
    for number in [u64::from(*mode), u64::from(*uid), u64::from(*gid), *size] {
        key.add(number.to_le_bytes());
    }
    let mut xattrs: Vec<_> = xattrs.iter().collect();
    order::sort(&mut xattrs);
    for (name, value) in xattrs {
        key.add(name);
        key.add(value);
    }
}

/// Without the mark of its source.
fn shown(path: &[u8]) -> String {
    let rest = path.iter().position(|byte| *byte == b'/').map_or(path, |slash| &path[slash + 1..]);
    let name = String::from_utf8_lossy(rest.strip_prefix(b"./").unwrap_or(rest)).into_owned();
    name.trim_end_matches('/').to_string()
}

/// What differs first between two contents, in words.
pub fn difference(before: &[(String, Digest)], now: &[(String, Digest)]) -> Option<String> {
    let is_of_tops = |list: &[(String, Digest)]| list.iter().any(|(name, _)| name.ends_with('/'));
    if before.is_empty() || now.is_empty() || is_of_tops(before) != is_of_tops(now) {
        return None;
    }
    let known = |list: &[(String, Digest)], name: &str| {
        list.iter().find(|(known, _)| known == name).map(|(_, digest)| *digest)
    };
    let is = |name: &str, what: &str| format!("{} {what}", name.trim_end_matches('/'));
    for (name, digest) in now {
        match known(before, name) {
            None => return Some(is(name, "is new")),
            Some(other) if other != *digest => return Some(is(name, "has changed")),
            Some(_) => {}
        }
    }
    let gone = before.iter().find(|(name, _)| known(now, name).is_none());
    gone.map(|(name, _)| is(name, "is gone"))
}

/// Passes on what is read.
struct Tee<'a, R> {
    inner: R,
    out: &'a mut dyn Write,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.out.write_all(&buffer[..length])?;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::tar::{Time, Writer};

    fn content(path: &str, mode: u32, seconds: i64, bytes: &[u8]) -> Content {
        let entry = Entry {
            path: path.as_bytes().to_vec(),
            kind: EntryKind::File,
            mode,
            uid: 0,
            gid: 0,
            mtime: Time { seconds, nanoseconds: 0 },
            atime: None,
            size: bytes.len() as u64,
            xattrs: Vec::new(),
            segments: None,
        };
        let compose = |out: &mut dyn Write| {
            let mut writer = Writer::new(out);
            writer.entry(&entry)?;
            writer.content(bytes)?;
            writer.finish()
        };
        let mut passed = Vec::new();
        let content = read(compose, &mut passed, &Stop::default()).unwrap();
        assert!(passed.len() >= 1024 && passed.len() % 512 == 0);
        content
    }

    #[test]
    fn times_do_not_count() {
        let first = content("m0/a", 0o644, 1, b"x");
        assert_eq!(first, content("m0/a", 0o644, 2, b"x"));
        for other in [
            content("m0/a", 0o600, 1, b"x"),
            content("m0/a", 0o644, 1, b"y"),
            content("m0/b", 0o644, 1, b"x"),
        ] {
            assert_ne!(first.digest, other.digest);
        }
        let other = content("m0/a", 0o644, 1, b"y");
        assert_eq!(difference(&first.files, &other.files).as_deref(), Some("a has changed"));
        let third = content("m0/b", 0o644, 1, b"x");
        assert_eq!(difference(&first.files, &third.files).as_deref(), Some("b is new"));
        assert_eq!(difference(&first.files, &first.files), None);
    }

    #[test]
    fn of_very_many_files_the_names_at_the_top_are_told() {
        let many = |count: usize, changed: usize| {
            let compose = |out: &mut dyn Write| {
                let mut writer = Writer::new(out);
                for number in 0..count {
                    let path = format!("m0/./modules/{number}/index");
                    writer.entry(&Entry::plain(&path, EntryKind::File, 0o644, 1))?;
                    writer.content(if number == changed { b"x" } else { b"y" })?;
                }
                writer.entry(&Entry::plain("m0/./main", EntryKind::File, 0o644, 0))?;
                writer.finish()
            };
            read(compose, &mut std::io::sink(), &Stop::default()).unwrap().files
        };
        let before = many(3_000, 0);
        assert_eq!(before.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["main/", "modules/"]);
        assert_eq!(difference(&before, &many(3_000, 1)).as_deref(), Some("modules has changed"));
        // One by one and together they cannot be compared.
        assert_eq!(difference(&before, &many(10, 1)), None);
    }
}
