//! The verbs in turn, each as a program of its own that the caller forks and waits for: first all of one
//! runtime, then all of the next. This is how runtimes are called in practice, and the previous program has
//! left nothing of this one in the processor's caches.

use crate::cases::reap;
use crate::course::{Course, Line, Subject};
use crate::figures::Samples;
use crate::runtime::Runtime;

/// The cases, in order.
pub const TURN: [&str; 8] = [
    "in turn: run",
    "in turn: run, Docker's config",
    "in turn: create",
    "in turn: start",
    "in turn: state",
    "in turn: exec",
    "in turn: kill",
    "in turn: delete",
];

/// Runs all of them.
pub fn measure(course: &Course<'_>) -> Vec<Line> {
    course.interleave(&TURN, None, &course.runtimes(), |subject, samples| {
        if let Subject::Runtime(runtime) = subject {
            let [run, docker, life @ ..] = samples else { return };
            run.add(course.run(subject, "true"));
            docker.add(course.run(subject, "docker"));
            let id = course.id();
            live(course, runtime, &id, life);
            runtime.discard(&id);
        }
    })
}

/// Takes one container through its life, up to a step that fails.
fn live(course: &Course<'_>, runtime: &Runtime, id: &str, samples: &mut [Samples]) {
    let pid_file = course.scratch.file("pid");
    let steps: [&[&str]; 6] = [
        &["create"],
        &["start", id],
        &["state", id],
        &["exec", id, "/bin/true"],
        &["kill", id, "KILL"],
        &["delete", id],
    ];
    for (arguments, samples) in steps.into_iter().zip(samples) {
        let outcome = match arguments {
            ["create"] => runtime.create(&course.scratch.bundle("pause"), &pid_file, id),
            arguments => runtime.time(arguments),
        };
        let outcome = match arguments {
            ["kill", ..] => outcome.and_then(|cost| reap(&pid_file).map(|()| cost)),
            _ => outcome,
        };
        let failed = outcome.is_err();
        samples.add(outcome);
        if failed {
            break;
        }
    }
}
