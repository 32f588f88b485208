//! The gzip container (RFC 1952) around the deflate decoder.

use crate::error::{GzipError, MemberPart};
use crate::inflate::Inflate;
use crate::member::{Header, Trailer};
use crate::{Progress, Status};

/// A streaming decoder of gzip files: one member after the other.
///
/// Layers are not always one member: eStargz files are hundreds of them, so stopping after the
/// first would silently lose files. Zero bytes after the last member, with which some tools pad
/// their output to a block size, are skipped; anything else there is an error.
///
/// Each member's header checksum (if it has one), CRC-32 and size are verified.
///
/// ```
/// use lithify_inflate::{Gzip, Status};
///
/// // gzip of "hi", in a stored block.
/// let mut input: &[u8] = &[
///     0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, // header
///     0x01, 0x02, 0x00, 0xfd, 0xff, b'h', b'i', // data
///     0xac, 0x2a, 0x93, 0xd8, 2, 0, 0, 0, // CRC-32, size
/// ];
/// let mut gzip = Gzip::new();
/// let mut out = [0; 16];
/// let mut out_pos = 0;
/// loop {
///     let progress = gzip.decode(input, &mut out, out_pos)?;
///     input = &input[progress.consumed..];
///     out_pos += progress.produced;
///     match progress.status {
///         Status::NeedInput => break, // here: read more, or at the end of the file:
///         Status::NeedOutput => unreachable!("there is room"),
///         Status::End => {} // one member is complete, another may follow
///     }
/// }
/// gzip.finish()?;
/// assert_eq!(&out[..out_pos], b"hi");
/// # Ok::<(), lithify_inflate::GzipError>(())
/// ```
#[derive(Debug)]
pub struct Gzip {
    state: State,
    inflate: Inflate,
    header: Header,
    trailer: Trailer,
    /// None when the caller computes it elsewhere.
    crc: Option<crc32fast::Hasher>,
    /// Members begun.
    member: u64,
    total_in: u64,
    total_out: u64,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Before the first byte of a member.
    Start,
    Header,
    Data,
    Trailer,
    /// Zero bytes after the last member.
    Padding,
    Failed(GzipError),
}

/// What the trailer of a member states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberTrailer {
    /// The CRC-32 of the member's decoded bytes.
    pub crc32: u32,
    /// The number of the member's decoded bytes, modulo 2³².
    pub size: u32,
}

impl Default for Gzip {
    fn default() -> Self {
        Self::new()
    }
}

impl Gzip {
    /// A decoder that verifies everything.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Start,
            inflate: Inflate::new(),
            header: Header::default(),
            trailer: Trailer::default(),
            crc: Some(crc32fast::Hasher::new()),
            member: 0,
            total_in: 0,
            total_out: 0,
        }
    }

    /// A decoder that leaves the CRC-32 of the decoded bytes to the caller, who may compute it in
    /// another thread: the expected value is at hand after [`Status::End`], as
    /// [`Gzip::last_trailer`].
    #[must_use]
    pub fn without_crc() -> Self {
        Self {
            crc: None,
            ..Self::new()
        }
    }

    /// Members that were begun so far.
    #[must_use]
    pub fn members(&self) -> u64 {
        self.member
    }

    /// Compressed bytes consumed so far.
    #[must_use]
    pub fn total_in(&self) -> u64 {
        self.total_in
    }

    /// Bytes produced so far.
    #[must_use]
    pub fn total_out(&self) -> u64 {
        self.total_out
    }

    /// The trailer of the last complete member.
    #[must_use]
    pub fn last_trailer(&self) -> Option<MemberTrailer> {
        self.trailer.last()
    }

    /// Decodes from `input` into `out[out_pos..]`, with the history before `out_pos` as in
    /// [`Inflate::decode`]. A member refers to its own bytes only, so the history needed is at
    /// most what the current member produced.
    ///
    /// * [`Status::NeedInput`]: all of `input` was consumed. At the end of the input, call
    ///   [`Gzip::finish`] to learn whether it may end there.
    /// * [`Status::NeedOutput`]: `out` is full.
    /// * [`Status::End`]: a member is complete and verified. Go on with the rest of the input;
    ///   only its end tells that there is no further member.
    ///
    /// # Errors
    ///
    /// Any [`GzipError`] but [`GzipError::Truncated`]. Further calls give the same error again.
    pub fn decode(
        &mut self,
        input: &[u8],
        out: &mut [u8],
        out_pos: usize,
    ) -> Result<Progress, GzipError> {
        let mut pos = 0;
        let mut out_end = out_pos;
        let status = self
            .run(input, &mut pos, out, &mut out_end)
            .inspect_err(|&error| {
                if !matches!(error, GzipError::Deflate { source, .. } if source.is_misuse()) {
                    self.state = State::Failed(error);
                }
            })?;
        self.total_in += pos as u64;
        self.total_out += (out_end - out_pos) as u64;
        Ok(Progress {
            consumed: pos,
            produced: out_end - out_pos,
            status,
        })
    }

    fn run(
        &mut self,
        input: &[u8],
        pos: &mut usize,
        out: &mut [u8],
        out_pos: &mut usize,
    ) -> Result<Status, GzipError> {
        loop {
            match self.state {
                State::Start => {
                    let Some(&byte) = input.get(*pos) else {
                        return Ok(Status::NeedInput);
                    };
                    self.state = match byte {
                        0x1f => {
                            self.member += 1;
                            self.header = Header::default();
                            State::Header
                        }
                        _ if self.member == 0 => {
                            return Err(GzipError::Magic { found: byte, at: 0 });
                        }
                        0 => State::Padding,
                        found => return Err(self.garbage(found, *pos)),
                    };
                }
                State::Header => {
                    let garbage = self.total_in + *pos as u64;
                    if !self.header.read(self.member, garbage, input, pos)? {
                        return Ok(Status::NeedInput);
                    }
                    self.inflate.reset();
                    self.trailer.start();
                    if let Some(crc) = &mut self.crc {
                        crc.reset();
                    }
                    self.state = State::Data;
                }
                State::Data => {
                    let progress =
                        self.inflate
                            .decode(&input[*pos..], out, *out_pos)
                            .map_err(|source| GzipError::Deflate {
                                member: self.member,
                                offset: self.total_in + *pos as u64,
                                source,
                            })?;
                    *pos += progress.consumed;
                    let end = *out_pos + progress.produced;
                    if let Some(crc) = &mut self.crc {
                        crc.update(&out[*out_pos..end]);
                    }
                    *out_pos = end;
                    match progress.status {
                        Status::End => self.state = State::Trailer,
                        status => return Ok(status),
                    }
                }
                State::Trailer => {
                    let Some(trailer) = self.trailer.read(input, pos) else {
                        return Ok(Status::NeedInput);
                    };
                    self.verify(trailer)?;
                    self.state = State::Start;
                    return Ok(Status::End);
                }
                State::Padding => {
                    let rest = &input[*pos..];
                    if let Some(at) = rest.iter().position(|&byte| byte != 0) {
                        return Err(self.garbage(rest[at], *pos + at));
                    }
                    *pos = input.len();
                    return Ok(Status::NeedInput);
                }
                State::Failed(error) => return Err(error),
            }
        }
    }

    fn garbage(&self, found: u8, pos: usize) -> GzipError {
        GzipError::TrailingGarbage {
            found,
            offset: self.total_in + pos as u64,
        }
    }

    fn verify(&mut self, trailer: MemberTrailer) -> Result<(), GzipError> {
        let member = self.member;
        if let Some(crc) = &mut self.crc {
            let found = std::mem::take(crc).finalize();
            if found != trailer.crc32 {
                return Err(GzipError::Checksum {
                    member,
                    expected: trailer.crc32,
                    found,
                });
            }
        }
        let found = self.inflate.total_out() as u32;
        if found != trailer.size {
            return Err(GzipError::Size {
                member,
                expected: trailer.size,
                found,
            });
        }
        Ok(())
    }

    /// Says that there is no more input.
    ///
    /// # Errors
    ///
    /// [`GzipError::Truncated`] if a member is not complete, or if there was none; the error of
    /// [`Gzip::decode`] if there was one.
    pub fn finish(&self) -> Result<(), GzipError> {
        let part = match self.state {
            State::Start if self.member > 0 => return Ok(()),
            State::Padding => return Ok(()),
            State::Start | State::Header => MemberPart::Header,
            State::Data => MemberPart::Data,
            State::Trailer => MemberPart::Trailer,
            State::Failed(error) => return Err(error),
        };
        Err(GzipError::Truncated {
            member: self.member.max(1),
            offset: self.total_in,
            part,
        })
    }
}
