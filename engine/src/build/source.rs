//! Where context and Dockerfile come from: streams and addresses.

use std::io::Read;

use super::address::GitAddress;
use super::options::{ContextSource, DockerfileSource};
use super::syntax::TEXT_MAX;
use crate::error::{Context, Error, Result};
use crate::layer::is_compressed;
use crate::registry::download;

impl DockerfileSource {
    /// A text that is read to its end.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of_text(stream: impl Read, name: &str) -> Result<DockerfileSource> {
        let mut text = String::new();
        stream.take(TEXT_MAX).read_to_string(&mut text).context(|| name.to_string())?;
        Ok(DockerfileSource::Text { name: "Dockerfile".to_string(), text, ignored: None })
    }
}

impl ContextSource {
    /// Whether a text is an address, and no path.
    pub fn is_address(text: &str) -> bool {
        is_url(text) || GitAddress::is_one(text)
    }

    /// What an address leads to.
    ///
    /// # Errors
    /// Nobody answers.
    pub fn of_address(
        address: &str,
        dockerfile: DockerfileSource,
    ) -> Result<(ContextSource, DockerfileSource)> {
        if GitAddress::is_one(address) {
            return Ok((ContextSource::Git(GitAddress::parse(address)?), dockerfile));
        }
        ContextSource::of_stream(download(address)?.body, address, dockerfile)
    }

    /// A tar is the context, anything else the Dockerfile, without a context.
    ///
    /// # Errors
    /// It cannot be read; it is no tar, and there is a Dockerfile already.
    pub fn of_stream(
        mut stream: Box<dyn Read + Send>,
        name: &str,
        dockerfile: DockerfileSource,
    ) -> Result<(ContextSource, DockerfileSource)> {
        let mut beginning = Vec::new();
        stream.by_ref().take(512).read_to_end(&mut beginning).context(|| name.to_string())?;
        let is_tar = beginning.get(257..262) == Some(b"ustar")
            || (beginning.len() == 512 && beginning[..256].contains(&0));
        let is_archive = is_compressed(&beginning) || is_tar;
        let whole = std::io::Cursor::new(beginning).chain(stream);
        if is_archive {
            return Ok((ContextSource::Tar(Box::new(whole)), dockerfile));
        }
        match dockerfile {
            DockerfileSource::Usual => Ok((ContextSource::Nothing, DockerfileSource::of_text(whole, name)?)),
            _ => Err(Error::invalid(format!("{name}: it is no tar, and so no context for --file"))),
        }
    }
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}
