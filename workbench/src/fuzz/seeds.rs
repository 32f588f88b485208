//! Where the fuzzer starts: small valid inputs of every form.

use std::path::Path;

use lithify_disk::gpt::GptOptions;
use lithify_disk::vmdk::VmdkOptions;
use lithify_disk::{Alignment, Content, Disk, DiskError, Part};
use lithify_erofs::{CompressionMethod, DataOptions, ImageOptions, Writer};
use lithify_testkit::{Compression, Tar, TarEntry, require};
use lithify_tree::{ContentSink as _, Entry, EntryKind, LayerEntries, Merge, Metadata, TreePath};
use lithify_verity::{VerityOptions, append};

use super::{built, composefs, deltas, qcow2, snapshots};
use crate::example_image;
use xtask::error::{At as _, Error};

/// Seeds larger than this slow the fuzzer more than they teach it.
const MAX: usize = 256 << 10;

/// Writes a target's seeds into its corpus.
pub(super) fn write(target: &str, corpus: &Path) -> Result<(), Error> {
    let seeds = match target {
        "inflate" => inflate(),
        "decoder" => [plain_tars()?, compressed_tars()?].concat(),
        "tar" => plain_tars()?,
        "manifest" => manifests(),
        "archive" => archives(),
        "erofs" => built::erofs()?,
        "squashfs" => built::squashfs()?,
        "ext4" => built::ext4()?,
        "store" => built::records()?,
        "composefs_image" => composefs::images(),
        "composefs_meta" => composefs::metas(),
        "dumpfile" => composefs::dumpfiles(),
        "splitstream" => composefs::streams(),
        "delta_manifest" => deltas::manifests(),
        "verity" => trees(),
        "dir_sidecar" => sidecars(),
        "disk" => disks(),
        "qcow2" => qcow2::images()?,
        "snapshot_manifest" => snapshots::manifests(),
        _ => Vec::new(),
    };
    for (n, seed) in seeds
        .iter()
        .enumerate()
        .filter(|(_, seed)| seed.len() <= MAX)
    {
        let path = corpus.join(format!("seed-{n:03}"));
        std::fs::write(&path, seed).at("write", &path)?;
    }
    Ok(())
}

/// Lines as `-f dir` writes them without privileges.
fn sidecars() -> Vec<Vec<u8>> {
    let header = "{\"format\":\"lithify-metadata\",\"version\":2}\n";
    let lines = [
        r#"{"path":"dev/null","type":"char","major":1,"minor":3,"uid":0,"gid":0,"is":"file","size":0,"at":[1,5]}"#,
        r#"{"path":"a%20b","mtime":[-100000000000,5],"is":"symlink","size":1,"at":[-2147483648,0]}"#,
        r#"{"path":"su","uid":0,"gid":0,"mode":"4755","xattrs":{"security.x":"00ff","user.a%3D":""},"is":"file","size":1,"at":[1,2],"sha256":"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"}"#,
        r#"{"path":"","uid":4294967295,"gid":0,"is":"dir"}"#,
    ];
    let all = format!("{header}{}\n", lines.join("\n"));
    [header.to_owned(), all].map(String::into_bytes).into()
}

/// A tar with one of each kind of entry.
fn everything() -> Vec<u8> {
    let mut tar = Tar::new();
    tar.add(TarEntry::directory("./"))
        .add(
            TarEntry::directory("d")
                .mode(0o1777)
                .owner(1, 2)
                .mtime(-5, 250_000_000),
        )
        .add(
            TarEntry::file("d/f", "data")
                .mode(0o4755)
                .owner(70_000, 3_000_000_000),
        )
        .add(
            TarEntry::file(format!("d/{}", "n".repeat(200)), [7; 600])
                .xattr("user.a", "value")
                .xattr("user.b", ""),
        )
        .add(TarEntry::symlink("d/s", "../nowhere"))
        .add(TarEntry::hard_link("d/h", "d/f"))
        .add(TarEntry::char_device("d/c", 1, 3))
        .add(TarEntry::block_device("d/b", 259, 1_048_575))
        .add(TarEntry::fifo("d/p"))
        .add(TarEntry::whiteout("d/gone"))
        .add(TarEntry::opaque("d"))
        .add(TarEntry::file(b"odd\xff\nname", ""))
        .add(sparse_1_0());
    tar.finish()
}

/// PAX 1.0: the map stands before the data.
fn sparse_1_0() -> TarEntry {
    let mut data = b"2\n0\n4\n100000\n3\n".to_vec();
    data.resize(512, 0);
    data.extend_from_slice(b"headend");
    TarEntry::file("GNUSparseFile.0/sparse", data)
        .record("GNU.sparse.major", "1")
        .record("GNU.sparse.minor", "0")
        .record("GNU.sparse.name", "sparse")
        .record("GNU.sparse.realsize", "100003")
}

/// PAX 0.1: the map is a record.
fn sparse_0_1() -> Vec<u8> {
    let mut tar = Tar::new();
    tar.add(
        TarEntry::file("sparse", "headend")
            .record("GNU.sparse.numblocks", "2")
            .record("GNU.sparse.map", "0,4,100000,3")
            .record("GNU.sparse.size", "100003")
            .record("GNU.sparse.name", "sparse"),
    );
    tar.finish()
}

/// A GNU long name, then the entry it names.
fn gnu_long_name() -> Vec<u8> {
    let mut tar = Tar::new();
    tar.add(TarEntry::new(b'L', "././@LongLink").data(format!("{}\0", "l".repeat(150))))
        .add(TarEntry::file("l".repeat(100), "x"))
        .add(TarEntry::new(b'g', "pax_global").data("11 mtime=1\n"))
        .add(TarEntry::file("after", "y"));
    tar.finish()
}

fn plain_tars() -> Result<Vec<Vec<u8>>, Error> {
    let mut tars: Vec<Vec<u8>> = example_image::layers().into();
    tars.extend([
        everything(),
        sparse_0_1(),
        gnu_long_name(),
        Tar::new().finish(),
        Vec::new(),
    ]);
    // GNU tar's own, where `cargo xtask fixtures` was run.
    let dir = require::fixtures_dir().join("sparse-layers");
    if dir.exists() {
        for n in 0..4 {
            let path = dir.join(format!("{n}.tar"));
            tars.push(std::fs::read(&path).at("read", &path)?);
        }
    }
    Ok(tars)
}

fn compressed_tars() -> Result<Vec<Vec<u8>>, Error> {
    let mut blobs = Vec::new();
    for tar in plain_tars()?.iter().filter(|tar| tar.len() <= MAX) {
        let gzip = Compression::Gzip.compress(tar);
        let zstd = Compression::Zstd.compress(tar);
        // Two members or frames, one of nothing, and a skippable frame between.
        let (front, back) = tar.split_at(tar.len() / 2);
        let members = [front, b"", back]
            .map(|part| Compression::Gzip.compress(part))
            .concat();
        let frames = [
            Compression::Zstd.compress(front),
            b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec(),
            Compression::Zstd.compress(back),
        ];
        blobs.extend([gzip, zstd, members, frames.concat()]);
    }
    Ok(blobs)
}

fn inflate() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 5] = [
        b"",
        b"a",
        b"hello hello hello hello",
        &[0; 70_000],
        include_bytes!("seeds.rs"),
    ];
    let mut streams = Vec::new();
    for text in texts {
        streams.push(Compression::Gzip.compress(text));
        for level in [0, 1, 9] {
            streams.push(lithify_testkit::deflate(text, level));
        }
    }
    // All optional header fields (RFC 1952, 2.3): extra, name, comment, header checksum.
    let plain = Compression::Gzip.compress(b"fields");
    let mut fields = b"\x1f\x8b\x08\x1c\0\0\0\0\0\xff\x04\0ab\0\0name\0comment\0".to_vec();
    fields.extend_from_slice(&plain[10..]);
    streams.push(fields);
    streams
}

fn manifests() -> Vec<Vec<u8>> {
    let files = example_image::image().files();
    let mut documents: Vec<Vec<u8>> = files.into_iter().map(|(_, bytes)| bytes).collect();
    documents.retain(|bytes| bytes.starts_with(b"{"));
    for text in [
        include_str!("seeds/docker-list.json"),
        include_str!("seeds/docker-manifest.json"),
        include_str!("seeds/full-config.json"),
    ] {
        documents.push(text.into());
    }
    documents
}

fn archives() -> Vec<Vec<u8>> {
    let image = example_image::image();
    let plain = [image.oci_archive(), image.docker_archive("hello:latest")];
    let packed = plain.iter().flat_map(|archive| {
        [
            Compression::Gzip.compress(archive),
            Compression::Zstd.compress(archive),
        ]
    });
    plain.iter().cloned().chain(packed).collect()
}

/// A small image with a file of each kind of extent; none if it cannot be made, which tests would have shown.
pub(super) fn compressed(method: CompressionMethod, cluster_size: u32) -> Option<Vec<u8>> {
    let mut compression = lithify_erofs::Compression::new(method);
    compression.cluster_size = cluster_size;
    let mut options = DataOptions::default();
    options.compression = Some(compression);
    let mut writer = Writer::new(Vec::new(), options);
    let mut layer = LayerEntries::new();
    let mut state = 1_u32;
    for i in 0..3_u8 {
        let data: Vec<u8> = (0..20_000 + 7 * usize::from(i))
            .map(|k| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Text with noise in the middle.
                let byte = (state >> 24) as u8;
                if (8000..12_000).contains(&k) {
                    byte
                } else {
                    b'a' + byte % (i + 2)
                }
            })
            .collect();
        let size = data.len() as u64;
        writer.begin(size, None).ok()?;
        writer.write(&data).ok()?;
        let content = writer.finish().ok()?;
        let entry = Entry {
            path: TreePath::clean(&[b'a' + i]).ok()?,
            metadata: Metadata::default(),
            kind: EntryKind::File {
                size,
                segments: None,
            },
        };
        layer.push(&entry, Some(content)).ok()?;
    }
    let mut merge = Merge::new();
    merge.apply(layer).ok()?;
    let finished = writer.finish_image(&merge.finish(), &ImageOptions::default());
    finished.ok().map(|(image, _)| image)
}

/// Small images with trees, and a sidecar.
fn trees() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        format!(
            "{{\"roothash\":\"{}\",\"hashoffset\":4096}}",
            "0".repeat(64)
        )
        .into_bytes(),
    ];
    for (size, data_block, hash_block) in [(1, 512, 512), (9000, 512, 512), (5000, 1024, 512)] {
        let options = VerityOptions {
            data_block,
            hash_block,
            ..VerityOptions::default()
        };
        let mut image = vec![7; size];
        // These measures make a tree, and memory takes it.
        if let Ok(report) = append(&mut image, size as u64, &options) {
            let sector = (report.hash_offset / 512) as u8;
            seeds.push([&[sector], image.as_slice()].concat());
        }
    }
    seeds
}

/// Descriptors, and the start of a disk with a partition table.
fn disks() -> Vec<Vec<u8>> {
    let part = |size| Part {
        path: "layers/a.erofs".into(),
        size,
        name: "a".into(),
        identity: Vec::new(),
    };
    let make = || -> Result<Vec<Vec<u8>>, DiskError> {
        let large = Disk::concatenated(vec![part(512), part(5 << 30)], Alignment::HUGE_PAGE)?;
        let options = GptOptions {
            alignment: Alignment::SECTOR,
        };
        let small = Disk::partitioned(vec![part(512), part(1024)], &options)?;
        let mut seeds = Vec::new();
        for disk in [&large, &small] {
            seeds.extend(
                disk.vmdk(&VmdkOptions::default())
                    .map(|v| v.descriptor.into_bytes()),
            );
        }
        let table = small
            .pieces()
            .iter()
            .find_map(|piece| match &piece.content {
                Content::Bytes(bytes) => Some(bytes.clone()),
                _ => None,
            });
        seeds.extend(table);
        Ok(seeds)
    };
    make().unwrap_or_default()
}
