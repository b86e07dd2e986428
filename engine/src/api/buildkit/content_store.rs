//! Caches in folders of the client's, which it serves as a store of blobs: containerd's `Content`.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use super::frame::{Incoming, Outgoing};
use super::message::{ContentPiece, ContentRead, ContentWrite, ContentWritten, InfoRequest, InfoResponse};
use super::session::Session;
use super::status::{EXISTS, NOT_FOUND, Status};
use crate::build::Shelf;
use crate::command::CacheFolder;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{DOCUMENT_MAX, Descriptor};

/// The calls, and how they say which store it is.
const INFO: &str = "/containerd.services.content.v1.Content/Info";
const READ: &str = "/containerd.services.content.v1.Content/Read";
const WRITE: &str = "/containerd.services.content.v1.Content/Write";
const STORE: &str = "buildkit-attachable-store-id";

/// How many bytes go in a message.
const PIECE: usize = 64 << 10;

/// What is done with a piece.
const TO_WRITE: i32 = 1;
const TO_COMMIT: i32 = 2;

/// A folder of the client's.
pub struct ContentStore {
    session: Arc<Session>,
    /// Its name among the client's stores.
    id: String,
    /// What it is asked for first.
    top: Option<Digest>,
    /// What it has got.
    finished: Mutex<Option<Descriptor>>,
}

impl ContentStore {
    /// Of a session, by its name there.
    pub fn new(session: Arc<Session>, id: String, top: Option<Digest>) -> ContentStore {
        ContentStore { session, id, top, finished: Mutex::default() }
    }

    /// A folder for caches.
    pub fn of_folder(session: Arc<Session>, folder: &CacheFolder) -> ContentStore {
        ContentStore::new(session, format!("local:{}", folder.path.display()), folder.digest)
    }

    /// The manifest of the cache that was made, which the client writes into the folder's index.
    pub fn finished(&self) -> Option<String> {
        let finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        finished.as_ref().map(|manifest| json!(manifest).to_string())
    }

    fn metadata(&self) -> [(&'static str, &str); 1] {
        [(STORE, self.id.as_str())]
    }

    fn read(&self, digest: &Digest) -> std::result::Result<Reader, Status> {
        let (mut outgoing, incoming) = self.session.call(READ, &self.metadata())?;
        outgoing.send_last(&ContentRead { digest: digest.to_string(), offset: 0, size: 0 })?;
        Ok(Reader { _outgoing: outgoing, incoming, piece: bytes::Bytes::new() })
    }

    fn write(&self, blob: &Descriptor, content: &mut dyn Read) -> std::result::Result<(), Status> {
        let (mut outgoing, mut incoming) = self.session.call(WRITE, &self.metadata())?;
        let (expected, total) = (blob.digest.to_string(), blob.size.cast_signed());
        let mut offset = 0;
        let mut buffer = vec![0; PIECE];
        loop {
            let length = content.read(&mut buffer)?;
            let data = bytes::Bytes::copy_from_slice(&buffer[..length]);
            let action = if length == 0 { TO_COMMIT } else { TO_WRITE };
            let (reference, expected) = (format!("cache-{}", blob.digest), expected.clone());
            let piece = ContentWrite { action, reference, total, expected, offset, data };
            if let Err(status) = outgoing.send(&piece) {
                return there(incoming.reason(status));
            }
            match incoming.next::<ContentWritten>() {
                Ok(Some(_)) if length == 0 => {
                    // Most clients have ended then.
                    let _ = outgoing.end();
                    return Ok(());
                }
                Ok(Some(_)) => offset += length as i64,
                Ok(None) => {
                    return Err(Status::invalid(format!("{}: the client takes no more", blob.digest)));
                }
                Err(status) => return there(status),
            }
        }
    }
}

/// What is there need not be written.
fn there(status: Status) -> std::result::Result<(), Status> {
    if status.code == EXISTS { Ok(()) } else { Err(status) }
}

impl std::fmt::Debug for ContentStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("ContentStore").field(&self.id).finish()
    }
}

impl Shelf for ContentStore {
    fn name(&self) -> String {
        self.id.split_once(':').map_or(self.id.clone(), |(_, name)| name.to_string())
    }

    fn document(&self, descriptor: Option<&Descriptor>) -> Result<Vec<u8>> {
        // The client has looked for the name in the folder's index.
        let digest = descriptor.map(|found| found.digest).or(self.top);
        let digest = digest.ok_or_else(|| Error::not_found("the client says no digest"))?;
        let mut text = Vec::new();
        self.read(&digest)?.take(DOCUMENT_MAX + 1).read_to_end(&mut text)?;
        match Digest::of(&text) {
            found if found == digest => Ok(text),
            found => Err(Error::corrupt(format!("blob {digest}: its content has the digest {found}"))),
        }
    }

    fn open<'s>(&'s self, blob: &'s Descriptor) -> Result<Box<dyn Read + Send + 's>> {
        Ok(Box::new(self.read(&blob.digest)?))
    }

    fn has(&self, blob: &Descriptor) -> Result<bool> {
        let question = InfoRequest { digest: blob.digest.to_string() };
        match self.session.ask::<InfoResponse>(INFO, &self.metadata(), &question) {
            Ok(_) => Ok(true),
            Err(Status { code: NOT_FOUND, .. }) => Ok(false),
            Err(status) => Err(status.into()),
        }
    }

    fn put(&self, blob: &Descriptor, mut file: &File) -> Result<()> {
        Ok(self.write(blob, &mut file)?)
    }

    fn finish(&self, manifest: &Descriptor, mut text: &[u8]) -> Result<()> {
        self.write(manifest, &mut text)?;
        *self.finished.lock().unwrap_or_else(PoisonError::into_inner) = Some(manifest.clone());
        Ok(())
    }
}

/// A blob on its way.
struct Reader {
    /// Whoever lets go of it wants no more.
    _outgoing: Outgoing,
    incoming: Incoming,
    piece: bytes::Bytes,
}

impl Read for Reader {
    fn read(&mut self, mut buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.piece.is_empty() {
            match self.incoming.next::<ContentPiece>() {
                Ok(Some(ContentPiece { data, .. })) => self.piece = data,
                Ok(None) => return Ok(0),
                Err(status) => return Err(std::io::Error::other(status.message)),
            }
        }
        let length = buffer.len().min(self.piece.len());
        buffer.write_all(&self.piece.split_to(length)).map(|()| length)
    }
}
