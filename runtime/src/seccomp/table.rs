//! What happens to each system call number of an ABI, and from that the ranges of numbers with the same
//! verdict.

use super::bpf::{Range, Verdict};
use super::names::{ABIS, ABSENT, Abi, COLUMNS, MULTIPLEXERS, Multiplexer, NUMBERS, Numbers, numbers};
use super::rule::{Applies, Branch, Condition, insert};
use super::{Entry, uapi};
use crate::error::{Context, Result};

/// What happens to one number.
#[derive(Debug, Clone, Copy)]
enum Slot {
    /// No rule names it.
    Default,
    Always(u32),
    /// Index into [`Table::conditionals`].
    When(u32),
}

/// The rules for a number all of whose rules have conditions.
struct Conditional<'p> {
    name: &'p str,
    /// Indices of the profile's entries.
    entries: Vec<usize>,
    /// Rules of calls that it multiplexes; the profile's own rules for it come first.
    multiplexed: Vec<Branch>,
}

/// The rules of one ABI, or of one multiplexer, by number.
struct Table<'p> {
    slots: [Slot; NUMBERS],
    conditionals: Vec<Conditional<'p>>,
    /// The highest number that the profile names, with whatever action.
    newest: Option<u16>,
}

/// The rules of all ABIs.
pub(super) struct Tables<'p> {
    entries: &'p [Entry],
    default: u32,
    columns: [Table<'p>; COLUMNS],
}

impl<'p> Table<'p> {
    /// Adds a rule. The first one without conditions decides alone, wherever it stands in the profile.
    fn add(&mut self, number: u16, name: &'p str, index: usize, action: u32, applies: &Applies) {
        match (self.slots[usize::from(number)], applies) {
            (Slot::Always(_), _) => {}
            (_, Applies::Always) => self.slots[usize::from(number)] = Slot::Always(action),
            (_, Applies::When(_)) => {
                if let Some(conditional) = self.conditional(number, name)
                    && conditional.entries.last() != Some(&index)
                {
                    conditional.entries.push(index);
                }
            }
        }
    }

    /// The conditional rules of a number; `None` if it has an unconditional one.
    fn conditional(&mut self, number: u16, name: &'p str) -> Option<&mut Conditional<'p>> {
        let list = match self.slots[usize::from(number)] {
            Slot::Always(_) => return None,
            Slot::When(list) => list,
            Slot::Default => {
                let list = self.conditionals.len() as u32;
                self.conditionals.push(Conditional { name, entries: Vec::new(), multiplexed: Vec::new() });
                self.slots[usize::from(number)] = Slot::When(list);
                list
            }
        };
        Some(&mut self.conditionals[list as usize])
    }
}

impl<'p> Tables<'p> {
    /// Empty tables for a profile with these entries and this default action.
    pub fn new(entries: &'p [Entry], default: u32) -> Self {
        let table = |_| Table { slots: [Slot::Default; NUMBERS], conditionals: Vec::new(), newest: None };
        Tables { entries, default, columns: std::array::from_fn(table) }
    }

    /// Adds the rule of the profile's entry `index` for `name`. Unknown names are skipped: profiles are
    /// written for all machines and for future kernels.
    pub fn add(&mut self, name: &'p str, index: usize) {
        let Some(numbers) = numbers(name) else { return };
        let Entry { action, wide, narrow } = &self.entries[index];
        for (column, &number) in numbers.iter().enumerate() {
            if number == ABSENT {
                continue;
            }
            let table = &mut self.columns[column];
            table.newest = table.newest.max(Some(number));
            // The default needs no rule, and such a rule would hide others for the same call.
            if *action != self.default {
                let applies = if ABIS.get(column).is_some_and(|abi| abi.wide) { wide } else { narrow };
                table.add(number, name, index, *action, applies);
            }
        }
    }

    /// Carries the rules for multiplexed calls over to the calls that multiplex them. Those pass the
    /// arguments through a pointer, behind which a filter can't look: the selected call gets the strictest
    /// action that any arguments could give it.
    pub fn multiplex(&mut self) {
        let (entries, default) = (self.entries, self.default);
        let (tables, selections) = self.columns.split_at_mut(ABIS.len());
        for (multiplexer, selection) in MULTIPLEXERS.iter().zip(selections) {
            let Multiplexer { abi, name, mask } = *multiplexer;
            let number = numbers(name).map_or(ABSENT, |numbers: &Numbers| numbers[abi]);
            let (Some(highest), table) = (selection.newest, &mut tables[abi]) else { continue };
            table.newest = table.newest.max(Some(number));
            for selector in 0..=highest {
                let action = match selection.slots[usize::from(selector)] {
                    Slot::Default => continue,
                    Slot::Always(action) => action,
                    Slot::When(list) => {
                        let rules = &selection.conditionals[list as usize].entries;
                        strictest(default, rules.iter().map(|&index| entries[index].action))
                    }
                };
                if action != default
                    && let Some(conditional) = table.conditional(number, name)
                {
                    let conditions = vec![Condition::selects(mask, u64::from(selector))];
                    conditional.multiplexed.push(Branch { conditions, action });
                }
            }
        }
    }

    /// Appends the ranges of an ABI. Calls above the newest one that the profile names get `newer`.
    pub fn ranges(
        &self,
        column: usize,
        newer: u32,
        checks: &mut Vec<Vec<Branch>>,
        ranges: &mut Vec<Range>,
    ) -> Result<()> {
        let Abi { first, wide, .. } = ABIS[column];
        let table = &self.columns[column];
        let mut verdicts = Vec::with_capacity(table.conditionals.len());
        for conditional in &table.conditionals {
            let branches = self.branches(conditional, wide).context(|| conditional.name)?;
            let known = checks.iter().position(|check| *check == branches);
            verdicts.push(Verdict::Check(known.unwrap_or(checks.len()) as u32));
            if known.is_none() {
                checks.push(branches);
            }
        }
        push(ranges, first, Verdict::Action(self.default));
        let Some(newest) = table.newest else { return Ok(()) };
        for (number, slot) in (first..).zip(&table.slots[..=usize::from(newest)]) {
            push(
                ranges,
                number,
                match *slot {
                    Slot::Default => Verdict::Action(self.default),
                    Slot::Always(action) => Verdict::Action(action),
                    Slot::When(list) => verdicts[list as usize],
                },
            );
        }
        push(ranges, first + u32::from(newest) + 1, Verdict::Action(newer));
        Ok(())
    }

    fn branches(&self, conditional: &Conditional<'_>, wide: bool) -> Result<Vec<Branch>> {
        let Conditional { name: _, entries, multiplexed } = conditional;
        let mut branches = Vec::new();
        for &index in entries {
            let entry = &self.entries[index];
            let applies = if wide { &entry.wide } else { &entry.narrow };
            if let Applies::When(alternatives) = applies {
                for conditions in alternatives {
                    insert(&mut branches, Branch { conditions: conditions.clone(), action: entry.action })?;
                }
            }
        }
        branches.extend(multiplexed.iter().cloned());
        Ok(branches)
    }
}

/// Appends a range, unless it continues the previous one; replaces a previous one that would be empty.
pub(super) fn push(ranges: &mut Vec<Range>, first: u32, verdict: Verdict) {
    if ranges.last().is_some_and(|last| last.first == first) {
        ranges.pop();
    }
    if ranges.last().is_none_or(|last| last.verdict != verdict) {
        ranges.push(Range { first, verdict });
    }
}

/// The action that the kernel itself would choose among several (seccomp(2)): it compares them as signed
/// numbers.
fn strictest(default: u32, actions: impl Iterator<Item = u32>) -> u32 {
    actions
        .chain([default])
        .min_by_key(|action| (action & uapi::SECCOMP_RET_ACTION_FULL) as i32)
        .unwrap_or(default)
}
