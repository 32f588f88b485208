//! Getting data to the disk early.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Sends what is written to the disk while more is being written, so that the final sync has little left to wait for.
#[derive(Debug)]
pub(crate) struct Flusher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
}

impl Flusher {
    /// Starts for a file.
    pub(crate) fn start(file: &Arc<File>) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (file, stopped) = (Arc::clone(file), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("lithify-flush".into())
            .spawn(move || {
                while !stopped.load(Ordering::Acquire) {
                    std::thread::park_timeout(std::time::Duration::from_millis(50));
                    file.sync_data()?;
                }
                Ok(())
            })?;
        Ok(Self { stop, thread })
    }

    /// Stops without waiting for what is on its way to the disk: for a file nobody wants any more.
    pub(crate) fn abandon(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
    }

    /// Stops; what was written may still need a last sync.
    ///
    /// # Errors
    /// What a sync failed with.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the flushing thread panicked")))
    }
}
