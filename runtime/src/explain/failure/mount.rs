//! Why mounts fail.

use pillbox_init::plan::TargetRule;
use pillbox_init::plan::operation::{
    AttachRoot, BindMount, Mount, MountOverlay, MountWithData, Remount, Unmount,
};
use pillbox_init::report::Stage;
use rustix::io::Errno;

use super::{Failed, LINK};
use crate::error::Error;
use crate::explain::name::{below, pairs, text, tree_name};

impl Failed<'_> {
    pub(super) fn mount(&self, step: &Mount<'_>) -> Error {
        let Failed { errno, stage, kernel_text, cause, said, .. } = self;
        let (kind, target) = (text(step.kind), text(step.target));
        let part = match stage {
            Stage::Target if self.met_link(step.rule) => LINK.to_string(),
            Stage::Target => "make or open the mount point".to_string(),
            Stage::Option => {
                let options: Vec<_> = step.flags.iter().map(text).chain(pairs(step.parameters)).collect();
                format!("option {:?}", options.get(self.detail as usize).map_or("", String::as_str))
            }
            Stage::Source if *errno == Errno::NODEV => "the kernel has no such file system".to_string(),
            Stage::Source => "open the file system".to_string(),
            Stage::Verify => "the target lies in procfs, where nothing may be mounted".to_string(),
            Stage::Attach if *errno == Errno::NOTDIR => {
                "a file system is mounted on a folder only".to_string()
            }
            Stage::Attach => "attach".to_string(),
            Stage::Copy if *errno == Errno::LOOP => {
                return Error::formatted(format_args!(
                    "mount {kind} on {target}: tmpcopyup: folders are nested more than 64 deep"
                ));
            }
            Stage::Copy => format!("tmpcopyup: copy {kernel_text:?}"),
            Stage::Call | Stage::Create | Stage::Attributes => "make the file system".to_string(),
        };
        let said = if *stage == Stage::Copy { "" } else { said };
        let label = *stage == Stage::Option && part.starts_with("option \"context=");
        let hint = if label { ": linux.mountLabel needs a kernel with SELinux" } else { "" };
        Error::formatted(format_args!("mount {kind} on {target}: {part}: {cause}{said}{hint}"))
    }

    pub(super) fn mount_with_data(&self, step: &MountWithData<'_>) -> Error {
        let Failed { cause, said, .. } = self;
        let (kind, target) = (text(step.kind), text(step.target));
        Error::formatted(format_args!("mount {kind} on {target}: {cause}{said}"))
    }

    pub(super) fn bind(&self, step: &BindMount<'_>) -> Error {
        let (source, target) = (tree_name(step.tree, self.plan), text(step.target));
        let part = match self.stage {
            Stage::Target if self.met_link(step.rule) => LINK,
            Stage::Target => "make or open the mount point",
            Stage::Source if step.rule == TargetRule::Procfs && self.errno == Errno::PERM => {
                "only procfs may be mounted on /proc"
            }
            Stage::Source => "open the source",
            Stage::Attributes => "set mount options",
            Stage::Verify => "the target lies in procfs, where nothing may be mounted",
            Stage::Attach if self.errno == Errno::NOTDIR => {
                "a folder is bound on a folder, and anything else on a file only"
            }
            Stage::Call | Stage::Option | Stage::Create | Stage::Attach | Stage::Copy => "attach",
        };
        let (cause, pins, locked) = (&self.cause, self.pins_hint(), self.locked_hint());
        Error::formatted(format_args!("bind {source} on {target}: {part}: {cause}{pins}{locked}"))
    }

    pub(super) fn remount(&self, step: &Remount<'_>) -> Error {
        let Failed { cause, said, .. } = self;
        let hint = match (self.stage, self.errno) {
            (stage, Errno::INVAL) if stage != Stage::Option => {
                ": nothing is mounted there, or an option does not fit it"
            }
            _ => "",
        };
        Error::formatted(format_args!("remount {}: {cause}{said}{hint}", text(step.target)))
    }

    pub(super) fn unmount(&self, step: &Unmount<'_>) -> Error {
        let why = match (self.stage, self.errno) {
            (Stage::Target, Errno::LOOP) => {
                ": a symbolic link is on the way: name the place that it leads to"
            }
            (Stage::Verify, _) => ": nothing is mounted there",
            _ => "",
        };
        Error::formatted(format_args!("unmount {}: {}{why}", below(step.folder, step.name), self.cause))
    }

    pub(super) fn attach_root(&self, step: &AttachRoot<'_>) -> Error {
        let (root, cause, hint) = (tree_name(step.tree, self.plan), &self.cause, self.pins_hint());
        Error::formatted(format_args!("attach the root file system {root}: {cause}{hint}"))
    }

    pub(super) fn overlay(&self, step: &MountOverlay<'_>) -> Error {
        let (lower, Failed { cause, said, .. }) = (text(step.lower), self);
        Error::formatted(format_args!(
            "overlay over {lower}: {cause}{said}: the kernel needs overlayfs (in user namespaces since Linux 5.11)"
        ))
    }

    fn met_link(&self, rule: TargetRule) -> bool {
        matches!(rule, TargetRule::NoSymlinks | TargetRule::Procfs) && self.errno == Errno::LOOP
    }

    /// The kernel refuses to mount a namespace's file where the namespace could end up containing itself.
    fn pins_hint(&self) -> &'static str {
        match (self.stage, self.errno) {
            (Stage::Attach, Errno::LOOP) => {
                ": a mount namespace is mounted in it, and the tree cannot be opened without it: bind a folder that does not contain it"
            }
            _ => "",
        }
    }

    fn locked_hint(&self) -> &'static str {
        match (self.stage, self.errno) {
            (Stage::Attributes, Errno::PERM) => {
                ": what another user namespace has mounted ro, nosuid, nodev or noexec stays so: leave out its opposite"
            }
            _ => "",
        }
    }
}
