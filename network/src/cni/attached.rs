//! One container on one network: what is kept of it until DEL.

use pillbox_json::{Raw, object, parse};

use super::argument::{check_container_id, check_interface_name, parse_args};
use super::capability::Capabilities;
use super::conflist::Conflist;
use super::result::AddResult;
use super::writer::Writer;
use crate::attachment::Holder;
use crate::error::{Error, Result};

/// The name of the first interface, unless the caller says otherwise.
pub const INTERFACE: &str = "eth0";

/// What the caller says for one attachment (SPEC.md, "Attachment Parameters").
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Unique on the host, whatever its state folder: plugins keep records by it.
    pub container_id: String,
    /// The path of the container's network namespace. DEL gets it while it leads there.
    pub namespace: String,
    /// The interface's name in the container, usually [`INTERFACE`].
    pub interface: String,
    /// `KEY=VALUE;KEY=VALUE`, for all plugins.
    pub args: String,
    /// For plugins that want them.
    pub capabilities: Capabilities,
}

/// An attachment: network, parameters and result. To be written down before ADD and again after it, for CHECK
/// and DEL need all of it as it was, whatever has become of the configuration's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    pub(super) conflist: Conflist,
    pub(super) parameters: Parameters,
    /// What the namespace's path led to at first: another one may stand there later.
    pub(super) namespace: Holder,
    /// The result of the last plugin that has answered to ADD.
    pub(super) result: Option<String>,
}

object! {
    /// As it is kept.
    Recorded<'a> {
        "conflist" required => conflist: Raw<'a>,
        "containerID" required => container_id: String,
        "ifname" required => ifname: String,
        "netns" required => netns: Holder,
        "args" => args: String,
        "capabilityArgs" required => capability_args: Raw<'a>,
        "result" => result: Option<Raw<'a>>,
    }
}

impl Attached {
    /// Puts a network and parameters together. Nothing happens yet.
    ///
    /// # Errors
    /// A parameter is not what CNI allows; the namespace is not there; no plugin of the network wants one of
    /// the capability arguments: it would be lost.
    pub fn new(conflist: Conflist, parameters: Parameters) -> Result<Attached> {
        let namespace = Holder::of(parameters.namespace.as_ref());
        let namespace = namespace.map_err(|error| error.after("network namespace"))?;
        let attached = Attached { conflist, parameters, namespace, result: None };
        attached.check_parameters().map_err(|error| error.after(&attached.name()))?;
        Ok(attached)
    }

    fn check_parameters(&self) -> Result<()> {
        let Parameters { container_id, namespace: _, interface, args, capabilities } = &self.parameters;
        check_container_id(container_id)?;
        check_interface_name(interface)?;
        parse_args(args)?;
        match capabilities.iter().find(|(name, _)| !self.conflist.wants(name)) {
            None => Ok(()),
            Some((name, _)) => Err(Error::invalid(format_args!(
                "capability argument {name:?}: no plugin of the network wants it: one of them must have \
                 \"capabilities\": {{{name:?}: true}}"
            ))),
        }
    }

    /// In errors: `CNI network dbnet`.
    pub(super) fn name(&self) -> String {
        self.conflist.in_errors()
    }

    /// The network.
    pub fn conflist(&self) -> &Conflist {
        &self.conflist
    }

    /// What the caller has said for it.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// What ADD has resulted in; none before that.
    ///
    /// # Errors
    /// The record has been changed, and is no result any more.
    pub fn result(&self) -> Result<Option<AddResult>> {
        self.result.as_deref().map(|text| AddResult::parse(text, self.conflist.version)).transpose()
    }

    /// All of it, for a file.
    pub fn to_json(&self) -> String {
        let Attached { conflist, parameters, namespace, result } = self;
        let Parameters { container_id, namespace: _, interface, args, capabilities } = parameters;
        let mut netns = Writer::new();
        netns.text("path", &namespace.path);
        netns.number("device", namespace.device);
        netns.number("inode", namespace.inode);
        let mut writer = Writer::new();
        writer.json("conflist", &conflist.to_json());
        writer.text("containerID", container_id);
        writer.text("ifname", interface);
        writer.json("netns", &netns.finish());
        writer.text("args", args);
        writer.json("capabilityArgs", &capabilities.to_json());
        if let Some(result) = result {
            writer.json("result", result);
        }
        writer.finish()
    }

    /// Reads what [`Attached::to_json`] has written.
    ///
    /// # Errors
    /// It is something else, with its path.
    pub fn from_json(text: &[u8]) -> Result<Attached> {
        let recorded: Recorded<'_> =
            parse(text).map_err(|error| Error::invalid(format_args!("CNI attachment: {error}")))?;
        let Recorded { conflist, container_id, ifname, netns, args, capability_args, result } = recorded;
        let parameters = Parameters {
            container_id,
            namespace: netns.path.clone(),
            interface: ifname,
            args,
            capabilities: Capabilities::from_json(capability_args.0)?,
        };
        let conflist = Conflist::parse(conflist.0.as_bytes())
            .map_err(|error| error.after("CNI attachment: conflist"))?;
        let result = result.map(|Raw(text)| text.to_string());
        let attached = Attached { conflist, parameters, namespace: netns, result };
        attached.check_parameters().map_err(|error| error.after("CNI attachment"))?;
        Ok(attached)
    }

    /// The path of the namespace if it still leads there, otherwise nothing. The process may have ended whose
    /// folder in /proc it is in, and its number be another's.
    ///
    /// # Errors
    /// The path cannot be looked at.
    pub(super) fn present_namespace(&self) -> Result<&str> {
        Ok(if self.namespace.is_there()? { &self.namespace.path } else { "" })
    }
}

/// Checks that the attachments of one container go together: each has an interface of its own.
///
/// # Errors
/// Two have the same, naming it and their networks.
pub fn check_together(attachments: &[Attached]) -> Result<()> {
    for (place, one) in attachments.iter().enumerate() {
        let interface = &one.parameters.interface;
        let same = attachments[..place].iter().find(|other| other.parameters.interface == *interface);
        if let Some(other) = same {
            return Err(Error::invalid(format_args!(
                "interface name {interface:?}: is for CNI network {} and for {}: each needs its own",
                other.conflist.name, one.conflist.name
            )));
        }
    }
    Ok(())
}
