//! Where file data goes: each target says what to do with the bytes of a regular file.

use crate::DataSegment;

/// A target's name for the content of one regular file, given out by its [`ContentSink`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId(pub u32);

/// Receives the data of regular files in stream order, before it is known which of them survive the merge.
///
/// Calls come as `begin`, any number of `write`s whose lengths add up to the data bytes announced, `finish`.
pub trait ContentSink {
    /// What can go wrong.
    type Error;

    /// Starts a file of `size` bytes. With `segments`, only those stretches are data and everything else is a hole;
    /// without, all `size` bytes are data.
    ///
    /// # Errors
    /// Whatever stops the target from taking the file.
    fn begin(&mut self, size: u64, segments: Option<&[DataSegment]>) -> Result<(), Self::Error>;

    /// Says that the file that was begun is an open file of this host, as it is: a target on the same filesystem may share its
    /// blocks. Its data is written all the same. Whether it changed meanwhile is known to whoever reads it before
    /// [`finish`](Self::finish) is called.
    ///
    /// # Errors
    /// Whatever stops the target from taking the file.
    #[cfg(unix)]
    fn is_host_file(&mut self, file: std::os::fd::BorrowedFd<'_>) -> Result<(), Self::Error> {
        let _ = file;
        Ok(())
    }

    /// The next data bytes (holes are not written), in pieces of any length.
    ///
    /// # Errors
    /// Whatever stops the target from taking the data.
    fn write(&mut self, data: &[u8]) -> Result<(), Self::Error>;

    /// Ends the file and names its content.
    ///
    /// # Errors
    /// Whatever stops the target from completing the file.
    fn finish(&mut self) -> Result<ContentId, Self::Error>;
}
