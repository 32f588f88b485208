//! Threads: they stop when told to, report their panics, and never wait for each other forever.
//!
//! A reader of a blob owns its source, so the source being dropped shows that the reader's threads are gone.

use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::support::{Tar, gzip, noise, sha256, zstd};
use lithify_layer::{BlobError, CancelToken, Error, Expected, LayerReader, Options, Threading};

/// Says when it is dropped, and counts what is read.
struct Watched<R> {
    inner: R,
    read: Arc<AtomicU64>,
    dropped: Sender<()>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl<R> Drop for Watched<R> {
    fn drop(&mut self) {
        self.dropped.send(()).ok();
    }
}

fn watched<R: Read>(inner: R) -> (Watched<R>, Arc<AtomicU64>, Receiver<()>) {
    let (dropped, when_dropped) = channel();
    let read = Arc::new(AtomicU64::new(0));
    (
        Watched {
            inner,
            read: Arc::clone(&read),
            dropped,
        },
        read,
        when_dropped,
    )
}

fn with(threading: Threading) -> Options {
    Options {
        threading,
        ..Options::default()
    }
}

fn big_tar() -> Vec<u8> {
    Tar::new()
        .file("a", &noise(40 << 20, 1))
        .file("b", b"b")
        .end()
}

const LONG: Duration = Duration::from_secs(60);

/// The error of a result whose good case has nothing to show.
fn error<T>(result: Result<T, Error>) -> Error {
    result.err().expect("an error")
}

#[test]
fn dropping_the_reader_stops_its_threads() {
    let tar = big_tar();
    for blob in [tar.clone(), gzip(&tar), zstd(&tar)] {
        for threading in [Threading::Pipelined, Threading::Inline] {
            for chunks in [0, 1, 5] {
                let (source, read, dropped) = watched(Cursor::new(blob.clone()));
                let mut layer =
                    LayerReader::new(source, Expected::nothing(), with(threading)).unwrap();
                if chunks > 0 {
                    layer.next_entry().unwrap();
                }
                for _ in 1..chunks {
                    layer.next_data().unwrap();
                }
                drop(layer);
                dropped
                    .recv_timeout(LONG)
                    .expect("the threads end with the reader");
                assert!(
                    read.load(Ordering::Relaxed) < blob.len() as u64,
                    "{threading:?} read everything"
                );
            }
        }
    }
}

/// Nobody can interrupt a `read`: the reader goes at once, its thread when the source comes back.
#[test]
fn dropping_the_reader_does_not_wait_for_a_source_that_hangs() {
    struct Hangs(Receiver<()>);
    impl Read for Hangs {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            // Comes back when the test lets go of the other end.
            self.0.recv().ok();
            Ok(0)
        }
    }
    let (release, hang) = channel();
    let (source, _, dropped) = watched(Hangs(hang));
    let layer = LayerReader::new(source, Expected::nothing(), Options::default()).unwrap();
    // Until the thread is in `read`, dropping would find it outside, stop it, and show nothing.
    std::thread::sleep(Duration::from_millis(50));
    drop(layer);
    drop(release);
    dropped
        .recv_timeout(LONG)
        .expect("the thread ends with its read");
}

#[test]
fn cancelling_stops_reader_and_threads() {
    let tar = big_tar();
    for blob in [tar.clone(), gzip(&tar), zstd(&tar)] {
        for threading in [Threading::Pipelined, Threading::Inline] {
            let cancel = CancelToken::new();
            let (source, read, dropped) = watched(Cursor::new(blob.clone()));
            let options = Options {
                threading,
                cancel: cancel.clone(),
                ..Options::default()
            };
            let mut layer = LayerReader::new(source, Expected::nothing(), options).unwrap();
            layer.next_entry().unwrap();
            cancel.cancel();
            let found = error(loop {
                match layer.next_data() {
                    Ok(Some(_)) => {}
                    other => break other.map(|_| ()),
                }
            });
            assert!(matches!(found, Error::Blob(BlobError::Cancelled)));
            assert!(!found.is_verification());
            assert!(matches!(layer.next_entry(), Err(Error::Failed)));
            drop(layer);
            dropped.recv_timeout(LONG).unwrap();
            assert!(read.load(Ordering::Relaxed) < blob.len() as u64);
        }
    }
}

#[test]
fn cancelled_before_it_begins() {
    for threading in [Threading::Pipelined, Threading::Inline] {
        let cancel = CancelToken::new();
        cancel.cancel();
        assert!(cancel.is_cancelled());
        let (source, read, dropped) = watched(Cursor::new(big_tar()));
        let options = Options {
            threading,
            cancel,
            ..Options::default()
        };
        let mut layer = LayerReader::new(source, Expected::nothing(), options).unwrap();
        assert!(matches!(
            layer.next_entry(),
            Err(Error::Blob(BlobError::Cancelled))
        ));
        drop(layer);
        dropped.recv_timeout(LONG).unwrap();
        assert_eq!(read.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn a_failing_source_is_reported_as_it_is() {
    struct Fails(Cursor<Vec<u8>>);
    impl Read for Fails {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::new(io::ErrorKind::ConnectionReset, "gone")),
                n => Ok(n),
            }
        }
    }
    let tar = big_tar();
    for blob in [tar.clone(), gzip(&tar), zstd(&tar)] {
        for threading in [Threading::Pipelined, Threading::Inline] {
            let blob = blob[..blob.len() / 2].to_vec();
            // Also when the size is known: nothing was found out about the blob.
            let expected = Expected {
                size: Some(u64::MAX),
                digest: Some(sha256(b"")),
                ..Expected::nothing()
            };
            let found = error(crate::support::decode_with(
                Fails(Cursor::new(blob)),
                expected,
                with(threading),
            ));
            assert!(
                matches!(&found, Error::Blob(BlobError::Read(e)) if e.kind() == io::ErrorKind::ConnectionReset)
            );
            assert!(!found.is_verification());
        }
    }
}

#[test]
fn a_panicking_source_is_an_error_not_a_hang() {
    struct Panics(Cursor<Vec<u8>>);
    impl Read for Panics {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            assert!(self.0.position() < 1 << 20, "as the test wants it");
            self.0.read(buffer)
        }
    }
    let tar = big_tar();
    for blob in [tar.clone(), gzip(&tar)] {
        let (source, _, dropped) = watched(Panics(Cursor::new(blob)));
        let found = error(crate::support::decode_with(
            source,
            Expected::nothing(),
            with(Threading::Pipelined),
        ));
        assert!(matches!(
            &found,
            Error::Blob(BlobError::Panicked {
                thread: "lithify-read"
            })
        ));
        dropped.recv_timeout(LONG).unwrap();
    }
}

#[test]
fn sources_that_give_little_at_a_time_and_are_interrupted() {
    struct Trickle {
        data: Cursor<Vec<u8>>,
        turn: u64,
    }
    impl Read for Trickle {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.turn += 1;
            if self.turn.is_multiple_of(3) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let most = (self.turn * 7919 % 3000) as usize + 1;
            let most = most.min(buffer.len());
            self.data.read(&mut buffer[..most])
        }
    }
    let tar = Tar::new().file("a", &noise(2 << 20, 4)).end();
    for blob in [tar.clone(), gzip(&tar), zstd(&tar)] {
        let expected = Expected {
            digest: Some(sha256(&blob)),
            size: Some(blob.len() as u64),
            diff_id: Some(sha256(&tar)),
            ..Expected::nothing()
        };
        for threading in [Threading::Pipelined, Threading::Inline] {
            let source = Trickle {
                data: Cursor::new(blob.clone()),
                turn: 0,
            };
            let (entries, _) =
                crate::support::decode_with(source, expected, with(threading)).unwrap();
            assert_eq!(entries.len(), 1);
        }
    }
}

#[test]
fn sources_that_lie_about_what_they_read() {
    struct Lies;
    impl Read for Lies {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            Ok(buffer.len() + 1)
        }
    }
    for threading in [Threading::Pipelined, Threading::Inline] {
        let found = error(crate::support::decode_with(
            Lies,
            Expected::nothing(),
            with(threading),
        ));
        assert!(matches!(found, Error::Blob(BlobError::Read(_))));
    }
}

/// Reading ahead stops where the buffers are full: a slow consumer does not make the reader take the whole blob.
#[test]
fn reading_ahead_is_bounded() {
    let tar = big_tar();
    let blob = zstd(&tar);
    for blob in [tar, blob] {
        let (source, read, _dropped) = watched(Cursor::new(blob.clone()));
        let mut layer =
            LayerReader::new(source, Expected::nothing(), with(Threading::Pipelined)).unwrap();
        layer.next_entry().unwrap();
        let mut before = u64::MAX;
        // Until nothing moves any more.
        while std::mem::replace(&mut before, read.load(Ordering::Relaxed))
            != read.load(Ordering::Relaxed)
        {
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(before < 8 << 20, "read {before} bytes ahead");
        assert_eq!(layer.finish().unwrap().size, blob.len() as u64);
    }
}

/// Many readers at once, most of them dropped somewhere in the middle.
#[test]
fn many_readers_come_and_go() {
    let blob = gzip(
        &Tar::new()
            .file("a", &noise(3 << 20, 1))
            .file("b", b"b")
            .end(),
    );
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..4usize {
            let (blob, stop) = (&blob, &stop);
            scope.spawn(move || {
                for round in 0..40 {
                    let (source, _, dropped) = watched(Cursor::new(blob.clone()));
                    let mut layer =
                        LayerReader::new(source, Expected::nothing(), Options::default()).unwrap();
                    let steps = (seed * 7 + round) % 12;
                    if steps > 0 {
                        layer.next_entry().unwrap();
                    }
                    for _ in 1..steps {
                        layer.next_data().unwrap();
                    }
                    drop(layer);
                    dropped.recv_timeout(LONG).unwrap();
                }
                stop.store(true, Ordering::Relaxed);
            });
        }
    });
    assert!(stop.into_inner());
}
