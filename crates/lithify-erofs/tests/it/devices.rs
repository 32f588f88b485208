//! Device tables that lie, and devices that are not those of the table.
#![cfg(target_os = "linux")]

use crate::layers::{Layer, layer_image, merge};
use lithify_erofs::{FsmetaOptions, Image, MappedOther, ProblemKind, ReadError};
use proptest::prelude::*;

/// Where things are in an image without checksum.
const COMPAT: usize = 1024 + 8;
const EXTRA_DEVICES: usize = 1024 + 86;
const TABLE: usize = 1024 + 88;
const FIRST_SLOT: usize = 4096;
const BLOCKS: usize = 64;
const MAPPED: usize = 68;

/// A merged image without checksum, and its devices.
fn merged() -> (Vec<u8>, Vec<Vec<u8>>) {
    let layers = [
        Layer::default()
            .directory("d")
            .pattern("d/a", 10_000)
            .pattern("b", 4096),
        Layer::default()
            .directory("d")
            .pattern("d/c", 1)
            .pattern("b", 9000),
    ];
    let devices: Vec<Vec<u8>> = layers.iter().map(|l| layer_image(l, Vec::new())).collect();
    let images: Vec<_> = devices
        .iter()
        .map(|d| Image::open(d.clone()).unwrap())
        .collect();
    let (mut bytes, _) = merge(&layers, &images, Vec::new(), &FsmetaOptions::default());
    bytes[COMPAT] &= !1;
    (bytes, devices)
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn the_wrong_devices() {
    let (bytes, devices) = merged();
    let open = |devices: Vec<Vec<u8>>| Image::open_with_devices(bytes.clone(), devices);
    open(devices.clone()).unwrap();
    for given in [
        vec![],
        devices[..1].to_vec(),
        [&devices[..], &devices[..1]].concat(),
    ] {
        let count = given.len();
        let error = open(given).unwrap_err();
        assert!(
            matches!(error, ReadError::DeviceCount { expected: 2, found } if found == count),
            "{error}"
        );
    }
    let mut short = devices.clone();
    short[1].pop();
    let error = open(short).unwrap_err();
    assert!(
        matches!(error, ReadError::DeviceTooShort { device: 2, .. }),
        "{error}"
    );
    let mut long = devices;
    long[1].resize(1 << 20, 7);
    open(long).unwrap();
}

#[test]
fn a_table_outside_the_image() {
    for (count, table) in [(2, 0xffff), (0xffff, 32), (2, 300)] {
        let (mut bytes, _) = merged();
        bytes[EXTRA_DEVICES..][..2].copy_from_slice(&(count as u16).to_le_bytes());
        bytes[TABLE..][..2].copy_from_slice(&(table as u16).to_le_bytes());
        let error = Image::open(bytes).unwrap_err();
        assert!(matches!(error, ReadError::DeviceTable { .. }), "{error}");
    }
}

#[test]
fn data_outside_its_device() {
    let (mut bytes, mut devices) = merged();
    put(&mut bytes, FIRST_SLOT + BLOCKS, 2);
    devices[0].truncate(8192);
    let image = Image::open_with_devices(bytes, devices).unwrap();
    let verification = image.verify().unwrap();
    let problems: Vec<_> = verification
        .problems
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].starts_with("/d/a:") && problems[0].contains("extra device 1"),
        "{problems:?}"
    );
    let file = image.lookup(b"d/a").unwrap().unwrap();
    let error = image.read_to_vec(&file, 1 << 20).unwrap_err();
    assert!(
        matches!(error, ReadError::DeviceRange { device: 1, .. }),
        "{error}"
    );
}

#[test]
fn a_device_the_image_does_not_have() {
    let (mut bytes, devices) = merged();
    bytes[EXTRA_DEVICES] = 1;
    let image = Image::open_with_devices(bytes, devices[..1].to_vec()).unwrap();
    let file = image.lookup(b"b").unwrap().unwrap();
    let error = image.extent(&file, 0).unwrap_err();
    assert!(
        matches!(
            error,
            ReadError::UnknownDevice {
                device: 2,
                count: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!(!image.verify().unwrap().is_sound());
}

#[test]
fn devices_mapped_onto_each_other() {
    let (bytes, _) = merged();
    let problem = |slot: usize, block: u32| {
        let mut bytes = bytes.clone();
        put(&mut bytes, FIRST_SLOT + slot * 128 + MAPPED, block);
        let mut verification = Image::open(bytes).unwrap().verify().unwrap();
        verification.problems.remove(0).kind
    };
    let first = Image::open(bytes.clone()).unwrap().devices()[0].mapped_block;
    for (slot, block, wanted) in [
        (0, 1, MappedOther::Image),
        (1, 1, MappedOther::Image),
        (1, first, MappedOther::Device(1)),
    ] {
        let kind = problem(slot, block);
        assert!(
            matches!(kind, ProblemKind::MappedOverlap { other, .. } if other == wanted),
            "{kind}"
        );
    }
}

/// Linux finds blocks of the image's own device on a mapped one, if they are behind the image.
#[test]
fn blocks_behind_the_image_are_those_of_mapped_devices() {
    let (bytes, devices) = merged();
    let image = Image::open_with_devices(bytes.clone(), devices.clone()).unwrap();
    let file = image.lookup(b"d/a").unwrap().unwrap();
    let wanted = image.read_to_vec(&file, 1 << 20).unwrap();
    let extent = image.extent(&file, 0).unwrap().unwrap();
    let slot = image.devices()[0];
    let block = (extent.address.unwrap() / 4096) as u32;
    // Its index: reserved, device 1, block.
    let index = [&[0, 0, 1, 0][..], &block.to_le_bytes()].concat();
    let at = (0..bytes.len())
        .step_by(8)
        .filter(|&i| bytes[i..].starts_with(&index) && bytes[i - 32..][..2] == [8, 0])
        .collect::<Vec<_>>();
    let [at] = at[..] else { panic!("{at:?}") };
    let mut unified = bytes;
    unified[at + 2] = 0;
    put(&mut unified, at + 4, block + slot.mapped_block);
    let image = Image::open_with_devices(unified, devices).unwrap();
    assert!(image.verify().unwrap().is_sound());
    let file = image.lookup(b"d/a").unwrap().unwrap();
    assert_eq!(image.extent(&file, 0).unwrap().unwrap().device, 1);
    assert!(image.read_to_vec(&file, 1 << 20).unwrap() == wanted);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_anywhere_never_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        table in prop::collection::vec((0..256_usize, any::<u8>()), 0..4),
        given in any::<bool>(),
    ) {
        let (mut bytes, devices) = merged();
        for (at, value) in flips {
            let at = at.index(bytes.len() - 1024) + 1024;
            bytes[at] = value;
        }
        for (at, value) in table {
            bytes[FIRST_SLOT + at] = value;
        }
        bytes[COMPAT] &= !1;
        let opened = if given { Image::open_with_devices(bytes, devices) } else { Image::open(bytes) };
        let Ok(image) = opened else { return Ok(()) };
        let sound = image.verify().unwrap().is_sound();
        let mut buffer = vec![0; 20_000];
        for item in image.entries() {
            let Ok((_, inode)) = item else {
                prop_assert!(!sound);
                break;
            };
            if inode.file_type() == lithify_erofs::FileType::File {
                let read = image.read(&inode, 0, &mut buffer);
                prop_assert!(!sound || !image.has_devices() || read.is_ok());
            }
        }
        image.overlay_entries(true).for_each(drop);
    }
}
