//! The store under many processes, killed ones, full file systems, and what the kernel says of ports.

mod full;
mod killed;
mod namespace;
mod pace;
mod parallel;
mod place;
mod ports;
mod worker;
