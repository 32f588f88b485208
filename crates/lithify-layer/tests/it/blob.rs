//! Blobs: compression, digests, sizes.

use std::io::Write;

use crate::support::{Outcome, Tar, decode, gzip, noise, sha256, zstd};
use lithify_digest::{Algorithm, Digest, Mismatch};
use lithify_layer::{
    BlobError, Compression, Error, Expected, GzipError, Limit, LimitExceeded, Limits, ZstdFault,
};

fn tar() -> Vec<u8> {
    Tar::new()
        .file("a", &noise(700_000, 1))
        .file("b", b"b")
        .end()
}

fn known(blob: &[u8], tar: &[u8]) -> Expected {
    let size = Some(blob.len() as u64);
    Expected {
        digest: Some(sha256(blob)),
        size,
        diff_id: Some(sha256(tar)),
        ..Expected::nothing()
    }
}

/// Reads a blob of which everything is known.
fn check(blob: &[u8], tar: &[u8], compression: Compression) {
    let (entries, summary) = decode(blob, known(blob, tar), Limits::default()).unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(summary.compression, compression);
    assert_eq!(
        (summary.digest, summary.size),
        (sha256(blob), blob.len() as u64)
    );
    assert_eq!(
        (summary.diff_id, summary.tar_size),
        (sha256(tar), tar.len() as u64)
    );
    let (_, unchecked) = decode(blob, Expected::nothing(), Limits::default()).unwrap();
    assert_eq!(unchecked, summary);
}

fn blob_error(outcome: Outcome) -> BlobError {
    match outcome {
        Err(Error::Blob(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn gzip_fault(blob: &[u8]) -> GzipError {
    match blob_error(decode(blob, Expected::nothing(), Limits::default())) {
        BlobError::Gzip(error) => error,
        other => panic!("{other:?}"),
    }
}

fn zstd_fault(blob: &[u8]) -> ZstdFault {
    match blob_error(decode(blob, Expected::nothing(), Limits::default())) {
        BlobError::Zstd { fault, .. } => fault,
        other => panic!("{other:?}"),
    }
}

/// Whether a mismatch is the one of these digests.
fn is_of(mismatch: &Mismatch, expected: &Digest, found: &Digest) -> bool {
    Mismatch::of_digests(expected, found).as_ref() == Err(mismatch)
}

#[test]
fn plain_gzip_and_zstd() {
    let tar = tar();
    check(&tar, &tar, Compression::None);
    check(&gzip(&tar), &tar, Compression::Gzip);
    check(&zstd(&tar), &tar, Compression::Zstd);
}

/// supermachine and microsandbox stopped after the first member: eStargz images came out almost empty.
#[test]
fn gzip_of_many_members() {
    let tar = tar();
    let mut blob = Vec::new();
    for piece in tar.chunks(10_000) {
        blob.extend_from_slice(&gzip(piece));
        blob.extend_from_slice(&gzip(b""));
    }
    check(&blob, &tar, Compression::Gzip);
}

/// Likewise for zstd:chunked.
#[test]
fn zstd_of_many_frames_some_to_be_skipped() {
    let tar = tar();
    let skippable = |nibble: u8, data: &[u8]| {
        [
            &[0x50 | nibble, 0x2a, 0x4d, 0x18][..],
            &(data.len() as u32).to_le_bytes(),
            data,
        ]
        .concat()
    };
    let mut blob = skippable(14, b"");
    for (index, piece) in tar.chunks(10_000).enumerate() {
        blob.extend_from_slice(&zstd(piece));
        blob.extend_from_slice(&skippable(index as u8 & 15, &noise(index * 100, 3)));
        blob.extend_from_slice(&zstd(b""));
    }
    blob.extend_from_slice(&skippable(0, &noise(600_000, 9)));
    check(&blob, &tar, Compression::Zstd);
}

/// umoci 0.4.7 met layers padded with zeros.
#[test]
fn zeros_after_gzip_are_padding_and_nothing_else_is() {
    let tar = tar();
    for zeros in [1, 511, 600_000] {
        check(
            &[gzip(&tar), vec![0; zeros]].concat(),
            &tar,
            Compression::Gzip,
        );
    }
    let trailing = |junk: &[u8]| gzip_fault(&[&gzip(&tar), junk].concat());
    for junk in [&b"x"[..], b"\0\0x", b"\x1f\x8c", b"\0\x1f\x8b\x08"] {
        assert!(
            matches!(trailing(junk), GzipError::TrailingGarbage { .. }),
            "{junk:?}"
        );
    }
    assert!(matches!(trailing(b"\x1f"), GzipError::Truncated { .. }));
    assert!(matches!(
        trailing(&gzip(b"")[..15]),
        GzipError::Truncated { .. }
    ));
    assert!(matches!(
        trailing(&[&[0; 600_000][..], b"x"].concat()),
        GzipError::TrailingGarbage { .. }
    ));
}

#[test]
fn gzip_headers_with_everything_in_them() {
    let tar = tar();
    let mut blob = flate2::GzBuilder::new()
        .filename("layer.tar")
        .comment("made by hand")
        .extra(noise(65535, 2))
        .mtime(5)
        .write(Vec::new(), flate2::Compression::fast());
    blob.write_all(&tar).unwrap();
    let blob = blob.finish().unwrap();
    check(&blob, &tar, Compression::Gzip);
    // With a checksum of the header, right and wrong.
    let plain = gzip(&tar);
    let mut header = plain[..10].to_vec();
    header[3] |= 2;
    let crc = crc32fast::hash(&header) as u16;
    for (crc, right) in [(crc, true), (crc ^ 1, false)] {
        let blob = [&header, &crc.to_le_bytes()[..], &plain[10..]].concat();
        if right {
            check(&blob, &tar, Compression::Gzip);
        } else {
            assert!(matches!(
                gzip_fault(&blob),
                GzipError::HeaderChecksum { .. }
            ));
        }
    }
}

#[test]
fn gzip_that_is_corrupt() {
    let blob = gzip(&tar());
    let changed = |at: usize, by: u8| {
        let mut blob = blob.clone();
        blob[at] ^= by;
        gzip_fault(&blob)
    };
    let end = blob.len();
    assert!(matches!(changed(end - 8, 1), GzipError::Checksum { .. }));
    assert!(matches!(changed(end - 1, 1), GzipError::Size { .. }));
    assert!(matches!(changed(2, 1), GzipError::Method { found: 9, .. }));
    assert!(matches!(
        changed(3, 0x40),
        GzipError::ReservedFlags { found: 0x40, .. }
    ));
    for cut in [1, 8, 9, 1000, end - 10, end - 2] {
        assert!(
            matches!(gzip_fault(&blob[..end - cut]), GzipError::Truncated { .. }),
            "{cut}"
        );
    }
    let mut reserved_block_type = blob[..10].to_vec();
    reserved_block_type.push(7);
    reserved_block_type.extend_from_slice(&[0; 20]);
    assert!(matches!(
        gzip_fault(&reserved_block_type),
        GzipError::Deflate { .. }
    ));
}

fn zstd_with_checksum(data: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn zstd_that_is_corrupt() {
    let tar = tar();
    let blob = zstd_with_checksum(&tar);
    check(&blob, &tar, Compression::Zstd);
    let mut changed = blob.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert!(
        matches!(zstd_fault(&changed), ZstdFault::Corrupt { reason } if reason.contains("checksum"))
    );
    for cut in [1, 4, 5, 1000, blob.len() - 5, blob.len() - 8] {
        assert_eq!(
            zstd_fault(&blob[..blob.len() - cut]),
            ZstdFault::Truncated,
            "{cut}"
        );
    }
    assert_eq!(
        zstd_fault(&[&blob[..], b"junk"].concat()),
        ZstdFault::Magic {
            magic: u32::from_le_bytes(*b"junk")
        }
    );
    assert_eq!(
        zstd_fault(&[&blob[..], &[0; 4]].concat()),
        ZstdFault::Magic { magic: 0 }
    );
    assert_eq!(
        zstd_fault(&[&blob[..], b"\0"].concat()),
        ZstdFault::Truncated
    );
    assert_eq!(
        zstd_fault(&[&blob[..], b"\x50\x2a\x4d\x18\x05\0\0\0xx"].concat()),
        ZstdFault::Truncated
    );
    let mut reserved = blob.clone();
    reserved[4] |= 8;
    assert_eq!(zstd_fault(&reserved), ZstdFault::Reserved);
}

/// A frame may ask for a window of terabytes.
#[test]
fn zstd_windows_are_limited() {
    let tar = tar();
    let encode = |log: u32| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        encoder.write_all(&tar).unwrap();
        encoder.finish().unwrap()
    };
    check(&encode(27), &tar, Compression::Zstd);
    let exceeded = |blob: &[u8], limits| match blob_error(decode(blob, Expected::nothing(), limits))
    {
        BlobError::Limit(exceeded) => exceeded,
        other => panic!("{other:?}"),
    };
    let mut limits = Limits::default();
    let window = |max: u32, found| LimitExceeded {
        limit: Limit::ZstdWindow,
        max: 1 << max,
        found,
    };
    assert_eq!(exceeded(&encode(28), limits), window(27, 1 << 28));
    limits.zstd_window_log = 20;
    assert_eq!(exceeded(&encode(21), limits), window(20, 1 << 21));
    limits.zstd_window_log = 28;
    assert!(decode(&encode(28), Expected::nothing(), limits).is_ok());
    // The largest the format has, and a single segment of 2^40 bytes.
    limits = Limits::default();
    assert_eq!(
        exceeded(b"\x28\xb5\x2f\xfd\x00\xff", limits),
        window(27, (1 << 41) / 8 * 15)
    );
    assert_eq!(
        exceeded(b"\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\x01\0\0", limits),
        window(27, 1 << 40)
    );
}

#[test]
fn zstd_with_a_dictionary_is_refused_by_number() {
    let dictionary = [&b"\x37\xa4\x30\xec"[..], &[0; 4]].concat();
    assert_eq!(dictionary.len(), 8);
    for (header, id) in [
        (&b"\x28\xb5\x2f\xfd\x01\x58\x07\x01\0\0"[..], 7),
        (b"\x28\xb5\x2f\xfd\x03\x58\x07\x01\0\0\x01", 263),
    ] {
        assert_eq!(zstd_fault(header), ZstdFault::Dictionary { id });
    }
    let error = blob_error(decode(
        b"\x28\xb5\x2f\xfd\x01\x58\x07\x01\0\0",
        Expected::nothing(),
        Limits::default(),
    ));
    assert!(!error.is_verification());
}

/// microsandbox went by the media type: images whose type is wrong, as old Docker's gzip under `.tar`, did not load.
#[test]
fn the_magic_decides_not_the_media_type() {
    let tar = tar();
    for (blob, found) in [
        (tar.clone(), Compression::None),
        (gzip(&tar), Compression::Gzip),
        (zstd(&tar), Compression::Zstd),
    ] {
        for hint in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let expected = Expected {
                compression: Some(hint),
                ..known(&blob, &tar)
            };
            let (_, summary) = decode(&blob, expected, Limits::default()).unwrap();
            assert_eq!(summary.compression, found);
        }
    }
}

#[test]
fn other_compressions_are_named() {
    for (program, name) in [("bzip2", "bzip2"), ("xz", "xz")] {
        if let Some((blob, _, true)) = crate::support::run(program, &["-c"], &tar()) {
            let error = blob_error(decode(&blob, Expected::nothing(), Limits::default()));
            assert!(matches!(error, BlobError::UnsupportedCompression { name: n } if n == name));
        }
    }
    let error = blob_error(decode(
        b"<!DOCTYPE html><html>",
        Expected::nothing(),
        Limits::default(),
    ));
    assert_eq!(
        error.to_string(),
        "the layer starts with `<!DOCTYPE html><`: neither gzip nor zstd nor a tar header"
    );
    assert!(!error.is_verification());
}

#[test]
fn nothing_at_all() {
    let (entries, summary) = decode(b"", known(b"", b""), Limits::default()).unwrap();
    assert_eq!((entries.len(), summary.tar_size), (0, 0));
    let gzip_type = Expected {
        compression: Some(Compression::Gzip),
        ..Expected::nothing()
    };
    assert!(matches!(
        blob_error(decode(b"", gzip_type, Limits::default())),
        BlobError::Empty { .. }
    ));
    let (entries, _) = decode(&gzip(b""), Expected::nothing(), Limits::default()).unwrap();
    assert!(entries.is_empty());
    let (entries, _) = decode(&zstd(b""), Expected::nothing(), Limits::default()).unwrap();
    assert!(entries.is_empty());
}

#[test]
fn wrong_digests() {
    let tar = tar();
    for blob in [tar.clone(), gzip(&tar), zstd(&tar)] {
        let right = known(&blob, &tar);
        let other = sha256(b"other");
        let error = blob_error(decode(
            &blob,
            Expected {
                digest: Some(other),
                ..right
            },
            Limits::default(),
        ));
        assert!(matches!(&error, BlobError::Mismatch(m) if is_of(m, &other, &sha256(&blob))));
        assert!(error.is_verification());
        let error = blob_error(decode(
            &blob,
            Expected {
                diff_id: Some(other),
                ..right
            },
            Limits::default(),
        ));
        assert!(matches!(&error, BlobError::DiffId(m) if is_of(m, &other, &sha256(&tar))));
        assert!(error.is_verification());
    }
}

/// microsandbox compared only SHA-256.
#[test]
fn digests_of_every_algorithm() {
    let tar = tar();
    for blob in [tar.clone(), gzip(&tar)] {
        for digest in Algorithm::ALL {
            for diff_id in Algorithm::ALL {
                let expected = Expected {
                    digest: Some(Digest::of(digest, &blob)),
                    diff_id: Some(Digest::of(diff_id, &tar)),
                    ..Expected::nothing()
                };
                let (_, summary) = decode(&blob, expected, Limits::default()).unwrap();
                assert_eq!(
                    (Some(summary.digest), Some(summary.diff_id)),
                    (expected.digest, expected.diff_id)
                );
            }
        }
    }
}

/// image-spec #1285: sizes that lie either way.
#[test]
fn wrong_sizes() {
    let tar = tar();
    for blob in [tar.clone(), gzip(&tar), zstd(&tar)] {
        let with_size = |size| {
            decode(
                &blob,
                Expected {
                    size: Some(size),
                    ..known(&blob, &tar)
                },
                Limits::default(),
            )
        };
        let size = blob.len() as u64;
        for wrong in [size + 1, size + 1_000_000, u64::MAX] {
            let error = blob_error(with_size(wrong));
            assert!(
                matches!(error, BlobError::Mismatch(Mismatch::Size { expected, found }) if (expected, found) == (wrong, size)),
                "{wrong}: {error:?}"
            );
            assert!(error.is_verification());
        }
        for wrong in [size - 1, size - 600, 1000, 1, 0] {
            let error = blob_error(with_size(wrong));
            assert!(
                matches!(error, BlobError::Mismatch(Mismatch::Trailing { expected }) if expected == wrong),
                "{wrong}: {error:?}"
            );
            assert!(error.is_verification());
        }
    }
}

/// A blob without end is read no further than its declared size.
#[test]
fn endless_blobs_end() {
    struct Endless(u64);
    impl std::io::Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0 += buffer.len() as u64;
            assert!(self.0 <= 10_001, "read {} bytes", self.0);
            buffer.fill(0);
            Ok(buffer.len())
        }
    }
    let expected = Expected {
        size: Some(10_000),
        ..Expected::nothing()
    };
    let outcome =
        crate::support::decode_with(Endless(0), expected, lithify_layer::Options::default());
    assert!(matches!(
        blob_error(outcome),
        BlobError::Mismatch(Mismatch::Trailing { expected: 10_000 })
    ));
}

/// A few kilobytes that become gigabytes.
#[test]
fn decompressed_bytes_are_limited() {
    let zeros = Tar::new().file("zeros", &vec![0; 50 << 20]).end();
    let mut limits = Limits::default();
    for blob in [gzip(&zeros), zstd(&zeros), zeros.clone()] {
        limits.tar_bytes = zeros.len() as u64;
        assert!(decode(&blob, Expected::nothing(), limits).is_ok());
        limits.tar_bytes -= 1;
        let error = blob_error(decode(&blob, Expected::nothing(), limits));
        assert!(matches!(
            error,
            BlobError::Limit(LimitExceeded {
                limit: Limit::TarBytes,
                ..
            })
        ));
        assert!(!error.is_verification());
    }
}

/// The news is that it is another blob, not what is wrong with that one.
#[test]
fn a_wrong_blob_is_called_that() {
    let tar = tar();
    let mut broken_tar = tar.clone();
    broken_tar[701_000] ^= 1; // the second header
    let mut broken_gzip = gzip(&tar);
    let middle = broken_gzip.len() / 2;
    broken_gzip[middle..middle + 100].fill(0);
    let mut broken_zstd = zstd_with_checksum(&tar);
    broken_zstd[middle..middle + 100].fill(0);
    let html = b"<html>404</html>".to_vec();
    for blob in [
        broken_tar.clone(),
        gzip(&broken_tar),
        broken_gzip,
        broken_zstd,
        html,
    ] {
        let expected = Expected {
            digest: Some(sha256(b"the right one")),
            ..known(&blob, &tar)
        };
        let error = blob_error(decode(&blob, expected, Limits::default()));
        assert!(
            matches!(error, BlobError::Mismatch(Mismatch::Digest { .. })),
            "{error:?}"
        );
        // Of the right digest, it is what it is.
        let expected = Expected {
            digest: Some(sha256(&blob)),
            diff_id: None,
            ..expected
        };
        let error = decode(&blob, expected, Limits::default()).unwrap_err();
        assert!(
            !matches!(
                error,
                Error::Blob(BlobError::Mismatch(Mismatch::Digest { .. }))
            ),
            "{error:?}"
        );
    }
    let expected = Expected {
        diff_id: Some(sha256(&tar)),
        ..known(&gzip(&broken_tar), &tar)
    };
    let error = blob_error(decode(&gzip(&broken_tar), expected, Limits::default()));
    assert!(matches!(error, BlobError::DiffId(_)), "{error:?}");
}
