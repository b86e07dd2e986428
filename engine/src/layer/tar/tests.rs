//! Tars made by hand, block by block.

use super::*;

/// A tar that is written entry by entry.
#[derive(Default)]
pub struct Builder(Vec<u8>);

impl Builder {
    /// An entry of any kind; `link` for links.
    pub fn entry(mut self, flag: u8, path: &str, mode: u32, link: &str, content: &[u8]) -> Builder {
        self.add(flag, path.as_bytes(), mode, link.as_bytes(), content.len() as u64, content, |_| {});
        self
    }

    pub fn file(self, path: &str, content: &[u8]) -> Builder {
        self.entry(b'0', path, 0o644, "", content)
    }

    pub fn folder(self, path: &str) -> Builder {
        self.entry(b'5', path, 0o755, "", b"")
    }

    /// Records for the next entry.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Builder {
        let mut text = Vec::new();
        for (name, value) in records {
            // The length counts its own digits.
            let rest = name.len() + value.len() + 3;
            let length = (1..).map(|digits| rest + digits).find(|sum| sum.to_string().len() + rest == *sum);
            text.extend_from_slice(format!("{} {name}=", length.unwrap()).as_bytes());
            text.extend_from_slice(value);
            text.push(b'\n');
        }
        self.entry(b'x', "pax", 0o644, "", &text)
    }

    pub fn device(mut self, path: &str, major: u32, minor: u32) -> Builder {
        self.add(b'3', path.as_bytes(), 0o600, b"", 0, b"", |block| {
            block[329..336].copy_from_slice(format!("{major:07o}").as_bytes());
            block[337..344].copy_from_slice(format!("{minor:07o}").as_bytes());
        });
        self
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a header")]
    pub fn add(
        &mut self,
        flag: u8,
        path: &[u8],
        mode: u32,
        link: &[u8],
        size: u64,
        content: &[u8],
        change: impl FnOnce(&mut [u8; BLOCK]),
    ) {
        let mut block = [0; BLOCK];
        block[..path.len().min(100)].copy_from_slice(&path[..path.len().min(100)]);
        block[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
        block[108..115].copy_from_slice(b"0000000");
        block[116..123].copy_from_slice(b"0000000");
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[136..147].copy_from_slice(format!("{:011o}", 1_000_000_000).as_bytes());
        block[148..156].copy_from_slice(b"        ");
        block[156] = flag;
        block[157..157 + link.len()].copy_from_slice(link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        change(&mut block);
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0.extend_from_slice(&block);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
    }

    pub fn raw(mut self, bytes: &[u8]) -> Builder {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn end(self) -> Vec<u8> {
        self.raw(&[0; 2 * BLOCK]).0
    }
}

fn entries(tar: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>> {
    let mut archive = Archive::new(tar);
    let mut found = Vec::new();
    while let Some(entry) = archive.next_entry()? {
        let (mut content, mut buffer) = (Vec::new(), [0; 7]);
        loop {
            match archive.read_content(&mut buffer)? {
                0 => break,
                length => content.extend_from_slice(&buffer[..length]),
            }
        }
        found.push((entry, content));
    }
    Ok(found)
}

#[test]
fn entries_come_with_their_content() {
    let tar = Builder::default()
        .folder("d/")
        .file("d/f", b"some content")
        .entry(b'2', "l", 0o777, "d/f", b"")
        .end();
    let found = entries(&tar).unwrap();
    assert_eq!(found.len(), 3);
    assert_eq!((&found[0].0.path[..], &found[0].0.kind), (&b"d/"[..], &EntryKind::Folder));
    assert_eq!((found[1].0.size, &found[1].1[..]), (12, &b"some content"[..]));
    assert_eq!(found[1].0.mtime, Time { seconds: 1_000_000_000, nanoseconds: 0 });
    assert_eq!(found[2].0.kind, EntryKind::SymbolicLink(b"d/f".to_vec()));
}

#[test]
fn long_names_of_gnu_and_pax() {
    let long = "n".repeat(300);
    let gnu = Builder::default()
        .entry(b'L', "././@LongLink", 0, "", format!("{long}\0").as_bytes())
        .entry(b'K', "././@LongLink", 0, "", format!("{long}/to\0").as_bytes())
        .entry(b'2', "short", 0o777, "short", b"")
        .end();
    let found = entries(&gnu).unwrap();
    assert_eq!(found[0].0.path, long.as_bytes());
    assert_eq!(found[0].0.kind, EntryKind::SymbolicLink(format!("{long}/to").into_bytes()));
    let pax = Builder::default()
        .pax(&[("path", long.as_bytes()), ("uid", b"4000000"), ("mtime", b"1.5")])
        .file("short", b"x")
        .file("next", b"")
        .end();
    let found = entries(&pax).unwrap();
    assert_eq!((&found[0].0.path[..], found[0].0.uid), (long.as_bytes(), 4_000_000));
    assert_eq!(found[0].0.mtime, Time { seconds: 1, nanoseconds: 500_000_000 });
    assert_eq!((&found[1].0.path[..], found[1].0.uid), (&b"next"[..], 0));
}

/// Nothing follows what has no content, whatever is said of its size.
#[test]
fn sizes_of_what_has_no_content() {
    for flag in b'1'..=b'6' {
        let tar = Builder::default()
            .pax(&[("size", b"1024")])
            .entry(flag, "it", 0o644, "to", b"")
            .file("next", b"content")
            .end();
        let found = entries(&tar).unwrap();
        assert_eq!(found.len(), 2, "{}", char::from(flag));
        assert_eq!(
            (found[0].0.size, &found[1].0.path[..], &found[1].1[..]),
            (0, &b"next"[..], &b"content"[..])
        );
    }
    let tar = Builder::default()
        .pax(&[("size", b"7")])
        .entry(b'0', "it", 0, "", b"")
        .raw(b"content")
        .raw(&[0; 505]);
    assert_eq!(entries(&tar.end()).unwrap()[0].1, b"content");
}

#[test]
fn sparse_files_in_each_form() {
    let expected = Some(vec![Segment { offset: 4096, length: 3 }, Segment { offset: 8192, length: 2 }]);
    type Records = &'static [(&'static str, &'static [u8])];
    let forms: [(Records, &[u8]); 3] = [
        (
            &[
                ("GNU.sparse.size", b"10000"),
                ("GNU.sparse.offset", b"4096"),
                ("GNU.sparse.numbytes", b"3"),
                ("GNU.sparse.offset", b"8192"),
                ("GNU.sparse.numbytes", b"2"),
            ],
            b"abcde",
        ),
        (&[("GNU.sparse.size", b"10000"), ("GNU.sparse.map", b"4096,3,8192,2")], b"abcde"),
        (
            &[("GNU.sparse.major", b"1"), ("GNU.sparse.name", b"real"), ("GNU.sparse.realsize", b"10000")],
            b"2\n4096\n3\n8192\n2\n",
        ),
    ];
    for (records, content) in forms {
        let mut content = content.to_vec();
        if content.starts_with(b"2\n") {
            content.resize(BLOCK, 0);
            content.extend_from_slice(b"abcde");
        }
        let tar = Builder::default().pax(records).file("name", &content).end();
        let found = entries(&tar).unwrap();
        let (entry, data) = &found[0];
        assert_eq!((entry.size, &data[..]), (10000, &b"abcde"[..]), "{records:?}");
        assert_eq!(entry.segments, expected);
    }
    let mut gnu = Builder::default();
    gnu.add(b'S', b"gnu", 0o644, b"", 5, b"abcde", |block| {
        for (index, number) in [4096, 3, 8192, 2].into_iter().enumerate() {
            let start = 386 + 12 * index;
            block[start..start + 11].copy_from_slice(format!("{number:011o}").as_bytes());
        }
        block[483..494].copy_from_slice(format!("{:011o}", 10000).as_bytes());
    });
    let found = entries(&gnu.end()).unwrap();
    assert_eq!((found[0].0.size, &found[0].0.segments), (10000, &expected));
}

#[test]
fn what_is_broken_is_refused() {
    let good = Builder::default().file("f", b"content").end();
    let refused = |tar: &[u8]| entries(tar).unwrap_err().to_string();
    assert!(refused(&good[..700]).contains("cut"));
    assert!(refused(&good[..600]).contains("cut"));
    assert!(refused(b"this is no tar").contains("cut"));
    let mut flipped = good.clone();
    flipped[0] ^= 1;
    assert!(refused(&flipped).contains("checksum"));
    assert!(refused(&Builder::default().raw(&[0; BLOCK]).file("f", b"").end()).contains("more behind it"));
    assert!(refused(&Builder::default().entry(b'V', "v", 0, "", b"").end()).contains("'V'"));
    let beyond = [("GNU.sparse.size", &b"10"[..]), ("GNU.sparse.map", b"9,3")];
    assert!(refused(&Builder::default().pax(&beyond).file("f", b"abc").end()).contains("beyond its end"));
    for size in ["9223372036854775807", "18446744073709551615", "18446744073709551616"] {
        let pax =
            |name: &'static str| Builder::default().pax(&[(name, size.as_bytes())]).file("f", b"").end();
        for name in ["size", "GNU.sparse.size", "GNU.sparse.realsize"] {
            assert!(refused(&pax(name)).contains(size), "{name} {size}");
        }
    }
    let huge = [("uid", &b"4294967295"[..])];
    assert!(refused(&Builder::default().pax(&huge).file("f", b"").end()).contains("4294967294"));
    // Nothing at all, and an end that is not there, are tars for everybody else, too.
    assert_eq!(entries(b"").unwrap().len(), 0);
    assert_eq!(entries(&good[..1024]).unwrap().len(), 1);
}
