//! Boots a Linux kernel under QEMU and runs the runtime's cases in it, for tests that need rights, limits or
//! a kernel that the development machine does not have. Many cases run in one boot. The same program is the
//! host's tool and the guest's /init.

mod arch;
mod cases;
mod debian;
mod guest;
mod image;
mod kernel;
mod options;
mod orders;
mod power;
mod program;
mod qemu;
mod remains;
mod report;
mod session;
mod systemd;
mod traces;

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use cases::Case;
use options::Options;
use serde_json::json;
use session::Summary;

fn main() -> ExitCode {
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    if name == "/init" {
        return guest::main(arguments);
    }
    let mut rest = arguments.skip_while(|argument| argument == qemu::HYPERVISOR);
    if env::args_os().nth(1).is_some_and(|first| first == qemu::HYPERVISOR) {
        let parent = rest.next().unwrap_or_default();
        return failure(&qemu::become_hypervisor(&parent.to_string_lossy(), rest));
    }
    match Options::parse().and_then(run) {
        Ok(status) => status,
        Err(e) => failure(&e),
    }
}

fn run(mut options: Options) -> Result<ExitCode, String> {
    if let Some(file) = options.measure.take() {
        return measure(options, &file);
    }
    if let Some(count) = options.power_cuts {
        let (machine, kernel) = prepare(&options, 0)?;
        let is_right = power::run(&machine, &kernel, &options, count)?;
        return Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let chosen = cases::chosen(&options.filters);
    if options.list {
        chosen.iter().for_each(|case| println!("{}", case.name));
        return Ok(ExitCode::SUCCESS);
    }
    if chosen.is_empty() {
        return Err(format!("no case is named like {}", options.filters.join(" or ")));
    }
    let (machine, kernel) = prepare(&options, chosen.len())?;
    let summary = run_cases(&machine, &kernel, &options, chosen)?;
    println!("{summary}");
    Ok(if summary.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Takes the same measurements for one runtime after another. The file gets the values of all runtimes for
/// each figure.
fn measure(mut options: Options, file: &Path) -> Result<ExitCode, String> {
    let chosen = cases::measurements();
    let (machine, kernel) = prepare(&options, chosen.len())?;
    let mut document = json!({ "kernel": kernel.version });
    let own = ("pillbox".to_owned(), options.runtime.clone());
    for (name, program) in std::iter::once(own).chain(std::mem::take(&mut options.peers)) {
        if !program.exists() {
            println!("{name}: no {}, passed over", program.display());
            continue;
        }
        println!("{name}:");
        options.runtime = program;
        for (what, figure) in run_cases(&machine, &kernel, &options, chosen.clone())?.figures {
            document[what][&name] = json!(figure);
        }
    }
    fs::write(file, format!("{document:#}\n")).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// The emulator, and the kernel that it boots.
fn prepare(options: &Options, cases: usize) -> Result<(qemu::Machine, kernel::Kernel), String> {
    let arch = arch::own()?;
    let mut machine = qemu::Machine::find(arch)?;
    let kernel = match options.kernel.clone() {
        Some(image) => kernel::given(image, options.modules.clone())?,
        None => kernel::from_debian(arch, options.own_kernel)?,
    };
    let execution = match options.kvm {
        true => machine.try_kvm(&kernel.image, &session::probe_image(arch)?)?,
        false => "TCG (--no-kvm)".into(),
    };
    println!("kernel {}, {execution}, {cases} cases", kernel.version);
    Ok((machine, kernel))
}

/// Boots one guest after another: without a service manager, with systemd, and with other parameters of the kernel.
fn run_cases(
    machine: &qemu::Machine,
    kernel: &kernel::Kernel,
    options: &Options,
    chosen: Vec<&'static Case>,
) -> Result<Summary, String> {
    let arch = arch::own()?;
    let mut summary = Summary::default();
    let mut left = chosen;
    while let Some(first) = left.first().copied() {
        let cases: Vec<_>;
        (cases, left) = left.into_iter().partition(|case| case.shares_guest_with(first));
        let packages = if first.wants_systemd() { systemd::packages()? } else { Some(Vec::new()) };
        let Some(packages) = packages else {
            summary
                .skip(&cases, "the guest with systemd is made of Debian's packages, and there is no apt-get");
            continue;
        };
        let image = session::image(arch, kernel, options, &cases, &packages)?;
        session::run(machine, kernel, &image, options, &cases, &mut summary)?;
    }
    Ok(summary)
}

/// Status 2: nothing was tested.
fn failure(text: &str) -> ExitCode {
    eprintln!("vm-tests: {text}");
    ExitCode::from(2)
}
