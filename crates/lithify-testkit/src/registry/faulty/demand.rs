//! Who may do what.

use crate::registry::token::Verifier;
use crate::registry::{Answer, Request, TokenServer};

/// What a [`Faulty`](super::Faulty) registry demands of those who ask it.
#[derive(Clone, Debug)]
pub struct Demand(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Basic {
        user: String,
        password: String,
    },
    Bearer {
        challenge: String,
        verifier: Option<Verifier>,
    },
}

impl Demand {
    /// A user and a password, by HTTP Basic authentication.
    #[must_use]
    pub fn basic(user: &str, password: &str) -> Self {
        let (user, password) = (user.into(), password.into());
        Self(Kind::Basic { user, password })
    }

    /// A token this server has issued, not yet expired, for what is asked.
    #[must_use]
    pub fn token(server: &TokenServer) -> Self {
        Self(Kind::Bearer {
            challenge: server.challenge(),
            verifier: Some(server.verifier()),
        })
    }

    /// Any token, to be fetched as this challenge says: `Bearer realm="http://…/token",service="x"`. The scope is added.
    #[must_use]
    pub fn any_token(challenge: &str) -> Self {
        Self(Kind::Bearer {
            challenge: challenge.into(),
            verifier: None,
        })
    }

    /// The refusal of a request that has not what is demanded.
    pub(super) fn refuse(&self, request: &Request, scope: Option<(&str, &str)>) -> Option<Answer> {
        match &self.0 {
            Kind::Basic { user, password } => {
                let right = request
                    .basic()
                    .is_some_and(|(u, p)| u == *user && p == *password);
                (!right).then(|| Answer::challenge("Basic realm=\"faulty\""))
            }
            Kind::Bearer {
                challenge,
                verifier,
            } => {
                let token = request
                    .authorization()
                    .and_then(|a| a.strip_prefix("Bearer "));
                let right = token
                    .is_some_and(|token| verifier.as_ref().is_none_or(|v| v.accepts(token, scope)));
                let mut challenge = challenge.clone();
                if let Some((repository, action)) = scope {
                    let actions = if action == "push" {
                        "pull,push"
                    } else {
                        action
                    };
                    challenge += &format!(",scope=\"repository:{repository}:{actions}\"");
                }
                if token.is_some() {
                    challenge += ",error=\"invalid_token\"";
                }
                (!right).then(|| Answer::challenge(&challenge))
            }
        }
    }
}
