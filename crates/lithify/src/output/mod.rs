//! What a build writes: files and directories that are there complete or not at all.

mod compressor; // streams that are compressed
mod described; // the directory of a layered build, as its description says
mod directory; // output directories
mod file; // output files, and scratch files
pub(crate) mod flush; // data to the disk, early
mod own; // proof that a directory is a build's
pub(crate) mod retry; // reads that go on after a signal

pub(crate) use compressor::{Compressor, StreamCompression};
pub(crate) use described::DescribedFile;
pub use described::LayersDirectory;
pub(crate) use directory::{PendingDirectory, ScratchDirectory};
pub(crate) use file::{PendingFile, scratch_file};
pub(crate) use own::OwnOutput;
