//! A blob that was cut or changed is an error, or at least not the blob that was expected.

use std::io::Cursor;

use crate::support::{Header, Tar, decode, decode_with, gzip, noise, sha256, zstd};
use lithify_digest::Mismatch;
use lithify_layer::{
    BlobError, Error, Expected, LayerReader, Limits, Options, TarFault, Threading,
};

fn tar() -> Vec<u8> {
    Tar::new()
        .raw(Header::new(b'5', b"d/"), b"")
        .pax(&[("mtime", b"1.5"), ("SCHILY.xattr.user.x", b"value")])
        .file("d/a", &noise(9000, 1))
        .member(
            Header::gnu(b'L', b"././@LongLink"),
            &[&[b'l'; 150][..], b"\0"].concat(),
        )
        .raw(Header::gnu(b'2', b"cut").link(b"target"), b"")
        .file("b", b"b")
        .end()
}

/// The tar as blobs of every kind, small ones.
fn blobs() -> Vec<Vec<u8>> {
    let tar = tar();
    let (first, second) = tar.split_at(5000);
    vec![
        gzip(&tar),
        [gzip(first), gzip(second)].concat(),
        zstd(&tar),
        [
            zstd(first),
            b"\x50\x2a\x4d\x18\x04\0\0\0skip".to_vec(),
            zstd(second),
        ]
        .concat(),
        tar,
    ]
}

fn all_known(blob: &[u8]) -> Expected {
    let size = Some(blob.len() as u64);
    Expected {
        digest: Some(sha256(blob)),
        size,
        diff_id: Some(sha256(&tar())),
        ..Expected::nothing()
    }
}

fn inline(blob: Vec<u8>, expected: Expected) -> crate::support::Outcome {
    let options = Options {
        threading: Threading::Inline,
        ..Options::default()
    };
    decode_with(Cursor::new(blob), expected, options)
}

#[test]
fn every_truncation_is_found() {
    for blob in blobs() {
        for length in 0..blob.len() {
            let cut = blob[..length].to_vec();
            // By the size, by the digest, by the diff_id: each of them alone.
            for expected in [
                Expected {
                    size: all_known(&blob).size,
                    ..Expected::nothing()
                },
                Expected {
                    digest: all_known(&blob).digest,
                    ..Expected::nothing()
                },
                Expected {
                    diff_id: all_known(&blob).diff_id,
                    ..Expected::nothing()
                },
            ] {
                let error = inline(cut.clone(), expected).unwrap_err();
                let short = matches!(
                    error,
                    Error::Blob(BlobError::Mismatch(Mismatch::Size { .. }))
                );
                assert!(short || expected.size.is_none(), "{length}: {error:?}");
                // Which bytes are missing may be unclear, but not that something is.
                let unrecognised = matches!(error, Error::Blob(BlobError::NotATar { .. }));
                assert!(
                    error.is_verification() || unrecognised || matches!(error, Error::Tar(_)),
                    "{length}: {error:?}"
                );
            }
        }
    }
}

#[test]
fn every_changed_byte_is_found() {
    for blob in blobs() {
        for at in 0..blob.len() {
            let mut changed = blob.clone();
            changed[at] ^= 1 << (at % 8);
            let error = inline(changed.clone(), all_known(&blob)).unwrap_err();
            assert!(
                matches!(
                    &error,
                    Error::Blob(BlobError::Mismatch(Mismatch::Digest { .. }))
                ),
                "{at}: {error:?}"
            );
            // By the diff_id alone: an error, or the same tar from other bytes (a gzip header's time, for one).
            let by_diff_id = Expected {
                diff_id: Some(sha256(&tar())),
                ..Expected::nothing()
            };
            match inline(changed, by_diff_id) {
                Ok((_, summary)) => assert_eq!(summary.diff_id, sha256(&tar())),
                Err(Error::Tar(_)) => {}
                Err(error) => {
                    let unrecognised = matches!(
                        error,
                        Error::Blob(
                            BlobError::NotATar { .. }
                                | BlobError::Limit(_)
                                | BlobError::UnsupportedCompression { .. }
                                | BlobError::Zstd { .. }
                        )
                    );
                    assert!(error.is_verification() || unrecognised, "{at}: {error:?}");
                }
            }
        }
    }
}

/// Threads change nothing, wherever a blob is broken.
#[test]
fn broken_blobs_with_and_without_threads() {
    for blob in blobs() {
        for at in (0..blob.len()).step_by(97) {
            let mut changed = blob.clone();
            changed[at] ^= 0x55;
            decode(&changed, all_known(&blob), Limits::default()).unwrap_err();
            drop(decode(&changed, Expected::nothing(), Limits::default()));
            drop(decode(&blob[..at], Expected::nothing(), Limits::default()));
        }
    }
}

/// Garbage behind the tar: another blob, or the same tar and more to hash.
#[test]
fn every_byte_counts_for_the_digests() {
    let blob = tar();
    let longer = [&blob[..], b"garbage"].concat();
    assert!(matches!(
        inline(longer.clone(), all_known(&blob)),
        Err(Error::Blob(BlobError::Mismatch(Mismatch::Trailing { .. })))
    ));
    let by_diff_id = Expected {
        diff_id: Some(sha256(&blob)),
        ..Expected::nothing()
    };
    for longer in [longer.clone(), gzip(&longer), zstd(&longer)] {
        let error = inline(longer, by_diff_id).unwrap_err();
        assert!(
            matches!(error, Error::Blob(BlobError::DiffId(_))),
            "{error:?}"
        );
    }
    // As the image has it, and no tar.
    let right = Expected {
        diff_id: Some(sha256(&longer)),
        ..Expected::nothing()
    };
    let error = inline(gzip(&longer), right).unwrap_err();
    let at = blob.len() as u64;
    assert!(
        matches!(&error, Error::Tar(e) if e.fault == TarFault::DataAfterEnd { at }),
        "{error:?}"
    );
    let padded = [&blob[..], &[0; 10_240]].concat();
    let right = Expected {
        diff_id: Some(sha256(&padded)),
        ..Expected::nothing()
    };
    let (entries, summary) = inline(gzip(&padded), right).unwrap();
    assert_eq!((entries.len(), summary.tar_size), (4, padded.len() as u64));
}

/// Whoever reads no entry gets the same verdict.
#[test]
fn finishing_early_reads_everything() {
    for blob in blobs() {
        let layer = LayerReader::new(
            Cursor::new(blob.clone()),
            all_known(&blob),
            Options::default(),
        )
        .unwrap();
        assert_eq!(layer.finish().unwrap().entries, 4);
        let wrong = Expected {
            diff_id: Some(sha256(b"")),
            ..all_known(&blob)
        };
        let layer = LayerReader::new(Cursor::new(blob.clone()), wrong, Options::default()).unwrap();
        assert!(matches!(
            layer.finish(),
            Err(Error::Blob(BlobError::DiffId(_)))
        ));
        // Faults of the tar as well.
        let broken = Tar::new()
            .file("a", b"")
            .raw(Header::new(b'1', b"l"), b"")
            .end();
        let layer = LayerReader::new(
            Cursor::new(gzip(&broken)),
            Expected::nothing(),
            Options::default(),
        )
        .unwrap();
        assert!(matches!(layer.finish(), Err(Error::Tar(_))));
    }
}
