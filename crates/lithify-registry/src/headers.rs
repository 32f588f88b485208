//! The parsers of what servers say and show, for the fuzzer.

use std::time::{Duration, SystemTime};

use crate::blob::ContentRange;
use crate::document::next_link;
use crate::http::{head, retry, tls};

/// What is against a certificate that `registry.example` shows, if it is `trusted` or nobody is.
///
/// # Errors
/// The words for it.
pub fn certificate(der: &[u8], trusted: bool) -> Result<(), String> {
    tls::judge(der, trusted)
}

/// First byte, last byte and total of a `Content-Range`.
#[must_use]
pub fn content_range(value: &str) -> Option<(u64, u64, Option<u64>)> {
    ContentRange::parse(value).map(|range| (range.first, range.last, range.total))
}

/// Mends a whole head of an answer in place; says whether anything changed.
pub fn mend_head(head: &mut [u8]) -> bool {
    head::mend(head)
}

/// The next page by a `Link`.
#[must_use]
pub fn next_page(value: &str) -> Option<&str> {
    next_link(value)
}

/// The pause a `Retry-After` asks for.
#[must_use]
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    retry::retry_after(value, now)
}
