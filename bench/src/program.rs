//! The programs of the containers: static ELF files of a few instructions, so that they cost nothing but
//! execve.

/// The address at which the program is loaded; any above the kernel's mmap_min_addr will do.
const BASE: u64 = 0x40_0000;

/// The sizes of the ELF header and of its single program header (elf(5)).
const HEADERS: usize = 64 + 56;

/// The `e_machine` number, and the instructions of exit_group(0) and of ppoll(NULL, 0, NULL, NULL).
#[cfg(target_arch = "x86_64")]
mod machine {
    pub const NUMBER: u16 = 62;
    // xor edi,edi · mov eax,231 · syscall
    pub const EXIT: &[u8] = &[0x31, 0xff, 0xb8, 231, 0, 0, 0, 0x0f, 0x05];
    // xor edi,edi · xor esi,esi · xor edx,edx · xor r10d,r10d · mov eax,271 · syscall
    pub const PAUSE: &[u8] =
        &[0x31, 0xff, 0x31, 0xf6, 0x31, 0xd2, 0x45, 0x31, 0xd2, 0xb8, 0x0f, 0x01, 0, 0, 0x0f, 0x05];
}

/// The `e_machine` number, and the instructions of exit_group(0) and of ppoll(NULL, 0, NULL, NULL).
#[cfg(target_arch = "aarch64")]
mod machine {
    pub const NUMBER: u16 = 183;
    // mov x0,#0 · mov x8,#94 · svc #0
    pub const EXIT: &[u8] = &[0, 0, 0x80, 0xd2, 0xc8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4];
    // mov x0,#0 · mov x1,#0 · mov x2,#0 · mov x3,#0 · mov x8,#73 · svc #0
    pub const PAUSE: &[u8] = &[
        0, 0, 0x80, 0xd2, 1, 0, 0x80, 0xd2, 2, 0, 0x80, 0xd2, 3, 0, 0x80, 0xd2, 0x28, 9, 0x80, 0xd2, 1, 0, 0,
        0xd4,
    ];
}

/// A program that exits with status 0.
pub fn exit() -> Vec<u8> {
    elf(machine::EXIT)
}

/// A program that waits to be killed.
pub fn pause() -> Vec<u8> {
    elf(&[machine::PAUSE, machine::EXIT].concat())
}

/// An ELF file with one segment, readable and executable, which is the file itself.
fn elf(code: &[u8]) -> Vec<u8> {
    let size = u64::try_from(HEADERS + code.len()).unwrap_or(0);
    let mut file = Vec::with_capacity(HEADERS + code.len());
    // e_ident: ELF, 64 bits, little-endian, version 1, System V.
    file.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    // e_type ET_EXEC, e_machine, e_version.
    file.extend([2u16, machine::NUMBER, 1, 0].map(u16::to_le_bytes).concat());
    // e_entry, e_phoff, e_shoff.
    file.extend([BASE + 120, 64, 0].map(u64::to_le_bytes).concat());
    // e_flags (two halves), e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx.
    file.extend([0u16, 0, 64, 56, 1, 64, 0, 0].map(u16::to_le_bytes).concat());
    // p_type PT_LOAD, p_flags R|X.
    file.extend([1u32, 5].map(u32::to_le_bytes).concat());
    // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align.
    file.extend([0, BASE, BASE, size, size, 0x1_0000].map(u64::to_le_bytes).concat());
    file.extend(code);
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::OpenOptionsExt;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    fn start(name: &str, program: &[u8]) -> (std::path::PathBuf, std::process::Child) {
        let path = std::env::temp_dir().join(format!("bench-program-{name}-{}", std::process::id()));
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o700).open(&path).unwrap();
        std::io::Write::write_all(&mut file, program).unwrap();
        drop(file);
        let child = Command::new(&path).stdin(Stdio::null()).spawn().unwrap();
        (path, child)
    }

    #[test]
    fn exit_exits_and_pause_waits() {
        let (path, mut child) = start("exit", &exit());
        assert_eq!(child.wait().unwrap().code(), Some(0));
        std::fs::remove_file(path).unwrap();
        let (path, mut child) = start("pause", &pause());
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        std::fs::remove_file(path).unwrap();
    }
}
