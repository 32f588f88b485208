//! Streams written bit by bit: each corner of the format, decoded in every way, against zlib-rs.

use crate::common::{
    BitWriter, Code, Verdict, check_all_ways, ours, ours_cut, reference, write_dynamic_header,
    write_match,
};
use lithify_inflate::{CodeKind, DeflateError, Inflate, Status};

fn accepted(stream: &[u8]) -> Vec<u8> {
    check_all_ways(stream, 1);
    match ours(stream).0 {
        Verdict::Accepted { out, consumed } => {
            assert_eq!(consumed, stream.len());
            out
        }
        other => panic!("{other:?}"),
    }
}

fn rejected(stream: &[u8]) -> DeflateError {
    check_all_ways(stream, 1);
    let (verdict, error) = ours(stream);
    assert_eq!(verdict, Verdict::Rejected);
    error.unwrap()
}

fn fixed(write: impl FnOnce(&mut BitWriter, &Code, &Code)) -> Vec<u8> {
    let mut to = BitWriter::default();
    to.bits(1, 1).bits(1, 2);
    write(&mut to, &Code::fixed_litlen(), &Code::fixed_dist());
    to.take()
}

fn fixed_with_end(write: impl FnOnce(&mut BitWriter, &Code, &Code)) -> Vec<u8> {
    fixed(|to, litlen, dist| {
        write(to, litlen, dist);
        litlen.write(256, to);
    })
}

#[test]
fn stored_blocks() {
    assert_eq!(
        accepted(&BitWriter::default().stored(true, b"").take()),
        b""
    );
    assert_eq!(
        accepted(&BitWriter::default().stored(true, b"abc").take()),
        b"abc"
    );
    let long: Vec<u8> = (0..65_535_u32).map(|i| ((i * i) >> 3) as u8).collect();
    let mut to = BitWriter::default();
    to.stored(false, &long)
        .stored(false, b"")
        .stored(false, b"x")
        .stored(true, &long);
    assert_eq!(accepted(&to.take()), [&long[..], b"x", &long[..]].concat());
}

#[test]
fn stored_length_mismatch() {
    assert_eq!(
        rejected(&[1, 2, 0, 0xfd, 0xfe, 0, 0]),
        DeflateError::StoredLength {
            len: 2,
            complement: 0xfefd
        }
    );
}

#[test]
fn reserved_block_type() {
    assert_eq!(rejected(&[0b111, 0, 0]), DeflateError::BlockType);
}

#[test]
fn empty_fixed_blocks() {
    let mut to = BitWriter::default();
    for last in 0..=5_u32 {
        to.bits(u32::from(last == 5), 1).bits(1, 2).code(0, 7);
    }
    assert_eq!(accepted(&to.take()), b"");
}

#[test]
fn every_literal() {
    let stream = fixed_with_end(|to, litlen, _| {
        for byte in 0..256 {
            litlen.write(byte, to);
        }
    });
    assert_eq!(accepted(&stream), (0..=255).collect::<Vec<u8>>());
}

#[test]
fn every_length_and_small_distance() {
    for distance in 1..=64 {
        let stream = fixed_with_end(|to, litlen, dist| {
            for byte in 0..distance {
                litlen.write(byte, to);
            }
            for length in 3..=258 {
                write_match(to, litlen, dist, length, distance);
            }
        });
        let out = match ours(&stream).0 {
            Verdict::Accepted { out, .. } => out,
            other => panic!("{other:?}"),
        };
        let expected: Vec<u8> = (0..distance + (3..=258).sum::<usize>())
            .map(|i| (i % distance) as u8)
            .collect();
        assert_eq!(out, expected, "distance {distance}");
        check_all_ways(&stream, distance as u64);
    }
}

#[test]
fn length_258_can_be_written_as_284_plus_31() {
    // zlib accepts it although RFC 1951 gives 258 a symbol of its own.
    let stream = fixed_with_end(|to, litlen, dist| {
        litlen.write(7, to);
        litlen.write(284, to);
        to.bits(31, 5);
        dist.write(0, to);
    });
    assert_eq!(accepted(&stream), [7; 259]);
}

#[test]
fn distances_around_the_edge_of_the_history() {
    for history in [1, 2, 257, 24_577, 32_767, 32_768, 32_769, 40_000] {
        for distance in [1, 2, 3, 257, 258, 24_576, 24_577, 32_767, 32_768] {
            let data: Vec<u8> = (0..history as u32).map(|i| ((i * 7) >> 2) as u8).collect();
            let mut stream = BitWriter::default().stored(false, &data).take();
            stream.extend(fixed_with_end(|to, litlen, dist| {
                write_match(to, litlen, dist, 258, distance);
            }));
            check_all_ways(&stream, 3);
            let (verdict, error) = ours(&stream);
            if distance <= history {
                let Verdict::Accepted { out, .. } = verdict else {
                    panic!("{error:?}")
                };
                let expected = (0..258).map(|i| data[history - distance + i % distance]);
                assert!(out[history..].iter().copied().eq(expected));
            } else {
                let expected = DeflateError::DistanceTooFar {
                    distance: distance as u16,
                    available: history as u16,
                };
                assert_eq!(error, Some(expected));
            }
        }
    }
}

#[test]
fn first_symbol_is_a_match() {
    let stream = fixed_with_end(|to, litlen, dist| write_match(to, litlen, dist, 3, 1));
    check_all_ways(&stream, 4);
    assert_eq!(
        ours(&stream).1,
        Some(DeflateError::DistanceTooFar {
            distance: 1,
            available: 0
        })
    );
}

#[test]
fn invalid_symbols_of_the_fixed_codes() {
    for symbol in [286, 287] {
        let stream = fixed(|to, litlen, _| {
            litlen.write(1, to);
            litlen.write(symbol, to);
        });
        assert_eq!(rejected(&stream), DeflateError::LitLenCode);
    }
    for symbol in [30, 31] {
        let stream = fixed(|to, litlen, dist| {
            litlen.write(1, to);
            litlen.write(257, to);
            dist.write(symbol, to);
        });
        assert_eq!(rejected(&stream), DeflateError::DistanceCode);
    }
}

fn dynamic(
    litlen: &[u8],
    dist: &[u8],
    write: impl FnOnce(&mut BitWriter, &Code, &Code),
) -> Vec<u8> {
    let mut to = BitWriter::default();
    write_dynamic_header(&mut to, true, litlen, dist);
    write(&mut to, &Code::new(litlen), &Code::new(dist));
    to.take()
}

fn lens(symbols: usize, with: &[(usize, u8)]) -> Vec<u8> {
    let mut lens = vec![0; symbols];
    for &(symbol, len) in with {
        lens[symbol] = len;
    }
    lens
}

#[test]
fn only_an_end_of_block_code() {
    let litlen = lens(257, &[(256, 1)]);
    let stream = dynamic(&litlen, &[0], |to, litlen, _| litlen.write(256, to));
    assert_eq!(accepted(&stream), b"");
    // The other codeword of one bit does not exist.
    let mut stream = dynamic(&litlen, &[0], |to, _, _| {
        to.bits(1, 1);
    });
    stream.extend([0; 50]);
    assert_eq!(rejected(&stream), DeflateError::LitLenCode);
}

#[test]
fn empty_distance_code() {
    let litlen = lens(258, &[(65, 2), (66, 2), (256, 2), (257, 2)]);
    let stream = dynamic(&litlen, &[0, 0], |to, litlen, _| {
        litlen.write(65, to);
        litlen.write(66, to);
        litlen.write(256, to);
    });
    assert_eq!(accepted(&stream), b"AB");
    for bit in [0, 1] {
        let stream = dynamic(&litlen, &[0, 0], |to, litlen, _| {
            litlen.write(65, to);
            litlen.write(257, to);
            to.bits(bit, 1).bits(0, 32);
        });
        assert_eq!(rejected(&stream), DeflateError::DistanceCode);
    }
}

#[test]
fn distance_code_of_one_codeword() {
    let litlen = lens(258, &[(65, 2), (66, 2), (256, 2), (257, 2)]);
    let dist = lens(3, &[(1, 1)]);
    let stream = dynamic(&litlen, &dist, |to, litlen, dist| {
        litlen.write(65, to);
        litlen.write(66, to);
        litlen.write(257, to);
        dist.write(1, to);
        litlen.write(256, to);
    });
    assert_eq!(accepted(&stream), b"ABABA");
    let mut stream = dynamic(&litlen, &dist, |to, litlen, _| {
        litlen.write(65, to);
        litlen.write(257, to);
        to.bits(1, 1);
    });
    stream.extend([0; 50]);
    assert_eq!(rejected(&stream), DeflateError::DistanceCode);
}

#[test]
fn incomplete_and_over_subscribed_codes() {
    let end = |to: &mut BitWriter, _: &Code, _: &Code| {
        to.bits(0, 32);
    };
    let (good, dist) = (lens(257, &[(0, 1), (256, 1)]), [1, 1]);
    let incomplete = |code| DeflateError::Incomplete { code };
    let over = |code| DeflateError::OverSubscribed { code };
    let cases: [(&[u8], &[u8], DeflateError); 7] = [
        (
            &lens(257, &[(0, 2), (256, 1)]),
            &dist,
            incomplete(CodeKind::LitLen),
        ),
        (&lens(257, &[(256, 2)]), &dist, incomplete(CodeKind::LitLen)),
        (
            &lens(257, &[(0, 1), (1, 1), (256, 1)]),
            &dist,
            over(CodeKind::LitLen),
        ),
        (&good, &[2, 2, 2], incomplete(CodeKind::Distance)),
        (&good, &[2], incomplete(CodeKind::Distance)),
        (&good, &[1, 1, 1], over(CodeKind::Distance)),
        (
            &lens(257, &[(0, 1), (1, 1)]),
            &dist,
            DeflateError::NoEndOfBlock,
        ),
    ];
    for (litlen, dist, expected) in cases {
        assert_eq!(rejected(&dynamic(litlen, dist, end)), expected);
    }
}

/// A header whose code-length code has the given lengths, followed by the given bits.
fn code_lengths(
    hlit: u32,
    hdist: u32,
    order: &[u8; 19],
    write: impl FnOnce(&mut BitWriter, &Code),
) -> Vec<u8> {
    let mut to = BitWriter::default();
    to.bits(1, 1)
        .bits(2, 2)
        .bits(hlit - 257, 5)
        .bits(hdist - 1, 5)
        .bits(15, 4);
    for i in [
        16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
    ] {
        to.bits(u32::from(order[i]), 3);
    }
    write(&mut to, &Code::new(order));
    to.bits(0, 32).bits(0, 32);
    to.take()
}

fn order(with: &[(usize, u8)]) -> [u8; 19] {
    lens(19, with).try_into().unwrap()
}

#[test]
fn code_length_code() {
    let nothing = |_: &mut BitWriter, _: &Code| {};
    assert_eq!(
        rejected(&code_lengths(257, 1, &order(&[(0, 1)]), nothing)),
        DeflateError::Incomplete {
            code: CodeKind::CodeLengths
        }
    );
    assert_eq!(
        rejected(&code_lengths(
            257,
            1,
            &order(&[(0, 1), (1, 1), (2, 1)]),
            nothing
        )),
        DeflateError::OverSubscribed {
            code: CodeKind::CodeLengths
        }
    );
    // An empty one passes in zlib, as zeros of one bit each.
    let mut stream = code_lengths(257, 1, &order(&[]), nothing);
    stream.extend([0; 50]);
    assert_eq!(rejected(&stream), DeflateError::NoEndOfBlock);
}

#[test]
fn runs_of_code_lengths() {
    let with_16 = order(&[(16, 2), (18, 2), (1, 2), (0, 2)]);
    assert_eq!(
        rejected(&code_lengths(257, 1, &with_16, |to, code| code.write(16, to))),
        DeflateError::RepeatWithoutPrevious
    );
    // 138 + 138 zeros where 258 lengths are declared.
    let stream = code_lengths(257, 1, &with_16, |to, code| {
        for _ in 0..2 {
            code.write(18, to);
            to.bits(127, 7);
        }
    });
    assert_eq!(
        rejected(&stream),
        DeflateError::RepeatOverrun {
            end: 276,
            declared: 258
        }
    );
    // A run may go on from the literal/length into the distance lengths.
    let stream = code_lengths(257, 2, &with_16, |to, code| {
        code.write(18, to);
        to.bits(127, 7);
        code.write(18, to);
        to.bits(255 - 138 - 11, 7); // 0..255
        code.write(1, to); // 255
        code.write(16, to); // 256 and both distances
        to.bits(0, 2);
        to.code(1, 1);
    });
    let Verdict::Accepted { out, .. } = ours(&stream).0 else {
        panic!()
    };
    assert_eq!(out, b"");
    check_all_ways(&stream, 5);
}

#[test]
fn too_many_codes() {
    let nothing = |_: &mut BitWriter, _: &Code| {};
    let order = order(&[(0, 1), (1, 1)]);
    for found in [287, 288] {
        assert_eq!(
            rejected(&code_lengths(found, 1, &order, nothing)),
            DeflateError::TooManyLitLenCodes {
                found: found as u16
            }
        );
    }
    for found in [31, 32] {
        assert_eq!(
            rejected(&code_lengths(257, found, &order, nothing)),
            DeflateError::TooManyDistanceCodes {
                found: found as u16
            }
        );
    }
}

#[test]
fn codewords_of_fifteen_bits() {
    // Lengths 1, 2, …, 14, 15, 15: subtables of all widths, in both codes.
    let mut litlen = lens(
        286,
        &[
            (256, 15),
            (285, 15),
            (284, 14),
            (257, 13),
            (65, 12),
            (66, 11),
        ],
    );
    for i in 0..10 {
        litlen[97 + i] = 1 + i as u8;
    }
    let mut dist = lens(30, &[(29, 15), (28, 15), (0, 14)]);
    for i in 0..13 {
        dist[1 + i] = 1 + i as u8;
    }
    let data: Vec<u8> = (0..32_768_u32).map(|i| ((i * 3) >> 2) as u8).collect();
    let mut stream = BitWriter::default().stored(false, &data).take();
    stream.extend(dynamic(&litlen, &dist, |to, litlen, dist| {
        for _ in 0..300 {
            for byte in [65, 97, 106, 66, 98] {
                litlen.write(byte, to);
            }
            write_match(to, litlen, dist, 258, 32_768);
            write_match(to, litlen, dist, 240, 16_385);
            write_match(to, litlen, dist, 3, 1);
        }
        litlen.write(256, to);
    }));
    let out = accepted(&stream);
    assert_eq!(out.len(), 32_768 + 300 * (5 + 258 + 240 + 3));
}

#[test]
fn every_cut_of_input_and_output() {
    let litlen = lens(
        286,
        &[
            (65, 3),
            (66, 3),
            (67, 3),
            (256, 3),
            (257, 3),
            (270, 3),
            (284, 3),
            (285, 3),
        ],
    );
    let mut to = BitWriter::default();
    to.stored(false, b"0123456789");
    write_dynamic_header(&mut to, false, &litlen, &[2, 2, 2, 0, 2]);
    let (litlen, dist) = (Code::new(&litlen), Code::new(&[2, 2, 2, 0, 2]));
    for byte in [65, 66, 67] {
        litlen.write(byte, &mut to);
    }
    write_match(&mut to, &litlen, &dist, 3, 3);
    write_match(&mut to, &litlen, &dist, 258, 1);
    write_match(&mut to, &litlen, &dist, 25, 6);
    write_match(&mut to, &litlen, &dist, 230, 5);
    litlen.write(256, &mut to);
    to.bits(1, 1).bits(1, 2);
    let (litlen, dist) = (Code::fixed_litlen(), Code::fixed_dist());
    write_match(&mut to, &litlen, &dist, 70, 500);
    litlen.write(256, &mut to);
    let stream = to.take();
    let expected = reference(&stream);
    let Verdict::Accepted { out, .. } = &expected else {
        panic!("{expected:?}")
    };

    // One byte at a time, of input, of output, of both.
    assert_eq!(ours_cut(&stream, || 1, || 1 << 16).0, expected);
    assert_eq!(ours_cut(&stream, || 1 << 16, || 1).0, expected);
    assert_eq!(ours_cut(&stream, || 1, || 1).0, expected);
    // Cut once, anywhere.
    for cut in 0..=stream.len() {
        let mut sizes = [cut, stream.len()].into_iter();
        assert_eq!(
            ours_cut(&stream, || sizes.next().unwrap_or(1 << 16), || 1 << 16).0,
            expected
        );
    }
    for cut in 0..=out.len() {
        let mut sizes = [cut, 1 << 16].into_iter();
        assert_eq!(
            ours_cut(&stream, || 1 << 16, || sizes.next().unwrap_or(1 << 16)).0,
            expected
        );
    }
    // The input ends anywhere.
    for end in 0..stream.len() {
        assert_eq!(
            ours(&stream[..end]).0,
            reference(&stream[..end]),
            "first {end} bytes"
        );
    }
}

#[test]
fn nothing_after_the_stream_is_consumed() {
    let stream = fixed_with_end(|to, litlen, _| litlen.write(65, to));
    for extra in 0..200 {
        let mut input = stream.clone();
        input.extend(vec![0xff; extra]);
        let mut decoder = Inflate::new();
        let mut out = [0; 4096];
        let progress = decoder.decode(&input, &mut out, 0).unwrap();
        assert_eq!(
            (progress.consumed, progress.status),
            (stream.len(), Status::End)
        );
        let after = decoder.decode(&input[stream.len()..], &mut out, 1).unwrap();
        assert_eq!(
            (after.consumed, after.produced, after.status),
            (0, 0, Status::End)
        );
    }
}

#[test]
fn missing_history_is_the_callers_error_and_can_be_mended() {
    let mut decoder = Inflate::new();
    let stream = fixed_with_end(|to, litlen, dist| {
        for byte in 0..10 {
            litlen.write(byte, to);
        }
        write_match(to, litlen, dist, 10, 10);
    });
    let mut out = [0; 100];
    let progress = decoder.decode(&stream[..8], &mut out, 0).unwrap();
    assert!(progress.produced > 2);
    let found = progress.produced - 1;
    let error = decoder
        .decode(&stream[progress.consumed..], &mut out, found)
        .unwrap_err();
    assert_eq!(
        error,
        DeflateError::MissingHistory {
            needed: progress.produced,
            found
        }
    );
    assert_eq!(
        decoder.decode(&stream[progress.consumed..], &mut out, 101),
        Err(DeflateError::OutputPosition {
            found: 101,
            len: 100
        })
    );
    let rest = decoder
        .decode(&stream[progress.consumed..], &mut out, progress.produced)
        .unwrap();
    assert_eq!(rest.status, Status::End);
    assert_eq!(out[..10], out[10..20]);
}

#[test]
fn reset_forgets_the_history() {
    let mut decoder = Inflate::new();
    let mut out = [0; 4096];
    let stream = fixed_with_end(|to, litlen, _| litlen.write(65, to));
    decoder.decode(&stream, &mut out, 0).unwrap();
    decoder.reset();
    let stream = fixed_with_end(|to, litlen, dist| write_match(to, litlen, dist, 3, 1));
    assert_eq!(
        decoder.decode(&stream, &mut out, 1),
        Err(DeflateError::DistanceTooFar {
            distance: 1,
            available: 0
        })
    );
}
