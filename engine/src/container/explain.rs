//! What would be done: the configuration of a container, its network, and the plan that the runtime makes of them. Nothing is made.

use pillbox::container::{Prepared as Planned, Wishes};
use pillbox::explain::{OperationDocument, describe, one_line};
use pillbox::root::RootSource;
use pillbox::{Bundle, ContainerId};
use serde_json::{Value, json};

use super::compile::compile;
use super::create::check;
use super::facts::Facts;
use super::network::look_up;
use super::options::{MountSource, Options};
use super::root::RootFolders;
use super::rootless::Rootless;
use super::source::Source;
use crate::error::{Error, Result};
use crate::store::Store;

/// What would be done.
#[derive(Debug)]
pub struct Explained {
    /// What its root would be made of.
    pub root: String,
    /// config.json.
    pub config: Value,
    /// netconf.json.
    pub network: Value,
    /// What the runtime would do: each step and its object.
    pub runtime: Vec<(String, String)>,
    /// What init would do, in words.
    pub init: Vec<String>,
    /// The same for programs.
    pub operations: Value,
    /// What would be left out.
    pub warnings: Vec<String>,
}

/// The id of a container that is not made.
const ID: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What stands for the names of volumes that are given none.
const UNNAMED: &str = "NAMELESS";

/// Compiles everything that a container's start would.
///
/// # Errors
/// Something cannot be as it is asked for.
pub fn explain(store: &Store, source: &Source, mut options: Options) -> Result<Explained> {
    check(source, &options)?;
    for mount in &mut options.mounts {
        if let MountSource::Volume { name, .. } = &mut mount.source
            && name.is_empty()
        {
            *name = UNNAMED.to_string();
        }
    }
    let folder = store.place().data.join("containers").join(ID);
    let root = RootFolders::planned(store, &folder, &source.base);
    let mut facts = Facts::look(store, ID, &options, root.accounts()?)?;
    let rootless = Rootless::of(store).filter(|_| !options.network.names().is_empty());
    if let Some(namespaces) = rootless.map(|rootless| rootless.find()).transpose()?.flatten() {
        facts.joined.user = Some(namespaces.user_path());
    }
    let config = compile(&source.execution, &options, &facts)?;
    let (network, networks) = look_up(store, &source.execution, &options, folder.join("names"))?;
    let layers = root.layers(false);
    let shown = layers.to_string();
    let bundle =
        Bundle { path: root.work().to_path_buf(), config: config.text(), config_name: source.name.clone() };
    let wishes = Wishes {
        wait_for_start: true,
        stand_before: options.init,
        networks: Some(networks),
        state_folder: store.place().runtime.join(ID),
        root: RootSource::layers(layers),
        ..Wishes::default()
    };
    let id = ContainerId::new(ID)?;
    let planned = Planned::new(&bundle, &id, wishes)?;
    let plan = &planned.plan;
    let steps = planned.host_lines()?;
    let documents: Vec<_> =
        plan.operations().map(|operation| OperationDocument { operation, plan }).collect();
    let operations = serde_json::to_value(&documents).map_err(|error| Error::invalid(error.to_string()))?;
    Ok(Explained {
        root: shown,
        runtime: steps.into_iter().map(|(step, object)| (step.to_string(), one_line(&object))).collect(),
        init: plan.operations().map(|operation| describe(&operation, plan)).collect(),
        operations,
        warnings: plan.warnings.iter().map(|warning| one_line(warning.text())).collect(),
        config: config.document(),
        network,
    })
}

impl Explained {
    /// All of it for programs.
    pub fn document(&self) -> Value {
        let Explained { root, config, network, runtime, init: _, operations, warnings } = self;
        let steps: Value =
            runtime.iter().map(|(step, object)| json!({"operation": step, "object": object})).collect();
        json!({
            "root": root,
            "config": config,
            "network": network,
            "runtime": steps,
            "init": operations,
            "warnings": warnings,
        })
    }
}
