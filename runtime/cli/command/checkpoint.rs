//! checkpoint and restore: parsed like runc's and crun's, and always refused.

use pillbox::error::{Error, Result};

use super::flag::{BUNDLE, CONSOLE_SOCKET, NO_PIVOT, NO_SUBREAPER, PID_FILE, switch, valued};
use crate::arguments::{Arguments, Command, Flag, Global};

const REFUSED: &str = "read, and refused with the command";

/// The flags of both commands in runc and crun: Podman probes for some of them.
const FLAGS: &[Flag] = &[
    BUNDLE,
    CONSOLE_SOCKET,
    PID_FILE,
    NO_PIVOT,
    NO_SUBREAPER,
    valued("image-path", None, "DIR", REFUSED),
    valued("work-path", None, "DIR", REFUSED),
    valued("parent-path", None, "DIR", REFUSED),
    valued("status-fd", None, "N", REFUSED),
    valued("page-server", None, "ADDRESS", REFUSED),
    valued("manage-cgroups-mode", None, "MODE", REFUSED),
    valued("network-lock", None, "METHOD", REFUSED),
    valued("empty-ns", None, "NAMESPACE", REFUSED),
    valued("lsm-profile", None, "PROFILE", REFUSED),
    valued("lsm-mount-context", None, "CONTEXT", REFUSED),
    switch("detach", Some('d'), REFUSED),
    switch("leave-running", None, REFUSED),
    switch("tcp-established", None, REFUSED),
    switch("tcp-close", None, REFUSED),
    switch("tcp-skip-in-flight", None, REFUSED),
    switch("link-remap", None, REFUSED),
    switch("ext-unix-sk", None, REFUSED),
    switch("shell-job", None, REFUSED),
    switch("lazy-pages", None, REFUSED),
    switch("file-locks", None, REFUSED),
    switch("pre-dump", None, REFUSED),
    switch("auto-dedup", None, REFUSED),
];

/// A command with this name that is always refused.
pub const fn refused(name: &'static str) -> Command {
    Command {
        name,
        operands: "ID",
        operand_count: 0..=usize::MAX,
        help: "not supported: always an error",
        flags: FLAGS,
        ends_at_operand: false,
        run: refuse,
    }
}

fn refuse(_: &Global, _: Arguments) -> Result<u8> {
    Err(Error::new(
        "checkpoint and restore are not supported: pillbox cannot save containers; nothing has changed",
    ))
}
