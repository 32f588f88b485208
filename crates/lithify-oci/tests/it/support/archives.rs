//! Archives in memory, indexed.

use std::io::Read;

use lithify_oci::Limits;
use lithify_oci::archive::{Archive, Error, TarFault};

pub(crate) fn index(bytes: Vec<u8>) -> Result<Archive, Error> {
    Archive::from_bytes(bytes, &Limits::default())
}

/// What the parser refuses, here as in a layer.
pub(crate) fn fault(bytes: Vec<u8>) -> TarFault {
    match index(bytes) {
        Err(Error::Tar(error)) => error.fault,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn content(archive: &Archive, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    archive
        .open_entry(name)
        .unwrap()
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}
