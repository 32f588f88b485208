//! Certificates: whom to believe, and who we are.

mod authority; // whose signatures count
mod certificate; // what a certificate says
mod encrypted; // connections
mod files; // certificates and keys in files
mod refusal; // why not
mod system; // authorities of the system
mod trust; // whom to believe

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use lithify_escape::Escaped;
use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;

use crate::config;
pub(crate) use encrypted::Encrypt;
pub(crate) use refusal::TlsFailure;
use refusal::Words;
use trust::{Trust, Unchecked, Verifier};

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read `{}`: {source}", Escaped::path(.path))]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file is larger than any certificate bundle.
    #[error("`{}` is larger than 8 MiB: that is no certificate", Escaped::path(.path))]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A file does not hold what it should.
    #[error("`{}` holds no {expected} in PEM form", Escaped::path(.path))]
    Missing {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: &'static str,
    },
    /// A certificate is damaged.
    #[error("a certificate in `{}` is damaged: remove it, or write it anew", Escaped::path(.path))]
    Authority {
        /// The file.
        path: PathBuf,
    },
    /// A key has a password.
    #[error("the key in `{}` has a password: store it without, as `openssl pkey -in KEY -out NEW` does, readable to nobody else", Escaped::path(.path))]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// A client certificate and its key do not fit together.
    #[error("client certificate `{}` and key `{}` cannot be used: {}", Escaped::path(.certificate), Escaped::path(.key), Words(.source))]
    Client {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong with them.
        source: rustls::Error,
    },
    /// A variable that says whom to believe names what cannot be read, and nobody else is believed.
    #[error("${variable} is `{}`, which cannot be read: {source}; name what holds certificates in PEM form, or unset it to believe the system's authorities", Escaped::path(.path))]
    Variable {
        /// `SSL_CERT_FILE` or `SSL_CERT_DIR`.
        variable: &'static str,
        /// Its value, or a part of that.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The system has no certificates.
    #[error(
        "no certificate authorities are installed: install the package `ca-certificates`, or name a bundle in $SSL_CERT_FILE"
    )]
    NoRoots,
}

/// What a host is connected to with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct TlsFiles {
    pub(crate) files: config::TlsFiles,
    /// Believe any certificate.
    pub(crate) insecure: bool,
}

/// How TLS is spoken to a host.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    /// The client's certificate that is shown to who asks.
    client: Option<PathBuf>,
}

impl Tls {
    /// That of a host with these files.
    pub(crate) fn new(files: &TlsFiles) -> Result<Self, TlsError> {
        let provider = provider();
        let algorithms = provider.signature_verification_algorithms;
        let builder = builder(provider).dangerous();
        let builder = match files.insecure {
            true => builder.with_custom_certificate_verifier(Arc::new(Unchecked)),
            false => {
                let trust = trust(&files.files)?;
                builder.with_custom_certificate_verifier(Arc::new(Verifier { trust, algorithms }))
            }
        };
        let Some((path, client)) = client(&files.files)? else {
            return Ok(Self {
                config: Arc::new(builder.with_no_client_auth()),
                client: None,
            });
        };
        let mut config = builder.with_no_client_auth();
        config.client_auth_cert_resolver = client;
        Ok(Self {
            config: Arc::new(config),
            client: Some(path),
        })
    }
}

/// Judges one certificate, as of 2030, for a host called `registry.example`.
pub(crate) fn judge(der: &[u8], trusted: bool) -> Result<(), String> {
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    let (der, mut trust) = (CertificateDer::from(der), Trust::default());
    if trusted && trust.add(&der).is_err() {
        return Err("it cannot be trusted".to_owned());
    }
    let algorithms = provider().signature_verification_algorithms;
    let verifier = Verifier { trust, algorithms };
    let name = ServerName::try_from("registry.example").map_err(|e| e.to_string())?;
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_893_456_000));
    let found = verifier.verify_server_cert(&der, &[], &name, &[], now);
    found.map(drop).map_err(|e| Words(&e).to_string())
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let new = || Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Arc::clone(PROVIDER.get_or_init(new))
}

#[allow(
    clippy::expect_used,
    reason = "which ciphers the provider has is decided where it is compiled"
)]
fn builder(
    provider: Arc<CryptoProvider>,
) -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has ciphers of TLS 1.2 and 1.3")
}

/// Those a user names, those found in directories, and the system's.
fn trust(files: &config::TlsFiles) -> Result<Trust, TlsError> {
    let mut trust = Trust::default();
    for path in &files.ca {
        let mut found = false;
        for certificate in files::certificates(path, &files::open(path)?) {
            trust
                .add(&certificate?)
                .map_err(|_| TlsError::Authority { path: path.clone() })?;
            found = true;
        }
        if !found {
            return Err(TlsError::Missing {
                path: path.clone(),
                expected: "certificate",
            });
        }
    }
    for path in &files.found.ca {
        if let Err(error) = trust_found(&mut trust, path) {
            log::warn!("{error}; it is passed over");
        }
    }
    let variable = system::add_to(&mut trust);
    match (trust.is_empty(), variable) {
        (true, variable) => Err(variable.unwrap_or(TlsError::NoRoots)),
        (false, Some(error)) => {
            log::warn!("{error}");
            Ok(trust)
        }
        (false, None) => Ok(trust),
    }
}

/// Takes what is of use in a file of a directory of certificates; the error is about the rest.
fn trust_found(trust: &mut Trust, path: &std::path::Path) -> Result<(), TlsError> {
    let mut problem = Some(TlsError::Missing {
        path: path.to_path_buf(),
        expected: "certificate",
    });
    for (number, certificate) in files::certificates(path, &files::open_found(path)?).enumerate() {
        let added = certificate.and_then(|certificate| {
            trust.add(&certificate).map_err(|_| TlsError::Authority {
                path: path.to_path_buf(),
            })
        });
        match added {
            Ok(()) if number == 0 => problem = None,
            Ok(()) => {}
            Err(error) => problem = Some(error),
        }
    }
    problem.map_or(Ok(()), Err)
}

type Client = (PathBuf, Arc<dyn rustls::client::ResolvesClientCert>);

/// The client's certificate: the one a user names, else the first of those found that is of use.
fn client(files: &config::TlsFiles) -> Result<Option<Client>, TlsError> {
    if let Some((certificate, key)) = &files.client {
        return files::client(certificate, key, &provider()).map(Some);
    }
    for (certificate, key) in &files.found.clients {
        match files::client(certificate, key, &provider()) {
            Ok(client) => return Ok(Some(client)),
            Err(error) => log::warn!("{error}; it is passed over"),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use lithify_testkit::registry::{Authority, Recipe};
    use lithify_testkit::require;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    /// No server here can be made to show such a certificate.
    #[test]
    fn short_keys_of_servers_are_told() {
        if !require::tool("openssl") {
            return;
        }
        for (key, expected) in [("rsa:1024", Some("1024 bits")), ("rsa:2048", None)] {
            let recipe = Recipe::plain("DNS:registry.example").with(key, "sha256");
            let recipe = recipe.dated("20200101000000Z", "20400101000000Z");
            let file = Authority::by(&recipe);
            let der = CertificateDer::from_pem_file(file.certificate()).unwrap();
            let judged = super::judge(&der, true);
            match expected {
                Some(words) => {
                    let text = judged.unwrap_err();
                    assert!(
                        text.starts_with("its certificate has an RSA key of"),
                        "{text}"
                    );
                    assert!(text.contains(words), "{text}");
                }
                None => judged.unwrap(),
            }
        }
    }
}
