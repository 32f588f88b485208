//! The suite of all filesystems.
#![cfg(target_os = "linux")]

lithify_fstests::suite!(crate::filesystem::Ext4);
