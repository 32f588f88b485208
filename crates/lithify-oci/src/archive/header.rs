//! One tar header block.
//!
//! ```text
//! offset 0    100  108 116 124  136   148   156  157      257    263     345    500
//!        name mode uid gid size mtime chksum type linkname magic version prefix (pad)
//! ```
//! POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".

use super::HeaderProblem;

/// Bytes of a block.
pub(super) const BLOCK: usize = 512;

const NAME: std::ops::Range<usize> = 0..100;
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const KIND: usize = 156;
const LINK: std::ops::Range<usize> = 157..257;
const MAGIC: std::ops::Range<usize> = 257..263;
const PREFIX: std::ops::Range<usize> = 345..500;

/// A header whose checksum is right.
#[derive(Clone, Copy)]
pub(super) struct Header<'a>(&'a [u8; BLOCK]);

impl<'a> Header<'a> {
    /// Checks the sum. Old writers summed signed bytes, so that sum is right too.
    pub(super) fn new(block: &'a [u8; BLOCK]) -> Result<Self, HeaderProblem> {
        let bytes = || {
            block
                .iter()
                .enumerate()
                .map(|(i, &b)| if CHECKSUM.contains(&i) { b' ' } else { b })
        };
        let expected: u64 = bytes().map(u64::from).sum();
        let signed: i64 = bytes().map(|b| i64::from(i8::from_ne_bytes([b]))).sum();
        let found = octal(&block[CHECKSUM]).ok_or(HeaderProblem::Number { field: "chksum" })?;
        if found == expected || i64::try_from(found) == Ok(signed) {
            Ok(Self(block))
        } else {
            Err(HeaderProblem::Checksum { expected, found })
        }
    }

    pub(super) fn kind(self) -> u8 {
        self.0[KIND]
    }

    /// The name, with the prefix in POSIX headers; GNU ones keep times there.
    pub(super) fn name(self) -> Vec<u8> {
        let mut name = Vec::new();
        if &self.0[MAGIC] == b"ustar\0" {
            name.extend_from_slice(until_nul(&self.0[PREFIX]));
            if !name.is_empty() {
                name.push(b'/');
            }
        }
        name.extend_from_slice(until_nul(&self.0[NAME]));
        name
    }

    pub(super) fn link(self) -> &'a [u8] {
        until_nul(&self.0[LINK])
    }

    /// The size: octal, or base-256 if the first bit is set (GNU and star).
    pub(super) fn size(self) -> Result<u64, HeaderProblem> {
        let field = &self.0[SIZE];
        let value = match field {
            // 0x80: positive; 0xff would be negative; other first bytes are reserved.
            [0x80, rest @ ..] => rest.iter().try_fold(0u64, |value, &byte| {
                value
                    .checked_mul(256)
                    .and_then(|v| v.checked_add(u64::from(byte)))
            }),
            _ => octal(field),
        };
        value
            .filter(|&v| i64::try_from(v).is_ok())
            .ok_or(HeaderProblem::Number { field: "size" })
    }
}

pub(super) fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&b| b == 0).next().unwrap_or(field)
}

/// Octal digits between optional leading spaces and NULs or spaces. An empty field is 0.
fn octal(field: &[u8]) -> Option<u64> {
    let digits = field.trim_ascii_start();
    let end = digits
        .iter()
        .position(|b| !(b'0'..=b'7').contains(b))
        .unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if !rest.iter().all(|&b| b == 0 || b == b' ') {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &digit| {
        value
            .checked_mul(8)
            .and_then(|v| v.checked_add(u64::from(digit - b'0')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_fields() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"12345670", Some(0o12_345_670)),
            (b"\0\0\0\0", Some(0)),
            (b"    ", Some(0)),
            (b"08\0", None),
            (b"-1\0", None),
            (b"1\x001", None),
            (b"7777777777777777777777777", None),
        ] {
            assert_eq!(octal(field), expected, "{field:?}");
        }
    }

    fn size_of(field: [u8; 12]) -> Result<u64, HeaderProblem> {
        let mut block = [0; BLOCK];
        block[SIZE].copy_from_slice(&field);
        Header(&block).size()
    }

    #[test]
    fn base_256_sizes() {
        let field = |first: u8, low: [u8; 8]| {
            let mut field = [0; 12];
            field[0] = first;
            field[4..].copy_from_slice(&low);
            field
        };
        assert_eq!(
            size_of(field(0x80, 5_000_000_000u64.to_be_bytes())),
            Ok(5_000_000_000)
        );
        assert!(size_of(field(0x80, [0xff; 8])).is_err());
        assert!(size_of(field(0xff, [0xff; 8])).is_err());
        assert!(size_of(field(0x8e, [0; 8])).is_err());
        assert!(size_of([0xff; 12]).is_err());
        let mut wide = field(0x80, [0; 8]);
        wide[1] = 1;
        assert!(size_of(wide).is_err());
    }
}
