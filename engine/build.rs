//! How the program is linked: without tables that nothing reads, as the runtime's command is.

use std::env;

/// The linker script that leaves out unwind tables.
const UNWIND_TABLES: &str = "../runtime/unwind-tables.ld";

fn main() {
    for watched in ["build.rs", UNWIND_TABLES] {
        println!("cargo::rerun-if-changed={watched}");
    }
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let (target, root) = (variable("TARGET"), variable("CARGO_MANIFEST_DIR"));
    // Only for the release profile, in which a panic aborts. Tests unwind, and need the tables.
    if !target.contains("-musl") || variable("PROFILE") != "release" {
        return;
    }
    let mut arguments = vec![
        "-Wl,--no-eh-frame-hdr".to_string(),
        format!("-T{root}/{UNWIND_TABLES}"),
        // Two segments instead of four, without padding to whole pages between code and constants; what is aligned alike
        // lies together, which saves padding as well.
        "-Wl,--build-id=none,-z,noseparate-code,-z,norelro,-z,common-page-size=64,--sort-section=alignment"
            .to_string(),
    ];
    if target.starts_with("aarch64") {
        // compiler-rt calls it to find the CPU's features, but is linked after the C library.
        arguments.push("-Wl,--undefined=getauxval".to_string());
    }
    for argument in arguments {
        println!("cargo::rustc-link-arg-bin=box={argument}");
    }
}
