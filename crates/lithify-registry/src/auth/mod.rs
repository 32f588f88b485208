//! Who we are, and proving it to a registry.
//!
//! A registry that wants to know answers 401 with [`Challenge`]s. An [`Exchange`] turns them into the header to ask
//! again with: `Basic` with the user's [`Credential`], or `Bearer` with a token fetched from the *realm* the challenge
//! names. [`Credentials`] finds what the user stored, [`Login`] stores it.
//!
//! # What a realm may be
//! The registry names the realm, and Docker Hub's, GitLab's and most hosted registries' realms are on other hosts than
//! the registry, so credentials are sent to hosts the user never named. That is no more than the registry could have:
//! it may ask for `Basic` and see the same user name and password itself. What it must not do is to give them to
//! someone else:
//!
//! * a realm is asked by `https`, also where the registry calls it `http` (as those do that stand behind something that
//!   ends TLS), unless the registry itself is spoken to in plain HTTP and the realm is on loopback or the registry
//!   `insecure`; an `https` registry never leads to a plain realm, even an `insecure` one;
//! * it is an absolute URL without user information, fragment, odd characters or an odd host ([`RealmError`]);
//! * credentials are those stored for the *registry*; those of the realm's host are never looked up;
//! * tokens are kept per registry: a registry that names another one's realm, service and scope gets a token fetched
//!   with its own credentials, never one that was fetched for the other;
//! * the endpoint follows no redirect to another host with credentials ([`TokenEndpoint`]).
//!
//! A registry can still make us send a request with the user's password for *it* to any https host. Who wants to rule
//! that out lists the hosts: `realms = ["auth.example.com"]` in the configuration ([`Registry::realms`]).

mod authenticator;
mod challenge;
mod credentials;
mod error;
mod fetch;
mod json;
mod login;
mod registry;
mod scope;
mod token;

pub use authenticator::{Answer, Authenticator, Exchange};
pub use challenge::{Challenge, ChallengeError};
pub use credentials::{
    Credential, Credentials, CredentialsError, Found, HELPER_TIMEOUT, Lookup, Outcome, Place,
    Source,
};
pub use error::Error;
pub use json::JsonError;
pub use login::{Login, Removed, default_file};
pub use registry::Registry;
pub use scope::Scopes;
pub use token::{
    Clock, MAX_TOKEN_RESPONSE, Method, RealmError, SystemClock, TokenEndpoint, TokenRequest,
    TokenResponse, TokenResponseError, TransportError,
};

pub(crate) use credentials::canonical_host;
pub(crate) use json::quote;
pub(crate) use token::is_loopback_authority;

/// Longest token or secret in bytes.
const MAX_SECRET: usize = 32 << 10;

/// Whether a token can stand in a header: visible ASCII, not too long.
fn sendable(token: &str) -> bool {
    !token.is_empty() && token.len() <= MAX_SECRET && token.bytes().all(|b| b.is_ascii_graphic())
}
