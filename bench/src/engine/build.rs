//! An image of twelve steps, built from a Dockerfile: box beside BuildKit in Docker.

use std::fs;
use std::path::Path;

use super::contender::{BOX, Contender, DOCKER};
use super::image::FIVE;
use crate::course::{Course, Line, interleave, lines};
use crate::error::{Context, Result};

/// Nothing is in the cache, and everything.
pub const BUILD: [&str; 2] = ["build of 12 steps", "build of 12 steps, cached"];

/// Writes the context.
fn write_context(folder: &Path) -> Result<()> {
    let dockerfile = format!(
        r#"FROM {FIVE}
ENV A=b
WORKDIR /app
COPY one ./
RUN ["/bin/true"]
COPY two ./
RUN ["/bin/true", "again"]
LABEL name=value
COPY folder folder/
RUN ["/bin/true", "once more"]
RUN ["/bin/true", "for the last time"]
CMD ["/bin/true"]
"#
    );
    let write = |name: &str, text: &str| {
        let file = folder.join(name);
        fs::write(&file, text).context(|| format!("write {}", file.display()))
    };
    fs::create_dir_all(folder.join("folder")).context(|| "mkdir")?;
    write("Dockerfile", &dockerfile)?;
    write("one", "one\n")?;
    write("two", "two\n")?;
    (0..100).try_for_each(|number| write(&format!("folder/{number}"), "small\n"))
}

/// Builds it with each of those that build.
pub fn measure(course: &Course<'_>, contenders: &[Contender]) -> Result<Vec<Line>> {
    eprintln!("bench: {} …", BUILD.join(", "));
    let folder = course.scratch.file("context");
    write_context(&folder)?;
    let builders: Vec<_> = contenders.iter().filter(|engine| [BOX, DOCKER].contains(&engine.name)).collect();
    let samples = interleave(course.runs, BUILD.len(), &builders, &mut |engine, samples| {
        let build = |flags: &[&str]| {
            let mut arguments = vec!["build".as_ref(), "-q".as_ref(), "-t".as_ref(), "built:1".as_ref()];
            arguments.extend(flags.iter().map(std::ffi::OsStr::new));
            arguments.push(folder.as_os_str());
            engine.time(&arguments)
        };
        samples[0].add(build(&["--no-cache"]));
        samples[1].add(build(&[]));
    });
    let names: Vec<_> = builders.iter().map(|engine| engine.name).collect();
    Ok(lines(&BUILD, &names, samples))
}
