//! Lists of many: containers and images.

use super::contender::Contender;
use super::image::{self, FIVE};
use super::life::names;
use crate::course::{Course, Line, interleave, lines};
use crate::error::Result;

/// `images` of this many.
pub const IMAGES: usize = 200;

/// The names of the cases.
pub fn ps(live: usize) -> String {
    format!("ps -a of {live}")
}

pub fn images() -> String {
    format!("images of {IMAGES}")
}

/// Fills the stores, and lists.
pub fn measure(course: &Course<'_>, contenders: &[Contender]) -> Result<Vec<Line>> {
    let (ps, images) = (ps(course.live), images());
    eprintln!("bench: {ps}, {images} …");
    let archive = course.scratch.file("many.tar");
    image::write_many(&archive, IMAGES)?;
    for engine in contenders {
        engine.time(&["load".as_ref(), "-i".as_ref(), archive.as_os_str()])?;
        for number in 0..course.live {
            engine.time(&[
                "create",
                "--network",
                "none",
                "--name",
                &format!("listed-{number}"),
                FIVE,
                "/bin/true",
            ])?;
        }
    }
    let samples = interleave(course.runs, 2, contenders, &mut |engine, samples| {
        samples[0].add(engine.time(&["ps", "-a"]));
        samples[1].add(engine.time(&["images"]));
    });
    contenders.iter().for_each(Contender::discard_all);
    Ok(lines(&[&ps, &images], &names(contenders), samples))
}
