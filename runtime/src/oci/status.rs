//! The status of a container: runtime.md, "State".

/// The status of a container: runtime.md, "State".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `create` has not finished.
    Creating,
    /// Init waits for `start`.
    Created,
    /// The program runs.
    Running,
    /// The program runs, or init waits for `start`, but the cgroup is frozen.
    Paused,
    /// Init has ended.
    Stopped,
}

impl Status {
    /// The specification's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}
