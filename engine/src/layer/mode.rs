//! Modes as chmod(1) takes them: `0644`, `u=rwX,go=rX`, `+x`.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What becomes of a mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModeChange {
    /// It is this one.
    Bits(u32),
    /// Some of its bits change.
    Clauses(Vec<Clause>),
}

/// `go-w`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clause {
    /// The bits of those who are meant.
    who: u32,
    operator: char,
    /// The same for each of them.
    rights: u32,
    /// Execution, where somebody has it already, and for folders.
    executes_if_any: bool,
}

impl ModeChange {
    /// Reads it.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<ModeChange> {
        if text.starts_with(|letter: char| letter.is_ascii_digit()) {
            return match u32::from_str_radix(text, 8) {
                Ok(bits @ 0..=0o7777) => Ok(ModeChange::Bits(bits)),
                _ => Err(wrong(text)),
            };
        }
        let clauses = text.split(',').map(|clause| Clause::parse(clause).ok_or_else(|| wrong(text)));
        clauses.collect::<Result<_>>().map(ModeChange::Clauses)
    }

    /// The mode that comes out.
    pub fn apply(&self, mode: u32, is_folder: bool) -> u32 {
        match self {
            ModeChange::Bits(bits) => *bits,
            ModeChange::Clauses(clauses) => {
                clauses.iter().fold(mode, |mode, clause| clause.apply(mode, is_folder))
            }
        }
    }
}

fn wrong(text: &str) -> Error {
    Error::invalid(format!("{text}: must be octal, as 0644, or as chmod takes it: u=rwX,go=rX"))
}

impl Clause {
    fn parse(text: &str) -> Option<Clause> {
        let at = text.find(['+', '-', '='])?;
        let (people, rest) = text.split_at(at);
        let mut who = 0;
        for person in people.chars() {
            who |= match person {
                'u' => 0o4700,
                'g' => 0o2070,
                'o' => 0o1007,
                'a' => 0o7777,
                _ => return None,
            };
        }
        let mut letters = rest.chars();
        let operator = letters.next()?;
        let mut clause =
            Clause { who: if who == 0 { 0o7777 } else { who }, operator, rights: 0, executes_if_any: false };
        for letter in letters {
            clause.rights |= match letter {
                'r' => 0o444,
                'w' => 0o222,
                'x' => 0o111,
                's' => 0o6000,
                't' => 0o1000,
                'X' => {
                    clause.executes_if_any = true;
                    0
                }
                _ => return None,
            };
        }
        Some(clause)
    }

    fn apply(&self, mode: u32, is_folder: bool) -> u32 {
        let executes = self.executes_if_any && (is_folder || mode & 0o111 != 0);
        let rights = (self.rights | if executes { 0o111 } else { 0 }) & self.who;
        match self.operator {
            '+' => mode | rights,
            '-' => mode & !rights,
            _ => mode & !(self.who & 0o777) | rights,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_change_as_with_chmod() {
        let of = |text: &str, mode, is_folder| {
            format!("{:o}", ModeChange::parse(text).unwrap().apply(mode, is_folder))
        };
        assert_eq!(of("0640", 0o777, false), "640");
        assert_eq!(of("u=rwX,go=rX", 0o600, false), "644");
        assert_eq!(of("u=rwX,go=rX", 0o700, false), "755");
        assert_eq!(of("u=rwX,go=rX", 0o600, true), "755");
        assert_eq!(of("+x", 0o644, false), "755");
        assert_eq!(of("a-w,u+s", 0o777, false), "4555");
        assert_eq!(of("o=", 0o777, false), "770");
        for wrong in ["9", "77777", "x", "u", "u+z", "u+r,", ""] {
            assert!(ModeChange::parse(wrong).is_err(), "{wrong}");
        }
    }
}
