//! Zstandard (RFC 8878): any number of frames, skippable ones among them.
//!
//! zstd:chunked layers are thousands of frames with a table of contents in skippable ones. The reference decoder does
//! the work; frame headers are read here first, for errors that say what is wanted.

use std::fmt;

use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, get_error_name};

use super::input::Input;
use super::{BlobError, ZstdFault};
use crate::limits::{Limit, LimitExceeded};

const MAGIC: u32 = 0xfd2f_b528;
/// Longest header after the magic: descriptor, window, dictionary, content size.
const HEADER_MAX: usize = 1 + 1 + 4 + 8;
/// The largest window the decoder itself can have.
const WINDOW_LOG_MAX: u32 = if usize::BITS >= 64 { 31 } else { 30 };

/// A decoder of all frames of a blob.
pub(crate) struct Unzstd {
    context: DCtx<'static>,
    state: State,
    window_max: u64,
    /// A frame's header on its way to the decoder.
    header: [u8; 4 + HEADER_MAX],
    header_range: std::ops::Range<usize>,
    /// Index of the frame.
    frame: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Between,
    Data,
    Skip(u32),
    Ended,
}

impl Unzstd {
    pub(crate) fn new(window_log: u32) -> Result<Self, BlobError> {
        let window_log = window_log.clamp(10, WINDOW_LOG_MAX);
        let failed = |reason| BlobError::Zstd {
            frame: 0,
            offset: 0,
            fault: ZstdFault::Corrupt { reason },
        };
        let mut context = DCtx::try_create().ok_or_else(|| failed("no memory for a decoder"))?;
        context
            .set_parameter(DParameter::WindowLogMax(window_log))
            .map_err(|code| failed(get_error_name(code)))?;
        Ok(Self {
            context,
            state: State::Between,
            window_max: 1 << window_log,
            header: [0; 4 + HEADER_MAX],
            header_range: 0..0,
            frame: 0,
        })
    }

    /// Decodes into `buffer[start..]` until it is full or the blob at its end; gives the number of bytes written.
    pub(crate) fn read(
        &mut self,
        input: &mut Input,
        buffer: &mut [u8],
        start: usize,
    ) -> Result<usize, BlobError> {
        let mut at = start;
        while at < buffer.len() {
            match self.state {
                State::Between => self.begin_frame(input)?,
                State::Data => at += self.data(input, &mut buffer[at..])?,
                State::Skip(left) => self.skip(input, left)?,
                State::Ended => break,
            }
        }
        Ok(at - start)
    }

    fn data(&mut self, input: &mut Input, buffer: &mut [u8]) -> Result<usize, BlobError> {
        let from_header = !self.header_range.is_empty();
        let bytes = if from_header {
            &self.header[self.header_range.clone()]
        } else {
            input.fill()?
        };
        let mut in_buffer = InBuffer::around(bytes);
        let mut out_buffer = OutBuffer::around(buffer);
        let result = self
            .context
            .decompress_stream(&mut out_buffer, &mut in_buffer);
        let (read, written, nothing_left) = (in_buffer.pos(), out_buffer.pos(), bytes.is_empty());
        let left = result.map_err(|code| {
            self.fault(
                input,
                ZstdFault::Corrupt {
                    reason: get_error_name(code),
                },
            )
        })?;
        if from_header {
            self.header_range.start += read;
        } else {
            input.consume(read);
        }
        if left == 0 {
            self.end_frame();
        } else if nothing_left && written == 0 {
            return Err(self.fault(input, ZstdFault::Truncated));
        }
        Ok(written)
    }

    fn begin_frame(&mut self, input: &mut Input) -> Result<(), BlobError> {
        if input.fill()?.is_empty() {
            self.state = State::Ended;
            return Ok(());
        }
        self.header_range = 0..0;
        let magic = u32::from_le_bytes(self.take(input)?);
        match magic {
            MAGIC => self.begin_data(input),
            0x184d_2a50..=0x184d_2a5f => {
                self.state = State::Skip(u32::from_le_bytes(self.take(input)?));
                Ok(())
            }
            _ => Err(self.fault(input, ZstdFault::Magic { magic })),
        }
    }

    /// Reads the frame header (RFC 8878, 3.1.1.1) and leaves it for the decoder.
    fn begin_data(&mut self, input: &mut Input) -> Result<(), BlobError> {
        let [descriptor] = self.take(input)?;
        if descriptor & 0x08 != 0 {
            return Err(self.fault(input, ZstdFault::Reserved));
        }
        let single_segment = descriptor & 0x20 != 0;
        let mut window = None;
        if !single_segment {
            let [byte] = self.take(input)?;
            let base = 1u64 << (10 + (byte >> 3));
            window = Some(base + base / 8 * u64::from(byte & 7));
        }
        let id = match descriptor & 3 {
            0 => 0,
            1 => u32::from(u8::from_le_bytes(self.take(input)?)),
            2 => u32::from(u16::from_le_bytes(self.take(input)?)),
            _ => u32::from_le_bytes(self.take(input)?),
        };
        let content = match descriptor >> 6 {
            0 if single_segment => u64::from(u8::from_le_bytes(self.take(input)?)),
            0 => 0,
            1 => u64::from(u16::from_le_bytes(self.take(input)?)) + 256,
            2 => u64::from(u32::from_le_bytes(self.take(input)?)),
            _ => u64::from_le_bytes(self.take(input)?),
        };
        if id != 0 {
            return Err(self.fault(input, ZstdFault::Dictionary { id }));
        }
        // A single segment is decoded in one piece, so its content is its window.
        LimitExceeded::check(
            Limit::ZstdWindow,
            self.window_max,
            window.unwrap_or(content),
        )?;
        self.context
            .reset(ResetDirective::SessionOnly)
            .map_err(|code| {
                self.fault(
                    input,
                    ZstdFault::Corrupt {
                        reason: get_error_name(code),
                    },
                )
            })?;
        self.state = State::Data;
        Ok(())
    }

    /// Takes bytes of a frame header, keeping them.
    fn take<const N: usize>(&mut self, input: &mut Input) -> Result<[u8; N], BlobError> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            match input.fill()?.first() {
                Some(&first) => *byte = first,
                None => return Err(self.fault(input, ZstdFault::Truncated)),
            }
            input.consume(1);
            self.header[self.header_range.end] = *byte;
            self.header_range.end += 1;
        }
        Ok(bytes)
    }

    fn skip(&mut self, input: &mut Input, left: u32) -> Result<(), BlobError> {
        let available = input.fill()?.len();
        if left > 0 && available == 0 {
            return Err(self.fault(input, ZstdFault::Truncated));
        }
        let count = available.min(left as usize);
        input.consume(count);
        match left - count as u32 {
            0 => self.end_frame(),
            left => self.state = State::Skip(left),
        }
        Ok(())
    }

    fn end_frame(&mut self) {
        self.frame += 1;
        self.state = State::Between;
    }

    fn fault(&self, input: &Input, fault: ZstdFault) -> BlobError {
        BlobError::Zstd {
            frame: self.frame,
            offset: input.offset(),
            fault,
        }
    }
}

impl fmt::Debug for Unzstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unzstd")
            .field("frame", &self.frame)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
