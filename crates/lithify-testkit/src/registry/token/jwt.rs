//! Signed tokens (RFC 7519), ES256 with the certificate in `x5c`, which is how `docker-registry` 2.8 finds the key.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::registry::Authority;
use crate::run;

/// A key, and the certificate registries trust.
#[derive(Debug)]
pub(super) struct Signer {
    authority: Authority,
    certificate: String,
}

impl Signer {
    pub(super) fn new() -> Self {
        let authority = Authority::new();
        let pem = std::fs::read_to_string(authority.certificate()).expect("openssl has written it");
        let certificate = pem
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .collect();
        Self {
            authority,
            certificate,
        }
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.authority.certificate()
    }

    /// Signs claims.
    pub(super) fn sign(&self, claims: &Value) -> String {
        let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [self.certificate] });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let payload = format!("{}.{}", encode(&header), encode(claims));
        debug_assert!(STANDARD.decode(&self.certificate).is_ok());
        let signature = URL_SAFE_NO_PAD.encode(self.signature(payload.as_bytes()));
        format!("{payload}.{signature}")
    }

    /// Both numbers of a signature, 32 bytes each (RFC 7518, 3.4).
    fn signature(&self, payload: &[u8]) -> Vec<u8> {
        let mut child = run::command("openssl")
            .args(["dgst", "-sha256", "-sign"])
            .arg(self.authority.certificate().with_extension("key"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("openssl can be started");
        let mut input = child.stdin.take().expect("its input is a pipe");
        input.write_all(payload).expect("openssl reads its input");
        drop(input);
        let output = child.wait_with_output().expect("openssl can be waited for");
        assert!(output.status.success(), "openssl cannot sign");
        raw_signature(&output.stdout)
    }
}

/// The two numbers of an ECDSA signature in DER: a sequence of two integers.
fn raw_signature(der: &[u8]) -> Vec<u8> {
    let mut rest = der.get(2..).expect("a signature is a sequence");
    let mut out = Vec::new();
    for _ in 0..2 {
        let length = usize::from(rest[1]);
        let number = &rest[2..2 + length];
        // A leading zero keeps a number positive; leading zeros of the number itself are not written.
        let digits = number
            .iter()
            .position(|&b| b != 0)
            .map_or(&[][..], |at| &number[at..]);
        out.resize(out.len() + 32 - digits.len(), 0);
        out.extend_from_slice(digits);
        rest = &rest[2 + length..];
    }
    out
}
