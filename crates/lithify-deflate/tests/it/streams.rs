//! Whatever goes in comes out of another decoder, and the pieces it came in do not show.

use std::io::{Read as _, Write as _};

use flate2::read::{DeflateDecoder, GzDecoder};
use lithify_deflate::{GoDeflate, GoGzip, Level};
use proptest::prelude::*;

use crate::inputs::{Rng, far_copies, gzip, mixture, runs};

/// Some input of a kind, the same for the same seed.
fn input() -> impl Strategy<Value = Vec<u8>> {
    (0..3_u8, any::<u64>(), 0..200_000_usize).prop_map(|(kind, seed, len)| {
        let mut rng = Rng(seed);
        match kind {
            0 => mixture(&mut rng, len),
            1 => runs(&mut rng, len),
            _ => far_copies(&mut rng, len),
        }
    })
}

fn any_level() -> impl Strategy<Value = Level> {
    prop::sample::select(Level::all().collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn another_decoder_gives_the_input(input in input(), level in any_level()) {
        let stream = gzip(&input, level);
        let mut output = Vec::new();
        GzDecoder::new(&stream[..]).read_to_end(&mut output).unwrap();
        prop_assert!(output == input);
    }

    #[test]
    fn pieces_do_not_show(
        input in input(),
        level in any_level(),
        sizes in prop::collection::vec(1..70_000_usize, 1..6),
    ) {
        let mut pieces = GoGzip::new(Vec::new(), level);
        let (mut rest, mut sizes) = (&input[..], sizes.iter().cycle());
        while !rest.is_empty() {
            let size = rest.len().min(*sizes.next().unwrap());
            pieces.write_all(&rest[..size]).unwrap();
            pieces.flush().unwrap();
            rest = &rest[size..];
        }
        prop_assert!(pieces.finish().unwrap() == gzip(&input, level));
    }

    #[test]
    fn another_decoder_gives_the_input_of_marked_calls(
        input in input(),
        level in any_level(),
        sizes in prop::collection::vec(1..70_000_usize, 1..6),
    ) {
        let mut stream = GoDeflate::new(Vec::new(), level);
        let (mut rest, mut sizes) = (&input[..], sizes.iter().cycle());
        while !rest.is_empty() {
            let size = rest.len().min(*sizes.next().unwrap());
            stream.write_all(&rest[..size]).unwrap();
            stream.mark_write_end();
            rest = &rest[size..];
        }
        let stream = stream.finish().unwrap();
        let mut output = Vec::new();
        DeflateDecoder::new(&stream[..]).read_to_end(&mut output).unwrap();
        prop_assert!(output == input);
    }
}

/// A member is a header, the raw stream, and a trailer.
#[test]
fn raw_streams_are_those_of_members() {
    let input = mixture(&mut Rng(7), 200_000);
    for level in Level::all() {
        let member = gzip(&input, level);
        let mut raw = GoDeflate::new(Vec::new(), level);
        raw.write_all(&input).unwrap();
        assert!(raw.finish().unwrap() == member[10..member.len() - 8]);
        let extra_flags = match level.get() {
            1 => 4,
            9 => 2,
            _ => 0,
        };
        let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, extra_flags, 0xff];
        assert_eq!(member[..10], header, "level {}", level.get());
    }
}
