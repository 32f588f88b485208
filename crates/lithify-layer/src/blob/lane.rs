//! Hashing the tar's chunks as they pass, here or in a thread.

use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};

use lithify_digest::{Algorithm, Digest, Hasher};

use super::{BlobError, Chunk};

/// Name of the thread that hashes the tar.
const THREAD: &str = "lithify-diff-id";

/// A running digest of a stream of chunks.
#[derive(Debug)]
pub(crate) struct Lane(Kind);

#[derive(Debug)]
enum Kind {
    Inline(Hasher),
    Thread {
        queue: Option<Sender<Chunk>>,
        thread: Option<JoinHandle<Digest>>,
    },
}

impl Lane {
    pub(crate) fn inline(algorithm: Algorithm) -> Self {
        Self(Kind::Inline(Hasher::new(algorithm)))
    }

    /// A digest computed by a thread. The queue is bounded by the pool its chunks come from.
    pub(crate) fn spawn(algorithm: Algorithm) -> Result<Self, BlobError> {
        let (queue, chunks) = channel::<Chunk>();
        let thread = Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || {
                let mut hasher = Hasher::new(algorithm);
                for chunk in chunks {
                    hasher.update(&chunk);
                }
                hasher.finish()
            })
            .map_err(BlobError::Thread)?;
        Ok(Self(Kind::Thread {
            queue: Some(queue),
            thread: Some(thread),
        }))
    }

    pub(crate) fn update(&mut self, chunk: &Chunk) {
        match &mut self.0 {
            Kind::Inline(hasher) => hasher.update(chunk),
            Kind::Thread { queue, .. } => {
                if let Some(queue) = queue {
                    // It fails only when the thread has panicked, which `finish` reports.
                    drop(queue.send(chunk.clone()));
                }
            }
        }
    }

    pub(crate) fn finish(mut self) -> Result<Digest, BlobError> {
        match &mut self.0 {
            Kind::Inline(hasher) => Ok(hasher.clone().finish()),
            Kind::Thread { queue, thread } => {
                *queue = None;
                let panicked = BlobError::Panicked { thread: THREAD };
                match thread.take() {
                    Some(thread) => thread.join().map_err(|_| panicked),
                    None => Err(panicked),
                }
            }
        }
    }
}

impl Drop for Lane {
    /// Waits for the thread, which has at most the pool's chunks left to hash.
    fn drop(&mut self) {
        if let Kind::Thread { queue, thread, .. } = &mut self.0 {
            *queue = None;
            if let Some(thread) = thread.take() {
                // A panic matters to `finish`, not to one who no longer wants the digest.
                drop(thread.join());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::buffer::Pool;
    use super::*;

    #[test]
    fn both_kinds_agree() {
        let mut pool = Pool::new(3, 2);
        let mut lanes = [
            Lane::inline(Algorithm::Sha512),
            Lane::spawn(Algorithm::Sha512).unwrap(),
        ];
        for _ in 0..100 {
            let buffer = pool.take();
            let chunk = pool.share(buffer, 0..3);
            for lane in &mut lanes {
                lane.update(&chunk);
            }
        }
        for lane in lanes {
            assert_eq!(
                lane.finish().unwrap(),
                Digest::of(Algorithm::Sha512, &[0; 300])
            );
        }
    }
}
