//! The tar parser against the `tar` crate: what lithify accepts, both read the same from. And streamed against sought, as layers and
//! archives are read.
//!
//! Checksums are made right first, or no change would get past them.
#![no_main]

use std::io::{Cursor, Read};

use libfuzzer_sys::fuzz_target;
use lithify_layer::{Expected, LayerReader, Limits, Options, Threading};
use lithify_tar::{Demand, Detail, Event, Parser, TarFault};
use lithify_tree::{EntryKind, TreePath};

const BLOCK: usize = 512;

#[derive(Debug, PartialEq, Eq)]
struct Member {
    path: Vec<u8>,
    data: Vec<u8>,
}

fuzz_target!(|input: &[u8]| {
    let mut tar = input.to_vec();
    for block in tar.chunks_exact_mut(BLOCK) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    placed(&tar);
    let Some(ours) = ours(&tar) else { return };
    if !comparable(&tar) {
        return;
    }
    if let Some(theirs) = theirs(&tar) {
        assert_eq!(ours, theirs);
    }
});

/// Compares both ways of reading where members lie.
fn placed(tar: &[u8]) {
    let mut streamed = Vec::new();
    let mut parser = Parser::new(lithify_tar::Limits::default(), Detail::Placement);
    let mut input = tar;
    let verdict = loop {
        match parser.next(&mut input) {
            Ok(Event::Member) => streamed.push(place(&mut parser)),
            Ok(Event::NeedInput) => break parser.finish(),
            Ok(_) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let mut sought = Vec::new();
    let mut parser = Parser::new(lithify_tar::Limits::default(), Detail::Placement);
    let mut at = 0;
    let again = loop {
        let left = tar.len() - at;
        match parser.demand() {
            Demand::Nothing => break Ok(()),
            Demand::Skippable(count) if left > 0 => {
                let count = count.min(left as u64);
                parser.skip(count);
                at += count as usize;
            }
            Demand::Bytes(count) if count == 0 || left > 0 => {
                let count = count.min(left as u64) as usize;
                let mut input = &tar[at..at + count];
                match parser.next(&mut input) {
                    Ok(Event::Member) => sought.push(place(&mut parser)),
                    Ok(_) => {}
                    Err(error) => break Err(error),
                }
                at += count - input.len();
            }
            _ => break parser.finish(),
        }
    };
    assert_eq!((verdict, &streamed), (again.clone(), &sought));
    for (_, offset, size) in &sought {
        let end = offset.checked_add(*size);
        let cut = matches!(&again, Err(e) if matches!(e.fault, TarFault::Truncated { .. }));
        assert!(cut || end.is_some_and(|end| end <= tar.len() as u64));
    }
}

fn place(parser: &mut Parser) -> (Vec<u8>, u64, u64) {
    let (offset, size) = (parser.offset(), parser.data_left());
    (parser.member().path.clone(), offset, size)
}

/// `None` for what is refused, and for layers with whiteouts, which the other knows nothing of.
fn ours(tar: &[u8]) -> Option<Vec<Member>> {
    let mut limits = Limits::default();
    limits.file_bytes = 1 << 20;
    limits.sparse_segments = 1000;
    let options = Options {
        limits,
        threading: Threading::Inline,
        ..Options::default()
    };
    let mut layer =
        LayerReader::new(Cursor::new(tar.to_vec()), Expected::nothing(), options).ok()?;
    let mut members = Vec::new();
    while let Some(entry) = layer.next_entry().ok()? {
        let mut data = Vec::new();
        while let Some(piece) = layer.next_data().ok()? {
            data.extend_from_slice(piece);
        }
        match entry.kind {
            EntryKind::Whiteout | EntryKind::Opaque => return None,
            EntryKind::File {
                size,
                segments: Some(segments),
            } => {
                let mut whole = vec![0; usize::try_from(size).ok()?];
                let mut at = 0;
                for segment in segments {
                    let (offset, length) = (segment.offset as usize, segment.length as usize);
                    whole[offset..offset + length].copy_from_slice(&data[at..at + length]);
                    at += length;
                }
                assert_eq!(at, data.len());
                data = whole;
            }
            EntryKind::File {
                size,
                segments: None,
            } => assert_eq!(size, data.len() as u64),
            _ => assert!(data.is_empty()),
        }
        members.push(Member {
            path: entry.path.as_bytes().to_vec(),
            data,
        });
    }
    layer.finish().ok()?;
    Some(members)
}

/// What the crate does not know: PAX sparse files, Solaris headers, POSIX headers of another version, newlines in PAX records,
/// which end records to it; and it lists the leftovers of AUFS.
fn comparable(tar: &[u8]) -> bool {
    let has = |needle: &[u8]| tar.windows(needle.len()).any(|w| w == needle);
    let odd = |block: &[u8]| {
        block[156] == b'X' || &block[257..263] == b"ustar\0" && &block[263..265] != b"00"
    };
    let newlines = tar.chunks_exact(BLOCK).enumerate().any(|(number, block)| {
        matches!(block[156], b'x' | b'g') && has_newlines(&tar[(number + 1) * BLOCK..])
    });
    !has(b"GNU.sparse.") && !has(b".wh.") && !newlines && !tar.chunks_exact(BLOCK).any(odd)
}

/// Whether the PAX records at the start of these bytes, as far as they are any, have newlines other than at their ends.
fn has_newlines(mut bytes: &[u8]) -> bool {
    loop {
        let digits = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
        let length = std::str::from_utf8(&bytes[..digits])
            .ok()
            .and_then(|digits| digits.parse::<usize>().ok());
        let Some((record, rest)) = length.and_then(|length| bytes.split_at_checked(length)) else {
            return false;
        };
        match record.split_last() {
            Some((_, before)) if before.contains(&b'\n') => return true,
            Some(_) => bytes = rest,
            None => return false,
        }
    }
}

fn theirs(tar: &[u8]) -> Option<Vec<Member>> {
    let mut archive = tar::Archive::new(Cursor::new(tar));
    let mut members = Vec::new();
    for entry in archive.entries().ok()? {
        let mut entry = entry.ok()?;
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() || kind.as_byte() == b'V' {
            continue;
        }
        let path = TreePath::clean(&entry.path_bytes()).ok()?;
        let mut data = Vec::new();
        entry.read_to_end(&mut data).ok()?;
        if data.len() as u64 != entry.size() {
            return None;
        }
        // The crate takes the size of a directory for that of data; Go, Python, libarchive and GNU tar do not.
        if !data.is_empty() && !matches!(kind.as_byte(), 0 | b'0' | b'7' | b'S') {
            return None;
        }
        members.push(Member {
            path: path.as_bytes().to_vec(),
            data,
        });
    }
    Some(members)
}
