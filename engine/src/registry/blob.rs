//! A blob as a stream that goes on where its connection broke.

use std::io::{Error as IoError, Read};

use ureq::BodyReader;
use ureq::http::{Method, StatusCode, header};

use super::Registry;
use super::http::Request;
use super::patience::{ATTEMPTS, pause};
use crate::error::{Error, Result};
use crate::image::Descriptor;

/// Reads a blob from a position on. Its digest is the reader's to check.
pub struct BlobReader<'r> {
    registry: &'r Registry,
    descriptor: &'r Descriptor,
    position: u64,
    body: Option<BodyReader<'static>>,
    /// Since something came.
    failures: u32,
}

impl Registry {
    /// A blob from `position` on.
    pub fn blob<'r>(&'r self, descriptor: &'r Descriptor, position: u64) -> BlobReader<'r> {
        BlobReader { registry: self, descriptor, position, body: None, failures: 0 }
    }
}

impl BlobReader<'_> {
    /// A connection that stands where the last one broke; `None` if it ends before that.
    fn open(&mut self) -> Result<Option<BodyReader<'static>>> {
        let Descriptor { digest, size, .. } = self.descriptor;
        let what = format!("blob {digest}");
        let mut request = Request::new(Method::GET, self.registry.url(&format!("blobs/{digest}")));
        if self.position > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", self.position));
        }
        let answer = self.registry.send(&request)?;
        let begin = match answer.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = answer.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
                range.and_then(begin_of).ok_or_else(|| {
                    Error::corrupt(format!("{what}: a part of it without a Content-Range: {range:?}"))
                })?
            }
            StatusCode::OK => 0,
            _ => return Err(self.registry.refusal(&what, answer)),
        };
        if begin > self.position {
            return Err(Error::corrupt(format!("{what}: from {begin} on instead of {}", self.position)));
        }
        let length = answer.body().content_length();
        let total = length.map(|length| begin.saturating_add(length));
        if let Some(total) = total.filter(|total| total != size) {
            return Err(Error::corrupt(format!("{what}: {total} bytes instead of the manifest's {size}")));
        }
        let mut body = answer.into_body().into_with_config().limit(u64::MAX).reader();
        // From a registry that knows no ranges.
        let left = self.position - begin;
        let passed = std::io::copy(&mut (&mut body).take(left), &mut std::io::sink());
        Ok(passed.is_ok_and(|passed| passed == left).then_some(body))
    }

    /// One attempt; `None` where the connection ends too early.
    fn try_read(&mut self, buffer: &mut [u8]) -> Result<std::result::Result<usize, IoError>> {
        let opened = match self.body.take() {
            Some(body) => Some(body),
            None => self.open()?,
        };
        let Some(mut body) = opened else { return Ok(Err(std::io::ErrorKind::UnexpectedEof.into())) };
        let read = match body.read(buffer) {
            Ok(0) => Err(IoError::from(std::io::ErrorKind::UnexpectedEof)),
            read => read,
        };
        if read.is_ok() {
            self.body = Some(body);
        }
        Ok(read)
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.descriptor.size - self.position.min(self.descriptor.size);
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        loop {
            let error = match self.try_read(&mut buffer[..most]).map_err(IoError::other)? {
                Ok(length) => {
                    self.position += length as u64;
                    self.failures = 0;
                    return Ok(length);
                }
                Err(error) => error,
            };
            self.failures += 1;
            if self.failures == ATTEMPTS {
                let Descriptor { digest, size, .. } = self.descriptor;
                let at = self.position;
                let text = format!(
                    "blob {digest}: the connection broke {ATTEMPTS} times at byte {at} of {size}: {error}"
                );
                return Err(IoError::other(Error::new(crate::Kind::Host, text)));
            }
            let stop = self.registry.http.stop();
            pause(stop, None, self.failures, &error.to_string()).map_err(IoError::other)?;
        }
    }
}

/// `bytes 5-9/10`.
fn begin_of(range: &str) -> Option<u64> {
    range.trim().strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_begin_somewhere() {
        assert_eq!(begin_of("bytes 5-9/10"), Some(5));
        assert_eq!(begin_of("bytes 5-9/*"), Some(5));
        assert_eq!(begin_of("bytes */10"), None);
        assert_eq!(begin_of("5-9"), None);
    }
}
