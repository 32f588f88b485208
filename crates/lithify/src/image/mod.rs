//! Images: opened, and their layers decoded.

mod decode; // layers into entries and data
mod filesystem; // trees in image files
mod ids; // diff_ids and chain ids
mod intake; // what a filesystem asks for
mod merged; // all layers, merged, with their data
mod native; // layers that are filesystems
mod opened; // an image, whatever it came from
mod sink; // sinks for all layers
mod spool; // data that waits
mod summary; // what decoding found out
mod twins; // layers named again

pub(crate) use decode::{
    Counting, Reader, budget_error, decode, layer_error, merge_error, native_error, open,
    over_budget, read_layer, unmerged, warn_of_changes,
};
pub(crate) use filesystem::{EachPlaced, FilesystemReader, LOST_AND_FOUND, OpenedFile, TreeImage};
pub(crate) use ids::{LayerId, layer_ids};
pub(crate) use intake::Intake;
pub(crate) use merged::Merged;
pub(crate) use native::{NativeBlob, NativeReader, Sniffed, SparseRead, copy_data, sniff};
pub use opened::Image;
pub(crate) use opened::{LayerBlob, LayerInput, Origin, compression};
pub(crate) use sink::{Discard, LayerSink};
pub(crate) use spool::Spool;
pub(crate) use summary::{Dropped, LayerSummary, add_dropped, count_dropped, reading};
pub(crate) use twins::Twins;
