//! Certificates, made by `openssl`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;

use crate::run;

/// A certificate and its key, in PEM files that live as long as the [`Authority`] they are from.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub certificate: PathBuf,
    /// The private key (PKCS #8, without a password).
    pub key: PathBuf,
    /// Whose certificates a server that shows this one demands of its clients.
    clients: Option<PathBuf>,
}

/// How a certificate is made: with `openssl`'s words.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The key: `rsa:2048`, the name of a curve, or `ed25519`.
    pub key: &'static str,
    /// What is hashed with before it is signed, by the issuer's key: `sha256`.
    pub digest: &'static str,
    /// Whether an RSA key signs by PSS.
    pub pss: bool,
    /// Lines of `x509_extensions`.
    pub extensions: String,
    /// From when until when, as `20200101000000Z`; ten years from now if unsaid.
    pub dates: Option<(&'static str, &'static str)>,
}

impl Recipe {
    /// ECDSA with P-256 and SHA-256, with these extensions.
    #[must_use]
    pub fn new(extensions: &str) -> Self {
        Self {
            key: "prime256v1",
            digest: "sha256",
            pss: false,
            extensions: extensions.to_owned(),
            dates: None,
        }
    }

    /// What `openssl req -x509 -addext subjectAltName=NAMES` makes where nothing else is said: an authority's certificate that
    /// a server shows.
    #[must_use]
    pub fn plain(names: &str) -> Self {
        Self::new(&format!(
            "basicConstraints = critical,CA:TRUE\nsubjectAltName = {names}\n"
        ))
    }

    /// With another key, and another hash.
    #[must_use]
    pub fn with(mut self, key: &'static str, digest: &'static str) -> Self {
        (self.key, self.digest) = (key, digest);
        self
    }

    /// Valid from and until other times.
    #[must_use]
    pub fn dated(mut self, from: &'static str, until: &'static str) -> Self {
        self.dates = Some((from, until));
        self
    }
}

impl Certificate {
    /// The same, shown by a server that demands a certificate of its clients, signed by this authority.
    #[must_use]
    pub fn demanding(mut self, authority: &Authority) -> Self {
        self.clients = Some(authority.certificate());
        self
    }

    /// The same, shown with the certificate of the authority that signed it.
    ///
    /// # Panics
    /// When a file cannot be read or written.
    #[must_use]
    pub fn with_signer(self, authority: &Authority) -> Self {
        let mut chain = std::fs::read(&self.certificate).expect("openssl has written it");
        chain.extend(std::fs::read(authority.certificate()).expect("openssl has written it"));
        std::fs::write(&self.certificate, chain).expect("a temporary file can be written");
        self
    }

    /// What a server in this process needs to show it.
    pub(super) fn server_config(&self) -> Arc<ServerConfig> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&self.certificate)
            .expect("openssl has written it")
            .collect();
        let chain = chain.expect("openssl has written it");
        let key = PrivateKeyDer::from_pem_file(&self.key).expect("openssl has written it");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has ciphers");
        let config = match &self.clients {
            None => config.with_no_client_auth(),
            Some(authority) => {
                let der = CertificateDer::from_pem_file(authority).expect("openssl has written it");
                let mut roots = RootCertStore::empty();
                roots.add(der).expect("it is an authority's");
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                config.with_client_cert_verifier(verifier.expect("there is an authority"))
            }
        };
        let config = config.with_single_cert(chain, key);
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
        Self::by(&Recipe::new(
            "basicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign,cRLSign\n",
        ))
    }

    /// Makes one whose own certificate, which it signs itself, is another.
    ///
    /// # Panics
    /// When `openssl` fails.
    #[must_use]
    pub fn by(recipe: &Recipe) -> Self {
        let authority = Self {
            dir: crate::temp_dir(),
            issued: AtomicUsize::new(0),
        };
        authority.make("ca", recipe);
        authority
    }

    /// Makes another one, whose certificate this one signs.
    ///
    /// # Panics
    /// When `openssl` fails.
    #[must_use]
    pub fn below(&self, recipe: &Recipe) -> Self {
        let made = self.issue_by(recipe);
        let authority = Self {
            dir: crate::temp_dir(),
            issued: AtomicUsize::new(0),
        };
        for (from, to) in [(made.certificate, "ca.crt"), (made.key, "ca.key")] {
            std::fs::copy(from, authority.dir.path().join(to)).expect("a file can be copied");
        }
        authority
    }

    /// A file with its certificate, and with another one of the same key and name.
    ///
    /// # Panics
    /// When `openssl` fails.
    #[must_use]
    pub fn renewed(&self, recipe: &Recipe) -> PathBuf {
        let file = |name: &str| self.dir.path().join(name);
        let config = std::fs::read_to_string(file("ca.cnf")).expect("it was written");
        let (before, _) = config
            .split_once("[extensions]")
            .expect("it was written so");
        let (_, after) = config.split_once("[ca]").expect("it was written so");
        let config = format!("{before}[extensions]\n{}\n[ca]{after}", recipe.extensions);
        std::fs::write(file("renewed.cnf"), config).expect("a temporary file can be written");
        let mut command = run::command("openssl");
        command.args(["req", "-x509", "-days", "3650", "-config"]);
        command.arg(file("renewed.cnf"));
        command.arg("-key").arg(file("ca.key"));
        run::ok(command.arg("-out").arg(file("renewed.crt")));
        let mut both = std::fs::read(self.certificate()).expect("openssl has written it");
        both.extend(std::fs::read(file("renewed.crt")).expect("openssl has written it"));
        std::fs::write(file("both.crt"), both).expect("a temporary file can be written");
        file("both.crt")
    }

    /// The authority's own certificate with its key, for a server that shows it.
    #[must_use]
    pub fn itself(&self) -> Certificate {
        Certificate {
            certificate: self.certificate(),
            key: self.dir.path().join("ca.key"),
            clients: None,
        }
    }

    /// A certificate signed by the authority, as said.
    #[must_use]
    pub fn issue_by(&self, recipe: &Recipe) -> Certificate {
        let number = self.issued.fetch_add(1, Ordering::SeqCst);
        self.make(&format!("issued-{number}"), recipe)
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
        let end = "basicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\n";
        self.issue_by(&Recipe::new(&format!("{end}{extensions}")))
    }

    /// Makes a key and a certificate, by itself where it is the authority's own.
    fn make(&self, name: &str, recipe: &Recipe) -> Certificate {
        let file = |suffix: &str| self.dir.path().join(format!("{name}.{suffix}"));
        // A configuration of our own: the system's would add extensions.
        let config = format!(
            "[req]\nprompt = no\ndistinguished_name = name\nx509_extensions = extensions\n\
             [name]\nCN = lithify test {name} of {owner}\n[extensions]\nsubjectKeyIdentifier = hash\n{}\n\
             [ca]\ndefault_ca = own\n[own]\nnew_certs_dir = {dir}\ndatabase = {dir}/{name}.db\n\
             serial = {dir}/{name}.serial\npolicy = any\nx509_extensions = extensions\n\
             [any]\ncommonName = supplied\n",
            recipe.extensions,
            dir = self.dir.path().display(),
            // Authorities that differ have names that differ.
            owner = self.dir.path().file_name().unwrap_or_default().display(),
        );
        std::fs::write(file("cnf"), config).expect("a temporary file can be written");
        let mut command = run::command("openssl");
        command
            .args(["req", "-nodes", "-newkey"])
            .args(match recipe.key {
                "ed25519" => vec!["ed25519".to_owned()],
                rsa if rsa.starts_with("rsa:") => vec![rsa.to_owned()],
                curve => vec![
                    "ec".to_owned(),
                    "-pkeyopt".to_owned(),
                    format!("ec_paramgen_curve:{curve}"),
                ],
            })
            .arg("-config")
            .arg(file("cnf"))
            .arg("-keyout")
            .arg(file("key"));
        let digest = format!("-{}", recipe.digest);
        let signing: &[&str] = match recipe.pss {
            true => &[
                "-sigopt",
                "rsa_padding_mode:pss",
                "-sigopt",
                "rsa_pss_saltlen:-1",
            ],
            false => &[],
        };
        let itself = name == "ca";
        let (ca, ca_key) = (self.certificate(), self.dir.path().join("ca.key"));
        let Some((from, until)) = recipe.dates else {
            command
                .args(["-x509", "-days", "3650", &digest])
                .args(signing);
            if !itself {
                command.arg("-CA").arg(ca).arg("-CAkey").arg(ca_key);
            }
            run::ok(command.arg("-out").arg(file("crt")));
            return self.made(name);
        };
        run::ok(command.arg("-out").arg(file("csr")));
        std::fs::write(file("db"), "").expect("a temporary file can be written");
        let mut command = run::command("openssl");
        command
            .args(["ca", "-batch", "-notext", "-create_serial", "-config"])
            .arg(file("cnf"))
            .args(["-md", recipe.digest, "-startdate", from, "-enddate", until])
            .args(signing)
            .arg("-keyfile")
            .arg(ca_key)
            .arg("-in")
            .arg(file("csr"))
            .arg("-out")
            .arg(file("crt"));
        match itself {
            true => command.arg("-selfsign"),
            false => command.arg("-cert").arg(ca),
        };
        run::ok(&mut command);
        self.made(name)
    }

    fn made(&self, name: &str) -> Certificate {
        Certificate {
            certificate: self.dir.path().join(format!("{name}.crt")),
            key: self.dir.path().join(format!("{name}.key")),
            clients: None,
        }
    }
}
