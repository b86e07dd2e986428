//! events and wait: watch a container that somebody else has started.

use std::time::Duration;

use pillbox::container::{self, Event, Watch};
use pillbox::error::{Error, Result};
use pillbox::text::time::parse_duration;

use super::{container_id, print, root};
use crate::arguments::{Arguments, Global};

pub fn events(global: &Global, arguments: Arguments) -> Result<u8> {
    let id = container_id(&arguments)?;
    let interval = match arguments.value("interval") {
        None => Duration::from_secs(5),
        Some(text) => {
            let text = text.to_string_lossy();
            parse_duration(&text).filter(|interval| !interval.is_zero()).ok_or_else(|| {
                Error::formatted(format_args!("--interval {text}: not a time above 0, such as 5s or 1m30s"))
            })?
        }
    };
    let mut watch = Watch::new(&root(global), &id, interval)?;
    // Ids have no character that JSON would escape. All lines share one buffer: see `Statistics`.
    let mut line = String::new();
    if arguments.is_set("stats") {
        stats_line(&mut line, &id, watch.stats()?);
        print(&line)?;
        return Ok(0);
    }
    while let Some(event) = watch.next_event()? {
        match event {
            Event::Stats(data) => stats_line(&mut line, &id, data),
            Event::OutOfMemory => line = format!("{{\"type\":\"oom\",\"id\":\"{id}\"}}\n"),
        }
        print(&line)?;
    }
    Ok(0)
}

fn stats_line(line: &mut String, id: &str, data: &str) {
    line.clear();
    for part in ["{\"type\":\"stats\",\"id\":\"", id, "\",\"data\":", data, "}\n"] {
        line.push_str(part);
    }
}

pub fn wait(global: &Global, arguments: Arguments) -> Result<u8> {
    let status = container::wait(&root(global), &container_id(&arguments)?)?;
    print(&format!("{status}\n"))?;
    Ok(status)
}
