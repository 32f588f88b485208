//! Parts that writers of filesystem images have in common.
//!
//! Data arrives once, as a stream, and stays where it was put: [`Pool`] compresses it on several threads and gives it
//! back in order, [`Appender`] writes it in large pieces, and [`Gaps`] says where live data goes when data that nobody
//! refers to is cut out. None of them knows a format. What an image looks like depends on none of them either: not on
//! the number of threads, not on how fast they are, not on how large writes become.
#![forbid(unsafe_code)]

mod appender; // large sequential writes
mod gaps; // free stretches between live data
mod pool; // threads that work, in order

pub use appender::{Appender, Operation, ZEROS};
pub use gaps::Gaps;
pub use pool::{Pool, PoolError, Task};
