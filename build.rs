//! Builds init for the target and gives the path of its binary to the runtime, which embeds it.
//!
//! Init is built by a nested cargo with its own target directory: it is another kind of program (no start files,
//! no C library, a fixed address), and must not get the outer build's flags.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// The flags for init, which has its own `_start`.
const LINK: &[&str] = &[
    "-Crelocation-model=static",
    "-Cpanic=abort",
    "-Clink-arg=-nostartfiles",
    "-Clink-arg=-nostdlib",
    "-Clink-arg=-static",
    "-Clink-arg=-Wl,--build-id=none,-z,noseparate-code,-z,norelro",
    // These make init smaller, as in .cargo/config.toml; the other options there would make it larger.
    "-Cllvm-args=-enable-machine-outliner=always",
    "-Cllvm-args=-disable-block-placement",
    "-Cllvm-args=-disable-constant-hoisting",
    "-Cllvm-args=-disable-machine-licm",
];

/// The linker script that leaves out unwind tables.
const UNWIND_TABLES: &str = "runtime/unwind-tables.ld";

/// The linker script that separates code that most commands do not execute.
const COLD_CODE: &str = "runtime/cold-code.ld";

fn main() {
    for watched in ["init", "Cargo.lock", "build.rs", UNWIND_TABLES, COLD_CODE] {
        println!("cargo::rerun-if-changed={watched}");
    }
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let target = variable("TARGET");
    let directory = PathBuf::from(variable("OUT_DIR")).join("init");

    let mut cargo = Command::new(variable("CARGO"));
    cargo.args(["build", "--profile", "init", "--package", "pillbox-init", "--bin", "pillbox-init"]);
    cargo.args(["--features", "binary", "--target", &target]).arg("--target-dir").arg(&directory);
    cargo.current_dir(variable("CARGO_MANIFEST_DIR"));
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_ENCODED_")
            || name_text.starts_with("CARGO_FEATURE_")
            || name_text.starts_with("CARGO_CFG_")
        {
            cargo.env_remove(&name);
        }
    }
    // RUSTC_WRAPPER stays, but not the workspace wrapper: clippy-driver would check and not build.
    for name in ["RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"] {
        cargo.env_remove(name);
    }
    let root = variable("CARGO_MANIFEST_DIR");
    let without_unwind_tables = ["-Wl,--no-eh-frame-hdr".to_string(), format!("-T{root}/{UNWIND_TABLES}")];
    let mut flags: Vec<String> = LINK.iter().map(|flag| flag.to_string()).collect();
    flags.extend(without_unwind_tables.iter().map(|argument| format!("-Clink-arg={argument}")));
    if target.ends_with("musl") {
        // The musl target would link a second `_start`.
        flags.push("-Clink-self-contained=no".to_string());
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    let status = cargo.status().unwrap_or_else(|error| panic!("run cargo for init: {error}"));
    assert!(status.success(), "building init for {target} failed");

    // Only for the release profile, in which a panic aborts. Tests unwind, and need the tables.
    if target.contains("-musl") && variable("PROFILE") == "release" {
        // Two segments instead of four, without padding to whole pages between code and constants; what is aligned alike
        // lies together, which saves padding as well.
        let compact = "-Wl,--build-id=none,-z,noseparate-code,-z,norelro,-z,common-page-size=64,--sort-section=alignment".to_string();
        // On AArch64, compiler-rt calls it to find the CPU's features, but is linked after the C library.
        let wanted = "-Wl,--undefined=getauxval".to_string();
        let wanted = target.starts_with("aarch64").then_some(&wanted);
        let cold_code = format!("-T{root}/{COLD_CODE}");
        for argument in without_unwind_tables.iter().chain([&compact, &cold_code]).chain(wanted) {
            println!("cargo::rustc-link-arg-bin=pillbox={argument}");
        }
    }

    // A source tree without git has no commit.
    let commit = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok();
    let commit = commit
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok());
    println!("cargo::rustc-env=PILLBOX_COMMIT={}", commit.as_deref().map_or("unknown", str::trim));
    println!("cargo::rerun-if-changed=.git/logs/HEAD");

    let binary = directory.join(&target).join("init/pillbox-init");
    println!("cargo::rustc-env=PILLBOX_INIT={}", binary.display());
}
