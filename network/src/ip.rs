//! Addresses in JSON.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use pillbox_json::Value;
use pillbox_json::reader::{Failed, Reader};
use serde::{Serialize, Serializer};

use crate::cidr::Cidr;

/// An address, as JSON a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ip(pub IpAddr);

impl Default for Ip {
    fn default() -> Self {
        Ip(Ipv4Addr::UNSPECIFIED.into())
    }
}

impl Default for Cidr {
    fn default() -> Self {
        Cidr { ip: Ipv4Addr::UNSPECIFIED.into(), prefix: 0 }
    }
}

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Ip {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

impl Value<'_> for Ip {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Failed> {
        *self = Ip(read(reader, "an IP address", |text| text.parse().ok())?);
        Ok(())
    }
}

impl Value<'_> for Cidr {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Failed> {
        *self = read(reader, "an IP address with the length of its prefix, as 10.88.0.5/16", Cidr::parse)?;
        Ok(())
    }
}

/// Reads a string that `parse` understands; the fault is at its beginning if it does not.
pub(crate) fn read<T>(
    reader: &mut Reader<'_>,
    expected: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, Failed> {
    let mut behind = *reader;
    let value = match behind.string(expected) {
        Ok(text) => parse(&text).ok_or_else(|| reader.mistyped(expected))?,
        Err(Failed) => {
            // It knows why.
            *reader = behind;
            return Err(Failed);
        }
    };
    *reader = behind;
    Ok(value)
}
