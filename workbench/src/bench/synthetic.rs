//! Archives too large to keep: written to standard output as they are wanted.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use lithify_testkit::{Tar, TarEntry};

use xtask::error::{At as _, Error};

/// Arguments of the hidden `cargo xtask generate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    kind: Kind,
    /// How many entries, or how many bytes.
    amount: u64,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    /// Small files, a thousand in each directory.
    Entries,
    /// One file without holes.
    File,
}

/// Writes the archive.
pub(crate) fn run(args: &Args) -> Result<(), Error> {
    let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    match args.kind {
        Kind::Entries => entries(&mut out, args.amount),
        Kind::File => file(&mut out, args.amount),
    }
    .and_then(|()| out.write_all(&[0; 1024]))
    .and_then(|()| out.flush())
    .at("write to", Path::new("standard output"))
}

/// Entries in one directory, itself counted.
const PER_DIRECTORY: u64 = 1000;

/// Directories full of small files.
pub(super) fn entries(out: &mut impl Write, count: u64) -> io::Result<()> {
    for n in 0..count {
        let mut tar = Tar::new();
        let dir = directory(n / PER_DIRECTORY);
        if n % PER_DIRECTORY == 0 {
            tar.add(TarEntry::directory(&dir));
        } else {
            let time = 1_600_000_000 + i64::try_from(n % 1_000_000).unwrap_or(0);
            tar.add(
                TarEntry::file(format!("{dir}/{}", file_name(n)), n.to_string()).mtime(time, 0),
            );
        }
        out.write_all(&tar.unfinished())?;
    }
    Ok(())
}

/// Whiteouts of `count` of the files that `entries(of)` makes, as many in each directory.
pub(super) fn whiteouts(out: &mut impl Write, of: u64, count: u64) -> io::Result<()> {
    let directories = of / PER_DIRECTORY;
    for number in 0..directories {
        let dir = directory(number);
        let mut tar = Tar::new();
        tar.add(TarEntry::directory(&dir));
        for n in 1..=count / directories {
            let name = file_name(number * PER_DIRECTORY + n);
            tar.add(TarEntry::whiteout(format!("{dir}/{name}")));
        }
        out.write_all(&tar.unfinished())?;
    }
    Ok(())
}

fn directory(number: u64) -> String {
    format!("data/{number:04}")
}

fn file_name(number: u64) -> String {
    format!("file-{number:07}.txt")
}

/// A header alone, then data that no two blocks of share.
fn file(out: &mut impl Write, size: u64) -> io::Result<()> {
    let mut tar = Tar::new();
    tar.add(TarEntry::file("big", "").record("size", size.to_string()));
    out.write_all(&tar.unfinished())?;
    let mut block = vec![0u8; 4096];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for word in block.chunks_exact_mut(8) {
        // xorshift64 (Marsaglia 2003)
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    let mut left = size;
    let mut number = 0u64;
    while left > 0 {
        block[..8].copy_from_slice(&number.to_le_bytes());
        let part = left.min(block.len() as u64);
        out.write_all(&block[..usize::try_from(part).unwrap_or(block.len())])?;
        left -= part;
        number += 1;
    }
    let padding = usize::try_from(size.next_multiple_of(512) - size).unwrap_or(0);
    out.write_all(&vec![0; padding])
}
