//! The gzip container: members, optional fields, padding, damage, and where a stream may end.

use std::io::{BufRead, Read, Write};

use flate2::{Compression, GzBuilder, write::GzEncoder};
use lithify_inflate::{
    DeflateError, Gzip, GzipError, GzipReader, MemberPart, Status, WINDOW_SIZE, carry_history,
};

fn member(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn data(len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 27) as u8 | (i >> 9) as u8)
        .collect()
}

/// Decodes with the given chunk size; the output and the number of complete members.
fn decode_with(gzip: &mut Gzip, input: &[u8], chunk: usize) -> Result<(Vec<u8>, u64), GzipError> {
    let mut all = Vec::new();
    let mut members = 0;
    let mut out = vec![0; WINDOW_SIZE + 50_000];
    let mut out_pos = 0;
    for mut piece in input.chunks(chunk) {
        loop {
            let progress = gzip.decode(piece, &mut out, out_pos)?;
            piece = &piece[progress.consumed..];
            all.extend(&out[out_pos..out_pos + progress.produced]);
            out_pos += progress.produced;
            match progress.status {
                Status::NeedInput => break,
                Status::NeedOutput => {
                    let mut next = vec![0; out.len()];
                    out_pos = carry_history(&out, &mut next);
                    out = next;
                }
                Status::End => members += 1,
            }
        }
        assert!(piece.is_empty());
    }
    assert_eq!(gzip.total_out(), all.len() as u64);
    gzip.finish()?;
    assert_eq!(gzip.total_in(), input.len() as u64);
    Ok((all, members))
}

/// Decodes in chunks of several sizes, which must not make a difference.
fn decode(input: &[u8]) -> Result<(Vec<u8>, u64), GzipError> {
    let whole = decode_with(&mut Gzip::new(), input, usize::MAX);
    for chunk in [1, 2, 7, 1000] {
        let cut = decode_with(&mut Gzip::new(), input, chunk);
        match (&whole, &cut) {
            // The offset is that of the failing call's input.
            (
                Err(GzipError::Deflate {
                    member: a,
                    source: x,
                    ..
                }),
                Err(GzipError::Deflate {
                    member: b,
                    source: y,
                    ..
                }),
            ) => assert_eq!((a, x), (b, y), "chunks of {chunk}"),
            _ => assert_eq!(whole, cut, "chunks of {chunk}"),
        }
    }
    whole
}

#[test]
fn one_member() {
    for len in [0, 1, 100, 32_768, 200_000, 3_000_000] {
        let data = data(len);
        assert_eq!(decode(&member(&data)), Ok((data, 1)));
    }
}

#[test]
fn many_members() {
    let mut input = Vec::new();
    let mut expected = Vec::new();
    for i in 0..300 {
        let data = data(i * i % 5000);
        input.extend(member(&data));
        expected.extend(data);
    }
    assert_eq!(decode(&input), Ok((expected, 300)));
}

#[test]
fn a_member_cannot_refer_to_the_one_before() {
    let mut second = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    // Last block, fixed codes; length 3 (0000001), distance 1 (00000).
    second.extend([0b0000_0011, 0b0000_0010, 0]);
    second.extend([0; 50]);
    let mut input = member(b"some text");
    input.extend(second);
    let error = decode(&input).unwrap_err();
    let GzipError::Deflate {
        member: 2, source, ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(
        source,
        DeflateError::DistanceTooFar {
            distance: 1,
            available: 0
        }
    );
}

#[test]
fn optional_fields() {
    let text = b"text";
    let long = vec![b'x'; 70_000];
    let builders = [
        GzBuilder::new().filename("name"),
        GzBuilder::new().comment("comment"),
        GzBuilder::new().extra(vec![1, 2, 3]),
        GzBuilder::new().extra(vec![]).filename(""),
        GzBuilder::new()
            .extra(vec![0; 65_535])
            .filename(long.clone())
            .comment(long)
            .mtime(1),
    ];
    for builder in builders {
        let mut encoder = builder.write(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        assert_eq!(decode(&encoder.finish().unwrap()), Ok((text.to_vec(), 1)));
    }
}

/// A member with all optional fields and a header checksum.
fn with_header_checksum(wrong: u16) -> Vec<u8> {
    let mut header = vec![0x1f, 0x8b, 8, 0x1f, 1, 2, 3, 4, 0, 3];
    header.extend([3, 0, b'e', b'x', b't']);
    header.extend(b"name\0comment\0");
    let crc = crc32fast::hash(&header) as u16;
    header.extend((crc ^ wrong).to_le_bytes());
    header.extend(&member(b"text")[10..]);
    header
}

#[test]
fn header_checksum() {
    assert_eq!(decode(&with_header_checksum(0)), Ok((b"text".to_vec(), 1)));
    let error = decode(&with_header_checksum(0x0100)).unwrap_err();
    let GzipError::HeaderChecksum {
        member: 1,
        expected,
        found,
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(expected ^ found, 0x0100);
}

#[test]
fn bad_headers() {
    let good = member(b"text");
    let with = |at: usize, byte: u8| {
        let mut bad = good.clone();
        bad[at] = byte;
        decode(&bad).unwrap_err()
    };
    assert_eq!(with(0, 0x50), GzipError::Magic { found: 0x50, at: 0 });
    assert_eq!(with(0, 0), GzipError::Magic { found: 0, at: 0 });
    assert_eq!(with(1, 0x8c), GzipError::Magic { found: 0x8c, at: 1 });
    assert_eq!(
        with(2, 7),
        GzipError::Method {
            member: 1,
            found: 7
        }
    );
    assert_eq!(
        with(3, 0x20),
        GzipError::ReservedFlags {
            member: 1,
            found: 0x20
        }
    );
    assert_eq!(
        with(3, 0x80),
        GzipError::ReservedFlags {
            member: 1,
            found: 0x80
        }
    );
}

#[test]
fn wrong_trailers() {
    let good = member(b"text");
    let end = good.len();
    let mut bad = good.clone();
    bad[end - 8] ^= 1;
    assert!(matches!(
        decode(&bad),
        Err(GzipError::Checksum { member: 1, .. })
    ));
    let mut bad = good.clone();
    bad[end - 1] ^= 0x80;
    assert_eq!(
        decode(&bad),
        Err(GzipError::Size {
            member: 1,
            expected: 0x8000_0004,
            found: 4
        })
    );
    // In a later member, and not noticed without the checksum.
    let mut bad = [&good[..], &good].concat();
    bad[2 * end - 8] ^= 1;
    assert!(matches!(
        decode(&bad),
        Err(GzipError::Checksum { member: 2, .. })
    ));
    let mut unchecked = Gzip::without_crc();
    assert_eq!(
        decode_with(&mut unchecked, &bad, 10),
        Ok((b"texttext".to_vec(), 2))
    );
    let trailer = unchecked.last_trailer().unwrap();
    assert_eq!(
        (trailer.crc32, trailer.size),
        (crc32fast::hash(b"text") ^ 1, 4)
    );
}

#[test]
fn zero_padding_after_the_last_member() {
    for len in [1, 2, 511, 100_000] {
        let mut input = member(b"text");
        let end = input.len();
        input.resize(end + len, 0);
        assert_eq!(decode(&input), Ok((b"text".to_vec(), 1)));
        input.push(7);
        assert_eq!(
            decode(&input),
            Err(GzipError::TrailingGarbage {
                found: 7,
                offset: (end + len) as u64
            })
        );
        // Not even another member may follow padding.
        input.pop();
        input.extend(member(b"more"));
        assert_eq!(
            decode(&input),
            Err(GzipError::TrailingGarbage {
                found: 0x1f,
                offset: (end + len) as u64
            })
        );
    }
}

#[test]
fn trailing_garbage() {
    let good = member(b"text");
    for (garbage, at) in [(&b"garbage"[..], 0), (b"\x1fgarbage", 1), (b"\x8b", 0)] {
        let input = [&good[..], garbage].concat();
        assert_eq!(
            decode(&input),
            Err(GzipError::TrailingGarbage {
                found: garbage[at],
                offset: (good.len() + at) as u64
            })
        );
    }
}

#[test]
fn truncation_everywhere() {
    let first = with_header_checksum(0);
    let second = member(&data(2000));
    let input = [&first[..], &second].concat();
    for end in 0..=input.len() {
        let result = decode(&input[..end]);
        if end == first.len() || end == input.len() {
            assert!(result.is_ok());
            continue;
        }
        let (member, of) = if end < first.len() {
            (1, 0..first.len())
        } else {
            (2, first.len()..input.len())
        };
        let header = if member == 1 { 30 } else { 10 };
        let part = match end {
            end if end < of.start + header => MemberPart::Header,
            end if end < of.end - 8 => MemberPart::Data,
            _ => MemberPart::Trailer,
        };
        assert_eq!(
            result,
            Err(GzipError::Truncated {
                member,
                offset: end as u64,
                part
            })
        );
    }
}

#[test]
fn errors_stay() {
    let mut gzip = Gzip::new();
    let mut out = [0; 100];
    let error = gzip.decode(b"PK", &mut out, 0).unwrap_err();
    assert_eq!(gzip.decode(&member(b""), &mut out, 0), Err(error));
    assert_eq!(gzip.finish(), Err(error));
}

#[test]
fn missing_history_can_be_mended() {
    let data = data(50_000);
    let input = member(&data);
    let mut gzip = Gzip::new();
    let mut out = vec![0; 40_000];
    let progress = gzip.decode(&input, &mut out, 0).unwrap();
    assert_eq!(progress.status, Status::NeedOutput);
    let rest = &input[progress.consumed..];
    assert!(matches!(
        gzip.decode(rest, &mut out, 100),
        Err(GzipError::Deflate {
            source: DeflateError::MissingHistory { .. },
            ..
        })
    ));
    let mut next = vec![0; 60_000];
    let out_pos = carry_history(&out, &mut next);
    let progress = gzip.decode(rest, &mut next, out_pos).unwrap();
    assert_eq!(progress.status, Status::End);
    assert_eq!(next[out_pos..out_pos + progress.produced], data[40_000..]);
}

#[test]
fn reader() {
    let data = data(1_000_000);
    let mut input = member(&data[..300_000]);
    input.extend(member(&data[300_000..]));
    input.extend([0; 100]);
    let mut out = Vec::new();
    let mut reader = GzipReader::new(&input[..]);
    reader.read_to_end(&mut out).unwrap();
    assert_eq!(out, data);
    assert_eq!(reader.gzip().members(), 2);
    assert_eq!(reader.read(&mut [0; 10]).unwrap(), 0);

    let mut reader = GzipReader::new(&input[..]);
    let mut out = Vec::<u8>::new();
    loop {
        let piece = reader.fill_buf().unwrap();
        let len = piece.len().min(777);
        out.extend(&piece[..len]);
        reader.consume(len);
        if len == 0 {
            break;
        }
    }
    assert_eq!(out, data);
}

#[test]
fn reader_errors() {
    let input = member(&data(100_000));
    let kind = |input: &[u8]| {
        let error = GzipReader::new(input)
            .read_to_end(&mut Vec::new())
            .unwrap_err();
        assert!(error.get_ref().unwrap().is::<GzipError>());
        error.kind()
    };
    assert_eq!(
        kind(&input[..input.len() / 2]),
        std::io::ErrorKind::UnexpectedEof
    );
    assert_eq!(kind(b""), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(kind(b"not gzip"), std::io::ErrorKind::InvalidData);
    let mut bad = input.clone();
    bad[5000] ^= 0x10;
    assert_eq!(kind(&bad), std::io::ErrorKind::InvalidData);
}

#[test]
fn a_bomb_needs_no_memory() {
    // Passes through one small buffer.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let zeros = vec![0; 1 << 20];
    for _ in 0..64 {
        encoder.write_all(&zeros).unwrap();
    }
    let input = encoder.finish().unwrap();
    let mut gzip = Gzip::new();
    let mut out = vec![0; WINDOW_SIZE + 4096];
    let (mut pos, mut out_pos) = (0, 0);
    loop {
        let progress = gzip.decode(&input[pos..], &mut out, out_pos).unwrap();
        pos += progress.consumed;
        match progress.status {
            Status::NeedOutput => {
                out.copy_within(4096.., 0);
                out_pos = WINDOW_SIZE;
            }
            Status::End => break,
            Status::NeedInput => panic!(),
        }
    }
    assert_eq!(gzip.total_out(), 64 << 20);
}
