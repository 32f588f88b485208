//! Bytes to values.

use std::cell::RefCell;
use std::fmt;

use lithify_escape::{Escaped, Printable};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::value::{Json, Key, NUMBER_MAX, Object};

/// The reason why bytes are not taken as JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// More bytes than a manifest may have.
    #[error("it has {found} bytes, expected at most {max}")]
    TooLong {
        /// Bytes that there are.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// A key that an object has twice: readers differ in which one counts.
    #[error("the key `{}` is there twice", Escaped(key))]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A number that is not whole, is negative, or that a double does not hold exactly.
    #[error("the number `{found}` is not one from 0 to {NUMBER_MAX}")]
    Number {
        /// The number.
        found: String,
    },
    /// No JSON, or nested too deeply.
    #[error("it is not JSON: {}", Printable(message))]
    Syntax {
        /// The parser's words.
        message: String,
    },
}

/// Parses a value of at most so many bytes.
pub(crate) fn parse(bytes: &[u8], max: usize) -> Result<Json, JsonError> {
    if bytes.len() > max {
        return Err(JsonError::TooLong {
            found: bytes.len() as u64,
            max: max as u64,
        });
    }
    let found = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = Seed(&found)
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    parsed.map_err(|e| {
        found.take().unwrap_or_else(|| JsonError::Syntax {
            message: e.to_string(),
        })
    })
}

/// A value that is parsed, and where the reason is put if it is not: serde's own errors are only words.
#[derive(Clone, Copy)]
struct Seed<'a>(&'a RefCell<Option<JsonError>>);

impl Seed<'_> {
    fn refuse<E: de::Error>(self, error: JsonError) -> E {
        let words = E::custom(&error);
        self.0.replace(Some(error));
        words
    }

    fn number<E: de::Error>(self, found: impl fmt::Display) -> E {
        self.refuse(JsonError::Number {
            found: found.to_string(),
        })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Json, E> {
        match value {
            0..=NUMBER_MAX => Ok(Json::Number(value)),
            _ => Err(self.number(value)),
        }
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Json, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(self.number(value)),
        }
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Json, E> {
        Err(self.number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Json::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut values = Object::new();
        while let Some(key) = map.next_key::<String>()? {
            let key = Key(key);
            if values.contains_key(&key) {
                return Err(self.refuse(JsonError::DuplicateKey { key: key.0 }));
            }
            let value = map.next_value_seed(self)?;
            values.insert(key, value);
        }
        Ok(Json::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> JsonError {
        parse(text.as_bytes(), 1000).unwrap_err()
    }

    #[test]
    fn keys_twice_are_refused_at_any_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"\u0061":2}}]"#] {
            let key = "a".to_owned();
            assert_eq!(refused(text), JsonError::DuplicateKey { key }, "{text}");
        }
    }

    #[test]
    fn numbers_are_whole_and_exact() {
        for text in [
            "-1",
            "1.5",
            "1e3",
            "9007199254740992",
            "18446744073709551616",
            "-0",
        ] {
            assert!(matches!(refused(text), JsonError::Number { .. }), "{text}");
        }
        assert_eq!(
            parse(b"9007199254740991", 100),
            Ok(Json::Number(NUMBER_MAX))
        );
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let deep = "[".repeat(500);
        for text in [
            "",
            "{",
            "{} {}",
            "nul",
            "\"\\ud800\"",
            "\"a\nb\"",
            "{a:1}",
            "[1,]",
            &deep,
        ] {
            assert!(matches!(refused(text), JsonError::Syntax { .. }), "{text}");
        }
        assert!(matches!(
            parse(b"[1,2]", 4),
            Err(JsonError::TooLong { found: 5, max: 4 })
        ));
    }
}
