//! Tests of `lithify-composefs` from outside, as one program: it is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests state what they expect by panicking"
)]

#[cfg(target_os = "linux")]
mod cfsctl;
#[cfg(target_os = "linux")]
mod checks;
#[cfg(target_os = "linux")]
mod collect;
mod common;
mod damage;
#[cfg(target_os = "linux")]
mod killed;
#[cfg(target_os = "linux")]
mod layers;
mod limits;
#[cfg(target_os = "linux")]
mod names;
#[cfg(target_os = "linux")]
mod objects;
#[cfg(target_os = "linux")]
mod opening;
#[cfg(target_os = "linux")]
mod power;
mod random;
mod reference;
#[cfg(target_os = "linux")]
mod secure;
mod streams;
