//! Data on its way into a sink.

use std::io::Cursor;

use crate::support::{Header, Tar, gzip, noise};
use lithify_layer::{CopyError, Error, Expected, LayerReader, Options, Raw};
use lithify_tree::{ContentId, ContentSink, DataSegment};

/// Keeps everything, up to a number of bytes.
#[derive(Default)]
struct Kept {
    files: Vec<(u64, Option<Vec<DataSegment>>, Vec<u8>)>,
    most: Option<usize>,
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("full")]
struct Full;

impl ContentSink for Kept {
    type Error = Full;

    fn begin(&mut self, size: u64, segments: Option<&[DataSegment]>) -> Result<(), Full> {
        self.files
            .push((size, segments.map(<[_]>::to_vec), Vec::new()));
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), Full> {
        let (_, _, kept) = self.files.last_mut().unwrap();
        kept.extend_from_slice(data);
        if self.most.is_some_and(|most| kept.len() > most) {
            Err(Full)
        } else {
            Ok(())
        }
    }

    fn finish(&mut self) -> Result<ContentId, Full> {
        Ok(ContentId(self.files.len() as u32 - 1))
    }
}

fn layer(tar: &[u8]) -> LayerReader {
    LayerReader::new(
        Cursor::new(gzip(tar)),
        Expected::nothing(),
        Options::default(),
    )
    .unwrap()
}

#[test]
fn files_go_into_the_sink_and_nothing_else() {
    let big = noise(3 << 20, 1);
    let sparse: &[(&str, &[u8])] = &[
        ("GNU.sparse.size", b"5000"),
        ("GNU.sparse.map", b"1000,512"),
    ];
    let tar = Tar::new()
        .file("a", &big)
        .raw(Header::new(b'5', b"d"), b"")
        .file("empty", b"")
        .pax(sparse)
        .file("s", &big[..512])
        .raw(Header::new(b'1', b"h").link(b"a"), b"")
        .file(".wh.x", b"not empty")
        .end();
    let mut layer = layer(&tar);
    let mut sink = Kept::default();
    let mut ids = Vec::new();
    while layer.next_entry().unwrap().is_some() {
        ids.push(layer.copy_into(&mut sink).unwrap().map(|id| id.0));
        assert!(
            layer.copy_into(&mut sink).unwrap().is_none(),
            "once per file"
        );
    }
    layer.finish().unwrap();
    assert_eq!(ids, [Some(0), None, Some(1), Some(2), None, None]);
    let segments = vec![DataSegment {
        offset: 1000,
        length: 512,
    }];
    assert_eq!(sink.files.len(), 3);
    assert!(sink.files[0] == (big.len() as u64, None, big.clone()));
    assert!(sink.files[1] == (0, None, vec![]));
    assert!(sink.files[2] == (5000, Some(segments), big[..512].to_vec()));
}

#[test]
fn the_sinks_errors_and_the_layers_are_told_apart() {
    let tar = Tar::new().file("a", &noise(3 << 20, 1)).end();
    let mut whole = layer(&tar);
    let mut sink = Kept {
        most: Some(1 << 20),
        ..Kept::default()
    };
    whole.next_entry().unwrap();
    assert!(matches!(
        whole.copy_into(&mut sink),
        Err(CopyError::Sink(Full))
    ));
    let mut cut = layer(&tar[..2 << 20]);
    cut.next_entry().unwrap();
    assert!(matches!(
        cut.copy_into(&mut Kept::default()),
        Err(CopyError::Layer(Error::Tar(_)))
    ));
}

/// What is no data of files comes beside it, and both together are the tar.
#[test]
fn raw_bytes_and_data_are_the_tar() {
    let big = noise(3 << 20, 1);
    let sparse: &[(&str, &[u8])] = &[
        ("GNU.sparse.size", b"5000"),
        ("GNU.sparse.map", b"1000,512"),
    ];
    let mut tar = Tar::new()
        .file("a", &big[..700_001])
        .raw(Header::new(b'5', b"d"), b"")
        .file("empty", b"")
        .pax(sparse)
        .file("s", &big[..512])
        .raw(Header::new(b'1', b"h").link(b"a"), b"")
        .file(".wh.x", b"not empty")
        .file(".wh..wh.orph/left", b"passed over")
        .file("never read", b"data")
        .end();
    tar.extend([0; 10_240]);
    let mut layer = layer(&tar);
    let mut read = Vec::new();
    let mut members = 0;
    let mut hear = |raw: Raw<'_>, read: &mut Vec<u8>| {
        match raw {
            Raw::Bytes(bytes) => read.extend_from_slice(bytes),
            Raw::Member => members += 1,
        }
        Ok::<(), Full>(())
    };
    while let Some(entry) = layer.next_entry_with(|raw| hear(raw, &mut read)).unwrap() {
        if entry.path.as_bytes() == b"never read" {
            continue;
        }
        while let Some(data) = layer.next_data().unwrap() {
            read.extend_from_slice(data);
        }
    }
    layer.finish_with(|raw| hear(raw, &mut read)).unwrap();
    assert!(read == tar);
    assert_eq!(members, 8);
}

#[test]
fn who_hears_raw_bytes_can_stop() {
    let mut layer = layer(&Tar::new().file("a", b"x").end());
    let error = layer.next_entry_with(|_| Err(Full)).unwrap_err();
    assert!(matches!(error, CopyError::Sink(Full)));
}
