//! Clients without patience, and what is asked of all of them.

use std::io::Read;
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use lithify_digest::{Algorithm, Digest};
use lithify_oci::Reference;
use lithify_registry::auth::{Credential, Credentials};
use lithify_registry::config::{Config, Environment};
use lithify_registry::{
    BlobReader, Client, ClientOptions, Error, ManifestName, Repository, Secret, source_of,
};
use lithify_testkit::registry::{Faulty, Kind, On, Request};
use log::{LevelFilter, Log, Metadata, Record};

/// The password of all users.
pub(crate) const PASSWORD: &str = "sw0rdfish";
/// What is never printed: the password, alone and as `alice:…` in Base64, and how tokens begin.
const SECRETS: [&str; 4] = [PASSWORD, "YWxpY2U6c3cwcmRmaXNo", "eyJ", "faulty-token"];
/// The repository of all tests.
pub(crate) const NAME: &str = "team/app";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Most bytes of a manifest.
pub(crate) const LIMIT: u64 = 4 << 20;

struct Listener;

impl Log for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("lithify")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            assert_no_secret(&record.args().to_string());
        }
    }

    fn flush(&self) {}
}

pub(crate) fn assert_no_secret(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "a secret is printed: {text}");
    }
}

/// A client's options by a configuration; credentials are none, retries come at once.
pub(crate) fn options(toml: &str) -> ClientOptions {
    static LISTEN: Once = Once::new();
    LISTEN.call_once(|| {
        log::set_logger(&Listener).unwrap();
        log::set_max_level(LevelFilter::Trace);
    });
    let path = Path::new("/nonexistent/registries.toml");
    let config = Config::parse(toml, path, Environment::empty()).unwrap();
    let mut options = ClientOptions::new(config);
    options.credentials = Credentials::anonymous();
    options.retry.retries = 3;
    options.retry.first_delay = Duration::from_millis(1);
    options.retry.longest_delay = Duration::from_millis(4);
    options
}

/// Options with a user's password.
pub(crate) fn signed_in(mut options: ClientOptions, password: &str) -> ClientOptions {
    let credential = Credential::Basic {
        username: "alice".into(),
        password: Secret::new(password),
    };
    options.credentials =
        Credentials::new(Environment::empty()).with_credential_for_all(credential);
    options
}

pub(crate) fn client(toml: &str) -> Client {
    Client::new(options(toml)).unwrap()
}

pub(crate) fn open(client: &Client, host: &str) -> Repository {
    let reference: Reference = format!("{host}/{NAME}:1").parse().unwrap();
    client.repository(&reference).unwrap()
}

/// The repository of a registry, by a client of its own.
pub(crate) fn repository(registry: &Faulty) -> Repository {
    open(&client(""), &registry.address())
}

/// Bytes no two of which are alike for long.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let words = 0..u32::try_from(length / 4 + 1).unwrap();
    let mut bytes: Vec<u8> = words
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes())
        .collect();
    bytes.truncate(length);
    bytes
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

pub(crate) fn tag() -> ManifestName {
    ManifestName::Tag("1".into())
}

/// An index with nothing in it, under the tag `1`.
pub(crate) fn add_index(registry: &Faulty) -> Vec<u8> {
    let bytes = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[]}}"#);
    registry.add_manifest(NAME, Some("1"), INDEX, bytes.clone());
    bytes.into_bytes()
}

/// All of a blob, or the first error.
pub(crate) fn read_blob(repository: &Repository, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    read_sized(repository, bytes, bytes.len() as u64)
}

/// The same, by a descriptor that says another size.
pub(crate) fn read_sized(
    repository: &Repository,
    bytes: &[u8],
    size: u64,
) -> Result<Vec<u8>, Error> {
    let reader = repository.blob(&digest(bytes), size, 0)?;
    read_all(reader.unwrap())
}

pub(crate) fn read_all(mut reader: BlobReader) -> Result<Vec<u8>, Error> {
    let mut read = Vec::new();
    match reader.read_to_end(&mut read) {
        Ok(_) => Ok(read),
        Err(error) => {
            assert!(source_of(&error).is_some(), "{error}");
            let inner = error.into_inner().unwrap();
            Err(*inner.downcast::<Error>().unwrap())
        }
    }
}

/// What an error says, which is no secret.
pub(crate) fn shown(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    assert!(
        !text.contains(char::is_control),
        "control characters: {text:?}"
    );
    let mut next = error.source();
    while let Some(source) = next {
        text += &format!(": {source}");
        next = source.source();
    }
    assert_no_secret(&text);
    assert_no_secret(&format!("{error:?}"));
    text
}

/// The GET requests for blobs.
pub(crate) fn downloads(registry: &Faulty) -> Vec<Request> {
    registry.requests_on(&On::kind(Kind::Blob).method("GET"))
}

pub(crate) fn count(registry: &Faulty, kind: Kind) -> usize {
    registry.requests_on(&On::kind(kind)).len()
}
