//! Stands in for systemd in builds without the feature `systemd`: every request is an error. No value of
//! these types can exist, so that code for them is not compiled in.

use std::convert::Infallible;

use super::CgroupPath;
use crate::error::{Error, Result};
use crate::resources::FileWrite;

/// Whose systemd it would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manager;

impl Manager {
    /// The caller's.
    pub fn of_caller() -> Manager {
        Manager
    }

    /// Where units would go.
    pub fn default_slice(self) -> &'static str {
        ""
    }
}

/// A unit; there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// Its slice.
    pub slice: String,
    never: Infallible,
}

impl Unit {
    /// Always an error.
    pub fn resolve(_: Option<&str>, _: &str, _: &str) -> Result<Unit> {
        Err(absent())
    }

    /// Whether it is a slice.
    pub fn is_slice(&self) -> bool {
        match self.never {}
    }
}

/// A connection; there are none.
#[derive(Debug)]
pub struct Systemd {
    never: Infallible,
}

impl Systemd {
    /// Always an error.
    pub fn connect(_: Manager) -> Result<Systemd> {
        Err(absent())
    }

    /// The unit's cgroup.
    pub fn cgroup(&mut self, _: &Unit) -> Result<CgroupPath> {
        match self.never {}
    }

    /// Makes a unit.
    pub fn start(&mut self, _: &Unit, _: &[Infallible]) -> Result<()> {
        match self.never {}
    }

    /// Ends a unit.
    pub fn stop(&mut self, _: &str) -> Result<()> {
        match self.never {}
    }

    /// Moves a process.
    pub fn attach(&mut self, _: &str, _: &str, _: u32) -> Result<()> {
        match self.never {}
    }

    /// Changes limits.
    pub fn set_limits(&mut self, _: &str, _: &[FileWrite<'_>]) -> Result<()> {
        match self.never {}
    }
}

/// The properties of a unit.
pub fn compile_properties<A: ?Sized>(
    unit: &Unit,
    _: Option<u32>,
    _: &[FileWrite<'_>],
    _: Option<&[(String, &str)]>,
    _: &A,
) -> Result<Vec<Infallible>> {
    match unit.never {}
}

fn absent() -> Error {
    Error::new("the systemd cgroup manager is not in this build of pillbox: use --cgroup-manager cgroupfs")
}
