//! The processes of a container that runs, as /proc shows them.

use std::collections::BTreeMap;

use rustix::param::{clock_ticks_per_second, page_size};

use super::status::{open_running, unless_ended};
use crate::error::{Context, Result};
use crate::order::{self, Collect};
use crate::store::{ContainerFolder, Store};

/// A process, as the host sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessLine {
    /// Of the user it runs as.
    pub user: String,
    /// Its number.
    pub pid: i32,
    /// That of its parent.
    pub parent: i32,
    /// Percent of a processor since it began.
    pub load: u64,
    /// Seconds since 1970.
    pub began: u64,
    /// `pts/0`, or `?`.
    pub terminal: String,
    /// Seconds of processors.
    pub time: u64,
    /// Bytes in memory.
    pub resident: u64,
    /// Its program and arguments.
    pub command: String,
}

/// The processes of a container, in order of their numbers.
///
/// # Errors
/// It does not run.
pub fn processes(store: &Store, folder: &ContainerFolder) -> Result<Vec<ProcessLine>> {
    let mut pids = pids(store, folder)?;
    order::sort(&mut pids);
    let users = users();
    let boot = boot_time()?;
    // One that has ended meanwhile is none.
    Ok(pids.into_iter().filter_map(|pid| look(pid, &users, boot)).collect())
}

/// By its cgroup; where it has none, by the namespace of its processes.
///
/// # Errors
/// It does not run.
pub fn pids(store: &Store, folder: &ContainerFolder) -> Result<Vec<i32>> {
    let container = open_running(store, folder)?;
    let root = pillbox::Root::at(&store.place().runtime);
    let id = pillbox::ContainerId::new(folder.id.as_str())?;
    if let Ok(pids) = pillbox::container::pids(&root, &id) {
        return Ok(pids.into_iter().map(|pid| pid.as_raw_nonzero().get()).collect());
    }
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = namespace(&unless_ended(store, folder, container.pid())?.to_string());
    let entries = std::fs::read_dir("/proc").context(|| "/proc")?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let found = names.filter(|name| name.parse::<i32>().is_ok() && namespace(name) == own);
    Ok(found.filter_map(|name| name.parse().ok()).collect())
}

fn look(pid: i32, users: &BTreeMap<u32, String>, boot: u64) -> Option<ProcessLine> {
    // Names and arguments are the container's, and need not be text.
    let read = |name: &str| {
        let bytes = std::fs::read(format!("/proc/{pid}/{name}")).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let stat = read("stat")?;
    // The name stands in brackets, and may have some of its own.
    let (head, rest) = stat.rsplit_once(") ")?;
    let name = head.split_once('(')?.1;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    let ticks = clock_ticks_per_second();
    let began = boot + number(19)? / ticks;
    let time = (number(11)? + number(12)?) / ticks;
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let status = read("status")?;
    let uid =
        status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1)?.parse().ok())?;
    // As ps(1) does: a terminal's commands are shown, not obeyed.
    let shown = |letter: char| if letter.is_control() { '?' } else { letter };
    let name: String = name.chars().map(shown).collect();
    let command = read("cmdline")?.trim_end_matches('\0').replace('\0', " ");
    let command: String = command.chars().map(shown).collect();
    Some(ProcessLine {
        user: users.get(&uid).cloned().unwrap_or_else(|| uid.to_string()),
        pid,
        parent: number(1)? as i32,
        load: (time * 100).checked_div(now.saturating_sub(began)).unwrap_or(0),
        began,
        terminal: terminal(number(4)?),
        time,
        resident: number(21)? * page_size() as u64,
        command: if command.is_empty() { format!("[{name}]") } else { command },
    })
}

/// Of the numbers 136 to 143 are terminals of windows and of containers.
fn terminal(number: u64) -> String {
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xfff00));
    match major {
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 => format!("tty{minor}"),
        _ => "?".to_string(),
    }
}

fn users() -> BTreeMap<u32, String> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_string();
        Some((fields.nth(1)?.parse().ok()?, name))
    };
    text.lines().rev().filter_map(user).collect_map()
}

fn boot_time() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/stat").context(|| "/proc/stat")?;
    Ok(text.lines().find_map(|line| line.strip_prefix("btime ")?.parse().ok()).unwrap_or(0))
}
