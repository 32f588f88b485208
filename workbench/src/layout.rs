//! Image layouts whose layers do not fit in memory: blobs are streamed through the system's compressors.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::sh;
use xtask::error::{At as _, Error};

/// How a layer is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Packing {
    /// `gzip -6`: one member, as most builders write.
    Gzip,
    /// A gzip member for each 4 MiB of the tar, as seekable formats (eStargz) have.
    GzipMembers,
    /// `zstd -3`.
    Zstd,
    /// The tar itself.
    Plain,
}

/// A layout under construction.
#[derive(Debug)]
pub(crate) struct Layout {
    dir: PathBuf,
    layers: Vec<Value>,
    diff_ids: Vec<String>,
}

impl Layout {
    /// Starts a layout in a directory that is not there yet.
    pub(crate) fn create(dir: &Path) -> Result<Self, Error> {
        let blobs = dir.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).at("make", &blobs)?;
        Ok(Self {
            dir: dir.into(),
            layers: Vec::new(),
            diff_ids: Vec::new(),
        })
    }

    /// Adds a tar as the next layer.
    pub(crate) fn layer(&mut self, tar: &Path, packing: Packing) -> Result<(), Error> {
        let temporary = self.dir.join("blobs/partial");
        let mut input = Hashing::new(File::open(tar).at("open", tar)?);
        let output = File::create(&temporary).at("create", &temporary)?;
        let suffix = match packing {
            Packing::Gzip => pipe(&mut input, output, "gzip", &["-n", "-6"]).map(|()| "+gzip"),
            Packing::GzipMembers => members(&mut input, &output).map(|()| "+gzip"),
            Packing::Zstd => pipe(&mut input, output, "zstd", &["-3", "-q"]).map(|()| "+zstd"),
            Packing::Plain => {
                let mut output = output;
                io::copy(&mut input, &mut output).at("copy", tar)?;
                Ok("")
            }
        }?;
        self.diff_ids.push(input.digest());
        let media_type = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
        let descriptor = self.adopt(&temporary, &media_type)?;
        self.layers.push(descriptor);
        Ok(())
    }

    /// Adds a layer that another image has: its gzip blob, and the tar in it.
    pub(crate) fn packed_layer(&mut self, blob: &Path, tar: &Path) -> Result<(), Error> {
        let mut input = Hashing::new(File::open(tar).at("open", tar)?);
        io::copy(&mut input, &mut io::sink()).at("read", tar)?;
        self.diff_ids.push(input.digest());
        let temporary = self.dir.join("blobs/partial");
        std::fs::copy(blob, &temporary).at("copy", blob)?;
        let descriptor = self.adopt(&temporary, "application/vnd.oci.image.layer.v1.tar+gzip")?;
        self.layers.push(descriptor);
        Ok(())
    }

    /// Adds the lower layers of another layout's image, all but its `without` topmost ones. Blobs are shared where the
    /// filesystem can.
    pub(crate) fn lower_layers(
        &mut self,
        other: &Path,
        tag: &str,
        without: usize,
    ) -> Result<(), Error> {
        let manifest = manifest(other, tag)?;
        let config = manifest["config"]["digest"].as_str().unwrap_or_default();
        let config = read_json(&blob(other, config))?;
        let layers = manifest["layers"].as_array().map_or(&[][..], Vec::as_slice);
        let diff_ids = config["rootfs"]["diff_ids"].as_array();
        let diff_ids = diff_ids.map_or(&[][..], Vec::as_slice);
        let count = layers.len().saturating_sub(without);
        for (layer, diff_id) in layers.iter().zip(diff_ids).take(count) {
            let digest = layer["digest"].as_str().unwrap_or_default();
            let (from, to) = (blob(other, digest), blob(&self.dir, digest));
            if std::fs::hard_link(&from, &to).is_err() {
                std::fs::copy(&from, &to).at("copy", &from)?;
            }
            self.layers.push(layer.clone());
            self.diff_ids.extend(diff_id.as_str().map(String::from));
        }
        Ok(())
    }

    /// Writes config, manifest and index.
    pub(crate) fn finish(self, tag: &str) -> Result<(), Error> {
        let config = json!({
            "created": "2020-01-01T00:00:00Z",
            "architecture": "amd64",
            "os": "linux",
            "config": { "Cmd": ["/bin/bash"], "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] },
            "rootfs": { "type": "layers", "diff_ids": self.diff_ids },
        });
        let config = self.blob(&config, "application/vnd.oci.image.config.v1+json")?;
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": self.layers,
        });
        let mut descriptor = self.blob(&manifest, media_type)?;
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        let index = json!({ "schemaVersion": 2, "manifests": [descriptor] });
        write(&self.dir.join("index.json"), index.to_string().as_bytes())?;
        write(
            &self.dir.join("oci-layout"),
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        )
    }

    fn blob(&self, value: &Value, media_type: &str) -> Result<Value, Error> {
        let temporary = self.dir.join("blobs/partial");
        write(&temporary, value.to_string().as_bytes())?;
        self.adopt(&temporary, media_type)
    }

    /// Moves a finished file to its place among the blobs; its descriptor.
    fn adopt(&self, file: &Path, media_type: &str) -> Result<Value, Error> {
        let mut blob = Hashing::new(File::open(file).at("open", file)?);
        let size = io::copy(&mut blob, &mut io::sink()).at("read", file)?;
        let digest = blob.digest();
        let place = self.dir.join("blobs").join(digest.replace(':', "/"));
        std::fs::rename(file, &place).at("rename to", &place)?;
        Ok(json!({ "mediaType": media_type, "digest": digest, "size": size }))
    }
}

/// The blobs of an image's layers, bottom first.
pub(crate) fn layer_blobs(layout: &Path, tag: &str) -> Result<Vec<PathBuf>, Error> {
    let manifest = manifest(layout, tag)?;
    let layers = manifest["layers"].as_array().into_iter().flatten();
    Ok(layers
        .filter_map(|l| l["digest"].as_str())
        .map(|digest| blob(layout, digest))
        .collect())
}

/// Where a layout keeps a blob.
fn blob(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs").join(digest.replace(':', "/"))
}

/// The manifest of a tagged image.
fn manifest(layout: &Path, tag: &str) -> Result<Value, Error> {
    let index = read_json(&layout.join("index.json"))?;
    let name = "org.opencontainers.image.ref.name";
    let manifests = index["manifests"].as_array().into_iter().flatten();
    let manifest = manifests
        .filter(|m| m["annotations"][name] == tag)
        .find_map(|m| m["digest"].as_str())
        .ok_or_else(|| Error::Needs {
            task: "reading a layout",
            need: format!("the tag {tag} in {}", layout.display()),
        })?;
    read_json(&blob(layout, manifest))
}

/// The layers of an image in a layout, bottom first, each unpacked to `DIR/N.tar`.
pub(crate) fn layer_tars(layout: &Path, tag: &str, dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut tars = Vec::new();
    for (n, blob) in layer_blobs(layout, tag)?.iter().enumerate() {
        let tar = dir.join(format!("{n}.tar"));
        let output = File::create(&tar).at("create", &tar)?;
        sh::run(sh::command("gzip", ["-dc"]).arg(blob).stdout(output))?;
        tars.push(tar);
    }
    Ok(tars)
}

fn read_json(path: &Path) -> Result<Value, Error> {
    let text = std::fs::read(path).at("read", path)?;
    serde_json::from_slice(&text).at("read JSON from", path)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    std::fs::write(path, bytes).at("write", path)
}

/// Runs a compressor from the input to the file.
fn pipe(input: &mut impl Read, output: File, program: &str, args: &[&str]) -> Result<(), Error> {
    let mut command = sh::command(program, args);
    command.stdin(Stdio::piped()).stdout(output);
    let shown = sh::show(&command);
    let mut child = command.spawn().map_err(|source| Error::Start {
        command: shown.clone(),
        source,
    })?;
    let copied = child
        .stdin
        .take()
        .map_or(Ok(0), |mut stdin| io::copy(input, &mut stdin));
    let status = child.wait().at("wait for", Path::new(program))?;
    copied.at("write to", Path::new(program))?;
    if !status.success() {
        return Err(Error::Failed {
            command: shown,
            status,
        });
    }
    Ok(())
}

fn members(input: &mut impl Read, output: &File) -> Result<(), Error> {
    loop {
        let mut chunk = Vec::new();
        let read = input.take(4 << 20).read_to_end(&mut chunk);
        if read.at("read", Path::new("the layer's tar"))? == 0 {
            return Ok(());
        }
        let output = output.try_clone().at("write", Path::new("the layer"))?;
        pipe(&mut &chunk[..], output, "gzip", &["-n", "-6"])?;
    }
}

/// A reader that knows the digest of what went through it.
struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R> Hashing<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
        }
    }

    fn digest(&self) -> String {
        let hash = self.hasher.clone().finalize();
        let hex: String = hash.iter().map(|b| format!("{b:02x}")).collect();
        format!("sha256:{hex}")
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}
