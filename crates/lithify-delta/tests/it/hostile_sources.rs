//! Hostile deltas that read what old files do not have, or more than memory holds.

use std::io;

use lithify_delta::apply::{PatchError, PatchOptions, SourceError, Sources};
use lithify_storage::ReadAt;
use lithify_tree::TreePath;

use crate::common::{
    ADD, COPY, DATA, DICTIONARY, OPEN, SEEK, V2, apply, apply_with, delta, frame,
    frame_with_window, old, op, patch_frame, path, refused, with,
};
use crate::random::Random;

/// A file that says it is large, and must not be read.
struct Claims(u64);

impl ReadAt for Claims {
    fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        panic!("it is refused by its size")
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0)
    }
}

impl Sources for Claims {
    fn open(&self, _: &TreePath) -> Result<Box<dyn ReadAt + Send>, SourceError> {
        Ok(Box::new(Self(self.0)))
    }
}

#[test]
fn nothing_is_read_behind_the_end_of_a_file() {
    for position in [0, 1, 9, 10, 11, 1 << 32, 1 << 63, u64::MAX] {
        for length in [1, 2, 10, 11, u64::MAX - 9, u64::MAX] {
            if position <= 10 && length <= 10 - position {
                continue;
            }
            for code in [COPY, ADD] {
                let error = refused(&[
                    with(OPEN, b"a"),
                    op(SEEK, position, b""),
                    op(code, length, b"0123456789abcdef"),
                ]);
                match error {
                    PatchError::PastEnd {
                        op: 2,
                        path: of,
                        position: at,
                        length: bytes,
                        size: 10,
                    } => {
                        assert_eq!(of, path("a"));
                        assert_eq!((at, bytes), (position, length));
                    }
                    other => panic!("{position} {length} {other:?}"),
                }
            }
        }
    }
    // Also by steps that are fine alone.
    let steps = [with(OPEN, b"a"), op(COPY, 6, b""), op(COPY, 5, b"")];
    assert!(matches!(
        refused(&steps),
        PatchError::PastEnd {
            op: 2,
            position: 6,
            ..
        }
    ));
}

#[test]
fn nothing_is_read_before_a_file_is_opened() {
    let payload = frame(b"x");
    let ops = [
        op(COPY, 1, b""),
        op(COPY, 0, b""),
        with(ADD, b"x"),
        with(ADD, b""),
        op(SEEK, 0, b""),
        with(DICTIONARY, &payload),
    ];
    for op in ops {
        let error = refused(&[with(DATA, b"x"), op.clone()]);
        assert!(
            matches!(error, PatchError::NoSource { op: 1 }),
            "{op:?} {error:?}"
        );
    }
}

#[test]
fn files_that_are_not_there_are_named() {
    for name in ["b", "d", "a/b", "etc/shadow"] {
        match refused(&[with(OPEN, name.as_bytes())]) {
            PatchError::Source {
                op: 0,
                path: of,
                source: SourceError::Missing,
            } => assert_eq!(of, path(name)),
            other => panic!("{other:?}"),
        }
    }
    // The root is no file either.
    for name in ["", "/", "./.", "//"] {
        let error = refused(&[with(OPEN, name.as_bytes())]);
        assert!(matches!(error, PatchError::Source { .. }), "{error:?}");
    }
}

#[test]
fn dictionaries_over_the_limit_are_refused_before_they_are_read() {
    let ops = [with(OPEN, b"a"), with(DICTIONARY, &frame(b"x"))].concat();
    let bytes = delta(V2, &ops);
    for size in [(1 << 30) + 1, 1 << 40, u64::MAX] {
        match apply(&bytes, Claims(size)) {
            Err(PatchError::Dictionary {
                op: 1, found, max, ..
            }) => {
                assert!(found >= size);
                assert_eq!(max, 1 << 30);
            }
            other => panic!("{size} {other:?}"),
        }
    }
    let payload = frame(b"x").len() as u64;
    let mut options = PatchOptions {
        dictionary_bytes: 10 + payload,
        ..PatchOptions::default()
    };
    assert_eq!(apply_with(&bytes, old(), &options).unwrap(), b"x");
    options.dictionary_bytes -= 1;
    assert!(matches!(
        apply_with(&bytes, old(), &options),
        Err(PatchError::Dictionary { .. })
    ));
}

#[test]
fn frames_that_a_dictionary_does_not_fit_are_refused() {
    let far = Random::new(6).bytes(200);
    let payloads: [&[u8]; 4] = [
        b"not a frame at all",
        &frame(b"some bytes, cut")[..12],
        // It copies from 200 bytes back, and the file has 10.
        &patch_frame(&far, &far),
        // Made with dictionary number 1.
        b"\x28\xb5\x2f\xfd\x21\x01\x01\x09\0\0x",
    ];
    for payload in payloads {
        let error = refused(&[with(OPEN, b"a"), with(DICTIONARY, payload)]);
        assert!(
            matches!(error, PatchError::Frame { op: 1, .. }),
            "{error:?}"
        );
    }
}

#[test]
fn windows_of_dictionary_frames_over_the_limit_are_refused() {
    let with_window = |log| {
        let payload = frame_with_window(log, b"x");
        delta(V2, &[with(OPEN, b"a"), with(DICTIONARY, &payload)].concat())
    };
    assert_eq!(apply(&with_window(20), old()).unwrap(), b"x");
    assert!(matches!(
        apply(&with_window(30), old()),
        Err(PatchError::Frame { op: 1, .. })
    ));
    for log in [0, 10, 19] {
        let options = PatchOptions {
            dictionary_window_log: log,
            ..PatchOptions::default()
        };
        assert!(matches!(
            apply_with(&with_window(20), old(), &options),
            Err(PatchError::Frame { op: 1, .. })
        ));
    }
}

#[test]
fn a_source_that_is_shorter_than_it_says_is_an_error() {
    struct Shorter;
    impl ReadAt for Shorter {
        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            b"short".read_exact_at(buffer, offset)
        }
        fn size(&self) -> io::Result<u64> {
            Ok(10)
        }
    }
    impl Sources for Shorter {
        fn open(&self, _: &TreePath) -> Result<Box<dyn ReadAt + Send>, SourceError> {
            Ok(Box::new(Self))
        }
    }
    let ops = [
        op(COPY, 10, b""),
        with(ADD, &[0; 10]),
        with(DICTIONARY, &frame(b"x")),
    ];
    for op in ops {
        let bytes = delta(V2, &[with(OPEN, b"a"), op].concat());
        match apply(&bytes, Shorter) {
            Err(PatchError::Source {
                op: 1,
                source: SourceError::Read(e),
                ..
            }) => assert_eq!(e.kind(), io::ErrorKind::UnexpectedEof),
            other => panic!("{other:?}"),
        }
    }
}
