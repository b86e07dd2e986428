//! update: other limits for a container, and another answer to its end.

use pillbox::container::Changes;

use super::check::{check_amounts, check_limits};
use super::compile::limits;
use super::event::{Happening, note};
use super::options::{Limits, Restart};
use super::record::ContainerRecord;
use super::rename::change_record;
use super::status::{Status, open};
use crate::error::Result;
use crate::store::{ContainerFolder, Store};

/// What is to be another way; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Update {
    /// The limits.
    pub limits: Limits,
    /// When it is started again.
    pub restart: Option<Restart>,
}

/// Changes a container; one that runs at once.
///
/// # Errors
/// A limit cannot be, by itself or with those that stay; everything stays as it was then.
pub fn update(store: &Store, folder: &ContainerFolder, update: &Update) -> Result<()> {
    check_limits(&update.limits)?;
    let mut whole = ContainerRecord::of(folder)?.options.limits;
    merge(&mut whole, update.limits.clone());
    check_amounts(&whole)?;
    let changed = limits(&with_partners(&update.limits, whole))?;
    if !changed.is_empty() && Status::of(store, folder)?.is_alive() && open(store, &folder.id)?.is_some() {
        let root = pillbox::Root::at(&store.place().runtime);
        let id = pillbox::ContainerId::new(folder.id.as_str())?;
        let resources = serde_json::Value::Object(changed).to_string();
        let changes = Changes { resources: &resources, l3_cache_schema: "", mem_bw_schema: "" };
        match pillbox::container::update(&root, &id, changes) {
            // It has just ended: the next start has them.
            Err(error) if matches!(error.kind(), pillbox::Kind::Status | pillbox::Kind::NotFound) => {}
            done => done?,
        }
    }
    change_record(folder, |record| {
        merge(&mut record.options.limits, update.limits.clone());
        record.options.restart = update.restart.unwrap_or(record.options.restart);
        Ok(())
    })?;
    note(store, &ContainerRecord::of(folder)?, &Happening::Update);
    Ok(())
}

/// What the kernel gets: of limits that go together, such as memory and swap, also the one that stays.
fn with_partners(asked: &Limits, whole: Limits) -> Limits {
    let mut limits = asked.clone();
    if asked.memory.is_some() || asked.memory_swap.is_some() {
        (limits.memory, limits.memory_swap) = (whole.memory, whole.memory_swap);
    }
    if asked.cpu_quota.is_some() || asked.cpu_period.is_some() {
        (limits.cpu_quota, limits.cpu_period) = (whole.cpu_quota, whole.cpu_period);
    }
    limits
}

/// Everything by its name: a new limit cannot be forgotten here.
fn merge(limits: &mut Limits, other: Limits) {
    let Limits {
        memory,
        memory_swap,
        memory_reservation,
        cpu_quota,
        cpu_period,
        cpu_shares,
        cpuset_cpus,
        cpuset_mems,
        pids,
        blkio_weight,
        ulimits,
        oom_score_adj,
    } = other;
    *limits = Limits {
        memory: memory.or(limits.memory),
        memory_swap: memory_swap.or(limits.memory_swap),
        memory_reservation: memory_reservation.or(limits.memory_reservation),
        cpu_quota: cpu_quota.or(limits.cpu_quota),
        cpu_period: cpu_period.or(limits.cpu_period),
        cpu_shares: cpu_shares.or(limits.cpu_shares),
        cpuset_cpus: cpuset_cpus.or(limits.cpuset_cpus.take()),
        cpuset_mems: cpuset_mems.or(limits.cpuset_mems.take()),
        pids: pids.or(limits.pids),
        blkio_weight: blkio_weight.or(limits.blkio_weight),
        ulimits: if ulimits.is_empty() { std::mem::take(&mut limits.ulimits) } else { ulimits },
        oom_score_adj: oom_score_adj.or(limits.oom_score_adj),
    };
}
