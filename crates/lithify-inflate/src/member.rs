//! Header and trailer of a gzip member (RFC 1952, 2.3), read wherever input chunks cut them.

use crate::error::GzipError;
use crate::gzip::MemberTrailer;

const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

/// Reads a header. Nothing of it is kept: names and comments are not used, and may be of any
/// length.
#[derive(Debug, Default)]
pub(crate) struct Header {
    field: Field,
    flags: u8,
    crc: crc32fast::Hasher,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, Default)]
enum Field {
    #[default]
    Magic1,
    Magic2,
    Method,
    Flags,
    /// MTIME, XFL and OS: so many bytes are still to come.
    Fixed(u8),
    ExtraLow,
    ExtraHigh(u8),
    Extra(u16),
    Name,
    Comment,
    CrcLow,
    CrcHigh(u8),
    Done,
}

impl Header {
    /// Goes on reading; true when the header is complete, false when the input ends before.
    ///
    /// `start` is the offset of `input[*pos]` in the whole input, for the error about something
    /// after a member that only begins like another one.
    pub(crate) fn read(
        &mut self,
        member: u64,
        start: u64,
        input: &[u8],
        pos: &mut usize,
    ) -> Result<bool, GzipError> {
        let first = *pos;
        loop {
            self.skip_absent();
            if matches!(self.field, Field::Done) {
                return Ok(true);
            }
            let rest = &input[*pos..];
            let Some(&byte) = rest.first() else {
                return Ok(false);
            };
            let (len, next) = match self.field {
                Field::Magic1 if byte == 0x1f => (1, Field::Magic2),
                Field::Magic2 if byte == 0x8b => (1, Field::Method),
                Field::Magic1 | Field::Magic2 => {
                    let at = u8::from(matches!(self.field, Field::Magic2));
                    return Err(if member == 1 {
                        GzipError::Magic { found: byte, at }
                    } else {
                        let offset = start + (*pos - first) as u64;
                        GzipError::TrailingGarbage {
                            found: byte,
                            offset,
                        }
                    });
                }
                Field::Method if byte == 8 => (1, Field::Flags),
                Field::Method => {
                    return Err(GzipError::Method {
                        member,
                        found: byte,
                    });
                }
                Field::Flags if byte & RESERVED != 0 => {
                    return Err(GzipError::ReservedFlags {
                        member,
                        found: byte,
                    });
                }
                Field::Flags => {
                    self.flags = byte;
                    (1, Field::Fixed(6))
                }
                Field::Fixed(1) => (1, Field::ExtraLow),
                Field::Fixed(left) => (1, Field::Fixed(left - 1)),
                Field::ExtraLow => (1, Field::ExtraHigh(byte)),
                Field::ExtraHigh(low) => (1, Field::Extra(u16::from_le_bytes([low, byte]))),
                Field::Extra(left) => {
                    let len = rest.len().min(usize::from(left));
                    (len, Field::Extra(left - len as u16))
                }
                Field::Name => through_zero(rest, Field::Name, Field::Comment),
                Field::Comment => through_zero(rest, Field::Comment, Field::CrcLow),
                Field::CrcLow => (1, Field::CrcHigh(byte)),
                Field::CrcHigh(low) => {
                    let found = u16::from_le_bytes([low, byte]);
                    let expected = self.crc.clone().finalize() as u16;
                    if found != expected {
                        return Err(GzipError::HeaderChecksum {
                            member,
                            expected,
                            found,
                        });
                    }
                    (1, Field::Done)
                }
                Field::Done => (0, Field::Done),
            };
            if !matches!(self.field, Field::CrcLow | Field::CrcHigh(_)) {
                self.crc.update(&rest[..len]);
            }
            self.field = next;
            *pos += len;
        }
    }

    /// Goes past fields that the flags say are not there.
    fn skip_absent(&mut self) {
        loop {
            self.field = match self.field {
                Field::ExtraLow if self.flags & FEXTRA == 0 => Field::Name,
                Field::Extra(0) => Field::Name,
                Field::Name if self.flags & FNAME == 0 => Field::Comment,
                Field::Comment if self.flags & FCOMMENT == 0 => Field::CrcLow,
                Field::CrcLow if self.flags & FHCRC == 0 => Field::Done,
                _ => return,
            };
        }
    }
}

/// The length of the text up to and with its zero byte, and the field after it; if there is no
/// zero byte, all of `rest`, and the same field.
fn through_zero(rest: &[u8], field: Field, after: Field) -> (usize, Field) {
    match rest.iter().position(|&byte| byte == 0) {
        Some(at) => (at + 1, after),
        None => (rest.len(), field),
    }
}

/// Reads the eight bytes of a trailer.
#[derive(Debug, Default)]
pub(crate) struct Trailer {
    bytes: [u8; 8],
    have: usize,
    last: Option<MemberTrailer>,
}

impl Trailer {
    pub(crate) fn start(&mut self) {
        self.have = 0;
    }

    pub(crate) fn last(&self) -> Option<MemberTrailer> {
        self.last
    }

    /// Goes on reading; nothing if the input ends before the trailer does.
    pub(crate) fn read(&mut self, input: &[u8], pos: &mut usize) -> Option<MemberTrailer> {
        while self.have < self.bytes.len() {
            self.bytes[self.have] = *input.get(*pos)?;
            self.have += 1;
            *pos += 1;
        }
        let [c0, c1, c2, c3, s0, s1, s2, s3] = self.bytes;
        let trailer = MemberTrailer {
            crc32: u32::from_le_bytes([c0, c1, c2, c3]),
            size: u32::from_le_bytes([s0, s1, s2, s3]),
        };
        self.last = Some(trailer);
        Some(trailer)
    }
}
