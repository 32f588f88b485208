//! Asking a realm for a token; which request is made is said in [`token`](super::token).

use super::credentials::Credential;
use super::token::{Grant, Realm, TokenEndpoint, TokenRequest, TokenResponse};
use super::{Error, Registry, Scopes};
use crate::Secret;

pub(super) struct Fetch<'a> {
    pub(super) registry: &'a Registry,
    pub(super) realm: &'a Realm,
    pub(super) service: Option<&'a str>,
    pub(super) scopes: &'a Scopes,
    pub(super) endpoint: &'a dyn TokenEndpoint,
}

impl Fetch<'_> {
    /// A response that should have a token; nothing if the realm refused.
    pub(super) fn run(
        &self,
        credential: Option<&Credential>,
        refresh: &mut Option<Secret>,
    ) -> Result<Option<TokenResponse>, Error> {
        if let Some(token) = refresh.clone() {
            let response = self.post(&Grant::Refresh(&token))?;
            if is_success(response.status) {
                return Ok(Some(response));
            }
            // It has its own life span; what it was got with may still do.
            *refresh = None;
        }
        match credential {
            Some(Credential::IdentityToken(token)) => {
                let response = self.post(&Grant::Refresh(token))?;
                // OAuth2 says `invalid_grant` with 400 (RFC 6749, 5.2).
                if response.status == 400 {
                    return Ok(None);
                }
                self.judge(response)
            }
            Some(Credential::Basic { username, password }) => {
                let response = self.get(Some((username, password)))?;
                if !matches!(response.status, 404 | 405) {
                    return self.judge(response);
                }
                let response = self.post(&Grant::Password(username, password))?;
                if response.status == 400 {
                    return Ok(None);
                }
                self.judge(response)
            }
            Some(Credential::RegistryToken(_)) | None => {
                let response = self.get(None)?;
                self.judge(response)
            }
        }
    }

    /// Whether a refresh token that came with the answer is of use. One that came unasked with an anonymous token
    /// would stand for nobody.
    pub(super) fn keeps_refresh(&self, credential: Option<&Credential>) -> bool {
        matches!(
            credential,
            Some(Credential::Basic { .. } | Credential::IdentityToken(_))
        )
    }

    fn judge(&self, response: TokenResponse) -> Result<Option<TokenResponse>, Error> {
        match response.status {
            status if is_success(status) => Ok(Some(response)),
            401 | 403 => Ok(None),
            status => Err(Error::Status {
                registry: self.registry.host().to_owned(),
                realm: self.realm.to_string(),
                status,
            }),
        }
    }

    fn get(&self, user: Option<(&String, &Secret)>) -> Result<TokenResponse, Error> {
        let user = user.map(|(name, password)| (name.as_str(), password));
        self.send(&TokenRequest::get(
            self.realm,
            self.service,
            self.scopes,
            user,
        ))
    }

    fn post(&self, grant: &Grant<'_>) -> Result<TokenResponse, Error> {
        self.send(&TokenRequest::post(
            self.realm,
            self.service,
            self.scopes,
            grant,
        ))
    }

    fn send(&self, request: &TokenRequest) -> Result<TokenResponse, Error> {
        self.endpoint
            .send(request)
            .map_err(|source| Error::Transport {
                registry: self.registry.host().to_owned(),
                realm: self.realm.to_string(),
                source,
            })
    }
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}
