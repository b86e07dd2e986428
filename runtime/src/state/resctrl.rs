//! `linux.intelRdt`: a container's class of service and its monitoring in resctrl. Sources: config-linux.md,
//! "IntelRdt"; the kernel's `Documentation/filesystems/resctrl.rst`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{Context, Error, Result, describe_io_error};
use crate::oci::ContainerId;
use crate::oci::spec::linux::IntelRdt;
use crate::state::{Entry, StateDirectory};
use crate::text::mountinfo;
use crate::validate::validate_intel_rdt;

/// The resctrl groups of a container's processes.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// The folder of the class of service.
    pub class: PathBuf,
    /// The folder of the monitoring group in it.
    pub monitor: Option<PathBuf>,
}

impl StateDirectory {
    /// The resctrl groups for further processes of the container.
    ///
    /// # Errors
    /// The notes cannot be read.
    pub fn noted_resctrl(&self) -> Result<Option<Group>> {
        let Some(class) = self.noted(Entry::Resctrl)? else { return Ok(None) };
        Ok(Some(Group { class, monitor: self.noted(Entry::ResctrlMonitor)? }))
    }
}

/// Finds or makes the class and the monitoring group. What is made is noted in the state directory, so that
/// it can be removed.
///
/// # Errors
/// resctrl is not mounted; a class that must exist is missing, or an existing one has another schema; the
/// kernel refuses the schema.
pub fn prepare(intel_rdt: &IntelRdt<'_>, id: &ContainerId, directory: &StateDirectory) -> Result<Group> {
    let Some(mount) = find_mount(&mountinfo::read()?) else {
        return Err(Error::new(
            "linux.intelRdt: no resctrl file system is mounted: mount -t resctrl resctrl /sys/fs/resctrl \
             (processor and kernel need resource control), or leave it out",
        ));
    };
    prepare_in(&mount, intel_rdt, id, directory)
}

/// The schema of a class before it was changed.
pub struct FormerSchema {
    class: PathBuf,
    lines: Vec<String>,
}

impl FormerSchema {
    /// Writes the schema back, if the kernel allows it.
    pub fn restore(&self) {
        let _ = write_schema(&self.class, &self.lines);
    }
}

/// Changes lines in the schema of a container's class of service, which other containers may share.
///
/// # Errors
/// The container has no class; the kernel refuses the schema.
pub fn change(
    directory: &StateDirectory,
    l3_cache_schema: &str,
    mem_bw_schema: &str,
) -> Result<FormerSchema> {
    let Some(Group { class, .. }) = directory.noted_resctrl()? else {
        return Err(Error::new(
            "linux.intelRdt: the container was created without a class of service, whose schema could be changed",
        ));
    };
    let change = IntelRdt {
        l3_cache_schema: Some(l3_cache_schema.into()),
        mem_bw_schema: Some(mem_bw_schema.into()),
        ..IntelRdt::default()
    };
    validate_intel_rdt(Some(&change))?;
    let path = class.join("schemata");
    let there = fs::read_to_string(&path)
        .context(|| format!("linux.intelRdt: read {}: is the resctrl file system mounted", path.display()))?;
    write_schema(&class, &schema(&change))?;
    Ok(FormerSchema { class, lines: there.lines().map(|line| line.trim().to_string()).collect() })
}

/// The mount point of the last resctrl in a mountinfo.
fn find_mount(mountinfo: &[u8]) -> Option<PathBuf> {
    mountinfo::parse(mountinfo).rfind(|mount| mount.kind == "resctrl").map(|mount| mount.point)
}

fn prepare_in(
    mount: &Path,
    intel_rdt: &IntelRdt<'_>,
    id: &ContainerId,
    directory: &StateDirectory,
) -> Result<Group> {
    let IntelRdt { clos_id, l3_cache_schema: _, mem_bw_schema: _, schemata: _, enable_monitoring } =
        intel_rdt;
    let schema = schema(intel_rdt);
    let class = match clos_id.as_deref().unwrap_or_default() {
        "" => mount.join(id.as_str()),
        "/" => mount.to_path_buf(),
        name => mount.join(name),
    };
    let must_exist = clos_id.as_ref().is_some_and(|name| !name.is_empty()) && schema.is_empty();
    if must_exist {
        fs::metadata(&class).context(|| format!("linux.intelRdt.closID: {}", class.display()))?;
    } else if make(&class)? {
        directory.note(Entry::ResctrlClass, &class)?;
        write_schema(&class, &schema)?;
    } else {
        check_schema(&class, &schema)?;
    }
    let monitor = if *enable_monitoring {
        let monitor = class.join("mon_groups").join(id.as_str());
        if make(&monitor)? {
            directory.note(Entry::ResctrlMonitor, &monitor)?;
        }
        Some(monitor)
    } else {
        None
    };
    directory.note(Entry::Resctrl, &class)?;
    Ok(Group { class, monitor })
}

/// The lines for `schemata`; a `memBwSchema` replaces the MB: lines of `l3CacheSchema`.
fn schema(intel_rdt: &IntelRdt<'_>) -> Vec<String> {
    let IntelRdt { clos_id: _, l3_cache_schema, mem_bw_schema, schemata, enable_monitoring: _ } = intel_rdt;
    let bandwidth = mem_bw_schema.as_deref().filter(|line| !line.is_empty());
    let cache = l3_cache_schema.as_deref().unwrap_or_default().lines();
    cache
        .filter(|line| bandwidth.is_none() || !line.trim_start().starts_with("MB:"))
        .chain(bandwidth)
        .chain(schemata.iter().map(|line| &**line))
        .filter(|line| !line.is_empty())
        .map(str::to_string)
        .collect()
}

/// mkdir(2); false if it exists already.
fn make(folder: &Path) -> Result<bool> {
    match rustix::fs::mkdir(folder, Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => {
            let hint =
                if errno == Errno::NOSPC { ": the processor has no more classes or monitors" } else { "" };
            Err(errno).context(|| format!("linux.intelRdt: make {}{hint}", folder.display()))
        }
    }
}

/// All lines in one write(2): the kernel takes either all of them or none.
fn write_schema(class: &Path, schema: &[String]) -> Result<()> {
    if schema.is_empty() {
        return Ok(());
    }
    let path = class.join("schemata");
    let text = schema.join("\n") + "\n";
    let written =
        File::options().write(true).open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        // The kernel gives the reason in the root of the file system: the class itself if it is the default
        // one, otherwise its parent.
        let folders = [class, class.parent().unwrap_or(class)].into_iter();
        let said = folders.map(|folder| fs::read_to_string(folder.join("info/last_cmd_status")));
        let said = said.flatten().next().unwrap_or_default();
        Error::formatted(format_args!(
            "linux.intelRdt: write {text:?} to {}: {}: {}",
            path.display(),
            describe_io_error(&error),
            said.trim()
        ))
    })
}

/// An existing class is joined only if it has the schema that the container asks for.
fn check_schema(class: &Path, schema: &[String]) -> Result<()> {
    if schema.is_empty() {
        return Ok(());
    }
    let path = class.join("schemata");
    let there = fs::read_to_string(&path).context(|| format!("linux.intelRdt: read {}", path.display()))?;
    match schema.iter().find(|line| !is_said(line, &there)) {
        None => Ok(()),
        Some(line) => Err(Error::formatted(format_args!(
            "linux.intelRdt: {} exists with another schema than {line:?}: {:?}",
            class.display(),
            there.trim()
        ))),
    }
}

/// Whether the kernel's lines give every domain of a line the same value. The kernel pads its lines with
/// blanks and zeros.
fn is_said(line: &str, there: &str) -> bool {
    let parse = |line: &str| {
        let (kind, domains) = line.trim().split_once(':')?;
        let domains = domains.split(';').map(|domain| {
            let (number, value) = domain.split_once('=')?;
            let value = value.trim().to_ascii_lowercase();
            Some((number.trim().to_string(), value.trim_start_matches('0').to_string()))
        });
        Some((kind.trim().to_string(), domains.collect::<Option<Vec<_>>>()?))
    };
    let Some((kind, wanted)) = parse(line) else { return false };
    let found = there.lines().filter_map(parse).find(|(other, _)| *other == kind);
    found.is_some_and(|(_, found)| wanted.iter().all(|domain| found.contains(domain)))
}

impl Group {
    /// Moves a process with one thread into the group; its future children start there.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn add(&self, pid: Pid) -> Result<()> {
        for group in [Some(&self.class), self.monitor.as_ref()].into_iter().flatten() {
            let path = group.join("tasks");
            let added = File::options()
                .write(true)
                .open(&path)
                .and_then(|mut file| file.write_all(pid.as_raw_nonzero().to_string().as_bytes()));
            added.context(|| format!("linux.intelRdt: write {pid} to {}", path.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::spec::json::{List, Text};

    fn asked(l3: &'static str, bandwidth: &'static str, schemata: &[&'static str]) -> IntelRdt<'static> {
        let text = |text: &'static str| Some(Text::from(text)).filter(|text| !text.is_empty());
        IntelRdt {
            l3_cache_schema: text(l3),
            mem_bw_schema: text(bandwidth),
            schemata: List(schemata.iter().map(|line| Text::from(*line)).collect()),
            ..IntelRdt::default()
        }
    }

    #[test]
    fn bandwidth_of_its_own_field_replaces_that_of_the_cache_schema() {
        assert_eq!(
            schema(&asked("L3:0=f\nMB:0=20", "MB:0=50", &["L2:0=1"])),
            ["L3:0=f", "MB:0=50", "L2:0=1"]
        );
        assert_eq!(schema(&asked("L3:0=f\nMB:0=20", "", &[])), ["L3:0=f", "MB:0=20"]);
        assert!(schema(&asked("", "", &[])).is_empty());
    }

    #[test]
    fn schemas_are_compared_domain_by_domain() {
        let there = "    MB:0= 20;1=100\n    L3:0=00ff;1=c0\n";
        assert!(is_said("L3:0=ff;1=0C0", there) && is_said("MB:1=100", there) && is_said("L3:1=c0", there));
        assert!(!is_said("L3:0=f", there) && !is_said("L2:0=ff", there) && !is_said("L3:2=ff", there));
        assert!(!is_said("nonsense", there));
    }

    #[test]
    fn the_mount_is_the_one_of_that_type() {
        let mountinfo = b"20 1 0:18 / /sys rw - sysfs sysfs rw\n21 20 0:19 / /sys/fs/resctrl rw shared:4 - resctrl resctrl rw\n";
        assert_eq!(find_mount(mountinfo), Some("/sys/fs/resctrl".into()));
        assert_eq!(find_mount(b"20 1 0:18 / /resctrl rw - tmpfs resctrl rw\n"), None);
    }

    /// A folder that looks like a resctrl with one class, and a state folder.
    fn fake(name: &str) -> (PathBuf, ContainerId, StateDirectory) {
        let folder = std::env::temp_dir().join(format!("pillbox-resctrl-{name}-{}", std::process::id()));
        let class = folder.join("resctrl/gold");
        fs::create_dir_all(class.join("mon_groups")).expect("folders");
        fs::write(class.join("schemata"), "    MB:0= 50\n    L3:0=00f\n").expect("file");
        fs::write(class.join("tasks"), "").expect("file");
        let id = ContainerId::new("box").expect("id");
        let directory = crate::state::Root::at(folder.join("state")).reserve(&id).expect("state");
        (folder, id, directory)
    }

    #[test]
    fn a_class_of_others_is_joined_and_stays() {
        let (folder, id, directory) = fake("joined");
        let mount = folder.join("resctrl");
        let gold = IntelRdt { clos_id: Some("gold".into()), ..asked("L3:0=f", "MB:0=50", &[]) };
        let group = prepare_in(&mount, &gold, &id, &directory).expect("group");
        group.add(Pid::INIT).expect("added");
        assert_eq!(fs::read_to_string(mount.join("gold/tasks")).expect("tasks"), "1");
        assert_eq!(directory.noted_resctrl().expect("note"), Some(group));
        let other = IntelRdt { clos_id: Some("gold".into()), ..asked("L3:0=3", "", &[]) };
        let error = prepare_in(&mount, &other, &id, &directory).expect_err("another schema");
        assert!(error.to_string().contains("another schema than \"L3:0=3\""), "{error}");
        let missing = IntelRdt { clos_id: Some("silver".into()), ..asked("", "", &[]) };
        assert!(prepare_in(&mount, &missing, &id, &directory).is_err() && !mount.join("silver").exists());
        // A class that was only joined is not undone: no entry says that it was made.
        let kinds: Vec<_> =
            directory.journal().expect("journal").into_iter().map(|(entry, _)| entry).collect();
        assert_eq!(kinds, [Entry::Resctrl]);
        fs::remove_dir_all(folder).expect("rm");
    }

    #[test]
    fn a_class_is_changed_and_changed_back() {
        let (folder, id, directory) = fake("changed");
        let class = folder.join("resctrl/gold/schemata");
        let Err(error) = change(&directory, "L3:0=3", "") else { panic!("a class from nowhere") };
        assert!(error.to_string().contains("without a class of service"), "{error}");
        let gold = IntelRdt { clos_id: Some("gold".into()), ..asked("L3:0=f", "", &[]) };
        prepare_in(&folder.join("resctrl"), &gold, &id, &directory).expect("group");
        let former = change(&directory, "L3:0=3", "MB:0=70").expect("changed");
        // In this plain file the lines replace its beginning; the kernel would replace lines.
        assert!(fs::read_to_string(&class).expect("schemata").starts_with("L3:0=3\nMB:0=70\n"));
        assert!(
            change(&directory, "", "L3:0=1").is_err() && change(&directory, "L3:0=1\nMB:0=1", "").is_err()
        );
        former.restore();
        assert!(fs::read_to_string(&class).expect("schemata").starts_with("MB:0= 50\nL3:0=00f\n"));
        fs::remove_dir_all(folder).expect("rm");
    }

    #[test]
    fn what_was_made_goes_with_the_state() {
        let (folder, id, directory) = fake("made");
        let mount = folder.join("resctrl");
        let own = asked("", "", &[]);
        assert_eq!(prepare_in(&mount, &own, &id, &directory).expect("group").class, mount.join("box"));
        let monitored =
            IntelRdt { clos_id: Some("gold".into()), enable_monitoring: true, ..asked("", "", &[]) };
        let (other, second) = (ContainerId::new("other").expect("id"), folder.join("state"));
        let second = crate::state::Root::at(second).reserve(&other).expect("state");
        let group = prepare_in(&mount, &monitored, &other, &second).expect("group");
        assert!(
            mount.join("gold/mon_groups/other").exists()
                && second.noted_resctrl().expect("note") == Some(group)
        );
        let noted = [directory.journal().expect("journal"), second.journal().expect("journal")].concat();
        let of_kind =
            |kind| noted.iter().filter(|(entry, _)| *entry == kind).map(|(_, path)| path).collect::<Vec<_>>();
        assert_eq!(of_kind(Entry::ResctrlClass), [&mount.join("box")]);
        assert_eq!(of_kind(Entry::ResctrlMonitor), [&mount.join("gold/mon_groups/other")]);
        fs::remove_dir_all(folder).expect("rm");
    }
}
