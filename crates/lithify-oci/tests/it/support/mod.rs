//! Small images and archives, made in code.
#![allow(unreachable_pub, reason = "shared by the tests")]

pub(crate) mod archives; // archives, indexed

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use lithify_digest::{Algorithm, Digest};
use lithify_oci::layout::{ImageOptions, Writer};
use lithify_oci::manifest::{Descriptor, ImageConfig, media_type};
use lithify_oci::{Error, Image, OpenOptions, Platform, Source};

pub const AMD64: &str = "linux/amd64";
pub const ARM64: &str = "linux/arm64";

/// A tar written header by header, so that it can be wrong in any way.
#[derive(Default)]
pub struct Tar {
    pub bytes: Vec<u8>,
}

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    /// A member with all its blocks.
    pub fn member(mut self, kind: u8, name: &str, link: &str, content: &[u8]) -> Self {
        self.bytes
            .extend(header(kind, name, link, content.len() as u64));
        self.bytes.extend(content);
        self.pad();
        self
    }

    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.member(b'0', name, "", content)
    }

    pub fn dir(self, name: &str) -> Self {
        self.member(b'5', name, "", b"")
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.member(b'2', name, target, b"")
    }

    pub fn hardlink(self, name: &str, target: &str) -> Self {
        self.member(b'1', name, target, b"")
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
    }

    pub fn end(mut self) -> Vec<u8> {
        self.bytes.extend([0; 1024]);
        self.bytes
    }
}

/// A ustar header with its checksum.
pub fn header(kind: u8, name: &str, link: &str, size: u64) -> [u8; 512] {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000000\0");
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link.as_bytes());
    block[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut block);
    block
}

/// Sets the checksum.
pub fn seal(block: &mut [u8; 512]) {
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// PAX records.
pub fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length += 1;
        }
        out.extend(format!("{length} {key}={value}\n").bytes());
    }
    out
}

pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// A layer with one file that says `text`.
pub fn layer(text: &str) -> Vec<u8> {
    Tar::new().file("file", text.as_bytes()).end()
}

pub fn config(platform: &str, layers: &[Vec<u8>]) -> ImageConfig {
    let platform: Platform = platform.parse().unwrap();
    let mut config = ImageConfig::default();
    config.os = platform.os().to_owned();
    config.architecture = platform.architecture().to_owned();
    config.variant = platform.variant().map(str::to_owned);
    config.os_version = platform.os_version().map(str::to_owned);
    config.diff_ids = layers.iter().map(|layer| sha256(layer)).collect();
    config
}

pub fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

/// A directory for one layout.
pub struct Layout {
    pub dir: tempfile::TempDir,
}

impl Layout {
    /// A layout of what `fill` puts into it.
    pub fn new(fill: impl FnOnce(&mut Writer)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(&dir.path().join("l")).unwrap();
        fill(&mut writer);
        writer.finish().unwrap();
        Self { dir }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("l")
    }

    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.path()
            .join("blobs")
            .join(digest.algorithm().name())
            .join(digest.hex())
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path().join(name), bytes).unwrap();
    }

    pub fn index(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.path().join("index.json")).unwrap()).unwrap()
    }

    pub fn open(&self, selector: &str, platform: &str) -> Result<Image, Error> {
        open(
            &format!("oci:{}{selector}", self.path().display()),
            platform,
        )
    }

    /// The layout as an archive.
    pub fn tar(&self) -> Vec<u8> {
        let mut names = Vec::new();
        collect(&self.path(), &mut names);
        names.sort();
        let mut tar = Tar::new();
        for path in names {
            let name = path
                .strip_prefix(self.path())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            tar = tar.file(&name, &fs::read(&path).unwrap());
        }
        tar.end()
    }
}

fn collect(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, out)
        } else {
            out.push(path)
        }
    }
}

/// Puts an image of one layer that says `text`.
pub fn put(writer: &mut Writer, name: Option<&str>, platform: &str, text: &str) -> Descriptor {
    let mut options = ImageOptions::default();
    options.name = name.map(str::to_owned);
    options.platform = true;
    put_with(writer, options, platform, text)
}

pub fn put_with(
    writer: &mut Writer,
    options: ImageOptions,
    platform: &str,
    text: &str,
) -> Descriptor {
    let layer = layer(text);
    let descriptor = writer.put(media_type::OCI_LAYER, &layer).unwrap();
    writer
        .put_image(&config(platform, &[layer]), vec![descriptor], options)
        .unwrap()
}

pub fn open(source: &str, platform: &str) -> Result<Image, Error> {
    let source: Source = source.parse().unwrap();
    let platform = platform.parse().unwrap();
    lithify_oci::open(&source, &OpenOptions::default().with_platform(platform))
}

/// The text in the only layer.
pub fn text(image: &Image) -> String {
    let mut tar = read_layer(image, 0);
    if tar.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(tar.as_slice())
            .read_to_end(&mut plain)
            .unwrap();
        tar = plain;
    }
    let size = tar[124..135]
        .iter()
        .fold(0, |n, b| n * 8 + usize::from(b - b'0'));
    String::from_utf8(tar[512..512 + size].to_vec()).unwrap()
}

pub fn read_layer(image: &Image, index: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    image
        .open_layer(index)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

/// Runs a tool; `None` and a word on standard error if it is not installed.
pub fn tool(program: &str, args: &[&str]) -> Option<std::process::Output> {
    match std::process::Command::new(program).args(args).output() {
        Ok(output) => {
            assert!(
                output.status.success(),
                "{program} {args:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            Some(output)
        }
        Err(_) => {
            eprintln!("skipped: needs {program}");
            None
        }
    }
}
