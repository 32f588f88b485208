//! The raw deflate stream, and the choice of its encoder.

use std::fmt;
use std::io::{self, Write};

use crate::block::BlockWriter;
use crate::chained::Chained;
use crate::level::{Level, Strategy};
use crate::sampled::Sampled;

/// A writer that compresses into a raw deflate stream, as a `Writer` of Go's `compress/flate` does.
///
/// The sizes of the pieces that are written do not change the stream, but the ends of calls that
/// are marked do: see [`GoDeflate::mark_write_end`].
///
/// The stream is complete only after [`GoDeflate::finish`]: dropping the writer leaves out its end.
///
/// An error is one of the inner writer. The input of that call is not consumed, so it may be
/// repeated if the inner writer can go on.
pub struct GoDeflate<W: Write> {
    engine: Engine,
    out: BlockWriter,
    inner: W,
}

enum Engine {
    Sampled(Sampled),
    Chained(Chained),
}

impl<W: Write> GoDeflate<W> {
    /// Creates a writer that writes its stream to `inner`.
    pub fn new(inner: W, level: Level) -> Self {
        let engine = match level.strategy() {
            Strategy::Sampled => Engine::Sampled(Sampled::new()),
            Strategy::Chained(choice) => Engine::Chained(Chained::new(choice)),
        };
        Self {
            engine,
            out: BlockWriter::new(),
            inner,
        }
    }

    /// Returns the inner writer. Some of the stream so far may not have been written to it.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.inner
    }

    /// Records that the program whose stream is made ended a call of `Write` here.
    ///
    /// Without marks the stream is the one of a single call, or of calls that each pass 32 KiB, as
    /// `io.Copy` makes them. Marks make the stream that of the calls they divide the input into.
    ///
    /// A mark can change something at levels 2 to 9, if it is among the last 258 bytes before the
    /// end of a full window: 64 KiB from the beginning, and each 32 KiB further on. If the match in
    /// progress reaches near enough to that end, Go moves its window early, and all windows after
    /// that begin earlier too. Two things depend on where windows begin: how much of the history,
    /// less than 262 bytes short of 32 KiB, a position near a window's end may refer to; and
    /// whether the input of a long block is still there to be stored. Most streams are equal in
    /// spite of that.
    ///
    /// ```
    /// use lithify_deflate::{GoDeflate, Level};
    /// use std::io::Write;
    ///
    /// let mut stream = GoDeflate::new(Vec::new(), Level::DEFAULT);
    /// stream.write_all(b"what one call of Write passed")?;
    /// stream.mark_write_end();
    /// stream.write_all(b"what the next one passed")?;
    /// stream.finish()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn mark_write_end(&mut self) {
        match &mut self.engine {
            Engine::Sampled(_) => {}
            Engine::Chained(chained) => chained.mark_write_end(),
        }
    }

    /// Writes the end of the stream, and returns the inner writer, which is not flushed.
    ///
    /// # Errors
    ///
    /// Those of the inner writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.finish_with(&[])?;
        Ok(self.inner)
    }

    /// Writes the end of the stream, and `trailer` after it.
    pub(crate) fn finish_with(&mut self, trailer: &[u8]) -> io::Result<()> {
        match &mut self.engine {
            Engine::Sampled(sampled) => sampled.finish(&mut self.out),
            Engine::Chained(chained) => chained.finish(&mut self.out),
        }
        self.out.finish();
        self.out.bits.append(trailer);
        self.drain()
    }

    /// Puts bytes in front of the stream.
    pub(crate) fn prepend(&mut self, header: &[u8]) {
        self.out.bits.append(header);
    }

    pub(crate) fn into_inner(self) -> W {
        self.inner
    }

    fn drain(&mut self) -> io::Result<()> {
        loop {
            let pending = self.out.bits.pending();
            if pending.is_empty() {
                return Ok(());
            }
            match self.inner.write(pending) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.out.bits.advance(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl<W: Write> Write for GoDeflate<W> {
    /// Compresses some bytes: as many as fit into the window, 64 KiB at most.
    fn write(&mut self, input: &[u8]) -> io::Result<usize> {
        // Before anything is consumed, so that an error loses nothing.
        self.drain()?;
        Ok(match &mut self.engine {
            Engine::Sampled(sampled) => sampled.absorb(input, &mut self.out),
            Engine::Chained(chained) => chained.absorb(input, &mut self.out),
        })
    }

    /// Flushes the inner writer. What is not compressed yet stays here, since a flush as Go has it
    /// would cut the stream.
    fn flush(&mut self) -> io::Result<()> {
        self.drain()?;
        self.inner.flush()
    }
}

impl<W: Write> fmt::Debug for GoDeflate<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GoDeflate").finish_non_exhaustive()
    }
}
