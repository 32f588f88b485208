//! Chunks of bytes shared between stages, recycled when the last is done with them.

use std::ops::{Deref, Range};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Bytes that no one changes any more.
#[derive(Clone, Debug)]
pub(crate) struct Chunk(Arc<Recycled>);

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.bytes[self.0.range.clone()]
    }
}

#[derive(Debug)]
struct Recycled {
    bytes: Vec<u8>,
    range: Range<usize>,
    home: Sender<Vec<u8>>,
}

impl Drop for Recycled {
    fn drop(&mut self) {
        // With the pool gone the buffer is freed here.
        drop(self.home.send(std::mem::take(&mut self.bytes)));
    }
}

/// A fixed number of buffers of one size, allocated when first needed.
#[derive(Debug)]
pub(crate) struct Pool {
    size: usize,
    allocated: usize,
    most: usize,
    home: Sender<Vec<u8>>,
    free: Receiver<Vec<u8>>,
}

impl Pool {
    pub(crate) fn new(size: usize, most: usize) -> Self {
        let (home, free) = channel();
        Self {
            size,
            allocated: 0,
            most,
            home,
            free,
        }
    }

    /// A buffer, as soon as there is one. Its bytes are those of an earlier use.
    ///
    /// Every chunk comes back when its holders are done with it, or gone: a panicking thread drops its chunks too.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        if let Ok(buffer) = self.free.try_recv() {
            return buffer;
        }
        if self.allocated < self.most {
            self.allocated += 1;
            return vec![0; self.size];
        }
        // `home` keeps the channel open, so this fails never; and a new buffer would be right anyway.
        self.free.recv().unwrap_or_else(|_| vec![0; self.size])
    }

    /// Makes a chunk of part of a buffer.
    pub(crate) fn share(&self, bytes: Vec<u8>, range: Range<usize>) -> Chunk {
        Chunk(Arc::new(Recycled {
            bytes,
            range,
            home: self.home.clone(),
        }))
    }

    /// Takes a buffer back that became no chunk.
    pub(crate) fn put_back(&mut self, bytes: Vec<u8>) {
        drop(self.home.send(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_after_its_last_holder() {
        let mut pool = Pool::new(8, 1);
        let mut buffer = pool.take();
        buffer[1] = 7;
        let chunk = pool.share(buffer, 1..3);
        let other = chunk.clone();
        assert_eq!(&chunk[..], [7, 0]);
        drop(chunk);
        assert!(pool.free.try_recv().is_err());
        let thread = std::thread::spawn(move || drop(other));
        assert_eq!(pool.take()[1], 7);
        thread.join().unwrap();
    }

    #[test]
    fn chunks_outlive_their_pool() {
        let mut pool = Pool::new(8, 1);
        let buffer = pool.take();
        let chunk = pool.share(buffer, 0..8);
        drop(pool);
        assert_eq!(chunk.len(), 8);
    }
}
