//! What an error's body says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Secret;
use crate::auth::quote;

/// What is shown instead of a secret.
const MASK: &str = "***";
/// Most characters that are shown.
const LONGEST: usize = 300;

/// The words of an error: those of a registry (distribution-spec, "Error Codes"), else what else there is to read that is
/// no page for a browser; empty if there are none. Hostile input: what was `sent` to prove who we are is not shown when
/// it comes back.
pub(super) fn message<'a>(body: &[u8], sent: impl Iterator<Item = &'a Secret>) -> String {
    let text = match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(value) => of_json(&value),
        Err(_) => None,
    };
    let text = text.unwrap_or_else(|| plain(body));
    let text = sent.fold(text, masked);
    text.chars().take(LONGEST).collect()
}

/// A text that is no page for a browser, with `\xNN` for bytes that are no UTF-8; nothing if most of it is no text.
fn plain(body: &[u8]) -> String {
    let (mut text, mut strange) = (String::new(), 0);
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            strange += 1;
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    let is_text = strange * 2 < body.len() && !body.contains(&0);
    match is_text && !text.trim_start().starts_with('<') {
        true => text.trim().to_owned(),
        false => String::new(),
    }
}

/// A text without the value of an `Authorization`, or the token or password in it, as they are or as JSON has them.
fn masked(text: String, authorization: &Secret) -> String {
    let whole = authorization.expose();
    let value = whole.split_once(' ').map_or(whole, |(_, value)| value);
    let pair = STANDARD
        .decode(value)
        .ok()
        .and_then(|pair| String::from_utf8(pair).ok());
    let password = pair.as_deref().and_then(|pair| pair.split_once(':'));
    let parts = [Some(whole), Some(value), password.map(|(_, secret)| secret)];
    let parts = parts.into_iter().flatten().filter(|part| !part.is_empty());
    parts.fold(text, |text, part| {
        let quoted = quote(part);
        text.replace(quoted.trim_matches('"'), MASK)
            .replace(part, MASK)
    })
}

/// The words in a document: a registry's list of errors, or one of the forms front ends have.
fn of_json(value: &serde_json::Value) -> Option<String> {
    let text = |value: &serde_json::Value, name: &str| {
        let text = value.get(name).and_then(serde_json::Value::as_str);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let first = match value.get("errors") {
        Some(errors) => match errors.get(0) {
            Some(first) => first,
            None => return Some(String::new()),
        },
        None => value,
    };
    let code = text(first, "code").or_else(|| text(first, "error"));
    let said = ["message", "error_description", "detail", "details"];
    let said = said.into_iter().find_map(|name| text(first, name));
    match (code, said) {
        (Some(code), Some(said)) => Some(format!("{code}: {said}")),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &[u8]) -> String {
        super::message(body, std::iter::empty())
    }

    #[test]
    fn what_is_no_utf_8_is_escaped() {
        assert_eq!(message(b"d\xe9ni\xe9: no"), r"d\xe9ni\xe9: no");
        assert_eq!(message(b"<html>\xe9</html>"), "");
        assert_eq!(message(b"\x1f\x8b\x08\x00\x00"), "");
    }

    #[test]
    fn secrets_that_come_back_are_not_shown() {
        let pair = STANDARD.encode("me:p\"ss:word");
        let basic = Secret::new(format!("Basic {pair}"));
        let bearer = Secret::new("Bearer eyJ.x.y");
        for (body, shown) in [
            (format!("bad header Basic {pair}!"), "bad header ***!"),
            (format!("bad value {pair}"), "bad value ***"),
            ("bad password p\"ss:word".to_owned(), "bad password ***"),
            (r#"{"x":"p\"ss:word"}"#.to_owned(), r#"{"x":"***"}"#),
            (
                r#"{"errors":[{"code":"p\"ss:word","message":"Bearer eyJ.x.y"}]}"#.to_owned(),
                "***: ***",
            ),
            ("no eyJ.x.y".to_owned(), "no ***"),
            // Also where it is cut off.
            (
                format!("{}eyJ.x.y", "x".repeat(297)),
                &format!("{}***", "x".repeat(297)),
            ),
        ] {
            assert_eq!(
                super::message(body.as_bytes(), [&basic, &bearer].into_iter()),
                shown
            );
        }
    }

    #[test]
    fn words_of_a_registry() {
        let json = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#;
        assert_eq!(message(json), "MANIFEST_UNKNOWN: manifest unknown");
        assert_eq!(message(br#"{"errors":[{"code":"DENIED"}]}"#), "DENIED");
        assert_eq!(message(b" <html>no</html>"), "");
        assert_eq!(message(b"\xff\xfe"), "");
        assert_eq!(message(b""), "");
        assert_eq!(message(b"404 page not found\n"), "404 page not found");
        assert_eq!(message(br#"{"message":"no"}"#), "no");
        assert_eq!(message(br#"{"error":"x","error_description":"y"}"#), "x: y");
        assert_eq!(message(br#"{"detail":"no such thing"}"#), "no such thing");
        assert_eq!(message(br#"{"code":7}"#), r#"{"code":7}"#);
        assert_eq!(message(br#""no""#), r#""no""#);
        assert_eq!(message(br#"{"errors":[]}"#), "");
        let long = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "x".repeat(1000));
        assert_eq!(message(long.as_bytes()).len(), 300);
    }
}
