//! The statistics of a cgroup, in the format of `runc events`.
//!
//! The members are those of runc's `types/events.go`; times are in nanoseconds, sizes in bytes. The part of a
//! controller that is off stays empty. Source: the kernel's `Documentation/admin-guide/cgroup-v2.rst`.
//!
//! A program that watches a container lives as long as the container, and this program's allocator reuses
//! little: so every file is read into one buffer, and every document written into another.

use std::fmt::{Display, Write as _};

use rustix::fs::{Dir, OFlags};
use rustix::io::{Errno, read};

use super::Cgroup;
use super::file::open_file;
use crate::error::{Context, Result};
use crate::text::order;

/// JSON text being written; the names and values here never need escaping.
#[derive(Debug, Default)]
struct Document(String);

impl Document {
    /// Adds a member whose value is JSON already.
    fn add(&mut self, name: impl Display, value: impl Display) {
        self.name(name);
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{value}");
    }

    fn add_if<D: Display>(&mut self, name: &str, value: Option<D>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    fn name(&mut self, name: impl Display) {
        self.separate();
        let _ = write!(self.0, "\"{name}\":");
    }

    fn separate(&mut self) {
        if !self.0.is_empty() && !self.0.ends_with(['{', '[', ':']) {
            self.0.push(',');
        }
    }

    fn open(&mut self, bracket: char) {
        self.separate();
        self.0.push(bracket);
    }

    fn close(&mut self, bracket: char) {
        self.0.push(bracket);
    }

    /// Adds a member that is an object; `fill` adds its members.
    fn object(&mut self, name: impl Display, fill: impl FnOnce(&mut Document) -> Result<()>) -> Result<()> {
        self.name(name);
        self.open('{');
        fill(self)?;
        self.close('}');
        Ok(())
    }
}

/// Reads the statistics of a cgroup, as often as needed.
#[derive(Debug, Default)]
pub struct Statistics {
    content: Content,
    document: Document,
    /// The sizes of huge pages that exist, with the files that count them.
    huge_pages: Vec<HugePages>,
}

#[derive(Debug)]
struct HugePages {
    size: String,
    current: String,
    events: String,
}

impl Statistics {
    /// Finds out which sizes of huge pages there are.
    pub fn new(cgroup: &Cgroup) -> Result<Statistics> {
        let step = || format!("list cgroup {}", cgroup.path());
        let mut huge_pages = Vec::new();
        // The descriptor at hand is `O_PATH`, which can't be read.
        let directory = open_file(cgroup.fd(), ".", OFlags::RDONLY | OFlags::DIRECTORY)
            .and_then(Dir::new)
            .context(step)?;
        for entry in directory {
            let entry = entry.context(step)?;
            let current = entry.file_name().to_string_lossy().into_owned();
            let size = current.strip_prefix("hugetlb.").and_then(|rest| rest.strip_suffix(".current"));
            if let Some(size) = size.filter(|size| !size.ends_with(".rsvd")).map(str::to_string) {
                let events = format!("hugetlb.{size}.events");
                huge_pages.push(HugePages { size, current, events });
            }
        }
        order::sort(&mut huge_pages, |left, right| left.size < right.size);
        Ok(Statistics { huge_pages, ..Statistics::default() })
    }

    /// The document, on one line.
    ///
    /// # Errors
    /// A file exists but cannot be read.
    pub fn read(&mut self, cgroup: &Cgroup) -> Result<&str> {
        let Statistics { content, document, huge_pages } = self;
        document.0.clear();
        document.open('{');
        document.object("cpu", |cpu| add_cpu(content, cgroup, cpu))?;
        document.add("cpuset", "{}");
        document.object("memory", |memory| add_memory(content, cgroup, memory))?;
        document.object("pids", |pids| {
            pids.add_if("current", content.number(cgroup, "pids.current")?);
            // runc writes 0 for "no limit" here.
            let limit = content.number(cgroup, "pids.max")?;
            pids.add_if("limit", limit.map(|limit| if limit == u64::MAX { 0 } else { limit }));
            Ok(())
        })?;
        document.object("blkio", |io| add_block_io(content, cgroup, io))?;
        document.object("hugetlb", |hugetlb| {
            for HugePages { size, current, events } in huge_pages.iter() {
                let failures = content.value(cgroup, events, "max")?.unwrap_or(0);
                let usage = content.number(cgroup, current)?;
                hugetlb.object(size, |pages| {
                    pages.add_if("usage", usage);
                    pages.add("failcnt", failures);
                    Ok(())
                })?;
            }
            Ok(())
        })?;
        document.add("intel_rdt", "{}");
        document.add("network_interfaces", "null");
        document.close('}');
        Ok(&document.0)
    }

    /// How many processes in it or below were killed because memory ran out; `None` without the memory
    /// controller.
    pub fn oom_kills(&mut self, cgroup: &Cgroup) -> Result<Option<u64>> {
        self.content.value(cgroup, "memory.events", "oom_kill")
    }

    /// How often it reached its limit and no memory could be reclaimed. The kill that follows may be counted
    /// in another cgroup: that of the process which owns the memory, which for a moment is init's first
    /// process.
    pub fn ooms(&mut self, cgroup: &Cgroup) -> Result<Option<u64>> {
        self.content.value(cgroup, "memory.events", "oom")
    }

    /// How much memory it may use, in bytes; `u64::MAX` means no limit.
    pub fn memory_max(&mut self, cgroup: &Cgroup) -> Result<Option<u64>> {
        self.content.number(cgroup, "memory.max")
    }
}

/// The content of the file that was read last.
#[derive(Debug, Default)]
struct Content(Vec<u8>);

impl Content {
    /// Reads a file of the cgroup; `None` if it is missing, because its controller is off or the cgroup is
    /// gone.
    fn read(&mut self, cgroup: &Cgroup, name: &str) -> Result<Option<&str>> {
        self.0.clear();
        match self.fill(cgroup, name) {
            // EOPNOTSUPP: the kernel has pressure statistics, but they were turned off at boot.
            Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => Ok(None),
            filled => {
                filled.context(|| format!("read {name} of cgroup {}", cgroup.path()))?;
                Ok(Some(str::from_utf8(&self.0).unwrap_or_default()))
            }
        }
    }

    fn fill(&mut self, cgroup: &Cgroup, name: &str) -> rustix::io::Result<()> {
        let file = open_file(cgroup.fd(), name, OFlags::RDONLY)?;
        self.0.reserve(4096);
        while read(&file, rustix::buffer::spare_capacity(&mut self.0))? > 0 {
            self.0.reserve(1024);
        }
        Ok(())
    }

    /// Reads a file with one number; `max` means no limit, which runc writes as the highest number.
    fn number(&mut self, cgroup: &Cgroup, name: &str) -> Result<Option<u64>> {
        Ok(self.read(cgroup, name)?.and_then(|text| match text.trim_end() {
            "max" => Some(u64::MAX),
            number => number.parse().ok(),
        }))
    }

    /// The number after a key.
    fn value(&mut self, cgroup: &Cgroup, name: &str, key: &str) -> Result<Option<u64>> {
        Ok(self.read(cgroup, name)?.and_then(|text| value(text, key)))
    }
}

fn add_cpu(content: &mut Content, cgroup: &Cgroup, cpu: &mut Document) -> Result<()> {
    let text = content.read(cgroup, "cpu.stat")?.unwrap_or_default();
    let nanoseconds = |key| value(text, key).map_or(0, |microseconds| microseconds.saturating_mul(1000));
    cpu.object("usage", |usage| {
        usage.add("total", nanoseconds("usage_usec"));
        usage.add("kernel", nanoseconds("system_usec"));
        usage.add("user", nanoseconds("user_usec"));
        Ok(())
    })?;
    cpu.object("throttling", |throttling| {
        throttling.add_if("periods", value(text, "nr_periods"));
        throttling.add_if("throttledPeriods", value(text, "nr_throttled"));
        throttling.add("throttledTime", nanoseconds("throttled_usec"));
        Ok(())
    })?;
    add_pressure(content, cgroup, "cpu.pressure", cpu)
}

fn add_memory(content: &mut Content, cgroup: &Cgroup, memory: &mut Document) -> Result<()> {
    if let Some(current) = content.number(cgroup, "memory.current")? {
        let limit = content.number(cgroup, "memory.max")?.unwrap_or(u64::MAX);
        let peak = content.number(cgroup, "memory.peak")?;
        let failures = content.value(cgroup, "memory.events", "max")?;
        add_entry(memory, "usage", [limit, current, failures.unwrap_or(0)], peak)?;
        if let Some(swap) = content.number(cgroup, "memory.swap.current")? {
            // In this document swap includes memory, as in cgroup v1.
            let swap_limit = content.number(cgroup, "memory.swap.max")?.unwrap_or(u64::MAX);
            let sums = [swap_limit.saturating_add(limit), swap.saturating_add(current), 0];
            add_entry(memory, "swap", sums, None)?;
        }
        let stat = content.read(cgroup, "memory.stat")?.unwrap_or_default();
        memory.add_if("cache", value(stat, "file"));
        memory.object("raw", |raw| {
            pairs(stat).for_each(|(key, number)| raw.add(key, number));
            Ok(())
        })?;
    }
    add_pressure(content, cgroup, "memory.pressure", memory)
}

/// One kind of memory.
fn add_entry(memory: &mut Document, name: &str, numbers: [u64; 3], peak: Option<u64>) -> Result<()> {
    let [limit, usage, failures] = numbers;
    memory.object(name, |entry| {
        entry.add("limit", limit);
        entry.add("usage", usage);
        entry.add_if("max", peak);
        entry.add("failcnt", failures);
        Ok(())
    })
}

fn add_block_io(content: &mut Content, cgroup: &Cgroup, io: &mut Document) -> Result<()> {
    let text = content.read(cgroup, "io.stat")?.unwrap_or_default();
    add_operations(io, "ioServiceBytesRecursive", text, [("rbytes", "Read"), ("wbytes", "Write")]);
    add_operations(io, "ioServicedRecursive", text, [("rios", "Read"), ("wios", "Write")]);
    add_pressure(content, cgroup, "io.pressure", io)
}

/// The lines of a flat-keyed file whose value is a number.
fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, number) = line.split_once(' ')?;
        Some((key, number.parse().ok()?))
    })
}

fn value(text: &str, key: &str) -> Option<u64> {
    pairs(text).find(|(found, _)| *found == key).map(|(_, number)| number)
}

/// Two of the values that io.stat has for each device (`8:0 rbytes=1 wbytes=2 …`), each with the name of its
/// operation in the document.
fn add_operations(io: &mut Document, name: &str, text: &str, keys: [(&str, &str); 2]) {
    io.name(name);
    io.open('[');
    for line in text.lines() {
        let mut fields = line.split(' ');
        let Some((major, minor)) = fields.next().and_then(|device| device.split_once(':')) else { continue };
        let (Ok(major), Ok(minor)) = (major.parse::<u32>(), minor.parse::<u32>()) else { continue };
        for (key, number) in fields.filter_map(|field| field.split_once('=')) {
            let operation = keys.iter().find(|(known, _)| *known == key);
            if let (Some((_, operation)), Ok(number)) = (operation, number.parse::<u64>()) {
                io.open('{');
                io.add("major", major);
                io.add("minor", minor);
                io.add("op", format_args!("\"{operation}\""));
                io.add("value", number);
                io.close('}');
            }
        }
    }
    io.close(']');
}

fn add_pressure(content: &mut Content, cgroup: &Cgroup, file: &str, into: &mut Document) -> Result<()> {
    match content.read(cgroup, file)? {
        Some(text) => into.object("psi", |pressure| parse_pressure(text, pressure)),
        None => Ok(()),
    }
}

/// Lines such as `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same with `full`.
fn parse_pressure(text: &str, pressure: &mut Document) -> Result<()> {
    for line in text.lines() {
        let mut fields = line.split(' ');
        let Some(kind @ ("some" | "full")) = fields.next() else { continue };
        pressure.object(kind, |numbers| {
            for (key, number) in fields.filter_map(|field| field.split_once('=')) {
                if matches!(key, "avg10" | "avg60" | "avg300" | "total") && is_number(number) {
                    numbers.add(key, number);
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Whether the text is a number in JSON as well.
fn is_number(text: &str) -> bool {
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    is_digits(whole) && is_digits(fraction) && (whole.len() == 1 || !whole.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn written(fill: impl FnOnce(&mut Document)) -> Value {
        let mut document = Document::default();
        document.open('{');
        fill(&mut document);
        document.close('}');
        serde_json::from_str(&document.0).unwrap()
    }

    #[test]
    fn pressure_is_numbers() {
        let pressure = |text: &str| written(|document| parse_pressure(text, document).unwrap());
        let text = "some avg10=0.12 avg60=10.00 avg300=0.00 total=57\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!(
            pressure(text),
            json!({"some": {"avg10": 0.12, "avg60": 10.0, "avg300": 0.0, "total": 57},
                   "full": {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 0}})
        );
        assert_eq!(pressure("some avg10=x avg60=1. total=007\n"), json!({"some": {}}));
        assert_eq!(pressure(""), json!({}));
    }

    #[test]
    fn io_is_told_by_device_and_operation() {
        let text = "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n(unknown) rbytes=1\n8:0 \n";
        let io = |document: &mut Document| {
            add_operations(document, "io", text, [("rios", "Read"), ("wios", "Write")]);
            add_operations(document, "none", "", [("rios", "Read"), ("wios", "Write")]);
        };
        assert_eq!(
            written(io),
            json!({"io": [{"major": 8, "minor": 16, "op": "Read", "value": 3},
                          {"major": 8, "minor": 16, "op": "Write", "value": 4}], "none": []})
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
