//! The file beside a directory that says what it lacks of its image (`docs/formats/dir-sidecar.md`): written with the
//! directory, and read with it.

mod apply; // given back
mod error;
mod read;
mod write;

use lithify_tree::Device;

pub use apply::RecordedSummary;
pub(crate) use apply::{RestoreError, Restored, mtime, sha256};
pub use error::{SidecarError, SidecarFault};
pub(crate) use read::Sidecar;
pub use read::check_sidecar;
pub(crate) use write::{Found, Line, SidecarWriter};

/// What the directory's path is followed by to name the file.
pub const SIDECAR_SUFFIX: &str = ".lithify-metadata.jsonl";

/// What the first line of the file says.
const FORMAT: &str = "lithify-metadata";
const VERSION: u32 = 2;

/// What an empty regular file stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    CharDevice(Device),
    BlockDevice(Device),
    Fifo,
    Socket,
}
