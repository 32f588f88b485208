//! The raw deflate decoder: block structure, and the careful symbol loop for the places where the
//! fast one has no room.

use crate::bits::Bits;
use crate::error::DeflateError;
use crate::fast::{self, Exit};
use crate::header::DynamicHeader;
use crate::output::{Output, too_far};
use crate::table::{Entry, HALT_DIST, HALT_END_OF_BLOCK, HALT_LITLEN, Tables};
use crate::{Progress, Status, WINDOW_SIZE};

/// A streaming decoder of one raw deflate stream (RFC 1951).
///
/// It does no input or output and allocates nothing after [`Inflate::new`] (about 80 KiB of
/// tables). The caller passes input in chunks of any size and an output buffer that carries its
/// own history, see [`Inflate::decode`].
///
/// ```
/// use lithify_inflate::{Inflate, Status};
///
/// // A stored block with the two bytes "hi".
/// let input = [0x01, 0x02, 0x00, 0xfd, 0xff, b'h', b'i'];
/// let mut out = [0; 16];
/// let progress = Inflate::new().decode(&input, &mut out, 0)?;
/// assert_eq!(progress.status, Status::End);
/// assert_eq!(&out[..progress.produced], b"hi");
/// # Ok::<(), lithify_inflate::DeflateError>(())
/// ```
#[derive(Debug)]
pub struct Inflate {
    state: State,
    /// The block being decoded is the stream's last.
    last_block: bool,
    bits: Bits,
    total_in: u64,
    total_out: u64,
    header: DynamicHeader,
    tables: Tables,
}

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum State {
    BlockHeader,
    StoredLength,
    Stored {
        left: usize,
    },
    DynamicHeader,
    Symbols,
    /// A match of which not all bytes had room.
    Match {
        distance: usize,
        left: usize,
    },
    Done,
    Failed(DeflateError),
}

/// One element of a compressed block.
enum Symbol {
    Literal(u8),
    Match { length: usize, distance: usize },
    EndOfBlock,
}

impl Default for Inflate {
    fn default() -> Self {
        Self::new()
    }
}

impl Inflate {
    /// A decoder at the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::BlockHeader,
            last_block: false,
            bits: Bits::default(),
            total_in: 0,
            total_out: 0,
            header: DynamicHeader::new(),
            tables: Tables::new(),
        }
    }

    /// Makes the decoder ready for the beginning of another stream, keeping its memory.
    pub fn reset(&mut self) {
        self.state = State::BlockHeader;
        self.last_block = false;
        self.bits = Bits::default();
        self.total_in = 0;
        self.total_out = 0;
    }

    /// Compressed bytes consumed since the beginning of the stream.
    #[must_use]
    pub fn total_in(&self) -> u64 {
        self.total_in
    }

    /// Bytes produced since the beginning of the stream.
    #[must_use]
    pub fn total_out(&self) -> u64 {
        self.total_out
    }

    /// Whether the end of the stream was decoded.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Decodes from `input` into `out[out_pos..]` as far as either reaches.
    ///
    /// `out[..out_pos]` is the history that matches copy from: it has to end with the last
    /// [`WINDOW_SIZE`] bytes this decoder produced, or all of them while they are fewer.
    /// When the buffer is full, move its last [`WINDOW_SIZE`] bytes to the front
    /// of the next one ([`carry_history`](crate::carry_history)) and go on from there; with
    /// buffers of some hundred KiB this costs next to nothing.
    ///
    /// Nothing before `out_pos` is written, and bytes after the produced ones are left in an
    /// unspecified state.
    ///
    /// * [`Status::NeedInput`]: all of `input` was consumed.
    /// * [`Status::NeedOutput`]: `out` is full.
    /// * [`Status::End`]: the stream ended; `input[consumed..]` does not belong to it. Calls after
    ///   that consume and produce nothing.
    ///
    /// # Errors
    ///
    /// Any [`DeflateError`]. The output of the failed call is lost, and further calls give the
    /// same error again, except after [`DeflateError::MissingHistory`] and
    /// [`DeflateError::OutputPosition`].
    pub fn decode(
        &mut self,
        input: &[u8],
        out: &mut [u8],
        out_pos: usize,
    ) -> Result<Progress, DeflateError> {
        let needed = self.total_out.min(WINDOW_SIZE as u64) as usize;
        if out_pos > out.len() {
            return Err(DeflateError::OutputPosition {
                found: out_pos,
                len: out.len(),
            });
        }
        if out_pos < needed {
            return Err(DeflateError::MissingHistory {
                needed,
                found: out_pos,
            });
        }
        // The first byte of this stream that `out` may hold.
        let base = out_pos - self.total_out.min(out_pos as u64) as usize;
        let mut out = Output::new(out, out_pos, base);
        let mut pos = 0;
        match self.run(input, &mut pos, &mut out) {
            Ok(status) => {
                if status != Status::NeedInput {
                    self.bits.give_back(&mut pos, 0);
                }
                let produced = out.pos() - out_pos;
                self.total_in += pos as u64;
                self.total_out += produced as u64;
                Ok(Progress {
                    consumed: pos,
                    produced,
                    status,
                })
            }
            Err(error) => {
                self.state = State::Failed(error);
                Err(error)
            }
        }
    }

    fn run(
        &mut self,
        input: &[u8],
        pos: &mut usize,
        out: &mut Output<'_>,
    ) -> Result<Status, DeflateError> {
        loop {
            match self.state {
                State::BlockHeader => {
                    self.bits.refill(input, pos);
                    let Some(header) = self.bits.take(3) else {
                        return Ok(Status::NeedInput);
                    };
                    self.last_block = header & 1 != 0;
                    self.state = match header >> 1 {
                        0 => State::StoredLength,
                        1 => {
                            self.tables.build_fixed()?;
                            State::Symbols
                        }
                        2 => {
                            self.header.reset();
                            State::DynamicHeader
                        }
                        _ => return Err(DeflateError::BlockType),
                    };
                }
                State::StoredLength => {
                    self.bits.refill(input, pos);
                    if self.bits.count < self.bits.count % 8 + 32 {
                        return Ok(Status::NeedInput);
                    }
                    self.bits.align();
                    let Some(lengths) = self.bits.take(32) else {
                        return Ok(Status::NeedInput);
                    };
                    let (len, complement) = (lengths as u16, (lengths >> 16) as u16);
                    if len != !complement {
                        return Err(DeflateError::StoredLength { len, complement });
                    }
                    self.bits.give_back(pos, 0);
                    self.state = State::Stored {
                        left: usize::from(len),
                    };
                }
                State::Stored { left: 0 } => self.end_block(),
                State::Stored { left } => {
                    if out.room() == 0 {
                        return Ok(Status::NeedOutput);
                    }
                    if let Some(byte) = self.bits.take(8) {
                        out.push(byte as u8);
                        self.state = State::Stored { left: left - 1 };
                        continue;
                    }
                    let rest = &input[*pos..];
                    if rest.is_empty() {
                        return Ok(Status::NeedInput);
                    }
                    let len = left.min(rest.len()).min(out.room());
                    out.extend(&rest[..len]);
                    *pos += len;
                    self.state = State::Stored { left: left - len };
                }
                State::DynamicHeader => {
                    if !self.header.read(&mut self.bits, input, pos)? {
                        return Ok(Status::NeedInput);
                    }
                    let (litlen, dist) = self.header.lengths();
                    self.tables.build(litlen, dist)?;
                    self.state = State::Symbols;
                }
                State::Symbols => {
                    if fast::has_room(input.len() - *pos, out.room()) {
                        match fast::run(&self.tables, &mut self.bits, input, pos, out)? {
                            Exit::NoRoom => {}
                            Exit::EndOfBlock => {
                                self.end_block();
                                continue;
                            }
                        }
                        self.bits.give_back(pos, 0);
                    }
                    if let Some(status) = self.symbols(input, pos, out)? {
                        return Ok(status);
                    }
                }
                State::Match { distance, left } => {
                    let len = left.min(out.room());
                    out.copy_match(distance, len);
                    if len < left {
                        self.state = State::Match {
                            distance,
                            left: left - len,
                        };
                        return Ok(Status::NeedOutput);
                    }
                    self.state = State::Symbols;
                }
                State::Done => return Ok(Status::End),
                State::Failed(error) => return Err(error),
            }
        }
    }

    fn end_block(&mut self) {
        self.state = if self.last_block {
            State::Done
        } else {
            State::BlockHeader
        };
    }

    /// Decodes symbol by symbol until the block, the input or the output ends, or until there is
    /// room for the fast loop.
    fn symbols(
        &mut self,
        input: &[u8],
        pos: &mut usize,
        out: &mut Output<'_>,
    ) -> Result<Option<Status>, DeflateError> {
        loop {
            self.bits.refill(input, pos);
            let Some((symbol, bits)) = self.symbol()? else {
                return Ok(Some(Status::NeedInput));
            };
            match symbol {
                Symbol::Literal(byte) => {
                    if out.room() == 0 {
                        return Ok(Some(Status::NeedOutput));
                    }
                    self.bits.consume(bits);
                    out.push(byte);
                }
                Symbol::Match { length, distance } => {
                    if distance > out.history() {
                        return Err(too_far(distance, out.history()));
                    }
                    if out.room() == 0 {
                        return Ok(Some(Status::NeedOutput));
                    }
                    self.bits.consume(bits);
                    let len = length.min(out.room());
                    out.copy_match(distance, len);
                    if len < length {
                        self.state = State::Match {
                            distance,
                            left: length - len,
                        };
                        return Ok(Some(Status::NeedOutput));
                    }
                }
                Symbol::EndOfBlock => {
                    self.bits.consume(bits);
                    self.end_block();
                    return Ok(None);
                }
            }
            if fast::has_room(input.len() - *pos, out.room()) {
                return Ok(None);
            }
        }
    }

    /// The next symbol and the number of its bits, or nothing if the bits at hand do not hold all
    /// of it.
    ///
    /// The bits beyond the input read as zero, but a codeword that lies within the input is found
    /// whatever follows it, so an entry longer than the bits at hand means an incomplete codeword.
    fn symbol(&self) -> Result<Option<(Symbol, u32)>, DeflateError> {
        let at_hand = self.bits.count;
        let bits = self.bits.buffer;
        let Some((entry, before)) = self.codeword(self.tables.litlen(bits), bits, at_hand) else {
            return Ok(None);
        };
        let used = before + entry.total();
        if entry.is_literal() {
            return Ok(Some((Symbol::Literal(entry.byte()), used)));
        }
        match entry.next() {
            HALT_END_OF_BLOCK => return Ok(Some((Symbol::EndOfBlock, used))),
            HALT_LITLEN => return Err(DeflateError::LitLenCode),
            _ => {}
        }
        if used > at_hand {
            return Ok(None);
        }
        let length = entry.value(bits >> before) as usize;

        let bits = bits >> used;
        let at_hand = at_hand - used;
        let Some((entry, before)) = self.codeword(self.tables.distance(bits), bits, at_hand) else {
            return Ok(None);
        };
        if entry.next() == HALT_DIST {
            return Err(DeflateError::DistanceCode);
        }
        if before + entry.total() > at_hand {
            return Ok(None);
        }
        let distance = entry.value(bits >> before) as usize;
        Ok(Some((
            Symbol::Match { length, distance },
            used + before + entry.total(),
        )))
    }

    /// Follows a long codeword into its subtable: the symbol's entry, and the bits before it.
    /// Nothing if the codeword is longer than the bits at hand.
    fn codeword(&self, first: Entry, bits: u64, at_hand: u32) -> Option<(Entry, u32)> {
        let (entry, before) = if first.is_prefix() {
            let before = first.total();
            (self.tables.subtable(first, bits >> before), before)
        } else {
            (first, 0)
        };
        (before + entry.codelen() <= at_hand).then_some((entry, before))
    }
}
