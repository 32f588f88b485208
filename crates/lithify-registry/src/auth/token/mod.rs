//! Tokens: fetching them from a realm, and keeping them while they last.
//!
//! # Which request is made
//! (distribution, `docs/spec/auth/token.md` and `oauth.md`; choices where clients differ are named)
//!
//! * Without credentials: GET with `service` and each `scope`.
//! * With user and password: the same GET with Basic authentication and `account`, as docker and containers' tools do.
//!   Where that answers 404 or 405 the realm only knows OAuth2: POST with `grant_type=password` (containerd begins with
//!   POST, and needs four exceptions for registries that do not know it).
//! * With an identity token: POST with `grant_type=refresh_token`. There is no other way to use one.
//! * A `refresh_token` in an answer to a POST is used for further tokens while the process lives; it is never stored.

mod cache;
mod realm;
mod request;
mod response;

pub use cache::{Clock, SystemClock};
pub use realm::RealmError;
pub use request::{Method, TokenRequest};
pub use response::{MAX_TOKEN_RESPONSE, TokenResponse, TokenResponseError};

pub(crate) use cache::{Slot, Token};
pub(crate) use realm::{Realm, is_loopback_authority};
pub(crate) use request::{Grant, basic};
pub(crate) use response::Granted;

/// What an endpoint fails with; it may hold no secret.
pub type TransportError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What sends a request to a realm: the HTTP client, or a fake.
///
/// An implementation
/// * returns every HTTP status, also errors, as a response; retries of 429 and 5xx are its own business;
/// * follows redirects on the realm's own host, and others only for requests without credentials, which would go where
///   nobody checked;
/// * reads no more than [`MAX_TOKEN_RESPONSE`] bytes (and may cut off there);
/// * does not ask the [`Authenticator`](super::Authenticator) for anything;
/// * uses the proxies and certificates configured for the realm's host.
pub trait TokenEndpoint {
    /// Sends a request and returns what came back.
    ///
    /// # Errors
    /// If there is no response.
    fn send(&self, request: &TokenRequest) -> Result<TokenResponse, TransportError>;
}
