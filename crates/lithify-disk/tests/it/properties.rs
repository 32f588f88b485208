//! Any parts, any bytes.

use lithify_disk::gpt::{GptError, GptOptions, HeaderProblem, Table};
use lithify_disk::vmdk::{CheckError, Descriptor, PathRule, VmdkOptions, WriteError};
use lithify_disk::{Alignment, Content, Disk, Part, RawError};
use proptest::prelude::*;

fn part(n: usize, size: u64) -> Part {
    Part {
        path: format!("layers/{n}.erofs").into(),
        size,
        name: format!("part {n}"),
        identity: vec![n as u8; 32],
    }
}

fn parts(sizes: &[u64]) -> Vec<Part> {
    let sizes = sizes.iter().enumerate();
    sizes.map(|(n, &size)| part(n, size)).collect()
}

fn alignment() -> impl Strategy<Value = Alignment> {
    (9..=21_u32).prop_map(|bits| Alignment::new(1 << bits).unwrap())
}

fn disk(sizes: &[u64], alignment: Alignment, partitioned: bool) -> Disk {
    let disk = if partitioned {
        Disk::partitioned(parts(sizes), &GptOptions { alignment })
    } else {
        Disk::concatenated(parts(sizes), alignment)
    };
    disk.unwrap()
}

/// The disk's bytes, where part n consists of bytes n + 1.
fn bytes(disk: &Disk) -> Vec<u8> {
    let sources: Vec<Vec<u8>> = (1..)
        .zip(disk.parts())
        .map(|(n, part)| vec![n; part.size as usize])
        .collect();
    let mut bytes = vec![0xff; 100];
    disk.write(&sources, &mut bytes).unwrap();
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_part_is_at_its_place(
        sectors in proptest::collection::vec(1..200_u64, 1..8),
        alignment in alignment(),
        partitioned in any::<bool>(),
        extent_sectors in 1..300_u64,
    ) {
        let sizes: Vec<u64> = sectors.iter().map(|n| n * 512).collect();
        let disk = disk(&sizes, alignment, partitioned);
        let bytes = bytes(&disk);
        prop_assert_eq!(bytes.len() as u64, disk.size());
        prop_assert!(disk.size().is_multiple_of(alignment.bytes()));
        let mut end = 0;
        for piece in disk.pieces() {
            prop_assert_eq!(piece.offset, end);
            prop_assert!(piece.length > 0 && piece.length.is_multiple_of(512));
            let stretch = &bytes[end as usize..][..piece.length as usize];
            match &piece.content {
                Content::Part(n) => {
                    prop_assert!(piece.offset.is_multiple_of(alignment.bytes()));
                    prop_assert!(stretch.iter().all(|&b| usize::from(b) == n + 1));
                }
                Content::Zeros => prop_assert!(stretch.iter().all(|&b| b == 0)),
                Content::Bytes(table) => prop_assert!(stretch == table),
            }
            end += piece.length;
        }
        prop_assert_eq!(end, disk.size());

        if partitioned {
            let table = Table::read(&bytes).unwrap();
            let found: Vec<_> = table.partitions.iter().map(|p| (p.offset, p.length, p.name.clone())).collect();
            let expected: Vec<_> = disk.parts().iter().enumerate()
                .map(|(n, part)| (disk.part_offset(n), part.size, part.name.clone()))
                .collect();
            prop_assert_eq!(found, expected);
        }

        // Reading the descriptor's extents from the files gives the same bytes.
        let options = VmdkOptions { extent_max: extent_sectors * 512, ..VmdkOptions::default() };
        let vmdk = disk.vmdk(&options).unwrap();
        let descriptor = Descriptor::parse(vmdk.descriptor.as_bytes(), PathRule::Below).unwrap();
        prop_assert_eq!(descriptor.size(), disk.size());
        let file = |path: &str| -> Vec<u8> {
            use lithify_disk::vmdk::CompanionContent;
            if let Some(n) = disk.parts().iter().position(|part| part.path.to_str() == Some(path)) {
                return vec![n as u8 + 1; disk.parts()[n].size as usize];
            }
            match vmdk.companions.iter().find(|c| c.path.to_str() == Some(path)).map(|c| &c.content) {
                Some(CompanionContent::Bytes(bytes)) => bytes.clone(),
                Some(CompanionContent::Zeros(n)) => vec![0; *n as usize],
                None => panic!("{path}"),
            }
        };
        descriptor.check(|path| Ok(file(path).len() as u64)).unwrap();
        let mut read = Vec::new();
        for extent in &descriptor.extents {
            prop_assert!(extent.length <= options.extent_max);
            read.extend_from_slice(&file(&extent.path)[extent.offset as usize..][..extent.length as usize]);
        }
        prop_assert!(read == bytes);
    }

    #[test]
    fn any_text_is_no_reason_to_panic(text in "(# Disk DescriptorFile\n)?([ -~]{0,30}\n|RW [0-9]{0,20} FLAT \"[^\"\n]{0,9}\" [0-9]{0,20}\n|version=1\n|CID=[0-9a-f]{0,9}\n){0,9}") {
        if let Ok(found) = Descriptor::parse(text.as_bytes(), PathRule::Below) {
            prop_assert!(!found.extents.is_empty());
            prop_assert!(found.size() <= i64::MAX as u64);
        }
    }

    /// A descriptor with one byte changed is refused, or says something a descriptor may say.
    #[test]
    fn changed_descriptors(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let disk = disk(&[512, 1 << 32, 4096], Alignment::MEBIBYTE, true);
        let mut text = disk.vmdk(&VmdkOptions::default()).unwrap().descriptor.into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(found) = Descriptor::parse(&text, PathRule::Below) {
            for extent in found.extents {
                prop_assert!(!extent.path.starts_with('/') && !extent.path.contains(['"', '\n', '\\']));
            }
        }
    }

    /// Any change of a table is found.
    #[test]
    fn changed_tables(at in any::<prop::sample::Index>(), bit in 0..8) {
        let disk = disk(&[512, 4096, 1024], Alignment::SECTOR, true);
        let mut bytes = bytes(&disk);
        let tables: Vec<usize> = (446..512)
            .chain(512..512 + 92)
            .chain(1024..1024 + 128 * 128)
            .chain(bytes.len() - 33 * 512..bytes.len() - 512 + 92)
            .collect();
        let at = tables[at.index(tables.len())];
        bytes[at] ^= 1_u8 << bit;
        let read = Table::read(&bytes);
        // The protective entry's boot flag and made-up cylinders mean nothing.
        let meaningless = (446..450).contains(&at) || (451..454).contains(&at);
        prop_assert_eq!(read.is_ok(), meaningless, "byte {}", at);
    }

    #[test]
    fn any_table_is_no_reason_to_panic(
        fields in proptest::collection::vec((0..92_usize, any::<u8>()), 1..4),
        entry in proptest::collection::vec((0..512_usize, any::<u8>()), 0..4),
    ) {
        let disk = disk(&[512, 4096, 1024], Alignment::SECTOR, true);
        let mut bytes = bytes(&disk);
        // Both copies changed alike, with the right checksums.
        let last = bytes.len() - 512;
        for (at, byte) in entry {
            bytes[1024 + at] = byte;
            bytes[last - 32 * 512 + at] = byte;
        }
        let crc = crc32fast::hash(&bytes[1024..1024 + 128 * 128]).to_le_bytes();
        for header in [512, last] {
            bytes[header + 88..header + 92].copy_from_slice(&crc);
            for &(at, byte) in &fields {
                bytes[header + at] = byte;
            }
            bytes[header + 16..header + 20].fill(0);
            let crc = crc32fast::hash(&bytes[header..header + 92]).to_le_bytes();
            bytes[header + 16..header + 20].copy_from_slice(&crc);
        }
        if let Ok(table) = Table::read(&bytes) {
            for partition in table.partitions {
                prop_assert!(partition.offset + partition.length <= bytes.len() as u64);
            }
        }
    }
}

#[test]
fn identifiers_are_the_contents() {
    let make = |identity: &[u8]| {
        let mut parts = parts(&[512, 1024]);
        parts[1].identity = identity.into();
        let cid = Disk::concatenated(parts.clone(), Alignment::SECTOR)
            .unwrap()
            .vmdk(&VmdkOptions::default())
            .unwrap()
            .cid;
        let disk = Disk::partitioned(parts, &GptOptions::default()).unwrap();
        (cid, Table::read(&bytes(&disk)).unwrap())
    };
    let (cid, table) = make(b"one");
    assert_eq!((cid, &table), (make(b"one").0, &make(b"one").1));
    let (other_cid, other) = make(b"two");
    assert_ne!(cid, other_cid);
    assert_ne!(table.disk, other.disk);
    let id = |table: &Table, n: usize| table.partitions[n].id;
    assert_eq!(id(&table, 0), id(&other, 0));
    assert_ne!(id(&table, 1), id(&other, 1));
    for cid in [cid, other_cid] {
        assert!(cid != 0 && cid < 0xffff_fffe);
    }
    // Two equal parts are two partitions.
    let parts = vec![part(0, 512); 2];
    let disk = Disk::partitioned(parts, &GptOptions::default()).unwrap();
    let table = Table::read(&bytes(&disk)).unwrap();
    assert_ne!(id(&table, 0), id(&table, 1));
}

#[test]
fn what_no_descriptor_can_say() {
    let with = |path: &str, options: &VmdkOptions| {
        let mut parts = parts(&[512]);
        parts[0].path = path.into();
        let disk = Disk::concatenated(parts, Alignment::SECTOR).unwrap();
        disk.vmdk(options)
    };
    let default = VmdkOptions::default();
    for path in ["/etc/passwd", "../x", "a\"b", "a\nRW 1 FLAT \"x\" 0"] {
        let error = with(path, &default).unwrap_err();
        assert!(matches!(error, WriteError::Path { .. }), "{path}");
    }
    let any = VmdkOptions {
        paths: PathRule::Any,
        ..VmdkOptions::default()
    };
    let text = with("/var/lib/x", &any).unwrap().descriptor;
    assert!(text.contains("RW 1 FLAT \"/var/lib/x\" 0\n"));
    assert!(Descriptor::parse(text.as_bytes(), PathRule::Below).is_err());
    assert!(Descriptor::parse(text.as_bytes(), PathRule::Any).is_ok());
    for extent_max in [0, 1000, (1 << 31) + 512] {
        let options = VmdkOptions {
            extent_max,
            ..VmdkOptions::default()
        };
        let error = with("x", &options).unwrap_err();
        assert_eq!(error, WriteError::ExtentMax { found: extent_max });
    }
    // QEMU would read only the first megabyte of this.
    let disk = Disk::concatenated(parts(&[1 << 45]), Alignment::SECTOR).unwrap();
    let long = disk.vmdk(&VmdkOptions {
        extent_max: 512,
        ..VmdkOptions::default()
    });
    assert!(matches!(long, Err(WriteError::TooLarge { .. })));
}

#[test]
fn files_that_changed() {
    let disk = disk(&[512, 1024], Alignment::SECTOR, false);
    let sources = [vec![1; 512], vec![2; 1023]];
    let size = disk.write(&sources, &mut Vec::new());
    assert!(matches!(
        size,
        Err(RawError::SourceSize {
            expected: 1024,
            found: 1023,
            ..
        })
    ));
    let count = disk.write(&sources[..1], &mut Vec::new());
    assert!(matches!(
        count,
        Err(RawError::Sources {
            expected: 2,
            found: 1
        })
    ));
    let text = disk.vmdk(&VmdkOptions::default()).unwrap().descriptor;
    let descriptor = Descriptor::parse(text.as_bytes(), PathRule::Below).unwrap();
    let short = descriptor.check(|path| Ok(if path.contains('1') { 1000 } else { 512 }));
    assert!(matches!(
        short,
        Err(CheckError::Short {
            expected: 1024,
            found: 1000,
            ..
        })
    ));
    let gone = descriptor.check(|_| Err(std::io::ErrorKind::NotFound.into()));
    assert!(matches!(gone, Err(CheckError::File { .. })));
}

#[test]
fn tables_that_lie() {
    let disk = disk(&[512, 4096], Alignment::SECTOR, true);
    let good = bytes(&disk);
    for size in [0, 511, 34_303, good.len() - 1] {
        assert!(matches!(
            Table::read(&good[..size]),
            Err(GptError::DiskSize { .. })
        ));
    }
    // A table moved to a larger or smaller disk.
    let mut larger = good.clone();
    larger.resize(good.len() + 512, 0);
    assert!(matches!(Table::read(&larger), Err(GptError::ProtectiveMbr)));
    larger[458..462].fill(0xff);
    assert!(matches!(
        Table::read(&larger),
        Err(GptError::Header {
            problem: HeaderProblem::Place { .. },
            ..
        })
    ));
    assert!(matches!(
        Table::read(&good[..good.len() - 512]),
        Err(GptError::ProtectiveMbr)
    ));
    assert!(matches!(
        Table::read(&vec![0; 1 << 20]),
        Err(GptError::ProtectiveMbr)
    ));
}
