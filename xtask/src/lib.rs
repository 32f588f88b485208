//! Other programs, and what can go wrong with them: shared by the workspace's commands.
#![forbid(unsafe_code)]

pub mod error;
pub mod sh;
