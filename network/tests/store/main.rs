//! The store under many processes, killed ones, full file systems, what the kernel says of ports, and links that remain.

mod full;
mod killed;
mod namespace;
mod pace;
mod parallel;
mod place;
mod ports;
mod remains;
mod worker;
