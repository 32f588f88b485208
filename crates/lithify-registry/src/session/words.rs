//! What an error's body says.

/// Most characters that are shown.
const LONGEST: usize = 300;

/// The words of an error: those of a registry (distribution-spec, "Error Codes"), else what else there is to read that is
/// no page for a browser; empty if there are none. Hostile input.
pub(super) fn message(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(value) => of_json(&value),
        Err(_) => None,
    };
    let text = text.unwrap_or_else(|| match std::str::from_utf8(body) {
        Ok(text) if !text.trim_start().starts_with('<') => text.trim().to_owned(),
        _ => String::new(),
    });
    text.chars().take(LONGEST).collect()
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
