//! Asking a realm for a token.

use std::time::SystemTime;

use ureq::http::Method;

use crate::auth::{self, TokenEndpoint, TokenRequest, TokenResponse};
use crate::error::{Error, Operation};
use crate::http::retry::{is_passing, retry_after};
use crate::http::url::Url;
use crate::http::{Body, Request};
use crate::session::Session;

/// Tokens are asked for like anything else, but redirects are not followed: they would lead credentials astray.
impl TokenEndpoint for Session<'_> {
    fn send(&self, request: &TokenRequest) -> Result<TokenResponse, auth::TransportError> {
        let url = Url::parse(&request.url)?;
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
                url: &url,
                authorization: request.authorization.as_ref(),
                headers,
                body: match &request.body {
                    Some(body) => Body::Bytes(body.expose().as_bytes()),
                    None => Body::Empty,
                },
            };
            let answer = self.exchange(&url, sent, &Operation::Token, tries + 1);
            tries += 1;
            let (what, asked_for): (String, _) = match answer {
                Ok(response) if is_passing(response.status) && tries <= policy.retries => {
                    let asked_for = response
                        .header("retry-after")
                        .and_then(|value| retry_after(value, SystemTime::now()))
                        .filter(|after| *after <= policy.longest_retry_after);
                    (format!("{url}: status {}", response.status), asked_for)
                }
                Ok(response) => {
                    let status = response.status;
                    match response.read(auth::MAX_TOKEN_RESPONSE as u64 + 1) {
                        Ok((body, _)) => return Ok(TokenResponse { status, body }),
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
}
