//! Known bytes, round trips, and the rules of the writer.

use lithify_delta::format::{
    ADD_MAX, Compression, DeltaWriter, Encoder, MEDIA_TYPE, Op, Ops, Version, WriteError,
};
use lithify_tree::TreePath;
use proptest::prelude::*;

use crate::common::{
    ADD, COPY, DATA, DICTIONARY, OPEN, SEEK, V1, V2, apply, assert_tidy, delta, frame, old, op,
    patch_frame, path, read, skippable, uvarint, with,
};

/// All operations of version 1, and what they make.
fn all_of_v1() -> (Vec<Vec<u8>>, &'static [u8]) {
    let ops = vec![
        with(DATA, b"head "),
        with(OPEN, b"a"),
        op(COPY, 3, b""),
        with(ADD, &[1, 0, 255]),
        op(SEEK, 8, b""),
        op(COPY, 2, b""),
        with(OPEN, b"/./d//b"),
        op(SEEK, 0x7f, b""),
        with(ADD, &[0xe2, 0xe2]),
        with(DATA, b" tail"),
    ];
    (ops, b"head 01244489ab tail")
}

fn written(ops: &Ops) -> Vec<u8> {
    let mut delta = DeltaWriter::new(Vec::new(), Compression::default()).unwrap();
    delta.ops(ops).unwrap();
    delta.finish().unwrap()
}

#[test]
fn every_operation_of_version_1_is_read() {
    let (ops, expected) = all_of_v1();
    let bytes = delta(V1, &ops.concat());
    assert_eq!(apply(&bytes, old()).unwrap(), expected);
    let (version, ops) = read(&bytes).unwrap();
    assert_eq!(version, Version::V1);
    let kinds: Vec<Op> = ops.iter().map(|(op, _)| op.clone()).collect();
    assert_eq!(
        kinds,
        [
            Op::Data(5),
            Op::Open(path("a")),
            Op::Copy(3),
            Op::Add(3),
            Op::Seek(8),
            Op::Copy(2),
            Op::Open(path("d/b")),
            Op::Seek(127),
            Op::Add(2),
            Op::Data(5),
        ]
    );
    assert_eq!(ops[3].1, [1, 0, 255]);
    assert_eq!(ops[9].1, b" tail");
}

#[test]
fn every_operation_of_version_2_is_read() {
    let (mut ops, expected) = all_of_v1();
    ops.push(with(OPEN, b"a"));
    let patch = patch_frame(b"0123456789", b"9876501234567890");
    ops.push(with(DICTIONARY, &patch));
    ops.push(op(COPY, 1, b""));
    let bytes = delta(V2, &ops.concat());
    let expected = [expected, b"98765012345678900"].concat();
    assert_eq!(apply(&bytes, old()).unwrap(), expected);
    let (version, ops) = read(&bytes).unwrap();
    assert_eq!(version, Version::V2);
    assert_eq!(ops[11], (Op::Dictionary(patch.len() as u64), patch));
}

#[test]
fn bytes_that_are_known_are_read() {
    // `printf '\001\001a\002\012\000\001!' | zstd --no-check`, in a stored block.
    let frame = b"\x28\xb5\x2f\xfd\x20\x08\x41\0\0\x01\x01a\x02\x0a\0\x01!";
    assert_eq!(apply(&[V1, frame].concat(), old()).unwrap(), b"0123456789!");
}

#[test]
fn operations_may_go_over_the_ends_of_frames() {
    let (ops, expected) = all_of_v1();
    let ops = ops.concat();
    for cut in 0..=ops.len() {
        let bytes = [
            V1,
            &skippable(b""),
            &frame(&ops[..cut]),
            &skippable(b"an index, say"),
            &frame(b""),
            &frame(&ops[cut..]),
            &skippable(&[0; 300]),
        ];
        assert_eq!(apply(&bytes.concat(), old()).unwrap(), expected, "{cut}");
    }
    let each: Vec<u8> = ops.iter().flat_map(|byte| frame(&[*byte])).collect();
    assert_eq!(apply(&[V1, &each].concat(), old()).unwrap(), expected);
}

#[test]
fn a_delta_may_be_empty() {
    for magic in [V1, V2] {
        assert_eq!(apply(&delta(magic, b""), old()).unwrap(), b"");
        assert_eq!(
            apply(&[magic, &skippable(b"")].concat(), old()).unwrap(),
            b""
        );
    }
}

#[test]
fn operations_of_no_bytes_are_read() {
    let ops = [
        with(DATA, b""),
        with(OPEN, b"a"),
        op(COPY, 0, b""),
        with(ADD, b""),
        with(OPEN, b"a"),
        op(SEEK, 10, b""),
        op(COPY, 0, b""),
        with(ADD, b""),
        with(DATA, b"x"),
    ];
    assert_eq!(apply(&delta(V1, &ops.concat()), old()).unwrap(), b"x");
}

#[test]
fn numbers_may_have_leading_zeros() {
    let ops = b"\x01\x81\x80\x00a\x02\x83\x80\x80\x80\x80\x80\x80\x80\x80\x00";
    assert_eq!(apply(&delta(V1, ops), old()).unwrap(), b"012");
}

#[test]
fn what_is_written_is_known() {
    let mut ops = Encoder::new();
    ops.data(b"he");
    ops.data(b"ad");
    ops.open(&path("usr/a")).unwrap();
    ops.copy(0, 100);
    ops.copy(100, 200);
    ops.data(b"!");
    ops.copy(300, 1);
    ops.copy(5, 1);
    ops.changed(6, b"abc", b"bbd");
    let ops = ops.finish();
    let expected =
        b"\x00\x04head\x01\x05usr/a\x02\xac\x02\x00\x01!\x02\x01\x04\x05\x02\x01\x03\x03\x01\0\x01";
    assert_eq!(ops.as_bytes(), expected);
    assert_eq!((ops.len(), ops.is_empty()), (expected.len(), false));
    let delta = written(&ops);
    assert_eq!(&delta[..8], V1);
    assert_eq!(zstd::decode_all(&delta[8..]).unwrap(), expected);
    // RFC 8878, 3.1.1.1.1: the descriptor's bit 2 is the checksum; the window is at most 2^27.
    assert_eq!(delta[12] & 4, 4);
    assert!(delta[12] & 0x20 != 0 || delta[13] >> 3 <= 17);
    assert_eq!(MEDIA_TYPE, "application/vnd.tar-diff");
}

#[test]
fn no_window_is_larger_than_others_read() {
    for compression in [Compression::Fast, Compression::Default, Compression::Best] {
        let delta = DeltaWriter::new(Vec::new(), compression).unwrap();
        let delta = delta.finish().unwrap();
        assert!(
            delta[12] & 0x20 != 0 || delta[13] >> 3 <= 17,
            "{compression:?}"
        );
        assert_eq!(apply(&delta, old()).unwrap(), b"");
    }
}

#[test]
fn what_reads_nothing_writes_nothing() {
    let mut ops = Encoder::new();
    ops.data(b"");
    ops.open(&path("a")).unwrap();
    ops.copy(7, 0);
    ops.changed(7, b"", b"");
    ops.open(&path("b")).unwrap();
    assert!(ops.finish().is_empty());
}

#[test]
fn a_file_that_is_open_is_not_opened_again() {
    let mut ops = Encoder::new();
    ops.open(&path("a")).unwrap();
    ops.copy(0, 2);
    ops.open(&path("a")).unwrap();
    ops.copy(2, 2);
    ops.open(&path("d/b")).unwrap();
    ops.open(&path("a")).unwrap();
    ops.copy(1, 1);
    let expected = [
        with(OPEN, b"a"),
        op(COPY, 4, b""),
        op(SEEK, 1, b""),
        op(COPY, 1, b""),
    ];
    assert_eq!(ops.finish().as_bytes(), expected.concat());
}

#[test]
fn operations_of_several_lists_make_one_delta() {
    let list = |name: &str| {
        let mut ops = Encoder::new();
        ops.open(&path(name)).unwrap();
        ops.copy(1, 3);
        ops.finish()
    };
    let mut delta = DeltaWriter::new(Vec::new(), Compression::default()).unwrap();
    for name in ["a", "d/b", "a"] {
        delta.ops(&list(name)).unwrap();
    }
    let delta = delta.finish().unwrap();
    assert_eq!(apply(&delta, old()).unwrap(), b"123\x01\x02\x03123");
}

#[test]
fn runs_of_equal_bytes_are_copied_and_not_added() {
    let old: Vec<u8> = (0..6000_u32).map(|n| (n % 251) as u8).collect();
    let mut new = old.clone();
    // Equal ones: 8 in front, 7 and 20 between, and the rest behind.
    for at in [8, 16, 37] {
        new[at] ^= 0x55;
    }
    let seven = [Op::Copy(8), Op::Add(9), Op::Copy(20), Op::Add(1)];
    let each = [
        Op::Copy(8),
        Op::Add(1),
        Op::Copy(7),
        Op::Add(1),
        Op::Copy(20),
        Op::Add(1),
    ];
    let encoders = [
        (Encoder::new(), &seven[..]),
        (Encoder::with_shortest_copy(7), &each),
        (Encoder::with_shortest_copy(8), &seven),
        (
            Encoder::with_shortest_copy(20),
            &[Op::Add(17), Op::Copy(20), Op::Add(1)],
        ),
        (Encoder::with_shortest_copy(21), &[Op::Add(38)]),
        (Encoder::with_shortest_copy(0), &each),
    ];
    for (mut ops, expected) in encoders {
        ops.open(&path("f")).unwrap();
        ops.changed(0, &old, &new);
        let delta = written(&ops.finish());
        let (_, ops) = read(&delta).unwrap();
        let kinds: Vec<Op> = ops.into_iter().map(|(op, _)| op).collect();
        let rest = [Op::Copy(6000 - 38)];
        assert_eq!(kinds, [&[Op::Open(path("f"))], expected, &rest].concat());
        let files = lithify_delta::apply::Files::from([(path("f"), old.clone())]);
        assert_eq!(apply(&delta, files).unwrap(), new);
    }
}

#[test]
fn an_addition_is_not_longer_than_others_take() {
    let length = usize::try_from(ADD_MAX).unwrap() + 3;
    let mut ops = Encoder::new();
    ops.open(&path("f")).unwrap();
    ops.changed(5, &vec![0; length], &vec![7; length]);
    let ops = ops.finish();
    let second = 3 + 1 + 1 + 1 + uvarint(ADD_MAX).len() + length - 3;
    assert_eq!(ops.as_bytes()[..6], [OPEN, 1, b'f', SEEK, 5, ADD]);
    assert_eq!(ops.as_bytes()[second..], [ADD, 3, 7, 7, 7]);
}

#[test]
fn paths_that_others_do_not_take_are_refused() {
    let reason = |path: &TreePath| match Encoder::new().open(path) {
        Err(WriteError::Path { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(&TreePath::root()), "it is empty");
    let latin1 = TreePath::clean(b"caf\xe9").unwrap();
    assert_eq!(reason(&latin1), "it is not UTF-8");
    // No path is longer than this.
    let longest = "a/".repeat(2047) + "aa";
    Encoder::new().open(&path(&longest)).unwrap();
    assert!(TreePath::clean(format!("{longest}a").as_bytes()).is_err());
}

#[test]
fn a_refused_path_changes_nothing() {
    let mut ops = Encoder::new();
    ops.open(&path("a")).unwrap();
    ops.copy(0, 1);
    ops.open(&TreePath::root()).unwrap_err();
    ops.copy(1, 1);
    let expected = [with(OPEN, b"a"), op(COPY, 2, b"")];
    assert_eq!(ops.finish().as_bytes(), expected.concat());
}

/// What a writer is told.
#[derive(Clone, Debug)]
enum Call {
    Data(Vec<u8>),
    Open(usize),
    Copy(usize, usize),
    Changed(usize, Vec<(u16, u8)>, usize),
}

/// The files that calls read.
fn files() -> [(TreePath, Vec<u8>); 3] {
    let bytes = |length: u32| (0..length).map(|n| (n * n / 7 % 256) as u8).collect();
    [("a", 1), ("usr/b", 300), ("c", 5000)].map(|(name, length)| (path(name), bytes(length)))
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let place = || (0_usize..5000, 0_usize..3000);
    let changes = prop::collection::vec((any::<u16>(), any::<u8>()), 0..6);
    let call = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Call::Data),
        (0_usize..3).prop_map(Call::Open),
        place().prop_map(|(at, length)| Call::Copy(at, length)),
        (place(), changes).prop_map(|((at, length), changes)| Call::Changed(at, changes, length)),
    ];
    prop::collection::vec(call, 0..40)
}

proptest! {
    #[test]
    fn what_is_written_is_applied(calls in calls(), first in 0_usize..3) {
        let files = files();
        let mut ops = Encoder::new();
        let mut expected = Vec::new();
        let mut source = first;
        ops.open(&files[first].0).unwrap();
        // In turns from where the last one ended, so that operations meet.
        let mut end = 0;
        for (number, call) in calls.into_iter().enumerate() {
            let old = &files[source].1;
            let within = |at: usize, length: usize| {
                let at = if number % 2 == 0 { end } else { at % (old.len() + 1) };
                (at, length.min(old.len() - at))
            };
            match call {
                Call::Data(bytes) => {
                    ops.data(&bytes);
                    expected.extend(bytes);
                }
                Call::Open(file) => {
                    ops.open(&files[file].0).unwrap();
                    (source, end) = (file, 0);
                }
                Call::Copy(at, length) => {
                    let (at, length) = within(at, length);
                    ops.copy(at as u64, length as u64);
                    expected.extend(&old[at..at + length]);
                    end = at + length;
                }
                Call::Changed(at, changes, length) => {
                    let (at, length) = within(at, length);
                    let old = &old[at..at + length];
                    let mut new = old.to_vec();
                    for (place, byte) in changes {
                        if length > 0 {
                            new[usize::from(place) % length] = byte;
                        }
                    }
                    ops.changed(at as u64, old, &new);
                    expected.extend(new);
                    end = at + length;
                }
            }
        }
        let delta = written(&ops.finish());
        assert_tidy(&delta, false);
        prop_assert_eq!(apply(&delta, lithify_delta::apply::Files::from(files)).unwrap(), expected);
    }

    #[test]
    fn operations_written_by_hand_come_back(
        list in prop::collection::vec((0_u8..6, any::<u64>(), 0_u32..64, prop::collection::vec(any::<u8>(), 0..300)), 0..30),
        pieces in 1_usize..5,
    ) {
        let mut expected = Vec::new();
        let mut ops = Vec::new();
        for (code, number, bits, payload) in list {
            let number = number >> bits;
            let length = payload.len() as u64;
            let (number, payload, read) = match code {
                DATA => (length, payload, Op::Data(length)),
                OPEN => {
                    let name = format!("n{number}");
                    let read = Op::Open(path(&name));
                    (name.len() as u64, name.into_bytes(), read)
                }
                COPY => (number, vec![], Op::Copy(number)),
                ADD => (length, payload, Op::Add(length)),
                SEEK => (number, vec![], Op::Seek(number)),
                _ => (length, payload, Op::Dictionary(length)),
            };
            ops.extend(op(code, number, &payload));
            let payload = if code == OPEN { vec![] } else { payload };
            expected.push((read, payload));
        }
        let frames: Vec<u8> = ops.chunks(ops.len() / pieces + 1).flat_map(frame).collect();
        let frames = [frame(b""), frames].concat();
        prop_assert_eq!(read(&[V2, &frames].concat()).unwrap(), (Version::V2, expected));
    }
}
