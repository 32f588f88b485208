//! Decoding throughput on gzip files, next to flate2 with zlib-rs.
//!
//! ```text
//! cargo run --release -p lithify-inflate --example throughput -- [-n ROUNDS] FILE.gz…
//! ```
//!
//! Each round decodes each file with each decoder in turn, so that a noisy machine is unfair to
//! all of them alike. The figure is the best round: megabytes of output per second of processor
//! time (of wall-clock time where the system has no `/proc`). `-i` leaves out zlib-rs, for
//! profilers; the CRC-32 is computed in every case.

use std::time::Instant;

use flate2::{Decompress, FlushDecompress};
use lithify_inflate::{Gzip, Status, WINDOW_SIZE};

const INPUT: usize = 1 << 20;
const OUTPUT: usize = 512 * 1024;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut rounds = 10;
    let mut files = Vec::new();
    let mut decoders: Vec<Decoder> = vec![("lithify-inflate", ours), ("zlib-rs", zlib_rs)];
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-n" => rounds = args.next().ok_or("-n needs a number")?.parse()?,
            "-i" => decoders.truncate(1),
            _ => files.push(arg),
        }
    }
    if files.is_empty() {
        return Err("usage: throughput [-n ROUNDS] [-i] FILE.gz…".into());
    }
    for file in files {
        let input = std::fs::read(&file)?;
        let mut best = vec![f64::MAX; decoders.len()];
        let mut size = 0;
        for _ in 0..rounds {
            for (best, (_, decode)) in best.iter_mut().zip(&decoders) {
                let start = Clock::start();
                size = decode(&input)?;
                *best = best.min(start.seconds());
            }
        }
        println!("{file}: {size} bytes from {}", input.len());
        for (best, (name, _)) in best.iter().zip(&decoders) {
            println!("  {name:16} {:6.0} MB/s", size as f64 / best / 1e6);
        }
    }
    Ok(())
}

type Decoder = (
    &'static str,
    fn(&[u8]) -> Result<u64, Box<dyn std::error::Error>>,
);

fn ours(input: &[u8]) -> Result<u64, Box<dyn std::error::Error>> {
    let mut gzip = Gzip::new();
    let mut out = vec![0; WINDOW_SIZE + OUTPUT];
    let mut out_pos = 0;
    for mut chunk in input.chunks(INPUT) {
        loop {
            let progress = gzip.decode(chunk, &mut out, out_pos)?;
            chunk = &chunk[progress.consumed..];
            out_pos += progress.produced;
            match progress.status {
                Status::NeedInput => break,
                Status::NeedOutput => {
                    out.copy_within(OUTPUT.., 0);
                    out_pos = WINDOW_SIZE;
                }
                Status::End => {}
            }
        }
    }
    gzip.finish()?;
    Ok(gzip.total_out())
}

fn zlib_rs(input: &[u8]) -> Result<u64, Box<dyn std::error::Error>> {
    let mut decoder = Decompress::new_gzip(15);
    let mut out = vec![0; OUTPUT];
    let mut pos = 0;
    let mut total = 0;
    while pos < input.len() {
        let before = decoder.total_in();
        let chunk = &input[pos..input.len().min(pos + INPUT)];
        let status = decoder.decompress(chunk, &mut out, FlushDecompress::None)?;
        pos += (decoder.total_in() - before) as usize;
        if status == flate2::Status::StreamEnd {
            total += decoder.total_out();
            decoder = Decompress::new_gzip(15);
        }
    }
    Ok(total)
}

/// Processor time of this thread where the kernel tells it, else the time on the wall.
struct Clock {
    wall: Instant,
    cpu: Option<f64>,
}

impl Clock {
    fn start() -> Self {
        Self {
            wall: Instant::now(),
            cpu: cpu_seconds(),
        }
    }

    fn seconds(&self) -> f64 {
        match (self.cpu, cpu_seconds()) {
            (Some(start), Some(end)) if end > start => end - start,
            _ => self.wall.elapsed().as_secs_f64(),
        }
    }
}

fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = stat.split(' ').next()?.parse().ok()?;
    Some(nanoseconds * 1e-9)
}
