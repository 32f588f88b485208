//! Asking a realm for a token.

use std::time::SystemTime;

use ureq::http::Method;

use crate::auth::{self, TokenEndpoint, TokenRequest, TokenResponse};
use crate::error::{Error, Operation};
use crate::http::retry::{is_passing, retry_after};
use crate::http::url::Url;
use crate::http::{Body, Request, Response};
use crate::session::{MAX_REDIRECTS, Session};

/// A redirect of a realm that is not followed.
#[derive(Debug, thiserror::Error)]
enum RedirectError {
    /// To another host.
    #[error("it sends us on to {to}, and credentials go to no other host than the realm's")]
    Credentials { to: Url },
    /// With the wrong method.
    #[error("it answers with status {status}, which leads to {to}, but not what was sent there")]
    Method { status: u16, to: Url },
    /// Too many of them.
    #[error("more than {MAX_REDIRECTS} redirects, the last to {to}")]
    TooMany { to: Url },
}

/// Tokens are asked for like anything else, but credentials are led to no other host.
impl TokenEndpoint for Session<'_> {
    fn send(&self, request: &TokenRequest) -> Result<TokenResponse, auth::TransportError> {
        let mut url = Url::parse(&request.url)?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.ask_realm(request, &url)?;
            match response {
                Asked::Answer(answer) => return Ok(answer),
                Asked::SentTo(to) => {
                    log::debug!("redirected to {to}");
                    url = to;
                }
            }
        }
        Err(RedirectError::TooMany { to: url }.into())
    }
}

enum Asked {
    Answer(TokenResponse),
    SentTo(Url),
}

impl Session<'_> {
    /// One request, sent as often as it takes.
    fn ask_realm(&self, request: &TokenRequest, url: &Url) -> Result<Asked, auth::TransportError> {
        let form = "application/x-www-form-urlencoded".to_owned();
        let headers = [
            ("content-type", form),
            ("accept", "application/json".to_owned()),
        ];
        let (method, headers) = match request.method {
            auth::Method::Get => (Method::GET, &headers[1..]),
            auth::Method::Post => (Method::POST, &headers[..]),
        };
        let policy = &self.shared.retry;
        let mut tries = 0;
        loop {
            self.shared.check_cancelled()?;
            log::debug!("{method} {url}");
            let sent = Request {
                method: method.clone(),
                url,
                authorization: request.authorization.as_ref(),
                headers,
                body: match &request.body {
                    Some(body) => Body::Bytes(body.expose().as_bytes()),
                    None => Body::Empty,
                },
            };
            let answer = self.exchange(url, sent, &Operation::Token, tries + 1);
            tries += 1;
            let (what, asked_for): (String, _) = match answer {
                Ok(response) if is_passing(response.status) && tries <= policy.retries => {
                    let asked_for = response
                        .header("retry-after")
                        .and_then(|value| retry_after(value, SystemTime::now()))
                        .filter(|after| *after <= policy.longest_retry_after);
                    (format!("{url}: status {}", response.status), asked_for)
                }
                Ok(response) if matches!(response.status, 301..=303 | 307 | 308) => {
                    return Ok(Asked::SentTo(self.realm_redirect(request, url, response)?));
                }
                Ok(response) => {
                    let status = response.status;
                    match response.read(auth::MAX_TOKEN_RESPONSE as u64 + 1) {
                        Ok((body, _)) => {
                            return Ok(Asked::Answer(TokenResponse { status, body }));
                        }
                        Err(failure) if failure.is_passing() && tries <= policy.retries => {
                            (format!("{url}: {failure}"), None)
                        }
                        Err(failure) => return Err(failure.into()),
                    }
                }
                Err(Error::Transport { source, .. })
                    if source.is_passing() && tries <= policy.retries =>
                {
                    (format!("{url}: {source}"), None)
                }
                Err(Error::Transport { source, .. }) => return Err(source.into()),
                Err(error) => return Err(error.into()),
            };
            let delay = policy.delay(tries - 1).max(asked_for.unwrap_or_default());
            self.shared.pause(&what, delay)?;
        }
    }

    /// Where a realm's redirect leads, if the same may be sent there. A front end that adds a slash or the `s` of `https`
    /// is the realm's own; on another host nobody checked who it is.
    fn realm_redirect(
        &self,
        request: &TokenRequest,
        from: &Url,
        response: Response,
    ) -> Result<Url, auth::TransportError> {
        let to = self.redirected(from, &response)?;
        let status = response.status;
        response.discard();
        let has_credentials = request.authorization.is_some() || request.body.is_some();
        let realm = Url::parse(&request.url)?;
        let is_own = to.same_origin(&realm)
            || (to.is_https()
                && !realm.is_https()
                && (to.port() == 443 || to.port() == realm.port())
                && to.host().eq_ignore_ascii_case(realm.host()));
        if has_credentials && !is_own {
            return Err(RedirectError::Credentials { to }.into());
        }
        // The others make a GET of anything (RFC 9110, section 15.4), which sends no form.
        if request.method == auth::Method::Post && !matches!(status, 307 | 308) {
            return Err(RedirectError::Method { status, to }.into());
        }
        Ok(to)
    }
}
