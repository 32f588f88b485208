//! Images with every feature that `qemu-img` can give them.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use lithify_disk::qcow2::{Compression, HeaderError, OpenError, OpenOptions};
use lithify_testkit::require;

use super::bench::{Bench, same, shown};

const MIB: u64 = 1 << 20;

fn tools() -> bool {
    require::tool("qemu-img") && require::tool("qemu-io")
}

/// Writes, zeros and discards of all alignments, as a guest makes them.
const TRAFFIC: [&str; 9] = [
    "write -P 0x11 0 192k",
    "write -P 0x22 300k 5k",
    "write -P 0x33 1000k 3000k",
    "write -z 1024k 256k",
    "write -z -u 1536k 192k",
    "discard 2048k 256k",
    "write -P 0x44 2112k 512",
    "write -z 64k 3k",
    "write -P 0x55 5631k 1k",
];

#[test]
fn every_cluster_size_and_version() {
    if !tools() {
        return;
    }
    let bench = Bench::new();
    for size in ["512", "1k", "4k", "64k", "2M"] {
        for compat in ["0.10", "1.1"] {
            let name = format!("{size}-{compat}");
            bench.img(&format!(
                "create -q -f qcow2 -o compat={compat},cluster_size={size} {name} 5632k"
            ));
            // Zeros of version 2 are not made without data.
            let zeros = |command: &&&str| compat == "1.1" || !command.contains("-u");
            let traffic: Vec<&str> = TRAFFIC.iter().filter(zeros).copied().collect();
            bench.io(&name, &traffic);
            bench.agrees(&name, &OpenOptions::default());
        }
    }
}

#[test]
fn every_option() {
    if !tools() {
        return;
    }
    let bench = Bench::new();
    let options = [
        "lazy_refcounts=on",
        "extended_l2=on",
        "extended_l2=on,cluster_size=16k",
        "extended_l2=on,cluster_size=2M",
        "preallocation=metadata",
        "preallocation=falloc",
        "preallocation=full",
        "preallocation=metadata,extended_l2=on",
        "compression_type=zstd",
        "refcount_bits=1",
        "refcount_bits=2",
        "refcount_bits=8",
        "refcount_bits=32",
        "refcount_bits=64",
    ];
    for (n, options) in options.iter().enumerate() {
        let name = format!("{n}.qcow2");
        bench.img(&format!("create -q -f qcow2 -o {options} {name} 5632k"));
        bench.io(&name, &TRAFFIC);
        bench.agrees(&name, &OpenOptions::default());
        let image = bench.open(&name, &OpenOptions::default()).unwrap();
        let header = image.header();
        assert_eq!(header.version, 3);
        assert_eq!(header.has_lazy_refcounts, options.starts_with("lazy"));
        assert_eq!(header.has_subclusters, options.contains("extended"));
        if let Some(bits) = options.strip_prefix("refcount_bits=") {
            assert_eq!(header.refcount_bits.to_string(), bits);
        }
        let is_zstd = header.compression == Compression::Zstd;
        assert_eq!(is_zstd, options.contains("zstd"));
    }
}

/// Disks that end within a cluster, or have none.
#[test]
fn every_size() {
    if !tools() {
        return;
    }
    let bench = Bench::new();
    for size in [0, 512, 65_024, 66_048, 64 * MIB + 512] {
        let name = format!("{size}.qcow2");
        bench.img(&format!("create -q -f qcow2 {name} {size}"));
        if size > 0 {
            bench.io(&name, &[&format!("write -P 7 {} 512", size - 512)]);
        }
        bench.agrees(&name, &OpenOptions::default());
    }
}

#[test]
fn compressed_clusters() {
    if !tools() {
        return;
    }
    let bench = Bench::new();
    // Noise, which is stored as it is; text, which is not; and zeros.
    bench.raw("noise.img", 9 * MIB, &[(0, 300_000), (5 << 20, 70_000)]);
    let mut bytes = bench.bytes("noise.img");
    for (n, byte) in bytes[1 << 20..3 << 20].iter_mut().enumerate() {
        *byte = b"the same words, and some numbers: "[n % 34] ^ (n / 50_000) as u8;
    }
    std::fs::write(bench.path("disk.img"), bytes).unwrap();
    for (n, options) in [
        "compat=0.10",
        "cluster_size=512",
        "cluster_size=2M",
        "compression_type=zstd",
        "compression_type=zstd,cluster_size=512",
        "compression_type=zstd,cluster_size=2M",
        "extended_l2=on",
        "extended_l2=on,compression_type=zstd",
    ]
    .iter()
    .enumerate()
    {
        let name = format!("{n}.qcow2");
        bench.img(&format!(
            "convert -c -f raw -O qcow2 -o {options} disk.img {name}"
        ));
        bench.agrees(&name, &OpenOptions::default());
        bench.io(&name, &["write -P 9 1100k 100k", "write -z 1600k 64k"]);
        bench.agrees(&name, &OpenOptions::default());
        // Any number of threads may read at once.
        let image = bench.open(&name, &OpenOptions::default()).unwrap();
        let expected = bench.bytes(&format!("{name}.raw"));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| same(&image, &expected));
            }
        });
    }
}

#[test]
fn internal_snapshots_are_not_the_active_state() {
    if !tools() {
        return;
    }
    let bench = Bench::new();
    bench.img("create -q -f qcow2 a 4M");
    bench.io("a", &["write -P 1 0 1M"]);
    bench.img("snapshot -c one a");
    bench.io("a", &["write -P 2 512k 1M", "discard 0 128k"]);
    bench.img("snapshot -c two a");
    bench.img("resize -q a 6M");
    bench.io("a", &["write -P 3 5M 64k"]);
    let extents = bench.agrees("a", &OpenOptions::default());
    let image = bench.open("a", &OpenOptions::default()).unwrap();
    assert_eq!(image.header().snapshots, 2);
    assert!(shown(&extents).starts_with("zero0:128 data0:1408 hole"));
    bench.img("snapshot -a one a");
    bench.agrees("a", &OpenOptions::default());
    bench.img("snapshot -d two a");
    bench.agrees("a", &OpenOptions::default());
}

#[test]
fn resized_and_amended_images() {
    if !tools() {
        return;
    }
    let bench = Bench::new();
    bench.img("create -q -f qcow2 a 4M");
    bench.io("a", &["write -P 1 0 4M"]);
    bench.img("resize -q --shrink a 2560k");
    bench.agrees("a", &OpenOptions::default());
    // With a larger L1 table.
    bench.img("resize -q a 3G");
    bench.io("a", &["write -P 2 2900M 100k"]);
    let extents = bench
        .open("a", &OpenOptions::default())
        .unwrap()
        .extents()
        .map(Result::unwrap)
        .collect::<Vec<_>>();
    assert_eq!(
        shown(&extents),
        "data0:2560 hole:2967040 data0:128 hole:176000"
    );
    bench.img("resize -q --shrink a 2560k");
    bench.img("amend -o compat=0.10 a");
    bench.agrees("a", &OpenOptions::default());
    bench.img("amend -o compat=1.1 a");
    bench.img("bitmap --add a b");
    bench.agrees("a", &OpenOptions::default());
}

#[test]
fn data_files_are_read_when_allowed() {
    if !tools() {
        return;
    }
    let bench = Bench::new();
    for (name, raw) in [("a", "off"), ("b", "on")] {
        bench.img(&format!(
            "create -q -f qcow2 -o data_file={name}.data,data_file_raw={raw} {name} 5632k"
        ));
        bench.io(name, &TRAFFIC);
        let error = bench.open(name, &OpenOptions::default()).unwrap_err();
        let said = format!(
            "the image at depth 0 keeps its data in another file (`{name}.data`): allow data files, or convert it"
        );
        assert_eq!(error.to_string(), said);
        let allowed = OpenOptions {
            allow_data_file: true,
            ..OpenOptions::default()
        };
        bench.agrees(name, &allowed);
        let image = bench.open(name, &allowed).unwrap();
        let file = image.header().data_file.clone().unwrap();
        assert_eq!(file.is_raw, raw == "on");
        if file.is_raw {
            assert!(bench.bytes("b.data") == bench.bytes("b.raw"));
        }
        std::fs::remove_file(bench.path(&format!("{name}.data"))).unwrap();
        let error = bench.open(name, &allowed).unwrap_err();
        assert!(matches!(error, OpenError::NotGiven { depth: 0, .. }));
    }
}

#[test]
fn encrypted_images_are_refused() {
    if !tools() {
        return;
    }
    let bench = Bench::new();
    bench.img(
        "create -q -f qcow2 --object secret,id=s,data=secret -o encrypt.key-secret=s,encrypt.format=aes a 1M",
    );
    let refused = |expected: u32| {
        let error = bench.open("a", &OpenOptions::default()).unwrap_err();
        let OpenError::Header { depth: 0, source } = error else {
            panic!("{error:?}");
        };
        assert!(matches!(source, HeaderError::Encrypted { method } if method == expected));
    };
    refused(1);
    // LUKS. qemu-img makes such images only on a machine that is not busy: it measures how long a key takes.
    let image = File::options().write(true).open(bench.path("a")).unwrap();
    image.write_all_at(&2_u32.to_be_bytes(), 32).unwrap();
    refused(2);
}

/// An image whose machine was killed.
#[test]
fn dirty_images_are_read_when_allowed() {
    if !tools() {
        return;
    }
    let bench = Bench::new();
    bench.img("create -q -f qcow2 -o lazy_refcounts=on a 1M");
    let mut command = lithify_testkit::run::command("qemu-io");
    command.args([
        "-f",
        "qcow2",
        "-c",
        "write -P 1 0 64k",
        "-c",
        "flush",
        "-c",
        "abort",
    ]);
    let ended = lithify_testkit::run::output(command.arg(bench.path("a")));
    assert!(!ended.status.success());
    let error = bench.open("a", &OpenOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::Dirty { depth: 0 }), "{error:?}");
    let allowed = OpenOptions {
        allow_dirty: true,
        ..OpenOptions::default()
    };
    let before = bench.bytes("a");
    let image = bench.open("a", &allowed).unwrap();
    assert!(image.header().is_dirty);
    let mut bytes = vec![0; 64 << 10];
    image.read_at(&mut bytes, 0).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 1));
    assert!(bench.bytes("a") == before);
    bench.agrees("a", &allowed);
}
