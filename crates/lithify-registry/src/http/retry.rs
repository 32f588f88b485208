//! When to try again, and how long to wait before.

use std::time::{Duration, SystemTime};

/// How often a request that failed for a passing reason is sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Tries after the first one. Default 5.
    pub retries: u32,
    /// The longest wait before the first retry; it doubles with each. Half of it is chance, so that many clients that
    /// failed together do not come back together. Default 500 ms.
    pub first_delay: Duration,
    /// The longest wait of all. Default 20 s.
    pub longest_delay: Duration,
    /// The longest wait a registry may ask for by `Retry-After`; what asks for more is an error that says so.
    /// Default 2 minutes.
    pub longest_retry_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries: 5,
            first_delay: Duration::from_millis(500),
            longest_delay: Duration::from_secs(20),
            longest_retry_after: Duration::from_secs(120),
        }
    }
}

impl RetryPolicy {
    /// How long to wait before retry number `retry`, counted from 0.
    pub(crate) fn delay(&self, retry: u32) -> Duration {
        let doubled = self.first_delay.saturating_mul(1 << retry.min(16));
        let longest = doubled.min(self.longest_delay);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

/// The wait a `Retry-After` header asks for: seconds or a date (RFC 9110, section 10.2.3). `None` for anything else.
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let at = http_date(value)?;
    let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Duration::from_secs(at).saturating_sub(now))
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`, the form every current server sends.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut words = text.split_ascii_whitespace();
    let (_, day, month, year, time, zone) = (
        words.next()?,
        words.next()?,
        words.next()?,
        words.next()?,
        words.next()?,
        words.next()?,
    );
    let month = MONTHS.iter().position(|m| *m == month)? as u64 + 1;
    let (day, year): (u64, u64) = (day.parse().ok()?, year.parse().ok()?);
    let mut parts = time.split(':').map(str::parse::<u64>);
    let (h, m, s) = (
        parts.next()?.ok()?,
        parts.next()?.ok()?,
        parts.next()?.ok()?,
    );
    let in_range = (1970..=9999).contains(&year)
        && (1..=31).contains(&day)
        && h < 24
        && m < 60
        && s <= 60
        && zone == "GMT";
    if !in_range {
        return None;
    }
    // Days since 1970, with years that begin in March so that the leap day comes last.
    let (y, m_from_march) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (153 * m_from_march + 2) / 5 + day - 1;
    Some((days - 719_468) * 86_400 + h * 3600 + m * 60 + s)
}

/// Whether the same request may succeed a moment later, by the status of its answer.
pub(crate) fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(
            http_date("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(784_111_777)
        );
        assert_eq!(
            http_date("Thu, 29 Feb 2024 23:59:59 GMT"),
            Some(1_709_251_199)
        );
        for bad in [
            "",
            "soon",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1900 08:49:37 GMT",
            "a b c d e f",
        ] {
            assert_eq!(http_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn waits_that_are_asked_for() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        let seconds = |text| retry_after(text, now).map(|d| d.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds("99999999999999999999999"), Some(u64::MAX));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(7));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:00 GMT"), Some(0));
        assert_eq!(seconds("-1"), None);
        assert_eq!(seconds("later"), None);
    }

    #[test]
    fn delays_grow_and_stay_bounded() {
        let policy = RetryPolicy::default();
        for retry in 0..40 {
            let longest = policy
                .first_delay
                .saturating_mul(1 << retry.min(16))
                .min(policy.longest_delay);
            let delay = policy.delay(retry);
            assert!(
                delay <= longest && delay >= longest / 2,
                "{retry}: {delay:?}"
            );
        }
    }
}
