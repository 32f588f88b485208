//! What real encoders write, at all levels and with all strategies.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use lithify_inflate::GzipReader;

use crate::common::{Rng, Verdict, ours};

/// Inputs of different kinds, each some hundred KiB: text-like, binary, noise, runs, and a mixture.
fn samples() -> Vec<Vec<u8>> {
    let mut rng = Rng::new(42);
    let words: Vec<Vec<u8>> = (0..500)
        .map(|_| {
            (0..2 + rng.below(9))
                .map(|_| b'a' + rng.below(26) as u8)
                .collect()
        })
        .collect();
    let mut text = Vec::new();
    while text.len() < 400_000 {
        let word = rng.below(500);
        text.extend(&words[word.min(rng.below(500))]);
        text.push(if rng.chance(12) { b'\n' } else { b' ' });
    }
    let mut binary = Vec::new();
    while binary.len() < 400_000 {
        let bits = rng.below(30);
        let value = rng.below(1 << bits) as u32;
        binary.extend(value.to_le_bytes());
        if rng.chance(9) && binary.len() > 100 {
            let at = rng.below(binary.len() - 50);
            let copy = binary[at..at + 4 + rng.below(40)].to_vec();
            binary.extend(copy);
        }
    }
    let noise: Vec<u8> = (0..200_000).map(|_| rng.next() as u8).collect();
    let mut runs = Vec::new();
    while runs.len() < 2_000_000 {
        let period: Vec<u8> = (0..1 + rng.below(40)).map(|_| rng.next() as u8).collect();
        for _ in 0..rng.below(3000) {
            runs.extend(&period);
        }
    }
    let mixture = [
        &text[..100_000],
        &noise[..70_000],
        &binary[..100_000],
        &runs[..300_000],
        &text,
    ]
    .concat();
    vec![
        text,
        binary,
        noise,
        runs,
        mixture,
        vec![],
        vec![0; 5_000_000],
    ]
}

#[test]
fn flate2_levels() {
    for data in samples() {
        for level in 0..=9 {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
            encoder.write_all(&data).unwrap();
            let input = encoder.finish().unwrap();
            let mut out = Vec::new();
            GzipReader::new(&input[..]).read_to_end(&mut out).unwrap();
            assert!(out == data, "level {level}");
        }
    }
}

fn run(command: &str, args: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let child = Command::new(command)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("skipped: needs {command}");
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{command} {args:?}");
    Some(output.stdout)
}

#[test]
fn gzip_and_pigz() {
    for (command, args) in [
        ("gzip", &["-1"][..]),
        ("gzip", &["-6"]),
        ("gzip", &["-9"]),
        ("pigz", &["-1"]),
        ("pigz", &["-9", "-b", "32"]),
        ("pigz", &["-6", "-i", "-b", "128"]),
        ("pigz", &["-11", "-I", "2"]),
        ("pigz", &["-0"]),
        ("pigz", &["-H"]),
        ("pigz", &["-U"]),
    ] {
        for data in samples() {
            let data = if args.contains(&"-11") {
                &data[..data.len().min(50_000)]
            } else {
                &data
            };
            let Some(input) = run(command, args, data) else {
                return;
            };
            let mut out = Vec::new();
            GzipReader::new(&input[..]).read_to_end(&mut out).unwrap();
            assert!(out == data, "{command} {args:?}");
        }
    }
}

/// zlib itself, through Python: strategies (filtered, Huffman only, run lengths, fixed codes),
/// window sizes, memory levels, and flushes of all kinds in between.
#[test]
fn zlib_strategies() {
    const SCRIPT: &str = "
import sys, struct, zlib
data = sys.stdin.buffer.read()
for level in (1, 6, 9):
    for strategy in range(5):
        for wbits in (9, 12, 15):
            for mem in (1, 8):
                c = zlib.compressobj(level, zlib.DEFLATED, -wbits, mem, strategy)
                out = b''
                step = len(data) // 5 + 1
                for i, at in enumerate(range(0, len(data), step)):
                    out += c.compress(data[at:at + step])
                    if mem == 1:
                        out += c.flush((zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_PARTIAL_FLUSH, zlib.Z_BLOCK, zlib.Z_SYNC_FLUSH)[i])
                out += c.flush()
                sys.stdout.buffer.write(struct.pack('<I', len(out)) + out)
";
    for data in samples() {
        let data = &data[..data.len().min(200_000)];
        let Some(output) = run("python3", &["-c", SCRIPT], data) else {
            return;
        };
        let mut streams = 0;
        let mut rest = &output[..];
        while !rest.is_empty() {
            let (len, after) = rest.split_at(4);
            let len = u32::from_le_bytes(len.try_into().unwrap()) as usize;
            let (stream, after) = after.split_at(len);
            rest = after;
            assert_eq!(
                ours(stream).0,
                Verdict::Accepted {
                    out: data.to_vec(),
                    consumed: len
                },
                "stream {streams}"
            );
            streams += 1;
        }
        assert_eq!(streams, 3 * 5 * 3 * 2);
    }
}
