//! Splitstreams: what is written is read, and what is wrong is said.

use std::collections::HashMap;
use std::io::{self, Read as _};

use lithify_composefs::splitstream::{
    Check, Chunk, ContentType, Objects, Rebuilt, StreamError, StreamReader, StreamWriter,
};
use lithify_verity::file::{FileAlgorithm, FileDigest};
use proptest::prelude::*;

use crate::common::{bytes, digest_of};

/// Objects in memory.
#[derive(Default)]
struct Memory(HashMap<FileDigest, Vec<u8>>);

impl Objects for Memory {
    type Reader = io::Cursor<Vec<u8>>;

    fn open(&self, id: &FileDigest) -> io::Result<Self::Reader> {
        let found = self.0.get(id).cloned();
        found
            .map(io::Cursor::new)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

#[derive(Clone, Debug)]
enum Part {
    Inline(Vec<u8>),
    Object(Vec<u8>),
    Boundary,
}

fn write(
    algorithm: FileAlgorithm,
    parts: &[Part],
    names: &[(String, u8)],
) -> (Vec<u8>, Memory, Vec<u8>) {
    let mut writer = StreamWriter::new(algorithm, ContentType::LAYER, Vec::new()).unwrap();
    let (mut objects, mut whole) = (Memory::default(), Vec::new());
    for part in parts {
        match part {
            Part::Inline(data) => {
                writer.inline(data).unwrap();
                whole.extend_from_slice(data);
            }
            Part::Object(data) => {
                let id = digest_of(algorithm, data);
                writer.object(id, data.len() as u64).unwrap();
                whole.extend_from_slice(data);
                objects.0.insert(id, data.clone());
            }
            Part::Boundary => writer.boundary().unwrap(),
        }
    }
    for (name, id) in names {
        writer.name(name, digest_of(algorithm, &[*id])).unwrap();
    }
    let (head, body) = writer.finish().unwrap();
    ([head.into_bytes(), body].concat(), objects, whole)
}

fn rebuild(stream: &[u8], objects: &Memory) -> Result<Vec<u8>, StreamError> {
    let stream = StreamReader::open(stream)?;
    let mut whole = Vec::new();
    // Sizes in a header are anybody's: no test waits for gigabytes.
    let mut reader = Rebuilt::new(stream, objects, Check::Digests).take(64 << 20);
    reader
        .read_to_end(&mut whole)
        .map_err(|e| e.downcast::<StreamError>().unwrap())?;
    Ok(whole)
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let part = prop_oneof![
        4 => (any::<u64>(), 0..2000_usize).prop_map(|(s, n)| Part::Inline(bytes(s, n))),
        4 => (0..6_u64, 1..5000_usize).prop_map(|(s, n)| Part::Object(bytes(s, n % 7 * 700 + 1))),
        1 => Just(Part::Boundary),
    ];
    prop::collection::vec(part, 0..30)
}

fn algorithms() -> impl Strategy<Value = FileAlgorithm> {
    prop::sample::select(&FileAlgorithm::ALL[..])
}

/// Puts the header's fields into the order they had in older files.
fn with_old_header(stream: &[u8]) -> Vec<u8> {
    let mut old = stream.to_vec();
    old[..16].copy_from_slice(&stream[16..32]);
    old[16..18].copy_from_slice(&stream[12..14]);
    old[18..30].copy_from_slice(&stream[..12]);
    old[30..32].copy_from_slice(&stream[14..16]);
    old
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_read(
        algorithm in algorithms(),
        parts in parts(),
        names in prop::collection::btree_map("[a-z:/ ]{0,12}", any::<u8>(), 0..6),
    ) {
        let names: Vec<(String, u8)> = names.into_iter().collect();
        let (stream, objects, whole) = write(algorithm, &parts, &names);
        prop_assert_eq!(&rebuild(&stream, &objects).unwrap(), &whole);
        prop_assert_eq!(&rebuild(&with_old_header(&stream), &objects).unwrap(), &whole);
        let reader = StreamReader::open(&stream[..]).unwrap();
        prop_assert_eq!(reader.size(), whole.len() as u64);
        prop_assert_eq!(reader.object_count(), objects.0.len() as u64);
        let found: Vec<_> = reader.names().iter().map(|n| (n.name.clone(), n.id)).collect();
        let expected: Vec<_> =
            names.iter().map(|(n, id)| (n.clone(), digest_of(algorithm, &[*id]))).collect();
        prop_assert_eq!(found, expected);
    }

    /// Whatever bytes a file has: an answer, and no more memory than the file takes.
    #[test]
    fn changed_streams_are_read_or_refused(
        parts in parts(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        is_in_head in any::<bool>(),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let names = [(String::from("a"), 1)];
        let (mut stream, objects, whole) = write(FileAlgorithm::Sha256, &parts, &names);
        for (at, byte) in changes {
            let most = if is_in_head { 112 } else { stream.len() };
            stream[at.index(most)] ^= byte;
        }
        if let Some(cut) = cut {
            stream.truncate(cut.index(stream.len()));
        }
        if let Ok(found) = rebuild(&stream, &objects) {
            // Zstandard frames of this kind have no checksum: other inline bytes may come out,
            // never another number of them.
            let size = StreamReader::open(&stream[..]).unwrap().size();
            prop_assert_eq!(found.len() as u64, size.min(64 << 20));
            prop_assert!(found.len() as u64 == size || found.len() > whole.len());
        }
    }
}

/// Where fields are: as in the table of the module.
const INFORMATION: usize = 32;
const STREAMS: usize = INFORMATION;
const OBJECTS: usize = INFORMATION + 16;
const BODY: usize = INFORMATION + 32;
const NAMES: usize = INFORMATION + 48;
const SIZE: usize = INFORMATION + 72;

fn number(stream: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(stream[at..at + 8].try_into().unwrap())
}

fn with(stream: &[u8], at: usize, value: u64) -> Vec<u8> {
    let mut changed = stream.to_vec();
    changed[at..at + 8].copy_from_slice(&value.to_le_bytes());
    changed
}

/// A stream with this body instead of its own.
fn with_body(stream: &[u8], body: &[u8]) -> Vec<u8> {
    let mut changed = with(stream, BODY, stream.len() as u64);
    let packed = zstd::encode_all(body, 0).unwrap();
    changed.extend_from_slice(&packed);
    let end = changed.len() as u64;
    with(&changed, BODY + 8, end)
}

fn with_names(stream: &[u8], names: &[u8]) -> Vec<u8> {
    let mut changed = with(stream, NAMES, stream.len() as u64);
    changed.extend_from_slice(&zstd::encode_all(names, 0).unwrap());
    let end = changed.len() as u64;
    with(&changed, NAMES + 8, end)
}

fn sample() -> (Vec<u8>, Memory) {
    let parts = [
        Part::Inline(b"head".to_vec()),
        Part::Object(vec![7; 100]),
        Part::Inline(b"tail".to_vec()),
        Part::Object(vec![7; 100]),
        Part::Object(vec![8; 100]),
    ];
    let names = [
        ("config:x".to_owned(), 1),
        ("a".to_owned(), 2),
        ("b".to_owned(), 1),
    ];
    let (stream, objects, _) = write(FileAlgorithm::Sha256, &parts, &names);
    (stream, objects)
}

#[test]
fn the_layout_is_that_of_the_documentation() {
    let (stream, _) = sample();
    assert_eq!(&stream[..16], b"SplitStream\0\0\0\x01\x0c");
    assert_eq!((number(&stream, 16), number(&stream, 24)), (32, 112));
    let ranges =
        [STREAMS, OBJECTS, NAMES, BODY].map(|at| (number(&stream, at), number(&stream, at + 8)));
    // In order, nothing between them.
    assert_eq!(ranges[0], (112, 112 + 2 * 32));
    assert_eq!(ranges[1], (176, 176 + 2 * 32));
    assert_eq!(ranges[2].0, 240);
    assert_eq!(
        (ranges[3].0, ranges[3].1),
        (ranges[2].1, stream.len() as u64)
    );
    assert_eq!(&stream[INFORMATION + 64..][..8], b"ocilayer");
    assert_eq!(number(&stream, SIZE), 308);
    let names = &stream[ranges[2].0 as usize..ranges[2].1 as usize];
    // In the order in which they were given, sorted by name.
    assert_eq!(
        zstd::decode_all(names).unwrap(),
        b"1:a\x000:b\x000:config:x\0"
    );
    let body = zstd::decode_all(&stream[ranges[3].0 as usize..]).unwrap();
    let chunks = [
        &(-4_i64).to_le_bytes()[..],
        b"head",
        &0_i64.to_le_bytes(),
        &(-4_i64).to_le_bytes(),
        b"tail",
        &0_i64.to_le_bytes(),
        &1_i64.to_le_bytes(),
    ];
    assert_eq!(body, chunks.concat());
    let objects = &stream[176..240];
    assert_eq!(
        &objects[..32],
        digest_of(FileAlgorithm::Sha256, &[7; 100]).as_bytes()
    );
    assert_eq!(
        &objects[32..],
        digest_of(FileAlgorithm::Sha256, &[8; 100]).as_bytes()
    );
}

#[test]
fn ranges_outside_of_the_file_are_refused() {
    let (stream, objects) = sample();
    let size = stream.len() as u64;
    for at in [16, STREAMS, OBJECTS, BODY, NAMES] {
        for (start, end) in [
            (size, size + 1),
            (0, u64::MAX),
            (40, 39),
            (u64::MAX, u64::MAX),
        ] {
            let changed = with(&with(&stream, at, start), at + 8, end);
            let refused = rebuild(&changed, &objects);
            assert!(
                matches!(refused, Err(StreamError::Range { .. })),
                "{at}: {refused:?}"
            );
        }
    }
    let short = rebuild(&with(&stream, 24, 111), &objects);
    assert!(matches!(
        short,
        Err(StreamError::ShortInformation {
            expected: 80,
            found: 79
        })
    ));
    for at in [STREAMS, OBJECTS] {
        let end = number(&stream, at + 8);
        let partial = rebuild(&with(&stream, at + 8, end - 1), &objects);
        assert!(matches!(
            partial,
            Err(StreamError::PartialDigest { digest: 32, .. })
        ));
    }
    for length in [0, 10, 31] {
        assert!(matches!(
            rebuild(&stream[..length], &objects),
            Err(StreamError::Magic)
        ));
    }
}

#[test]
fn bodies_that_are_wrong_are_refused() {
    let (stream, objects) = sample();
    let chunk = |n: i64| n.to_le_bytes().to_vec();
    let run = |body: Vec<Vec<u8>>| rebuild(&with_body(&stream, &body.concat()), &objects);
    assert!(matches!(
        run(vec![chunk(2)]),
        Err(StreamError::Index {
            index: 2,
            count: 2,
            ..
        })
    ));
    assert!(matches!(
        run(vec![chunk(i64::MAX)]),
        Err(StreamError::Index { .. })
    ));
    for length in [-309, i64::MIN] {
        assert!(matches!(
            run(vec![chunk(length)]),
            Err(StreamError::Size {
                expected: 308,
                is_more: true,
                ..
            })
        ));
    }
    assert!(matches!(
        run(vec![chunk(-3), b"ab".to_vec()]),
        Err(StreamError::Truncated)
    ));
    assert!(matches!(
        run(vec![b"abc".to_vec()]),
        Err(StreamError::Truncated)
    ));
    assert!(matches!(
        run(vec![chunk(0)]),
        Err(StreamError::Size {
            expected: 308,
            found: 100,
            is_more: false
        })
    ));
    assert!(matches!(
        run(vec![chunk(0); 4]),
        Err(StreamError::Size {
            expected: 308,
            found: 400,
            is_more: true
        })
    ));
    let start = number(&stream, BODY);
    let cut = rebuild(
        &with(&stream, BODY + 8, number(&stream, BODY + 8) - 1),
        &objects,
    );
    assert!(matches!(cut, Err(StreamError::Truncated)), "{cut:?}");
    let other = rebuild(&with(&stream, BODY, start + 1), &objects);
    assert!(
        matches!(other, Err(StreamError::Zstandard { .. })),
        "{other:?}"
    );
}

#[test]
fn objects_without_a_byte_cost_no_endless_time() {
    let empty = digest_of(FileAlgorithm::Sha256, &[]);
    let mut writer =
        StreamWriter::new(FileAlgorithm::Sha256, ContentType::BLOB, Vec::new()).unwrap();
    writer.object(empty, 0).unwrap();
    let (head, body) = writer.finish().unwrap();
    let stream = [head.into_bytes(), body].concat();
    let objects = Memory(HashMap::from([(empty, Vec::new())]));
    assert_eq!(rebuild(&stream, &objects).unwrap(), b"");
    let many = with_body(&stream, &0_i64.to_le_bytes().repeat(1 << 20));
    assert!(matches!(
        rebuild(&many, &objects),
        Err(StreamError::EmptyObjects { limit: 1024 })
    ));
}

#[test]
fn named_references_that_are_wrong_are_refused() {
    let (stream, objects) = sample();
    let run = |names: &[u8]| rebuild(&with_names(&stream, names), &objects);
    for names in [
        &b"a\0"[..],
        b":a\0",
        b"-0:a\0",
        b"+0:a\0",
        b"0:a",
        b"0:\xff\0",
        b"\0",
    ] {
        let refused = run(names);
        assert!(
            matches!(refused, Err(StreamError::NamedReference { .. })),
            "{names:?}: {refused:?}"
        );
    }
    assert!(matches!(
        run(b"2:a\0"),
        Err(StreamError::Index {
            index: 2,
            count: 2,
            ..
        })
    ));
    assert!(matches!(run(b"0:a\x001:a\0"), Err(StreamError::NamedTwice { name }) if name == "a"));
    // A few kilobytes that unpack to a gigabyte.
    let long = [b"0:".to_vec(), vec![b'a'; 5 << 20], vec![0]].concat();
    assert!(matches!(
        run(&long),
        Err(StreamError::NamedReferencesTooLong { .. })
    ));
    run(b"").unwrap();
}

#[test]
fn damaged_objects_are_found_where_digests_are_compared() {
    let (stream, mut objects) = sample();
    let id = digest_of(FileAlgorithm::Sha256, &[7; 100]);
    objects.0.insert(id, vec![9; 100]);
    let refused = rebuild(&stream, &objects);
    assert!(matches!(refused, Err(StreamError::Object { expected, .. }) if *expected == id));
    objects.0.remove(&id);
    let refused = rebuild(&stream, &objects);
    assert!(matches!(refused, Err(StreamError::OpenObject { id: found, .. }) if *found == id));
}

#[test]
fn long_runs_end_only_where_they_may() {
    let mut writer =
        StreamWriter::new(FileAlgorithm::Sha256, ContentType::LAYER, Vec::new()).unwrap();
    let member = vec![1; 3000];
    for _ in 0..5000 {
        writer.boundary().unwrap();
        writer.inline(&member[..1000]).unwrap();
        writer.inline(&member[1000..]).unwrap();
    }
    let (head, body) = writer.finish().unwrap();
    let stream = [head.into_bytes(), body].concat();
    let mut reader = StreamReader::open(&stream[..]).unwrap();
    let mut lengths = Vec::new();
    while let Some(Chunk::Inline(length)) = reader.next_chunk().unwrap() {
        lengths.push(length);
    }
    assert_eq!(lengths.iter().sum::<u64>(), 15_000_000);
    assert!(lengths.len() > 1 && lengths.iter().all(|l| l % 3000 == 0));
}
