//! One header block: POSIX' ustar, GNU's variant, and what there was before both.

use super::{Device, Time};
use crate::error::{Error, Result};

/// Everything in a tar comes in blocks of this many bytes.
pub const BLOCK: usize = 512;

/// A header whose checksum is right.
pub struct Header([u8; BLOCK]);

/// Where GNU's sparse headers have their first segments, and how many.
pub const GNU_SEGMENTS: (usize, usize) = (386, 4);

impl Header {
    /// # Errors
    /// The checksum is not that of the block.
    pub fn check(block: [u8; BLOCK]) -> Result<Header> {
        let header = Header(block);
        let said = number(&block[148..156])?;
        // The checksum counts as spaces. Some sum signed bytes.
        let (mut unsigned, mut signed) = (0u64, 0i64);
        for (index, &byte) in block.iter().enumerate() {
            let byte = if (148..156).contains(&index) { b' ' } else { byte };
            unsigned += u64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        if said == unsigned || i64::try_from(said) == Ok(signed) {
            Ok(header)
        } else {
            Err(Error::corrupt("no tar: the checksum of a header is wrong"))
        }
    }

    /// What kind of entry it is.
    pub fn flag(&self) -> u8 {
        self.0[156]
    }

    /// The path, with POSIX' prefix.
    pub fn path(&self) -> Vec<u8> {
        let name = text(&self.0[0..100]);
        let prefix = text(&self.0[345..500]);
        // GNU has other things there.
        if self.0[257..263] != *b"ustar\0" || prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    /// Where a link leads.
    pub fn link(&self) -> Vec<u8> {
        text(&self.0[157..257]).to_vec()
    }

    /// The length of the content in the tar.
    pub fn size(&self) -> Result<u64> {
        match self.has_content() {
            false => Ok(0),
            true => number(&self.0[124..136]).and_then(length),
        }
    }

    /// Whether content follows. Of links, devices and folders some say a size, and have none.
    pub fn has_content(&self) -> bool {
        !matches!(self.flag(), b'1'..=b'6')
    }

    /// Of GNU's sparse files, with holes.
    pub fn real_size(&self) -> Result<u64> {
        number(&self.0[483..495]).and_then(length)
    }

    /// Segments of GNU's sparse files.
    pub fn segments(&self) -> &[u8] {
        let (start, count) = GNU_SEGMENTS;
        &self.0[start..start + 24 * count]
    }

    /// Whether a block with more segments follows.
    pub fn is_continued(&self) -> bool {
        self.0[482] != 0
    }

    pub fn mode(&self) -> Result<u32> {
        number(&self.0[100..108]).map(|mode| (mode & 0o7777) as u32)
    }

    pub fn uid(&self) -> Result<u32> {
        id(number(&self.0[108..116])?)
    }

    pub fn gid(&self) -> Result<u32> {
        id(number(&self.0[116..124])?)
    }

    pub fn mtime(&self) -> Result<Time> {
        Ok(Time { seconds: signed_number(&self.0[136..148])?, nanoseconds: 0 })
    }

    pub fn device(&self) -> Result<Device> {
        let part = |range: std::ops::Range<usize>| {
            let value = number(&self.0[range])?;
            u32::try_from(value).map_err(|_| Error::corrupt(format!("a device with the number {value}")))
        };
        Ok(Device { major: part(329..337)?, minor: part(337..345)? })
    }
}

/// The length of an entry's content, which the padding must not make longer than a file may be.
pub fn length(size: u64) -> Result<u64> {
    match size {
        0..0x7fff_ffff_ffff_fe00 => Ok(size),
        _ => Err(Error::corrupt(format!("the tar says that an entry has {size} bytes"))),
    }
}

/// A user or group: the largest number means none to the kernel.
pub fn id(value: u64) -> Result<u32> {
    match u32::try_from(value) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(Error::corrupt(format!(
            "an owner with the number {value}: the kernel knows none above 4294967294"
        ))),
    }
}

pub fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|&byte| byte == 0)
}

fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// A number in octal, or in GNU's binary form.
pub fn number(field: &[u8]) -> Result<u64> {
    u64::try_from(signed_number(field)?)
        .map_err(|_| Error::corrupt("no tar: a number in a header is negative"))
}

fn signed_number(field: &[u8]) -> Result<i64> {
    let wrong =
        || Error::corrupt(format!("no tar: {:?} in a header is no number", String::from_utf8_lossy(field)));
    if field[0] & 0x80 != 0 {
        // The next bit is the sign of a number in two's complement.
        let first = if field[0] & 0x40 != 0 { -1 } else { i64::from(field[0] & 0x3f) };
        return field[1..].iter().try_fold(first, |value, &byte| {
            value.checked_mul(256).map(|value| value | i64::from(byte)).ok_or_else(wrong)
        });
    }
    let digits = text(field).trim_ascii();
    digits.iter().try_fold(0i64, |value, &digit| match digit {
        b'0'..=b'7' => value.checked_mul(8).map(|value| value | i64::from(digit - b'0')).ok_or_else(wrong),
        _ => Err(wrong()),
    })
}

/// A decimal number.
pub fn decimal(text: &[u8]) -> Result<u64> {
    let parsed =
        std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|digit| digit.is_ascii_digit()));
    parsed.and_then(|text| text.parse().ok()).ok_or_else(|| not_a_number(text))
}

/// What should be one and is not.
pub fn not_a_number(text: &[u8]) -> Error {
    Error::corrupt(format!("{:?}: not a number", String::from_utf8_lossy(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        let of = |field: &[u8]| signed_number(field).ok();
        assert_eq!(of(b"0000644\0"), Some(0o644));
        assert_eq!(of(b"   755 \0"), Some(0o755));
        assert_eq!(of(b"\0\0\0\0"), Some(0));
        assert_eq!(of(b"\x80\0\0\0\0\0\0\x01\0\0\0\0"), Some(1 << 32));
        assert_eq!(of(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
        assert_eq!(of(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
        assert_eq!(of(b"00008\0"), None);
        assert_eq!(of(b"77777777777777777777777"), None);
    }
}
