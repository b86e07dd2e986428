//! Runs a bundle with the library, and prints the output of its program: `run BUNDLE`.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use pillbox::{Bundle, Container, CreateOptions, Root, Stdio};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("a bundle is missing: run BUNDLE")?;
    let bundle = Bundle::read(Path::new(&folder), None)?;

    let (mut output, write_end) = std::io::pipe()?;
    let options = CreateOptions::new().stdin(Stdio::Null).stdout(write_end);
    let id = format!("example-{}", std::process::id());
    let container = Container::create(&Root::from_environment(), &id, &bundle, options)?;
    for warning in container.warnings() {
        eprintln!("warning: {warning}");
    }

    let ended = run(&container, &mut output);
    // Also after an error, so that nothing is left behind.
    container.delete(true)?;
    let (text, status) = ended?;
    print!("{text}");
    Ok(ExitCode::from(status))
}

fn run(container: &Container, output: &mut impl std::io::Read) -> Result<(String, u8), Box<dyn Error>> {
    container.start()?;
    let mut text = String::new();
    output.read_to_string(&mut text)?;
    Ok((text, container.wait()?))
}
