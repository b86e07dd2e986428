//! An operation for `explain --format json`.

use std::ffi::CStr;

use pillbox_init::plan::{Operation, Tree};
use pillbox_init::wire::Value;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::name::{
    attribute_names, namespace_names, pairs, rlimit_name, seccomp_flags, some_propagation, tree_idmap,
    tree_path, tree_root,
};
use crate::oci::capability;
use crate::plan::Plan;

/// An operation for `explain --format json`: its name, then its fields as in the plan, with names for the
/// kernel's numbers and paths for descriptors.
pub struct OperationDocument<'p> {
    /// The operation.
    pub operation: Operation<'p>,
    /// The plan that it belongs to.
    pub plan: &'p Plan,
}

impl Serialize for OperationDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Vec::new();
        self.operation.visit_fields(&mut |name, value| fields.push((name, value)));
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("operation", self.operation.name())?;
        for (name, value) in fields {
            match (&self.operation, name) {
                (Operation::Unshare(step), "flags") => {
                    let names = namespace_names(step.flags);
                    map.serialize_entry("namespaces", &names.split(' ').collect::<Vec<_>>())?;
                }
                (Operation::InstallSeccomp(step), "flags") => {
                    map.serialize_entry(name, &seccomp_flags(step.flags))?;
                }
                (Operation::SetRlimit(step), "resource") => {
                    map.serialize_entry(name, &rlimit_name(step.resource))?;
                }
                (Operation::SetRlimit(_), "soft" | "hard") if matches!(value, Value::Number(number) if number == i128::from(u64::MAX)) =>
                {
                    map.serialize_entry(name, "unlimited")?;
                }
                (Operation::Mount(step), "parameters") => {
                    map.serialize_entry(name, &pairs(step.parameters))?;
                }
                (Operation::Mount(step), "otherwise") if step.otherwise.is_none() => {
                    map.serialize_entry(name, &None::<()>)?;
                }
                _ => map.serialize_entry(name, &ValueDocument(value, self.plan))?,
            }
        }
        map.end()
    }
}

struct ValueDocument<'p>(Value<'p>, &'p Plan);

impl Serialize for ValueDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Number(number) => match u64::try_from(number) {
                Ok(number) => serializer.serialize_u64(number),
                Err(_) => serializer.serialize_i64(number as i64),
            },
            Value::Octal(mode) => serializer.serialize_str(&format!("{mode:04o}")),
            Value::Bits(bits) => serialize_list(serializer, capability::names(bits)),
            Value::Flag(flag) => serializer.serialize_bool(flag),
            Value::Text(string) => serializer.serialize_str(&string.to_string_lossy()),
            Value::Texts(strings) => serialize_list(serializer, strings.iter().map(CStr::to_string_lossy)),
            Value::Numbers(numbers) => serialize_list(serializer, numbers.iter()),
            // A filter: each instruction as one number, as in memory.
            Value::Bytes(bytes) => serialize_list(
                serializer,
                bytes.as_chunks::<8>().0.iter().map(|instruction| u64::from_ne_bytes(*instruction)),
            ),
            Value::Attributes(attributes) => {
                serialize_list(serializer, attribute_names(attributes).into_iter())
            }
            Value::Propagation(propagation) => match some_propagation(propagation) {
                Some(name) => serializer.serialize_str(&name),
                None => serializer.serialize_none(),
            },
            Value::Tree(tree) => {
                let mut map = serializer.serialize_map(None)?;
                if let Some((path, recursive)) = tree_path(tree, self.1) {
                    map.serialize_entry("path", &path.to_string_lossy())?;
                    map.serialize_entry("recursive", &recursive)?;
                }
                if let Some(source) = tree_root(tree, self.1) {
                    map.serialize_entry("source", &source.to_string())?;
                }
                map.serialize_entry("idMapped", &tree_idmap(tree, self.1))?;
                if matches!(tree, Tree::Inside { .. }) {
                    map.serialize_entry("inside", &true)?;
                }
                let opened_by = if matches!(tree, Tree::Descriptor(_)) { "runtime" } else { "init" };
                map.serialize_entry("openedBy", opened_by)?;
                map.end()
            }
            Value::Word(word) => serializer.serialize_str(word),
        }
    }
}

fn serialize_list<S: Serializer, T: Serialize>(
    serializer: S,
    items: impl Iterator<Item = T>,
) -> Result<S::Ok, S::Error> {
    let mut sequence = serializer.serialize_seq(None)?;
    for item in items {
        sequence.serialize_element(&item)?;
    }
    sequence.end()
}
