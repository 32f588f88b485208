//! LZ4 blocks, as described by `lz4_Block_format.md` of the LZ4 project: sequences of literals and matches, no header
//! and no checksum. EROFS stores one block per physical cluster.

mod decode; // hostile bytes to data
mod encode; // as much data as fits

pub(crate) use decode::{decode, decode_part};
pub(crate) use encode::Encoder;

/// Shortest match.
const MIN_MATCH: usize = 4;

/// Farthest a match reaches back, in bytes.
const MAX_DISTANCE: usize = 65535;

/// Bytes at the end of a block that are always literals: decoders copy eight bytes at a time and rely on it.
const LAST_LITERALS: usize = 5;

/// Bytes from the start of the last match to the end of a block, at least.
const MATCH_MARGIN: usize = 12;

/// Lengths from this on take further bytes.
const LENGTH_MASK: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Encodes all of `data` into blocks of at most `capacity` bytes and decodes them again.
    fn round_trip(data: &[u8], capacity: usize) -> usize {
        let mut encoder = Encoder::new();
        encoder.begin(data.len());
        let mut block = vec![0; capacity];
        let (mut at, mut total) = (0, 0);
        while at < data.len() {
            let (consumed, produced) = encoder.fill(data, at, &mut block);
            assert!(consumed > 0 && produced <= capacity);
            let mut out = vec![0; consumed];
            assert_eq!(decode(&block[..produced], &mut out), Ok(produced));
            assert!(out == data[at..at + consumed], "block at {at}");
            let theirs = lz4_flex::block::decompress(&block[..produced], consumed).unwrap();
            assert!(theirs == out, "another decoder on the block at {at}");
            at += consumed;
            total += produced;
        }
        total
    }

    fn text(length: usize) -> Vec<u8> {
        let words = [
            "layer",
            "of",
            "sediment ",
            "rock\n",
            "and",
            "0x1f",
            "the",
            " ",
        ];
        let mut state = 1_u32;
        let mut out = Vec::new();
        while out.len() < length {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            out.extend_from_slice(words[(state >> 24) as usize % words.len()].as_bytes());
        }
        out.truncate(length);
        out
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 7_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn blocks_are_filled() {
        for capacity in [4096, 65536] {
            let data = text(1 << 20);
            let total = round_trip(&data, capacity);
            assert!(total < data.len() / 2);
            let mut encoder = Encoder::new();
            encoder.begin(data.len());
            let (_, produced) = encoder.fill(&data, 0, &mut vec![0; capacity]);
            // At most the room kept for the last literals is lost.
            assert!(produced + 16 > capacity);
        }
    }

    #[test]
    fn runs_and_noise() {
        for capacity in [64, 100, 4096, 65536] {
            round_trip(&vec![0; 3 << 20], capacity);
            round_trip(&noise(300_000), capacity);
            let mixed = [
                noise(5000),
                vec![7; 70_000],
                text(9000),
                noise(70_000),
                text(100),
            ]
            .concat();
            round_trip(&mixed, capacity);
        }
        let mut encoder = Encoder::new();
        encoder.begin(1 << 20);
        let zeros = vec![0; 1 << 20];
        let (consumed, produced) = encoder.fill(&zeros, 0, &mut [0; 4096]);
        assert!(consumed > 4000 * 255 && produced <= 4096);
    }

    #[test]
    fn every_short_length() {
        for length in 1..300 {
            round_trip(&vec![1; length], 512);
            round_trip(&text(length), 512);
            round_trip(&noise(length), 512);
            round_trip(&noise(length), 32);
        }
    }

    #[test]
    fn the_same_input_gives_the_same_bytes_whatever_came_before() {
        let data = text(200_000);
        let mut fresh = Encoder::new();
        fresh.begin(data.len());
        let mut expected = vec![0; 4096];
        let first = fresh.fill(&data, 100_000, &mut expected);
        let mut used = Encoder::new();
        for before in [noise(9000), text(100_000), vec![0; 10]] {
            used.begin(before.len());
            used.fill(&before, 0, &mut vec![0; 4096]);
        }
        used.begin(data.len());
        let mut found = vec![0; 4096];
        assert_eq!(used.fill(&data, 100_000, &mut found), first);
        assert_eq!(found, expected);
    }

    /// The `lz4` program reads the blocks, in a frame.
    #[test]
    fn the_lz4_program_agrees() {
        use lithify_testkit::{require, run};
        if !require::tool("lz4") {
            return;
        }
        let data = [text(1 << 20), noise(100_000), vec![0; 1 << 20], text(777)].concat();
        // Magic number; version 1, independent blocks; blocks of up to 4 MiB; check byte of these two.
        let mut frame = vec![0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73];
        let mut encoder = Encoder::new();
        encoder.begin(data.len());
        let mut at = 0;
        let mut block = vec![0; 65536];
        while at < data.len() {
            let (consumed, produced) = encoder.fill(&data, at, &mut block);
            frame.extend((produced as u32).to_le_bytes());
            frame.extend(&block[..produced]);
            at += consumed;
        }
        frame.extend([0; 4]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), frame).unwrap();
        let decoded = run::ok(run::command("lz4").args(["-dc", "-q"]).arg(file.path()));
        assert!(decoded == data);
    }

    #[test]
    fn decoder_refuses_damage() {
        let out = &mut [0; 8][..];
        for bad in [
            &b""[..],
            &[0x10],
            &[0x40, b'a', b'b', b'c'],
            // A match before the start, and one at distance 0.
            &[0x10, b'a', 2, 0],
            &[0x10, b'a', 0, 0],
            &[0xf0, 255, 255],
            // More than asked for.
            &[0x90, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        ] {
            assert!(decode(bad, out).is_err(), "{bad:?}");
        }
    }

    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            (any::<u8>(), 0..3000_usize).prop_map(|(b, n)| vec![b; n]),
            (0..4000_usize).prop_map(text),
            prop::collection::vec(0..3_u8, 0..400),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|p| p.concat())
    }

    proptest! {
        #[test]
        fn anything_comes_back(data in pieces(), capacity in 24..6000_usize) {
            round_trip(&data, capacity);
        }

        #[test]
        fn blocks_of_another_encoder_decode(data in pieces()) {
            let block = lz4_flex::block::compress(&data);
            let mut out = vec![0; data.len()];
            prop_assert_eq!(decode(&block, &mut out), Ok(block.len()));
            prop_assert_eq!(out, data);
        }

        #[test]
        fn any_bytes_end(block in prop::collection::vec(any::<u8>(), 0..300), length in 0..5000_usize) {
            let mut out = vec![0; length];
            if let Ok(n) = decode(&block, &mut out) {
                prop_assert!(n <= block.len());
            }
        }
    }
}
