//! What the store's tests share.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use lithify_digest::{Algorithm, Digest};
use lithify_oci::Platform;
use lithify_oci::manifest::{Descriptor, Index, media_type};
use lithify_store::{
    Begun, Entry, Error, Facts, FsckOptions, Input, InputKind, Key, Lease, OpenOptions, Origin,
    Store,
};
use lithify_testkit::{Layout, Tar, TarEntry, program};

/// The variable that makes the test `child` do something; without, it does nothing.
pub(crate) const TASK: &str = "LITHIFY_STORE_TEST_TASK";

pub(crate) fn open(path: &Path) -> Store {
    Store::open(path, OpenOptions::new().create(true)).unwrap()
}

pub(crate) fn key(n: u64) -> Key {
    let digest = Digest::of(Algorithm::Sha256, &n.to_le_bytes());
    let kind = InputKind::DiffId;
    Key::new(Input { kind, digest }, "erofs-layer", "1").unwrap()
}

/// The bytes an artifact of this key has to have.
pub(crate) fn bytes(n: u64, length: usize) -> Vec<u8> {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut all = Vec::with_capacity(length + 8);
    while all.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        all.extend(state.to_le_bytes());
    }
    all.truncate(length);
    all
}

pub(crate) fn build(store: &Store, n: u64, length: usize) -> (Entry, Origin) {
    store
        .get_or_build::<Error>(&key(n), None, |pending| {
            let mut file = pending.create("layer.erofs")?;
            file.write_all(&bytes(n, length)).unwrap();
            let mut tree = pending.create("layer.erofs.dmverity")?;
            tree.write_all(b"tree").unwrap();
            let mut facts = Facts::new();
            facts.insert("entries".into(), n.into());
            Ok(facts)
        })
        .unwrap()
}

/// Changes one bit of a file in place; with `hide`, sets the modification time back.
pub(crate) fn flip(path: &Path, offset: u64, bit: u32, hide: bool) {
    let before = fs::symlink_metadata(path).unwrap();
    let mode = before.permissions().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1 << bit], offset).unwrap();
    if hide {
        file.set_modified(before.modified().unwrap()).unwrap();
    }
    drop(file);
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let after = fs::symlink_metadata(path).unwrap();
    assert_eq!(after.nlink(), before.nlink());
}

/// All regular files below a directory, sorted.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        for item in fs::read_dir(directory).unwrap() {
            let path = item.unwrap().path();
            match fs::symlink_metadata(&path).unwrap().is_dir() {
                true => open.push(path),
                false => all.push(path),
            }
        }
    }
    all.sort();
    all
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub(crate) fn assert_clean(store: &Store) {
    let report = store.fsck(&FsckOptions::new()).unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
}

/// This test program, to run only the test `child` of a module with a task.
pub(crate) fn process(child: &str, task: &str, store: &Path) -> Command {
    let mut command = program::again(child);
    command
        .env(TASK, task)
        .env("LITHIFY_STORE_TEST_DIR", store)
        .stdout(std::process::Stdio::null());
    command
}

/// Waits until a child shows that it is at work, or until it has ended. On a loaded machine a start takes longer than any
/// fixed time, and a kill after that time would hit nothing.
pub(crate) fn until_at_work(child: &mut Child, sign: impl Fn() -> bool) {
    while !sign() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// The task of this process and its store, when it is a child.
pub(crate) fn task() -> Option<(String, PathBuf)> {
    let task = std::env::var(TASK).ok()?;
    Some((task, std::env::var_os("LITHIFY_STORE_TEST_DIR")?.into()))
}

pub(crate) fn assert_success(children: Vec<Child>) {
    for mut child in children {
        let status = child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % limit
    }
}

/// An image to be stored: its parts, the manifest last.
pub(crate) struct Image {
    pub(crate) manifest: Descriptor,
    pub(crate) blobs: Vec<(Digest, Vec<u8>)>,
}

/// A small image for a platform; others for other numbers, with the first layer in common.
pub(crate) fn image(platform: &str, n: u64) -> Image {
    let platform: Platform = platform.parse().unwrap();
    let layer = |name: &str, data: &[u8]| {
        let mut tar = Tar::new();
        tar.add(TarEntry::file(name, data));
        tar.finish()
    };
    let layout = Layout::new()
        .image_config("architecture", platform.architecture().into())
        .image_config("variant", platform.variant().into())
        .image_config("os", platform.os().into())
        .gzip_layer(&layer("etc/base", b"the same in all"))
        .gzip_layer(&layer("etc/motd", format!("{platform} {n}\n").as_bytes()))
        .gzip_layer(&layer("data", &bytes(n, 20_000)));
    let blobs = layout.files().into_iter().filter_map(|(path, data)| {
        let name = path.strip_prefix("blobs/")?.replace('/', ":");
        Some((name.parse().unwrap(), data))
    });
    let blobs: Vec<(Digest, Vec<u8>)> = blobs.collect();
    let (digest, data) = blobs.last().unwrap();
    let mut manifest = Descriptor::new(media_type::OCI_MANIFEST, *digest, data.len() as u64);
    manifest.platform = Some(platform);
    Image { manifest, blobs }
}

/// Stores the parts of an image, as a pull does: unless they are there, and in parts.
pub(crate) fn store_parts(lease: &Lease, image: &Image) {
    for (digest, data) in &image.blobs {
        let size = data.len() as u64;
        if lease.has(digest, size).unwrap() {
            continue;
        }
        if let Begun::Partial(mut ingest) = lease.ingest(digest, size, None).unwrap() {
            let rest = &data[ingest.offset() as usize..];
            for part in rest.chunks(4000) {
                ingest.append(part).unwrap();
            }
            ingest.finish().unwrap();
        }
    }
}

/// Stores an index and gives its descriptor.
pub(crate) fn store_index(lease: &Lease, manifests: Vec<Descriptor>) -> Descriptor {
    let json = serde_json::to_vec(&Index::new(manifests)).unwrap();
    let digest = Digest::of(Algorithm::Sha256, &json);
    lease.put(&digest, &json).unwrap();
    Descriptor::new(media_type::OCI_INDEX, digest, json.len() as u64)
}
