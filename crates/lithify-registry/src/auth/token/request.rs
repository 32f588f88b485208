//! Requests to a realm.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Realm;
use crate::Secret;
use crate::auth::Scopes;

/// Who we say we are where OAuth2 wants to know.
const CLIENT: &str = "lithify";

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Token specification.
    Get,
    /// OAuth2.
    Post,
}

/// A request for a token, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenRequest {
    /// The method.
    pub method: Method,
    /// The whole URL; holds no secret.
    pub url: String,
    /// The value of `Authorization`, if there is to be one.
    pub authorization: Option<Secret>,
    /// The body of a POST, of type `application/x-www-form-urlencoded`.
    pub body: Option<Secret>,
}

/// What a POST proves itself with.
pub(crate) enum Grant<'a> {
    Refresh(&'a Secret),
    Password(&'a str, &'a Secret),
}

impl TokenRequest {
    pub(crate) fn get(
        realm: &Realm,
        service: Option<&str>,
        scopes: &Scopes,
        user: Option<(&str, &Secret)>,
    ) -> Self {
        let mut fields = Vec::new();
        if let Some((username, _)) = user {
            fields.push(("account", username.to_owned()));
        }
        fields.extend(service.map(|service| ("service", service.to_owned())));
        fields.extend(scopes.iter().map(|scope| ("scope", scope)));
        let mut url = realm.as_str().to_owned();
        if !fields.is_empty() {
            let has_query = url.contains('?');
            url.push(if has_query { '&' } else { '?' });
            url.push_str(&encode(&fields));
        }
        Self {
            method: Method::Get,
            url,
            authorization: user.map(|(username, password)| basic(username, password)),
            body: None,
        }
    }

    pub(crate) fn post(
        realm: &Realm,
        service: Option<&str>,
        scopes: &Scopes,
        grant: &Grant<'_>,
    ) -> Self {
        let mut fields = Vec::new();
        match grant {
            Grant::Refresh(token) => {
                fields.push(("grant_type", "refresh_token".to_owned()));
                fields.push(("refresh_token", token.expose().to_owned()));
            }
            Grant::Password(username, password) => {
                fields.push(("grant_type", "password".to_owned()));
                fields.push(("username", (*username).to_owned()));
                fields.push(("password", password.expose().to_owned()));
            }
        }
        fields.push(("client_id", CLIENT.to_owned()));
        fields.extend(service.map(|service| ("service", service.to_owned())));
        if !scopes.is_empty() {
            fields.push(("scope", scopes.to_string()));
        }
        Self {
            method: Method::Post,
            url: realm.as_str().to_owned(),
            authorization: None,
            body: Some(Secret::new(encode(&fields))),
        }
    }
}

/// The value of `Authorization` for a user (RFC 7617).
pub(crate) fn basic(username: &str, password: &Secret) -> Secret {
    let pair = format!("{username}:{}", password.expose());
    Secret::new(format!("Basic {}", STANDARD.encode(pair)))
}

fn encode(fields: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                text.push(char::from(byte));
            } else if write!(text, "%{byte:02X}").is_err() {
                unreachable!("writing to a string does not fail");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Registry;

    fn realm(text: &str) -> Realm {
        Realm::check(text, &Registry::new("r", "a")).unwrap()
    }

    #[test]
    fn get_has_one_scope_parameter_each() {
        let mut scopes = Scopes::push("b");
        scopes.merge(&Scopes::pull("a/c"));
        let request = TokenRequest::get(
            &realm("https://x/t?k=v"),
            Some("the service"),
            &scopes,
            None,
        );
        assert_eq!(
            request.url,
            "https://x/t?k=v&service=the%20service&scope=repository%3Aa%2Fc%3Apull&scope=repository%3Ab%3Apull%2Cpush"
        );
        assert_eq!(request.authorization, None);
        let bare = TokenRequest::get(&realm("https://x/t"), None, &Scopes::none(), None);
        assert_eq!(bare.url, "https://x/t");
    }

    #[test]
    fn secrets_are_in_secrets_only() {
        let (user, password) = ("me", Secret::new("p&w=1"));
        let get = TokenRequest::get(
            &realm("https://x/t"),
            None,
            &Scopes::none(),
            Some((user, &password)),
        );
        assert_eq!(
            get.authorization.as_ref().unwrap().expose(),
            "Basic bWU6cCZ3PTE="
        );
        let post = TokenRequest::post(
            &realm("https://x/t"),
            Some("s"),
            &Scopes::pull("a"),
            &Grant::Password(user, &password),
        );
        assert_eq!(
            post.body.as_ref().unwrap().expose(),
            "grant_type=password&username=me&password=p%26w%3D1&client_id=lithify&service=s&scope=repository%3Aa%3Apull"
        );
        for request in [get, post] {
            let printed = format!("{request:?}");
            assert!(
                !printed.contains("p%26w") && !printed.contains("bWU6"),
                "{printed}"
            );
        }
    }
}
