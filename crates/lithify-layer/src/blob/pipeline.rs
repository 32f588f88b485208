//! A blob's tar, made by threads or by whoever asks for it.

use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use lithify_cancel::{Budget, CancelToken, Stopped};

use super::cancel::Control;
use super::producer::Producer;
use super::{BlobError, Chunk, Expected, Verified};
use crate::limits::Limits;
use crate::options::Threading;

/// Name of the thread that decompresses the blob.
const THREAD: &str = "lithify-inflate";

/// How long a `read` may last before a reader that is dropped no longer waits for it.
const GRACE: Duration = Duration::from_millis(250);

/// Chunks of tar, then the verdict.
#[derive(Debug)]
pub(crate) struct Pipeline {
    mode: Mode,
    control: Control,
}

#[derive(Debug)]
enum Mode {
    Inline(Box<Producer>),
    Threaded {
        chunks: Receiver<Chunk>,
        thread: JoinHandle<Result<Verified, BlobError>>,
    },
    /// All chunks were given out and everything expected was found true.
    Verified(Verified),
    /// An error was given out.
    Failed,
}

impl Pipeline {
    pub(crate) fn new(
        blob: Box<dyn Read + Send>,
        expected: Expected,
        limits: Limits,
        tar_budget: Budget,
        threading: Threading,
        cancel: CancelToken,
    ) -> Result<Self, BlobError> {
        let control = Control::new(cancel);
        let threads = threading == Threading::Pipelined;
        let mut producer =
            Producer::new(blob, expected, limits, tar_budget, threads, control.clone())?;
        if !threads {
            return Ok(Self {
                mode: Mode::Inline(Box::new(producer)),
                control,
            });
        }
        // The producer's pools bound this queue.
        let (queue, chunks) = channel();
        let thread = Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || {
                loop {
                    match producer.chunk() {
                        Ok(Some(chunk)) => {
                            if queue.send(chunk).is_err() {
                                return Err(BlobError::Cancelled);
                            }
                        }
                        Ok(None) => return producer.verify(),
                        Err(error) => return Err(producer.explain(error)),
                    }
                }
            })
            .map_err(BlobError::Thread)?;
        Ok(Self {
            mode: Mode::Threaded { chunks, thread },
            control,
        })
    }

    /// The next chunk; `None` when there are no more and everything expected of the blob was found true.
    pub(crate) fn next(&mut self) -> Result<Option<Chunk>, BlobError> {
        self.control.cancel.check()?;
        let verdict = match &mut self.mode {
            Mode::Inline(producer) => match producer.chunk() {
                Ok(Some(chunk)) => return Ok(Some(chunk)),
                Ok(None) => producer.verify(),
                Err(error) => Err(producer.explain(error)),
            },
            Mode::Threaded { chunks, .. } => match self.control.cancel.receive(chunks, None) {
                Ok(chunk) => return Ok(Some(chunk)),
                // The thread may be in a read that lasts: it is left to end by itself.
                Err(Stopped::Cancelled) => return Err(BlobError::Cancelled),
                Err(_) => match std::mem::replace(&mut self.mode, Mode::Failed) {
                    Mode::Threaded { thread, .. } => thread
                        .join()
                        .unwrap_or(Err(BlobError::Panicked { thread: THREAD })),
                    _ => Err(BlobError::Cancelled),
                },
            },
            Mode::Verified(_) => return Ok(None),
            Mode::Failed => return Err(BlobError::Cancelled),
        };
        match verdict {
            Ok(verified) => {
                self.mode = Mode::Verified(verified);
                Ok(None)
            }
            Err(error) => {
                self.mode = Mode::Failed;
                Err(error)
            }
        }
    }

    /// What the blob turned out to be, once [`Self::next`] gave `None`.
    pub(crate) fn verified(&self) -> Option<&Verified> {
        match &self.mode {
            Mode::Verified(verified) => Some(verified),
            _ => None,
        }
    }
}

impl Drop for Pipeline {
    /// Stops the threads and waits for them. Only a `read` of the source that lasts is not waited for, since no one can
    /// interrupt it: the threads then stop by themselves when it returns.
    fn drop(&mut self) {
        let mut prompt = self.control.stop();
        if let Mode::Threaded { chunks, thread } = std::mem::replace(&mut self.mode, Mode::Failed) {
            while !prompt {
                match chunks.recv_timeout(GRACE) {
                    // Made before the thread saw the order to stop. Dropped, so that it does not wait for the buffer.
                    Ok(_) => {}
                    Err(RecvTimeoutError::Disconnected) => prompt = true,
                    Err(RecvTimeoutError::Timeout) => return,
                }
            }
            drop(chunks);
            // Its result, a panic included, concerns no one any more.
            drop(thread.join());
        }
    }
}
