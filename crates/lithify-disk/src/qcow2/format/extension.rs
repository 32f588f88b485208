//! Header extensions: pieces with a type and a length behind the header, in the first cluster.

use super::error::{Extension, HeaderError};
use super::fields::u32_at;

/// The end of the extensions.
pub(in crate::qcow2) const END: u32 = 0;
/// The format of the backing file, a text.
pub(in crate::qcow2) const BACKING_FORMAT: u32 = 0xe279_2aca;
/// Names of features.
const FEATURE_NAMES: u32 = 0x6803_f857;
/// Bitmaps of changes.
const BITMAPS: u32 = 0x2385_2875;
/// The place of the header of the encryption.
const ENCRYPTION: u32 = 0x0537_be77;
/// The name of the data file, a text.
const DATA_FILE: u32 = 0x4441_5441;

/// Bytes of an extension before its data.
const HEAD_LEN: usize = 8;
/// The data is followed by as many bytes as it takes to a multiple of this.
const ALIGNMENT: usize = 8;

/// Bytes of an entry of the table of names of features.
const FEATURE_LEN: usize = 48;
/// Bytes of an entry in front of the name.
const FEATURE_NAME_AT: usize = 2;
/// Features that a reader has to know.
const INCOMPATIBLE: u8 = 0;

/// Longest name of a format that QEMU reads, in bytes.
const FORMAT_NAME_MAX: usize = 15;
/// Longest name of a file, in bytes.
const FILE_NAME_MAX: usize = 1023;
/// Bytes of the extension that leads to bitmaps.
const BITMAPS_LEN: usize = 24;

/// The extensions of a header that have a meaning here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extensions<'a> {
    pub(super) backing_format: Option<&'a [u8]>,
    pub(super) data_file: Option<&'a [u8]>,
    feature_names: Option<&'a [u8]>,
    bitmaps: Option<&'a [u8]>,
    pub(super) encryption: Option<&'a [u8]>,
}

impl<'a> Extensions<'a> {
    /// Reads the extensions in `area`, which starts at byte `start` of the file. Those that are
    /// unknown can be ignored, and are.
    pub(super) fn parse(area: &'a [u8], start: u64) -> Result<Self, HeaderError> {
        let end = start + area.len() as u64;
        let (mut found, mut at) = (Self::default(), 0);
        while area.len() - at >= HEAD_LEN {
            let (kind, length) = (u32_at(area, at), u32_at(area, at + 4));
            if kind == END {
                break;
            }
            let rest = &area[at + HEAD_LEN..];
            let data = rest
                .get(..length as usize)
                .ok_or(HeaderError::ExtensionLength {
                    offset: start + at as u64,
                    length,
                    end,
                })?;
            found.set(kind, data)?;
            // The padding of the last may be left out.
            at += HEAD_LEN + data.len().next_multiple_of(ALIGNMENT).min(rest.len());
        }
        Ok(found)
    }

    fn set(&mut self, kind: u32, data: &'a [u8]) -> Result<(), HeaderError> {
        let (extension, place) = match kind {
            BACKING_FORMAT => (Extension::BackingFormat, &mut self.backing_format),
            FEATURE_NAMES => (Extension::FeatureNames, &mut self.feature_names),
            BITMAPS => (Extension::Bitmaps, &mut self.bitmaps),
            ENCRYPTION => (Extension::Encryption, &mut self.encryption),
            DATA_FILE => (Extension::DataFile, &mut self.data_file),
            _ => return Ok(()),
        };
        if place.replace(data).is_some() {
            return Err(HeaderError::ExtensionAgain(extension));
        }
        let (is_good, expected) = match extension {
            Extension::BackingFormat => (
                (1..=FORMAT_NAME_MAX).contains(&data.len()),
                "a name of 1 to 15 bytes",
            ),
            Extension::DataFile => (
                (1..=FILE_NAME_MAX).contains(&data.len()),
                "a name of 1 to 1023 bytes",
            ),
            Extension::Bitmaps => (data.len() == BITMAPS_LEN, "24"),
            Extension::FeatureNames | Extension::Encryption => return Ok(()),
        };
        match is_good {
            true => Ok(()),
            false => Err(HeaderError::ExtensionData {
                extension,
                length: data.len(),
                expected,
            }),
        }
    }

    /// Returns the image's name of a feature that a reader has to know.
    pub(super) fn feature_name(&self, bit: u32) -> Option<&'a [u8]> {
        let names = self.feature_names?.chunks_exact(FEATURE_LEN);
        let mut of_bit =
            names.filter(|entry| entry[0] == INCOMPATIBLE && u32::from(entry[1]) == bit);
        let name = &of_bit.next()?[FEATURE_NAME_AT..];
        let length = name.iter().position(|&b| b == 0).unwrap_or(name.len());
        Some(&name[..length]).filter(|name| !name.is_empty())
    }
}

/// Writes an extension.
pub(in crate::qcow2) fn write_extension(out: &mut Vec<u8>, kind: u32, data: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(data.len() as u32).to_be_bytes());
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_found_behind_each_other() {
        let mut area = Vec::new();
        write_extension(&mut area, 0x1234_5678, b"ignored");
        write_extension(&mut area, BACKING_FORMAT, b"raw");
        let mut feature = vec![INCOMPATIBLE, 7];
        feature.extend_from_slice(b"seven");
        feature.resize(FEATURE_LEN, 0);
        write_extension(&mut area, FEATURE_NAMES, &feature);
        write_extension(&mut area, END, b"");
        area.extend_from_slice(&[0xff; 16]);
        let found = Extensions::parse(&area, 104).unwrap();
        assert_eq!(found.backing_format, Some(&b"raw"[..]));
        assert_eq!(found.feature_name(7), Some(&b"seven"[..]));
        assert_eq!(found.feature_name(8), None);

        // Up to the end, without an end.
        let found = Extensions::parse(&area[..16 + 11], 104).unwrap();
        assert_eq!(found.backing_format, Some(&b"raw"[..]));
        let cut = Extensions::parse(&area[..16 + 10], 104).unwrap_err();
        assert_eq!(
            cut.to_string(),
            "a header extension of 3 bytes at byte 120: expected it to end by byte 130"
        );
    }

    #[test]
    fn extensions_that_cannot_be() {
        let mut twice = Vec::new();
        write_extension(&mut twice, BACKING_FORMAT, b"raw");
        write_extension(&mut twice, BACKING_FORMAT, b"raw");
        let error = Extensions::parse(&twice, 0).unwrap_err();
        assert!(matches!(error, HeaderError::ExtensionAgain(_)));
        for (kind, data) in [
            (BACKING_FORMAT, &[b'x'; 16][..]),
            (DATA_FILE, b""),
            (BITMAPS, b"x"),
        ] {
            let mut area = Vec::new();
            write_extension(&mut area, kind, data);
            let error = Extensions::parse(&area, 0).unwrap_err();
            assert!(matches!(error, HeaderError::ExtensionData { .. }));
        }
    }
}
