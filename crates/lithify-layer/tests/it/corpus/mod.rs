//! Small tars of every maker, kept as they were made: what a test makes of them does not change with the programs
//! installed where it runs.
//!
//! GNU tar 1.34, bsdtar 3.6.2 (libarchive) and Python 3.11.2 packed one directory: files, an empty one and a sparse one, a
//! hard link, symbolic links, long names, a pipe. What a format cannot hold is not in it.

use std::io::Read as _;

use crate::support::{Header, Tar};

macro_rules! kept {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!($name, ".tar.gz")))),*]
    };
}

const KEPT: &[(&str, &[u8])] = kept![
    "gnu-v7",
    "gnu-ustar",
    "gnu-oldgnu-sparse",
    "gnu-gnu-label",
    "gnu-posix",
    "gnu-posix-sparse-0.0",
    "gnu-posix-sparse-0.1",
    "gnu-posix-sparse-1.0",
    "bsdtar-v7",
    "bsdtar-ustar",
    "bsdtar-gnutar",
    "bsdtar-pax",
    "python-GNU",
    "python-PAX",
];

/// The name of each tar, and the tar; the last is made by hand.
pub(crate) fn all() -> Vec<(String, Vec<u8>)> {
    let kept = KEPT.iter().map(|(name, packed)| {
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(*packed)
            .read_to_end(&mut tar)
            .unwrap();
        ((*name).to_owned(), tar)
    });
    kept.chain([("by hand".to_owned(), by_hand())]).collect()
}

/// Headers no maker above writes: global records, a long name of GNU's, a name cut at a NUL, a device.
fn by_hand() -> Vec<u8> {
    let records: &[(&str, &[u8])] = &[
        ("path", b"by/pax"),
        ("mtime", b"-1.5"),
        ("uid", b"70000"),
        ("SCHILY.xattr.user.x", b"y"),
    ];
    Tar::new()
        .global(&[("comment", b"hello"), ("gid", b"12")])
        .pax(records)
        .file("short", &[7; 700])
        .member(
            Header::gnu(b'L', b"././@LongLink"),
            &[&[b'l'; 150][..], b"\0"].concat(),
        )
        .raw(Header::gnu(b'5', b"cut"), b"")
        .raw(
            Header::new(b'3', b"null")
                .field(329, b"0000001\0")
                .field(337, b"0000003\0"),
            b"",
        )
        .file("last", b"end")
        .end()
}
