//! What the tests share: a bit writer, a generator of valid deflate streams, the reference decoder,
//! and drivers that cut input and output in every way.

use flate2::{Decompress, FlushDecompress};
use lithify_inflate::{DeflateError, Inflate, Status, WINDOW_SIZE, carry_history};

/// A small deterministic generator; the tests need variety, not quality.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 33) as usize) % limit
    }

    pub(crate) fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

/// Writes bits, the first one lowest.
#[derive(Default)]
pub(crate) struct BitWriter {
    pub(crate) bytes: Vec<u8>,
    used: u32,
}

impl BitWriter {
    pub(crate) fn bits(&mut self, value: u32, count: u32) -> &mut Self {
        for i in 0..count {
            if self.used == 0 {
                self.bytes.push(0);
            }
            let last = self.bytes.last_mut().unwrap();
            *last |= ((value >> i & 1) as u8) << self.used;
            self.used = (self.used + 1) % 8;
        }
        self
    }

    /// Writes a Huffman codeword, most significant bit first.
    pub(crate) fn code(&mut self, code: u32, count: u32) -> &mut Self {
        for i in (0..count).rev() {
            self.bits(code >> i & 1, 1);
        }
        self
    }

    pub(crate) fn align(&mut self) -> &mut Self {
        self.used = 0;
        self
    }

    pub(crate) fn stored(&mut self, last: bool, data: &[u8]) -> &mut Self {
        self.bits(u32::from(last), 1).bits(0, 2).align();
        let len = data.len() as u16;
        self.bytes.extend(len.to_le_bytes());
        self.bytes.extend((!len).to_le_bytes());
        self.bytes.extend(data);
        self
    }

    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.used = 0;
        std::mem::take(&mut self.bytes)
    }
}

/// A canonical code: codeword and length of each symbol.
pub(crate) struct Code(pub(crate) Vec<(u32, u32)>);

impl Code {
    pub(crate) fn new(lens: &[u8]) -> Self {
        let mut code = 0;
        let mut codes = vec![(0, 0); lens.len()];
        for len in 1..=15 {
            code <<= 1;
            for (symbol, &l) in lens.iter().enumerate() {
                if l == len {
                    codes[symbol] = (code, u32::from(len));
                    code += 1;
                }
            }
        }
        Self(codes)
    }

    pub(crate) fn fixed_litlen() -> Self {
        let mut lens = [8; 288];
        lens[144..256].fill(9);
        lens[256..280].fill(7);
        Self::new(&lens)
    }

    pub(crate) fn fixed_dist() -> Self {
        Self::new(&[5; 32])
    }

    pub(crate) fn write(&self, symbol: usize, to: &mut BitWriter) {
        let (code, len) = self.0[symbol];
        assert_ne!(len, 0, "symbol {symbol} has no code");
        to.code(code, len);
    }
}

pub(crate) fn length_symbol(length: usize) -> (usize, u32, u32) {
    if length == 258 {
        return (285, 0, 0);
    }
    let mut base = 3;
    for i in 0..28 {
        let extra = if i < 4 { 0 } else { i / 4 - 1 };
        if length < base + (1 << extra) {
            return (257 + i, (length - base) as u32, extra as u32);
        }
        base += 1 << extra;
    }
    unreachable!("length {length}")
}

pub(crate) fn dist_symbol(dist: usize) -> (usize, u32, u32) {
    let mut base = 1;
    for i in 0..30 {
        let extra = if i < 2 { 0 } else { i / 2 - 1 };
        if dist < base + (1 << extra) {
            return (i, (dist - base) as u32, extra as u32);
        }
        base += 1 << extra;
    }
    unreachable!("distance {dist}")
}

pub(crate) fn write_match(
    to: &mut BitWriter,
    litlen: &Code,
    dist: &Code,
    length: usize,
    distance: usize,
) {
    let (symbol, extra, bits) = length_symbol(length);
    litlen.write(symbol, to);
    to.bits(extra, bits);
    let (symbol, extra, bits) = dist_symbol(distance);
    dist.write(symbol, to);
    to.bits(extra, bits);
}

/// Writes the header of a dynamic block, each code length on its own except for runs of zeros.
pub(crate) fn write_dynamic_header(to: &mut BitWriter, last: bool, litlen: &[u8], dist: &[u8]) {
    to.bits(u32::from(last), 1).bits(2, 2);
    to.bits(litlen.len() as u32 - 257, 5)
        .bits(dist.len() as u32 - 1, 5)
        .bits(15, 4);
    // Symbols 0..=15 and 18 in a complete code: 15 of 4 bits, 2 of 5 bits.
    let mut order = [4_u8; 19];
    order[16] = 0;
    order[17] = 0;
    order[15] = 5;
    order[18] = 5;
    for i in [
        16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
    ] {
        to.bits(u32::from(order[i]), 3);
    }
    let code = Code::new(&order);
    let lens: Vec<u8> = litlen.iter().chain(dist).copied().collect();
    let mut i = 0;
    while i < lens.len() {
        let zeros = lens[i..]
            .iter()
            .take(138)
            .take_while(|&&len| len == 0)
            .count();
        if zeros >= 11 {
            code.write(18, to);
            to.bits(zeros as u32 - 11, 7);
            i += zeros;
        } else {
            code.write(usize::from(lens[i]), to);
            i += 1;
        }
    }
}

/// Lengths of a random complete code for `used` of `symbols` symbols, `required` among them.
pub(crate) fn random_lens(
    rng: &mut Rng,
    symbols: usize,
    used: usize,
    required: &[usize],
) -> Vec<u8> {
    let mut leaves = vec![1_u8, 1];
    let deep = rng.chance(3);
    while leaves.len() < used {
        let i = if deep && rng.chance(2) {
            leaves.len() - 1
        } else {
            rng.below(leaves.len())
        };
        if leaves[i] < 15 {
            leaves[i] += 1;
            leaves.push(leaves[i]);
        }
    }
    let mut lens = vec![0; symbols];
    for &symbol in required {
        lens[symbol] = leaves.pop().unwrap();
    }
    while let Some(len) = leaves.pop() {
        loop {
            let symbol = rng.below(symbols);
            if lens[symbol] == 0 {
                lens[symbol] = len;
                break;
            }
        }
    }
    lens
}

/// A valid random deflate stream of all block types, code shapes, lengths and distances.
pub(crate) fn random_stream(seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut to = BitWriter::default();
    let mut produced = 0_usize;
    let blocks = 1 + rng.below(5);
    for block in 0..blocks {
        let last = block + 1 == blocks;
        let symbols = match rng.below(4) {
            0 => rng.below(4),
            1 => rng.below(100),
            _ => rng.below(3000),
        };
        let kind = rng.below(6);
        if kind == 0 {
            let len = if rng.chance(4) { 0 } else { rng.below(40_000) };
            let data: Vec<u8> = (0..len).map(|_| rng.next() as u8).collect();
            to.stored(last, &data);
            produced += len;
            continue;
        }
        let (litlen, dist) = if kind == 1 {
            to.bits(u32::from(last), 1).bits(1, 2);
            (Code::fixed_litlen(), Code::fixed_dist())
        } else {
            let declared = 257 + rng.below(30);
            let used = (2 + rng.below(declared - 1)).max(3);
            let litlen_lens = random_lens(&mut rng, declared, used, &[256]);
            let dist_lens = match rng.below(8) {
                0 => vec![0; 1 + rng.below(30)],
                1 => {
                    let mut lens = vec![0; 1 + rng.below(30)];
                    let only = rng.below(lens.len());
                    lens[only] = 1;
                    lens
                }
                _ => {
                    let declared = 2 + rng.below(29);
                    let used = 2 + rng.below(declared - 1);
                    random_lens(&mut rng, declared, used, &[])
                }
            };
            write_dynamic_header(&mut to, last, &litlen_lens, &dist_lens);
            (Code::new(&litlen_lens), Code::new(&dist_lens))
        };
        let usable = |code: &Code, range: std::ops::Range<usize>| -> Vec<usize> {
            range
                .filter(|&s| code.0.get(s).is_some_and(|&(_, len)| len > 0))
                .collect()
        };
        let literals = usable(&litlen, 0..256);
        let lengths = usable(&litlen, 257..286);
        let distances = usable(&dist, 0..30);
        let match_bias = 1 + rng.below(8);
        for _ in 0..symbols {
            // Distances whose every value is within what was produced.
            let in_reach =
                distances.partition_point(|&s| dist_range(s).1 <= produced.min(WINDOW_SIZE));
            let matches = !lengths.is_empty() && in_reach > 0;
            if matches && (literals.is_empty() || !rng.chance(match_bias + 1)) {
                let symbol = lengths[rng.below(lengths.len())];
                litlen.write(symbol, &mut to);
                let (low, extra) = length_range(symbol);
                let value = rng.below(1 << extra);
                to.bits(value as u32, extra);
                produced += low + value;
                let symbol = distances[rng.below(in_reach)];
                dist.write(symbol, &mut to);
                let (low, high) = dist_range(symbol);
                let extra = (high - low + 1).trailing_zeros();
                to.bits(rng.below(1 << extra) as u32, extra);
            } else if !literals.is_empty() {
                litlen.write(literals[rng.below(literals.len())], &mut to);
                produced += 1;
            }
        }
        litlen.write(256, &mut to);
    }
    to.take()
}

fn length_range(symbol: usize) -> (usize, u32) {
    (3..=258)
        .map(|length| (length, length_symbol(length)))
        .find(|(_, (s, ..))| *s == symbol)
        .map(|(length, (_, _, bits))| (length, bits))
        .unwrap()
}

fn dist_range(symbol: usize) -> (usize, usize) {
    let mut base = 1;
    for i in 0..symbol {
        base += 1 << if i < 2 { 0 } else { i / 2 - 1 };
    }
    let extra = if symbol < 2 { 0 } else { symbol / 2 - 1 };
    (base, base + (1 << extra) - 1)
}

/// What a decoder made of a raw deflate stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The stream ended after `consumed` bytes of the input.
    Accepted {
        out: Vec<u8>,
        consumed: usize,
    },
    /// The input ended before the stream did; `out` is what could be decoded.
    Truncated {
        out: Vec<u8>,
    },
    Rejected,
}

/// The verdict of flate2 (zlib-rs).
pub(crate) fn reference(input: &[u8]) -> Verdict {
    let mut decoder = Decompress::new(false);
    let mut out = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let (before_in, before_out) = (decoder.total_in(), decoder.total_out());
        let rest = &input[before_in as usize..];
        let result = decoder.decompress(rest, &mut buffer, FlushDecompress::None);
        let produced = (decoder.total_out() - before_out) as usize;
        out.extend(&buffer[..produced]);
        match result {
            Err(_) => return Verdict::Rejected,
            Ok(flate2::Status::StreamEnd) => {
                return Verdict::Accepted {
                    out,
                    consumed: decoder.total_in() as usize,
                };
            }
            Ok(_) if produced == 0 && decoder.total_in() == before_in => {
                return Verdict::Truncated { out };
            }
            Ok(_) => {}
        }
    }
}

/// Our verdict, with input chunks and output buffers of the sizes that the functions give.
pub(crate) fn ours_cut(
    input: &[u8],
    mut in_chunk: impl FnMut() -> usize,
    mut out_room: impl FnMut() -> usize,
) -> (Verdict, Option<DeflateError>) {
    let mut decoder = Inflate::new();
    let mut all = Vec::new();
    let mut pos = 0;
    let mut chunk_end = in_chunk().min(input.len());
    let mut buffer = vec![0xa5; out_room()];
    let mut out_pos = 0;
    loop {
        let progress = match decoder.decode(&input[pos..chunk_end], &mut buffer, out_pos) {
            Ok(progress) => progress,
            Err(error) => {
                assert_eq!(
                    decoder.decode(&[], &mut buffer, out_pos),
                    Err(error),
                    "sticky"
                );
                return (Verdict::Rejected, Some(error));
            }
        };
        pos += progress.consumed;
        all.extend(&buffer[out_pos..out_pos + progress.produced]);
        out_pos += progress.produced;
        assert_eq!(decoder.total_in(), pos as u64);
        assert_eq!(decoder.total_out(), all.len() as u64);
        match progress.status {
            Status::NeedInput => {
                assert_eq!(
                    pos, chunk_end,
                    "all input is consumed before more is asked for"
                );
                if pos == input.len() {
                    return (Verdict::Truncated { out: all }, None);
                }
                chunk_end = (pos + in_chunk()).min(input.len());
            }
            Status::NeedOutput => {
                assert_eq!(
                    out_pos,
                    buffer.len(),
                    "the buffer is full before room is asked for"
                );
                let mut next = vec![0xa5; WINDOW_SIZE + out_room()];
                out_pos = carry_history(&buffer[..out_pos], &mut next);
                next.truncate(out_pos + out_room());
                buffer = next;
            }
            Status::End => {
                assert!(decoder.is_done());
                return (
                    Verdict::Accepted {
                        out: all,
                        consumed: pos,
                    },
                    None,
                );
            }
        }
    }
}

/// Our verdict with large buffers.
pub(crate) fn ours(input: &[u8]) -> (Verdict, Option<DeflateError>) {
    ours_cut(input, || 1 << 20, || 512 * 1024)
}

/// Checks all ways of decoding `stream` against the reference: as it is; with bytes after it, so
/// that the fast loop gets to see its end; after stored blocks that fill the window, so that it
/// runs without distance checks; and with random cuts.
pub(crate) fn check_all_ways(stream: &[u8], seed: u64) {
    let mut rng = Rng::new(seed ^ 0x5eed);
    let mut padded = stream.to_vec();
    padded.extend((0..100).map(|_| rng.next() as u8));
    let history: Vec<u8> = (0..40_000).map(|_| rng.next() as u8).collect();
    let mut after_window = BitWriter::default().stored(false, &history).take();
    after_window.extend(&padded);
    for input in [stream, &padded, &after_window] {
        let expected = reference(input);
        assert_eq!(ours(input).0, expected, "seed {seed}");
        for _ in 0..3 {
            let limits = [1 + rng.below(50), 1 + rng.below(3000)];
            let mut rng2 = Rng::new(rng.next());
            let mut rng3 = Rng::new(rng.next());
            let got = ours_cut(
                input,
                || 1 + rng2.below(limits[0]),
                || 1 + rng3.below(limits[1]) + if rng3.chance(3) { 2000 } else { 0 },
            );
            assert_eq!(got.0, expected, "seed {seed}, limits {limits:?}");
        }
    }
}
