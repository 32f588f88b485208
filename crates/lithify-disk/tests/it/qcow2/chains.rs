//! Images on top of each other.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use lithify_disk::ReadAt;
use lithify_disk::qcow2::{
    Backing, Extent, ExtentKind, Format, Image, OpenError, OpenOptions, Reference, WriteOptions,
    Writer,
};
use lithify_testkit::require;

use super::bench::{Bench, same, shown};
use crate::common::noise;

const MIB: u64 = 1 << 20;
const KIB: u64 = 1 << 10;

fn tools() -> bool {
    require::tool("qemu-img") && require::tool("qemu-io")
}

#[test]
fn chains_of_every_kind() {
    if !tools() {
        return;
    }
    let bench = Bench::new();
    bench.raw("base", 4 * MIB, &[(0, 900_000), (2 << 20, 1_500_000)]);
    // Versions, cluster sizes, subclusters and disk sizes differ from file to file.
    bench.img("create -q -f qcow2 -o compat=0.10,cluster_size=4k -b base -F raw one");
    bench.io(
        "one",
        &[
            "write -P 1 100k 10k",
            "write -P 2 3M 900k",
            "discard 2M 64k",
        ],
    );
    bench.img("create -q -f qcow2 -o extended_l2=on -b one -F qcow2 two 6M");
    bench.io(
        "two",
        &[
            "write -P 3 70k 4k",
            "write -z 1M 130k",
            "write -P 4 5M 512",
            "discard 3M 5k",
        ],
    );
    bench.img("create -q -f qcow2 -b two -F qcow2 three 3M");
    bench.io(
        "three",
        &[
            "write -z 0 64k",
            "write -z -u 256k 200k",
            "discard 512k 128k",
        ],
    );
    bench.img("create -q -f qcow2 -o cluster_size=2M,lazy_refcounts=on -b three -F qcow2 four 8M");
    bench.io("four", &["write -P 6 4500k 10k"]);
    for (below, name) in ["one", "two", "three", "four"].iter().enumerate() {
        bench.agrees(name, &OpenOptions::default());
        let image = bench.open(name, &OpenOptions::default()).unwrap();
        assert_eq!(image.chain_length(), below + 2);
        assert!(image.header_at(below + 1).is_none());
    }
    // A file ends where the one above goes on: zeros, whatever is below.
    let image = bench.open("four", &OpenOptions::default()).unwrap();
    let mut tail = vec![1; MIB as usize];
    image.read_at(&mut tail, 3 * MIB).unwrap();
    assert!(tail.iter().all(|&byte| byte == 0));

    // So it is also for whoever has the disk below already.
    let above: Vec<Extent> = image.extents_above(2).map(Result::unwrap).collect();
    assert_eq!(
        shown(&above[above.len() - 3..]),
        "zero1:1024 data0:2048 zero1:2048"
    );

    bench.img("rebase -q -f qcow2 -b one -F qcow2 three");
    bench.agrees("three", &OpenOptions::default());
    bench.img("commit -q -f qcow2 three");
    bench.agrees("one", &OpenOptions::default());
    bench.agrees("three", &OpenOptions::default());
}

#[test]
fn compressed_and_zero_clusters_of_backing_files() {
    if !tools() {
        return;
    }
    let bench = Bench::new();
    bench.raw("disk", 3 * MIB, &[(100, 5000), (1 << 20, 300_000)]);
    for method in ["zlib", "zstd"] {
        let (base, top) = (format!("base-{method}"), format!("top-{method}"));
        bench.img(&format!(
            "convert -c -f raw -O qcow2 -o compression_type={method} disk {base}"
        ));
        bench.img(&format!(
            "create -q -f qcow2 -o cluster_size=512 -b {base} -F qcow2 {top}"
        ));
        bench.io(
            &top,
            &[
                "write -P 1 1k 1k",
                "write -P 2 1030k 512",
                "write -z 1100k 7k",
            ],
        );
        bench.agrees(&top, &OpenOptions::default());
    }
    bench.img("create -q -f qcow2 -b base-zlib -F qcow2 c");
    bench.io("c", &["write -c -P 9 1M 64k", "write -z 1088k 64k"]);
    let image = bench.open("c", &OpenOptions::default()).unwrap();
    let own: Vec<Extent> = image.extents_above(1).map(Result::unwrap).collect();
    assert_eq!(shown(&own), "hole:1024 data0:64 zero0:64 hole:1920");
    let all: Vec<Extent> = image.extents().map(Result::unwrap).collect();
    assert_eq!(
        shown(&all),
        "data1:64 hole:960 data0:64 zero0:64 data1:192 hole:1728"
    );
}

#[test]
fn formats_are_never_guessed() {
    if !tools() {
        return;
    }
    let bench = Bench::new();
    bench.img("create -q -f qcow2 base 1M");
    bench.img("create -q -f qcow2 -b base -F qcow2 top");
    let mut bytes = bench.bytes("top");
    let place = bytes
        .windows(4)
        .position(|word| word == [0xe2, 0x79, 0x2a, 0xca]);
    bytes[place.unwrap()] = 0;
    std::fs::write(bench.path("top"), bytes).unwrap();
    let error = bench.open("top", &OpenOptions::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the image at depth 0 names no format for its backing file `base`: say which it is (`qemu-img rebase -u -F FORMAT`)"
    );
    for format in [Format::Raw, Format::Qcow2] {
        let options = OpenOptions {
            backing_format: Some(format),
            ..OpenOptions::default()
        };
        let image = bench.open("top", &options).unwrap();
        assert_eq!(image.chain_length(), 2);
        assert_eq!(image.header_at(1).is_some(), format == Format::Qcow2);
    }
    bench.img("create -q -f vmdk base.vmdk 1M");
    bench.img("create -q -f qcow2 -b base.vmdk -F vmdk top");
    let error = bench.open("top", &OpenOptions::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the backing file `base.vmdk` of the image at depth 0 has the format `vmdk`: expected raw or qcow2"
    );
    bench.img("create -q -f qcow2 -b base -F qcow2 top");
    std::fs::remove_file(bench.path("base")).unwrap();
    let error = bench.open("top", &OpenOptions::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the image at depth 0 needs a file that was not given (`base`)"
    );
}

/// An image of 1 MiB over another, with 512 bytes of `byte` at its own place.
fn link(number: u64, backing: Option<&str>, format: Format) -> Vec<u8> {
    let options = WriteOptions {
        cluster_size: lithify_disk::qcow2::ClusterSize::MIN,
        backing: backing.map(|name| Backing {
            name: name.into(),
            format,
        }),
    };
    let mut writer = Writer::new(Vec::new(), MIB, &options).unwrap();
    writer
        .write(&[number as u8 | 1; 512], number * 1024)
        .unwrap();
    writer.finish().unwrap()
}

/// Opens the last of these images over all others.
fn open_all<'a>(
    files: &'a [Vec<u8>],
    options: &OpenOptions,
) -> Result<Image<&'a Vec<u8>>, OpenError> {
    let mut files = files.iter().rev();
    let top = files.next().unwrap();
    Image::open(top, options, |reference| {
        let Reference::Backing { name, format, .. } = reference else {
            panic!("{reference:?}");
        };
        assert_eq!((name, format), (&b"below"[..], Format::Qcow2));
        Ok(files.next())
    })
}

#[test]
fn deep_chains_have_a_limit_and_circles_an_end() {
    let links: Vec<Vec<u8>> = (0..250)
        .map(|n| link(n, (n > 0).then_some("below"), Format::Qcow2))
        .collect();
    let image = open_all(&links, &OpenOptions::default()).unwrap();
    assert_eq!(image.chain_length(), 250);
    let mut expected = vec![0; MIB as usize];
    for n in 0..250 {
        expected[n * 1024..][..512].fill(n as u8 | 1);
    }
    same(&image, &expected);
    let own = image.extents().map(Result::unwrap);
    let data: Vec<Extent> = own
        .filter(|e| matches!(e.kind, ExtentKind::Data { .. }))
        .collect();
    assert_eq!(data.len(), 250);
    assert_eq!(shown(&data[..2]), "data249:0.5 data248:0.5");

    let options = OpenOptions {
        files_max: 249,
        ..OpenOptions::default()
    };
    let error = open_all(&links, &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the chain has more than 249 files: flatten it, or allow more"
    );
    let circle = link(0, Some("itself"), Format::Qcow2);
    let mut asked = 0;
    let error = Image::open(&circle, &OpenOptions::default(), |_| {
        asked += 1;
        Ok(Some(&circle))
    });
    assert!(matches!(error, Err(OpenError::TooDeep { max: 256 })));
    assert_eq!(asked, 256);
}

#[test]
fn what_the_caller_says_of_files_is_said() {
    let top = link(0, Some("a/b"), Format::Raw);
    let error = Image::open(&top, &OpenOptions::default(), |_| {
        Err(io::ErrorKind::PermissionDenied.into())
    })
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot open a file that the image at depth 0 needs (`a/b`)"
    );
    // A raw disk that ends within a sector.
    let base = vec![7; 5000];
    let image = Image::open(&top, &OpenOptions::default(), |_| Ok(Some(&base))).unwrap();
    let mut expected = vec![0; MIB as usize];
    expected[..512].fill(1);
    expected[512..5000].fill(7);
    same(&image, &expected);
    let extents: Vec<Extent> = image.extents().map(Result::unwrap).collect();
    assert_eq!(extents[1].length, 5000 - 512);
    assert_eq!(extents[2].kind, ExtentKind::Zero { depth: 1 });
    let image = Image::open(
        &top,
        &OpenOptions {
            size_max: 1000,
            ..OpenOptions::default()
        },
        |_| Ok(None),
    );
    assert!(matches!(image, Err(OpenError::TooLarge { depth: 0, .. })));
}

/// Counts the bytes that are read of a stretch of a file.
struct Counted {
    bytes: Vec<u8>,
    read: Rc<Cell<u64>>,
}

impl ReadAt for Counted {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read.set(self.read.get() + buffer.len() as u64);
        self.bytes.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.bytes.size()
    }
}

/// Each compressed cluster is fetched once, though pieces are small and the image above has parts
/// of it.
#[test]
fn compressed_clusters_are_decompressed_once() {
    if !tools() {
        return;
    }
    let bench = Bench::new();
    let words: Vec<u8> = noise(1, 2 << 20).iter().map(|byte| byte & 7).collect();
    std::fs::write(bench.path("disk"), &words).unwrap();
    bench.img("convert -c -f raw -O qcow2 disk base");
    bench.img("create -q -f qcow2 -o cluster_size=512 -b base -F qcow2 top");
    bench.io(
        "top",
        &[
            "write -P 1 100k 512",
            "write -P 1 103k 512",
            "write -P 1 1000k 1k",
        ],
    );
    let read = Rc::new(Cell::new(0));
    let files = ["top", "base"].map(|name| Counted {
        bytes: bench.bytes(name),
        read: Rc::clone(&read),
    });
    let [top, base] = files;
    let all = (top.bytes.len() + base.bytes.len()) as u64;
    let mut base = Some(base);
    let image = Image::open(top, &OpenOptions::default(), |_| Ok(base.take())).unwrap();
    let mut sum = 0;
    for extent in image.extents() {
        let extent = extent.unwrap();
        let mut at = extent.offset;
        while at < extent.offset + extent.length {
            let mut piece = vec![0; 4000.min(extent.offset + extent.length - at) as usize];
            image.read_at(&mut piece, at).unwrap();
            at += piece.len() as u64;
            sum += piece.iter().map(|&byte| u64::from(byte)).sum::<u64>();
        }
    }
    assert!(sum > 0);
    let found = read.get();
    // Sectors that two clusters share are read twice, tables and headers too.
    assert!(found < all + 256 * KIB, "{found} of {all}");
}
