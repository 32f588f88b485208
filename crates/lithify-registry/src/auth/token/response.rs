//! What a realm answers.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::Secret;
use crate::auth::json::{JsonError, Members};
use crate::auth::sendable;

/// Most bytes read of a realm's answer.
pub const MAX_TOKEN_RESPONSE: usize = 1 << 20;
/// How long a token lasts if nothing is said (distribution, `docs/spec/auth/token.md`).
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
/// Longest a token is kept, whatever is said.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A realm's answer. Not printed, since it may hold a token.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenResponse {
    /// The HTTP status.
    pub status: u16,
    /// The body, at most [`MAX_TOKEN_RESPONSE`] bytes of it and one more if it is longer.
    pub body: Vec<u8>,
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse")
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .finish()
    }
}

/// Why an answer has no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenResponseError {
    /// More than 1 MiB.
    #[error("its answer has more than {MAX_TOKEN_RESPONSE} bytes")]
    TooLong,
    /// Not the object it should be.
    #[error("its answer: {field}: {source}")]
    Json {
        /// The member, or `body`.
        field: &'static str,
        /// What is wrong.
        source: JsonError,
    },
    /// Neither `token` nor `access_token`.
    #[error("its answer has neither `token` nor `access_token`")]
    NoToken,
    /// A token that cannot stand in a header.
    #[error("its answer: `{field}` is longer than 32 KiB or has characters that HTTP cannot carry")]
    Characters {
        /// The member.
        field: &'static str,
    },
}

/// A token and how long it lasts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) token: Secret,
    pub(crate) refresh: Option<Secret>,
    pub(crate) lifetime: Duration,
}

impl Granted {
    /// Reads an answer that came at `now`.
    ///
    /// `issued_at` says how old a token is that the realm keeps itself. It is believed only where it makes sense by our
    /// clock, which may be wrong: a token that is "from the future" or "long over" counts from the answer.
    pub(crate) fn parse(body: &[u8], now: SystemTime) -> Result<Self, TokenResponseError> {
        if body.len() > MAX_TOKEN_RESPONSE {
            return Err(TokenResponseError::TooLong);
        }
        let json = |field, source| TokenResponseError::Json { field, source };
        let text = std::str::from_utf8(body).map_err(|_| {
            json(
                "body",
                JsonError::Type {
                    expected: "UTF-8 text",
                },
            )
        })?;
        let members = Members::parse(text).map_err(|source| json("body", source))?;
        let secret = |field| {
            let text = members
                .string(field)
                .map_err(|source| json(field, source))?;
            match text.filter(|text| !text.is_empty()) {
                None => Ok(None),
                Some(text) if sendable(&text) => Ok(Some(Secret::new(text))),
                Some(_) => Err(TokenResponseError::Characters { field }),
            }
        };
        let token = match secret("token")? {
            Some(token) => token,
            None => secret("access_token")?.ok_or(TokenResponseError::NoToken)?,
        };
        // Not every realm sends what the specification has; a life span that cannot be read is the default one.
        let seconds = members
            .get("expires_in")
            .and_then(|value| serde_json::from_str::<f64>(value.get()).ok())
            .filter(|seconds| *seconds >= 1.0);
        let lifetime = seconds.map_or(DEFAULT_LIFETIME, |seconds| {
            Duration::from_secs_f64(seconds.min(MAX_LIFETIME.as_secs_f64()))
        });
        let age = members
            .string("issued_at")
            .ok()
            .flatten()
            .and_then(|text| parse_time(&text))
            .and_then(|issued| now.duration_since(issued).ok())
            .filter(|age| *age < lifetime)
            .unwrap_or_default();
        Ok(Self {
            token,
            refresh: secret("refresh_token")?,
            lifetime: lifetime.saturating_sub(age),
        })
    }
}

/// A time such as `2009-11-10T23:00:00.5Z` (RFC 3339), to the second.
fn parse_time(text: &str) -> Option<SystemTime> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
        digits.parse().ok()
    };
    let bytes = text.as_bytes();
    let at =
        |position: usize, allowed: &[u8]| bytes.get(position).is_some_and(|b| allowed.contains(b));
    if !(at(4, b"-") && at(7, b"-") && at(10, b"Tt ") && at(13, b":") && at(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let mut zone = text.get(19..)?;
    if let Some(fraction) = zone.strip_prefix('.') {
        zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let start = text.len() - zone.len();
            let sign = match zone.as_bytes() {
                [b'+', _, _, b':', _, _] => 1,
                [b'-', _, _, b':', _, _] => -1,
                _ => return None,
            };
            sign * (number(start + 1..start + 3)? * 3600 + number(start + 4..start + 6)? * 60)
        }
    };
    // Days since 1970 of a date in the proleptic Gregorian calendar, with years that begin in March.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days =
        y * 365 + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (m * 153 + 2) / 5 + day
            - 1
            - 719_468;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn times_are_read() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2009-11-10T23:00:00Z", 1_257_894_000),
            ("2009-11-10T23:00:00.123456789Z", 1_257_894_000),
            ("2009-11-11T01:30:00+02:30", 1_257_894_000),
            ("2000-02-29T12:00:00-01:00", 951_829_200),
            ("2024-12-31 23:59:60z", 1_735_689_600),
        ] {
            assert_eq!(parse_time(text), Some(at(seconds)), "{text}");
        }
        for bad in [
            "",
            "2009",
            "2009-13-01T00:00:00Z",
            "2009-11-10T23:00:00",
            "1960-01-01T00:00:00Z",
            "2009-11-10T23:00:00+1:00",
        ] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn answers_are_read() {
        let now = at(1_257_894_000);
        let lifetime = |body: &str| {
            Granted::parse(body.as_bytes(), now)
                .unwrap()
                .lifetime
                .as_secs()
        };
        assert_eq!(lifetime(r#"{"token":"t"}"#), 60);
        assert_eq!(lifetime(r#"{"access_token":"t","expires_in":300}"#), 300);
        assert_eq!(lifetime(r#"{"token":"t","expires_in":0}"#), 60);
        assert_eq!(lifetime(r#"{"token":"t","expires_in":-5}"#), 60);
        assert_eq!(lifetime(r#"{"token":"t","expires_in":"300"}"#), 60);
        assert_eq!(lifetime(r#"{"token":"t","expires_in":1e300}"#), 86_400);
        let issued = |at: &str| {
            lifetime(&format!(
                r#"{{"token":"t","expires_in":300,"issued_at":"{at}"}}"#
            ))
        };
        assert_eq!(issued("2009-11-10T22:58:20Z"), 200);
        assert_eq!(issued("2009-11-10T23:58:20Z"), 300, "from the future");
        assert_eq!(issued("2008-11-10T23:00:00Z"), 300, "long over");
        assert_eq!(issued("yesterday"), 300);
        let both = Granted::parse(
            br#"{"token":"a","access_token":"b","refresh_token":"r"}"#,
            now,
        )
        .unwrap();
        assert_eq!(both.token.expose(), "a");
        assert_eq!(both.refresh, Some(Secret::new("r")));
    }

    #[test]
    fn wrong_answers_are_typed() {
        let error = |body: &[u8]| Granted::parse(body, at(0)).unwrap_err();
        assert_eq!(error(b"{}"), TokenResponseError::NoToken);
        assert_eq!(error(b"{\"token\":\"\"}"), TokenResponseError::NoToken);
        assert!(matches!(error(b"<html>"), TokenResponseError::Json { .. }));
        assert!(matches!(
            error(b"{\"token\":1}"),
            TokenResponseError::Json { field: "token", .. }
        ));
        assert_eq!(
            error(b"{\"token\":\"a\\r\\nX: y\"}"),
            TokenResponseError::Characters { field: "token" }
        );
        assert_eq!(
            error(&vec![b' '; MAX_TOKEN_RESPONSE + 1]),
            TokenResponseError::TooLong
        );
    }

    proptest! {
        #[test]
        fn never_panics(body in prop::collection::vec(any::<u8>(), 0..60), text in "[0-9TZ:+. \\-é]{0,30}") {
            drop(Granted::parse(&body, at(0)));
            parse_time(&text);
            let body = format!("{{\"token\":\"x\",\"expires_in\":{text},\"issued_at\":\"{text}\"}}");
            drop(Granted::parse(body.as_bytes(), at(0)));
        }
    }
}
