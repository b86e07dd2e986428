//! A file that a client sends once, as docker sends its stdin.

use std::io::{Read, Write};
use std::sync::Arc;

use super::message::Bytes;
use super::session::Session;
use super::status::Status;
use crate::layer::pipe;

/// The call, and how it says which file it is.
const METHOD: &str = "/moby.upload.v1.Upload/Pull";
const PATH: &str = "urlpath";
const HOST: (&str, &str) = ("urlhost", "buildkit-session");

/// How addresses of such files begin.
const ADDRESS: &str = "http://buildkit-session";

/// What a thread may have on its stack.
const STACK: usize = 512 << 10;

/// The path of such a file, if an address is one.
pub fn path_of(address: &str) -> Option<&str> {
    address.strip_prefix(ADDRESS).filter(|path| path.starts_with('/'))
}

/// The file, as it comes.
///
/// # Errors
/// The client does not send it.
pub fn receive(session: &Arc<Session>, path: &str) -> Result<Box<dyn Read + Send>, Status> {
    let (mut outgoing, mut incoming) = session.call(METHOD, &[(PATH, path), HOST])?;
    outgoing.end()?;
    let (mut feed, drain) = pipe();
    let pass_on = move || {
        loop {
            match incoming.next() {
                Ok(Some(Bytes { data })) if feed.write_all(&data).is_ok() => {}
                // What is cut is no end: whoever reads it sees that.
                Ok(Some(_)) | Err(_) => return,
                Ok(None) => break,
            }
        }
        let _ = feed.end();
    };
    std::thread::Builder::new().stack_size(STACK).spawn(pass_on)?;
    Ok(Box::new(drain))
}
