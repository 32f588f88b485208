//! Scopes: what a token allows.
//!
//! A scope is `TYPE:NAME:ACTION[,ACTION…]` (distribution, `docs/spec/auth/scope.md`), such as
//! `repository:library/alpine:pull`. Names may have colons (`host:5000/x`), so the type ends at the first one and the
//! actions begin after the last. Some registries use words without colons (`aws` on public.ecr.aws); they are kept as
//! they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Most scopes in one set; further ones are ignored.
const MAX_SCOPES: usize = 64;
/// Longest scope in bytes.
const MAX_SCOPE: usize = 1024;

/// A set of scopes, one per resource: actions on the same resource are merged.
///
/// ```
/// use lithify_registry::auth::Scopes;
///
/// let mut scopes = Scopes::pull("team/app");
/// scopes.merge(&Scopes::push("team/app"));
/// assert_eq!(scopes.to_string(), "repository:team/app:pull,push");
/// assert!(scopes.covers(&Scopes::pull("team/app")));
/// assert!(!scopes.covers(&Scopes::pull("team/other")));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(BTreeMap<String, BTreeSet<String>>);

impl Scopes {
    /// No scope: what asking for `/v2/` needs.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Reading a repository.
    #[must_use]
    pub fn pull(repository: &str) -> Self {
        Self::parse(&format!("repository:{repository}:pull"))
    }

    /// Reading and writing a repository. (Uploads also ask what exists, so `push` alone does not do.)
    #[must_use]
    pub fn push(repository: &str) -> Self {
        Self::parse(&format!("repository:{repository}:pull,push"))
    }

    /// Reads scopes separated by spaces, as a challenge's `scope` has them. What cannot be a scope (RFC 6749, 3.3:
    /// printable ASCII without `"` and `\`) is left out, and so is what goes beyond 64 scopes of 1024 bytes.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut scopes = Self::default();
        for word in text.split(' ') {
            let valid = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
            if word.is_empty() || word.len() > MAX_SCOPE || !word.bytes().all(valid) {
                continue;
            }
            let (resource, actions) = match word.rsplit_once(':') {
                Some((resource, actions)) if resource.contains(':') => (resource, actions),
                _ => (word, ""),
            };
            scopes.add(
                resource,
                actions.split(',').filter(|action| !action.is_empty()),
            );
        }
        scopes
    }

    /// Adds the scopes of another set.
    pub fn merge(&mut self, other: &Self) {
        for (resource, actions) in &other.0 {
            self.add(resource, actions.iter().map(String::as_str));
        }
    }

    /// These scopes without the rights to repositories that `needed` has for none. A challenge names what a registry has
    /// to give (`push`, `*`), which is more than a pull should hold in its hands; and it may name the repository in its own way.
    #[must_use]
    pub fn limited_to(&self, needed: &Self) -> Self {
        let actions: BTreeSet<&String> = needed.0.values().flatten().collect();
        let mut limited = Self::default();
        for (resource, asked) in &self.0 {
            if !resource.starts_with("repository:") && !resource.starts_with("repository(") {
                limited.add(resource, asked.iter().map(String::as_str));
                continue;
            }
            let all = asked.contains("*");
            let kept = actions.iter().filter(|a| all || asked.contains(**a));
            let mut kept = kept.map(|action| action.as_str()).peekable();
            if kept.peek().is_some() {
                limited.add(resource, kept);
            }
        }
        limited
    }

    /// Whether whoever has these scopes may do all that `wanted` asks for. `*` is every action.
    #[must_use]
    pub fn covers(&self, wanted: &Self) -> bool {
        wanted
            .0
            .iter()
            .all(|(resource, actions)| match self.0.get(resource) {
                Some(held) => held.contains("*") || held.is_superset(actions),
                None => false,
            })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each scope as it is written.
    pub fn iter(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|(resource, actions)| {
            if actions.is_empty() {
                return resource.clone();
            }
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            format!("{resource}:{}", actions.join(","))
        })
    }

    fn add<'a>(&mut self, resource: &str, actions: impl Iterator<Item = &'a str>) {
        if self.0.len() >= MAX_SCOPES && !self.0.contains_key(resource) {
            return;
        }
        self.0
            .entry(resource.to_owned())
            .or_default()
            .extend(actions.map(str::to_owned));
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes: Vec<String> = self.iter().collect();
        f.write_str(&scopes.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_registries_send() {
        for (text, printed) in [
            ("repository:a/b:pull,push", "repository:a/b:pull,push"),
            ("repository:a:push,pull", "repository:a:pull,push"),
            (
                "repository:a:push repository:a:pull",
                "repository:a:pull,push",
            ),
            ("repository:host:5000/a:pull", "repository:host:5000/a:pull"),
            ("registry:catalog:*", "registry:catalog:*"),
            ("repository(plugin):a:pull", "repository(plugin):a:pull"),
            ("aws", "aws"),
            ("", ""),
            ("  ", ""),
            ("a\"b repository:x:pull", "repository:x:pull"),
        ] {
            assert_eq!(Scopes::parse(text).to_string(), printed, "{text}");
        }
    }

    #[test]
    fn covering_is_by_resource_and_action() {
        let all = Scopes::parse("registry:catalog:*");
        assert!(all.covers(&Scopes::parse("registry:catalog:list")));
        assert!(!Scopes::pull("a").covers(&Scopes::push("a")));
        assert!(Scopes::push("a").covers(&Scopes::pull("a")));
        assert!(Scopes::none().covers(&Scopes::none()));
        assert!(Scopes::pull("a").covers(&Scopes::none()));
        assert!(!Scopes::none().covers(&Scopes::parse("aws")));
    }

    #[test]
    fn challenges_ask_for_no_more_than_is_needed() {
        for (challenge, needed, limited) in [
            (
                "repository:a:pull,push",
                Scopes::pull("a"),
                "repository:a:pull",
            ),
            ("repository:a:*", Scopes::pull("a"), "repository:a:pull"),
            ("repository:a:push", Scopes::pull("a"), ""),
            (
                "repository:a:delete,pull,push",
                Scopes::push("a"),
                "repository:a:pull,push",
            ),
            (
                "repository:a:*",
                Scopes::push("a"),
                "repository:a:pull,push",
            ),
            // A registry that calls it something else.
            (
                "repository:proxy/a:pull,push",
                Scopes::pull("a"),
                "repository:proxy/a:pull",
            ),
            ("repository(plugin):a:push", Scopes::pull("a"), ""),
            (
                "registry:catalog:*",
                Scopes::pull("a"),
                "registry:catalog:*",
            ),
            ("aws", Scopes::pull("a"), "aws"),
            ("repository:a:pull", Scopes::none(), ""),
        ] {
            let scopes = Scopes::parse(challenge).limited_to(&needed);
            assert_eq!(scopes.to_string(), limited, "{challenge}");
        }
    }

    #[test]
    fn sets_are_bounded() {
        let many: Vec<String> = (0..1000).map(|n| format!("repository:r{n}:pull")).collect();
        assert_eq!(Scopes::parse(&many.join(" ")).iter().count(), MAX_SCOPES);
    }
}
