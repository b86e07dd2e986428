//! Data that objects carry for their makers; the kernel does not look at it. nft(8) keeps comments there:
//! type, length and text with its NUL (libnftnl/udata.h).

use crate::error::{Error, Result};

/// The kernel keeps no more bytes (`NFT_USERDATA_MAXLEN`).
const MAX: usize = 256;

/// `NFTNL_UDATA_RULE_COMMENT`, and the same of tables, chains and elements.
const COMMENT: u8 = 0;

/// Bytes that an object carries for its maker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Userdata(pub Vec<u8>);

impl Userdata {
    /// A comment as nft(8) shows it. One of more than 253 bytes is refused when it is added to a batch.
    pub fn comment(text: &str) -> Self {
        Userdata::default().with(COMMENT, &[text.as_bytes(), &[0]].concat())
    }

    /// The comment, where there is one; bytes that are not UTF-8 are replaced.
    pub fn as_comment(&self) -> Option<String> {
        self.get(COMMENT).map(crate::reply::read_string)
    }

    /// Adds one entry. A length that does not fit makes the whole too long, which `checked` finds.
    pub(super) fn with(mut self, kind: u8, payload: &[u8]) -> Self {
        self.0.extend_from_slice(&[kind, u8::try_from(payload.len()).unwrap_or(u8::MAX)]);
        self.0.extend_from_slice(payload);
        self
    }

    /// The first entry of that type.
    pub(super) fn get(&self, wanted: u8) -> Option<&[u8]> {
        let mut rest = &self.0[..];
        while let &[kind, length, ref behind @ ..] = rest {
            let (payload, others) = behind.split_at_checked(length.into())?;
            if kind == wanted {
                return Some(payload);
            }
            rest = others;
        }
        None
    }

    /// The bytes, unless they are too many for `what`.
    pub(super) fn checked(&self, what: &str) -> Result<&[u8]> {
        if self.0.len() > MAX {
            let length = self.0.len();
            return Err(Error::invalid(format_args!(
                "{what}: {length} bytes of userdata, at most {MAX} are kept"
            )));
        }
        Ok(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_what_nft_makes_of_them() {
        let userdata = Userdata::comment("publish");
        assert_eq!(userdata.0, b"\x00\x08publish\0");
        assert_eq!(userdata.as_comment().as_deref(), Some("publish"));
        assert_eq!(Userdata(vec![1, 4, 0, 0, 0, 0, 0, 2, b'c', 0]).as_comment().as_deref(), Some("c"));
        assert_eq!(Userdata(vec![0, 9, b'c']).as_comment(), None);
        assert!(Userdata::comment(&"c".repeat(253)).checked("rule").is_ok());
        assert!(Userdata::comment(&"c".repeat(254)).checked("rule").is_err());
        assert!(Userdata::comment(&"c".repeat(4000)).checked("rule").is_err());
    }
}
