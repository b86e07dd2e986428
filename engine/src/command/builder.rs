//! builder prune: what builds have kept goes.

use super::confirmation::{FORCE, is_confirmed};
use super::table::{human_size, list};
use super::{Arguments, Command, Flag, Global, print};
use crate::container::ContainerRecord;
use crate::error::Result;
use crate::inside::usage;
use crate::store::Store;

pub const PRUNE: Command = Command {
    name: "builder prune",
    aliases: &["buildx prune"],
    operands: "",
    operand_count: 0..=0,
    help: "remove what builds have kept: layers of steps, and caches that RUN mounts",
    flags: &[&[
        FORCE,
        Flag { long: "all", short: Some('a'), value: None, help: "also what images are made of (as always)" },
    ]],
    ends_at_operand: false,
    run: prune,
};

fn prune(global: &Global, arguments: &Arguments) -> Result<u8> {
    if !is_confirmed(arguments, "everything that builds have kept")? {
        return Ok(0);
    }
    let store = global.store()?;
    let (keys, mounts) = prune_builds(&store)?;
    let removals = store.removals()?;
    let collected = removals.collect_all(|| ContainerRecord::layers_in_use(&store))?;
    let said = list("Deleted build cache objects", &keys);
    print(&format!("{said}Total reclaimed space: {}\n", human_size(collected.bytes + mounts)))
}

/// Forgets all steps, and removes the caches that RUN mounts and nobody uses; how many bytes those were. The layers of steps are
/// collected later.
///
/// # Errors
/// Something cannot be removed.
pub fn prune_builds(store: &Store) -> Result<(Vec<String>, u64)> {
    let cache = store.build_cache();
    let mut keys = Vec::new();
    for (key, _) in cache.list()? {
        cache.forget(&key)?;
        keys.push(key.hex());
    }
    cache.forget_instructions()?;
    let mut freed = 0;
    for folder in cache.mounts()? {
        let size = usage(store.maps(), &folder)?;
        if cache.remove_mount(&folder)? {
            freed += size;
        }
    }
    Ok((keys, freed))
}
