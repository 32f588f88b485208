//! A blob's bytes for whoever decodes them, read by a thread ahead of it or when asked for.

use std::sync::mpsc::{Receiver, channel};
use std::thread::{Builder, JoinHandle};

use super::BlobError;
use super::buffer::Chunk;
use super::source::{Source, Totals};

/// Name of the thread that reads and hashes the blob.
const THREAD: &str = "lithify-read";

/// The blob's bytes, piece by piece.
#[derive(Debug)]
pub(crate) struct Input {
    feed: Feed,
    /// The chunk being taken apart, and how much of it is done.
    current: Option<Chunk>,
    at: usize,
    /// Bytes of the chunks before it.
    before: u64,
}

#[derive(Debug)]
enum Feed {
    Inline(Box<Source>),
    /// The source's pool bounds the queue.
    Threaded {
        chunks: Receiver<Chunk>,
        thread: JoinHandle<Result<Totals, BlobError>>,
    },
    Ended(Totals),
    /// An error was given out.
    Failed,
}

impl Input {
    pub(crate) fn inline(source: Source) -> Self {
        Self::new(Feed::Inline(Box::new(source)))
    }

    /// Reads and hashes in a thread of its own.
    pub(crate) fn spawn(mut source: Source) -> Result<Self, BlobError> {
        let (queue, chunks) = channel::<Chunk>();
        let thread = Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || {
                while let Some(chunk) = source.chunk()? {
                    // First to the decoder, which everyone else waits for.
                    if queue.send(chunk.clone()).is_err() {
                        return Err(BlobError::Cancelled);
                    }
                    source.hash(&chunk);
                }
                Ok(source.totals())
            })
            .map_err(BlobError::Thread)?;
        Ok(Self::new(Feed::Threaded { chunks, thread }))
    }

    fn new(feed: Feed) -> Self {
        Self {
            feed,
            current: None,
            at: 0,
            before: 0,
        }
    }

    /// Bytes consumed so far, for messages.
    pub(crate) fn offset(&self) -> u64 {
        self.before + self.at as u64
    }

    /// Bytes not yet consumed; none only at the end, after which [`Self::totals`] are known.
    pub(crate) fn fill(&mut self) -> Result<&[u8], BlobError> {
        if self
            .current
            .as_ref()
            .is_none_or(|chunk| self.at == chunk.len())
        {
            self.before += self.at as u64;
            self.at = 0;
            self.current = None;
            self.current = self.next()?;
        }
        Ok(self.current.as_ref().map_or(&[], |chunk| &chunk[self.at..]))
    }

    /// Marks the first `count` bytes of [`Self::fill`] as consumed.
    pub(crate) fn consume(&mut self, count: usize) {
        self.at += count;
    }

    /// A whole chunk, nothing of which was consumed; `None` at the end.
    pub(crate) fn chunk(&mut self) -> Result<Option<Chunk>, BlobError> {
        debug_assert_eq!(self.at, 0, "whole chunks or bytes, not both");
        match self.current.take() {
            Some(chunk) => Ok(Some(chunk)),
            None => self.next(),
        }
    }

    /// Reads and hashes what is left.
    pub(crate) fn drain(&mut self) -> Result<(), BlobError> {
        self.current = None;
        while self.next()?.is_some() {}
        Ok(())
    }

    /// What the whole blob came to, once it was read to its end.
    pub(crate) fn totals(&self) -> Option<Totals> {
        match &self.feed {
            Feed::Ended(totals) => Some(*totals),
            _ => None,
        }
    }

    fn next(&mut self) -> Result<Option<Chunk>, BlobError> {
        let end = match &mut self.feed {
            Feed::Inline(source) => match source.chunk() {
                Ok(Some(chunk)) => {
                    source.hash(&chunk);
                    return Ok(Some(chunk));
                }
                Ok(None) => Ok(source.totals()),
                Err(error) => Err(error),
            },
            Feed::Threaded { chunks, .. } => match chunks.recv() {
                Ok(chunk) => return Ok(Some(chunk)),
                Err(_) => match std::mem::replace(&mut self.feed, Feed::Failed) {
                    Feed::Threaded { thread, .. } => thread
                        .join()
                        .unwrap_or(Err(BlobError::Panicked { thread: THREAD })),
                    _ => Err(BlobError::Cancelled),
                },
            },
            Feed::Ended(_) => return Ok(None),
            Feed::Failed => return Err(BlobError::Cancelled),
        };
        match end {
            Ok(totals) => {
                self.feed = Feed::Ended(totals);
                Ok(None)
            }
            Err(error) => {
                self.feed = Feed::Failed;
                Err(error)
            }
        }
    }
}

impl Drop for Input {
    /// Waits for the thread, which ends when nobody takes its chunks any more: at once, or with the read it is in.
    fn drop(&mut self) {
        self.current = None;
        if let Feed::Threaded { chunks, thread } = std::mem::replace(&mut self.feed, Feed::Failed) {
            drop(chunks);
            // What it found out concerns no one any more.
            drop(thread.join());
        }
    }
}
