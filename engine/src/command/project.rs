//! boxify.yaml: what `box run` without an image runs in a folder.
//!
//! ```yaml
//! imageName: alpine
//! settings:
//!   memoryLimit: 100m
//!   cpuLimit: 0.5
//! ```

use std::io::ErrorKind;
use std::path::Path;

use crate::container::Options;
use crate::container::processors;
use crate::container::size::parse_bytes;
use crate::error::{Context, Error, Result};

/// What stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The image.
    pub image: String,
    memory: Option<u64>,
    cpu_quota: Option<u64>,
}

const NAMES: [&str; 2] = ["boxify.yaml", "boxify.yml"];

impl Project {
    /// That of a folder.
    ///
    /// # Errors
    /// There is none, or something in it is not known.
    pub fn of(folder: &Path) -> Result<Project> {
        for name in NAMES {
            match std::fs::read_to_string(folder.join(name)) {
                Ok(text) => return parse(&text).context(|| name.to_string()),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error).context(|| name.to_string()),
            }
        }
        Err(Error::invalid("run: IMAGE is missing, and there is no boxify.yaml here: see box run --help"))
    }

    /// Puts its limits where the command line says nothing.
    pub fn fill(&self, options: &mut Options) {
        let limits = &mut options.limits;
        limits.memory = limits.memory.or(self.memory);
        limits.cpu_quota = limits.cpu_quota.or(self.cpu_quota);
        if options.command.is_empty() {
            options.command = vec!["sh".to_string()];
        }
    }
}

/// The little of YAML that there is: names and values, one level below `settings`.
fn parse(text: &str) -> Result<Project> {
    let (mut image, mut memory, mut cpu_quota) = (None, None, None);
    let mut is_below = false;
    for (number, line) in text.lines().enumerate() {
        let wrong = |what: &str| Error::invalid(format!("line {}: {:?}: {what}", number + 1, line.trim()));
        let content = line.split(" #").next().unwrap_or_default().trim_end();
        if content.is_empty() || content.starts_with('#') || content == "---" {
            continue;
        }
        let is_indented = content.starts_with([' ', '\t']);
        let (name, value) = content.trim().split_once(':').ok_or_else(|| wrong("must be NAME: VALUE"))?;
        let value = value.trim().trim_matches(['"', '\'']);
        match (is_indented && is_below, name, value) {
            (false, "imageName", value) if !is_indented && !value.is_empty() => {
                image = Some(value.to_string());
                is_below = false;
            }
            (false, "settings", "") if !is_indented => is_below = true,
            (true, "memoryLimit", value) => memory = Some(parse_bytes("memoryLimit", value)?),
            (true, "cpuLimit", value) => cpu_quota = processors("cpuLimit", value)?,
            _ => return Err(wrong("must be imageName, or settings with memoryLimit and cpuLimit below it")),
        }
    }
    let image = image.ok_or_else(|| Error::invalid("imageName is missing"))?;
    Ok(Project { image, memory, cpu_quota })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxifys_files_are_read() {
        let text = "# a shell\nimageName: \"alpine:3\"  # the newest\nsettings:\n  memoryLimit: 100m\n  cpuLimit: 0.5\n";
        let project = parse(text).unwrap();
        assert_eq!(project.image, "alpine:3");
        assert_eq!((project.memory, project.cpu_quota), (Some(100 << 20), Some(50_000)));
        let refused = |text: &str| parse(text).unwrap_err().to_string();
        assert!(refused("settings:\n  diskLimit: 1g\n").starts_with("line 2: \"diskLimit: 1g\": must be"));
        assert!(refused("memoryLimit: 1g\n").starts_with("line 1: "));
        assert_eq!(refused(""), "imageName is missing");
        assert!(refused("imageName: x\nsettings:\n  memoryLimit: lots\n").contains("memoryLimit lots"));
    }
}
