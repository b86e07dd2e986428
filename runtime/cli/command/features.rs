//! features: what this runtime supports.

use pillbox::error::Result;
use pillbox::text::json;

use super::print;
use crate::arguments::{Arguments, Global};

pub fn features(_: &Global, _: Arguments) -> Result<u8> {
    print(&(json::pretty(&json::to_string(&pillbox::explain::features::features())?) + "\n"))?;
    Ok(0)
}
