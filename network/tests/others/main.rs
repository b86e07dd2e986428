//! Networks beside others' packet filters: what stands in their chains, and that nothing of theirs changes.

mod drops;
mod host;
mod iptables;
mod legacy;
