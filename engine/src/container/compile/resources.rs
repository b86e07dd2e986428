//! Limits and devices.

use serde_json::{Map, Value, json};

use crate::container::facts::{Device, Facts};
use crate::container::options::{DeviceLimit, DeviceRule, DeviceUse, Limits, Options, PERIOD};
use crate::error::{Error, Result};
use crate::order::Collect;

/// null, zero, full, random, urandom, tty, console: what every program may use. fuse may not be opened where it is not asked for.
const USUAL: [(bool, u32, u32); 7] =
    [(true, 1, 5), (true, 1, 3), (true, 1, 9), (true, 1, 8), (true, 5, 0), (true, 5, 1), (false, 10, 229)];

pub fn compile(options: &Options, facts: &Facts) -> Result<Value> {
    let mut resources = limits(&options.limits)?;
    resources.insert("devices".into(), device_rules(options, facts));
    if let Some(limits) = device_limits(&facts.limited) {
        match resources.entry("blockIO").or_insert_with(|| json!({})) {
            Value::Object(block) => block.extend(limits),
            other => *other = Value::Object(limits),
        }
    }
    Ok(Value::Object(resources))
}

/// The limits alone, which can be changed while a container runs.
pub fn limits(limits: &Limits) -> Result<Map<String, Value>> {
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
        ulimits: _,
        oom_score_adj: _,
    } = limits;
    let mut resources = Map::new();
    let mut insert = |name: &str, members: &[(&str, Option<Value>)]| {
        let members: Map<String, Value> = members
            .iter()
            .filter_map(|(name, value)| value.clone().map(|value| (name.to_string(), value)))
            .collect_map();
        if !members.is_empty() {
            resources.insert(name.into(), Value::Object(members));
        }
    };
    let swap = memory_swap.or(default_swap(*memory)?);
    insert(
        "memory",
        &[
            ("limit", memory.map(|bytes| json!(bytes))),
            ("reservation", memory_reservation.map(|bytes| json!(bytes))),
            ("swap", swap.map(|bytes| json!(bytes))),
        ],
    );
    let period = cpu_period.or(cpu_quota.map(|_| PERIOD));
    insert(
        "cpu",
        &[
            ("shares", cpu_shares.map(|shares| json!(shares))),
            ("quota", cpu_quota.map(|quota| json!(quota))),
            ("period", period.map(|period| json!(period))),
            ("cpus", cpuset_cpus.as_ref().map(|list| json!(list))),
            ("mems", cpuset_mems.as_ref().map(|list| json!(list))),
        ],
    );
    insert("pids", &[("limit", pids.map(|count| json!(count)))]);
    insert("blockIO", &[("weight", blkio_weight.map(|weight| json!(weight)))]);
    Ok(resources)
}

/// As much swap as memory, as Docker has it: the sum is what is set.
fn default_swap(memory: Option<u64>) -> Result<Option<i64>> {
    let Some(memory) = memory else { return Ok(None) };
    let sum = memory.checked_mul(2).and_then(|sum| i64::try_from(sum).ok());
    sum.map(Some).ok_or_else(|| Error::invalid(format!("--memory {memory}: more than any machine has")))
}

fn device_rules(options: &Options, facts: &Facts) -> Value {
    if options.rights.privileged {
        return json!([{"allow": true, "access": "rwm"}]);
    }
    let mut rules = vec![json!({"allow": false, "access": "rwm"})];
    let usual = USUAL.iter().map(|(allow, major, minor)| {
        json!({"allow": allow, "type": "c", "major": major, "minor": minor, "access": "rwm"})
    });
    rules.extend(usual);
    rules.extend(facts.devices.iter().map(|device| {
        let kind = if device.is_block { "b" } else { "c" };
        json!({"allow": true, "type": kind, "major": device.major, "minor": device.minor, "access": device.access})
    }));
    rules.extend(options.device_rules.iter().map(|rule| {
        let DeviceRule { kind, major, minor, access } = rule;
        let mut rule = json!({"allow": true, "type": kind, "access": access});
        let numbers = [("major", major), ("minor", minor)];
        for (name, number) in numbers.into_iter().filter_map(|(name, number)| Some((name, (*number)?))) {
            rule[name] = json!(number);
        }
        rule
    }));
    Value::Array(rules)
}

/// Weights and rates of single devices.
fn device_limits(limited: &[(DeviceLimit, [u32; 2])]) -> Option<Map<String, Value>> {
    let mut lists: Map<String, Value> = Map::new();
    for (DeviceLimit { what, value, .. }, [major, minor]) in limited {
        let (list, member) = match what {
            DeviceUse::Weight => ("weightDevice", "weight"),
            DeviceUse::ReadBytes => ("throttleReadBpsDevice", "rate"),
            DeviceUse::WriteBytes => ("throttleWriteBpsDevice", "rate"),
            DeviceUse::ReadOperations => ("throttleReadIOPSDevice", "rate"),
            DeviceUse::WriteOperations => ("throttleWriteIOPSDevice", "rate"),
        };
        let entry = json!({"major": major, "minor": minor, member: value});
        if let Value::Array(entries) = lists.entry(list).or_insert_with(|| json!([])) {
            entries.push(entry);
        }
    }
    Some(lists).filter(|lists| !lists.is_empty())
}

pub fn device_nodes(devices: &[Device]) -> Value {
    let node = |device: &Device| {
        let Device { path, is_block, major, minor, mode, uid, gid, access: _ } = device;
        let kind = if *is_block { "b" } else { "c" };
        json!({"path": path, "type": kind, "major": major, "minor": minor, "fileMode": mode, "uid": uid, "gid": gid})
    };
    devices.iter().map(node).collect()
}
