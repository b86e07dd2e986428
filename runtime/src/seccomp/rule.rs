//! Rules: conditions on arguments, and which rule decides if several match.

use std::cmp::Ordering;

use super::uapi;
use crate::error::{Error, Result};
use crate::oci::spec::linux::SyscallArg;

/// A condition on one argument; its values are cut to the ABI's width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// Which argument, 0 to 5.
    pub index: u32,
    pub comparison: Comparison,
    /// The result that the comparison must have.
    pub holds: bool,
    /// The bits of the argument that are compared.
    pub mask: u64,
    pub value: u64,
}

/// The comparisons of BPF; the other operators are their negations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Greater,
    GreaterOrEqual,
}

/// Conditions that must all be met, and the action if they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Branch {
    pub conditions: Vec<Condition>,
    /// A `SECCOMP_RET_*` with its data.
    pub action: u32,
}

/// When an entry of the profile applies: always, or if one of several lists of conditions is met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Applies {
    Always,
    When(Vec<Vec<Condition>>),
}

impl Condition {
    /// The condition that the first argument, masked, is `value`.
    pub fn selects(mask: u64, value: u64) -> Self {
        Condition { index: 0, comparison: Comparison::Equal, holds: true, mask, value }
    }

    fn parse(arg: &SyscallArg<'_>) -> Result<Self> {
        let SyscallArg { index, value, value_two, op } = arg;
        if *index > 5 {
            return Err(Error::formatted(format_args!("index: {index}: a system call has arguments 0 to 5")));
        }
        let (comparison, holds) = match &**op {
            "SCMP_CMP_EQ" => (Comparison::Equal, true),
            "SCMP_CMP_NE" => (Comparison::Equal, false),
            "SCMP_CMP_GT" => (Comparison::Greater, true),
            "SCMP_CMP_LE" => (Comparison::Greater, false),
            "SCMP_CMP_GE" => (Comparison::GreaterOrEqual, true),
            "SCMP_CMP_LT" => (Comparison::GreaterOrEqual, false),
            "SCMP_CMP_MASKED_EQ" => {
                // Like libseccomp, ignores bits of the value outside the mask.
                let (mask, value) = (*value, *value & *value_two);
                return Ok(Condition {
                    index: *index,
                    comparison: Comparison::Equal,
                    holds: true,
                    mask,
                    value,
                });
            }
            unknown => {
                return Err(Error::formatted(format_args!(
                    "op: {unknown:?}: must be SCMP_CMP_NE, LT, LE, EQ, GE, GT or MASKED_EQ with that prefix"
                )));
            }
        };
        Ok(Condition { index: *index, comparison, holds, mask: u64::MAX, value: *value })
    }

    fn narrowed(self, width: u64) -> Self {
        Condition { mask: self.mask & width, value: self.value & width, ..self }
    }

    /// libseccomp's classes of operators: equality, then upper limits, then lower limits.
    fn class(&self) -> u8 {
        match (self.comparison, self.holds) {
            (Comparison::Equal, _) => 0,
            (_, false) => 1,
            (_, true) => 2,
        }
    }
}

impl Ord for Condition {
    /// The order in which conditions are checked, as in libseccomp: by descending argument; then equality,
    /// then upper limits in ascending order, then lower limits in descending order. Of what is still equal,
    /// the tighter condition comes first.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_value = match self.class() {
            1 => self.value.cmp(&other.value),
            _ => other.value.cmp(&self.value),
        };
        let tightness = |c: &Condition| (c.comparison == Comparison::Greater) != c.holds;
        (other.index.cmp(&self.index))
            .then(self.class().cmp(&other.class()))
            .then(by_value)
            .then(other.mask.cmp(&self.mask))
            .then(tightness(self).cmp(&tightness(other)))
    }
}

impl PartialOrd for Condition {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Applies {
    /// Reads `args` for an ABI whose arguments are cut to `width`. Conditions are ANDed; but if an argument
    /// occurs twice, each condition is an alternative, as in runc and crun.
    pub fn parse(args: &[SyscallArg<'_>], width: u64) -> Result<Self> {
        if args.is_empty() {
            return Ok(Applies::Always);
        }
        if args.len() > uapi::BPF_MAXINSNS as usize {
            return Err(too_long());
        }
        let mut conditions = Vec::with_capacity(args.len());
        let (mut seen, mut repeated) = (0u8, false);
        for (position, arg) in args.iter().enumerate() {
            let condition = Condition::parse(arg).map_err(|e| e.context(format_args!("args[{position}]")))?;
            repeated |= seen & (1 << condition.index) != 0;
            seen |= 1 << condition.index;
            // Sorted by argument; without repetitions there are at most six.
            let place = conditions.partition_point(|other: &Condition| other.index < condition.index);
            conditions.insert(place, condition.narrowed(width));
        }
        let mut alternatives: Vec<Vec<Condition>> = match repeated {
            true => conditions.into_iter().map(|condition| vec![condition]).collect(),
            false => vec![conditions],
        };
        // A condition that compares no bits always holds.
        alternatives.iter_mut().for_each(|alternative| alternative.retain(|condition| condition.mask != 0));
        match alternatives.iter().any(Vec::is_empty) {
            true => Ok(Applies::Always),
            false => Ok(Applies::When(alternatives)),
        }
    }
}

/// Inserts a branch at its place in the order. The same conditions can't have two actions.
pub(super) fn insert(branches: &mut Vec<Branch>, branch: Branch) -> Result<()> {
    // Slices compare element by element, with a prefix first: the wider rule hides the narrower one, as in
    // libseccomp.
    let position = branches.partition_point(|other| other.conditions < branch.conditions);
    match branches.get(position) {
        Some(same) if *same == branch => Ok(()),
        Some(other) if other.conditions == branch.conditions => {
            Err(Error::new("two rules with the same conditions have different actions"))
        }
        // Each branch takes several instructions, so that there is no point in sorting more of them.
        _ if branches.len() >= uapi::BPF_MAXINSNS as usize => Err(too_long()),
        _ => {
            branches.insert(position, branch);
            Ok(())
        }
    }
}

/// The kernel refuses longer programs.
pub(super) fn too_long() -> Error {
    let limit = uapi::BPF_MAXINSNS;
    Error::formatted(format_args!(
        "the rules need more than {limit} BPF instructions, the most that the kernel takes"
    ))
}
