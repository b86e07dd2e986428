//! What a plugin reads from its stdin: its object in the configuration, with what belongs to the call
//! (SPEC.md, "Deriving request configuration from plugin configuration").

use pillbox_json::{List, Map, Raw, Text, object, parse};

use super::capability::Capabilities;
use super::conflist::{Conflist, Plugin};
use super::writer::Writer;
use crate::error::{Error, Result};

object! {
    /// What every plugin may be told. The members of its own configuration stand beside them.
    Request<'a> {
        "cniVersion" => cni_version: Text<'a>,
        /// The network's.
        "name" => name: Text<'a>,
        "type" => kind: Text<'a>,
        /// Capability arguments by name.
        "runtimeConfig" => runtime_config: Map<'a, Raw<'a>>,
        /// The result of the plugin before it; of DEL and CHECK that of the last one.
        "prevResult" => prev_result: Option<Raw<'a>>,
        /// Of GC: all that is still attached to the network.
        "cni.dev/valid-attachments" => valid_attachments: Option<List<ValidAttachment>>,
        /// The same, as it was called first.
        "cni.dev/attachments" => attachments: Option<List<ValidAttachment>>,
    }
}

object! {
    /// An attachment that exists, of all attachments to one network.
    #[derive(Eq)]
    ValidAttachment {
        "containerID" required => container_id: String,
        "ifname" required => ifname: String,
    }
}

/// Members that are the caller's, whatever the configuration has; and so are those that begin with
/// `cni.dev/`.
const CALLERS: [&str; 5] = ["cniVersion", "name", "capabilities", "prevResult", "runtimeConfig"];

/// Writes the request to a plugin; `added` are members with their values as JSON.
///
/// # Errors
/// The plugin's text is no object.
pub(super) fn write_request(conflist: &Conflist, plugin: &Plugin, added: &[(&str, &str)]) -> Result<String> {
    let own: Map<'_, Raw<'_>> = parse(plugin.text.as_bytes())
        .map_err(|error| Error::invalid(format_args!("plugin {}: {error}", plugin.kind)))?;
    let own = own.iter().map(|(name, Raw(value))| (&**name, *value));
    let kept = own.filter(|(name, _)| !CALLERS.contains(name) && !name.starts_with("cni.dev/"));
    let mut writer = Writer::new();
    writer.text("cniVersion", conflist.version.name());
    writer.text("name", &conflist.name);
    for (name, value) in kept.chain(added.iter().copied()) {
        writer.json(name, value);
    }
    Ok(writer.finish())
}

/// What a plugin gets of the capability arguments, as `runtimeConfig`; none if that is nothing.
pub(super) fn write_runtime_config(plugin: &Plugin, capabilities: &Capabilities) -> Option<String> {
    let mut writer = Writer::new();
    for (name, value) in capabilities.iter().filter(|(name, _)| plugin.wants(name)) {
        writer.json(name, value);
    }
    Some(writer.finish()).filter(|text| text != "{}")
}

impl ValidAttachment {
    /// Writes it.
    pub(super) fn write(&self) -> String {
        let mut writer = Writer::new();
        writer.text("containerID", &self.container_id);
        writer.text("ifname", &self.ifname);
        writer.finish()
    }
}
