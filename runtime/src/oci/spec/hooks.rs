//! `hooks`: programs that run at defined points in a container's life.

use super::json::{List, Text};
use super::object::object;

object! {
    /// The six kinds, in the order in which they run.
    Hooks<'a> {
        "prestart" => prestart: List<Hook<'a>>,
        "createRuntime" => create_runtime: List<Hook<'a>>,
        "createContainer" => create_container: List<Hook<'a>>,
        "startContainer" => start_container: List<Hook<'a>>,
        "poststart" => poststart: List<Hook<'a>>,
        "poststop" => poststop: List<Hook<'a>>,
    }
}

impl<'a> Hooks<'a> {
    /// All hooks with the names of their kinds, in the order in which they run.
    pub fn by_kind(&self) -> [(&'static str, &[Hook<'a>]); 6] {
        let Hooks { prestart, create_runtime, create_container, start_container, poststart, poststop } = self;
        [
            ("prestart", prestart),
            ("createRuntime", create_runtime),
            ("createContainer", create_container),
            ("startContainer", start_container),
            ("poststart", poststart),
            ("poststop", poststop),
        ]
    }

    /// Whether any of them run before init leaves the old root.
    pub fn run_before_pivot(&self) -> bool {
        !(self.prestart.is_empty() && self.create_runtime.is_empty() && self.create_container.is_empty())
    }
}

object! {
    /// One program; `timeout` is in seconds.
    Hook<'a> {
        "path" => path: Text<'a>,
        "args" => args: List<Text<'a>>,
        "env" => env: List<Text<'a>>,
        "timeout" => timeout: Option<i64>,
    }
}
