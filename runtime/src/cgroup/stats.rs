//! What a cgroup has used, as the document that callers of `runc events` know.
//!
//! Its members are those of runc's `types/events.go`; times are nanoseconds, sizes bytes. Sources of the numbers: the
//! kernel's `Documentation/admin-guide/cgroup-v2.rst`; a controller that is off leaves its part empty.

use std::fmt::Write as _;

use rustix::fs::{Dir, OFlags};
use rustix::io::Errno;

use super::Cgroup;
use super::file::{open_file, read_file};
use crate::error::{Context, Result};

/// Members of a JSON object on their way to text; names and values here never need an escape.
struct Object(String);

impl Object {
    fn new() -> Self {
        Object(String::new())
    }

    /// `value` is JSON already.
    fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        let comma = if self.0.is_empty() { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{comma}\"{name}\":{value}");
    }

    fn add_if<D: std::fmt::Display>(&mut self, name: &str, value: Option<D>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    fn end(self) -> String {
        format!("{{{}}}", self.0)
    }
}

impl Cgroup {
    /// The document, on one line.
    ///
    /// # Errors
    /// A file that is there but cannot be read.
    pub fn stats(&self) -> Result<String> {
        let mut stats = Object::new();
        stats.add("cpu", self.cpu()?);
        stats.add("cpuset", "{}");
        stats.add("memory", self.memory()?);
        stats.add("pids", self.pids_stats()?);
        stats.add("blkio", self.block_io()?);
        stats.add("hugetlb", self.huge_pages()?);
        stats.add("intel_rdt", "{}");
        stats.add("network_interfaces", "null");
        Ok(stats.end())
    }

    /// How often processes of it, or below, were killed for want of memory; `None` without the memory controller.
    pub fn oom_kills(&self) -> Result<Option<u64>> {
        Ok(self.content("memory.events")?.as_deref().and_then(|text| value(text, "oom_kill")))
    }

    /// A file of the cgroup; `None` when there is none, because its controller is off or the cgroup gone.
    fn content(&self, name: &str) -> Result<Option<String>> {
        match read_file(self.fd(), name) {
            // EOPNOTSUPP: pressure is accounted, but was turned off at boot.
            Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => Ok(None),
            content => content.map(Some).context(|| format!("read {name} of cgroup {}", self.path)),
        }
    }

    /// A file with one number; `max` is none, which runc writes as the highest there is.
    fn number(&self, name: &str) -> Result<Option<u64>> {
        let content = self.content(name)?;
        Ok(content.and_then(|text| match text.trim_end() {
            "max" => Some(u64::MAX),
            number => number.parse().ok(),
        }))
    }

    fn cpu(&self) -> Result<String> {
        let text = self.content("cpu.stat")?.unwrap_or_default();
        let nanoseconds = |key| value(&text, key).map_or(0, |microseconds| microseconds.saturating_mul(1000));
        let mut usage = Object::new();
        usage.add("total", nanoseconds("usage_usec"));
        usage.add("kernel", nanoseconds("system_usec"));
        usage.add("user", nanoseconds("user_usec"));
        let mut throttling = Object::new();
        throttling.add_if("periods", value(&text, "nr_periods"));
        throttling.add_if("throttledPeriods", value(&text, "nr_throttled"));
        throttling.add("throttledTime", nanoseconds("throttled_usec"));
        let mut cpu = Object::new();
        cpu.add("usage", usage.end());
        cpu.add("throttling", throttling.end());
        cpu.add_if("psi", self.pressure("cpu.pressure")?);
        Ok(cpu.end())
    }

    fn memory(&self) -> Result<String> {
        let mut memory = Object::new();
        if let Some(current) = self.number("memory.current")? {
            let stat = self.content("memory.stat")?.unwrap_or_default();
            let events = self.content("memory.events")?.unwrap_or_default();
            let limit = self.number("memory.max")?.unwrap_or(u64::MAX);
            memory.add_if("cache", value(&stat, "file"));
            memory.add("usage", entry(limit, current, self.number("memory.peak")?, value(&events, "max")));
            if let Some(swap) = self.number("memory.swap.current")? {
                // The document counts memory along with swap, as cgroup v1 did.
                let limit = self.number("memory.swap.max")?.unwrap_or(u64::MAX).saturating_add(limit);
                memory.add("swap", entry(limit, swap.saturating_add(current), None, None));
            }
            let mut raw = Object::new();
            for (key, number) in pairs(&stat) {
                raw.add(key, number);
            }
            memory.add("raw", raw.end());
        }
        memory.add_if("psi", self.pressure("memory.pressure")?);
        Ok(memory.end())
    }

    fn pids_stats(&self) -> Result<String> {
        let mut pids = Object::new();
        pids.add_if("current", self.number("pids.current")?);
        // 0 is runc's word for no limit here.
        pids.add_if("limit", self.number("pids.max")?.map(|limit| if limit == u64::MAX { 0 } else { limit }));
        Ok(pids.end())
    }

    fn block_io(&self) -> Result<String> {
        let text = self.content("io.stat")?.unwrap_or_default();
        let mut io = Object::new();
        for (name, keys) in [
            ("ioServiceBytesRecursive", [("rbytes", "Read"), ("wbytes", "Write")]),
            ("ioServicedRecursive", [("rios", "Read"), ("wios", "Write")]),
        ] {
            let entries = io_entries(&text, keys);
            if !entries.is_empty() {
                io.add(name, format!("[{}]", entries.join(",")));
            }
        }
        io.add_if("psi", self.pressure("io.pressure")?);
        Ok(io.end())
    }

    fn huge_pages(&self) -> Result<String> {
        let step = || format!("list cgroup {}", self.path);
        let mut sizes = Vec::new();
        // The descriptor at hand is only a path (O_PATH), which can't be read.
        let directory =
            open_file(self.fd(), ".", OFlags::RDONLY | OFlags::DIRECTORY).and_then(Dir::new).context(step)?;
        for entry in directory {
            let entry = entry.context(step)?;
            let name = entry.file_name().to_string_lossy();
            let size = name.strip_prefix("hugetlb.").and_then(|rest| rest.strip_suffix(".current"));
            sizes.extend(size.filter(|size| !size.ends_with(".rsvd")).map(str::to_string));
        }
        sizes.sort();
        let mut hugetlb = Object::new();
        for size in sizes {
            let events = self.content(&format!("hugetlb.{size}.events"))?.unwrap_or_default();
            let mut pages = Object::new();
            pages.add_if("usage", self.number(&format!("hugetlb.{size}.current"))?);
            pages.add("failcnt", value(&events, "max").unwrap_or(0));
            hugetlb.add(&size, pages.end());
        }
        Ok(hugetlb.end())
    }

    fn pressure(&self, file: &str) -> Result<Option<String>> {
        Ok(self.content(file)?.map(|text| parse_pressure(&text)).filter(|pressure| pressure != "{}"))
    }
}

/// One kind of memory.
fn entry(limit: u64, usage: u64, peak: Option<u64>, failures: Option<u64>) -> String {
    let mut entry = Object::new();
    entry.add("limit", limit);
    entry.add("usage", usage);
    entry.add_if("max", peak);
    entry.add("failcnt", failures.unwrap_or(0));
    entry.end()
}

/// The lines of a flat-keyed file that have a number.
fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, number) = line.split_once(' ')?;
        Some((key, number.parse().ok()?))
    })
}

fn value(text: &str, key: &str) -> Option<u64> {
    pairs(text).find(|(found, _)| *found == key).map(|(_, number)| number)
}

/// Of io.stat (`8:0 rbytes=1 wbytes=2 …`), the values under two keys, which the document calls operations.
fn io_entries(text: &str, keys: [(&str, &str); 2]) -> Vec<String> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let mut fields = line.split(' ');
        let Some((major, minor)) = fields.next().and_then(|device| device.split_once(':')) else { continue };
        let (Ok(major), Ok(minor)) = (major.parse::<u32>(), minor.parse::<u32>()) else { continue };
        for field in fields {
            let Some((key, number)) = field.split_once('=') else { continue };
            let operation = keys.iter().find(|(known, _)| *known == key);
            if let (Some((_, operation)), Ok(number)) = (operation, number.parse::<u64>()) {
                let mut entry = Object::new();
                entry.add("major", major);
                entry.add("minor", minor);
                entry.add("op", format_args!("\"{operation}\""));
                entry.add("value", number);
                entries.push(entry.end());
            }
        }
    }
    entries
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same for `full`.
fn parse_pressure(text: &str) -> String {
    let mut pressure = Object::new();
    for line in text.lines() {
        let mut fields = line.split(' ');
        let Some(kind @ ("some" | "full")) = fields.next() else { continue };
        let mut numbers = Object::new();
        for (key, number) in fields.filter_map(|field| field.split_once('=')) {
            if matches!(key, "avg10" | "avg60" | "avg300" | "total") && is_number(number) {
                numbers.add(key, number);
            }
        }
        pressure.add(kind, numbers.end());
    }
    pressure.end()
}

/// What JSON takes as a number, too.
fn is_number(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    [whole, fraction].iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
        && (whole.len() == 1 || !whole.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn pressure_is_numbers() {
        let text = "some avg10=0.12 avg60=10.00 avg300=0.00 total=57\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!(
            read(&parse_pressure(text)),
            json!({"some": {"avg10": 0.12, "avg60": 10.0, "avg300": 0.0, "total": 57},
                   "full": {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 0}})
        );
        assert_eq!(parse_pressure("some avg10=x avg60=1. total=007\n"), r#"{"some":{}}"#);
        assert_eq!(parse_pressure(""), "{}");
    }

    #[test]
    fn io_is_told_by_device_and_operation() {
        let text = "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n(unknown) rbytes=1\n";
        let entries = io_entries(text, [("rios", "Read"), ("wios", "Write")]);
        assert_eq!(
            read(&format!("[{}]", entries.join(","))),
            json!([{"major": 8, "minor": 16, "op": "Read", "value": 3}, {"major": 8, "minor": 16, "op": "Write", "value": 4}])
        );
    }

    #[test]
    fn flat_keyed_files() {
        let text = "usage_usec 12\nuser_usec 5\nodd\nnice x\n";
        assert_eq!(
            (value(text, "user_usec"), value(text, "nice"), value(text, "user")),
            (Some(5), None, None)
        );
    }
}
