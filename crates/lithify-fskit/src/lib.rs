//! Parts that filesystem images of all formats have in common.
//!
//! *Writing.* Data arrives once, as a stream, and stays where it was put: [`Pool`] compresses it on several threads and gives it
//! back in order, [`Appender`] writes it in large pieces, and [`Gaps`] says where live data goes when data that nobody
//! refers to is cut out, which [`close_gaps`] does. What an image looks like depends on none of them: not on the number of threads, not on how fast
//! they are, not on how large writes become.
//!
//! *Reading.* [`read`] walks images, as they are and as layers, under limits that each format sets.
//!
//! No part knows a format.
#![forbid(unsafe_code)]

mod appender; // large sequential writes
mod compact; // closing the space of dead data
mod gaps; // free stretches between live data
mod pool; // threads that work, in order
pub mod read;
mod repeat; // contents that come again

pub use appender::{Appender, Operation, ZEROS};
pub use compact::{Placed, close_gaps};
pub use gaps::Gaps;
pub use pool::{Pool, PoolError, Task};
pub use repeat::Repeats;
