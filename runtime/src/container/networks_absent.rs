//! Stands for the networks in a build without them.

use std::convert::Infallible;
use std::os::fd::BorrowedFd;
use std::path::Path;

use super::network::Network;
use super::step::Line;
use crate::error::{Error, Kind, Result, Warning};
use crate::plan::MadeMount;
use crate::state::{NetworkRecord, StateDirectory};

/// There are none.
#[derive(Debug, Clone)]
pub struct Networks(Infallible);

pub(super) struct Attached(Infallible);

impl Networks {
    /// Refuses a netconf.json.
    ///
    /// # Errors
    /// Always: this pillbox was built without networks.
    pub fn read(path: &Path) -> Result<Networks> {
        Err(absent(&path.display().to_string()))
    }

    pub(super) fn has_interfaces(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn name(&self) -> &str {
        match self.0 {}
    }

    pub(super) fn mounts(&self, _: &Path, _: bool) -> Vec<MadeMount> {
        match self.0 {}
    }

    pub(super) fn reserve(
        &self,
        _: &StateDirectory,
        _: Option<String>,
        _: &mut Vec<Warning>,
    ) -> Result<Attached> {
        match self.0 {}
    }

    pub(super) fn write_files(&self, _: BorrowedFd<'_>, _: Option<&str>, _: Option<&Attached>) -> Result<()> {
        match self.0 {}
    }

    pub(super) fn interface_lines(&self, _: &mut Vec<Line>) {
        match self.0 {}
    }

    pub(super) fn file_lines(&self, _: &mut Vec<Line>) {
        match self.0 {}
    }
}

impl Attached {
    pub(super) fn connect(&mut self, _: &mut Network) -> Result<()> {
        match self.0 {}
    }

    pub(super) fn records(&self) -> Vec<NetworkRecord> {
        match self.0 {}
    }
}

/// What another pillbox, with networks, has made is left as it is.
pub(super) fn undo(_: &StateDirectory, key: &Path) -> Result<()> {
    Err(absent(&format!("network {}", key.display())))
}

fn absent(what: &str) -> Error {
    Error::of(Kind::Unsupported, format!("{what}: this pillbox was built without networks (feature network)"))
}
