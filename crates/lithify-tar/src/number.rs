//! The numbers of tar headers and extended headers.

/// A header field that is not a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotANumber;

/// Octal digits, before them any spaces, after them only spaces and NULs. A blank field is zero.
///
/// POSIX wants leading zeros and one trailing space or NUL; v7 tars pad with leading spaces, and GNU tar fills a field
/// to its last byte when the number needs it. A number behind a NUL is one to GNU tar and Go but none to Python.
pub(crate) fn octal(field: &[u8]) -> Result<u64, NotANumber> {
    let mut value = 0u64;
    let mut bytes = field.iter();
    let mut byte = bytes.next();
    while let Some(b' ') = byte {
        byte = bytes.next();
    }
    while let Some(digit @ b'0'..=b'7') = byte {
        // A field has at most 12 digits, that is 36 bits.
        value = value << 3 | u64::from(digit - b'0');
        byte = bytes.next();
    }
    while let Some(b' ' | 0) = byte {
        byte = bytes.next();
    }
    match byte {
        None => Ok(value),
        Some(_) => Err(NotANumber),
    }
}

/// Octal, or two's complement after a lead byte of `0x80` (positive) or `0xff` (negative).
///
/// These two lead bytes are all GNU tar writes and reads ("base-256", `tar` manual, "Extensions"); what other readers
/// make of the rest differs, so it is refused.
pub(crate) fn numeric(field: &[u8]) -> Result<i64, NotANumber> {
    let Some((&lead, rest)) = field.split_first() else {
        return Ok(0);
    };
    let start = match lead {
        0x80 => 0i64,
        0xff => -1,
        0..=0x7f => return octal(field).and_then(|v| i64::try_from(v).map_err(|_| NotANumber)),
        _ => return Err(NotANumber),
    };
    let value = rest.iter().try_fold(start, |value, &byte| {
        // `value * 256 + byte` cannot leave the range where the product does not: the low byte of the product is free.
        value.checked_mul(256).map(|v| v | i64::from(byte))
    });
    value.ok_or(NotANumber)
}

/// Decimal digits only: no sign, no spaces.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, byte| match byte {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// A PAX time: seconds with an optional sign and fraction, rounded towards the past at the nanosecond.
///
/// `-1.5` is a second and a half before the epoch: seconds −2, nanoseconds 500 000 000 (POSIX pax, "mtime").
pub(crate) fn time(text: &[u8]) -> Option<lithify_tree::Timestamp> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|&b| b == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    let whole = i64::try_from(decimal(whole)?).ok()?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut nanoseconds = 0u32;
    for place in 0..9 {
        let digit = fraction.get(place).map_or(0, |b| b - b'0');
        nanoseconds = nanoseconds * 10 + u32::from(digit);
    }
    if !negative {
        return Some(lithify_tree::Timestamp {
            seconds: whole,
            nanoseconds,
        });
    }
    if fraction.iter().skip(9).any(|&b| b != b'0') {
        nanoseconds += 1;
    }
    Some(match nanoseconds {
        0 => lithify_tree::Timestamp {
            seconds: -whole,
            nanoseconds: 0,
        },
        n => lithify_tree::Timestamp {
            seconds: (-whole).checked_sub(1)?,
            nanoseconds: 1_000_000_000 - n,
        },
    })
}

#[cfg(test)]
mod tests {
    use lithify_tree::Timestamp;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn octal_as_different_tars_write_it() {
        for (field, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"000644 \0", 0o644),
            (b"   644 \0", 0o644),
            (b"   644\0\0", 0o644),
            (b"  \0    \0", 0),
            (b"644     ", 0o644),
            (b"77777777", 0o7777_7777),
            (b"777777777777", 0o7777_7777_7777),
            (b"\0\0\0\0\0\0\0\0", 0),
            (b"        ", 0),
            (b"", 0),
        ] {
            assert_eq!(octal(field), Ok(value), "{field:?}");
        }
        for field in [
            &b"0000648\0"[..],
            b"-000644\0",
            b"0x00644\0",
            b"644\0ustr",
            b"6 44    ",
            b"\x000644\x00",
            b" \0 644 \0",
            b"\x80\0\0\x01",
            b"+5",
        ] {
            assert_eq!(octal(field), Err(NotANumber), "{field:?}");
        }
    }

    #[test]
    fn base_256() {
        assert_eq!(numeric(b"\x80\0\0\0\0\0\0\x01"), Ok(1));
        assert_eq!(
            numeric(b"\x80\0\0\0\x02\0\0\0\0\0\0\0"),
            Ok(0x0200_0000_0000_0000)
        );
        assert_eq!(numeric(b"\xff\xff\xff\xff\xff\xff\xff\xff"), Ok(-1));
        assert_eq!(
            numeric(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe"),
            Ok(-2)
        );
        assert_eq!(
            numeric(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"),
            Ok(i64::MAX)
        );
        assert_eq!(numeric(b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0"), Ok(i64::MIN));
        for field in [
            &b"\x80\0\0\0\x80\0\0\0\0\0\0\0"[..],
            b"\xff\xff\xff\xff\x7f\0\0\0\0\0\0\0",
            b"\x80\x01\0\0\0\0\0\0\0\0\0\0",
            b"\x8e\0\0\0\0\0\0\0",
            b"\xc0\0\0\0\0\0\0\0",
            b"\xbf\0\0\0\0\0\0\x01",
        ] {
            assert_eq!(numeric(field), Err(NotANumber), "{field:?}");
        }
    }

    #[test]
    fn pax_times() {
        let at = |seconds, nanoseconds| {
            Some(Timestamp {
                seconds,
                nanoseconds,
            })
        };
        assert_eq!(time(b"1.5"), at(1, 500_000_000));
        assert_eq!(time(b"-1.5"), at(-2, 500_000_000));
        assert_eq!(time(b"-0.5"), at(-1, 500_000_000));
        assert_eq!(time(b"-1"), at(-1, 0));
        assert_eq!(time(b"-1.0"), at(-1, 0));
        assert_eq!(time(b"-1.0000000001"), at(-2, 999_999_999));
        assert_eq!(time(b"-0.9999999999"), at(-1, 0));
        assert_eq!(time(b"1.9999999999"), at(1, 999_999_999));
        assert_eq!(time(b"1."), at(1, 0));
        assert_eq!(time(b"0.000000001"), at(0, 1));
        for text in [
            &b""[..],
            b".5",
            b"-",
            b"-.5",
            b"+1",
            b"1e3",
            b"1.2.3",
            b" 1",
            b"1.-5",
            b"9223372036854775808",
            b"--1",
        ] {
            assert_eq!(time(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn octal_reads_what_printf_writes(value in 0u64..1 << 33) {
            prop_assert_eq!(octal(format!("{value:011o}\0").as_bytes()), Ok(value));
            prop_assert_eq!(octal(format!("{value:11o} ").as_bytes()), Ok(value));
        }

        #[test]
        fn base_256_reads_twos_complement(value: i64) {
            let mut field = [if value < 0 { 0xff } else { 0 }; 12];
            field[4..].copy_from_slice(&value.to_be_bytes());
            field[0] = if value < 0 { 0xff } else { 0x80 };
            prop_assert_eq!(numeric(&field), Ok(value));
        }

        #[test]
        fn fields_never_panic(field in prop::collection::vec(any::<u8>(), 0..=12)) {
            if let (Ok(octal), Ok(numeric)) = (octal(&field), numeric(&field)) {
                prop_assert_eq!(i64::try_from(octal), Ok(numeric));
            }
            if let (Some(decimal), Some(time)) = (decimal(&field), time(&field)) {
                prop_assert_eq!(i64::try_from(decimal), Ok(time.seconds));
            }
        }
    }
}
