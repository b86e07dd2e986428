//! The seccomp filter. It was compiled with the plan, init installs it, and its listener is sent to the agent
//! when init asks for that: this step does nothing, but `explain` shows it.

use super::{Line, Making, Prepared, Step};
use crate::error::Result;
use crate::oci::spec::json::Text;
use crate::oci::spec::linux::{Seccomp, Syscall, SyscallArg};

/// See the head of this file.
pub struct Filter;

impl Step for Filter {
    fn is_for(&self, prepared: &Prepared<'_>) -> bool {
        prepared.spec().seccomp.is_some()
    }

    fn apply(&self, _: &mut Making<'_, '_>) -> Result<()> {
        Ok(())
    }

    fn lines(&self, prepared: &Prepared<'_>, lines: &mut Vec<Line>) -> Result<()> {
        prepared.spec().seccomp.iter().for_each(|profile| describe(profile, lines));
        Ok(())
    }
}

fn describe(profile: &Seccomp<'_>, lines: &mut Vec<Line>) {
    // The flags are shown where init installs the filter.
    let Seccomp {
        default_action,
        default_errno_ret,
        architectures,
        flags: _,
        listener_path,
        listener_metadata,
        syscalls,
    } = profile;
    let action = |action: &str, errno: Option<u32>| match errno {
        Some(errno) => format!("{action}({errno})"),
        None => action.to_string(),
    };
    let words = |words: &[Text<'_>]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>().join(" ");
    let otherwise = action(default_action, *default_errno_ret);
    lines.push(("CompileSeccomp", format!("{otherwise} by default; {}", words(architectures))));
    if let Some(path) = listener_path {
        let metadata =
            listener_metadata.as_deref().map_or(String::new(), |text| format!(", metadata {text:?}"));
        lines.push(("SendSeccompListener", format!("to {path}{metadata}")));
    }
    for Syscall { names, action: name, errno_ret, args } in syscalls {
        let conditions: Vec<_> = args.iter().map(condition).collect();
        let when = if conditions.is_empty() { "" } else { " if " };
        let rule =
            format!("{}: {}{when}{}", action(name, *errno_ret), words(names), conditions.join(" and "));
        lines.push(("SeccompRule", rule));
    }
}

fn condition(argument: &SyscallArg<'_>) -> String {
    let SyscallArg { index, value, value_two, op } = argument;
    let operator = match &**op {
        "SCMP_CMP_NE" => "!=",
        "SCMP_CMP_LT" => "<",
        "SCMP_CMP_LE" => "<=",
        "SCMP_CMP_EQ" => "==",
        "SCMP_CMP_GE" => ">=",
        "SCMP_CMP_GT" => ">",
        "SCMP_CMP_MASKED_EQ" => return format!("argument {index} & {value:#x} == {value_two:#x}"),
        other => other,
    };
    format!("argument {index} {operator} {value:#x}")
}
