//! A network's configuration: a list of plugins (SPEC.md, section 1).

use pillbox_json::reader::{Failed, Reader};
use pillbox_json::{List, Map, Raw, Value, object, parse};

use super::argument::check_network_name;
use super::version::Version;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::ip;

object! {
    /// The document, as it stands. One with `type` is a single plugin's, the form before 1.0.0.
    Document<'a> {
        "cniVersion" => cni_version: String,
        "cniVersions" => cni_versions: List<String>,
        "name" => name: String,
        "disableCheck" => disable_check: Flag,
        "disableGC" => disable_gc: Flag,
        "loadOnlyInlinedPlugins" => only_inlined: Flag,
        "plugins" => plugins: Option<List<Raw<'a>>>,
        "type" => kind: Option<Raw<'a>>,
    }
}

/// A boolean, which may be written as a string, as in the library that most callers use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flag(bool);

impl Value<'_> for Flag {
    fn read(&mut self, reader: &mut Reader<'_>) -> std::result::Result<(), Failed> {
        const EXPECTED: &str = "true or false";
        let of_name = |name: &str| name.to_ascii_lowercase().parse().ok();
        self.0 = match reader.peek() {
            Some(b'"') => ip::read(reader, EXPECTED, of_name)?,
            _ => reader.boolean(EXPECTED)?,
        };
        Ok(())
    }
}

/// A network's configuration: checked, and with all its plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflist {
    /// Unique on the host.
    pub name: String,
    /// The newest one of the document's that is spoken here.
    pub version: Version,
    /// CHECK is never called.
    pub disable_check: bool,
    /// GC is never called.
    pub disable_gc: bool,
    /// In the order of ADD; never empty.
    pub plugins: Vec<Plugin>,
}

/// A plugin of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// Its `type`: the name of its program.
    pub kind: String,
    /// Its object as it stands in the file.
    pub text: String,
    /// The capability arguments that it wants.
    pub capabilities: Vec<String>,
}

impl Conflist {
    /// Reads a document with all its plugins in it.
    ///
    /// # Errors
    /// It is not JSON, names no version that is spoken here, or a name or a plugin is missing or wrong; with
    /// its path.
    pub fn parse(text: &[u8]) -> Result<Conflist> {
        compile(read_document(text)?, text, None)
    }

    /// Whether one of the plugins wants that capability argument.
    pub fn wants(&self, capability: &str) -> bool {
        self.plugins.iter().any(|plugin| plugin.wants(capability))
    }

    /// Everything that counts, as a document: [`Conflist::parse`] makes the same of it.
    pub fn to_json(&self) -> String {
        let Conflist { name, version, disable_check, disable_gc, plugins } = self;
        let plugins: Vec<String> = plugins.iter().map(|plugin| plugin.text.clone()).collect();
        let mut writer = Writer::new();
        writer.text("cniVersion", version.name());
        writer.text("name", name);
        let switches =
            [("disableCheck", *disable_check), ("disableGC", *disable_gc), ("loadOnlyInlinedPlugins", true)];
        for (name, is_on) in switches {
            writer.json(name, if is_on { "true" } else { "false" });
        }
        writer.list("plugins", &plugins);
        writer.finish()
    }
}

impl Plugin {
    /// Reads a plugin's object.
    ///
    /// # Errors
    /// It is not an object, a member is there twice, `type` is missing or no file's name, a capability is not
    /// a boolean.
    pub fn parse(text: &str) -> Result<Plugin> {
        let members: Map<'_, Raw<'_>> = read("", text)?;
        let member =
            |name: &str| members.iter().find(|(key, _)| **key == *name).map(|(_, Raw(value))| *value);
        let kind: String = match member("type") {
            Some(value) => read("type: ", value)?,
            None => return Err(Error::invalid(format_args!("type: missing"))),
        };
        if kind.is_empty() || kind == "." || kind == ".." || kind.contains(['/', '\\', '\0']) {
            return Err(Error::invalid(format_args!("type: {kind:?} is not the name of a program's file")));
        }
        let wanted: Map<'_, Raw<'_>> = match member("capabilities") {
            Some(value) if value != "null" => read("capabilities: ", value)?,
            _ => Map::default(),
        };
        let mut capabilities = Vec::new();
        for (name, Raw(value)) in wanted.iter() {
            match *value {
                "true" => capabilities.push(name.to_string()),
                "false" | "null" => {}
                _ => {
                    return Err(Error::invalid(format_args!(
                        "capabilities.{name}: {value} is not true or false"
                    )));
                }
            }
        }
        Ok(Plugin { kind, text: text.trim().to_string(), capabilities })
    }

    /// Whether it wants that capability argument.
    pub fn wants(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|wanted| wanted == capability)
    }
}

/// Reads the document as it stands.
pub(super) fn read_document(text: &[u8]) -> Result<Document<'_>> {
    parse(text).map_err(|error| Error::invalid(format_args!("{error}")))
}

/// Reads what stands at `path`.
fn read<'a, T: Value<'a> + Default>(path: &str, text: &'a str) -> Result<T> {
    parse(text.as_bytes()).map_err(|error| Error::invalid(format_args!("{path}{error}")))
}

/// Reads the plugins in a folder's files, if there is such a folder.
pub(super) type Beside = fn(&str, &mut Vec<Plugin>) -> Result<()>;

/// Checks a document. `folder` is where it lies, if plugins may stand in files beside it, and what reads
/// them.
pub(super) fn compile(
    document: Document<'_>,
    text: &[u8],
    folder: Option<(&str, Beside)>,
) -> Result<Conflist> {
    let version = choose_version(&document)?;
    let Document {
        cni_version: _,
        cni_versions: _,
        name,
        disable_check,
        disable_gc,
        only_inlined,
        plugins: listed,
        kind,
    } = document;
    check_network_name(&name)?;
    let is_single = kind.is_some() && listed.is_none();
    let beside = folder
        .filter(|_| !is_single && !only_inlined.0)
        .map(|(folder, read)| (format!("{folder}/{name}"), read));
    let mut plugins = Vec::new();
    if is_single {
        plugins.push(Plugin::parse(&String::from_utf8_lossy(text))?);
    }
    for (place, Raw(text)) in listed.iter().flat_map(|listed| &listed.0).enumerate() {
        plugins.push(Plugin::parse(text).map_err(|error| error.after(&format!("plugins[{place}]")))?);
    }
    if let Some((folder, read)) = &beside {
        read(folder, &mut plugins)?;
    }
    if plugins.is_empty() {
        let elsewhere =
            beside.map(|(folder, _)| format!(", nor is there a file *.conf in {folder}")).unwrap_or_default();
        return Err(Error::invalid(format_args!("plugins: lists none{elsewhere}")));
    }
    Ok(Conflist { name, version, disable_check: disable_check.0, disable_gc: disable_gc.0, plugins })
}

fn choose_version(document: &Document<'_>) -> Result<Version> {
    let Document { cni_version, cni_versions, .. } = document;
    let is_named = |version: &Version| {
        let name = version.name();
        cni_version == name || cni_versions.iter().any(|other| other == name)
    };
    Version::ALL.into_iter().rev().find(is_named).ok_or_else(|| {
        let names = cni_versions.join(", ");
        Error::invalid(format_args!(
            "cniVersion: {cni_version:?}, cniVersions: [{names}]: must be {}",
            Version::NAMES
        ))
    })
}
