//! ps: the processes of a container.

use std::ffi::OsString;

use pillbox::container;
use pillbox::error::{Context, Error, Result};
use pillbox::spawn::program;

use super::{container_id, print, root};
use crate::arguments::{Arguments, Global};

pub fn ps(global: &Global, arguments: Arguments) -> Result<u8> {
    let format = arguments.value("format").map_or("table".into(), |format| format.to_string_lossy());
    let pids = container::pids(&root(global), &container_id(&arguments)?)?;
    let pids: Vec<i32> = pids.iter().map(|pid| pid.as_raw_pid()).collect();
    match &*format {
        "json" => {
            let pids: Vec<_> = pids.iter().map(i32::to_string).collect();
            print(&format!("[{}]\n", pids.join(",")))?;
        }
        "table" => {
            let mut wanted: Vec<_> = arguments.operands[1..].to_vec();
            if wanted.is_empty() {
                wanted.push("-ef".into());
            }
            let text = |text: OsString| text.to_string_lossy().into_owned();
            let wanted: Vec<_> = wanted.into_iter().map(text).collect();
            let environment: Vec<_> =
                std::env::vars_os().map(|(name, value)| format!("{}={}", text(name), text(value))).collect();
            let path =
                program::find("ps").ok_or_else(|| Error::new("ps(1): not found: it lists processes"))?;
            let output = program::run(&path, &wanted, &environment).context(|| "ps(1)")?;
            print(&rows_of(&String::from_utf8_lossy(&output), &pids)?)?;
        }
        other => return Err(Error::formatted(format_args!("--format {other}: must be table or json"))),
    }
    Ok(0)
}

/// The header, and the lines with one of `pids` in the PID column.
fn rows_of(table: &str, pids: &[i32]) -> Result<String> {
    let header = table.lines().next().unwrap_or_default();
    let column = header.split_whitespace().position(|title| title == "PID").ok_or_else(|| {
        Error::new("ps(1): its table has no column PID, by which a container's processes are known")
    })?;
    let is_wanted = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid: i32| pids.contains(&pid))
    };
    let rows = table.lines().skip(1).filter(is_wanted);
    Ok(std::iter::once(header).chain(rows).map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::rows_of;

    #[test]
    fn rows_are_told_by_their_pid() {
        let table = "UID   PID  PPID CMD\nroot    1     0 init\nroot   12     1 sleep 1\nroot  121    12 x\n";
        assert_eq!(rows_of(table, &[12, 7]).unwrap(), "UID   PID  PPID CMD\nroot   12     1 sleep 1\n");
        assert!(rows_of("CMD\ninit\n", &[1]).unwrap_err().to_string().contains("PID"));
    }
}
