//! A mount namespace for the moment something needs one.
//!
//! An overlay holds the filesystems it lies on by itself (`clone_private_mount`), but up to Linux 6.14 takes only such
//! as are attached in the caller's mount namespace when it is made. So a thread gets a namespace of its own, attaches
//! them there and ends: nobody else ever sees these mounts, and they are gone however the program ends.
//!
//! What is attached on a mount that is shared with other namespaces appears in these too, so first that has to end. It can only
//! for whole mounts, which the root directory of a `chroot` need not be. `/proc` is one, and without it nothing works here,
//! as filesystems are named by descriptors ([`descriptor_path`](crate::context::descriptor_path)): so they are attached in it.
#![allow(unsafe_code, reason = "unshare")]

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::thread;

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, mount_change, move_mount};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::MountError;

/// The mount that is made private.
const PROC: &str = "/proc";
/// A directory in it where filesystems are mounted (`fs/proc/root.c`, `proc_root_init`), and of which nothing is needed.
const STAGE: &str = "/proc/fs";

/// Calls `action` where `mounts` are attached. It is given a directory where it may attach more.
pub(crate) fn with_attached<T: Send>(
    mounts: &[&OwnedFd],
    action: impl FnOnce(&Path) -> Result<T, MountError> + Send,
) -> Result<T, MountError> {
    thread::scope(|scope| {
        let worker = || {
            enter()?;
            for mount in mounts {
                let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
                move_mount(mount.as_fd(), c"", CWD, STAGE, flags)
                    .map_err(|e| failed("attach a layer in it", e))?;
            }
            action(Path::new(STAGE))
        };
        let handle = thread::Builder::new()
            .name("lithify-mount".into())
            .spawn_scoped(scope, worker)
            .map_err(|source| MountError::Namespace {
                operation: "start a thread for it",
                source,
            })?;
        match handle.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn enter() -> Result<(), MountError> {
    // SAFETY: of the ways `unshare` can break what the rest of the program relies on, NEWNS has none: file descriptors
    // stay shared (that is FILES), and the root and working directory it separates from other threads' (as FS does)
    // are those of this thread, which ends with the call it was made for.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }
        .map_err(|e| failed("make a mount namespace", e))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change(PROC, private).map_err(|e| failed("make a mount namespace private", e))
}

fn failed(operation: &'static str, e: Errno) -> MountError {
    if e == Errno::PERM {
        return MountError::Permission;
    }
    MountError::Namespace {
        operation,
        source: e.into(),
    }
}
