//! How little memory a container needs, as measured in a guest, because the machine itself may not have the
//! controller.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::course::Figure;
use crate::error::{Context, Result};

/// The smallest memory.max with which a container runs whose program only exits.
pub const SMALLEST: &str = "smallest memory.max of a container, in the guest";

/// Reads the figures from the file that `vm-tests --measure` writes.
pub fn read(file: &Path) -> Result<Vec<Figure>> {
    let text = fs::read_to_string(file).context(|| format!("read {}", file.display()))?;
    let document: Value = serde_json::from_str(&text).context(|| format!("parse {}", file.display()))?;
    let measured = document["smallest_memory"].as_object().into_iter().flatten();
    Ok(measured
        .filter_map(|(name, kib)| Some(Figure { what: SMALLEST, subject: name.clone(), kib: kib.as_f64()? }))
        .collect())
}
