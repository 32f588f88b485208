//! A registry in memory that speaks the distribution specification 1.1 until a rule bends an answer.

mod demand; // who may do what
mod repository; // what is stored
mod routes; // paths and methods
mod uploads; // blobs on their way in

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

pub use demand::Demand;
use repository::{Manifest, digest};
use routes::Registry;

use super::lock::lock;
use super::server::Server;
use super::{Action, Authority, Certificate, Hits, On, Request};

/// An OCI registry in memory, over HTTP on loopback (plain or by TLS), whose answers rules can bend.
///
/// Without rules it is a good registry: manifests and blobs with `Range`, uploads in one go and in chunks, mounts from
/// other repositories, tag lists in pages, referrers, deletion. `/token` gives a token to everybody.
#[derive(Debug)]
pub struct Faulty {
    server: Server,
    registry: Arc<Registry>,
}

impl Faulty {
    /// Starts an empty registry.
    #[must_use]
    pub fn start() -> Self {
        let registry = Arc::new(Registry::default());
        let server = Server::tcp(Arc::clone(&registry) as Arc<_>);
        Self { server, registry }
    }

    /// Starts an empty registry that speaks TLS with a certificate for 127.0.0.1 and localhost.
    #[must_use]
    pub fn start_tls(authority: &Authority) -> Self {
        Self::start_with(&authority.server())
    }

    /// Starts an empty registry that speaks TLS with this certificate.
    #[must_use]
    pub fn start_with(certificate: &Certificate) -> Self {
        let registry = Arc::new(Registry::default());
        lock(&registry.state).tls = true;
        let server = Server::tls(certificate, Arc::clone(&registry) as Arc<_>);
        Self { server, registry }
    }

    /// Host and port, as they stand in an image reference: `127.0.0.1:40000`.
    #[must_use]
    pub fn address(&self) -> String {
        self.server.address()
    }

    /// The origin: `http://127.0.0.1:40000`, or `https:`.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if lock(&self.registry.state).tls {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.address())
    }

    /// Adds a rule; all that match a request apply. What is returned counts how often it did.
    pub fn rule(&self, on: On, action: Action) -> Hits {
        self.server.rule(on, action)
    }

    /// Forgets all rules.
    pub fn clear_rules(&self) {
        self.server.clear_rules();
    }

    /// All requests so far, in the order in which they came.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// The requests so far that are these.
    #[must_use]
    pub fn requests_on(&self, on: &On) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|r| on.matches(r));
        requests
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.server.clear_requests();
    }

    /// Ends all connections of the moment.
    pub fn disconnect(&self) {
        self.server.disconnect();
    }

    /// Who may do what; everybody may do everything until this is called.
    pub fn demand(&self, demand: Demand) {
        lock(&self.registry.state).demand = Some(demand);
    }

    /// Whether the referrers API exists (it does at first); without it, clients keep the tag `sha256-HEX` up to date.
    pub fn set_referrers(&self, exist: bool) {
        lock(&self.registry.state).referrers = exist;
    }

    /// Whether a blob is mounted from another repository when a client asks for it (it is at first).
    pub fn set_mounts(&self, mount: bool) {
        lock(&self.registry.state).mounts = mount;
    }

    /// Whether `Location` of uploads is a whole URL (at first it is a path).
    pub fn set_absolute_locations(&self, absolute: bool) {
        lock(&self.registry.state).absolute = absolute;
    }

    /// The least size of all chunks of an upload but the last, said in `OCI-Chunk-Min-Length` and demanded.
    pub fn set_least_chunk(&self, bytes: u64) {
        lock(&self.registry.state).least_chunk = bytes;
    }

    /// The most tags in one page of a list (100 at first), whatever a client asks for.
    pub fn set_page(&self, tags: usize) {
        lock(&self.registry.state).page = tags.max(1);
    }

    /// Adds a blob; its digest.
    pub fn add_blob(&self, repository: &str, bytes: impl Into<Vec<u8>>) -> String {
        let bytes = bytes.into();
        let digest = digest(&bytes);
        let mut state = lock(&self.registry.state);
        state
            .repository(repository)
            .blobs
            .insert(digest.clone(), Arc::new(bytes));
        digest
    }

    /// Adds a blob under a digest that may not be its own.
    pub fn add_blob_as(&self, repository: &str, digest: &str, bytes: impl Into<Vec<u8>>) {
        let bytes = Arc::new(bytes.into());
        let mut state = lock(&self.registry.state);
        state
            .repository(repository)
            .blobs
            .insert(digest.into(), bytes);
    }

    /// Adds a manifest, under a tag as well if there is one; its digest. Nothing is checked.
    pub fn add_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        bytes: impl Into<Vec<u8>>,
    ) -> String {
        let manifest = Manifest {
            media_type: media_type.into(),
            bytes: Arc::new(bytes.into()),
        };
        lock(&self.registry.state)
            .repository(repository)
            .put(tag, manifest)
    }

    /// Adds all of an OCI image layout, such as [`Layout`](crate::Layout) writes; its first (only) manifest or index
    /// gets the tag. The digest of that.
    ///
    /// # Panics
    /// When the directory is not a layout.
    pub fn add_layout(&self, dir: &Path, repository: &str, tag: &str) -> String {
        let read = |path: &str| {
            std::fs::read(dir.join(path))
                .unwrap_or_else(|e| panic!("{}/{path}: {e}", dir.display()))
        };
        let index: Value = serde_json::from_slice(&read("index.json")).expect("an index is JSON");
        let descriptors = index["manifests"]
            .as_array()
            .expect("an index lists manifests");
        let mut first = None;
        let mut todo: Vec<Value> = descriptors.iter().rev().cloned().collect();
        while let Some(descriptor) = todo.pop() {
            let text = |key: &str| {
                descriptor[key]
                    .as_str()
                    .expect("a descriptor has a digest and a type")
            };
            let bytes = read(&format!("blobs/{}", text("digest").replace(':', "/")));
            if let Ok(Value::Object(manifest)) = serde_json::from_slice(&bytes)
                && (text("mediaType").contains("manifest") || text("mediaType").contains("index"))
            {
                for key in ["manifests", "layers", "config"] {
                    match manifest.get(key) {
                        Some(Value::Array(list)) => todo.extend(list.iter().cloned()),
                        Some(one) => todo.push(one.clone()),
                        None => {}
                    }
                }
                let tag = first.is_none().then_some(tag);
                let digest = self.add_manifest(repository, tag, text("mediaType"), bytes);
                first.get_or_insert(digest);
            } else {
                self.add_blob(repository, bytes);
            }
        }
        first.expect("a layout has a manifest")
    }

    /// Adds a file under a path outside the registry's API (`/cdn/x`): what redirects may lead to.
    pub fn add_file(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let bytes = Arc::new(bytes.into());
        lock(&self.registry.state).files.insert(path.into(), bytes);
    }

    /// A blob, if it is stored.
    #[must_use]
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Vec<u8>> {
        let state = lock(&self.registry.state);
        let blob = state.repositories.get(repository)?.blobs.get(digest)?;
        Some(blob.to_vec())
    }

    /// Media type and bytes of the manifest a tag or digest names, if it is stored.
    #[must_use]
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<(String, Vec<u8>)> {
        let state = lock(&self.registry.state);
        let (_, manifest) = state.repositories.get(repository)?.find(reference)?;
        Some((manifest.media_type.clone(), manifest.bytes.to_vec()))
    }

    /// All tags of a repository, sorted.
    #[must_use]
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let state = lock(&self.registry.state);
        let repository = state.repositories.get(repository);
        repository.map_or_else(Vec::new, |r| r.tags.keys().cloned().collect())
    }

    /// The digests of all blobs of a repository, sorted.
    #[must_use]
    pub fn blobs(&self, repository: &str) -> Vec<String> {
        let state = lock(&self.registry.state);
        let repository = state.repositories.get(repository);
        repository.map_or_else(Vec::new, |r| r.blobs.keys().cloned().collect())
    }

    /// Uploads that were begun and neither finished nor given up.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        lock(&self.registry.state).uploads.len()
    }
}
