//! Deltas that nobody honest writes: each ends in an error that says why, and none takes memory by what it claims.

use std::io::{self, BufReader, Read};

use lithify_delta::apply::{Files, Patch, PatchError, PatchOptions};
use lithify_delta::format::{FormatError, Limits, Version};
use lithify_tree::PathError;

use crate::common::{
    ADD, COPY, DATA, DICTIONARY, OPEN, SEEK, V1, V2, apply, apply_with, delta, frame,
    frame_with_window, old, op, patch_frame, read, refused, skippable, with,
};

#[test]
fn something_else_is_no_delta() {
    let others: [&[u8]; 7] = [
        b"",
        b"tardf1\n",
        b"tardf3\n\0",
        b"TARDF1\n\0",
        b"tardf1\r\n\0",
        b"\x28\xb5\x2f\xfd\x20\x08\x41\0\0",
        &[0; 512],
    ];
    for bytes in others {
        match apply(bytes, old()) {
            Err(PatchError::Format(FormatError::Magic { found })) => {
                assert_eq!(found, bytes[..bytes.len().min(8)]);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn lengths_without_bounds_are_refused() {
    for length in [11, 1 << 20, 1 << 40, i64::MAX as u64, 1 << 63, u64::MAX] {
        let open = with(OPEN, b"a");
        let error = refused(&[op(DATA, length, b"0123456789")]);
        assert!(matches!(
            error,
            PatchError::Format(FormatError::Truncated { .. })
        ));
        for code in [COPY, ADD] {
            match refused(&[open.clone(), op(code, length, b"0123456789")]) {
                PatchError::PastEnd {
                    op: 1,
                    position: 0,
                    length: found,
                    size: 10,
                    ..
                } => assert_eq!(found, length),
                other => panic!("{other:?}"),
            }
        }
        let error = refused(&[open.clone(), op(DICTIONARY, length, b"0123456789")]);
        match error {
            PatchError::Dictionary { op: 1, found, .. } => {
                assert_eq!(found, length.saturating_add(10));
                assert!(found > 512 << 20);
            }
            PatchError::Format(FormatError::Truncated { .. }) => assert!(length <= 512 << 20),
            other => panic!("{other:?}"),
        }
        match refused(&[op(OPEN, length.max(4097), b"a")]) {
            PatchError::Format(FormatError::PathLength {
                op: 0, max: 4096, ..
            }) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn paths_that_no_file_has_are_refused() {
    let error = |name: &[u8]| match refused(&[with(DATA, b"x"), with(OPEN, name)]) {
        PatchError::Format(FormatError::Path { op: 1, source }) => source,
        other => panic!("{other:?}"),
    };
    let above: [&[u8]; 5] = [b"..", b"../a", b"/../a", b"d/../a", b"a/.."];
    for name in above {
        assert!(matches!(error(name), PathError::ParentComponent { .. }));
    }
    for name in [&b"a\0"[..], b"\0", b"a\0/../b"] {
        assert!(matches!(error(name), PathError::Nul { .. }));
    }
    let long = vec![b'x'; 256];
    assert!(matches!(error(&long), PathError::ComponentTooLong { .. }));
    for length in [4097, 5000] {
        match refused(&[with(OPEN, &vec![b'/'; length])]) {
            PatchError::Format(FormatError::PathLength {
                op: 0,
                length: found,
                ..
            }) => {
                assert_eq!(found, length as u64);
            }
            other => panic!("{other:?}"),
        }
    }
    // A path is bytes here, so that this is only a file that is not there.
    match refused(&[with(OPEN, b"caf\xe9")]) {
        PatchError::Source { path, .. } => assert_eq!(path.as_bytes(), b"caf\xe9"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_path_that_is_cut_is_no_path() {
    for length in [0, 1, 2, 4095] {
        let error = refused(&[op(
            OPEN,
            length + 1,
            &vec![b'/'; usize::try_from(length).unwrap()],
        )]);
        assert!(matches!(
            error,
            PatchError::Format(FormatError::Truncated { .. })
        ));
    }
}

#[test]
fn operations_that_a_version_does_not_have_are_refused() {
    for magic in [V1, V2] {
        let known = if magic == V1 { SEEK } else { DICTIONARY };
        for code in known + 1..=255 {
            let ops = [with(OPEN, b"a"), with(code, &frame(b"x"))].concat();
            match apply(&delta(magic, &ops), old()) {
                Err(PatchError::Format(FormatError::Opcode {
                    op: 1,
                    code: found,
                    known: most,
                })) => assert_eq!((found, most), (code, known)),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn numbers_that_are_too_large_are_refused() {
    let numbers: [&[u8]; 4] = [
        b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00",
        &[0x80; 100],
    ];
    for number in numbers {
        for code in 0..=5 {
            let error = refused(&[with(DATA, b""), [&[code][..], number].concat()]);
            assert!(
                matches!(error, PatchError::Format(FormatError::Number { op: 1 })),
                "{code} {error:?}"
            );
        }
    }
    // The largest number there is.
    let most = b"\x04\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec();
    let ops = [with(OPEN, b"a"), most].concat();
    assert_eq!(apply(&delta(V1, &ops), old()).unwrap(), b"");
}

#[test]
fn an_operation_that_is_cut_is_an_error() {
    let patch = patch_frame(b"0123456789", b"56789");
    let ops = [
        with(DATA, b"data"),
        with(OPEN, b"a"),
        op(SEEK, 1, b""),
        with(ADD, b"\x01\x02\x03"),
        op(COPY, 4, b""),
        with(DICTIONARY, &patch),
    ];
    let whole = ops.concat();
    let mut ends = vec![0];
    ends.extend(ops.iter().scan(0, |end, op| {
        *end += op.len();
        Some(*end)
    }));
    for cut in 0..whole.len() {
        // The frame is whole, but what is in it is not.
        let result = apply(&delta(V2, &whole[..cut]), old());
        match result {
            Ok(tar) => assert!(ends.contains(&cut), "{cut}: {tar:?}"),
            Err(PatchError::Format(FormatError::Truncated { .. })) => {
                assert!(!ends.contains(&cut), "{cut}");
            }
            Err(other) => panic!("{cut}: {other:?}"),
        }
    }
}

#[test]
fn a_delta_that_is_cut_never_makes_the_whole() {
    let text = b"It was a bright cold day in April, and the clocks were striking thirteen. ";
    let first = [with(DATA, text), with(OPEN, b"a"), op(COPY, 10, b"")].concat();
    let second = [with(OPEN, b"d/b"), op(COPY, 256, b""), with(DATA, b"end")].concat();
    let (first, second) = (frame(&first), frame(&second));
    let mut ends = Vec::new();
    let mut bytes = V1.to_vec();
    for part in [&first, &skippable(b"index"), &second] {
        bytes.extend_from_slice(part);
        ends.push(bytes.len());
    }
    let whole = apply(&bytes, old()).unwrap();
    for cut in 0..bytes.len() {
        match apply(&bytes[..cut], old()) {
            // What is cut between two frames cannot be told from a shorter delta.
            Ok(tar) => {
                assert!(ends.contains(&cut), "{cut}");
                assert!(tar.len() < whole.len() && whole.starts_with(&tar), "{cut}");
            }
            Err(PatchError::Format(FormatError::Magic { .. })) => assert!(cut < 8),
            Err(PatchError::Format(FormatError::Truncated { .. })) => {
                assert!(cut >= 8 && !ends.contains(&cut), "{cut}");
            }
            Err(other) => panic!("{cut}: {other:?}"),
        }
    }
}

#[test]
fn a_changed_byte_is_found_by_the_checksum_or_changes_the_error() {
    let ops = [
        with(DATA, b"some data"),
        with(OPEN, b"a"),
        op(COPY, 10, b""),
    ]
    .concat();
    let bytes = delta(V1, &ops);
    let whole = apply(&bytes, old()).unwrap();
    for at in 8..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            if let Ok(tar) = apply(&damaged, old()) {
                // Only the header's claims about the window and the checksum may change without a trace.
                assert!(at < 14, "{at} {bit}");
                assert_eq!(tar, whole, "{at} {bit}");
            }
        }
    }
}

#[test]
fn garbage_behind_the_last_frame_is_an_error() {
    let good = delta(V1, &with(DATA, b"x"));
    let garbage: [&[u8]; 6] = [
        b"\0",
        b"abc",
        b"\x28\xb5\x2f\xfd",
        &[0; 512],
        b"tardf1\n\0",
        &skippable(b"longer")[..10],
    ];
    for bytes in garbage {
        let error = apply(&[&good, bytes].concat(), old()).unwrap_err();
        assert!(
            matches!(
                error,
                PatchError::Format(FormatError::Read(_) | FormatError::Truncated { .. })
            ),
            "{error:?}"
        );
    }
}

#[test]
fn windows_over_the_limit_are_refused() {
    let ops = with(DATA, b"x");
    let with_window = |log| [V1, &frame_with_window(log, &ops)].concat();
    for log in [10, 20, 27] {
        assert_eq!(apply(&with_window(log), old()).unwrap(), b"x");
    }
    for log in [28, 29, 31, 41] {
        match apply(&with_window(log), old()) {
            Err(PatchError::Format(FormatError::Window { max_log: 27 })) => {}
            other => panic!("{log} {other:?}"),
        }
    }
    let mut options = PatchOptions::default();
    options.limits.window_log = 20;
    match apply_with(&with_window(21), old(), &options) {
        Err(PatchError::Format(FormatError::Window { max_log: 20 })) => {}
        other => panic!("{other:?}"),
    }
    options.limits.window_log = 28;
    assert_eq!(apply_with(&with_window(28), old(), &options).unwrap(), b"x");
    // Not only of the first frame.
    let second = [&with_window(20)[..], &frame_with_window(28, &ops)].concat();
    assert!(matches!(
        apply(&second, old()),
        Err(PatchError::Format(FormatError::Window { .. }))
    ));
}

#[test]
fn limits_on_windows_that_no_decoder_has_are_the_nearest_one() {
    let ops = with(DATA, b"x");
    let with_window = |log| [V1, &frame_with_window(log, &ops)].concat();
    for log in [0, 9, 10, 31, 32, u32::MAX] {
        let options = PatchOptions {
            limits: Limits { window_log: log },
            ..PatchOptions::default()
        };
        let apply = |window| apply_with(&with_window(window), old(), &options);
        assert_eq!(apply(10).unwrap(), b"x", "{log}");
        assert_eq!(apply(11).is_ok(), log > 10, "{log}");
    }
}

/// The same frame without end, behind the magic.
struct Endless {
    start: io::Cursor<Vec<u8>>,
    frame: Vec<u8>,
    at: usize,
    given: u64,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self.start.read(buffer)? {
            0 => {
                let from = self.at % self.frame.len();
                let count = buffer.len().min(self.frame.len() - from);
                buffer[..count].copy_from_slice(&self.frame[from..from + count]);
                self.at += count;
                count
            }
            read => read,
        };
        self.given += read as u64;
        Ok(read)
    }
}

#[test]
fn what_unpacks_to_very_much_is_given_as_it_comes() {
    const SOME: u64 = 64 << 20;
    let start = [V1, &frame(&op(DATA, u64::MAX, b""))].concat();
    let mut delta = Endless {
        start: io::Cursor::new(start),
        frame: frame(&vec![0; 1 << 20]),
        at: 0,
        given: 0,
    };
    let patch = Patch::new(BufReader::new(&mut delta), old(), &PatchOptions::default()).unwrap();
    let read = io::copy(&mut patch.take(SOME), &mut io::sink()).unwrap();
    assert_eq!(read, SOME);
    // One MiB of the result is a few dozen bytes: no more was read than what that takes, and a buffer.
    assert!(delta.given < 32 << 10, "{}", delta.given);
}

#[test]
fn a_dictionary_frame_that_unpacks_to_very_much_is_given_as_it_comes() {
    let payload = frame(&vec![0; 64 << 20]);
    assert!(payload.len() < 16 << 10);
    let ops = [
        with(OPEN, b"a"),
        with(DICTIONARY, &payload),
        with(DATA, b"x"),
    ]
    .concat();
    let bytes = delta(V2, &ops);
    let patch = Patch::new(&*bytes, old(), &PatchOptions::default()).unwrap();
    let mut some = Vec::new();
    patch.take(1000).read_to_end(&mut some).unwrap();
    assert_eq!(some, [0; 1000]);
    let mut patch = Patch::new(&*bytes, old(), &PatchOptions::default()).unwrap();
    assert_eq!(
        io::copy(&mut patch, &mut io::sink()).unwrap(),
        (64 << 20) + 1
    );
}

#[test]
fn operations_that_make_nothing_end() {
    let mut ops = with(OPEN, b"a");
    for _ in 0..100_000 {
        ops.extend(op(SEEK, u64::MAX, b""));
        ops.extend(op(DATA, 0, b""));
        ops.extend(with(OPEN, b"d/b"));
    }
    ops.extend(op(COPY, 1, b""));
    assert_eq!(apply(&delta(V1, &ops), old()).unwrap(), [0]);
}

#[test]
fn payloads_that_are_not_read_are_passed_over() {
    let ops = [
        with(DATA, &[1; 300_000]),
        with(ADD, &[2; 300_000]),
        op(COPY, 7, b""),
    ];
    let bytes = delta(V1, &ops.concat());
    let mut reader = lithify_delta::format::DeltaReader::new(&*bytes, &Limits::default()).unwrap();
    let mut count = 0;
    while reader.next().unwrap().is_some() {
        count += 1;
        assert_eq!(reader.ops(), count);
        // Part of one is fine too.
        if !reader.peek().unwrap().is_empty() {
            reader.consume(1);
        }
    }
    assert_eq!((count, reader.version()), (3, Version::V1));
    let cut = delta(V1, &op(DATA, 10, b"12345"));
    assert!(matches!(read(&cut), Err(FormatError::Truncated { .. })));
    let mut reader = lithify_delta::format::DeltaReader::new(&*cut, &Limits::default()).unwrap();
    reader.next().unwrap();
    assert!(matches!(reader.next(), Err(FormatError::Truncated { .. })));
}

#[test]
fn an_error_stays_one() {
    let bytes = delta(V1, &[with(DATA, b"x"), op(COPY, 1, b"")].concat());
    let mut patch = Patch::new(&*bytes, Files::default(), &PatchOptions::default()).unwrap();
    let mut buffer = [0; 10];
    assert_eq!(patch.read(&mut buffer).unwrap(), 1);
    let inner = |e: io::Error| e.downcast::<PatchError>().unwrap();
    let error = inner(patch.read(&mut buffer).unwrap_err());
    assert!(matches!(error, PatchError::NoSource { op: 1 }));
    for _ in 0..2 {
        let error = inner(patch.read(&mut buffer).unwrap_err());
        assert!(matches!(error, PatchError::Failed));
    }
}

/// A frame of a hundred bytes may be millions of operations that make nothing.
#[test]
fn more_operations_than_what_is_made_needs_are_refused() {
    let idle = [
        with(OPEN, b"a"),
        op(SEEK, 1, b""),
        op(COPY, 0, b""),
        with(DATA, b""),
    ]
    .concat();
    let many = idle.repeat(300_000);
    match apply(&delta(V1, &many), old()) {
        Err(PatchError::Idle { op, made: 0 }) => assert_eq!(op, 1 << 20),
        other => panic!("{other:?}"),
    }
    // What a delta of many short pieces has is no reason to refuse it.
    let piece = [idle.repeat(2), op(COPY, 1, b"")].concat();
    let made = apply(&delta(V1, &piece.repeat(200_000)), old()).unwrap();
    assert_eq!(made.len(), 200_000);
}
