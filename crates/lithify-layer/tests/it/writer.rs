//! The tar writer, rule by rule: what it writes, and what it refuses to.

use crate::support::oracles::{self, members};
use crate::support::written::{entry, file, samples, sparse, write, write_with};
use crate::support::{Bytes, read};
use lithify_tar::{Holes, TarWriter, WriteError};
use lithify_tree::{Device, Entry, EntryKind, Metadata};

#[test]
fn everything_reads_back() {
    let samples = samples();
    assert_eq!(read(&write(&samples)).unwrap(), samples);
}

#[test]
fn the_same_entries_are_the_same_bytes() {
    let samples = samples();
    let tar = write(&samples);
    assert_eq!(
        crate::support::sha256(&tar),
        crate::support::sha256(&write(&samples))
    );
    // The names of people and the time of day are nowhere.
    for header in tar.chunks(512).filter(|block| &block[257..262] == b"ustar") {
        assert_eq!(header[265..329], [0; 64]);
    }
}

/// Pinned: a change here changes the digest of every layer written.
#[test]
fn simple_entries_have_no_extended_headers() {
    let tar = write(&[
        (entry(b"d", EntryKind::Directory), Bytes(vec![])),
        (file(b"d/f", 5), Bytes(b"hello".to_vec())),
    ]);
    assert_eq!(tar.len(), 5 * 512);
    assert_eq!(
        crate::support::sha256(&tar).to_string(),
        "sha256:1af2b47a63258ad2f220fde556450d113b7a14b85fc86adef3ffffe70b51a7ec"
    );
}

#[test]
fn whiteouts_become_the_files_that_express_them() {
    let markers = [
        (entry(b"d/gone", EntryKind::Whiteout), ".wh.gone"),
        (entry(b"gone", EntryKind::Whiteout), ".wh.gone"),
        (entry(b"d", EntryKind::Opaque), "d/.wh..wh..opq"),
        (entry(b"", EntryKind::Opaque), ".wh..wh..opq"),
    ];
    for (mut marker, name) in markers {
        let tar = write(&[(marker.clone(), Bytes(vec![]))]);
        assert!(
            tar[..100].windows(name.len()).any(|w| w == name.as_bytes()),
            "{name}"
        );
        marker.metadata = Metadata::default();
        assert_eq!(read(&tar).unwrap(), [(marker, Bytes(vec![]))]);
    }
}

#[test]
fn what_no_tar_can_hold_leaves_the_writer_as_it_was() {
    let mut writer = TarWriter::new(Vec::new());
    assert!(matches!(
        writer.append(&entry(b"s", EntryKind::Socket)),
        Err(WriteError::Socket { .. })
    ));
    assert!(matches!(
        writer.append(&file(b".wh.x", 0)),
        Err(WriteError::ReservedName { .. })
    ));
    assert!(matches!(
        writer.append(&file(b".wh..wh.plnk/x", 0)),
        Err(WriteError::ReservedName { .. })
    ));
    let device = Device {
        major: 1 << 21,
        minor: 0,
    };
    assert!(matches!(
        writer.append(&entry(b"c", EntryKind::CharDevice(device))),
        Err(WriteError::Device { .. })
    ));
    for segments in [
        &[(5, 5), (7, 1)][..],
        &[(5, 6)],
        &[(u64::MAX, 5)],
        &[(0, 5), (6, 4)],
    ] {
        for holes in [Holes::Map, Holes::default()] {
            writer = writer.holes(holes);
            // What a map cannot say, zeros can.
            if holes != Holes::Map && segments == [(0, 5), (6, 4)] {
                continue;
            }
            assert!(matches!(
                writer.append(&sparse(b"s", 10, segments)),
                Err(WriteError::Segments { .. })
            ));
        }
    }
    writer.append(&file(b"f", 5)).unwrap();
    assert!(matches!(
        writer.append(&file(b"g", 5)),
        Err(WriteError::MissingData { missing: 5 })
    ));
    assert!(matches!(
        writer.data(b"123456"),
        Err(WriteError::ExtraData { extra: 1 })
    ));
    writer.data(b"123").unwrap();
    assert!(matches!(
        writer.append(&file(b"g", 5)),
        Err(WriteError::MissingData { missing: 2 })
    ));
    writer.data(b"45").unwrap();
    let tar = writer.finish().unwrap();
    assert_eq!(
        read(&tar).unwrap(),
        [(file(b"f", 5), Bytes(b"12345".to_vec()))]
    );
    let mut writer = TarWriter::new(Vec::new());
    writer.append(&file(b"f", 5)).unwrap();
    assert!(matches!(
        writer.finish(),
        Err(WriteError::MissingData { missing: 5 })
    ));
}

/// Only headers: eight gibibytes do not fit into eleven octal digits.
#[test]
fn files_of_eight_gibibytes() {
    for (size, blocks) in [((8u64 << 30) - 1, 1), (8 << 30, 3), (1 << 40, 3)] {
        let mut header = Vec::new();
        let mut writer = TarWriter::new(&mut header);
        writer.append(&file(b"big", size)).unwrap();
        assert_eq!(header.len(), blocks * 512, "{size}");
        let mut layer = lithify_layer::LayerReader::new(
            std::io::Cursor::new(header),
            lithify_layer::Expected::nothing(),
            lithify_layer::Options::default(),
        )
        .unwrap();
        assert_eq!(layer.next_entry().unwrap(), Some(file(b"big", size)));
    }
}

/// A sparse member is `GNUSparseFile.0/NAME` to whoever does not know the format: the `tar` crate, busybox, cpio.
#[test]
fn sparse_files_are_written_whole_unless_a_map_is_asked_for() {
    let samples: Vec<(Entry, Bytes)> = [
        ("hole", 1 << 20, &[][..]),
        ("sparse", 1 << 20, &[(0, 512), (4096, 5120), (1 << 19, 1)]),
        ("odd", 9000, &[(3, 5), (9, 1), (8191, 808)]),
        ("end", 9000, &[(8192, 808)]),
        ("no-hole", 700, &[(0, 300), (300, 400)]),
        ("nothing", 0, &[]),
        ("empty-segment", 600, &[(100, 0), (600, 0)]),
    ]
    .map(|(name, size, segments)| {
        let data = crate::support::noise(segments.iter().map(|s| s.1 as usize).sum(), 7);
        (sparse(name.as_bytes(), size, segments), Bytes(data))
    })
    .into();
    let tar = write_with(Holes::default(), &samples);
    let whole: Vec<(Entry, Bytes)> = samples
        .iter()
        .map(|(sparse, data)| {
            let data = crate::support::expand(sparse, data);
            (file(sparse.path.as_bytes(), data.len() as u64), Bytes(data))
        })
        .collect();
    // Not a byte differs from the tar of files without holes.
    assert!(tar == write(&whole));
    assert_eq!(read(&tar).unwrap(), whole);
    assert_eq!(oracles::tar_crate(&tar), Ok(members(&whole)));
    if let Some(found) = oracles::python(&tar) {
        assert_eq!(found, Some(members(&whole)));
    }
    let listing = ["-t", "-f", "-"];
    let names = "hole\nsparse\nodd\nend\nno-hole\nnothing\nempty-segment\n";
    for (program, arguments) in [
        ("busybox", &[&["tar"][..], &listing].concat()[..]),
        ("tar", &listing[..]),
    ] {
        if let Some((output, errors, success)) = crate::support::run(program, arguments, &tar) {
            let errors = String::from_utf8_lossy(&errors);
            assert!(success, "{program}: {errors}");
            assert_eq!(String::from_utf8_lossy(&output), names, "{program}");
        }
    }
}

/// Written whole, a file of one byte behind a hole of a tebibyte would fill a disk.
#[test]
fn holes_over_the_limit_are_refused_by_name() {
    let writer = TarWriter::new(Vec::new());
    let mut writer = writer.holes(Holes::Zeros { bytes_max: 5000 });
    writer.append(&sparse(b"a", 4001, &[(0, 1)])).unwrap();
    writer.data(b"a").unwrap();
    let error = writer
        .append(&sparse(b"var/log/lastlog", 1 << 40, &[]))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`/var/log/lastlog` has holes of 1099511627776 bytes, which would be written as zeros, and a tar may have 5000 of \
         those"
    );
    assert!(matches!(
        writer.append(&sparse(b"b", 1001, &[])),
        Err(WriteError::Holes {
            holes: 1001,
            limit: 5000,
            ..
        })
    ));
    // Files without holes are not meant, and what was refused does not count.
    writer.append(&sparse(b"c", 1000, &[])).unwrap();
    writer.append(&sparse(b"d", 9000, &[(0, 9000)])).unwrap();
    writer.data(&[1; 9000]).unwrap();
    assert_eq!(read(&writer.finish().unwrap()).unwrap().len(), 3);
    assert!(matches!(
        TarWriter::new(Vec::new()).append(&sparse(b"x", 1 << 40, &[])),
        Err(WriteError::Holes {
            limit: 0x10_0000_0000,
            ..
        })
    ));
}
