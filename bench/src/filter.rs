//! seccomp: what compiling Docker's profile costs, and what a system call costs under the resulting filters.

use std::fs;
use std::hint::black_box;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::course::{Course, Line, Subject};
use crate::docker;
use crate::error::{Context, Result, error};
use crate::figures::Samples;
use crate::runtime::Cost;

/// Compiling Docker's profile, in the benchmark's own process.
pub const COMPILE: &str = "compiling Docker's seccomp profile";
/// System calls in a container with that profile.
pub const FILTERED: &str = "1,000,000 getppid() under Docker's profile";
/// The same without a profile.
pub const UNFILTERED: &str = "1,000,000 getppid() without a profile";

/// How many calls are timed.
const CALLS: u32 = 1_000_000;

/// What the benchmark does inside the container: prints how many nanoseconds the calls took.
pub fn count_calls() -> Result<()> {
    let begin = Instant::now();
    for _ in 0..CALLS {
        black_box(rustix::process::getppid());
    }
    println!("{}", begin.elapsed().as_nanos());
    Ok(())
}

/// Compiles the profile several hundred times.
pub fn compile(course: &Course<'_>) -> Result<Vec<Line>> {
    let spec = pillbox::oci::spec::parse(docker::RECORDED.as_bytes())
        .map_err(|error| crate::error::error(format!("Docker's configuration: {error}")))?;
    let profile = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    let profile = profile.ok_or_else(|| error("no seccomp in Docker's configuration"))?;
    let mut samples = Samples::default();
    for _ in 0..course.runs * 5 {
        let begin = Instant::now();
        let program = pillbox::seccomp::compile(black_box(profile)).context(|| "compile")?;
        samples.add(Ok(Cost { time: begin.elapsed() }));
        black_box(program);
    }
    Ok(vec![Line { case: COMPILE.to_string(), scale: None, subject: "pillbox".to_string(), samples }])
}

/// Runs the benchmark itself in containers of all runtimes.
pub fn calls(course: &Course<'_>) -> Result<Vec<Line>> {
    for (name, seccomp) in [("filtered", true), ("unfiltered", false)] {
        course.scratch.write_docker_bundle(name, &["/bin/bench", "getppid"], seccomp)?;
        let program = course.scratch.bundle(name).join("rootfs/bin/bench");
        let copied = std::env::current_exe().and_then(|this| fs::copy(this, &program));
        copied.context(|| format!("copy the benchmark to {}", program.display()))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).context(|| "chmod")?;
    }
    let course = &Course::new(course.runtimes, course.scratch, (course.runs / 3).max(3), course.live);
    Ok(course.interleave(&[FILTERED, UNFILTERED], None, &course.runtimes(), |subject, samples| {
        if let Subject::Runtime(runtime) = subject {
            for (samples, bundle) in samples.iter_mut().zip(["filtered", "unfiltered"]) {
                let id = format!("calls-{}", course.id());
                let output = runtime.output_of(&course.scratch.bundle(bundle), &id);
                samples.add(output.and_then(|output| {
                    let time = output.trim().parse().map(Duration::from_nanos);
                    let time = time.context(|| format!("the container wrote {output:?}"))?;
                    Ok(Cost { time })
                }));
            }
        }
    }))
}
