//! The file.

use std::io::Write;

use zstd::stream::write::Encoder as Frame;
use zstd::zstd_safe::CParameter;

use super::encode::Ops;
use super::error::WriteError;
use super::{Version, WINDOW_LOG_MAX};

/// The way operations are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Quick.
    Fast,
    /// Small, and not slow.
    #[default]
    Default,
    /// As small as zstd makes it.
    Best,
}

impl Compression {
    /// Returns zstd's level, and what of it is other than the level says.
    ///
    /// Operations are mostly short, with a few bytes between them. There a shorter search of a thorough parser is worth more than a
    /// long one of a simple parser, and matches of three bytes count.
    const fn parameters(self) -> (i32, &'static [CParameter]) {
        use CParameter::{ChainLog, HashLog, MinMatch, SearchLog, TargetLength, WindowLog};
        match self {
            Self::Fast => (3, &[WindowLog(23)]),
            Self::Default => (
                16,
                &[
                    WindowLog(WINDOW_LOG_MAX),
                    HashLog(22),
                    ChainLog(22),
                    SearchLog(3),
                    MinMatch(3),
                    TargetLength(64),
                ],
            ),
            Self::Best => (
                19,
                &[
                    WindowLog(WINDOW_LOG_MAX),
                    HashLog(24),
                    ChainLog(24),
                    SearchLog(7),
                    MinMatch(3),
                    TargetLength(999),
                ],
            ),
        }
    }

    /// Returns what finds matches that are too far for the parser's tables: of 32 bytes, while zstd by itself looks for 64.
    const fn far(self) -> &'static [CParameter] {
        use CParameter::{EnableLongDistanceMatching, LdmHashLog, LdmHashRateLog, LdmMinMatch};
        match self {
            Self::Fast => &[],
            Self::Default | Self::Best => &[
                EnableLongDistanceMatching(true),
                LdmHashLog(22),
                LdmMinMatch(32),
                LdmHashRateLog(4),
            ],
        }
    }

    /// Returns an estimate of the bytes of memory it takes: the window, and the tables of the search (four bytes an entry, and eight of
    /// those for far matches).
    pub(crate) const fn memory(self) -> u64 {
        match self {
            Self::Fast => 16 << 20,
            Self::Default => 200 << 20,
            Self::Best => 304 << 20,
        }
    }
}

/// Writes a delta of version 1 to its operations.
pub struct DeltaWriter<W: Write> {
    frame: Frame<'static, W>,
}

impl<W: Write> std::fmt::Debug for DeltaWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeltaWriter")
    }
}

impl<W: Write> DeltaWriter<W> {
    /// Begins a delta.
    ///
    /// # Errors
    /// [`WriteError::Write`].
    pub fn new(mut out: W, compression: Compression) -> Result<Self, WriteError> {
        out.write_all(Version::V1.magic())
            .map_err(WriteError::Write)?;
        let begin = || {
            let (level, parameters) = compression.parameters();
            let mut frame = Frame::new(out, level)?;
            for parameter in parameters.iter().chain(compression.far()) {
                frame.set_parameter(*parameter)?;
            }
            frame.include_checksum(true)?;
            Ok(frame)
        };
        let frame = begin().map_err(WriteError::Write)?;
        Ok(Self { frame })
    }

    /// Adds operations.
    ///
    /// # Errors
    /// [`WriteError::Write`].
    pub fn ops(&mut self, ops: &Ops) -> Result<(), WriteError> {
        self.frame.write_all(&ops.0).map_err(WriteError::Write)
    }

    /// Ends the delta; returns the output.
    ///
    /// # Errors
    /// [`WriteError::Write`].
    pub fn finish(self) -> Result<W, WriteError> {
        self.frame.finish().map_err(WriteError::Write)
    }
}
