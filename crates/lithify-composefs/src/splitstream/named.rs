//! Named references.

use std::io::{BufRead as _, BufReader, Read, Write as _};

use lithify_verity::file::FileDigest;

use super::StreamError;
use super::reader::WINDOW_BITS_MAX;

/// Most bytes the records may have: an image with ten thousand layers has 2 MiB.
const BYTES_MAX: u64 = 4 << 20;

/// A splitstream or image that a splitstream needs, by a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedReference {
    /// The name.
    pub name: String,
    /// The object that the splitstream or image is.
    pub id: FileDigest,
}

/// Unpacks and parses records: numbers and names.
pub(super) fn parse(packed: impl Read) -> Result<Vec<(u64, String)>, StreamError> {
    const PART: &str = "named references";
    let unpack = |source| StreamError::Zstandard { part: PART, source };
    let mut decoder = zstd::Decoder::new(packed).map_err(unpack)?;
    decoder.window_log_max(WINDOW_BITS_MAX).map_err(unpack)?;
    let mut reader = BufReader::new(decoder).take(BYTES_MAX + 1);
    let mut records = Vec::new();
    let mut record = Vec::new();
    loop {
        record.clear();
        reader.read_until(0, &mut record).map_err(unpack)?;
        if reader.limit() == 0 {
            return Err(StreamError::NamedReferencesTooLong { limit: BYTES_MAX });
        }
        if record.is_empty() {
            return Ok(records);
        }
        records.push(parse_record(&record)?);
    }
}

fn parse_record(record: &[u8]) -> Result<(u64, String), StreamError> {
    let parsed = record.strip_suffix(&[0]).and_then(|text| {
        let (index, name) = std::str::from_utf8(text).ok()?.split_once(':')?;
        // What `parse` takes beyond digits is a sign.
        let index = index.bytes().all(|b| b.is_ascii_digit()).then_some(index)?;
        Some((index.parse().ok()?, name.to_owned()))
    });
    parsed.ok_or_else(|| StreamError::NamedReference {
        record: record.to_vec(),
    })
}

/// Packs records, which are sorted by name.
pub(super) fn pack<'a>(
    records: impl Iterator<Item = (&'a str, usize)>,
) -> std::io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), zstd::DEFAULT_COMPRESSION_LEVEL)?;
    for (name, index) in records {
        write!(encoder, "{index}:{name}\0")?;
    }
    encoder.finish()
}
