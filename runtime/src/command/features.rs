//! features: what this runtime supports.

use pillbox::error::Result;
use pillbox::json;

use super::print;
use crate::cli::{Arguments, Global};

pub fn features(_: &Global, _: Arguments) -> Result<u8> {
    print(&(json::pretty(&json::to_string(&pillbox::features::features())?) + "\n"))?;
    Ok(0)
}
