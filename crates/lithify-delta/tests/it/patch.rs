//! Dictionaries, and the ways a patch is read.

use std::io::{self, Read as _};

use lithify_cancel::CancelToken;
use lithify_delta::apply::{Files, Patch, PatchError, PatchOptions};

use crate::common::{
    ADD, COPY, DATA, DICTIONARY, OPEN, SEEK, V2, apply, delta, frame, old, op, patch_frame, path,
    skippable, with,
};
use crate::random::Random;

fn options() -> PatchOptions {
    PatchOptions::default()
}

/// Applies a dictionary frame of two files.
fn patched(old: &[u8], new: &[u8]) -> Result<Vec<u8>, PatchError> {
    let payload = patch_frame(old, new);
    let ops = [with(OPEN, b"f"), with(DICTIONARY, &payload)].concat();
    apply(&delta(V2, &ops), Files::from([(path("f"), old.to_vec())]))
}

#[test]
fn a_file_is_a_dictionary_as_it_is() {
    let mut random = Random::new(1);
    let old = random.bytes(100_000);
    let mut new = old.clone();
    new.rotate_left(30_000);
    new[500..600].fill(b'x');
    let payload = patch_frame(&old, &new);
    assert!(
        payload.len() < 1000,
        "the frame makes use of it: {}",
        payload.len()
    );
    assert_eq!(patched(&old, &new).unwrap(), new);
}

#[test]
fn a_file_that_begins_like_a_dictionary_of_zstd_is_bytes_like_others() {
    let mut random = Random::new(2);
    let magic = 0xec30_a437_u32.to_le_bytes();
    for length in [0, 1, 3, 4, 5, 100, 5000] {
        let rest = random.bytes(length);
        let old = [&magic[..], &rest].concat();
        for new in [old.clone(), rest.clone(), [&rest[..], &old].concat()] {
            assert_eq!(patched(&old, &new).unwrap(), new, "{length}");
        }
    }
}

#[test]
fn a_dictionary_may_be_of_any_length() {
    let mut random = Random::new(3);
    for length in 0..20 {
        let old = random.bytes(length);
        for new in [
            vec![],
            old.clone(),
            [&old[..], b"!", &old].concat(),
            random.bytes(50),
        ] {
            assert_eq!(patched(&old, &new).unwrap(), new, "{length}");
        }
    }
}

#[test]
fn behind_a_dictionary_the_file_is_at_its_beginning() {
    let payload = patch_frame(b"0123456789", b"abc3456789");
    let start = [
        with(OPEN, b"a"),
        op(SEEK, 4, b""),
        with(DICTIONARY, &payload),
    ]
    .concat();
    let tails = [
        (op(COPY, 2, b""), "01"),
        (with(ADD, b"\0\x01"), "02"),
        ([op(SEEK, 3, b""), op(COPY, 2, b"")].concat(), "34"),
        ([with(OPEN, b"a"), op(COPY, 2, b"")].concat(), "01"),
        (with(DICTIONARY, &payload), "abc3456789"),
        (vec![], ""),
    ];
    for (tail, expected) in tails {
        let bytes = delta(V2, &[start.clone(), tail].concat());
        let expected = format!("abc3456789{expected}");
        assert_eq!(apply(&bytes, old()).unwrap(), expected.as_bytes());
    }
}

#[test]
fn behind_the_frame_of_a_dictionary_nothing_is_read() {
    // As other readers do, which pass over what is left of the payload.
    let payload = [
        &patch_frame(b"0123456789", b"new")[..],
        b"garbage",
        &frame(b"more"),
    ]
    .concat();
    let ops = [
        with(OPEN, b"a"),
        with(DICTIONARY, &payload),
        with(DATA, b"!"),
    ];
    assert_eq!(apply(&delta(V2, &ops.concat()), old()).unwrap(), b"new!");
}

#[test]
fn a_dictionary_frame_may_be_a_plain_one() {
    let ops = [with(OPEN, b"a"), with(DICTIONARY, &frame(b"plain"))];
    assert_eq!(apply(&delta(V2, &ops.concat()), old()).unwrap(), b"plain");
}

/// A delta of every operation, large enough for many buffers.
fn large() -> (Vec<u8>, Files) {
    let mut random = Random::new(4);
    let file = random.bytes(400_000);
    let mut ops = Vec::new();
    for round in 0..6 {
        ops.extend(with(DATA, &random.bytes(70_000 + round)));
        ops.extend(with(OPEN, b"f"));
        ops.extend(op(COPY, 100_000, b""));
        ops.extend(with(ADD, &random.bytes(150_000)));
        ops.extend(op(SEEK, 333_333, b""));
        ops.extend(op(COPY, 66_667, b""));
        let new = [&file[5000..], &random.bytes(500)].concat();
        ops.extend(with(DICTIONARY, &patch_frame(&file, &new)));
    }
    let frames: Vec<u8> = ops.chunks(333_333).flat_map(frame).collect();
    let bytes = [V2, &frames, &skippable(b"end")].concat();
    (bytes, Files::from([(path("f"), file)]))
}

#[test]
fn the_tar_is_the_same_however_it_is_read() {
    let (delta, old) = large();
    let whole = apply(&delta, &old).unwrap();
    assert_eq!(
        whole.len(),
        6 * (70_000 + 100_000 + 150_000 + 66_667 + 395_500) + 15
    );
    // One byte at a time, and of the input too.
    let input = io::BufReader::with_capacity(1, &*delta);
    let mut patch = Patch::new(input, &old, &options()).unwrap();
    let mut byte = [0];
    for (at, expected) in whole.iter().enumerate() {
        patch.read_exact(&mut byte).unwrap();
        assert_eq!(byte[0], *expected, "{at}");
    }
    assert_eq!(patch.read(&mut byte).unwrap(), 0);
    let mut random = Random::new(5);
    let mut patch = Patch::new(&*delta, &old, &options()).unwrap();
    let mut at = 0;
    let mut buffer = vec![0; 300_000];
    loop {
        let most = match random.below(3) {
            0 => 10,
            1 => 5000,
            _ => 300_000,
        };
        let length = usize::try_from(random.below(most)).unwrap();
        let count = patch.read(&mut buffer[..length]).unwrap();
        if count == 0 && length > 0 {
            break;
        }
        assert_eq!(buffer[..count], whole[at..at + count], "{at}");
        at += count;
    }
    assert_eq!(at, whole.len());
    assert_eq!(patch.read(&mut buffer).unwrap(), 0, "the end stays the end");
}

#[test]
fn a_patch_can_be_stopped() {
    let (delta, old) = large();
    let cancel = CancelToken::new();
    let options = PatchOptions {
        cancel: cancel.clone(),
        ..options()
    };
    let mut patch = Patch::new(&*delta, &old, &options).unwrap();
    patch.read_exact(&mut [0; 1000]).unwrap();
    cancel.cancel();
    let error = patch.read(&mut [0; 1000]).unwrap_err();
    assert!(matches!(
        error.downcast::<PatchError>().unwrap(),
        PatchError::Cancelled(_)
    ));
}

#[test]
fn an_input_that_fails_is_an_error() {
    struct Broken;
    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::ConnectionReset))
        }
    }
    let (delta, old) = large();
    for whole in [0, 4, 8, 9, 1000, delta.len() / 2] {
        let input = io::BufReader::new(io::Read::chain(&delta[..whole], Broken));
        let result = Patch::new(input, &old, &options()).and_then(|mut patch| {
            let error = io::copy(&mut patch, &mut io::sink()).unwrap_err();
            Err::<(), _>(error.downcast::<PatchError>().unwrap())
        });
        match result {
            Err(PatchError::Format(lithify_delta::format::FormatError::Read(e))) => {
                assert_eq!(e.kind(), io::ErrorKind::ConnectionReset);
            }
            other => panic!("{whole} {other:?}"),
        }
    }
}

#[test]
fn the_operations_on_a_file_have_their_own_places() {
    let ops = [
        with(OPEN, b"a"),
        op(COPY, 5, b""),
        with(OPEN, b"d/b"),
        op(SEEK, 65, b""),
        op(COPY, 2, b""),
        with(OPEN, b"a"),
        with(ADD, &[0x11]),
    ];
    assert_eq!(
        apply(&delta(V2, &ops.concat()), old()).unwrap(),
        b"01234ABA"
    );
}
