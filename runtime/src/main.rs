//! The `pillbox` command.
fn main() {}
