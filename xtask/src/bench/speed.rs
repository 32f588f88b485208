//! The single steps of a build, each alone: what the machine could do if nothing else cost anything.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::error::{At as _, Error};

/// Arguments of the hidden `cargo xtask speed`, which `bench` runs as a command of its own to measure it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    step: Step,
    file: PathBuf,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Step {
    /// Inflate a gzip file with the decoder the product uses.
    Inflate,
    /// Inflate a gzip file with zlib-rs.
    InflateZlibRs,
    /// SHA-256 of a file.
    Sha256,
    /// Read a file.
    Read,
}

/// Does one step.
pub(crate) fn run(args: &Args) -> Result<(), Error> {
    let file = File::open(&args.file).at("open", &args.file)?;
    let reader = BufReader::with_capacity(256 << 10, file);
    let bytes = match args.step {
        Step::Inflate => drain(lithify_inflate::GzipReader::new(reader), |_| {}),
        Step::InflateZlibRs => drain(flate2::bufread::MultiGzDecoder::new(reader), |_| {}),
        Step::Sha256 => {
            let mut hasher = Sha256::new();
            let bytes = drain(reader, |data| hasher.update(data));
            // Printed, so that no compiler can find the work needless.
            eprintln!("{:02x?}", hasher.finalize());
            bytes
        }
        Step::Read => drain(reader, |_| {}),
    };
    let bytes = bytes.at("read", &args.file)?;
    writeln!(io::stderr(), "{bytes} bytes").at("write to", Path::new("standard error"))
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
