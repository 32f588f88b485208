//! Both users of the parser see the same tar: the one that streams it, and the one that seeks over what it is not asked for.

use lithify_tar::{
    BLOCK, Demand, Detail, Event, Limits, MemberKind, Parser, TarError, TarFault, TarWriter,
};
use lithify_tree::{Device, Entry, EntryKind, Metadata, Timestamp, TreePath, Xattrs};
use proptest::prelude::*;

#[derive(Debug, PartialEq, Eq)]
struct Found {
    path: Vec<u8>,
    link_target: Vec<u8>,
    kind: MemberKind,
    size: u64,
    offset: u64,
}

fn found(parser: &mut Parser) -> Found {
    let (offset, size) = (parser.offset(), parser.data_left());
    let member = parser.member();
    Found {
        path: member.path.clone(),
        link_target: member.link_target.clone(),
        kind: member.kind,
        size,
        offset,
    }
}

/// Reads a tar in pieces of `step` bytes.
fn streamed(tar: &[u8], step: usize, detail: Detail) -> Result<Vec<Found>, TarError> {
    let mut parser = Parser::new(Limits::default(), detail);
    let mut members = Vec::new();
    for mut piece in tar.chunks(step) {
        loop {
            match parser.next(&mut piece)? {
                Event::Member => members.push(found(&mut parser)),
                Event::NeedInput => break,
                Event::End => return Ok(members),
            }
        }
    }
    parser.finish()?;
    Ok(members)
}

/// Reads only what the parser asks for.
fn sought(tar: &[u8]) -> Result<Vec<Found>, TarError> {
    let mut parser = Parser::new(Limits::default(), Detail::Placement);
    let mut members = Vec::new();
    let mut at = 0;
    loop {
        let left = tar.len() - at;
        match parser.demand() {
            Demand::Nothing => return Ok(members),
            Demand::Skippable(count) if left > 0 => {
                let count = count.min(left as u64);
                parser.skip(count);
                at += count as usize;
            }
            Demand::Bytes(count) if count == 0 || left > 0 => {
                let count = count.min(left as u64) as usize;
                let mut input = &tar[at..at + count];
                let event = parser.next(&mut input)?;
                at += count - input.len();
                if event == Event::Member {
                    members.push(found(&mut parser));
                }
            }
            _ => {
                parser.finish()?;
                return Ok(members);
            }
        }
    }
}

/// Whether a fault lies in what only one of the two reads.
fn of_details(fault: &TarFault) -> bool {
    matches!(
        fault,
        TarFault::Xattr(_)
            | TarFault::XattrEncoding { .. }
            | TarFault::NumberRange { .. }
            | TarFault::PaxValue { .. }
            | TarFault::Limit(_)
    )
}

fn agree(tar: &[u8], step: usize) {
    let sought = sought(tar);
    assert_eq!(sought, streamed(tar, step, Detail::Placement));
    match (streamed(tar, step, Detail::Everything), sought) {
        (Ok(all), Ok(placed)) => assert_eq!(all, placed),
        (Ok(_), Err(error)) => assert_eq!(error.fault, TarFault::SparsePlacement),
        (Err(all), Ok(_)) => assert!(of_details(&all.fault), "{all}"),
        (Err(all), Err(placed)) => {
            let same = all == placed || of_details(&all.fault);
            assert!(
                same || placed.fault == TarFault::SparsePlacement,
                "{all} {placed}"
            );
        }
    }
}

/// One of each kind of header.
fn everything() -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new()).holes(lithify_tar::Holes::Map);
    let mut xattrs = Xattrs::new();
    xattrs.set(b"user.a", b"value").unwrap();
    let metadata = Metadata {
        mode: 0o4755,
        uid: 3_000_000_000,
        gid: 7,
        mtime: Timestamp {
            seconds: -5,
            nanoseconds: 250_000_000,
        },
        xattrs,
    };
    let file = |size| EntryKind::File {
        size,
        segments: None,
    };
    let target = TreePath::clean(b"d/f").unwrap();
    let long = "n".repeat(200);
    let device = Device { major: 1, minor: 3 };
    for (path, kind, data) in [
        ("d", EntryKind::Directory, &b""[..]),
        ("d/f", file(700), &[7; 700]),
        (&long, file(3), b"abc"),
        (
            "s",
            EntryKind::Symlink {
                target: vec![b't'; 150],
            },
            b"",
        ),
        ("h", EntryKind::HardLink { target }, b""),
        ("c", EntryKind::CharDevice(device), b""),
        ("p", EntryKind::Fifo, b""),
        ("empty", file(0), b""),
    ] {
        let path = TreePath::clean(path.as_bytes()).unwrap();
        let metadata = metadata.clone();
        tar.append(&Entry {
            path,
            metadata,
            kind,
        })
        .unwrap();
        tar.data(data).unwrap();
    }
    tar.finish().unwrap()
}

/// Makes the checksums right, or no change would get past them.
fn seal(tar: &mut [u8]) {
    for block in tar.chunks_exact_mut(BLOCK) {
        if lithify_tar::has_magic(block) {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

#[test]
fn a_tar_is_the_same_however_it_is_read() {
    let tar = everything();
    assert_eq!(sought(&tar).unwrap().len(), 8);
    for step in [1, 7, 511, 512, 513, tar.len()] {
        agree(&tar, step);
    }
    for length in 0..tar.len() {
        agree(&tar[..length], 512);
    }
}

proptest! {
    #[test]
    fn so_is_any_other(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut: prop::sample::Index,
        step in 1usize..2000,
    ) {
        let mut tar = everything();
        for (at, byte) in changes {
            let at = at.index(tar.len());
            tar[at] = byte;
        }
        seal(&mut tar);
        agree(&tar, step);
        agree(&tar[..cut.index(tar.len())], step);
    }
}
