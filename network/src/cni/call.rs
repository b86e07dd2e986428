//! One call of one plugin (SPEC.md, section 2), and what its answer means.

use pillbox_json::parse;

use super::program::{Ended, Programs, quote_stderr, word_end};
use super::refusal::{Refusal, one_line};
use super::version::{Supported, Version};
use crate::error::{Error, Kind, Result};

/// What a plugin is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Add,
    Check,
    Del,
    Gc,
    Status,
    Version,
}

impl Operation {
    /// All of them.
    pub const ALL: [Operation; 6] = [
        Operation::Add,
        Operation::Check,
        Operation::Del,
        Operation::Gc,
        Operation::Status,
        Operation::Version,
    ];

    /// As CNI_COMMAND has it.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Add => "ADD",
            Operation::Check => "CHECK",
            Operation::Del => "DEL",
            Operation::Gc => "GC",
            Operation::Status => "STATUS",
            Operation::Version => "VERSION",
        }
    }

    /// What it answers with when it succeeds.
    fn answer(self) -> Option<&'static str> {
        match self {
            Operation::Add => Some("a result"),
            Operation::Version => Some("its versions"),
            _ => None,
        }
    }
}

impl Programs {
    /// The versions that a plugin speaks (VERSION).
    ///
    /// # Errors
    /// It cannot be executed, fails, or answers something else.
    pub fn versions(&self, plugin: &str) -> Result<Vec<String>> {
        let input = format!(r#"{{"cniVersion":"{}"}}"#, Version::V1_1_0.name());
        let supported = self.call(Operation::Version, plugin, &[], &input).and_then(|answer| {
            let supported: std::result::Result<Supported, _> = parse(answer.as_bytes());
            supported.map_err(|error| rubbish("its versions", &error, &answer))
        });
        match supported {
            Ok(supported) => Ok(supported.supported_versions.0),
            Err(error) => Err(error.after(&format!("CNI plugin {plugin}: VERSION"))),
        }
    }

    /// Calls a plugin, and gives what it prints. `variables` are those that name the attachment.
    ///
    /// # Errors
    /// It cannot be executed, takes too long, fails, or says that it has not done it: in one line, without
    /// its name.
    pub(crate) fn call(
        &self,
        operation: Operation,
        plugin: &str,
        variables: &[(&str, &str)],
        input: &str,
    ) -> Result<String> {
        let Ended { status, stdout, stderr } = self.run(plugin, operation.name(), variables, input)?;
        let said = String::from_utf8_lossy(&stdout).into_owned();
        let refusal = parse::<Refusal>(&stdout).ok();
        let text = match refusal {
            // Some plugins refuse and exit with 0.
            Some(refusal) if !status.success() || refusal.code != 0 => {
                // Then nothing of it is left to be taken away, by the specification's definition.
                if operation == Operation::Del && refusal.code == Refusal::UNKNOWN_CONTAINER {
                    return Ok(said);
                }
                let remedy = self.remedy(operation, plugin, &refusal);
                let text = format!("{refusal}{remedy}{}", quote_stderr(&stderr));
                return Err(Error::new(refusal.kind(), text));
            }
            _ if status.success() => match operation.answer().filter(|_| said.trim().is_empty()) {
                Some(answer) => format!("printed nothing instead of {answer}"),
                None => return Ok(said),
            },
            _ => match one_line(&said) {
                nothing if nothing.is_empty() => format!("{} and printed nothing", word_end(status)),
                rubbish => format!("{} and printed no error object but {rubbish:?}", word_end(status)),
            },
        };
        Err(Error::new(Kind::Host, text + &quote_stderr(&stderr)))
    }

    /// What helps against a refusal, as a part of its error.
    fn remedy(&self, operation: Operation, plugin: &str, refusal: &Refusal) -> String {
        if refusal.code == Refusal::INCOMPATIBLE_VERSION
            && operation != Operation::Version
            && let Ok(versions) = self.versions(plugin)
        {
            return format!(": the plugin speaks {}: name one of them as cniVersion", versions.join(", "));
        }
        refusal.remedy().map(|remedy| format!(": {remedy}")).unwrap_or_default()
    }
}

/// The error of a plugin that succeeds and prints something else than `expected`.
pub(super) fn rubbish(expected: &str, why: &dyn std::fmt::Display, printed: &str) -> Error {
    Error::of(Kind::Host, format_args!("printed {:?} instead of {expected}: {why}", one_line(printed)))
}
