//! Deltas written by hand, and what becomes of them. Nothing here uses the code under test to write one.

use std::io::{Read as _, Write as _};

use lithify_delta::apply::{Files, Patch, PatchError, PatchOptions, Sources};
use lithify_delta::format::{DeltaReader, FormatError, Limits, Op, Version};
use lithify_tree::TreePath;
use zstd::stream::write::Encoder;

pub(crate) const V1: &[u8] = b"tardf1\n\0";
pub(crate) const V2: &[u8] = b"tardf2\n\0";

pub(crate) const DATA: u8 = 0;
pub(crate) const OPEN: u8 = 1;
pub(crate) const COPY: u8 = 2;
pub(crate) const ADD: u8 = 3;
pub(crate) const SEEK: u8 = 4;
pub(crate) const DICTIONARY: u8 = 5;

pub(crate) fn path(path: &str) -> TreePath {
    TreePath::clean(path.as_bytes()).unwrap()
}

/// A number as the format has it.
pub(crate) fn uvarint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number % 128) as u8;
        number /= 128;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low + 128);
    }
}

/// An operation without a payload, or with the beginning of one.
pub(crate) fn op(code: u8, number: u64, payload: &[u8]) -> Vec<u8> {
    [&[code][..], &uvarint(number), payload].concat()
}

/// An operation with its whole payload.
pub(crate) fn with(code: u8, payload: &[u8]) -> Vec<u8> {
    op(code, payload.len() as u64, payload)
}

/// One zstd frame with a checksum.
pub(crate) fn frame(bytes: &[u8]) -> Vec<u8> {
    let mut frame = Encoder::new(Vec::new(), 3).unwrap();
    frame.include_checksum(true).unwrap();
    frame.write_all(bytes).unwrap();
    frame.finish().unwrap()
}

/// A frame of one stored block that asks for a window of a size.
pub(crate) fn frame_with_window(window_log: u8, bytes: &[u8]) -> Vec<u8> {
    let block = (u32::try_from(bytes.len()).unwrap() << 3) | 1;
    let mut frame = 0xfd2f_b528_u32.to_le_bytes().to_vec();
    frame.extend([0, (window_log - 10) << 3]);
    frame.extend(&block.to_le_bytes()[..3]);
    frame.extend(bytes);
    frame
}

/// A frame whose dictionary is a file, as `zstd --patch-from` makes it.
pub(crate) fn patch_frame(old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut frame = Encoder::with_ref_prefix(Vec::new(), 19, old).unwrap();
    frame.write_all(new).unwrap();
    frame.finish().unwrap()
}

/// A frame that decoders pass over.
pub(crate) fn skippable(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    [&0x184d_2a53_u32.to_le_bytes()[..], &length, bytes].concat()
}

/// A delta of operations in one frame.
pub(crate) fn delta(magic: &[u8], ops: &[u8]) -> Vec<u8> {
    [magic, &frame(ops)].concat()
}

/// Applies a delta. Errors of reading are what they have inside.
pub(crate) fn apply(delta: &[u8], old: impl Sources) -> Result<Vec<u8>, PatchError> {
    apply_with(delta, old, &PatchOptions::default())
}

pub(crate) fn apply_with(
    delta: &[u8],
    old: impl Sources,
    options: &PatchOptions,
) -> Result<Vec<u8>, PatchError> {
    let mut tar = Vec::new();
    match Patch::new(delta, old, options)?.read_to_end(&mut tar) {
        Ok(_) => Ok(tar),
        Err(e) => Err(e.downcast::<PatchError>().expect("every error is typed")),
    }
}

/// The error of applying operations of version 2 in one frame.
#[track_caller]
pub(crate) fn refused(ops: &[Vec<u8>]) -> PatchError {
    apply(&delta(V2, &ops.concat()), old()).expect_err("it is refused")
}

/// Some old files: `a` with `0123456789`, and `d/b` with every byte.
pub(crate) fn old() -> Files {
    Files::from([
        (path("a"), b"0123456789".to_vec()),
        (path("d/b"), (0..=255).collect()),
    ])
}

/// Operations with their payloads.
type Ops = Vec<(Op, Vec<u8>)>;

/// The operations of a delta.
pub(crate) fn read(delta: &[u8]) -> Result<(Version, Ops), FormatError> {
    let mut reader = DeltaReader::new(delta, &Limits::default())?;
    let mut ops = Vec::new();
    while let Some(op) = reader.next()? {
        let mut payload = Vec::new();
        loop {
            let bytes = reader.peek()?;
            if bytes.is_empty() {
                break;
            }
            payload.extend_from_slice(bytes);
            let count = bytes.len();
            reader.consume(count);
        }
        ops.push((op, payload));
    }
    Ok((reader.version(), ops))
}

/// Panics if a delta has an operation that it does not need, or one that others do not take. In pieces, each of them opens the
/// file that it reads, and may begin with data where the one before ends with some.
#[track_caller]
pub(crate) fn assert_tidy(delta: &[u8], is_in_pieces: bool) {
    let (version, ops) = read(delta).unwrap();
    assert_eq!(version, Version::V1);
    let mut source: Option<TreePath> = None;
    let mut position = 0;
    for (at, (op, _)) in ops.iter().enumerate() {
        let next = ops.get(at + 1).map(|(op, _)| op);
        match op {
            Op::Data(length) => {
                assert!(*length > 0, "operation {at} is empty");
                assert!(
                    is_in_pieces || !matches!(next, Some(Op::Data(_))),
                    "{at} goes on in {next:?}"
                );
            }
            Op::Open(path) => {
                let is_open = source.as_ref() == Some(path);
                assert!(is_in_pieces || !is_open, "{at} opens it again");
                let is_read = matches!(next, Some(Op::Copy(_) | Op::Add(_) | Op::Seek(_)));
                assert!(is_read, "{at} is not read: {next:?}");
                source = Some(path.clone());
                position = 0;
            }
            Op::Copy(length) => {
                assert!(*length > 0, "operation {at} is empty");
                assert!(
                    !matches!(next, Some(Op::Copy(_))),
                    "{at} goes on in {next:?}"
                );
                assert!(source.is_some(), "{at} has no source");
                position += length;
            }
            Op::Add(length) => {
                assert!((1..=64 << 20).contains(length), "{at} is {op:?}");
                assert!(source.is_some(), "{at} has no source");
                position += length;
            }
            Op::Seek(to) => {
                assert_ne!(*to, position, "{at} goes where it is");
                let is_read = matches!(next, Some(Op::Copy(_) | Op::Add(_)));
                assert!(is_read, "{at} is not read: {next:?}");
                position = *to;
            }
            Op::Dictionary(_) => panic!("{at} is of version 2"),
        }
    }
}
