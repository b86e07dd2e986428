//! `linux.resources.devices` compiled into one eBPF program of type `BPF_PROG_TYPE_CGROUP_DEVICE`.
//!
//! Each access (`r`, `w`) to a device is decided by the last rule that names the device and the access, and
//! an open is granted if all accesses that it asks for are. [`DEFAULTS`] come after the last rule, so that no
//! rule can deny them; `mknod` is granted for every device. What no rule decides is denied. runc treats an
//! empty or absent list in the same way.

use crate::error::{Error, Result};
use crate::oci::spec::linux::DeviceRule;
use crate::sys::Instruction;

/// `BPF_DEVCG_ACC_MKNOD`, which is always granted.
const MKNOD: u8 = 1;
/// `BPF_DEVCG_ACC_READ`
const READ: u8 = 2;
/// `BPF_DEVCG_ACC_WRITE`
const WRITE: u8 = 4;

/// Device numbers of the kernel have 12 bits for the major and 20 for the minor number.
const MAJOR_MAX: i64 = 0xfff;
const MINOR_MAX: i64 = 0xf_ffff;

/// The type of device that a rule names; the numbers are `BPF_DEVCG_DEV_BLOCK` and `BPF_DEVCG_DEV_CHAR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Any,
    Block = 1,
    Char = 2,
}

/// A device rule, parsed and checked; `None` means all numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    allow: bool,
    kind: Kind,
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
}

/// null, zero, full, random, urandom, tty, ptmx and all of devpts.
const DEFAULTS: [Rule; 8] = [
    default(1, Some(3)),
    default(1, Some(5)),
    default(1, Some(7)),
    default(1, Some(8)),
    default(1, Some(9)),
    default(136, None),
    default(5, Some(0)),
    default(5, Some(2)),
];

const fn default(major: u32, minor: Option<u32>) -> Rule {
    Rule { allow: true, kind: Kind::Char, major: Some(major), minor, access: READ | WRITE }
}

/// What is granted whatever the rules say, in the syntax of rules.
pub fn always_allowed() -> Vec<String> {
    let node = |rule: &Rule| {
        let number = |number: Option<u32>| number.map_or("*".to_string(), |number| number.to_string());
        format!("c {}:{} rw", number(rule.major), number(rule.minor))
    };
    DEFAULTS.iter().map(node).chain(["a *:* m".to_string()]).collect()
}

impl Rule {
    fn parse(index: usize, rule: &DeviceRule) -> Result<Rule> {
        let DeviceRule { allow, kind, major, minor, access } = rule;
        let invalid = |field: &str, value: &dyn std::fmt::Display, right: &str| {
            Error::formatted(format_args!("linux.resources.devices[{index}].{field}: {value} is not {right}"))
        };
        let number = |field: &str, value: Option<i64>, max: i64| match value {
            None | Some(-1) => Ok(None),
            Some(value) if (0..=max).contains(&value) => Ok(Some(value as u32)),
            Some(value) => Err(invalid(field, &value, &format!("a number from 0 to {max}, or -1 for all"))),
        };
        Ok(Rule {
            allow: *allow,
            kind: match kind.as_deref() {
                None | Some("a") => Kind::Any,
                Some("b") => Kind::Block,
                Some("c") => Kind::Char,
                Some(other) => return Err(invalid("type", &format!("'{other}'"), "one of a, b, c")),
            },
            major: number("major", *major, MAJOR_MAX)?,
            minor: number("minor", *minor, MINOR_MAX)?,
            access: match access.as_deref() {
                None => MKNOD | READ | WRITE,
                Some(text) => parse_access(text)
                    .ok_or_else(|| invalid("access", &format!("'{text}'"), "made of r, w, m"))?,
            },
        })
    }

    /// Whether this rule names everything that `other` names.
    fn covers(&self, other: &Rule) -> bool {
        (self.kind == Kind::Any || self.kind == other.kind)
            && (self.major.is_none() || self.major == other.major)
            && (self.minor.is_none() || self.minor == other.minor)
            && self.access & other.access == other.access
    }

    /// Whether there is a device that both rules name.
    fn overlaps(&self, other: &Rule) -> bool {
        (self.kind == Kind::Any || other.kind == Kind::Any || self.kind == other.kind)
            && (self.major.is_none() || other.major.is_none() || self.major == other.major)
            && (self.minor.is_none() || other.minor.is_none() || self.minor == other.minor)
    }
}

fn parse_access(text: &str) -> Option<u8> {
    text.bytes()
        .try_fold(0, |access, letter| match letter {
            b'r' => Some(access | READ),
            b'w' => Some(access | WRITE),
            b'm' => Some(access | MKNOD),
            _ => None,
        })
        // No caller means an empty string.
        .filter(|access| *access != 0)
}

/// The rules in the order in which the program checks them, where the first match decides, and the verdict if
/// none matches.
#[derive(Debug, PartialEq, Eq)]
struct Checks {
    rules: Vec<Rule>,
    otherwise: bool,
}

/// Reverses the list, and leaves out rules that make no difference.
fn simplify(rules: impl DoubleEndedIterator<Item = Rule>) -> Checks {
    let everything = Rule { allow: true, kind: Kind::Any, major: None, minor: None, access: READ | WRITE };
    let mut checks = Checks { rules: DEFAULTS.to_vec(), otherwise: false };
    for rule in rules.rev() {
        let rule = Rule { access: rule.access & (READ | WRITE), ..rule };
        if rule.covers(&everything) {
            checks.otherwise = rule.allow;
            break;
        }
        if rule.access != 0 && !checks.rules.iter().any(|later| later.covers(&rule)) {
            checks.rules.push(rule);
        }
    }
    for index in (0..checks.rules.len()).rev() {
        let (rule, behind) = (&checks.rules[index], &checks.rules[index + 1..]);
        let exempts = |other: &Rule| other.allow != rule.allow && other.overlaps(rule);
        if rule.allow == checks.otherwise && !behind.iter().any(exempts) {
            checks.rules.remove(index);
        }
    }
    checks
}

/// A device filter, ready to be loaded and attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceProgram(Vec<Instruction>);

impl DeviceProgram {
    /// The program for bpf(2).
    pub fn instructions(&self) -> &[Instruction] {
        &self.0
    }
}

/// Compiles the device rules; `None` if everything is allowed, which needs no program.
///
/// # Errors
/// A rule has a type, number or access that does not exist; the error gives its index.
pub fn compile_devices(rules: &[DeviceRule]) -> Result<Option<DeviceProgram>> {
    match parse(rules)? {
        Checks { rules, otherwise: true } if rules.is_empty() => Ok(None),
        checks => assemble(&checks).map(Some),
    }
}

fn parse(rules: &[DeviceRule]) -> Result<Checks> {
    let rules = rules.iter().enumerate().map(|(index, rule)| Rule::parse(index, rule));
    Ok(simplify(rules.collect::<Result<Vec<_>>>()?.into_iter()))
}

/// What is granted, as nodes with their access as in systemd's `DeviceAllow` (systemd.resource-control(5));
/// `None` if a list of granted nodes can't express the rules.
///
/// # Errors
/// Those of [`compile_devices`].
pub fn device_allow(rules: &[DeviceRule]) -> Result<Option<Vec<(String, &'static str)>>> {
    let Checks { rules, otherwise: false } = parse(rules)? else { return Ok(None) };
    let mut nodes = vec![("block-*".to_string(), "m"), ("char-*".to_string(), "m")];
    for (index, rule) in rules.iter().enumerate() {
        // An entry has to grant everything that an open asks for by itself.
        let splits = |other: &Rule| other.access != rule.access && other.overlaps(rule);
        if !rule.allow || rules[..index].iter().any(splits) {
            return Ok(None);
        }
        for (kind, name) in [(Kind::Block, "block"), (Kind::Char, "char")] {
            let node = match (rule.major, rule.minor) {
                _ if rule.kind != Kind::Any && rule.kind != kind => continue,
                (Some(major), Some(minor)) => format!("/dev/{name}/{major}:{minor}"),
                (Some(major), None) => format!("{name}-{major}"),
                (None, None) => format!("{name}-*"),
                (None, Some(_)) => return Ok(None),
            };
            let access = if rule.access == READ {
                "r"
            } else if rule.access == WRITE {
                "w"
            } else {
                "rw"
            };
            nodes.push((node, access));
        }
    }
    Ok(Some(nodes))
}

/// The operations used, with the class, source and size bits of the kernel's
/// `standardization/instruction-set.rst`.
mod code {
    pub const LOAD_WORD: u8 = 0x61;
    pub const MOVE: u8 = 0xb7;
    pub const MOVE_REGISTER: u8 = 0xbf;
    pub const AND: u8 = 0x57;
    pub const SHIFT_RIGHT: u8 = 0x77;
    pub const JUMP: u8 = 0x05;
    pub const JUMP_EQUAL: u8 = 0x15;
    pub const JUMP_NOT_EQUAL: u8 = 0x55;
    pub const JUMP_ANY_BIT: u8 = 0x45;
    pub const EXIT: u8 = 0x95;
}

/// The register of the return value: 1 grants the access.
const VERDICT: u8 = 0;
/// `struct bpf_cgroup_dev_ctx { u32 access_type, major, minor; }`
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const MAJOR: u8 = 3;
const MINOR: u8 = 4;
/// The requested access bits that no rule has granted yet.
const ASKED: u8 = 5;

#[derive(Default)]
struct Assembler {
    instructions: Vec<Instruction>,
    /// Jumps to the two verdicts at the end of the program.
    to_verdict: [Vec<usize>; 2],
}

impl Assembler {
    fn emit(&mut self, code: u8, register: u8, immediate: u32) -> usize {
        let immediate = immediate as i32;
        self.instructions.push(Instruction { code, registers: register, offset: 0, immediate });
        self.instructions.len() - 1
    }

    /// A jump past the rules for other devices, unless the field is `None`.
    fn skip_unless(&mut self, register: u8, value: Option<u32>) -> Option<usize> {
        value.map(|value| self.emit(code::JUMP_NOT_EQUAL, register, value))
    }

    fn land(&mut self, jumps: impl IntoIterator<Item = usize>) -> Result<()> {
        for jump in jumps {
            let distance = self.instructions.len() - jump - 1;
            self.instructions[jump].offset = distance
                .try_into()
                .map_err(|_| Error::new("linux.resources.devices: too many rules for one eBPF program"))?;
        }
        Ok(())
    }

    fn jump_to_verdict(&mut self, allow: bool, code: u8, register: u8, immediate: u32) {
        let jump = self.emit(code, register, immediate);
        self.to_verdict[usize::from(allow)].push(jump);
    }

    /// A rule for devices of its type and major number.
    fn rule(&mut self, rule: &Rule) -> Result<()> {
        let Rule { allow, kind: _, major: _, minor, access } = *rule;
        if access == READ | WRITE {
            match minor {
                Some(minor) => self.jump_to_verdict(allow, code::JUMP_EQUAL, MINOR, minor),
                None => self.jump_to_verdict(allow, code::JUMP, 0, 0),
            }
            return Ok(());
        }
        let skip = self.skip_unless(MINOR, minor);
        if allow {
            self.emit(code::AND, ASKED, u32::from(!access & (READ | WRITE)));
            self.jump_to_verdict(true, code::JUMP_EQUAL, ASKED, 0);
        } else {
            self.jump_to_verdict(false, code::JUMP_ANY_BIT, ASKED, u32::from(access));
        }
        self.land(skip)
    }

    fn verdict(&mut self, allow: bool) {
        self.emit(code::MOVE, VERDICT, u32::from(allow));
        self.emit(code::EXIT, 0, 0);
    }
}

fn assemble(checks: &Checks) -> Result<DeviceProgram> {
    let mut program = Assembler::default();
    for (register, offset) in [(KIND, 0), (MAJOR, 4), (MINOR, 8)] {
        let load = program.emit(code::LOAD_WORD, register | CONTEXT << 4, 0);
        program.instructions[load].offset = offset;
    }
    program.emit(code::MOVE_REGISTER, ASKED | KIND << 4, 0);
    program.emit(code::SHIFT_RIGHT, ASKED, 16);
    program.emit(code::AND, ASKED, u32::from(READ | WRITE));
    // mknod, and access(2) for existence, ask for nothing that a rule could deny.
    program.jump_to_verdict(true, code::JUMP_EQUAL, ASKED, 0);
    program.emit(code::AND, KIND, 0xffff);

    for of_kind in checks.rules.chunk_by(|a, b| a.kind == b.kind) {
        let kind = of_kind[0].kind;
        let skip_kind = program.skip_unless(KIND, (kind != Kind::Any).then_some(kind as u32));
        for of_major in of_kind.chunk_by(|a, b| a.major == b.major) {
            let skip_major = program.skip_unless(MAJOR, of_major[0].major);
            of_major.iter().try_for_each(|rule| program.rule(rule))?;
            program.land(skip_major)?;
        }
        program.land(skip_kind)?;
    }

    program.verdict(checks.otherwise);
    // The verifier refuses unreachable code.
    for allow in [true, false] {
        let jumps = std::mem::take(&mut program.to_verdict[usize::from(allow)]);
        if !jumps.is_empty() {
            program.land(jumps)?;
            program.verdict(allow);
        }
    }
    Ok(DeviceProgram(program.instructions))
}

#[cfg(test)]
mod tests;
