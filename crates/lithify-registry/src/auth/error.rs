//! What goes wrong when a registry asks who we are. No variant holds a secret.

use lithify_escape::Escaped;

use super::credentials::{CredentialsError, Outcome, Place, Source};
use super::token::{RealmError, TokenResponseError, TransportError};

/// Why a registry is not satisfied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Stored credentials cannot be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// It wants to know who we are, and there is nothing to tell.
    #[error("{registry} wants credentials and there are none{}; sign in with `lithify login {registry}`", looked_in(.looked))]
    NoCredentials {
        /// The registry.
        registry: String,
        /// Where they were looked for.
        looked: Vec<Place>,
    },
    /// It did not accept what it was told.
    #[error(
        "{registry} refused the credentials from {source_of}; sign in again with `lithify login {registry}` if they are out of date, or ask for access to the repository"
    )]
    Refused {
        /// The registry.
        registry: String,
        /// Where the credentials came from.
        source_of: Source,
    },
    /// The credentials are of a kind the registry does not take.
    #[error(
        "{registry} wants a user and password, but {source_of} has a token; sign in with `lithify login {registry}`"
    )]
    Kind {
        /// The registry.
        registry: String,
        /// Where the credentials came from.
        source_of: Source,
    },
    /// Neither Basic nor Bearer.
    #[error("{registry} wants authentication by {}, expected Basic or Bearer", schemes(.offered))]
    UnsupportedScheme {
        /// The registry.
        registry: String,
        /// What it offers.
        offered: Vec<String>,
    },
    /// Its realm is nowhere to send credentials to.
    #[error("{registry}: {source}")]
    Realm {
        /// The registry.
        registry: String,
        /// Why not.
        source: RealmError,
    },
    /// No answer from the realm.
    #[error("{registry}: cannot ask its realm {realm}: {source}")]
    Transport {
        /// The registry.
        registry: String,
        /// The realm, without its query.
        realm: String,
        /// Why not.
        source: TransportError,
    },
    /// The realm answered with an error.
    #[error("{registry}: its realm {realm} answered with status {status}")]
    Status {
        /// The registry.
        registry: String,
        /// The realm, without its query.
        realm: String,
        /// The HTTP status.
        status: u16,
    },
    /// The realm answered something else than a token.
    #[error("{registry}: its realm {realm}: {source}")]
    Response {
        /// The registry.
        registry: String,
        /// The realm, without its query.
        realm: String,
        /// What is wrong.
        source: TokenResponseError,
    },
}

fn looked_in(places: &[Place]) -> String {
    let mut text = String::new();
    for place in places {
        // Files that do not exist say little; those that do are where a user looks for the mistake.
        if place.outcome != Outcome::Missing || place.helper.is_some() {
            text.push_str(if text.is_empty() { " in " } else { ", " });
            text.push_str(&place.to_string());
        }
    }
    let missing: Vec<String> = places
        .iter()
        .filter(|place| place.outcome == Outcome::Missing && place.helper.is_none())
        .map(|place| Escaped::path(&place.path).to_string())
        .collect();
    if !missing.is_empty() {
        text.push_str(" (no file ");
        text.push_str(&missing.join(", "));
        text.push(')');
    }
    text
}

fn schemes(offered: &[String]) -> String {
    if offered.is_empty() {
        return "nothing it names".to_owned();
    }
    let shown: Vec<String> = offered
        .iter()
        .map(|scheme| Escaped(scheme).to_string())
        .collect();
    shown.join(", ")
}
