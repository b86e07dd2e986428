//! The flags of `run` and `create` that have a form of their own: volumes, mounts, memory, devices.

use std::path::{Path, PathBuf};

use crate::container::size::parse_bytes;
use crate::container::{Access, DeviceRequest, Mount, MountSource, Owners, VolumeWish, check_volume_name};
use crate::error::{Error, Kind, Result};

/// Why box does not do what Podman's `U` asks for.
const CHOWN: &str = "U: box gives no files of the host another owner; idmap=uids=STORED-SHOWN-COUNT shows them with another one, and a volume that is empty begins with the image's owners";

/// Podman's `idmap` alone goes by the container's own ids.
const IDMAP: &str = "idmap: root's containers have the host's ids, so that it must say which are shown as which: idmap=uids=STORED-SHOWN-COUNT;gids=STORED-SHOWN-COUNT";

/// How mounts of the host and of the container follow one another.
pub const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// `SOURCE:TARGET[:OPTIONS]`, where the source is a path or the name of a volume; or `TARGET` alone, a volume without a name.
pub fn parse_volume(text: &str) -> Result<Mount> {
    let wrong = |what: &str| Error::invalid(format!("--volume {text}: {what}"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, flags) = match parts[..] {
        [target] => ("", target, ""),
        [source, target] => (source, target, ""),
        [source, target, flags] => (source, target, flags),
        _ => return Err(wrong("must be SOURCE:TARGET or SOURCE:TARGET:OPTIONS")),
    };
    if parts.len() > 1 && source.is_empty() && !target.is_empty() {
        // As that of a variable that is not set: nothing of it would be kept.
        return Err(wrong("a source is missing: must be a path or the name of a volume"));
    }
    if flags.split(',').filter(|flag| matches!(*flag, "ro" | "rw")).count() > 1 {
        return Err(wrong("ro and rw: one of them"));
    }
    let is_path = source.starts_with(['/', '.']);
    let (mut access, mut copies, mut propagation, mut owners) = (Access::ReadWrite, true, None, None);
    for flag in flags.split(',').filter(|flag| !flag.is_empty()) {
        match flag {
            "ro" => access = Access::ReadOnly,
            "rw" => access = Access::ReadWrite,
            "nocopy" if !is_path => copies = false,
            // Labels of SELinux: programs have the caller's, and get at what he gets at.
            "z" | "Z" => {}
            "U" => return Err(wrong(CHOWN)),
            "idmap" => return Err(wrong(IDMAP)),
            flag if flag.starts_with("idmap=") => {
                let parsed = Owners::parse(&flag["idmap=".len()..]);
                owners = Some(parsed.map_err(|what| wrong(&format!("idmap: {what}")))?);
            }
            flag if is_path && PROPAGATIONS.contains(&flag) => propagation = Some(flag.to_string()),
            flag => {
                return Err(wrong(&format!(
                    "{flag}: must be ro, rw, z, Z, idmap=…, of a path a propagation such as rslave, or of a volume nocopy"
                )));
            }
        }
    }
    let source = if is_path {
        let path = absolute(source).map_err(|error| wrong(&error.to_string()))?;
        MountSource::Bind { path, propagation }
    } else {
        if !source.is_empty() {
            check_volume_name(source).map_err(|error| wrong(&error.to_string()))?;
        }
        MountSource::Volume {
            name: source.to_string(),
            is_anonymous: false,
            copies,
            wish: VolumeWish::default(),
        }
    };
    check_target(target).map_err(wrong)?;
    Ok(Mount { owners, ..Mount::new(source, target.to_string(), access) })
}

/// What is wrong with a place in the container.
///
/// # Errors
/// Something cannot be mounted there.
pub fn check_target(target: &str) -> std::result::Result<(), &'static str> {
    let is_root = target.split('/').all(|part| matches!(part, "" | "."));
    match target {
        "" => Err("a target is missing: must be an absolute path in the container"),
        target if !target.starts_with('/') => Err("the target must be an absolute path in the container"),
        target if target.split('/').any(|part| part == "..") => Err("the target must have no .."),
        _ if is_root => Err("nothing can be mounted over the container's root"),
        _ => Ok(()),
    }
}

/// The same flag's, and every other's: nothing is mounted twice in the same place.
///
/// # Errors
/// Names `flag`, as it was written.
pub fn check_place(flag: &str, mount: &Mount, before: &[Mount]) -> Result<()> {
    let parts = |path: &str| -> Vec<String> {
        path.split('/').filter(|part| !matches!(*part, "" | ".")).map(str::to_string).collect()
    };
    if before.iter().any(|other| parts(&other.destination) == parts(&mount.destination)) {
        let text = format!("{flag}: {}: something else is mounted there already", mount.destination);
        return Err(Error::invalid(text));
    }
    Ok(())
}

/// What is mounted is there.
///
/// # Errors
/// As for [`check_place`].
pub fn check_source(flag: &str, mount: &Mount) -> Result<()> {
    let MountSource::Bind { path, .. } = &mount.source else { return Ok(()) };
    match std::fs::metadata(path).map_err(Error::from) {
        Err(error) if error.kind() == Kind::NotFound => {
            let path = path.display();
            Err(Error::not_found(format!("{flag}: {path} is missing: --mkdir makes it a folder")))
        }
        Err(error) => Err(error.context(flag)),
        Ok(_) => Ok(()),
    }
}

fn absolute(path: &str) -> std::io::Result<PathBuf> {
    std::path::absolute(Path::new(path))
}

/// `type=bind,source=/a,target=/b,readonly`.
pub fn parse_mount(text: &str) -> Result<Mount> {
    let wrong = |what: &str| Error::invalid(format!("--mount {text}: {what}"));
    // Docker: without a type it is a volume.
    let (mut kind, mut source, mut target, mut access) = ("volume", None, None, Access::ReadWrite);
    let (mut propagation, mut tmpfs, mut copies, mut owners) = (None, Vec::new(), true, None);
    let fields = split_fields(text).map_err(wrong)?;
    let mut wish = VolumeWish::default();
    for field in &fields {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        match (name, value) {
            ("type", value) => kind = value,
            ("source" | "src", value) => source = Some(value),
            ("target" | "destination" | "dst", value) => target = Some(value),
            ("readonly" | "ro", "" | "true" | "1") => access = Access::ReadOnly,
            ("readonly" | "ro", "false" | "0") => access = Access::ReadWrite,
            ("bind-propagation", value) if PROPAGATIONS.contains(&value) => {
                propagation = Some(value.to_string())
            }
            ("volume-nocopy", "" | "true" | "1") => copies = false,
            ("volume-nocopy", "false" | "0") => copies = true,
            ("volume-driver", "" | "local") => {}
            ("volume-driver", _) => return Err(wrong(&format!("{field}: must be local"))),
            ("volume-subpath", "") => {}
            ("volume-subpath", _) => {
                return Err(wrong(&format!("{field}: a volume is mounted as a whole: --volume, and cd")));
            }
            ("volume-opt" | "volume-label", pair) => {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                let all = if name == "volume-opt" { &mut wish.options } else { &mut wish.labels };
                all.insert(key.to_string(), value.to_string());
            }
            ("U" | "chown", _) => return Err(wrong(CHOWN)),
            ("idmap", "") => return Err(wrong(IDMAP)),
            ("idmap", ranges) => {
                let parsed = Owners::parse(ranges);
                owners = Some(parsed.map_err(|what| wrong(&format!("idmap: {what}")))?);
            }
            ("tmpfs-size", value) => {
                let size = parse_bytes("tmpfs-size", value).map_err(|error| wrong(&error.to_string()))?;
                tmpfs.push(format!("size={size}"));
            }
            ("tmpfs-mode", value) => {
                let is_mode = u32::from_str_radix(value, 8).is_ok_and(|mode| mode <= 0o7777);
                if !is_mode {
                    return Err(wrong(&format!("{field}: must be a mode such as 1777")));
                }
                tmpfs.push(format!("mode={value}"));
            }
            ("bind-propagation", _) => {
                return Err(wrong(&format!("{field}: must be one of {}", PROPAGATIONS.join(", "))));
            }
            ("readonly" | "ro" | "volume-nocopy", _) => {
                return Err(wrong(&format!("{field}: must be true or false")));
            }
            _ => {
                return Err(wrong(&format!(
                    "{field}: must be type, source, target, readonly, bind-propagation, idmap, volume-nocopy, volume-opt, volume-label, tmpfs-size or tmpfs-mode, =…"
                )));
            }
        }
    }
    let destination = target.ok_or_else(|| wrong("target is missing"))?.to_string();
    if kind != "volume" && !wish.is_usual() {
        return Err(wrong(&format!("volume-opt and volume-label: type={kind} has none")));
    }
    let source = match (kind, source) {
        ("bind", Some(path)) => {
            let path = absolute(path).map_err(|error| wrong(&error.to_string()))?;
            MountSource::Bind { path, propagation }
        }
        ("bind", None) => return Err(wrong("source is missing")),
        ("volume", source) => {
            let name = source.unwrap_or_default().to_string();
            if !name.is_empty() {
                check_volume_name(&name).map_err(|error| wrong(&error.to_string()))?;
            }
            MountSource::Volume { name, is_anonymous: false, copies, wish }
        }
        ("tmpfs", None) => MountSource::Tmpfs { options: tmpfs },
        ("tmpfs", Some(_)) => return Err(wrong("source: memory has none")),
        (kind, _) => return Err(wrong(&format!("type={kind}: must be bind, volume or tmpfs"))),
    };
    check_target(&destination).map_err(wrong)?;
    if owners.is_some() && matches!(source, MountSource::Tmpfs { .. }) {
        return Err(wrong("idmap: memory is empty, and has no owners yet"));
    }
    Ok(Mount { owners, ..Mount::new(source, destination, access) })
}

/// Fields between commas; one with commas in it stands in quotes.
fn split_fields(text: &str) -> std::result::Result<Vec<String>, &'static str> {
    let (mut fields, mut field, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => field.extend(letters.next()),
            '"' if is_quoted || field.is_empty() => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(std::mem::take(&mut field)),
            letter => field.push(letter),
        }
    }
    fields.push(field);
    if is_quoted { Err("a quote has no end") } else { Ok(fields) }
}

/// `TARGET[:OPTIONS]`.
///
/// # Errors
/// The target cannot be one.
pub fn parse_tmpfs(text: &str) -> Result<Mount> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let mut access = Access::ReadWrite;
    let mut kept = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => access = Access::ReadOnly,
            "rw" => access = Access::ReadWrite,
            option => kept.push(option.to_string()),
        }
    }
    check_target(target).map_err(|what| Error::invalid(format!("--tmpfs {text}: {what}")))?;
    Ok(Mount::new(MountSource::Tmpfs { options: kept }, target.to_string(), access))
}

/// `HOST[:TARGET[:ACCESS]]`.
pub fn parse_device(text: &str) -> Result<DeviceRequest> {
    let parts: Vec<&str> = text.split(':').collect();
    let is_access = |text: &str| !text.is_empty() && text.bytes().all(|byte| b"rwm".contains(&byte));
    let (host, container, access) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, access] if is_access(access) => (host, host, access),
        [host, container] => (host, container, "rwm"),
        [host, container, access] if is_access(access) => (host, container, access),
        _ => {
            return Err(Error::invalid(format!(
                "--device {text}: must be HOST, HOST:TARGET or HOST:TARGET:rwm"
            )));
        }
    };
    Ok(DeviceRequest { host: host.into(), container: container.to_string(), access: access.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_paths_or_names() {
        let of = |text: &str| parse_volume(text).unwrap();
        let bind = MountSource::Bind { path: "/a".into(), propagation: Some("rslave".into()) };
        assert_eq!((of("/a:/b:ro,rslave").source, of("/a:/b:ro").access), (bind, Access::ReadOnly));
        let volume = |name: &str, copies| MountSource::Volume {
            name: name.into(),
            is_anonymous: false,
            copies,
            wish: VolumeWish::default(),
        };
        assert_eq!(of("data:/b:nocopy").source, volume("data", false));
        assert_eq!((of("/b").source, of("/b").destination.as_str()), (volume("", true), "/b"));
        for wrong in [
            "a:b:c:d",
            "/a:/b:rox",
            "/a:/b:nocopy",
            "a b:/c",
            "data:/b:rslave",
            "data:b",
            "/a:/",
            "/a:",
            "/a:/b/../c",
        ] {
            assert!(parse_volume(wrong).unwrap_err().to_string().starts_with(&format!("--volume {wrong}: ")));
        }
    }

    #[test]
    fn mounts_have_fields() {
        let of = |text: &str| parse_mount(text).unwrap();
        let mount = of("type=tmpfs,dst=/t,tmpfs-size=64m,tmpfs-mode=1777,ro");
        let options = vec!["size=67108864".to_string(), "mode=1777".to_string()];
        assert_eq!((mount.source, mount.access), (MountSource::Tmpfs { options }, Access::ReadOnly));
        assert!(
            matches!(of("source=data,target=/d").source, MountSource::Volume { name, .. } if name == "data")
        );
        for wrong in [
            "type=bind,target=/b",
            "type=bind,source=/a",
            "type=npipe,target=/b",
            "target=/b,size=3",
            "type=tmpfs,target=/t,tmpfs-mode=9",
            "type=tmpfs,target=/t,tmpfs-size=x",
            "target=b",
            "target=/b,ro=x",
        ] {
            let error = parse_mount(wrong).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--mount {wrong}: ")), "{error}");
        }
        let mount = of("type=tmpfs,target=/t");
        let twice = check_place("--tmpfs /t/", &parse_tmpfs("/t/").unwrap(), &[mount]).unwrap_err();
        assert_eq!(twice.to_string(), "--tmpfs /t/: /t/: something else is mounted there already");
        assert!(parse_tmpfs("t").unwrap_err().to_string().starts_with("--tmpfs t: the target must be"));
        assert_eq!(parse_tmpfs("/t:size=1m,ro,exec").unwrap().access, Access::ReadOnly);
    }

    #[test]
    fn devices_have_a_place_and_an_access() {
        let of = |text: &str| parse_device(text).map(|device| (device.container, device.access)).ok();
        let expected = |container: &str, access: &str| Some((container.to_string(), access.to_string()));
        assert_eq!(of("/dev/fuse"), expected("/dev/fuse", "rwm"));
        assert_eq!(of("/dev/fuse:r"), expected("/dev/fuse", "r"));
        assert_eq!(of("/dev/sda:/dev/x:rw"), expected("/dev/x", "rw"));
        assert_eq!(of("/dev/sda:/dev/x:rx"), None);
    }
}
