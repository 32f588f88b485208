//! Where tars end: trailers, truncation, other formats in their place, limits, and readers that stop early.

use crate::support::{BLOCK, Header, Tar, decode, fault, fault_within, paths, read};
use lithify_layer::{BlobError, Error, Expected, Limits, TarFault};
use lithify_tar::{Limit, LimitExceeded};

/// Image builders end tars in all of these ways; only the last is an archive that was cut or glued.
#[test]
fn ends_of_archives() {
    let tar = Tar::new().file("a", b"x");
    assert_eq!(paths(&tar.clone().0), ["a"]);
    assert_eq!(paths(&tar.clone().blocks(&[0; BLOCK]).0), ["a"]);
    assert_eq!(paths(&tar.clone().end()), ["a"]);
    assert_eq!(paths(&[tar.clone().end(), vec![0; 8192]].concat()), ["a"]);
    // What follows one zero block are zeros, however many.
    for zeros in [1, 100, BLOCK - 1] {
        let tar = [tar.clone().0, vec![0; BLOCK + zeros]].concat();
        assert_eq!(paths(&tar), ["a"], "{zeros}");
        let glued = [&tar[..], b"x"].concat();
        assert_eq!(fault(&glued), TarFault::StrayZeroBlock, "{zeros}");
    }
    assert_eq!(paths(&[0; 2 * BLOCK]), [""; 0]);
    assert_eq!(paths(b""), [""; 0]);
    assert_eq!(
        fault(&tar.clone().blocks(&[0; BLOCK]).file("b", b"").end()),
        TarFault::StrayZeroBlock
    );
    assert_eq!(
        fault(&Tar(vec![0; BLOCK]).file("b", b"").end()),
        TarFault::StrayZeroBlock
    );
    assert!(matches!(
        fault(&[tar.0.clone(), vec![0; 100]].concat()),
        TarFault::Truncated {
            what: "a header",
            missing: 412
        }
    ));
}

/// Zeros fill up the records of a tape, as many as a tool likes (GNU tar's `--blocking-factor`). Anything else is nothing to
/// Go and Python, entries to `tar --ignore-zeros`, and a filesystem to whoever mounts it.
#[test]
fn only_zeros_follow_the_end() {
    let first = Tar::new().file("a", b"").end();
    let tar = [first.clone(), vec![0; 100_001]].concat();
    let (entries, summary) = decode(&tar, Expected::nothing(), Limits::default()).unwrap();
    assert_eq!((entries.len(), summary.tar_size), (1, tar.len() as u64));
    assert_eq!(summary.diff_id, crate::support::sha256(&tar));

    let after = |at| TarFault::DataAfterEnd { at };
    let end = first.len() as u64;
    let second = Tar::new().file("hidden", b"").end();
    assert_eq!(fault(&[first.clone(), second].concat()), after(end));
    // As far behind as one likes, across the decoder's chunks, in a part of a block, and in front of nothing.
    for zeros in [1, 511, 512, 9_000, 300_000, 1_000_003] {
        let tar = [&first[..], &vec![0; zeros], b"x"].concat();
        assert_eq!(fault(&tar), after(end + zeros as u64));
    }
    assert_eq!(
        fault(&[&[0; 2 * BLOCK][..], b"no entries at all"].concat()),
        after(2 * BLOCK as u64)
    );
}

/// Filesystems that begin with zeros were tars without entries; one without the name of what it is helps nobody.
#[test]
fn other_formats_are_named() {
    let with = |at: usize, magic: &[u8]| {
        let mut blob = vec![0; 40_960];
        blob[at..at + magic.len()].copy_from_slice(magic);
        blob
    };
    for (blob, format) in [
        (with(1024, b"\xe2\xe1\xf5\xe0"), "an EROFS image"),
        (with(0, b"hsqs"), "a squashfs image"),
        (with(1080, b"\x53\xef"), "an ext2, ext3 or ext4 filesystem"),
        (with(32_769, b"CD001"), "an ISO 9660 image"),
        (with(0, b"070701"), "a cpio archive"),
    ] {
        let compressed = [
            blob.clone(),
            crate::support::gzip(&blob),
            crate::support::zstd(&blob),
        ];
        for blob in compressed {
            let error = decode(&blob, Expected::nothing(), Limits::default()).unwrap_err();
            let Error::Blob(BlobError::Foreign { format: found }) = &error else {
                panic!("{error:?}");
            };
            assert_eq!(found.to_string(), format);
            assert!(error.to_string().contains(format), "{error}");
        }
    }
}

/// A compression inside another one is named as it is alone: it is not damage.
#[test]
fn what_is_compressed_twice_is_named() {
    let tar = Tar::new().file("a", b"x").0;
    let gzip = crate::support::gzip(&tar);
    let zstd = crate::support::zstd(&tar);
    let inner: [(&[u8], &str); 6] = [
        (b"BZh91AY&SY", "bzip2"),
        (b"\xfd7zXZ\0\0\x04", "xz"),
        (b"PK\x03\x04\x14\0", "zip"),
        (b"\x04\x22\x4d\x18\x40", "lz4"),
        (&gzip, "gzip inside"),
        (&zstd, "zstd inside"),
    ];
    for (blob, name) in inner {
        for blob in [crate::support::gzip(blob), crate::support::zstd(blob)] {
            let error = decode(&blob, Expected::nothing(), Limits::default()).unwrap_err();
            assert!(!error.is_verification(), "{error}");
            assert!(
                matches!(&error, Error::Blob(BlobError::UnsupportedCompression { name: n }) if n.starts_with(name)),
                "{name}: {error:?}"
            );
        }
    }
    // A name that begins like one.
    let tar = Tar::new().file("BZh91AY", b"x").0;
    let blob = crate::support::gzip(&tar);
    decode(&blob, Expected::nothing(), Limits::default()).unwrap();
}

/// supermachine kept whatever came before the first error and called it the layer.
#[test]
fn truncated_tars_are_errors_wherever_they_end() {
    let tar = Tar::new()
        .file("a", &[1; 700])
        .pax(&[("mtime", b"1")])
        .file("b", b"y")
        .0;
    let whole: Vec<_> = [0, 1536, 3 * BLOCK + 1024 + 1024].into();
    for length in 0..tar.len() {
        let outcome = read(&tar[..length]);
        if whole.contains(&length) {
            assert!(outcome.is_ok(), "{length}");
        } else {
            assert!(outcome.is_err(), "{length}");
        }
    }
    assert!(matches!(
        fault(&tar[..600]),
        TarFault::Truncated {
            what: "file data",
            missing: 936
        }
    ));
    assert!(matches!(
        fault(&tar[..1300]),
        TarFault::Truncated {
            what: "padding",
            missing: 236
        }
    ));
    assert_eq!(
        fault(&tar[..2560]),
        TarFault::DanglingExtension {
            what: "a PAX header"
        }
    );
}

#[test]
fn limits_name_themselves() {
    let mut limits = Limits::default();
    let over = |limit, max, found| TarFault::Limit(LimitExceeded { limit, max, found });
    limits.entries = 2;
    let tar = Tar::new()
        .file("a", b"")
        .file("b", b"")
        .file("c", b"")
        .end();
    assert_eq!(fault_within(&tar, limits), over(Limit::Entries, 2, 3));
    limits.metadata_bytes = 100;
    let tar = Tar::new()
        .pax(&[("comment", &[b'x'; 50])])
        .member(Header::gnu(b'L', b"x"), &[b'x'; 60])
        .file("a", b"")
        .end();
    let fault = fault_within(&tar, limits);
    assert_eq!(fault, over(Limit::MetadataBytes, 100, 62 + 60));
    assert_eq!(
        fault.to_string(),
        "122 bytes of extended headers are over the limit of 100; raise `metadata_bytes` if the image is trusted"
    );
    let tar = Tar::new().global(&[("comment", &[b'x'; 100])]).end();
    assert_eq!(
        fault_within(&tar, limits),
        over(Limit::MetadataBytes, 100, 113)
    );
    limits.file_bytes = 9;
    assert_eq!(
        fault_within(&Tar::new().file("a", &[0; 10]).end(), limits),
        over(Limit::FileBytes, 9, 10)
    );
}

/// A header may announce anything; memory is taken for what is there.
#[test]
fn announced_sizes_allocate_nothing() {
    let mut limits = Limits::default();
    (limits.metadata_bytes, limits.file_bytes) = (u64::MAX, u64::MAX);
    for header in [
        Header::new(b'x', b"pax"),
        Header::new(b'g', b"pax"),
        Header::gnu(b'L', b"l"),
        Header::new(b'0', b"f"),
        Header::gnu(b'V', b"v"),
    ] {
        let header = header.field(124, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
        let tar = Tar::new().raw(header, &[0; 100]).0;
        assert!(matches!(
            fault_within(&tar, limits),
            TarFault::Truncated { .. }
                | TarFault::NumberRange { .. }
                | TarFault::SizeWithoutData { .. }
        ));
    }
}

/// Unread data is skipped, however much was read before.
#[test]
fn data_may_be_left_unread() {
    let big = crate::support::noise(3 << 20, 1);
    let tar = Tar::new()
        .file("a", &big)
        .file("b", b"bb")
        .file("c", b"")
        .file("d", &big[..513])
        .end();
    let mut layer = lithify_layer::LayerReader::new(
        std::io::Cursor::new(tar),
        Expected::nothing(),
        lithify_layer::Options::default(),
    )
    .unwrap();
    layer.next_entry().unwrap().unwrap();
    let first = layer.next_data().unwrap().unwrap().to_vec();
    assert!(big.starts_with(&first));
    assert_eq!(layer.next_entry().unwrap().unwrap().path.as_bytes(), b"b");
    assert_eq!(layer.next_data().unwrap(), Some(&b"bb"[..]));
    assert_eq!(layer.next_data().unwrap(), None);
    assert_eq!(layer.next_data().unwrap(), None);
    assert_eq!(layer.next_entry().unwrap().unwrap().path.as_bytes(), b"c");
    assert_eq!(layer.next_data().unwrap(), None);
    assert_eq!(layer.finish().unwrap().entries, 4);
}

#[test]
fn a_failed_reader_stays_failed() {
    let mut tar = Tar::new().file("a", b"").file("b", b"").end();
    tar[BLOCK + 5] = 1;
    let mut layer = lithify_layer::LayerReader::new(
        std::io::Cursor::new(tar),
        Expected::nothing(),
        lithify_layer::Options::default(),
    )
    .unwrap();
    layer.next_entry().unwrap().unwrap();
    assert!(matches!(layer.next_entry(), Err(Error::Tar(_))));
    assert!(matches!(layer.next_entry(), Err(Error::Failed)));
    assert!(matches!(layer.next_data(), Err(Error::Failed)));
    assert!(matches!(layer.finish(), Err(Error::Failed)));
}
