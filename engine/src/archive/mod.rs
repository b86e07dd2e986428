//! Images from files and into files: plain tars of a root file system, OCI layouts, what Docker saves.

mod assemble;
mod commit;
mod contents;
mod import;
mod layout;
mod leaves;
mod load;
mod rootfs;
mod save;

pub use assemble::{annotated_manifest as write_manifest, layer as layer_descriptor};
pub use commit::{KeptLayer, descriptors};
pub use import::{Imported, Kept, import};
pub use layout::{import_layout, is_layout, open_file, read_bounded};
pub use load::load;
pub use rootfs::import_rootfs;
pub use save::save;
