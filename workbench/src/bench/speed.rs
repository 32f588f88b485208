//! The single steps of a build, each alone: what the machine could do if nothing else cost anything.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use sha2::{Digest as _, Sha256};

use xtask::error::{At as _, Error};

/// Arguments of the hidden `cargo xtask speed`, which `bench` runs as a command of its own to measure it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    step: Step,
    /// One file; of `inflate-sha256` any number.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Step {
    /// Inflate a gzip file with the decoder the product uses.
    Inflate,
    /// Inflate a gzip file with zlib-rs.
    InflateZlibRs,
    /// Inflate gzip files in one thread, SHA-256 of what comes out in another.
    InflateSha256,
    /// SHA-256 of a file.
    Sha256,
    /// Read a file.
    Read,
}

/// Does one step.
pub(crate) fn run(args: &Args) -> Result<(), Error> {
    let mut bytes = 0;
    for file in &args.files {
        bytes += one(args.step, file)?;
    }
    writeln!(io::stderr(), "{bytes} bytes").at("write to", Path::new("standard error"))
}

fn one(step: Step, path: &Path) -> Result<u64, Error> {
    let file = File::open(path).at("open", path)?;
    let reader = BufReader::with_capacity(256 << 10, file);
    let bytes = match step {
        Step::Inflate => drain(lithify_inflate::GzipReader::new(reader), |_| {}),
        Step::InflateZlibRs => drain(flate2::bufread::MultiGzDecoder::new(reader), |_| {}),
        Step::InflateSha256 => inflate_sha256(reader),
        Step::Sha256 => {
            let mut hasher = Sha256::new();
            let bytes = drain(reader, |data| hasher.update(data));
            // Printed, so that no compiler can find the work needless.
            eprintln!("{:02x?}", hasher.finalize());
            bytes
        }
        Step::Read => drain(reader, |_| {}),
    };
    bytes.at("read", path)
}

/// Both at once, as a build on two processors could at best.
fn inflate_sha256(reader: impl BufRead) -> io::Result<u64> {
    let (to_hasher, full) = mpsc::sync_channel::<Vec<u8>>(16);
    let (give_back, empty) = mpsc::sync_channel::<Vec<u8>>(32);
    // Moved, so that the channel closes when the decoder is done, before the hasher is waited for.
    std::thread::scope(move |scope| {
        scope.spawn(move || {
            let mut hasher = Sha256::new();
            for buffer in full {
                hasher.update(&buffer);
                if give_back.send(buffer).is_err() {
                    // The decoder failed; what is left is of no use.
                    break;
                }
            }
            eprintln!("{:02x?}", hasher.finalize());
        });
        let mut reader = lithify_inflate::GzipReader::new(reader);
        let mut total = 0;
        loop {
            let mut buffer = empty.try_recv().unwrap_or_default();
            buffer.resize(256 << 10, 0);
            let read = reader.read(&mut buffer)?;
            if read == 0 {
                return Ok(total);
            }
            buffer.truncate(read);
            total += read as u64;
            to_hasher
                .send(buffer)
                .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        }
    })
}

fn drain(mut reader: impl Read, mut each: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(total),
            n => {
                each(&buffer[..n]);
                total += n as u64;
            }
        }
    }
}
