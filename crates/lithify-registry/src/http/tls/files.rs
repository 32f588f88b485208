//! Certificates and keys in files, in PEM form (RFC 7468).

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lithify_storage::BeneathError;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::TlsError;

/// Most bytes of a certificate file: the bundle of all public authorities has a quarter of a megabyte.
const MAX_PEM: u64 = 8 << 20;

/// All of a file that a user names.
pub(super) fn open(path: &Path) -> Result<Vec<u8>, TlsError> {
    let file = File::open(path).map_err(|source| io(path, source))?;
    read(path, file)
}

/// All of a file that was found: it may be anything.
pub(super) fn open_found(path: &Path) -> Result<Vec<u8>, TlsError> {
    let file = lithify_storage::open_regular(path).map_err(|e| match e {
        BeneathError::Io(source) => io(path, source),
        other => io(path, std::io::Error::other(other)),
    })?;
    read(path, file)
}

fn io(path: &Path, source: std::io::Error) -> TlsError {
    TlsError::Io {
        path: path.to_path_buf(),
        source,
    }
}

fn read(path: &Path, file: File) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    file.take(MAX_PEM + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| io(path, source))?;
    match bytes.len() as u64 > MAX_PEM {
        true => Err(TlsError::TooLarge {
            path: path.to_path_buf(),
        }),
        false => Ok(bytes),
    }
}

/// The certificates among what a file holds.
pub(super) fn certificates<'a>(
    path: &'a Path,
    pem: &'a [u8],
) -> impl Iterator<Item = Result<CertificateDer<'static>, TlsError>> + 'a {
    CertificateDer::pem_slice_iter(pem).map(|found| {
        found.map_err(|_| TlsError::Authority {
            path: path.to_path_buf(),
        })
    })
}

/// A client's certificate, with those of its issuers behind it, and its key.
pub(super) fn client(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<(PathBuf, Arc<dyn ResolvesClientCert>), TlsError> {
    let chain: Vec<_> = certificates(certificate, &open(certificate)?).collect::<Result<_, _>>()?;
    if chain.is_empty() {
        return Err(TlsError::Missing {
            path: certificate.to_path_buf(),
            expected: "certificate",
        });
    }
    let pem = open(key)?;
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        let path = key.to_path_buf();
        match contains(&pem, b"BEGIN ENCRYPTED PRIVATE KEY")
            || contains(&pem, b"Proc-Type: 4,ENCRYPTED")
        {
            true => TlsError::Encrypted { path },
            false => TlsError::Missing {
                path,
                expected: "private key",
            },
        }
    })?;
    let pair = CertifiedKey::from_der(chain, private, provider);
    let pair = pair.map_err(|source| TlsError::Client {
        certificate: certificate.to_path_buf(),
        key: key.to_path_buf(),
        source,
    })?;
    let resolver = Arc::new(SingleCertAndKey::from(pair));
    Ok((certificate.to_path_buf(), resolver))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
