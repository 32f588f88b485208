//! Certificates, made by `openssl`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

use crate::run;

/// A certificate and its key, in PEM files that live as long as the [`Authority`] they are from.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub certificate: PathBuf,
    /// The private key (ECDSA P-256, PKCS #8, without a password).
    pub key: PathBuf,
}

impl Certificate {
    /// What a server in this process needs to show it.
    pub(super) fn server_config(&self) -> Arc<ServerConfig> {
        let chain =
            vec![CertificateDer::from_pem_file(&self.certificate).expect("openssl has written it")];
        let key = PrivateKeyDer::from_pem_file(&self.key).expect("openssl has written it");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|c| c.with_no_client_auth().with_single_cert(chain, key));
        Arc::new(config.expect("the key is that of the certificate"))
    }
}

/// A private certificate authority in a temporary directory.
///
/// ```no_run
/// use lithify_testkit::registry::{Authority, Real};
/// let authority = Authority::new();
/// let registry = Real::setup().tls(&authority).start();
/// // curl --cacert {authority.certificate()} https://{registry.address()}/v2/
/// ```
#[derive(Debug)]
pub struct Authority {
    dir: TempDir,
    issued: AtomicUsize,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// Makes an authority.
    ///
    /// # Panics
    /// When `openssl` fails.
    #[must_use]
    pub fn new() -> Self {
        let authority = Self {
            dir: crate::temp_dir(),
            issued: AtomicUsize::new(0),
        };
        authority.make(
            "ca",
            "basicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign,cRLSign\n",
        );
        authority
    }

    /// The certificate of the authority itself, in PEM: what a client is to trust.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// A certificate for a server at 127.0.0.1 and localhost.
    #[must_use]
    pub fn server(&self) -> Certificate {
        self.server_for("IP:127.0.0.1,DNS:localhost")
    }

    /// A certificate for a server with other names, as OpenSSL writes them: `DNS:elsewhere.example`.
    #[must_use]
    pub fn server_for(&self, names: &str) -> Certificate {
        self.issue(&format!(
            "extendedKeyUsage = serverAuth\nsubjectAltName = {names}\n"
        ))
    }

    /// A certificate for a client.
    #[must_use]
    pub fn client(&self) -> Certificate {
        self.issue("extendedKeyUsage = clientAuth\n")
    }

    /// A directory in the form of `/etc/docker/certs.d/HOST` (and skopeo's `--cert-dir`): `ca.crt` and, where a client
    /// certificate is given, `client.cert` and `client.key`.
    #[must_use]
    pub fn cert_dir(&self, client: Option<&Certificate>) -> TempDir {
        let dir = crate::temp_dir();
        let copy = |from: &Path, to: &str| {
            std::fs::copy(from, dir.path().join(to)).expect("a certificate can be copied")
        };
        copy(&self.certificate(), "ca.crt");
        if let Some(client) = client {
            copy(&client.certificate, "client.cert");
            copy(&client.key, "client.key");
        }
        dir
    }

    fn issue(&self, extensions: &str) -> Certificate {
        let number = self.issued.fetch_add(1, Ordering::SeqCst);
        let end = "basicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\n";
        self.make(&format!("issued-{number}"), &format!("{end}{extensions}"))
    }

    /// Makes a key and a certificate, by itself where it is the authority's own.
    fn make(&self, name: &str, extensions: &str) -> Certificate {
        let file = |suffix: &str| self.dir.path().join(format!("{name}.{suffix}"));
        // A configuration of our own: the system's would add extensions.
        let config = format!(
            "[req]\nprompt = no\ndistinguished_name = name\nx509_extensions = extensions\n\
             [name]\nCN = lithify test {name}\n[extensions]\nsubjectKeyIdentifier = hash\n{extensions}"
        );
        std::fs::write(file("cnf"), config).expect("a temporary file can be written");
        let mut command = run::command("openssl");
        command
            .args(["req", "-x509", "-sha256", "-days", "3650", "-nodes"])
            .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .arg("-config")
            .arg(file("cnf"))
            .arg("-keyout")
            .arg(file("key"))
            .arg("-out")
            .arg(file("crt"));
        if name != "ca" {
            command
                .arg("-CA")
                .arg(self.certificate())
                .arg("-CAkey")
                .arg(self.dir.path().join("ca.key"));
        }
        run::ok(&mut command);
        Certificate {
            certificate: file("crt"),
            key: file("key"),
        }
    }
}
