//! A disk with a cache that loses what was not flushed when its power is cut: a server of the NBD protocol
//! (github.com/NetworkBlockDevice/nbd, doc/proto.md), to which QEMU connects.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What a disk writes as a whole.
const BLOCK: usize = 4096;

/// Numbers of the protocol.
mod nbd {
    pub const HELLO: u64 = 0x4e42_444d_4147_4943;
    pub const OPTION: u64 = 0x4948_4156_454f_5054;
    pub const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
    pub const REQUEST: u32 = 0x2560_9513;
    pub const REPLY: u32 = 0x6744_6698;
    /// Fixed newstyle, no zeroes.
    pub const HANDSHAKE: u16 = 0b11;
    /// Has flags, flush, FUA.
    pub const FLAGS: u16 = 0b1101;
    pub const OPT_ABORT: u32 = 2;
    pub const OPT_INFO: u32 = 6;
    pub const OPT_GO: u32 = 7;
    pub const REP_ACK: u32 = 1;
    pub const REP_INFO: u32 = 3;
    pub const REP_UNSUPPORTED: u32 = (1 << 31) + 1;
    pub const READ: u16 = 0;
    pub const WRITE: u16 = 1;
    pub const DISCONNECT: u16 = 2;
    pub const FLUSH: u16 = 3;
    pub const FORCE_UNIT_ACCESS: u16 = 1;
    pub const INVALID: u32 = 22;
}

/// The content: what survives, and what is only in the cache, by the number of the block.
struct Content {
    safe: Vec<u8>,
    cache: BTreeMap<usize, Box<[u8; BLOCK]>>,
}

impl Content {
    fn read(&self, offset: usize, target: &mut [u8]) {
        target.copy_from_slice(&self.safe[offset..offset + target.len()]);
        let (first, last) = (offset / BLOCK, (offset + target.len()).div_ceil(BLOCK));
        for (number, block) in self.cache.range(first..last) {
            let start = number * BLOCK;
            let (from, to) = (start.max(offset), (start + BLOCK).min(offset + target.len()));
            target[from - offset..to - offset].copy_from_slice(&block[from - start..to - start]);
        }
    }

    fn write(&mut self, mut offset: usize, mut source: &[u8]) {
        while !source.is_empty() {
            let (number, within) = (offset / BLOCK, offset % BLOCK);
            let length = source.len().min(BLOCK - within);
            let safe = &self.safe[number * BLOCK..(number + 1) * BLOCK];
            let block = self.cache.entry(number).or_insert_with(|| {
                let mut block = Box::new([0; BLOCK]);
                block.copy_from_slice(safe);
                block
            });
            block[within..within + length].copy_from_slice(&source[..length]);
            (offset, source) = (offset + length, &source[length..]);
        }
    }

    fn flush(&mut self) {
        for (number, block) in std::mem::take(&mut self.cache) {
            self.safe[number * BLOCK..(number + 1) * BLOCK].copy_from_slice(&*block);
        }
    }
}

/// A disk that guests can be given one after another.
pub struct Disk {
    content: Arc<Mutex<Content>>,
    socket: PathBuf,
}

impl Disk {
    /// A disk with this content, which is served at `socket`.
    pub fn new(mut content: Vec<u8>, socket: &Path) -> io::Result<Disk> {
        content.resize(content.len().next_multiple_of(BLOCK), 0);
        let content = Arc::new(Mutex::new(Content { safe: content, cache: BTreeMap::new() }));
        let listener = UnixListener::bind(socket)?;
        let served = content.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                // An emulator that is killed is gone in the middle of a word.
                thread::spawn(move || serve(stream, &served).ok());
            }
        });
        Ok(Disk { content, socket: socket.to_path_buf() })
    }

    /// What QEMU is told.
    pub fn arguments(&self) -> [String; 4] {
        let server = format!("file.server.type=unix,file.server.path={}", self.socket.display());
        let drive = format!("file.driver=nbd,{server},if=none,id=disk,format=raw,cache=writeback");
        ["-drive".into(), drive, "-device".into(), "virtio-blk-pci,drive=disk".into()]
    }

    /// The power is cut: of what was not flushed some blocks have reached the disk, which ones `keeps` says. Returns how many
    /// there were, and how many were lost.
    pub fn cut(&self, mut keeps: impl FnMut() -> bool) -> (usize, usize) {
        let mut content = lock(&self.content);
        let cache = std::mem::take(&mut content.cache);
        let (count, mut lost) = (cache.len(), 0);
        for (number, block) in cache {
            match keeps() {
                true => content.safe[number * BLOCK..(number + 1) * BLOCK].copy_from_slice(&*block),
                false => lost += 1,
            }
        }
        (count, lost)
    }
}

fn lock(content: &Mutex<Content>) -> MutexGuard<'_, Content> {
    content.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut stream: UnixStream, content: &Mutex<Content>) -> io::Result<()> {
    if negotiate(&mut stream, lock(content).safe.len())? {
        while transfer(&mut stream, content)? {}
    }
    Ok(())
}

/// The handshake; false if the client has gone.
fn negotiate(stream: &mut UnixStream, size: usize) -> io::Result<bool> {
    stream.write_all(
        &[&nbd::HELLO.to_be_bytes()[..], &nbd::OPTION.to_be_bytes(), &nbd::HANDSHAKE.to_be_bytes()].concat(),
    )?;
    let _flags: [u8; 4] = read(stream)?;
    loop {
        if u64::from_be_bytes(read(stream)?) != nbd::OPTION {
            return Err(io::Error::other("nbd: no option"));
        }
        let option = u32::from_be_bytes(read(stream)?);
        let length = u32::from_be_bytes(read(stream)?) as usize;
        stream.read_exact(&mut vec![0; length])?;
        let mut reply = |kind: u32, data: &[u8]| {
            let head =
                [&nbd::OPTION_REPLY.to_be_bytes()[..], &option.to_be_bytes(), &kind.to_be_bytes()].concat();
            let length = u32::try_from(data.len()).map_err(io::Error::other)?;
            stream.write_all(&[&head, &length.to_be_bytes()[..], data].concat())
        };
        match option {
            nbd::OPT_GO | nbd::OPT_INFO => {
                // NBD_INFO_EXPORT: the size and the flags.
                let export =
                    [&0u16.to_be_bytes()[..], &(size as u64).to_be_bytes(), &nbd::FLAGS.to_be_bytes()]
                        .concat();
                reply(nbd::REP_INFO, &export)?;
                reply(nbd::REP_ACK, &[])?;
                if option == nbd::OPT_GO {
                    return Ok(true);
                }
            }
            nbd::OPT_ABORT => {
                reply(nbd::REP_ACK, &[])?;
                return Ok(false);
            }
            _ => reply(nbd::REP_UNSUPPORTED, &[])?,
        }
    }
}

/// One request; false if it was the last one.
fn transfer(stream: &mut UnixStream, content: &Mutex<Content>) -> io::Result<bool> {
    if u32::from_be_bytes(read(stream)?) != nbd::REQUEST {
        return Err(io::Error::other("nbd: no request"));
    }
    let flags = u16::from_be_bytes(read(stream)?);
    let kind = u16::from_be_bytes(read(stream)?);
    let cookie: [u8; 8] = read(stream)?;
    let offset = usize::try_from(u64::from_be_bytes(read(stream)?)).map_err(io::Error::other)?;
    let length = u32::from_be_bytes(read(stream)?) as usize;
    let mut data = Vec::new();
    if kind == nbd::WRITE {
        data.resize(length, 0);
        stream.read_exact(&mut data)?;
    }
    let mut content = lock(content);
    let is_within = offset.checked_add(length).is_some_and(|end| end <= content.safe.len());
    let mut error = 0;
    match kind {
        nbd::DISCONNECT => return Ok(false),
        nbd::READ if is_within => {
            data.resize(length, 0);
            content.read(offset, &mut data);
        }
        nbd::WRITE if is_within => {
            content.write(offset, &data);
            data.clear();
            // Whatever else is in the cache gets there earlier than it must, which a disk may do.
            if flags & nbd::FORCE_UNIT_ACCESS != 0 {
                content.flush();
            }
        }
        nbd::FLUSH => content.flush(),
        _ => {
            data.clear();
            error = nbd::INVALID;
        }
    }
    drop(content);
    stream.write_all(&[&nbd::REPLY.to_be_bytes()[..], &error.to_be_bytes(), &cookie, &data].concat())?;
    Ok(true)
}

fn read<const N: usize>(stream: &mut UnixStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_flushed_survives_and_the_rest_may_not() {
        let mut content = Content { safe: vec![0; 4 * BLOCK], cache: BTreeMap::new() };
        content.write(BLOCK - 2, &[1; 4]);
        content.flush();
        content.write(3 * BLOCK, &[2; 8]);
        let mut found = [9; 6];
        content.read(BLOCK - 3, &mut found);
        assert_eq!(found, [0, 1, 1, 1, 1, 0]);
        content.read(3 * BLOCK + 4, &mut found);
        assert_eq!(found, [2, 2, 2, 2, 0, 0]);
        let content = Arc::new(Mutex::new(content));
        let disk = Disk { content: content.clone(), socket: PathBuf::new() };
        assert_eq!(disk.cut(|| false), (1, 1));
        lock(&content).read(3 * BLOCK, &mut found);
        assert_eq!(found, [0; 6]);
        lock(&content).read(BLOCK, &mut found);
        assert_eq!(found, [1, 1, 0, 0, 0, 0]);
    }
}
