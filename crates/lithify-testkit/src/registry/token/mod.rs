//! A token server (distribution's "Token Authentication Specification" and "OAuth2 token authentication").

mod jwt; // signed tokens
mod service; // who may do what

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(super) use service::Verifier;
use service::{State, User};

use super::lock::lock;
use super::server::Server;
use super::{Action, Hits, On, Request};

/// What a token server was asked, and what it gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `GET`, or `POST` for OAuth2.
    pub method: String,
    /// `password` or `refresh_token`, of a POST.
    pub grant_type: Option<String>,
    /// Whom the client proved to be.
    pub user: Option<String>,
    /// The service a token was asked for.
    pub service: Option<String>,
    /// The scopes asked for, each as it came: `repository:x:pull`.
    pub scopes: Vec<String>,
    /// Whether a token was given (one may be given that allows nothing).
    pub given: bool,
}

/// A server of tokens that [`Real`](super::Real) and [`Faulty`](super::Faulty) accept, at `/token`.
///
/// It answers GET with Basic authentication or none and POST with a password or a refresh token. A user for whom nothing
/// is [allowed](Self::allow) may do everything; nobody is let in without a name unless [that](Self::allow_anonymous) is
/// allowed. Answers can be bent by [rules](Self::rule) like those of a registry.
///
/// ```no_run
/// use lithify_testkit::registry::{Real, TokenServer};
/// let tokens = TokenServer::start();
/// tokens.add_user("alice", "secret");
/// tokens.allow_anonymous("public/*", &["pull"]);
/// let registry = Real::setup().token(&tokens).start();
/// // ... pull with the code under test ...
/// assert_eq!(tokens.asked().len(), 1);
/// ```
#[derive(Debug)]
pub struct TokenServer {
    server: Server,
    state: Arc<State>,
}

impl TokenServer {
    /// The `service` and `issuer` of its tokens.
    pub const SERVICE: &'static str = "lithify-test-registry";
    /// The `iss` of its tokens.
    pub const ISSUER: &'static str = "lithify-test-issuer";

    /// Starts a server without users.
    ///
    /// # Panics
    /// When `openssl` cannot make a key.
    #[must_use]
    pub fn start() -> Self {
        let state = Arc::new(State::new());
        let server = Server::tcp(Arc::clone(&state) as Arc<_>);
        Self { server, state }
    }

    /// Adds a user (or gives one another password).
    pub fn add_user(&self, name: &str, password: &str) {
        let user = User {
            password: password.into(),
            allowed: None,
        };
        lock(&self.state.table).users.insert(name.into(), user);
    }

    /// Allows a user actions (`pull`, `push`, `delete`) on a repository, or on all whose name begins with what is before
    /// a `*` at the end; and nothing that is not allowed.
    ///
    /// # Panics
    /// When there is no such user.
    pub fn allow(&self, user: &str, repository: &str, actions: &[&str]) {
        let mut table = lock(&self.state.table);
        let user = table.users.get_mut(user).expect("the user has been added");
        let allowed = user.allowed.get_or_insert_default();
        allowed.push(service::Grant::new(repository, actions));
    }

    /// Allows actions to those who give no name.
    pub fn allow_anonymous(&self, repository: &str, actions: &[&str]) {
        let grant = service::Grant::new(repository, actions);
        lock(&self.state.table).anonymous.push(grant);
    }

    /// How long tokens are good (300 s at first). Registries that allow clocks to differ by a minute, as
    /// `docker-registry` does, refuse them in time all the same.
    pub fn set_lifetime(&self, lifetime: Duration) {
        lock(&self.state.table).lifetime = lifetime;
    }

    /// What `expires_in` says: the seconds given, or nothing at all for `None`.
    pub fn set_stated_lifetime(&self, seconds: Option<u64>) {
        lock(&self.state.table).stated = Some(seconds);
    }

    /// The token under `access_token` only, as some servers answer GET too (at first it is under `token` as well).
    pub fn set_access_token_only(&self, only: bool) {
        lock(&self.state.table).access_token_only = only;
    }

    /// Whether POST is refused with 405, as by servers that know GET only.
    pub fn set_post_refused(&self, refused: bool) {
        lock(&self.state.table).post_refused = refused;
    }

    /// An HTML page with status 200 in place of every token, as captive portals answer.
    pub fn set_html(&self, html: bool) {
        lock(&self.state.table).html = html;
    }

    /// No token issued so far is accepted by [`Faulty`](super::Faulty) any more.
    pub fn revoke_all(&self) {
        lock(&self.state.table).issued.clear();
    }

    /// No refresh token issued so far is good any more.
    pub fn revoke_refresh_tokens(&self) {
        lock(&self.state.table).refresh.clear();
    }

    /// A refresh (identity) token of a user, as a login would have stored it.
    #[must_use]
    pub fn refresh_token(&self, user: &str) -> String {
        lock(&self.state.table).refresh_for(user)
    }

    /// A token to use right away.
    #[must_use]
    pub fn token(&self, repository: &str, actions: &[&str]) -> String {
        let access = vec![service::Access {
            name: repository.into(),
            actions: actions.iter().map(|a| (*a).to_owned()).collect(),
        }];
        self.state.issue("", &access)
    }

    /// All it was asked for tokens so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.state.table).asked.clone()
    }

    /// Forgets what it was asked, and its requests.
    pub fn clear_asked(&self) {
        lock(&self.state.table).asked.clear();
        self.server.clear_requests();
    }

    /// Adds a rule, as for [`Faulty`](super::Faulty::rule).
    pub fn rule(&self, on: On, action: Action) -> Hits {
        self.server.rule(on, action)
    }

    /// Forgets all rules.
    pub fn clear_rules(&self) {
        self.server.clear_rules();
    }

    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// The URL tokens are fetched from.
    #[must_use]
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.server.address())
    }

    /// The challenge that sends a client here, without a scope.
    #[must_use]
    pub fn challenge(&self) -> String {
        format!(
            "Bearer realm=\"{}\",service=\"{}\"",
            self.realm(),
            Self::SERVICE
        )
    }

    /// The certificate its tokens are signed with, in PEM: a registry's `rootcertbundle`.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.state.signer.certificate()
    }

    pub(super) fn verifier(&self) -> Verifier {
        Verifier(Arc::clone(&self.state))
    }
}
