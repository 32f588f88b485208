//! Values of options: read, and offered by completions.

use std::ffi::OsStr;
use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use lithify::composefs::FileAlgorithm;

/// One of a few words, which the library reads.
pub(super) fn word<T>(words: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: FromStr + Clone + Send + Sync + 'static,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(|text| text.parse::<T>())
}

/// A format of what is built, from the library's list.
#[derive(Clone, Debug)]
pub(super) struct FormatParser;

impl FormatParser {
    fn words() -> impl Iterator<Item = PossibleValue> {
        let formats = lithify::Format::ALL.into_iter();
        formats.map(|format| PossibleValue::new(format.name()).help(format.summary()))
    }
}

impl TypedValueParser for FormatParser {
    type Value = lithify::Format;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        let word = PossibleValuesParser::new(Self::words()).parse_ref(command, argument, value)?;
        let mut formats = lithify::Format::ALL.into_iter();
        let found = formats.find(|format| format.name() == word);
        found.ok_or_else(|| clap::Error::new(clap::error::ErrorKind::InvalidValue))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(Self::words()))
    }
}

/// A compression, with or without a level.
#[derive(Clone, Debug)]
pub(super) struct CompressionParser;

impl TypedValueParser for CompressionParser {
    type Value = lithify::Compression;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        let parse = |text: &str| text.parse::<lithify::Compression>();
        TypedValueParser::parse_ref(&parse, command, argument, value)
    }

    /// What completions offer; a level may follow.
    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let words = ["none", "lz4", "zstd", "gzip", "xz"];
        Some(Box::new(words.into_iter().map(PossibleValue::new)))
    }
}

/// A limit such as `tar_bytes=128G`.
pub(super) fn limit(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not NAME=VALUE"))?;
    Ok((name.to_owned(), size(value)?))
}

/// The least memory for comparing files: less would only be exceeded.
const LEAST_MEMORY: u64 = 64 << 10;

/// Parses an amount of memory for comparing files, in bytes.
pub(super) fn memory(text: &str) -> Result<u64, String> {
    match size(text)? {
        memory if memory < LEAST_MEMORY => Err("comparing takes at least 64K".to_owned()),
        memory => Ok(memory),
    }
}

/// A byte count such as `64M`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        other => {
            return Err(format!(
                "unknown size suffix `{other}`: expected K, M, G or T"
            ));
        }
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("`{text}` is not a size such as 64M"))?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("`{text}` is more bytes than 64 bits can count"))
}

/// The size of a journal, or `none`.
pub(super) fn journal(text: &str) -> Result<lithify::Journal, String> {
    match text {
        "none" => Ok(lithify::Journal::None),
        text => size(text).map(lithify::Journal::Bytes),
    }
}

/// The algorithm of digests of fs-verity.
pub(super) fn algorithm() -> impl TypedValueParser<Value = FileAlgorithm> {
    PossibleValuesParser::new(["sha256", "sha512"]).map(|text| match text.as_str() {
        "sha512" => FileAlgorithm::Sha512,
        _ => FileAlgorithm::Sha256,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_suffixes() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("512"), Ok(512));
        assert_eq!(size("4k"), Ok(4096));
        assert_eq!(size("2GiB"), Ok(2 << 30));
        assert!(size("17000000T").is_err());
        assert!(size("1x").is_err());
        assert!(size("M").is_err());
        assert!(size("-1").is_err());
    }
}
