//! Images and artifacts as they are: listed, read, verified.

mod built; // the directory of a layered build
mod cat; // single files
mod file; // image files and disks
mod find; // files by path
mod lazy; // without reading everything
mod listing; // names and metadata
mod sealed; // digests of composefs
mod subject; // an image or an artifact

pub(crate) use built::LayeredTree;
pub use file::ImageFile;
pub use listing::{ListedEntry, Listing};
pub use subject::Subject;
