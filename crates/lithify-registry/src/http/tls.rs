//! Certificates: whom to believe, and who we are.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use lithify_escape::Escaped;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

/// Most bytes of a certificate file: the bundle of all public authorities has a quarter of a megabyte.
const MAX_PEM: u64 = 8 << 20;

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
    /// A certificate authority's certificate is damaged.
    #[error("a certificate in `{}` cannot be used: {source}", Escaped::path(.path))]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// A client certificate and its key do not fit together.
    #[error("client certificate `{}` and key `{}` cannot be used: {source}", Escaped::path(.certificate), Escaped::path(.key))]
    Client {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong with them.
        source: rustls::Error,
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
    /// Authorities believed besides the system's.
    pub(crate) ca: Vec<PathBuf>,
    /// Certificate and key that say who we are.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
    /// Believe any certificate.
    pub(crate) insecure: bool,
}

/// The configuration of connections.
pub(crate) fn config(files: &TlsFiles) -> Result<TlsConfig, TlsError> {
    let mut builder = TlsConfig::builder().unversioned_rustls_crypto_provider(provider());
    builder = if files.insecure {
        // Nothing is looked up in them, but there must be some.
        builder
            .disable_verification(true)
            .root_certs(RootCerts::new_with_certs(&[]))
    } else {
        builder.root_certs(roots(&files.ca)?)
    };
    if let Some((certificate, key)) = &files.client {
        builder = builder.client_cert(Some(client(certificate, key)?));
    }
    Ok(builder.build())
}

/// That of connections without TLS: whether certificates are there does not matter.
pub(crate) fn unused() -> TlsConfig {
    TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider())
        .root_certs(RootCerts::new_with_certs(&[]))
        .build()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    static PROVIDER: OnceLock<Arc<rustls::crypto::CryptoProvider>> = OnceLock::new();
    let new = || Arc::new(rustls::crypto::ring::default_provider());
    Arc::clone(PROVIDER.get_or_init(new))
}

fn roots(own: &[PathBuf]) -> Result<RootCerts, TlsError> {
    let mut all: Vec<Certificate<'static>> = Vec::new();
    for path in own {
        let mut found = false;
        for item in items(path)? {
            let PemItem::Certificate(certificate) = item else {
                continue;
            };
            rustls::RootCertStore::empty()
                .add(CertificateDer::from(certificate.der()))
                .map_err(|source| TlsError::Authority {
                    path: path.clone(),
                    source,
                })?;
            all.push(certificate);
            found = true;
        }
        if !found {
            return Err(TlsError::Missing {
                path: path.clone(),
                expected: "certificate",
            });
        }
    }
    // Those that cannot be read or parsed do not matter as long as there are others.
    let system = rustls_native_certs::load_native_certs().certs;
    all.extend(system.iter().map(|c| Certificate::from_der(c).to_owned()));
    match all.is_empty() {
        true => Err(TlsError::NoRoots),
        false => Ok(RootCerts::from(all)),
    }
}

fn client(certificate: &Path, key: &Path) -> Result<ClientCert, TlsError> {
    let chain: Vec<Certificate<'static>> = items(certificate)?
        .into_iter()
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    if chain.is_empty() {
        return Err(TlsError::Missing {
            path: certificate.to_path_buf(),
            expected: "certificate",
        });
    }
    let missing = || TlsError::Missing {
        path: key.to_path_buf(),
        expected: "private key",
    };
    let pem = read(key)?;
    let private: PrivateKey<'static> = PrivateKey::from_pem(&pem).map_err(|_| missing())?;
    check_pair(&chain, private.der()).map_err(|source| TlsError::Client {
        certificate: certificate.to_path_buf(),
        key: key.to_path_buf(),
        source,
    })?;
    Ok(ClientCert::new_with_certs(&chain, private))
}

/// Whether the certificate is for the key: the connector relies on it.
fn check_pair(chain: &[Certificate<'static>], key: &[u8]) -> Result<(), rustls::Error> {
    let chain = chain
        .iter()
        .map(|c| CertificateDer::from(c.der()).into_owned())
        .collect();
    let key = PrivateKeyDer::try_from(key)
        .map_err(|e| rustls::Error::General(e.to_owned()))?
        .clone_key();
    rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_client_auth_cert(chain, key)
        .map(drop)
}

fn items(path: &Path) -> Result<Vec<PemItem<'static>>, TlsError> {
    let pem = read(path)?;
    let items: Result<Vec<_>, _> = parse_pem(&pem).collect();
    items.map_err(|_| TlsError::Missing {
        path: path.to_path_buf(),
        expected: "certificate",
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    use std::io::Read as _;

    let io = |source| TlsError::Io {
        path: path.to_path_buf(),
        source,
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .map_err(io)?
        .take(MAX_PEM + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    match bytes.len() as u64 > MAX_PEM {
        true => Err(TlsError::TooLarge {
            path: path.to_path_buf(),
        }),
        false => Ok(bytes),
    }
}
