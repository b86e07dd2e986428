//! System call names: a single lookup gives a name's numbers in all ABIs that this machine can run.
//!
//! The compiler builds the table from the `syscalls` crate: one blob of text, rows of 16-bit numbers and an
//! open-addressed hash. Without pointers it needs neither relocations nor code, only its few kilobytes.

use linux_raw_sys::ptrace as uapi;

/// An ABI for system calls that a profile can name.
pub(super) struct Abi {
    /// Its name in a profile.
    pub architecture: &'static str,
    /// The kernel's value of `seccomp_data.arch`.
    pub audit: u32,
    /// Its lowest number; another ABI with the same `audit` may have the numbers above.
    pub first: u32,
    /// Whether arguments have 64 bits. In other ABIs only the lower half reaches the system call.
    pub wide: bool,
}

/// A system call whose first argument selects one of several calls (socketcall(2) and ipc(2) on 32-bit x86).
pub(super) struct Multiplexer {
    /// The index of its ABI.
    pub abi: usize,
    /// Its name.
    pub name: &'static str,
    /// The bits of the first argument that select.
    pub mask: u64,
}

/// A name's number in each of [`ABIS`], then its selector in each of [`MULTIPLEXERS`]; [`ABSENT`] where it
/// has none.
pub(super) type Numbers = [u16; COLUMNS];

/// The name does not exist in this column.
pub(super) const ABSENT: u16 = u16::MAX;

/// Numbers and selectors.
pub(super) const COLUMNS: usize = ABIS.len() + MULTIPLEXERS.len();

/// One more than the highest number in any column.
pub(super) const NUMBERS: usize = {
    let (mut highest, mut row) = (0, 0);
    while row < BUILT.count {
        let mut column = 0;
        while column < COLUMNS {
            let number = BUILT.rows[row].numbers[column];
            if number != ABSENT && number > highest {
                highest = number;
            }
            column += 1;
        }
        row += 1;
    }
    highest as usize + 1
};

/// All architectures that the specification names (config-linux.md, `architectures`).
pub(crate) const ARCHITECTURES: [&str; 23] = [
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
];

/// Calls newer than the tables of the `syscalls` crate. Numbers added since Linux 5.1 are the same in all
/// ABIs.
const NEWER: [(&str, u16); 2] = [("listns", 470), ("rseq_slice_yield", 471)];

/// Copies a table of the `syscalls` crate into a column.
macro_rules! fill {
    ($names:ident, $column:literal, $table:ident) => {{
        use syscalls::$table::Sysno;
        let mut number = 0;
        while number <= Sysno::last().id() {
            if let Some(call) = Sysno::new(number as usize) {
                $names.set(call.name(), $column, number as u16);
            }
            number += 1;
        }
        $names.set_all(&NEWER, $column);
    }};
}

#[cfg(target_arch = "x86_64")]
mod machine {
    use super::{ABSENT, Abi, Builder, Multiplexer, NEWER, uapi};

    pub(in super::super) const ABIS: [Abi; 3] = [
        Abi { architecture: "SCMP_ARCH_X86_64", audit: uapi::AUDIT_ARCH_X86_64, first: 0, wide: true },
        Abi { architecture: "SCMP_ARCH_X86", audit: uapi::AUDIT_ARCH_I386, first: 0, wide: false },
        Abi {
            architecture: "SCMP_ARCH_X32",
            audit: uapi::AUDIT_ARCH_X86_64,
            first: 0x4000_0000,
            wide: false,
        },
    ];
    /// ipc(2) has a version in the upper half of its selector.
    pub(in super::super) const MULTIPLEXERS: [Multiplexer; 2] = [
        Multiplexer { abi: 1, name: "socketcall", mask: 0xffff_ffff },
        Multiplexer { abi: 1, name: "ipc", mask: 0xffff },
    ];

    /// Calls for which x32 has a number of its own, from 512 on (the kernel's syscall_64.tbl).
    const X32: [&str; 36] = [
        "rt_sigaction",
        "rt_sigreturn",
        "ioctl",
        "readv",
        "writev",
        "recvfrom",
        "sendmsg",
        "recvmsg",
        "execve",
        "ptrace",
        "rt_sigpending",
        "rt_sigtimedwait",
        "rt_sigqueueinfo",
        "sigaltstack",
        "timer_create",
        "mq_notify",
        "kexec_load",
        "waitid",
        "set_robust_list",
        "get_robust_list",
        "vmsplice",
        "move_pages",
        "preadv",
        "pwritev",
        "rt_tgsigqueueinfo",
        "recvmmsg",
        "sendmmsg",
        "process_vm_readv",
        "process_vm_writev",
        "setsockopt",
        "getsockopt",
        "io_setup",
        "io_submit",
        "execveat",
        "preadv2",
        "pwritev2",
    ];
    /// Calls that x32 does not have.
    const NOT_X32: [(&str, u16); 11] = [
        ("uselib", ABSENT),
        ("_sysctl", ABSENT),
        ("create_module", ABSENT),
        ("get_kernel_syms", ABSENT),
        ("query_module", ABSENT),
        ("nfsservctl", ABSENT),
        ("set_thread_area", ABSENT),
        ("get_thread_area", ABSENT),
        ("epoll_ctl_old", ABSENT),
        ("epoll_wait_old", ABSENT),
        ("vserver", ABSENT),
    ];
    /// `SYS_*` in linux/net.h.
    const SOCKETCALL: [(&str, u16); 20] = [
        ("socket", 1),
        ("bind", 2),
        ("connect", 3),
        ("listen", 4),
        ("accept", 5),
        ("getsockname", 6),
        ("getpeername", 7),
        ("socketpair", 8),
        ("send", 9),
        ("recv", 10),
        ("sendto", 11),
        ("recvfrom", 12),
        ("shutdown", 13),
        ("setsockopt", 14),
        ("getsockopt", 15),
        ("sendmsg", 16),
        ("recvmsg", 17),
        ("accept4", 18),
        ("recvmmsg", 19),
        ("sendmmsg", 20),
    ];
    /// From linux/ipc.h.
    const IPC: [(&str, u16); 12] = [
        ("semop", 1),
        ("semget", 2),
        ("semctl", 3),
        ("semtimedop", 4),
        ("msgsnd", 11),
        ("msgrcv", 12),
        ("msgget", 13),
        ("msgctl", 14),
        ("shmat", 21),
        ("shmdt", 22),
        ("shmget", 23),
        ("shmctl", 24),
    ];

    pub(super) const fn fill(names: &mut Builder) {
        fill!(names, 0, x86_64);
        let mut row = 0;
        while row < names.count {
            names.rows[row].numbers[2] = names.rows[row].numbers[0];
            row += 1;
        }
        names.set_all(&NOT_X32, 2);
        let mut own = 0;
        while own < X32.len() {
            names.set(X32[own], 2, 512 + own as u16);
            own += 1;
        }
        fill!(names, 1, x86);
        // A keyword in Rust, which the crate's enumeration can't have.
        names.set("break", 1, 17);
        names.set_all(&SOCKETCALL, 3);
        names.set_all(&IPC, 4);
    }
}

#[cfg(target_arch = "aarch64")]
mod machine {
    use super::{Abi, Builder, Multiplexer, NEWER, uapi};

    pub(in super::super) const ABIS: [Abi; 3] = [
        Abi { architecture: "SCMP_ARCH_AARCH64", audit: uapi::AUDIT_ARCH_AARCH64, first: 0, wide: true },
        Abi { architecture: "SCMP_ARCH_ARM", audit: uapi::AUDIT_ARCH_ARM, first: 0, wide: false },
        // The private calls: __ARM_NR_BASE in asm/unistd.h. Every 32-bit program begins with set_tls.
        Abi { architecture: "SCMP_ARCH_ARM", audit: uapi::AUDIT_ARCH_ARM, first: 0xf_0000, wide: false },
    ];
    pub(in super::super) const MULTIPLEXERS: [Multiplexer; 0] = [];

    const ARM_PRIVATE: [(&str, u16); 6] =
        [("breakpoint", 1), ("cacheflush", 2), ("usr26", 3), ("usr32", 4), ("set_tls", 5), ("get_tls", 6)];

    pub(super) const fn fill(names: &mut Builder) {
        fill!(names, 0, aarch64);
        // The crate has only the C library's name.
        names.set("newfstatat", 0, 79);
        fill!(names, 1, arm);
        names.set_all(&ARM_PRIVATE, 2);
    }
}

#[cfg(target_arch = "riscv64")]
mod machine {
    use super::{Abi, Builder, Multiplexer, NEWER, uapi};

    pub(in super::super) const ABIS: [Abi; 1] =
        [Abi { architecture: "SCMP_ARCH_RISCV64", audit: uapi::AUDIT_ARCH_RISCV64, first: 0, wide: true }];
    pub(in super::super) const MULTIPLEXERS: [Multiplexer; 0] = [];

    pub(super) const fn fill(names: &mut Builder) {
        fill!(names, 0, riscv64);
    }
}

/// The ABIs of this machine, its own first.
pub(super) use machine::ABIS;
/// The multiplexers of this machine.
pub(super) use machine::MULTIPLEXERS;

/// A name: where its text is, and its numbers.
#[derive(Clone, Copy)]
struct Row {
    start: u16,
    length: u8,
    numbers: Numbers,
}

/// A power of two, about twice the number of names.
const SLOTS: usize = 1024;
/// An empty slot, which ends a search.
const EMPTY: u16 = u16::MAX;

/// The table while it is being built, at compile time.
struct Builder {
    text: [u8; 1 << 13],
    used: usize,
    rows: [Row; SLOTS],
    count: usize,
    slots: [u16; SLOTS],
}

impl Builder {
    const fn set_all(&mut self, names: &[(&str, u16)], column: usize) {
        let mut index = 0;
        while index < names.len() {
            self.set(names[index].0, column, names[index].1);
            index += 1;
        }
    }

    const fn set(&mut self, name: &str, column: usize, number: u16) {
        let name = name.as_bytes();
        let mut slot = hash(name);
        while self.slots[slot] != EMPTY && !self.is_named(self.slots[slot], name) {
            slot = (slot + 1) % SLOTS;
        }
        if self.slots[slot] == EMPTY {
            self.slots[slot] = self.count as u16;
            self.rows[self.count] =
                Row { start: self.used as u16, length: name.len() as u8, numbers: [ABSENT; COLUMNS] };
            self.count += 1;
            let mut index = 0;
            while index < name.len() {
                self.text[self.used] = name[index];
                self.used += 1;
                index += 1;
            }
        }
        self.rows[self.slots[slot] as usize].numbers[column] = number;
    }

    const fn is_named(&self, row: u16, name: &[u8]) -> bool {
        let Row { start, length, .. } = self.rows[row as usize];
        let mut index = 0;
        while index < name.len()
            && index < length as usize
            && self.text[start as usize + index] == name[index]
        {
            index += 1;
        }
        index == name.len() && index == length as usize
    }
}

/// FNV-1a.
const fn hash(name: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut index = 0;
    while index < name.len() {
        hash = (hash ^ name[index] as u32).wrapping_mul(0x0100_0193);
        index += 1;
    }
    (hash ^ (hash >> 16)) as usize % SLOTS
}

const BUILT: Builder = {
    let mut names = Builder {
        text: [0; 1 << 13],
        used: 0,
        rows: [Row { start: 0, length: 0, numbers: [ABSENT; COLUMNS] }; SLOTS],
        count: 0,
        slots: [EMPTY; SLOTS],
    };
    machine::fill(&mut names);
    names
};

static TEXT: [u8; BUILT.used] = {
    let mut text = [0; BUILT.used];
    text.copy_from_slice(BUILT.text.split_at(BUILT.used).0);
    text
};
static ROWS: [Row; BUILT.count] = {
    let mut rows = [BUILT.rows[0]; BUILT.count];
    rows.copy_from_slice(BUILT.rows.split_at(BUILT.count).0);
    rows
};
static INDEX: [u16; SLOTS] = BUILT.slots;

/// The numbers of a system call; `None` if no ABI of this machine has it.
pub(super) fn numbers(name: &str) -> Option<&'static Numbers> {
    let mut slot = hash(name.as_bytes());
    while let Some(row) = ROWS.get(INDEX[slot] as usize) {
        let start = row.start as usize;
        if TEXT[start..start + row.length as usize] == *name.as_bytes() {
            return Some(&row.numbers);
        }
        slot = (slot + 1) % SLOTS;
    }
    None
}
