//! The command `box`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match pillbox_engine::command::run(std::env::args_os().skip(1)) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("box: {error}");
            ExitCode::from(error.status())
        }
    }
}
