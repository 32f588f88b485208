//! What the tests share: tars made byte by byte, and a reader that runs every layer both ways.
#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod oracles;
pub(crate) mod written; // what the tar writer is given

use std::fmt;
use std::io::{Cursor, Read, Write};
use std::ops::Deref;
use std::process::{Command, Stdio};

use lithify_digest::{Algorithm, Digest};
use lithify_layer::{
    EntryFault, Error, Expected, LayerReader, Limits, Options, Summary, TarFault, Threading,
};
use lithify_tree::{DataSegment, Entry, EntryKind};

pub(crate) const BLOCK: usize = 512;

/// A header block under construction.
#[derive(Clone)]
pub(crate) struct Header([u8; BLOCK]);

impl Header {
    /// A POSIX header of mode 0644, size 0, everything else zero.
    pub(crate) fn new(typeflag: u8, name: &[u8]) -> Self {
        let mut block = [0; BLOCK];
        block[..name.len()].copy_from_slice(name);
        block[156] = typeflag;
        let header = Self(block).magic(b"ustar\x0000");
        header
            .field(100, b"0000644\0")
            .field(108, b"0000000\0")
            .field(116, b"0000000\0")
            .size(0)
            .field(136, b"00000000000\0")
    }

    pub(crate) fn gnu(typeflag: u8, name: &[u8]) -> Self {
        Self::new(typeflag, name).magic(b"ustar  \0")
    }

    pub(crate) fn v7(typeflag: u8, name: &[u8]) -> Self {
        Self::new(typeflag, name).magic(&[0; 8])
    }

    pub(crate) fn magic(self, magic: &[u8; 8]) -> Self {
        self.field(257, magic)
    }

    pub(crate) fn size(self, size: u64) -> Self {
        self.field(124, format!("{size:011o}\0").as_bytes())
    }

    pub(crate) fn link(self, target: &[u8]) -> Self {
        self.field(157, target)
    }

    pub(crate) fn field(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// With its checksum.
    pub(crate) fn block(mut self) -> [u8; BLOCK] {
        self.0[148..156].fill(b' ');
        let sum: u32 = self.0.iter().map(|&b| u32::from(b)).sum();
        self.0[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}

/// A tar under construction.
#[derive(Clone, Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A header and its data, padded. The header's size is not touched.
    pub(crate) fn raw(mut self, header: Header, data: &[u8]) -> Self {
        self.0.extend_from_slice(&header.block());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    /// A header and its data; the header's size is the data's.
    pub(crate) fn member(self, header: Header, data: &[u8]) -> Self {
        self.raw(header.size(data.len() as u64), data)
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.member(Header::new(b'0', name.as_bytes()), data)
    }

    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.member(Header::new(b'x', b"pax"), &pax_body(records))
    }

    pub(crate) fn global(self, records: &[(&str, &[u8])]) -> Self {
        self.member(Header::new(b'g', b"pax"), &pax_body(records))
    }

    pub(crate) fn blocks(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Two zero blocks, and the bytes.
    pub(crate) fn end(self) -> Vec<u8> {
        self.blocks(&[0; 2 * BLOCK]).0
    }
}

pub(crate) fn pax_body(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length = (1..)
            .map(|digits| rest + digits)
            .find(|n| n.to_string().len() + rest == *n)
            .unwrap();
        body.extend_from_slice(format!("{length} {key}=").as_bytes());
        body.extend_from_slice(value);
        body.push(b'\n');
    }
    body
}

/// What a layer came to.
pub(crate) type Outcome = Result<(Vec<(Entry, Bytes)>, Summary), Error>;

/// A file's data; shown as its length.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, {}", self.0.len(), sha256(&self.0))
    }
}

/// Reads a whole layer.
pub(crate) fn decode_with(
    blob: impl Read + Send + 'static,
    expected: Expected,
    options: Options,
) -> Outcome {
    let mut layer = LayerReader::new(blob, expected, options)?;
    let mut entries = Vec::new();
    while let Some(entry) = layer.next_entry()? {
        let mut data = Vec::new();
        while let Some(piece) = layer.next_data()? {
            data.extend_from_slice(piece);
        }
        entries.push((entry, Bytes(data)));
    }
    Ok((entries, layer.finish()?))
}

/// Reads a whole layer with threads and without, which have to agree on everything.
pub(crate) fn decode(blob: &[u8], expected: Expected, limits: Limits) -> Outcome {
    let run = |threading| {
        let mut options = Options {
            limits,
            ..Options::default()
        };
        options.threading = threading;
        decode_with(Cursor::new(blob.to_vec()), expected, options)
    };
    let (inline, pipelined) = (run(Threading::Inline), run(Threading::Pipelined));
    assert_eq!(format!("{inline:?}"), format!("{pipelined:?}"));
    inline
}

/// The entries and data of a tar nothing is known of.
pub(crate) fn read(tar: &[u8]) -> Result<Vec<(Entry, Bytes)>, Error> {
    decode(tar, Expected::nothing(), Limits::default()).map(|(entries, _)| entries)
}

/// The only entry of a tar.
pub(crate) fn only(tar: &[u8]) -> (Entry, Bytes) {
    let mut entries = read(tar).unwrap();
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries.remove(0)
}

/// The paths of a tar's entries.
pub(crate) fn paths(tar: &[u8]) -> Vec<String> {
    read(tar)
        .unwrap()
        .iter()
        .map(|(entry, _)| String::from_utf8(entry.path.as_bytes().to_vec()).unwrap())
        .collect()
}

/// What is wrong with a tar.
pub(crate) fn fault(tar: &[u8]) -> TarFault {
    fault_within(tar, Limits::default())
}

pub(crate) fn fault_within(tar: &[u8], limits: Limits) -> TarFault {
    match decode(tar, Expected::nothing(), limits) {
        Err(Error::Tar(error)) => error.fault,
        other => panic!("no fault of the tar: {other:?}"),
    }
}

/// Why a member of a tar is no entry of a layer.
pub(crate) fn entry_fault(tar: &[u8]) -> EntryFault {
    match decode(tar, Expected::nothing(), Limits::default()) {
        Err(Error::Entry(error)) => error.fault,
        other => panic!("no fault of an entry: {other:?}"),
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 1).unwrap()
}

/// Data that compresses some, the same each time.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    (0..length)
        .map(|i| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            if i % 64 < 40 {
                (i / 64) as u8
            } else {
                (state >> 56) as u8
            }
        })
        .collect()
}

/// Runs a program with bytes on its standard input; its output and whether it succeeded. `None`, said aloud, if it is missing.
pub(crate) fn run(
    program: &str,
    arguments: &[&str],
    input: &[u8],
) -> Option<(Vec<u8>, Vec<u8>, bool)> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        eprintln!("skipped: needs {program}");
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A program may stop reading early.
        drop(stdin.write_all(&input));
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Some((output.stdout, output.stderr, output.status.success()))
}

/// An entry's data with its holes filled.
pub(crate) fn expand(entry: &Entry, data: &[u8]) -> Vec<u8> {
    match &entry.kind {
        EntryKind::File {
            size,
            segments: Some(segments),
        } => {
            let mut out = vec![0; usize::try_from(*size).unwrap()];
            let mut at = 0;
            for DataSegment { offset, length } in segments {
                let (offset, length) = (
                    usize::try_from(*offset).unwrap(),
                    usize::try_from(*length).unwrap(),
                );
                out[offset..offset + length].copy_from_slice(&data[at..at + length]);
                at += length;
            }
            assert_eq!(at, data.len());
            out
        }
        _ => data.to_vec(),
    }
}
