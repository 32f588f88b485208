//! `WWW-Authenticate`: what a registry asks for (RFC 9110, 11.6.1).
//!
//! A header holds several challenges, and there may be several headers; commas separate both challenges and their
//! parameters and also occur within quoted values (`scope="repository:a:pull,push"`), so nothing here splits at commas.
//! A word followed by `=` is one more parameter and any other word begins the next challenge.
//!
//! What front ends make of these headers is read as far as it has one meaning: a missing comma is added, bytes that are
//! no ASCII outside of quotes are space, of a repeated parameter the last one counts, and what
//! follows the first thing that cannot be read is left out. That is no attack: who sends such a header may as well send
//! any other one, and what it asks for is judged by its meaning (`auth`, "What a realm may be").

use super::Scopes;

/// Longest header in bytes.
const MAX_HEADER: usize = 16 << 10;
/// Most headers read, and most challenges in all of them.
const MAX_CHALLENGES: usize = 16;
/// Most parameters of one challenge.
const MAX_PARAMETERS: usize = 32;

/// One challenge: a scheme, and parameters or a bare token.
///
/// ```
/// use lithify_registry::auth::Challenge;
///
/// let header = r#"Bearer realm="https://auth.example.com/token",scope="repository:a:pull,push", Basic realm="x""#;
/// let challenges = Challenge::parse_all([header])?;
/// assert_eq!(challenges.len(), 2);
/// assert_eq!(challenges[0].scheme(), "bearer");
/// assert_eq!(challenges[0].scopes().to_string(), "repository:a:pull,push");
/// assert_eq!(challenges[1].parameter("REALM"), Some("x"));
/// # Ok::<(), lithify_registry::auth::ChallengeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
    token: Option<String>,
}

/// Why a header is no list of challenges. Positions are bytes from the header's beginning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChallengeError {
    /// Beyond what any registry sends.
    #[error("WWW-Authenticate has {found} bytes, at most {MAX_HEADER} are read")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// Too many of them.
    #[error("WWW-Authenticate has more than {MAX_CHALLENGES} challenges")]
    TooMany,
    /// Too many in one challenge.
    #[error("a challenge of WWW-Authenticate has more than {MAX_PARAMETERS} parameters")]
    TooManyParameters,
    /// A character that cannot stand where it does, before anything could be read.
    #[error("WWW-Authenticate: expected {expected} at byte {position}")]
    Syntax {
        /// Where.
        position: usize,
        /// What the grammar has there.
        expected: &'static str,
    },
}

impl Challenge {
    /// Reads the values of all `WWW-Authenticate` headers of a response, in order, each as far as it can be read.
    ///
    /// # Errors
    /// If nothing of them can be read or there is more of anything than the limits allow (16 KiB a header, 16 challenges,
    /// 32 parameters each).
    pub fn parse_all<H: AsRef<[u8]>>(
        headers: impl IntoIterator<Item = H>,
    ) -> Result<Vec<Self>, ChallengeError> {
        let mut challenges = Vec::new();
        let mut unreadable = None;
        for (count, header) in headers.into_iter().enumerate() {
            if count == MAX_CHALLENGES {
                return Err(ChallengeError::TooMany);
            }
            let text = header.as_ref();
            if text.len() > MAX_HEADER {
                return Err(ChallengeError::TooLong { found: text.len() });
            }
            match (Parser { text, position: 0 }).run(&mut challenges) {
                Err(error @ ChallengeError::Syntax { .. }) => unreadable = Some(error),
                other => other?,
            }
        }
        match unreadable {
            Some(error) if challenges.is_empty() => Err(error),
            Some(error) => {
                log::debug!("{error}; what follows is left out");
                Ok(challenges)
            }
            None => Ok(challenges),
        }
    }

    /// The scheme in lower case, such as `bearer`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// A parameter by its name in any case.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// What follows the scheme if it is a bare token (`Negotiate YII…`).
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The scopes asked for; none if there is no `scope`.
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        Scopes::parse(self.parameter("scope").unwrap_or_default())
    }
}

struct Parser<'a> {
    text: &'a [u8],
    position: usize,
}

impl Parser<'_> {
    /// Adds what can be read.
    fn run(&mut self, challenges: &mut Vec<Challenge>) -> Result<(), ChallengeError> {
        // The challenge being read; its parameters may go on after a comma.
        let mut open: Option<Challenge> = None;
        let read = self.read(challenges, &mut open);
        challenges.extend(open);
        read
    }

    fn read(
        &mut self,
        challenges: &mut Vec<Challenge>,
        open: &mut Option<Challenge>,
    ) -> Result<(), ChallengeError> {
        loop {
            // Empty list elements are to be ignored (RFC 9110, 5.6.1.2).
            self.skip_space();
            while self.peek() == Some(b',') {
                self.position += 1;
                self.skip_space();
            }
            if self.peek().is_none() {
                return Ok(());
            }
            let start = self.position;
            let word = self.token_word()?;
            let after_word = self.position;
            self.skip_space();
            if self.peek() == Some(b'=') {
                let Some(challenge) = open.as_mut().filter(|open| open.token.is_none()) else {
                    self.position = start;
                    return Err(self.expected("a scheme before its parameters"));
                };
                self.position += 1;
                let value = self.value()?;
                challenge.push(word, value)?;
                continue;
            }
            challenges.extend(open.take());
            if challenges.len() == MAX_CHALLENGES {
                return Err(ChallengeError::TooMany);
            }
            let challenge = open.insert(Challenge {
                scheme: word.to_ascii_lowercase(),
                parameters: Vec::new(),
                token: None,
            });
            match self.peek() {
                None | Some(b',') => {}
                Some(_) if self.position == after_word => {
                    // No word ends like that, so it was no scheme.
                    *open = None;
                    return Err(self.expected("a space after the scheme"));
                }
                Some(_) => challenge.token = self.token68(),
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.position).copied()
    }

    /// Skips white space, and what is no ASCII: it stands for nothing outside of quotes.
    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | 0x80..)) {
            self.position += 1;
        }
    }

    fn expected(&self, expected: &'static str) -> ChallengeError {
        ChallengeError::Syntax {
            position: self.position,
            expected,
        }
    }

    fn token_word(&mut self) -> Result<String, ChallengeError> {
        let start = self.position;
        while self.peek().is_some_and(is_token) {
            self.position += 1;
        }
        if start == self.position {
            return Err(self.expected("a word"));
        }
        Ok(String::from_utf8_lossy(&self.text[start..self.position]).into_owned())
    }

    /// A bare token (RFC 9110, 11.2) if that is what stands here up to a comma or the end.
    fn token68(&mut self) -> Option<String> {
        let rest = &self.text[self.position..];
        let body = rest
            .iter()
            .take_while(|&&b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
            .count();
        let padding = rest[body..].iter().take_while(|&&b| b == b'=').count();
        let end = body + padding;
        let next = rest[end..].iter().find(|&&b| b != b' ' && b != b'\t');
        if body == 0 || !matches!(next, None | Some(b',')) {
            return None;
        }
        self.position += end;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    }

    /// A quoted string, or what has neither space nor comma: URLs come without quotes, too. After `=`.
    fn value(&mut self) -> Result<String, ChallengeError> {
        self.skip_space();
        if self.peek() != Some(b'"') {
            let ends = |b: &u8| !b.is_ascii_graphic() || matches!(b, b',' | b'"');
            let rest = &self.text[self.position..];
            let length = rest.iter().position(ends).unwrap_or(rest.len());
            if length == 0 {
                return Err(self.expected("a value"));
            }
            self.position += length;
            return Ok(String::from_utf8_lossy(&rest[..length]).into_owned());
        }
        self.position += 1;
        let mut value = Vec::new();
        loop {
            let byte = match self.peek() {
                None => return Err(self.expected("a closing quote")),
                Some(b'"') => {
                    self.position += 1;
                    return Ok(String::from_utf8_lossy(&value).into_owned());
                }
                Some(b'\\') => {
                    self.position += 1;
                    self.peek()
                        .ok_or_else(|| self.expected("a character after `\\`"))?
                }
                Some(byte) => byte,
            };
            if (byte < b' ' && byte != b'\t') || byte == 0x7f {
                return Err(self.expected("no control character"));
            }
            value.push(byte);
            self.position += 1;
        }
    }
}

impl Challenge {
    fn push(&mut self, name: String, value: String) -> Result<(), ChallengeError> {
        let name = name.to_ascii_lowercase();
        if let Some((_, known)) = self.parameters.iter_mut().find(|(n, _)| *n == name) {
            *known = value;
            return Ok(());
        }
        if self.parameters.len() == MAX_PARAMETERS {
            return Err(ChallengeError::TooManyParameters);
        }
        self.parameters.push((name, value));
        Ok(())
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(header: &str) -> Vec<(String, Vec<(String, String)>)> {
        Challenge::parse_all([header])
            .unwrap_or_else(|e| panic!("{header}: {e}"))
            .into_iter()
            .map(|c| {
                let mut parameters = c.parameters;
                parameters.extend(c.token.map(|t| (String::new(), t)));
                (c.scheme, parameters)
            })
            .collect()
    }

    fn one(scheme: &str, parameters: &[(&str, &str)]) -> (String, Vec<(String, String)>) {
        let owned = parameters
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        (scheme.to_owned(), owned.collect())
    }

    #[test]
    fn reads_what_registries_send() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull,push""#;
        assert_eq!(
            parse(hub),
            [one(
                "bearer",
                &[
                    ("realm", "https://auth.docker.io/token"),
                    ("service", "registry.docker.io"),
                    ("scope", "repository:library/alpine:pull,push"),
                ]
            )]
        );
        for (header, expected) in [
            ("Basic", vec![one("basic", &[])]),
            ("", vec![]),
            (" , ,", vec![]),
            (
                r#"BASIC Realm="a \"b\" \\ c""#,
                vec![one("basic", &[("realm", r#"a "b" \ c"#)])],
            ),
            (
                "Negotiate, NTLM , Basic realm=x",
                vec![
                    one("negotiate", &[]),
                    one("ntlm", &[]),
                    one("basic", &[("realm", "x")]),
                ],
            ),
            (
                "Negotiate YII/a+==, Bearer realm=\"r\" , service = \"s\",\tscope=\"\"",
                vec![
                    one("negotiate", &[("", "YII/a+==")]),
                    one("bearer", &[("realm", "r"), ("service", "s"), ("scope", "")]),
                ],
            ),
            (
                "Bearer realm=\"r\",,error=\"insufficient_scope\",",
                vec![one(
                    "bearer",
                    &[("realm", "r"), ("error", "insufficient_scope")],
                )],
            ),
        ] {
            assert_eq!(parse(header), expected, "{header}");
        }
        let two = Challenge::parse_all(["Basic realm=x", "Bearer realm=\"y\""]).unwrap();
        assert_eq!(two.len(), 2);
    }

    #[test]
    fn what_front_ends_make_of_headers_has_one_meaning() {
        let both = [("realm", "r"), ("service", "s")];
        for (header, expected) in [
            (r#"Bearer realm="r" service="s""#, one("bearer", &both)),
            (r#"Bearer realm="r"service="s""#, one("bearer", &both)),
            (r#"Bearer, realm="r", service="s""#, one("bearer", &both)),
            ("Bearer realm=r service=s", one("bearer", &both)),
            // Of two, the last one counts.
            (
                r#"Bearer realm="x", service="s", REALM="r""#,
                one("bearer", &both),
            ),
            (
                "Bearer realm=https://x/y?z=1,service=s",
                one("bearer", &[("realm", "https://x/y?z=1"), ("service", "s")]),
            ),
            // What cannot be read, and what follows it, is left out.
            (
                r#"Bearer realm="r",service="s",=, scope="x""#,
                one("bearer", &both),
            ),
            (
                r#"Bearer realm="r",service="s",error="never closed"#,
                one("bearer", &both),
            ),
            (
                r#"Negotiate abc, realm="x""#,
                one("negotiate", &[("", "abc")]),
            ),
        ] {
            assert_eq!(parse(header), [expected], "{header}");
        }
        assert_eq!(
            parse(r#"Bearer realm="r" Basic realm="b""#),
            [
                one("bearer", &[("realm", "r")]),
                one("basic", &[("realm", "b")])
            ]
        );
        // Bytes that are no ASCII, nor UTF-8.
        for header in [
            &b"\xef\xbb\xbfBearer realm=\"r\",service=\"s\""[..],
            b"Bearer\xa0realm=\"r\",service=\"s\"",
            b"Bearer realm=\"r\"\xa0,\xc2\xa0service=\"s\"\xff",
            b"Bearer realm=\"r\",service=\"s\",error=\"acc\xe8s refus\xe9\"",
        ] {
            let challenges = Challenge::parse_all([header]).unwrap();
            assert_eq!(challenges.len(), 1, "{challenges:?}");
            assert_eq!(challenges[0].scheme(), "bearer");
            for (name, value) in both {
                assert_eq!(challenges[0].parameter(name), Some(value));
            }
        }
        // One header that cannot be read stands in no other one's way.
        let two = Challenge::parse_all(["\"", "Bearer realm=r"]).unwrap();
        assert_eq!(two.len(), 1);
    }

    #[test]
    fn refuses_everything_else() {
        for header in [
            "=",
            "\"",
            "realm=\"x\"",
            "Bearer\u{1} realm=x",
            "Bearer\"x\"",
        ] {
            assert!(Challenge::parse_all([header]).is_err(), "{header:?}");
        }
        // Nothing is made of half a value.
        for header in [
            "Bearer realm=\"x",
            "Bearer realm=\"x\\",
            "Bearer realm=\"a\nb\"",
        ] {
            assert_eq!(parse(header), [one("bearer", &[])], "{header:?}");
        }
        let long = format!("Basic realm=\"{}\"", "x".repeat(MAX_HEADER));
        assert!(matches!(
            Challenge::parse_all([&long]),
            Err(ChallengeError::TooLong { .. })
        ));
        assert_eq!(
            Challenge::parse_all(["Basic, ".repeat(17)]),
            Err(ChallengeError::TooMany)
        );
        let parameters: Vec<String> = (0..33).map(|n| format!("p{n}=v")).collect();
        assert_eq!(
            Challenge::parse_all([format!("X {}", parameters.join(","))]),
            Err(ChallengeError::TooManyParameters)
        );
    }

    proptest! {
        #[test]
        fn never_panics(headers in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..4)) {
            if let Ok(challenges) = Challenge::parse_all(&headers) {
                prop_assert!(challenges.len() <= MAX_CHALLENGES);
            }
        }

        #[test]
        fn never_panics_near_the_grammar(header in "[A-Za-z]{0,3}([ ,=\"\\\\\ta-z]{0,3}){0,12}") {
            if let Ok(challenges) = Challenge::parse_all([&header]) {
                prop_assert!(challenges.len() <= MAX_CHALLENGES);
            }
        }

        #[test]
        fn quoted_values_survive(values in prop::collection::vec("[ -~]{0,20}", 1..6)) {
            let parameters: Vec<String> = values
                .iter()
                .enumerate()
                .map(|(n, v)| format!("p{n}=\"{}\"", v.replace('\\', "\\\\").replace('"', "\\\"")))
                .collect();
            let header = format!("Scheme {}, Other", parameters.join(", "));
            let challenges = Challenge::parse_all([&header]).unwrap();
            prop_assert_eq!(challenges.len(), 2);
            for (n, value) in values.iter().enumerate() {
                prop_assert_eq!(challenges[0].parameter(&format!("P{n}")), Some(value.as_str()));
            }
        }
    }
}
