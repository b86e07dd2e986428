//! Names that differ between the architectures; nothing else does. The guest has the architecture of this
//! program.

/// An architecture's names in QEMU, the kernel and Debian.
pub struct Arch {
    /// The emulator.
    pub qemu: &'static str,
    /// QEMU's machine type.
    pub machine: &'static str,
    /// The processor, where it is emulated.
    pub emulated: &'static str,
    /// The kernel's name for the first serial port.
    pub console: &'static str,
    /// The suffix of Debian's kernel packages.
    pub kernel_suffix: &'static str,
    /// Debian's folder for libraries, below lib and usr/lib.
    pub libraries: &'static str,
}

/// This program's own architecture; an error if the table does not have it.
pub fn own() -> Result<&'static Arch, String> {
    match std::env::consts::ARCH {
        "x86_64" => Ok(&Arch {
            qemu: "qemu-system-x86_64",
            machine: "q35",
            // QEMU 7.2 gets cmpxchg16b wrong once in a while (its flags are garbage then), and with it the allocator of kernels
            // as new as 6.12, which crash.
            emulated: "max,cx16=off",
            console: "ttyS0",
            kernel_suffix: "cloud-amd64",
            libraries: "x86_64-linux-gnu",
        }),
        "aarch64" => Ok(&Arch {
            qemu: "qemu-system-aarch64",
            machine: "virt",
            emulated: "max",
            console: "ttyAMA0",
            kernel_suffix: "cloud-arm64",
            libraries: "aarch64-linux-gnu",
        }),
        "riscv64" => Ok(&Arch {
            qemu: "qemu-system-riscv64",
            machine: "virt",
            emulated: "max",
            console: "ttyS0",
            kernel_suffix: "riscv64",
            libraries: "riscv64-linux-gnu",
        }),
        other => Err(format!("no guest is described for {other} (src/arch.rs)")),
    }
}
