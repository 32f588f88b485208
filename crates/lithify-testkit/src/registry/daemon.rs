//! The part of the Docker Engine API that images go through.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::http::{Answer, Framing, Request};
use super::kind::Kind;
use super::lock::lock;
use super::rules::{Action, Hits, On};
use super::server::{Server, Service};
use crate::snapshot::hex;

/// A Docker daemon on a unix socket that knows some images and takes others.
///
/// It answers `/_ping`, `/version`, `/images/NAME/json`, `/images/NAME/get`, `/images/get?names=` and `/images/load`, with
/// or without a version before (`/v1.41/…`), and says what the real one says where it refuses. [Rules](Self::rule) bend
/// its answers: `Action::ResetAt` on `Kind::Save` breaks off in the middle (a unix socket is just closed).
///
/// ```no_run
/// use lithify_testkit::Layout;
/// use lithify_testkit::registry::FakeDaemon;
/// let daemon = FakeDaemon::start();
/// daemon.add_image("test:1", Layout::new().docker_archive("test:1"));
/// // skopeo copy --src-daemon-host {daemon.host()} docker-daemon:test:1 oci:out
/// ```
#[derive(Debug)]
pub struct FakeDaemon {
    server: Server,
    state: Arc<Daemon>,
    dir: TempDir,
}

#[derive(Debug)]
struct Daemon(Mutex<State>);

#[derive(Debug)]
struct State {
    /// `docker save` archives by full name.
    images: BTreeMap<String, Arc<Vec<u8>>>,
    loaded: Vec<Vec<u8>>,
    least: (u32, u32),
    newest: (u32, u32),
}

impl FakeDaemon {
    /// Starts a daemon without images that speaks the versions 1.12 to 1.43 of the API.
    #[must_use]
    pub fn start() -> Self {
        let dir = crate::temp_dir();
        let state = Arc::new(Daemon(Mutex::new(State {
            images: BTreeMap::new(),
            loaded: Vec::new(),
            least: (1, 12),
            newest: (1, 43),
        })));
        let server = Server::unix(
            &dir.path().join("docker.sock"),
            Arc::clone(&state) as Arc<_>,
        );
        Self { server, state, dir }
    }

    /// The socket.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    /// The socket as `DOCKER_HOST` has it: `unix:///…/docker.sock`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.path().display())
    }

    /// Adds an image by its name and the archive `docker save` gives of it
    /// ([`Layout::docker_archive`](crate::Layout::docker_archive)). It is also found by its id.
    pub fn add_image(&self, name: &str, archive: impl Into<Vec<u8>>) {
        let archive = Arc::new(archive.into());
        lock(&self.state.0).images.insert(full_name(name), archive);
    }

    /// All archives that were loaded.
    #[must_use]
    pub fn loaded(&self) -> Vec<Vec<u8>> {
        lock(&self.state.0).loaded.clone()
    }

    /// The versions of the API it speaks, `(1, 24)` to `(1, 43)`: requests for others are refused.
    pub fn set_versions(&self, least: (u32, u32), newest: (u32, u32)) {
        let mut state = lock(&self.state.0);
        (state.least, state.newest) = (least, newest);
    }

    /// Adds a rule, as for [`Faulty`](super::Faulty::rule).
    pub fn rule(&self, on: On, action: Action) -> Hits {
        self.server.rule(on, action)
    }

    /// Forgets all rules.
    pub fn clear_rules(&self) {
        self.server.clear_rules();
    }

    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }
}

impl Service for Daemon {
    fn kind(&self, request: &Request) -> Kind {
        match route(unversioned(&request.path).1) {
            Route::Ping | Route::Version => Kind::Ping,
            Route::Inspect(_) => Kind::Inspect,
            Route::Save(_) => Kind::Save,
            Route::Load => Kind::Load,
            Route::Other => Kind::Other,
        }
    }

    fn answer(&self, request: &Request, body: Vec<u8>) -> Answer {
        let mut state = lock(&self.0);
        let (version, path) = unversioned(&request.path);
        let newest = format!("{}.{}", state.newest.0, state.newest.1);
        let answer = match version {
            Some(v) if v > state.newest => message(
                400,
                &format!(
                    "client version {}.{} is too new. Maximum supported API version is {newest}",
                    v.0, v.1
                ),
            ),
            Some(v) if v < state.least => message(
                400,
                &format!(
                    "client version {}.{} is too old. Minimum supported API version is {}.{}, please upgrade your \
                     client to a newer version",
                    v.0, v.1, state.least.0, state.least.1
                ),
            ),
            _ => state.answer(request, path, body),
        };
        answer
            .header("Api-Version", newest)
            .header("Docker-Experimental", "false")
            .header("Ostype", "linux")
            .header("Server", "Docker/24.0.0 (linux)")
    }
}

enum Route<'a> {
    Ping,
    Version,
    Inspect(&'a str),
    /// Empty where the names are in the query.
    Save(&'a str),
    Load,
    Other,
}

fn route(path: &str) -> Route<'_> {
    match path {
        "/_ping" => Route::Ping,
        "/version" => Route::Version,
        "/images/load" => Route::Load,
        "/images/get" => Route::Save(""),
        _ => match path
            .strip_prefix("/images/")
            .and_then(|p| p.rsplit_once('/'))
        {
            Some((name, "json")) => Route::Inspect(name),
            Some((name, "get")) => Route::Save(name),
            _ => Route::Other,
        },
    }
}

/// Splits `/v1.41/x` into the version and `/x`.
fn unversioned(path: &str) -> (Option<(u32, u32)>, &str) {
    let split = path.strip_prefix("/v").and_then(|rest| {
        let (version, _) = rest.split_once('/')?;
        let (major, minor) = version.split_once('.')?;
        Some((
            (major.parse().ok()?, minor.parse().ok()?),
            &rest[version.len()..],
        ))
    });
    match split {
        Some((version, path)) => (Some(version), path),
        None => (None, path),
    }
}

impl State {
    fn answer(&mut self, request: &Request, path: &str, body: Vec<u8>) -> Answer {
        let unknown = |name: &str| message(404, &format!("No such image: {name}"));
        match (request.method.as_str(), route(path)) {
            ("GET" | "HEAD", Route::Ping) => Answer::status(200).body("OK"),
            ("GET", Route::Version) => Answer::status(200).json(&json!({
                "Version": "24.0.0",
                "ApiVersion": format!("{}.{}", self.newest.0, self.newest.1),
                "MinAPIVersion": format!("{}.{}", self.least.0, self.least.1),
                "Os": "linux",
                "Arch": "amd64",
            })),
            ("GET", Route::Inspect(name)) => match self.find(name) {
                Some((full, archive)) => inspect(full, archive),
                None => unknown(name),
            },
            ("GET", Route::Save(name)) => {
                let names = request.query.iter().filter(|(n, _)| n == "names");
                let mut names = names
                    .map(|(_, n)| n.as_str())
                    .chain([name])
                    .filter(|n| !n.is_empty());
                let Some(name) = names.next() else {
                    return message(400, "no image is named");
                };
                match self.find(name) {
                    Some((_, archive)) => Answer::status(200)
                        .header("Content-Type", "application/x-tar")
                        .framing(Framing::Chunked)
                        .shared(Arc::clone(archive)),
                    // The real daemon says it this way here.
                    None => message(404, &format!("reference does not exist: {name}")),
                }
            }
            ("POST", Route::Load) => self.load(body),
            _ => message(404, "page not found"),
        }
    }

    fn load(&mut self, body: Vec<u8>) -> Answer {
        let Some(manifest) = member(&body, "manifest.json") else {
            return message(
                500,
                "open /var/lib/docker/tmp/docker-import/repositories: no such file or directory",
            );
        };
        let manifest: Value = serde_json::from_slice(manifest).unwrap_or_default();
        let mut lines = vec![json!({
            "status": "Loading layer",
            "progressDetail": { "current": body.len(), "total": body.len() },
            "progress": "[====>]",
            "id": "000000000000",
        })];
        let archive = Arc::new(body);
        for name in manifest[0]["RepoTags"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            self.images.insert(full_name(name), Arc::clone(&archive));
            lines.push(json!({ "stream": format!("Loaded image: {name}\n") }));
        }
        self.loaded.push(archive.to_vec());
        let lines: Vec<_> = lines.iter().map(|line| format!("{line}\r\n")).collect();
        Answer::status(200)
            .header("Content-Type", "application/json")
            .framing(Framing::Chunked)
            .body(lines.concat())
    }

    /// An image by name or id.
    fn find(&self, name: &str) -> Option<(&str, &Arc<Vec<u8>>)> {
        let by_name = self.images.get_key_value(&full_name(name));
        let found = by_name.or_else(|| self.images.iter().find(|(_, archive)| id(archive) == name));
        found.map(|(full, archive)| (full.as_str(), archive))
    }
}

fn inspect(full: &str, archive: &[u8]) -> Answer {
    let config: Value = config(archive)
        .and_then(|bytes| serde_json::from_slice(bytes).ok())
        .unwrap_or_default();
    Answer::status(200).json(&json!({
        "Id": id(archive),
        "RepoTags": [full],
        "RepoDigests": [],
        "Created": config["created"],
        "Architecture": config["architecture"],
        "Os": config["os"],
        "Size": archive.len(),
        "Config": config["config"],
        "RootFS": { "Type": "layers", "Layers": config["rootfs"]["diff_ids"] },
    }))
}

/// An image's id: the digest of its config.
fn id(archive: &[u8]) -> String {
    let config = config(archive).unwrap_or_default();
    format!("sha256:{}", hex(&Sha256::digest(config)))
}

fn config(archive: &[u8]) -> Option<&[u8]> {
    let manifest: Value = serde_json::from_slice(member(archive, "manifest.json")?).ok()?;
    member(archive, manifest[0]["Config"].as_str()?)
}

/// A regular file of a tar whose names are short: what `docker save` archives have at their top.
fn member<'a>(tar: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut at = 0_usize;
    while let Some(header) = tar.get(at..at + 512) {
        let text = |range: std::ops::Range<usize>| {
            let field = &header[range];
            let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
            String::from_utf8_lossy(&field[..end]).trim().to_owned()
        };
        let size = usize::from_str_radix(&text(124..136), 8).unwrap_or(0);
        if text(0..100) == name {
            return tar.get(at + 512..at + 512 + size);
        }
        at = at.checked_add(512 + size.checked_next_multiple_of(512)?)?;
    }
    None
}

/// The name a daemon keeps an image under: short, with a tag.
fn full_name(name: &str) -> String {
    let short = name.strip_prefix("docker.io/").unwrap_or(name);
    let short = short.strip_prefix("library/").unwrap_or(short);
    let tagged = short
        .rsplit('/')
        .next()
        .is_some_and(|last| last.contains(':'));
    if tagged {
        short.into()
    } else {
        format!("{short}:latest")
    }
}

fn message(status: u16, message: &str) -> Answer {
    Answer::status(status).json(&json!({ "message": message }))
}
