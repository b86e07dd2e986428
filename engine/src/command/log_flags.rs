//! Who keeps what a container writes: `--log-driver`, and what it is told by `--log-opt`.

use super::Arguments;
use crate::container::log::{check_syslog, check_tag};
use crate::container::size::parse_bytes;
use crate::container::{LogDriver, LogOptions};
use crate::error::{Error, Result};

/// Options of logs in files.
const OF_FILES: [&str; 3] = ["max-size", "max-file", "compress"];

/// What stands with each line.
const OF_LINES: [&str; 3] = ["tag", "labels", "env"];

/// Of logs that somebody else keeps.
const OF_OTHERS: [&str; 2] = ["mode", "max-buffer-size"];

const OF_SYSLOG: [&str; 3] = ["syslog-address", "syslog-facility", "syslog-format"];

/// The log.
///
/// # Errors
/// There is no such driver or option, or a value cannot be.
pub fn log_options(arguments: &Arguments) -> Result<LogOptions> {
    let driver = driver(arguments.text("log-driver")?)?;
    let mut log = LogOptions { driver, ..LogOptions::default() };
    for option in arguments.texts("log-opt")? {
        take(&mut log, &option)?;
    }
    check_syslog(&log.syslog)?;
    Ok(log)
}

fn driver(text: Option<&str>) -> Result<LogDriver> {
    let Some(text) = text else { return Ok(LogDriver::default()) };
    LogDriver::ALL.into_iter().find(|driver| driver.name() == text).ok_or_else(|| {
        Error::invalid(format!("--log-driver {text}: must be local, json-file, journald, syslog or none"))
    })
}

fn take(log: &mut LogOptions, option: &str) -> Result<()> {
    let known: &[&[&str]] = match log.driver {
        LogDriver::None => &[],
        LogDriver::Local => &[&OF_FILES],
        LogDriver::JsonFile => &[&OF_FILES, &OF_LINES],
        LogDriver::Journald => &[&OF_LINES, &OF_OTHERS],
        LogDriver::Syslog => &[&OF_LINES[..1], &OF_OTHERS, &OF_SYSLOG],
    };
    let known = known.concat();
    let wrong = |what: &str| Error::invalid(format!("--log-opt {option}: {what}"));
    let Some((name, value)) = option.split_once('=').filter(|(name, _)| known.contains(name)) else {
        let driver = log.driver.name();
        return Err(wrong(&match known.is_empty() {
            true => format!("with --log-driver {driver} there are no options"),
            false => format!("with --log-driver {driver} there is {}, each with =VALUE", known.join(", ")),
        }));
    };
    let size = || match parse_bytes(&format!("--log-opt {name}"), value)? {
        0 => Err(wrong("must be above zero")),
        bytes => Ok(bytes),
    };
    let list = || value.split(',').filter(|name| !name.is_empty()).map(str::to_string).collect();
    match name {
        "max-size" => log.size = Some(size()?),
        "max-file" => {
            let count = value.parse().ok().filter(|count| *count > 0);
            log.count = Some(count.ok_or_else(|| wrong("must be a number above zero"))?);
        }
        "compress" if value == "false" => {}
        "compress" => return Err(wrong("older files are not compressed: leave it out")),
        "tag" => {
            check_tag(value)?;
            log.tag = Some(value.to_string());
        }
        "labels" => log.labels = list(),
        "env" => log.variables = list(),
        "mode" if value == "non-blocking" => {}
        "mode" => return Err(wrong("a log never makes a container wait: only non-blocking")),
        "max-buffer-size" => log.waiting = usize::try_from(size()?).ok(),
        "syslog-address" => log.syslog.address = Some(value.to_string()),
        "syslog-facility" => log.syslog.facility = Some(value.to_string()),
        _ => log.syslog.format = Some(value.to_string()),
    }
    Ok(())
}
