//! Debian's `docker-registry`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;

use super::lock::lock;
use super::{Authority, Certificate, TokenServer};
use crate::{require, run};

/// How long the program may take until it listens.
const READY: Duration = Duration::from_secs(60);

/// A running `docker-registry` on loopback, its data in a temporary directory; stopped when dropped.
///
/// ```no_run
/// use lithify_testkit::registry::{Authority, Real};
/// use lithify_testkit::require;
/// if !require::tool("docker-registry") || !require::tool("htpasswd") || !require::tool("openssl") {
///     return;
/// }
/// let plain = Real::start();
/// let authority = Authority::new();
/// let guarded = Real::setup().tls(&authority).user("alice", "secret").delete().start();
/// println!("{} {}", plain.url(), guarded.url());
/// ```
#[derive(Debug)]
pub struct Real {
    data: TempDir,
    address: String,
    tls: bool,
    child: Arc<Mutex<Child>>,
    log: Arc<Mutex<String>>,
    reading: Option<JoinHandle<()>>,
}

/// How a [`Real`] registry is to be set up.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    users: Vec<(String, String)>,
    certificate: Option<Certificate>,
    client_authority: Option<PathBuf>,
    token: Option<String>,
    delete: bool,
    read_only: bool,
    proxy: Option<String>,
}

impl Setup {
    /// Demands Basic authentication, and lets this user in.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.into(), password.into()));
        self
    }

    /// Speaks TLS with a certificate of this authority for 127.0.0.1 and localhost.
    #[must_use]
    pub fn tls(self, authority: &Authority) -> Self {
        let certificate = authority.server();
        self.certificate(certificate)
    }

    /// Speaks TLS with this certificate.
    #[must_use]
    pub fn certificate(self, certificate: Certificate) -> Self {
        Self {
            certificate: Some(certificate),
            ..self
        }
    }

    /// Demands a client certificate of this authority. Only with [`tls`](Self::tls).
    #[must_use]
    pub fn clients_of(self, authority: &Authority) -> Self {
        Self {
            client_authority: Some(authority.certificate()),
            ..self
        }
    }

    /// Demands tokens of this server.
    #[must_use]
    pub fn token(self, server: &TokenServer) -> Self {
        let token = format!(
            "auth:\n  token:\n    realm: {}\n    service: {}\n    issuer: {}\n    rootcertbundle: {}\n",
            server.realm(),
            TokenServer::SERVICE,
            TokenServer::ISSUER,
            server.certificate().display(),
        );
        Self {
            token: Some(token),
            ..self
        }
    }

    /// Lets clients delete manifests and blobs.
    #[must_use]
    pub fn delete(self) -> Self {
        Self {
            delete: true,
            ..self
        }
    }

    /// Lets nobody push: what a registry says while it is cleaned up. Give it [data](Real::data) by [`start_in`](Self::start_in).
    #[must_use]
    pub fn read_only(self) -> Self {
        Self {
            read_only: true,
            ..self
        }
    }

    /// Makes it a pull-through cache of the registry at this URL.
    #[must_use]
    pub fn mirror_of(self, url: &str) -> Self {
        Self {
            proxy: Some(url.into()),
            ..self
        }
    }

    /// Starts the registry, with nothing in it.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start(&self) -> Real {
        self.start_in(crate::temp_dir())
    }

    /// Starts the registry with the data of another one.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start_in(&self, data: TempDir) -> Real {
        let config = data.path().join("config.yml");
        std::fs::write(&config, self.config(data.path())).expect("a configuration can be written");
        let log = Arc::<Mutex<String>>::default();
        let (sender, receiver) = channel();
        let (of_thread, errors) = (Arc::clone(&log), config.clone());
        // The thread that starts the program also reads from it until it ends: a child that is to die with the thread
        // that started it (see `command`) then lives as long as it is wanted.
        let reading = std::thread::spawn(move || follow(command(&errors), &of_thread, &sender));
        let (child, address) = await_start(&receiver)
            .unwrap_or_else(|| panic!("docker-registry does not listen: {}", lock(&log)));
        Real {
            data,
            address,
            tls: self.certificate.is_some(),
            child,
            log,
            reading: Some(reading),
        }
    }

    fn config(&self, data: &Path) -> String {
        let show = |path: &Path| path.display().to_string();
        let mut config = format!(
            "version: 0.1\nlog:\n  level: info\n  accesslog:\n    disabled: true\nstorage:\n  \
             filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: {}\n",
            show(&data.join("registry")),
            self.delete
        );
        if self.read_only {
            config += "  maintenance:\n    readonly:\n      enabled: true\n";
        }
        // Port 0: the kernel chooses, and the program says in its log which it was.
        config += "http:\n  addr: 127.0.0.1:0\n  secret: lithify\n";
        if let Some(own) = &self.certificate {
            let (certificate, key) = (show(&own.certificate), show(&own.key));
            config += &format!("  tls:\n    certificate: {certificate}\n    key: {key}\n");
            if let Some(authority) = &self.client_authority {
                config += &format!("    clientcas:\n      - {}\n", show(authority));
            }
        }
        if let Some(url) = &self.proxy {
            config += &format!("proxy:\n  remoteurl: {url}\n");
        }
        if let Some(token) = &self.token {
            config += token;
        } else if !self.users.is_empty() {
            let file = data.join("htpasswd");
            let lines = self.users.iter().map(|(name, password)| {
                // bcrypt, which is all docker-registry takes, at its least cost.
                run::text(run::command("htpasswd").args(["-nbB", "-C", "4", name, password]))
            });
            let lines: Vec<_> = lines.map(|line| line.trim().to_owned() + "\n").collect();
            std::fs::write(&file, lines.concat()).expect("a password file can be written");
            config += &format!(
                "auth:\n  htpasswd:\n    realm: real\n    path: {}\n",
                show(&file)
            );
        }
        config
    }
}

impl Real {
    /// How a registry is to be set up; without more, plain HTTP for everybody.
    #[must_use]
    pub fn setup() -> Setup {
        Setup::default()
    }

    /// Starts a registry over plain HTTP for everybody.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start() -> Self {
        Self::setup().start()
    }

    /// Host and port, as they stand in an image reference: `127.0.0.1:40000`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The origin: `http://127.0.0.1:40000`.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The directory its data is in (`registry/docker/registry/v2/…`).
    #[must_use]
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// The file a blob is kept in, to be looked at or damaged.
    #[must_use]
    pub fn blob_file(&self, digest: &str) -> PathBuf {
        let (algorithm, hash) = digest.split_once(':').expect("a digest has an algorithm");
        let two = &hash[..2];
        let path = format!("registry/docker/registry/v2/blobs/{algorithm}/{two}/{hash}/data");
        self.data().join(path)
    }

    /// What it has written to its log.
    #[must_use]
    pub fn log(&self) -> String {
        lock(&self.log).clone()
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(lock(&self.child).kill());
        if let Some(reading) = self.reading.take() {
            drop(reading.join());
        }
    }
}

/// The program, made to die with the thread that starts it where that can be arranged without code of our own in the
/// child: a test that is killed leaves no server behind.
fn command(config: &Path) -> Command {
    let program = require::find_tool("docker-registry").expect("docker-registry is installed");
    let mut command = if require::find_tool("setpriv").is_some() {
        let mut command = run::command("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command
        .arg("serve")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

enum Step {
    Started(Arc<Mutex<Child>>),
    Listening(String),
}

/// Starts the program and reads its log until it ends.
fn follow(mut command: Command, log: &Mutex<String>, steps: &Sender<Step>) {
    let mut child = command.spawn().expect("docker-registry can be started");
    let errors = child.stderr.take().expect("its errors are a pipe");
    let child = Arc::new(Mutex::new(child));
    // Whoever waits may have given up.
    drop(steps.send(Step::Started(Arc::clone(&child))));
    for line in BufReader::new(errors).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        *lock(log) += &format!("{line}\n");
        // Said once the socket listens: `msg="listening on 127.0.0.1:40000, tls"`.
        if let Some((_, rest)) = line.split_once("listening on ") {
            let end = rest.find([',', '"', ' ']).unwrap_or(rest.len());
            drop(steps.send(Step::Listening(rest[..end].into())));
        }
    }
    drop(lock(&child).wait());
}

fn await_start(steps: &Receiver<Step>) -> Option<(Arc<Mutex<Child>>, String)> {
    let Step::Started(child) = steps.recv_timeout(READY).ok()? else {
        return None;
    };
    match steps.recv_timeout(READY) {
        Ok(Step::Listening(address)) => Some((child, address)),
        _ => {
            drop(lock(&child).kill());
            None
        }
    }
}
