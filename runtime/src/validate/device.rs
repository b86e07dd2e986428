//! Device nodes: mknod(2).

use rustix::process::{Gid, Uid};

use super::text::check_absolute;
use super::text::reject;
use super::user::check_id;
use crate::error::Result;
use crate::oci::spec::json::Text;
use crate::oci::spec::linux::Device;

/// The type of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // mknod(2)'s words
pub enum DeviceKind {
    Character,
    Block,
    Fifo,
}

/// A device node to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidDevice<'a> {
    /// Absolute, inside the container.
    pub path: Text<'a>,
    /// Its type.
    pub kind: DeviceKind,
    /// 0 for a FIFO.
    pub major: u32,
    /// 0 for a FIFO.
    pub minor: u32,
    /// Permissions, without the file type.
    pub mode: u32,
    /// The owner inside the container.
    pub uid: Uid,
    /// The group inside the container.
    pub gid: Gid,
}

pub(super) fn validate_devices<'a>(devices: &[Device<'a>]) -> Result<Vec<ValidDevice<'a>>> {
    let devices = devices.iter().enumerate();
    devices.map(|(index, device)| validate_device(index, device)).collect()
}

fn validate_device<'a>(index: usize, device: &Device<'a>) -> Result<ValidDevice<'a>> {
    let &Device { ref kind, ref path, major, minor, file_mode, uid, gid } = device;
    let field = format_args!("linux.devices[{index}]");
    check_absolute(format_args!("{field}.path"), path)?;
    let kind = match &**kind {
        "c" | "u" => DeviceKind::Character,
        "b" => DeviceKind::Block,
        "p" => DeviceKind::Fifo,
        other => reject!("{field}.type: {other:?} is not one of c, u, b, p"),
    };
    let number = |member: &str, number: Option<i64>, limit: u32| match number {
        _ if kind == DeviceKind::Fifo => Ok(0),
        None => reject!("{field}.{member}: missing: {path} needs a device number"),
        Some(number) => match u32::try_from(number) {
            Ok(number) if number <= limit => Ok(number),
            _ => reject!("{field}.{member}: {number} is not a number from 0 to {limit}"),
        },
    };
    // dev_t has 12 bits for the major and 20 for the minor number.
    let (major, minor) = (number("major", major, 0xfff)?, number("minor", minor, 0xf_ffff)?);
    // Podman writes a whole st_mode, including the file type.
    let mode = file_mode.unwrap_or(0o666) & !0o170000;
    if mode > 0o7777 {
        reject!("{field}.fileMode: {mode} is not a mode: write at most 4095 (octal 7777)");
    }
    let uid = Uid::from_raw(check_id(format_args!("{field}.uid"), uid.unwrap_or(0))?);
    let gid = Gid::from_raw(check_id(format_args!("{field}.gid"), gid.unwrap_or(0))?);
    Ok(ValidDevice { path: path.clone(), kind, major, minor, mode, uid, gid })
}
