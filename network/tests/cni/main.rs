//! Calls real programs: shell scripts that the tests write, and the reference plugins where they are installed
//! (Debian's package containernetworking-plugins, with iptables).

mod answers;
mod calls;
mod namespace;
mod reference;
mod script;
