//! Stands for the networks in a build without them.

use std::convert::Infallible;
use std::path::Path;

use super::line::Line;
use super::network::Network;
use crate::error::{Error, Kind, Result, Warning};
use crate::plan::MadeMount;
use crate::state::{NetworkRecord, StateDirectory};

/// There are none.
#[derive(Debug, Clone)]
pub struct Networks(Infallible);

/// What there never is, except for a container without any.
#[derive(Default)]
pub(super) struct Attached(());

impl Networks {
    pub(super) fn has_interfaces(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn has_own(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn has_user_mode(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn learns_addresses(&self) -> bool {
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

    pub(super) fn write_files(
        &self,
        _: &StateDirectory,
        _: Option<&str>,
        _: Option<&Attached>,
    ) -> Result<()> {
        match self.0 {}
    }

    pub(super) fn connect(
        &self,
        _: &StateDirectory,
        _: &mut Attached,
        _: &mut Network,
        _: Option<&str>,
        _: &mut Vec<Warning>,
    ) -> Result<()> {
        match self.0 {}
    }

    pub(super) fn interface_lines(&self, _: &mut Vec<Line>) {
        match self.0 {}
    }

    pub(super) fn cni_lines(&self, _: &mut Vec<Line>) {
        match self.0 {}
    }

    pub(super) fn file_lines(&self, _: &mut Vec<Line>) {
        match self.0 {}
    }
}

impl Attached {
    pub(super) fn records(&self) -> Vec<NetworkRecord> {
        Vec::new()
    }
}

/// What another pillbox, with networks, has made is left as it is.
pub(super) fn undo(key: &Path) -> Result<()> {
    Err(absent(&format!("network {}", key.display())))
}

/// The same.
pub(super) fn unpin(directory: &StateDirectory) -> Result<()> {
    Err(absent(&format!("container {}", directory.id())))
}

/// The same.
pub(super) fn undo_user_mode(directory: &StateDirectory) -> Result<()> {
    unpin(directory)
}

/// The same.
pub(super) fn undo_cni(directory: &StateDirectory, _: bool, _: &mut dyn FnMut(Warning)) -> Result<()> {
    unpin(directory)
}

fn absent(what: &str) -> Error {
    Error::of(Kind::Unsupported, format!("{what}: this pillbox was built without networks (feature network)"))
}
