//! Reading the extended attributes of a host file.

use std::io;

use lithify_tree::{XATTR_VALUE_MAX, XattrError, Xattrs};
use rustix::io::Errno;

use crate::sys::Handle;

/// Why the attributes of a file cannot be had.
pub(crate) enum XattrFailure {
    List(io::Error),
    Get { name: Vec<u8>, source: io::Error },
    Invalid(XattrError),
}

/// Buffers for the longest list (`XATTR_LIST_MAX` of Linux) and value.
#[derive(Debug)]
pub(crate) struct XattrReader {
    list: Vec<u8>,
    value: Vec<u8>,
}

impl XattrReader {
    pub(crate) fn new() -> Self {
        Self {
            list: Vec::with_capacity(65536),
            value: Vec::with_capacity(XATTR_VALUE_MAX),
        }
    }

    /// The attributes a file carries, without those in `exclude`; and how many were left out because they are views
    /// the host filesystem makes up.
    pub(crate) fn read(
        &mut self,
        file: &Handle,
        exclude: &[Vec<u8>],
    ) -> Result<(Xattrs, u64), XattrFailure> {
        let mut set = Xattrs::new();
        let mut foreign = 0;
        match file.list_xattrs(&mut self.list) {
            Ok(()) => {}
            Err(e) if is_unsupported(&e) => return Ok((set, 0)),
            Err(e) => return Err(XattrFailure::List(e)),
        }
        for name in self.list.split(|&b| b == 0).filter(|n| !n.is_empty()) {
            if exclude.iter().any(|e| e == name) {
                continue;
            }
            if !is_stored(name) {
                foreign += 1;
                continue;
            }
            match file.xattr(name, &mut self.value) {
                Ok(()) => {}
                // Removed since it was listed; the file's change time tells if that matters.
                Err(e) if Errno::from_io_error(&e) == Some(Errno::NODATA) => continue,
                Err(source) => {
                    let name = name.to_vec();
                    return Err(XattrFailure::Get { name, source });
                }
            }
            set.set(name, &self.value).map_err(XattrFailure::Invalid)?;
        }
        Ok((set, foreign))
    }
}

/// Whether an attribute is stored with the file, as against computed by its filesystem (`system.nfs4_acl`,
/// `system.cifs_acl`, `system.ntfs_attrib`, `btrfs.compression`, `bcachefs.*`), which could be set nowhere else.
fn is_stored(name: &[u8]) -> bool {
    const STORED: [&[u8]; 5] = [
        b"user.",
        b"trusted.",
        b"security.",
        b"system.posix_acl_access",
        b"system.posix_acl_default",
    ];
    STORED.iter().any(|prefix| name.starts_with(prefix))
}

fn is_unsupported(error: &io::Error) -> bool {
    // A socket or pipe on some filesystems, a filesystem without attributes, a kernel without the call.
    matches!(
        Errno::from_io_error(error),
        Some(Errno::OPNOTSUPP | Errno::NOSYS)
    )
}
