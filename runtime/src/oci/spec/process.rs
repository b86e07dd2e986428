//! `process`: what runs, as which user, with which rights.

use super::json::{List, Text};
use super::object::object;

object! {
    /// The container's process; also the document that `exec --process` takes.
    Process<'a> {
        "terminal" => terminal: bool,
        "consoleSize" => console_size: Option<ConsoleSize>,
        "user" => user: User<'a>,
        "args" => args: List<Text<'a>>,
        "commandLine" => command_line: Option<Text<'a>>,
        "env" => env: List<Text<'a>>,
        "cwd" => cwd: Text<'a>,
        "capabilities" => capabilities: Option<Capabilities<'a>>,
        "rlimits" => rlimits: List<Rlimit<'a>>,
        "noNewPrivileges" => no_new_privileges: bool,
        "apparmorProfile" => apparmor_profile: Option<Text<'a>>,
        "oomScoreAdj" => oom_score_adj: Option<i32>,
        "scheduler" => scheduler: Option<Scheduler<'a>>,
        "selinuxLabel" => selinux_label: Option<Text<'a>>,
        "ioPriority" => io_priority: Option<IoPriority<'a>>,
        "execCPUAffinity" => exec_cpu_affinity: Option<CpuAffinity<'a>>,
    }
}

object! {
    /// The terminal's size in characters.
    ConsoleSize {
        "height" required => height: u32,
        "width" required => width: u32,
    }
}

object! {
    /// Ids as the container sees them.
    User<'a> {
        "uid" => uid: u32,
        "gid" => gid: u32,
        "umask" => umask: Option<u32>,
        "additionalGids" => additional_gids: List<u32>,
        "username" => username: Option<Text<'a>>,
    }
}

object! {
    /// The five capability sets, by name (`CAP_CHOWN`).
    Capabilities<'a> {
        "bounding" => bounding: List<Text<'a>>,
        "effective" => effective: List<Text<'a>>,
        "inheritable" => inheritable: List<Text<'a>>,
        "permitted" => permitted: List<Text<'a>>,
        "ambient" => ambient: List<Text<'a>>,
    }
}

object! {
    /// One resource limit; `u64::MAX` means unlimited.
    Rlimit<'a> {
        "type" required => kind: Text<'a>,
        "soft" required => soft: u64,
        "hard" required => hard: u64,
    }
}

object! {
    /// sched_setattr(2).
    Scheduler<'a> {
        "policy" required => policy: Text<'a>,
        "nice" => nice: Option<i32>,
        "priority" => priority: Option<i32>,
        "flags" => flags: List<Text<'a>>,
        "runtime" => runtime: Option<u64>,
        "deadline" => deadline: Option<u64>,
        "period" => period: Option<u64>,
    }
}

object! {
    /// ioprio_set(2).
    IoPriority<'a> {
        "class" required => class: Text<'a>,
        "priority" => priority: Option<i32>,
    }
}

object! {
    /// CPU lists (`0-3,7`) for `exec`, from before and from after the process enters the cgroup.
    CpuAffinity<'a> {
        "initial" => initial: Option<Text<'a>>,
        "final" => r#final: Option<Text<'a>>,
    }
}
