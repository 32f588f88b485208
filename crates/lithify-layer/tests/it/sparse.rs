//! Sparse files: old GNU, PAX 0.0, 0.1 and 1.0. microsandbox lost the first kind and took the map of the last for data.

use crate::support::{BLOCK, Bytes, Header, Tar, expand, fault, fault_within, only, read};
use lithify_layer::{Limits, SparseFault, TarFault};
use lithify_tar::{Limit, LimitExceeded};
use lithify_tree::{DataSegment, Entry, EntryKind};

const OFFSETS: usize = 386;

fn number(value: u64) -> Vec<u8> {
    format!("{value:011o}\0").into_bytes()
}

/// An old GNU sparse file: header, continuation blocks, data.
fn old_gnu(entries: &[(u64, u64)], size: u64, data: &[u8]) -> Vec<u8> {
    let map = |entries: &[(u64, u64)]| {
        entries
            .iter()
            .flat_map(|&(o, l)| [number(o), number(l)].concat())
            .collect::<Vec<u8>>()
    };
    let (first, rest) = entries.split_at(entries.len().min(4));
    let header = Header::gnu(b'S', b"sparse")
        .size(data.len() as u64)
        .field(OFFSETS, &map(first))
        .field(482, &[u8::from(!rest.is_empty())])
        .field(483, &number(size));
    let mut tar = Tar::new().raw(header, b"");
    let chunks = rest.chunks(21).count();
    for (index, chunk) in rest.chunks(21).enumerate() {
        let mut block = map(chunk);
        block.resize(BLOCK, 0);
        block[504] = u8::from(index + 1 < chunks);
        tar = tar.blocks(&block);
    }
    let mut tar = tar.blocks(data);
    tar.0.resize(tar.0.len().next_multiple_of(BLOCK), 0);
    tar.file("next", b"after").end()
}

fn pax_0_0(entries: &[(u64, u64)], size: u64, data: &[u8]) -> Vec<u8> {
    let mut records = vec![
        ("GNU.sparse.size", size.to_string()),
        ("GNU.sparse.numblocks", entries.len().to_string()),
    ];
    for (offset, length) in entries {
        records.push(("GNU.sparse.offset", offset.to_string()));
        records.push(("GNU.sparse.numbytes", length.to_string()));
    }
    pax(&records, data)
}

fn pax_0_1(entries: &[(u64, u64)], size: u64, data: &[u8]) -> Vec<u8> {
    let map: Vec<_> = entries
        .iter()
        .map(|(offset, length)| format!("{offset},{length}"))
        .collect();
    let records = [
        ("GNU.sparse.size", size.to_string()),
        ("GNU.sparse.numblocks", entries.len().to_string()),
        ("GNU.sparse.name", "sparse".to_owned()),
        ("GNU.sparse.map", map.join(",")),
    ];
    pax(&records, data)
}

fn pax_1_0(entries: &[(u64, u64)], size: u64, data: &[u8]) -> Vec<u8> {
    let records = [
        ("GNU.sparse.major", "1".to_owned()),
        ("GNU.sparse.minor", "0".to_owned()),
        ("GNU.sparse.name", "sparse".to_owned()),
        ("GNU.sparse.realsize", size.to_string()),
    ];
    let mut map = format!("{}\n", entries.len());
    for (offset, length) in entries {
        map.push_str(&format!("{offset}\n{length}\n"));
    }
    let mut body = map.into_bytes();
    body.resize(body.len().next_multiple_of(BLOCK), 0);
    body.extend_from_slice(data);
    pax(&records, &body)
}

fn pax(records: &[(&str, String)], data: &[u8]) -> Vec<u8> {
    let records: Vec<_> = records
        .iter()
        .map(|(key, value)| (*key, value.as_bytes()))
        .collect();
    Tar::new()
        .pax(&records)
        .file("sparse", data)
        .file("next", b"after")
        .end()
}

type Form = fn(&[(u64, u64)], u64, &[u8]) -> Vec<u8>;
const FORMS: [(&str, Form); 4] = [
    ("old GNU", old_gnu),
    ("PAX 0.0", pax_0_0),
    ("PAX 0.1", pax_0_1),
    ("PAX 1.0", pax_1_0),
];

fn first(tar: &[u8]) -> (Entry, Bytes) {
    let mut entries = read(tar).unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(
        (entries[1].0.path.as_bytes(), &entries[1].1[..]),
        (&b"next"[..], &b"after"[..])
    );
    entries.remove(0)
}

#[test]
fn all_four_forms_say_the_same() {
    let data = crate::support::noise(1024 + 188, 3);
    for (form, make) in FORMS {
        let (entry, found) = first(&make(&[(100, 1024), (2000, 188), (5000, 0)], 5000, &data));
        assert_eq!(entry.path.as_bytes(), b"sparse", "{form}");
        let segments = vec![
            DataSegment {
                offset: 100,
                length: 1024,
            },
            DataSegment {
                offset: 2000,
                length: 188,
            },
        ];
        assert_eq!(
            entry.kind,
            EntryKind::File {
                size: 5000,
                segments: Some(segments)
            },
            "{form}"
        );
        assert_eq!(found.0, data, "{form}");
        let whole = expand(&entry, &found);
        assert_eq!(
            (&whole[100..1124], &whole[2000..2188]),
            (&data[..1024], &data[1024..])
        );
    }
}

#[test]
fn nothing_but_a_hole_and_no_hole_at_all() {
    for (form, make) in FORMS {
        for map in [&[(4096, 0)][..], &[]] {
            let (entry, data) = first(&make(map, 4096, b""));
            assert_eq!(
                entry.kind,
                EntryKind::File {
                    size: 4096,
                    segments: Some(vec![])
                },
                "{form}"
            );
            assert!(data.is_empty());
        }
        let whole = crate::support::noise(517, 2);
        let (entry, data) = first(&make(&[(0, 512), (512, 5)], 517, &whole));
        assert_eq!(
            (entry.kind, data.0),
            (
                EntryKind::File {
                    size: 517,
                    segments: None
                },
                whole
            ),
            "{form}"
        );
        let (entry, _) = first(&make(&[], 0, b""));
        assert_eq!(
            entry.kind,
            EntryKind::File {
                size: 0,
                segments: None
            },
            "{form}"
        );
    }
}

#[test]
fn maps_that_need_many_continuations() {
    let entries: Vec<_> = (0..1000u64).map(|i| (i * 1000 + 10, 512)).collect();
    let data = crate::support::noise(512_000, 5);
    for (form, make) in FORMS {
        let (entry, found) = first(&make(&entries, 1_000_000, &data));
        assert!(
            matches!(entry.kind, EntryKind::File { segments: Some(s), .. } if s.len() == 1000),
            "{form}"
        );
        assert_eq!(found.0, data, "{form}");
    }
}

#[test]
fn wrong_maps_are_refused() {
    for (form, make) in FORMS {
        let sparse =
            |entries: &[(u64, u64)], size, data: &[u8]| match fault(&make(entries, size, data)) {
                TarFault::Sparse(fault) => fault,
                other => panic!("{form}: {other:?}"),
            };
        assert_eq!(
            sparse(&[(10, 5), (12, 5)], 100, &[0; 10]),
            SparseFault::Overlap {
                index: 1,
                offset: 12,
                expected: 15
            },
            "{form}"
        );
        assert_eq!(
            sparse(&[(10, 5), (0, 5)], 100, &[0; 10]),
            SparseFault::Overlap {
                index: 1,
                offset: 0,
                expected: 15
            },
            "{form}"
        );
        assert_eq!(
            sparse(&[(0, 5), (5, 0), (12, 5)], 100, &[0; 10]),
            SparseFault::Unaligned {
                index: 0,
                length: 5
            },
            "{form}"
        );
        assert_eq!(
            sparse(&[(98, 5)], 100, &[0; 5]),
            SparseFault::BeyondEnd {
                index: 0,
                size: 100
            },
            "{form}"
        );
        assert_eq!(
            sparse(&[(10, 5)], 100, &[0; 6]),
            SparseFault::DataSize {
                segments: 5,
                archived: 6
            },
            "{form}"
        );
        assert_eq!(
            sparse(&[(10, 5)], 100, &[0; 4]),
            SparseFault::DataSize {
                segments: 5,
                archived: 4
            },
            "{form}"
        );
    }
    // Only decimal numbers are large enough to overflow.
    for make in [pax_0_0 as Form, pax_0_1, pax_1_0] {
        let found = fault(&make(&[(u64::MAX, 5)], 100, &[0; 5]));
        assert_eq!(
            found,
            TarFault::Sparse(SparseFault::BeyondEnd {
                index: 0,
                size: 100
            })
        );
    }
}

/// CVE-2025-58183 (Go): maps of millions of entries for a file of nothing.
#[test]
fn segments_are_limited() {
    let mut limits = Limits::default();
    limits.sparse_segments = 50;
    let entries: Vec<_> = (0..51u64).map(|i| (i, 0)).collect();
    for (form, make) in FORMS {
        let found = fault_within(&make(&entries, 1000, b""), limits);
        let limit = LimitExceeded {
            limit: Limit::SparseSegments,
            max: 50,
            found: 51,
        };
        assert_eq!(found, TarFault::Limit(limit), "{form}");
        assert!(
            crate::support::decode(
                &make(&entries[..50], 1000, b""),
                lithify_layer::Expected::nothing(),
                limits
            )
            .is_ok(),
            "{form}"
        );
    }
    limits.file_bytes = 999;
    for (form, make) in FORMS {
        let limit = LimitExceeded {
            limit: Limit::FileBytes,
            max: 999,
            found: 1000,
        };
        assert_eq!(
            fault_within(&make(&[], 1000, b""), limits),
            TarFault::Limit(limit),
            "{form}"
        );
    }
}

#[test]
fn orphaned_and_unknown_records_are_refused() {
    let sparse = |records: &[(&str, &[u8])]| fault(&Tar::new().pax(records).file("f", b"").end());
    let incomplete = |missing| TarFault::Sparse(SparseFault::Incomplete { missing });
    assert_eq!(
        sparse(&[("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", b"1")]),
        incomplete("GNU.sparse.minor")
    );
    assert_eq!(
        sparse(&[("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"1")]),
        incomplete("GNU.sparse.major")
    );
    assert_eq!(
        sparse(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0")]),
        incomplete("GNU.sparse.size or GNU.sparse.realsize")
    );
    assert_eq!(
        sparse(&[("GNU.sparse.name", b"x")]),
        incomplete("GNU.sparse.size or GNU.sparse.realsize")
    );
    assert_eq!(
        sparse(&[("GNU.sparse.size", b"5")]),
        incomplete("GNU.sparse.map")
    );
    assert_eq!(
        sparse(&[("GNU.sparse.size", b"5"), ("GNU.sparse.realsize", b"6")]),
        TarFault::Sparse(SparseFault::Size {
            first: 5,
            second: 6
        })
    );
    let version: &[(&str, &[u8])] = &[
        ("GNU.sparse.major", b"2"),
        ("GNU.sparse.minor", b"1"),
        ("GNU.sparse.size", b"5"),
    ];
    assert_eq!(
        sparse(version),
        TarFault::Sparse(SparseFault::Version { major: 2, minor: 1 })
    );
    for map in ["1", "1,2,3", "1,,2", "a,b", "1,2,"] {
        assert_eq!(
            sparse(&[
                ("GNU.sparse.size", b"50"),
                ("GNU.sparse.map", map.as_bytes())
            ]),
            TarFault::Sparse(SparseFault::Map),
            "{map}"
        );
    }
    let unpaired: &[(&str, &[u8])] = &[("GNU.sparse.size", b"50"), ("GNU.sparse.offset", b"0")];
    assert_eq!(sparse(unpaired), TarFault::Sparse(SparseFault::Map));
    let swapped: &[(&str, &[u8])] = &[
        ("GNU.sparse.size", b"50"),
        ("GNU.sparse.numbytes", b"0"),
        ("GNU.sparse.offset", b"0"),
    ];
    assert_eq!(sparse(swapped), TarFault::Sparse(SparseFault::Map));
    let count: &[(&str, &[u8])] = &[
        ("GNU.sparse.size", b"50"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.map", b"50,0"),
    ];
    assert_eq!(
        sparse(count),
        TarFault::Sparse(SparseFault::Count {
            expected: 2,
            found: 1
        })
    );
    let on_directory = Tar::new()
        .pax(&[("GNU.sparse.size", b"5"), ("GNU.sparse.map", b"5,0")])
        .raw(Header::new(b'5', b"d"), b"")
        .end();
    assert_eq!(fault(&on_directory), incomplete("a regular file"));
    let twice = Tar::new()
        .pax(&[("GNU.sparse.size", b"5"), ("GNU.sparse.map", b"5,0")])
        .raw(Header::gnu(b'S', b"s"), b"")
        .end();
    assert_eq!(fault(&twice), incomplete("a regular file"));
}

#[test]
fn a_text_map_within_bounds() {
    let with_body = |body: &[u8]| {
        let records: &[(&str, &[u8])] = &[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", b"1000"),
        ];
        Tar::new().pax(records).file("f", body).end()
    };
    let map = TarFault::Sparse(SparseFault::Map);
    // Nothing, too short for its own lines, too short for its own block, no numbers.
    for body in [&b""[..], b"1\n0\n", b"1\n0\n0\n", b"x", &[b'0'; 600]] {
        assert_eq!(fault(&with_body(body)), map, "{body:?}");
    }
    let mut body = b"1\n5\n5\n".to_vec();
    body.resize(BLOCK, 0);
    body.extend_from_slice(b"hello");
    let (entry, data) = only(&with_body(&body));
    assert_eq!(
        (&expand(&entry, &data)[5..10], data.len()),
        (&b"hello"[..], 5)
    );
}
