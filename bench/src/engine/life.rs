//! One container after another: in the foreground, on a network, left running; programs in it; its end.

use std::time::Duration;

use super::contender::Contender;
use super::image::FIVE;
use crate::course::{Course, Line, Subject, interleave, lines};
use crate::figures::Samples;
use crate::runtime::Runtime;

/// A container without a network, beside a runtime that runs a bundle with Docker's configuration.
pub const RUN: &str = "run --rm --network none, five layers";
/// A container with a published port, beside a runtime that runs a bundle without a network.
pub const BRIDGED: &str = "run --rm -p 8080:80";
/// A container that stays, what is done with it.
pub const STAYING: [&str; 3] = ["run -d --network none", "exec", "rm -f"];
/// The program's own start.
pub const VERSION: &str = "version";

/// What a runtime runs for comparison.
pub const BARE_DOCKER: &str = "crun run of a bundle, Docker's config";
pub const BARE: &str = "crun run of a bundle";

/// How long the kernel gets to take down a network namespace before another one is made.
const SETTLE: Duration = Duration::from_millis(50);

/// An engine, or a runtime that stands for the least that can be had otherwise.
enum Who<'a> {
    Engine(&'a Contender),
    Runtime(&'a Runtime, &'a str),
}

/// Measures all of it.
pub fn measure(course: &Course<'_>, contenders: &[Contender]) -> Vec<Line> {
    let mut measured = run(course, contenders, RUN, (BARE_DOCKER, "docker"), &["--network", "none"]);
    measured.extend(run(course, contenders, BRIDGED, (BARE, "true"), &["-p", "8080:80"]));
    measured.extend(staying(course, contenders));
    let samples = interleave(course.runs, 1, contenders, &mut |engine, samples| {
        samples[0].add(match engine.name {
            // Docker's asks its daemon as well.
            super::contender::DOCKER => engine.time(&["--version"]),
            _ => engine.time(&[VERSION]),
        });
    });
    measured.extend(lines(&[VERSION], &names(contenders), samples));
    measured
}

/// The names of engines.
pub fn names(contenders: &[Contender]) -> Vec<&'static str> {
    contenders.iter().map(|contender| contender.name).collect()
}

fn run(
    course: &Course<'_>,
    contenders: &[Contender],
    case: &str,
    (bare, bundle): (&str, &str),
    flags: &[&str],
) -> Vec<Line> {
    eprintln!("bench: {case} …");
    let mut all: Vec<_> = contenders.iter().map(Who::Engine).collect();
    all.extend(course.runtimes.iter().map(|runtime| Who::Runtime(runtime, bundle)));
    let samples = interleave(course.runs, 1, &all, &mut |who, samples| {
        samples[0].add(match who {
            Who::Engine(engine) => engine.time(&[&["run", "--rm"], flags, &[FIVE, "/bin/true"]].concat()),
            Who::Runtime(runtime, bundle) => course.run(&Subject::Runtime(runtime), bundle),
        });
        std::thread::sleep(SETTLE);
    });
    let mut subjects = names(contenders);
    subjects.extend(course.runtimes.iter().map(|_| bare));
    lines(&[case], &subjects, samples)
}

fn staying(course: &Course<'_>, contenders: &[Contender]) -> Vec<Line> {
    eprintln!("bench: {} …", STAYING.join(", "));
    let samples = interleave(course.runs, STAYING.len(), contenders, &mut |engine, samples| {
        let name = course.id();
        live(engine, &name, samples);
        engine.discard(&name);
        std::thread::sleep(SETTLE);
    });
    lines(&STAYING, &names(contenders), samples)
}

/// Up to a step that fails.
fn live(engine: &Contender, name: &str, samples: &mut [Samples]) {
    let steps: [&dyn Fn() -> crate::error::Result<crate::runtime::Cost>; 3] = [
        &|| engine.start(name, &[], &["/bin/pause"]),
        &|| engine.time(&["exec", name, "/bin/true"]),
        &|| engine.time(&["rm", "-f", name]),
    ];
    for (step, samples) in steps.into_iter().zip(samples) {
        let outcome = step();
        let failed = outcome.is_err();
        samples.add(outcome);
        if failed {
            break;
        }
    }
}
