//! Inputs that are the same in every run, and in the Go program whose output is pinned.

use std::io::Write;

use lithify_deflate::{GoGzip, Level};

/// SplitMix64.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn byte(&mut self) -> u8 {
        (self.next() >> 56) as u8
    }
}

/// Bytes that do not compress.
pub(crate) fn noise(rng: &mut Rng, len: usize) -> Vec<u8> {
    (0..len).map(|_| rng.byte()).collect()
}

/// Words of a small vocabulary, some more frequent than others.
pub(crate) fn text(rng: &mut Rng, len: usize) -> Vec<u8> {
    let words: Vec<Vec<u8>> = (0..200)
        .map(|_| {
            let letters = 2 + rng.below(9);
            (0..letters).map(|_| b'a' + rng.below(26) as u8).collect()
        })
        .collect();
    let mut out = Vec::new();
    while out.len() < len {
        let (left, right) = (rng.below(200), rng.below(200));
        out.extend(&words[(left * right / 200) as usize]);
        out.push(if rng.below(12) == 0 { b'\n' } else { b' ' });
    }
    out.truncate(len);
    out
}

/// The same byte many times, then another one.
pub(crate) fn runs(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while out.len() < len {
        let byte = b'0' + rng.below(8) as u8;
        let count = 1 + rng.below(400);
        out.extend((0..count).map(|_| byte));
    }
    out.truncate(len);
    out
}

/// Noise, zeros, text, copies of what was before, and records, in turns.
pub(crate) fn mixture(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    while out.len() < len {
        match rng.below(5) {
            0 => {
                let count = rng.below(5000) as usize;
                out.extend(noise(rng, count));
            }
            1 => out.resize(out.len() + rng.below(20_000) as usize, 0),
            2 => {
                let count = rng.below(30_000) as usize;
                out.extend(text(rng, count));
            }
            3 => {
                for _ in 0..100 {
                    if out.is_empty() {
                        break;
                    }
                    let distance = 1 + rng.below(out.len().min(33_000) as u64) as usize;
                    let length = rng.below(400);
                    repeat(&mut out, distance, length);
                    out.push(rng.byte());
                }
            }
            _ => {
                for index in 0..rng.below(400) as u16 {
                    out.extend(index.to_le_bytes());
                    out.extend(b"\0\0record      ");
                    out.extend(noise(rng, 2));
                }
            }
        }
    }
    out.truncate(len);
    out
}

/// Long copies from almost as far away as a match may reach.
pub(crate) fn far_copies(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut out = noise(rng, 33_000);
    while out.len() < len {
        let distance = 32_768 - rng.below(300) as usize;
        let length = 4 + rng.below(400);
        repeat(&mut out, distance, length);
        let between = rng.below(3) as usize;
        out.extend(noise(rng, between));
    }
    out.truncate(len);
    out
}

fn repeat(out: &mut Vec<u8>, distance: usize, length: u64) {
    for _ in 0..length {
        out.push(out[out.len() - distance]);
    }
}

pub(crate) fn level(level: i32) -> Level {
    Level::try_from(level).unwrap()
}

/// Compresses an input at once.
pub(crate) fn gzip(input: &[u8], level: Level) -> Vec<u8> {
    let mut gzip = GoGzip::new(Vec::new(), level);
    gzip.write_all(input).unwrap();
    gzip.finish().unwrap()
}
