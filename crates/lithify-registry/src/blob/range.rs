//! Parts of blobs.

use crate::http::Response;

/// What part of a blob an answer holds: `bytes FIRST-LAST/TOTAL` (RFC 9110, section 14.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContentRange {
    pub(crate) first: u64,
    /// The last byte, not the one after it.
    pub(crate) last: u64,
    /// `None` for `*`.
    pub(crate) total: Option<u64>,
}

impl ContentRange {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let rest = text.trim().strip_prefix("bytes")?.trim_start();
        let (range, total) = rest.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let number = |text: &str| {
            let text = text.trim();
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse::<u64>().ok()).flatten()
        };
        let total = match total.trim() {
            "*" => None,
            total => Some(number(total)?),
        };
        let range = Self {
            first: number(first)?,
            last: number(last)?,
            total,
        };
        (range.first <= range.last && range.total.is_none_or(|t| range.last < t)).then_some(range)
    }

    /// Whether an answer holds exactly this.
    pub(crate) fn is_in(&self, answer: &Response) -> bool {
        let header = answer.header("content-range").unwrap_or("");
        Self::parse(header).is_some_and(|found| {
            found.first == self.first
                && found.last == self.last
                && found.total.is_none_or(|total| self.total == Some(total))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms() {
        let range = |first, last, total| Some(ContentRange { first, last, total });
        for (text, expected) in [
            ("bytes 0-9/10", range(0, 9, Some(10))),
            ("bytes 5-9/*", range(5, 9, None)),
            (" bytes  5 - 9 / 10 ", range(5, 9, Some(10))),
            ("bytes */10", None),
            ("bytes 9-5/10", None),
            ("bytes 0-10/10", None),
            ("bytes 0--1/10", None),
            ("bytes +0-9/10", None),
            ("items 0-9/10", None),
            ("bytes 0-99999999999999999999/*", None),
            ("", None),
        ] {
            assert_eq!(ContentRange::parse(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_no_panic(text in "\\PC{0,40}") {
            ContentRange::parse(&text);
        }

        #[test]
        fn what_is_printed_is_parsed(first in 0..1000u64, length in 1..1000u64, more in 0..9u64) {
            let (last, total) = (first + length - 1, first + length + more);
            let range = ContentRange { first, last, total: Some(total) };
            prop_assert_eq!(ContentRange::parse(&format!("bytes {first}-{last}/{total}")), Some(range));
        }
    }
}
