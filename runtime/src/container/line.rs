//! What `explain` says of one thing that the runtime does.

/// A line of `explain`: the name of the step, and what it is done to.
pub type Line = (&'static str, String);
