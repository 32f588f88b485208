//! Tokens that are kept.

use std::time::{Duration, SystemTime};

use crate::Secret;
use crate::auth::Scopes;

/// A token is not used in the last part of its life, because requests take time and clocks differ.
const MARGIN: Duration = Duration::from_secs(10);
/// Most tokens kept for one realm, service and account.
const MAX_TOKENS: usize = 64;

/// What tells the time.
pub trait Clock: Send + Sync {
    /// The time.
    fn now(&self) -> SystemTime;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A token, what it allows, and how long it is used.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) value: Secret,
    scopes: Scopes,
    from: SystemTime,
    until: SystemTime,
}

impl Token {
    /// A token that lasts for `lifetime` from `now`. The margin is 10 s, or a quarter of a short life.
    pub(crate) fn new(value: Secret, scopes: Scopes, now: SystemTime, lifetime: Duration) -> Self {
        let used = lifetime.saturating_sub(MARGIN.min(lifetime / 4));
        Self {
            value,
            scopes,
            from: now,
            until: now.checked_add(used).unwrap_or(now),
        }
    }

    /// A clock that was set back makes a token useless too: nobody knows how old it is.
    fn is_live(&self, now: SystemTime) -> bool {
        self.from <= now && now < self.until
    }
}

/// The tokens of one registry, realm, service and account.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    tokens: Vec<Token>,
    /// A refresh token the realm gave.
    pub(crate) refresh: Option<Secret>,
}

impl Slot {
    /// A live token that allows all that is wanted.
    pub(crate) fn covering(&self, wanted: &Scopes, now: SystemTime) -> Option<&Token> {
        self.tokens
            .iter()
            .rev()
            .find(|token| token.is_live(now) && token.scopes.covers(wanted))
    }

    pub(crate) fn insert(&mut self, token: Token, now: SystemTime) {
        self.tokens
            .retain(|old| old.is_live(now) && !token.scopes.covers(&old.scopes));
        if self.tokens.len() >= MAX_TOKENS {
            self.tokens.remove(0);
        }
        self.tokens.push(token);
    }

    /// Drops a token that was refused.
    pub(crate) fn remove(&mut self, value: &Secret) {
        self.tokens.retain(|token| token.value != *value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn token(value: &str, scopes: &str, lifetime: u64) -> Token {
        Token::new(
            Secret::new(value),
            Scopes::parse(scopes),
            at(1000),
            Duration::from_secs(lifetime),
        )
    }

    #[test]
    fn tokens_end_before_their_time() {
        for (lifetime, last) in [(60, 1049), (300, 1289), (8, 1005), (1, 1000)] {
            let token = token("t", "aws", lifetime);
            assert!(token.is_live(at(last)), "{lifetime}");
            assert!(!token.is_live(at(last + 1)), "{lifetime}");
            assert!(!token.is_live(at(999)), "{lifetime}");
        }
    }

    #[test]
    fn a_wider_token_takes_the_place_of_narrower_ones() {
        let mut slot = Slot::default();
        slot.insert(token("narrow", "repository:a:pull", 300), at(1000));
        slot.insert(token("other", "repository:b:pull", 300), at(1000));
        slot.insert(token("wide", "repository:a:pull,push", 300), at(1000));
        let found = |slot: &Slot, wanted: &Scopes| {
            slot.covering(wanted, at(1001))
                .map(|token| token.value.expose().to_owned())
        };
        assert_eq!(slot.tokens.len(), 2);
        assert_eq!(found(&slot, &Scopes::pull("a")).as_deref(), Some("wide"));
        assert_eq!(found(&slot, &Scopes::push("b")), None);
        slot.remove(&Secret::new("wide"));
        assert_eq!(found(&slot, &Scopes::pull("a")), None);
        for n in 0..200 {
            slot.insert(token("t", &format!("repository:r{n}:pull"), 300), at(1000));
        }
        assert_eq!(slot.tokens.len(), MAX_TOKENS);
    }
}
