//! Seeds of qcow2 images: our own, and those of `qemu-img`.

use lithify_disk::qcow2::{Backing, ClusterSize, Format, WriteError, WriteOptions, Writer};
use lithify_testkit::require;

use crate::sh;
use xtask::error::{At as _, Error};

/// The size of the disks in bytes.
const SIZE: u64 = 160 << 10;

/// Images with each feature, as small as they can be.
pub(super) fn images() -> Result<Vec<Vec<u8>>, Error> {
    let mut images = Vec::new();
    for (cluster, backing) in [(512, false), (512, true), (4096, true)] {
        images.extend(own(cluster, backing));
    }
    if require::find_tool("qemu-img").is_some() {
        images.extend(theirs()?);
    }
    Ok(images)
}

fn own(cluster: u64, has_backing: bool) -> Result<Vec<u8>, WriteError> {
    let options = WriteOptions {
        cluster_size: ClusterSize::new(cluster).unwrap_or_default(),
        backing: has_backing.then(|| Backing {
            name: b"base".to_vec(),
            format: Format::Qcow2,
        }),
    };
    let mut writer = Writer::new(Vec::new(), SIZE, &options)?;
    writer.write(&[1; 4096], 4096)?;
    writer.write_zeros(16 << 10, 8192)?;
    writer.finish()
}

fn theirs() -> Result<Vec<Vec<u8>>, Error> {
    let dir = lithify_testkit::temp_dir();
    let raw = dir.path().join("disk");
    let bytes: Vec<u8> = (0..SIZE).map(|n| (n / 97) as u8 & 0x1f).collect();
    std::fs::write(&raw, bytes).at("write", &raw)?;
    let mut images = Vec::new();
    for (n, options) in [
        "compat=0.10,cluster_size=512",
        "cluster_size=1k,refcount_bits=1",
        "cluster_size=512,compression_type=zstd",
        "extended_l2=on,cluster_size=16k",
        "extended_l2=on,cluster_size=16k,compression_type=zstd",
        "cluster_size=4k,data_file=data",
        "cluster_size=4k,preallocation=metadata",
    ]
    .iter()
    .enumerate()
    {
        for compressed in [false, true] {
            // There is no such thing.
            if compressed && (options.contains("data_file") || options.contains("preallocation")) {
                continue;
            }
            let name = format!("{n}-{compressed}");
            let mut convert = sh::command("qemu-img", ["convert", "-f", "raw", "-O", "qcow2"]);
            convert.args(compressed.then_some("-c"));
            convert.args(["-o", options, "disk", &name]);
            sh::output(convert.current_dir(dir.path()))?;
            if n == 0 {
                let mut snapshot = sh::command("qemu-img", ["snapshot", "-c", "one", &name]);
                sh::output(snapshot.current_dir(dir.path()))?;
            }
            let path = dir.path().join(&name);
            images.push(std::fs::read(&path).at("read", &path)?);
        }
    }
    Ok(images)
}
