//! `linux.resources.blockIO`: the io controller's weights and rates.

use super::file_write::{Exception, FileWrite, invalid, without_v2_form};
use crate::error::Result;
use crate::oci::spec::linux::{BlockIo, ThrottleDevice, WeightDevice};

/// Compiles weights (io.bfq.weight, or io.weight if BFQ is missing) and rates (io.max).
pub fn compile_block_io<'a>(block_io: &'a BlockIo, writes: &mut Vec<FileWrite<'a>>) -> Result<()> {
    let BlockIo {
        weight,
        leaf_weight,
        weight_device,
        throttle_read_bps_device,
        throttle_write_bps_device,
        throttle_read_iops_device,
        throttle_write_iops_device,
    } = block_io;
    check_leaf_weight("blockIO.leafWeight", *leaf_weight)?;
    if let Some(weight) = weight.filter(|weight| *weight != 0) {
        writes.push(compile_weight("blockIO.weight", "", weight)?);
    }
    for (index, WeightDevice { major, minor, weight, leaf_weight }) in weight_device.iter().enumerate() {
        let field = format!("blockIO.weightDevice[{index}]");
        check_leaf_weight(&format!("{field}.leafWeight"), *leaf_weight)?;
        if let Some(weight) = weight.filter(|weight| *weight != 0) {
            let device = device_number(&field, *major, *minor)?;
            writes.push(compile_weight(&format!("{field}.weight"), &format!("{device} "), weight)?);
        }
    }
    for (key, field, list) in [
        ("rbps", "throttleReadBpsDevice", throttle_read_bps_device),
        ("wbps", "throttleWriteBpsDevice", throttle_write_bps_device),
        ("riops", "throttleReadIOPSDevice", throttle_read_iops_device),
        ("wiops", "throttleWriteIOPSDevice", throttle_write_iops_device),
    ] {
        for (index, ThrottleDevice { major, minor, rate }) in list.iter().enumerate() {
            let field = format!("blockIO.{field}[{index}]");
            let device = device_number(&field, *major, *minor)?;
            // In v1, 0 meant no limit; v2 would refuse it.
            let rate = if *rate == 0 { "max".to_string() } else { rate.to_string() };
            let value = format!("{device} {key}={rate}");
            let write = FileWrite::new("io", "io.max", value, format!("linux.resources.{field}"));
            writes.push(write.default_if(rate == "max"));
        }
    }
    Ok(())
}

/// A weight for all devices, or for one if `device` names it ("8:0 ").
fn compile_weight(field: &str, device: &str, weight: u16) -> Result<FileWrite<'static>> {
    if !(10..=1000).contains(&weight) {
        return Err(invalid(field, weight, "a weight from 10 to 1000"));
    }
    let scaled = 1 + (u32::from(weight) - 10) * 9999 / 990;
    let field = format!("linux.resources.{field}");
    let write = FileWrite::new("io", "io.bfq.weight", format!("{device}{weight}"), field);
    Ok(write.with(Exception::Instead { file: "io.weight", value: format!("{device}{scaled}") }))
}

fn check_leaf_weight(field: &str, weight: Option<u16>) -> Result<()> {
    match weight {
        None | Some(0) => Ok(()),
        Some(weight) => Err(without_v2_form(field, weight)),
    }
}

fn device_number(field: &str, major: i64, minor: i64) -> Result<String> {
    if major < 0 || minor < 0 {
        return Err(invalid(field, format!("{major}:{minor}"), "a device number"));
    }
    Ok(format!("{major}:{minor}"))
}
