//! boxd as one of those who build.

use super::message::{Platform, Version, Worker};

/// By this label clients see that tars of images come out as well, and that the builder pushes itself.
const STORE: &str = "org.mobyproject.buildkit.worker.snapshotter";

/// Which program this is.
pub fn version() -> Version {
    Version { package: "boxd".to_string(), version: concat!("v", env!("CARGO_PKG_VERSION")).to_string() }
}

/// boxd as one that builds.
pub fn worker() -> Worker {
    let machine = crate::image::Platform::of_machine();
    let platform = Platform {
        architecture: machine.architecture,
        os: machine.os,
        variant: machine.variant.unwrap_or_default(),
    };
    Worker {
        id: "boxd".to_string(),
        labels: [(STORE.to_string(), "boxd".to_string())].into(),
        platforms: vec![platform],
        version: Some(version()),
    }
}
