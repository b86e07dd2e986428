//! Classic BPF: turns ranges of system call numbers and conditions into the program for seccomp(2).
//!
//! BPF jumps only forward, and a conditional jump reaches only 255 instructions. So the program is written
//! from its end to its beginning: the target of each jump exists already. A target out of reach is bridged on
//! the spot: a return by a copy, anything else by a long jump.

use super::rule::{Branch, Comparison, Condition, too_long};
use super::uapi;
use crate::error::Result;

/// System call numbers from `first` up to the next range.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub first: u32,
    pub verdict: Verdict,
}

/// What happens to the calls of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A `SECCOMP_RET_*` with its data.
    Action(u32),
    /// An index into the list of checks.
    Check(u32),
}

/// The bytes of a `struct sock_filter` (linux/filter.h): code, two jump offsets, operand.
type Instruction = [u8; 8];

/// An instruction that has been written, as the number of instructions after it.
type Label = usize;

const RETURN: u16 = (uapi::BPF_RET | uapi::BPF_K) as u16;
const LOAD: u16 = (uapi::BPF_LD | uapi::BPF_W | uapi::BPF_ABS) as u16;
const AND: u16 = (uapi::BPF_ALU | uapi::BPF_AND | uapi::BPF_K) as u16;
const JUMP: u16 = (uapi::BPF_JMP | uapi::BPF_JA) as u16;
const IF_EQUAL: u16 = (uapi::BPF_JMP | uapi::BPF_JEQ | uapi::BPF_K) as u16;
const IF_GREATER: u16 = (uapi::BPF_JMP | uapi::BPF_JGT | uapi::BPF_K) as u16;
const IF_NOT_LESS: u16 = (uapi::BPF_JMP | uapi::BPF_JGE | uapi::BPF_K) as u16;

/// Offsets in `struct seccomp_data` of linux/seccomp.h.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The reach of a conditional jump.
const REACH: usize = u8::MAX as usize;

struct Assembler<'a> {
    /// The program, with its last instruction first.
    reversed: Vec<Instruction>,
    /// The nearest return of each action.
    returns: Vec<(u32, Label)>,
    checks: &'a [Vec<Branch>],
    /// Where each check begins, once it is written.
    written: Vec<Option<Label>>,
    default: u32,
}

/// Assembles a program. Each `AUDIT_ARCH_*` has ranges in ascending order, beginning at 0; the most frequent
/// architecture comes first. Calls of other architectures get the action `foreign`. Fails if the program is
/// too long for the kernel.
pub(super) fn assemble(
    architectures: &[(u32, Vec<Range>)],
    checks: &[Vec<Branch>],
    default: u32,
    foreign: u32,
) -> Result<Vec<u8>> {
    let mut program = Assembler {
        reversed: Vec::with_capacity(1024),
        returns: Vec::new(),
        checks,
        written: vec![None; checks.len()],
        default,
    };
    let mut trees = Vec::with_capacity(architectures.len());
    for (audit, ranges) in architectures.iter().rev() {
        let tree = program.tree(ranges)?;
        // A single verdict does not need the number, and may stand anywhere.
        trees.push((*audit, if ranges.len() > 1 { program.load(NUMBER) } else { tree }));
    }
    let mut next = program.action(foreign);
    for (audit, tree) in trees {
        next = program.jump(IF_EQUAL, audit, tree, next);
    }
    program.load(ARCH);
    program.fits()?;
    program.reversed.reverse();
    Ok(program.reversed.into_flattened())
}

impl Assembler<'_> {
    /// A binary search over the ranges.
    fn tree(&mut self, ranges: &[Range]) -> Result<Label> {
        match ranges {
            [] => Ok(self.action(self.default)),
            [all] => self.verdict(all.verdict),
            [below, single, above]
                if below.verdict == above.verdict && single.first.checked_add(1) == Some(above.first) =>
            {
                let others = self.verdict(below.verdict)?;
                let own = self.verdict(single.verdict)?;
                Ok(self.jump(IF_EQUAL, single.first, own, others))
            }
            _ => {
                let (below, above) = ranges.split_at(ranges.len() / 2);
                let first = above[0].first;
                let above = self.tree(above)?;
                let below = self.tree(below)?;
                Ok(self.jump(IF_NOT_LESS, first, above, below))
            }
        }
    }

    fn verdict(&mut self, verdict: Verdict) -> Result<Label> {
        match verdict {
            Verdict::Action(action) => Ok(self.action(action)),
            Verdict::Check(index) => {
                let index = index as usize;
                if let Some(label) = self.written[index] {
                    return Ok(label);
                }
                let label = self.check(&self.checks[index])?;
                self.written[index] = Some(label);
                Ok(label)
            }
        }
    }

    /// Checks one branch after the other; the first whose conditions are met decides.
    fn check(&mut self, branches: &[Branch]) -> Result<Label> {
        let mut otherwise = self.action(self.default);
        for Branch { conditions, action } in branches.iter().rev() {
            self.fits()?;
            let mut met = self.action(*action);
            for condition in conditions.iter().rev() {
                met = self.condition(condition, met, otherwise);
            }
            otherwise = met;
        }
        Ok(otherwise)
    }

    /// A 64-bit comparison made of 32-bit ones, the upper half first.
    fn condition(&mut self, condition: &Condition, met: Label, otherwise: Label) -> Label {
        let Condition { index, comparison, holds, mask, value } = *condition;
        let (yes, no) = if holds { (met, otherwise) } else { (otherwise, met) };
        let (low, high) = halves(index);
        let lower = match comparison {
            _ if mask as u32 == 0 => yes,
            Comparison::Equal => self.jump(IF_EQUAL, value as u32, yes, no),
            Comparison::Greater => self.jump(IF_GREATER, value as u32, yes, no),
            Comparison::GreaterOrEqual => self.jump(IF_NOT_LESS, value as u32, yes, no),
        };
        let lower = if mask as u32 == 0 { lower } else { self.load_masked(low, mask as u32) };
        let (upper_mask, upper_value) = ((mask >> 32) as u32, (value >> 32) as u32);
        if upper_mask == 0 {
            return lower;
        }
        let equal = self.jump(IF_EQUAL, upper_value, lower, no);
        if comparison != Comparison::Equal {
            self.jump(IF_GREATER, upper_value, yes, equal);
        }
        self.load_masked(high, upper_mask)
    }

    /// Loads and masks a value for the instruction written last.
    fn load_masked(&mut self, offset: u32, mask: u32) -> Label {
        if mask != u32::MAX {
            self.push(AND, 0, 0, mask);
        }
        self.load(offset)
    }

    /// Loads a value for the instruction written last.
    fn load(&mut self, offset: u32) -> Label {
        self.push(LOAD, 0, 0, offset)
    }

    /// A return within reach of the next instruction to be written.
    fn action(&mut self, action: u32) -> Label {
        let known = self.returns.iter().position(|(of, _)| *of == action);
        if let Some(index) = known
            && self.distance(self.returns[index].1) <= REACH
        {
            return self.returns[index].1;
        }
        let label = self.push(RETURN, 0, 0, action);
        match known {
            Some(index) => self.returns[index].1 = label,
            None => self.returns.push((action, label)),
        }
        label
    }

    /// A conditional jump, with a bridge to a target that is out of reach.
    fn jump(&mut self, code: u16, k: u32, mut yes: Label, mut no: Label) -> Label {
        loop {
            if self.distance(yes) > REACH {
                yes = self.bridge(yes);
            } else if self.distance(no) > REACH {
                no = self.bridge(no);
            } else {
                return self.push(code, self.distance(yes) as u8, self.distance(no) as u8, k);
            }
        }
    }

    fn bridge(&mut self, target: Label) -> Label {
        let [c0, c1, _, _, k @ ..] = self.reversed[target];
        match u16::from_ne_bytes([c0, c1]) {
            RETURN => self.action(u32::from_ne_bytes(k)),
            _ => self.push(JUMP, 0, 0, self.distance(target) as u32),
        }
    }

    /// How many instructions the next one skips if it jumps to `target`.
    fn distance(&self, target: Label) -> usize {
        self.reversed.len() - target - 1
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        let ([c0, c1], [k0, k1, k2, k3]) = (code.to_ne_bytes(), k.to_ne_bytes());
        self.reversed.push([c0, c1, jt, jf, k0, k1, k2, k3]);
        self.reversed.len() - 1
    }

    fn fits(&self) -> Result<()> {
        match self.reversed.len() > uapi::BPF_MAXINSNS as usize {
            true => Err(too_long()),
            false => Ok(()),
        }
    }
}

/// The offsets of an argument's lower and upper half.
fn halves(index: u32) -> (u32, u32) {
    let start = ARGUMENTS + 8 * index;
    if cfg!(target_endian = "little") { (start, start + 4) } else { (start + 4, start) }
}
