//! Warnings: what was left out or lost, while the work went on.

use std::fmt;

/// Something that did not keep a call from succeeding, but that somebody may want to know.
///
/// Its text, as [`Display`](fmt::Display) has it, is one line that begins with the [field](Self::field).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    kind: WarningKind,
    text: String,
    /// Where the field ends in the text.
    field: usize,
}

/// What a [`Warning`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WarningKind {
    /// Something in the configuration has no effect, or is taken for something else.
    Ignored,
    /// Capabilities or groups are left out: they are unknown, contradict others, or the caller does not have
    /// them itself.
    RightsLeftOut,
    /// The container is less confined than was asked for: this kernel has no such security module.
    LessConfined,
    /// Nothing limits the container: it has no cgroup.
    Unlimited,
    /// A hook failed, or was not run, after its container was gone.
    Hook,
    /// A setting of the host was changed, because the container's network needs it.
    HostChanged,
    /// Output of the program was lost.
    OutputLost,
    /// Something of a container that has ended could not be removed.
    LeftBehind,
}

impl Warning {
    /// `text` begins with the field and a colon.
    #[cold]
    #[inline(never)]
    pub(crate) fn new(kind: WarningKind, text: fmt::Arguments<'_>) -> Warning {
        let text = fmt::format(text);
        let field = text.as_bytes().windows(2).position(|pair| pair == b": ").unwrap_or(text.len());
        Warning { kind, text, field }
    }

    /// Of [`WarningKind::LeftBehind`], for the command.
    #[doc(hidden)]
    pub fn left_behind(text: fmt::Arguments<'_>) -> Warning {
        Warning::new(WarningKind::LeftBehind, text)
    }

    /// Of [`WarningKind::OutputLost`], for commands that copy it.
    #[doc(hidden)]
    pub fn output_lost(text: fmt::Arguments<'_>) -> Warning {
        Warning::new(WarningKind::OutputLost, text)
    }

    /// Of [`WarningKind::Ignored`], for the command.
    #[doc(hidden)]
    pub fn ignored(text: fmt::Arguments<'_>) -> Warning {
        Warning::new(WarningKind::Ignored, text)
    }

    /// What it is about.
    pub fn kind(&self) -> WarningKind {
        self.kind
    }

    /// The member of the configuration that it is about (`process.apparmorProfile`, `mounts[2].options`), or
    /// what else it is about.
    pub fn field(&self) -> &str {
        &self.text[..self.field]
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
impl PartialEq<&str> for Warning {
    fn eq(&self, text: &&str) -> bool {
        self.text == *text
    }
}
