//! Stopping work: a [`CancelToken`] that everything which works or waits is given, waits that notice it, and a [`Budget`] for what
//! several pieces of work use up together.
//!
//! Whoever computes asks [`CancelToken::is_cancelled`] between two pieces of work. Whoever waits does so by a function of
//! this crate: [`CancelToken::wait`] for time, [`CancelToken::receive`] for another thread, [`Interruptible`] for a pipe,
//! [`CancelToken::detached`] for a call of the system nobody can interrupt. What can be woken by other means (a socket
//! that is shut down) is woken by [`CancelToken::on_cancel`].
#![forbid(unsafe_code)]

mod budget; // bounds that several pieces of work share
mod checked; // readers and writers that never wait long
#[cfg(unix)]
mod interruptible; // pipes
mod token;

pub use budget::{Budget, BudgetExceeded, Share};
pub use checked::Checked;
#[cfg(unix)]
pub use interruptible::{Interruptible, OutputPipe};
pub use token::{CancelToken, Cancelled, Hook, Stopped, WeakToken};
