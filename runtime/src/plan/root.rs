//! The root file system: how it is attached, and its propagation and attributes in the end.

use std::ffi::CStr;

use pillbox_init::plan::Tree;
use pillbox_init::plan::operation::{AttachRoot, AttachScratchRoot, SetMountAttributes};
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use super::Need;
use super::builder::{Builder, HostTree};
use super::text::c_string;
use super::{Descriptor, Intent, Mappings, Namespaces, mount};
use crate::error::{Error, Result};
use crate::validate::{NamespaceKind, RootfsPropagation, ValidSpec};

/// Where the container's root is attached in a copy of the seed: over everything there. The copies share the
/// seed's tmpfs, and a process that may unmount in a container can reach it, so nothing in it may be needed.
const ROOT_IN_SEED: &CStr = c"/";

/// Attaches the tree that becomes the root where init can pivot to it.
pub(super) fn compile_root(
    builder: &mut Builder<'_>,
    spec: &ValidSpec<'_>,
    from_seed: bool,
    namespaces: &Namespaces,
    mappings: Option<&Mappings>,
    intent: &Intent,
) -> Result<()> {
    if !intent.scratch_over.is_empty() {
        builder.push(AttachScratchRoot { at: c"/tmp" });
        for layer in &intent.scratch_over {
            mount::compile_layer(builder, layer)?;
        }
        return Ok(());
    }
    if !intent.root.is_path() {
        return compile_given_root(builder, spec, from_seed, namespaces, mappings, intent);
    }
    let rootfs = c_string("root.path", intent.root_source.as_ref().unwrap_or(&intent.rootfs))?;
    // Only the runtime has the descriptor that such a link leads through, and a mount namespace must offer a
    // place to mount the root.
    let needs = if !builder.host.privileged { "root's rights" } else { "a mount namespace of its own" };
    let can = builder.host.privileged && spec.namespace(NamespaceKind::Mount).is_some();
    if let (Some(source), false) = (&intent.root_source, can) {
        return Err(Error::formatted(format_args!(
            "root.path: {source}: no path leads to where this link does: such a root needs {needs}"
        )));
    }
    let tree =
        builder.tree(HostTree { path: &rootfs, field: "root.path", recursive: true, need: Need::Root });
    let place = if intent.root_source.is_some() { &c_string("bundle", &intent.bundle)? } else { &rootfs };
    let at: &CStr = if from_seed { ROOT_IN_SEED } else { place };
    builder.push(AttachRoot { tree, at, propagation: propagation_at_first(spec) });
    Ok(())
}

/// A root that no path leads to. It is attached on the bundle's folder, which is known to exist.
fn compile_given_root(
    builder: &mut Builder<'_>,
    spec: &ValidSpec<'_>,
    from_seed: bool,
    namespaces: &Namespaces,
    mappings: Option<&Mappings>,
    intent: &Intent,
) -> Result<()> {
    let source = &intent.root;
    let name = source.name();
    let needs = |what| Err(Error::formatted(format_args!("root: {name}: such a root needs {what}")));
    if !namespaces.makes(NamespaceKind::Mount) {
        return needs("a new mount namespace");
    }
    let joins_users = namespaces.joins(NamespaceKind::User);
    // With rights in the user namespace that init is executed in, the runtime gets into the others that are
    // made there.
    let mappings = mappings.filter(|_| namespaces.joined.is_empty() || joins_users);
    let index = match mappings {
        _ if builder.host.privileged => {
            builder.descriptor(Descriptor::Root { source: source.clone(), inside: None })
        }
        _ if !source.can_be_made_inside() => return needs("root's rights"),
        Some(mappings) => {
            builder.starts_in_user = joins_users;
            builder.ask_for_root(source.clone(), mappings.first_ids())
        }
        None => {
            return needs(
                "root's rights, or a user namespace, with its mappings, in which all namespaces are that are joined",
            );
        }
    };
    let at = if from_seed { ROOT_IN_SEED } else { &c_string("bundle", &intent.bundle)? };
    let tree = Tree::Descriptor(index);
    builder.push(AttachRoot { tree, at, propagation: propagation_at_first(spec) });
    Ok(())
}

fn propagation_at_first(spec: &ValidSpec<'_>) -> MountPropagationFlags {
    match spec.rootfs_propagation {
        RootfsPropagation::Private => MountPropagationFlags::PRIVATE,
        _ => MountPropagationFlags::DOWNSTREAM,
    }
}

/// Sets the final propagation of the root, and with `r…` of every mount.
pub(super) fn set_propagation(
    builder: &mut Builder<'_>,
    spec: &ValidSpec<'_>,
    propagation: MountPropagationFlags,
) {
    builder.push(SetMountAttributes {
        target: c"/",
        set: MountAttrFlags::empty(),
        propagation,
        recursive: spec.rootfs_propagation_recursive,
    });
}

pub(super) fn set_attributes(
    builder: &mut Builder<'_>,
    target: &CStr,
    set: MountAttrFlags,
    propagation: MountPropagationFlags,
) {
    builder.push(SetMountAttributes { target, set, propagation, recursive: false });
}

#[cfg(test)]
mod tests {
    use super::super::tests::{intent, privileged_host, rootless, seedless_host, user_host, valid};
    use super::super::{Host, Intent, compile};
    use crate::error::Result;
    use crate::explain::describe;
    use crate::oci::spec::default::default_spec;
    use crate::root::{Layers, RootSource};

    fn root_lines(config: &str, host: &Host, root: RootSource) -> Result<Vec<String>> {
        let intent = Intent { root, rootfs: String::new(), bundle: "/bundle".into(), ..intent() };
        let plan = compile(&valid(config), host, &intent)?;
        let lines = plan.operations().map(|operation| describe(&operation, &plan));
        Ok(lines
            .filter(|line| ["AttachRoot", "TakeTrees"].iter().any(|name| line.starts_with(name)))
            .collect())
    }

    #[test]
    fn a_root_without_a_path_is_attached_where_the_bundle_is() {
        let layers = || RootSource::layers(Layers::new(["/a", "/b"]));
        let lines = |config: &str, host: &Host| root_lines(config, host, layers()).expect("compiles");
        let attach = |at| format!("AttachRoot             an overlay of layers at {at} (rslave)");
        assert_eq!(lines(default_spec(), &privileged_host()), [attach("/ of the seed")]);
        assert_eq!(lines(default_spec(), &seedless_host()), [attach("/bundle")]);
        let ask = "TakeTrees              an overlay of layers".to_string();
        assert_eq!(lines(&rootless(), &user_host()), [ask, attach("/bundle")]);
    }

    #[test]
    fn init_is_executed_in_a_user_namespace_that_was_there_before() {
        let layers = || RootSource::layers(Layers::new(["/a", "/b"]));
        let compiled = |path: Option<&str>| {
            let mut config: serde_json::Value = serde_json::from_str(&rootless()).expect("is JSON");
            let namespaces = config["linux"]["namespaces"].as_array_mut().expect("is a list");
            let users =
                namespaces.iter_mut().find(|namespace| namespace["type"] == "user").expect("is there");
            if let Some(path) = path {
                users["path"] = path.into();
            }
            let intent =
                Intent { root: layers(), rootfs: String::new(), bundle: "/bundle".into(), ..intent() };
            compile(&valid(&config.to_string()), &user_host(), &intent).expect("compiles")
        };
        assert!(!compiled(None).starts_in_user);
        let joined = compiled(Some("/proc/1/ns/user"));
        assert!(joined.starts_in_user && joined.namespaces.joins(crate::validate::NamespaceKind::User));
    }

    #[test]
    fn what_such_a_root_needs_is_said() {
        let layers = || RootSource::layers(Layers::new(["/a", "/b"]));
        let refused = |config: &str, host: &Host, root| {
            root_lines(config, host, root).expect_err("refused").to_string()
        };
        let mut config: serde_json::Value = serde_json::from_str(default_spec()).expect("is JSON");
        let shared = |namespace: &serde_json::Value| namespace["type"] == "mount";
        config["linux"]["namespaces"]
            .as_array_mut()
            .expect("is a list")
            .retain(|namespace| !shared(namespace));
        for masked in ["maskedPaths", "readonlyPaths"] {
            config["linux"].as_object_mut().expect("is an object").remove(masked);
        }
        assert_eq!(
            refused(&config.to_string(), &privileged_host(), layers()),
            "root: an overlay of layers: such a root needs a new mount namespace"
        );
        let mount =
            RootSource::mount(std::fs::File::open("/").map(std::os::fd::OwnedFd::from).expect("open"));
        assert_eq!(
            refused(&rootless(), &user_host(), mount),
            "root: a mount of the caller's: such a root needs root's rights"
        );
    }
}
