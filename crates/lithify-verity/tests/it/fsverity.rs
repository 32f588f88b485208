//! File digests against `fsverity`, the kernel developers' program.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use lithify_testkit::{require, run, temp_dir};
use lithify_verity::file::{FileAlgorithm, FileDigest, FileHasher, FileOptions};
use proptest::prelude::*;

use crate::veritysetup::{hex, noise};

/// What `fsverity digest` says of files.
fn expected(paths: &[&Path], options: &FileOptions) -> Vec<String> {
    let mut command = run::command("fsverity");
    command
        .args(["digest", "--compact"])
        .arg(format!("--hash-alg={}", options.algorithm))
        .arg(format!("--block-size={}", options.block_size))
        .args(paths);
    if !options.salt.is_empty() {
        command.arg(format!("--salt={}", hex(&options.salt)));
    }
    run::text(&mut command).lines().map(str::to_owned).collect()
}

fn digest(data: &[u8], options: &FileOptions) -> FileDigest {
    let mut hasher = FileHasher::new(options).unwrap();
    hasher.update(data);
    hasher.finish()
}

#[test]
fn files_around_every_boundary() {
    if !require::tool("fsverity") {
        return;
    }
    let tmp = temp_dir();
    let path = tmp.path().join("file");
    for algorithm in FileAlgorithm::ALL {
        for (block_size, salt) in [(4096, &b""[..]), (1024, b"salt"), (4096, &[7; 32])] {
            let options = FileOptions {
                block_size,
                salt: salt.to_vec(),
                ..FileOptions::new(algorithm)
            };
            let block = block_size as usize;
            let fan_out = block / algorithm.digest_size();
            let mut sizes = vec![0, 1, 64, 65];
            // Levels begin and end with so many blocks.
            for blocks in [1, 2, fan_out, 2 * fan_out, fan_out * fan_out] {
                let whole = blocks * block;
                sizes.extend([
                    whole - 1,
                    whole,
                    whole + 1,
                    whole + block,
                    whole + block + 1,
                ]);
            }
            for size in sizes {
                let data = noise(size);
                std::fs::write(&path, &data).unwrap();
                assert_eq!(
                    expected(&[&path], &options),
                    [digest(&data, &options).hex()],
                    "{options:?} {size}"
                );
            }
        }
    }
}

#[test]
fn holes() {
    if !require::tool("fsverity") {
        return;
    }
    let tmp = temp_dir();
    let path = tmp.path().join("file");
    let options = FileOptions::default();
    for (before, hole, behind) in [
        (0, 1 << 30, 0),
        (1, (1 << 26) + 5, 9000),
        (4096 * 127, 4096 * 129, 1),
        (4096 * 128 * 127, 4096 * 128 * 130 + 1, 4095),
        (5, 4091, 0),
        (5, 0, 1),
    ] {
        let mut hasher = FileHasher::new(&options).unwrap();
        let mut file = File::create(&path).unwrap();
        file.write_all(&noise(before)).unwrap();
        file.set_len(before as u64 + hole).unwrap();
        hasher.update(&noise(before));
        hasher.zeros(hole);
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(&noise(behind)).unwrap();
        hasher.update(&noise(behind));
        assert_eq!(hasher.size(), file.metadata().unwrap().len());
        assert_eq!(
            expected(&[&path], &options),
            [hasher.finish().hex()],
            "{before} {hole} {behind}"
        );
    }
    // 16 TiB of nothing take no time.
    let mut hasher = FileHasher::new(&options).unwrap();
    hasher.zeros(1 << 44);
    assert_eq!(hasher.size(), 1 << 44);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// The digest depends neither on the pieces nor on who knows of zeros.
    #[test]
    fn pieces_make_no_difference(
        pieces in prop::collection::vec((any::<bool>(), 0_usize..20_000), 0..40),
        sha512: bool,
    ) {
        let algorithm = if sha512 { FileAlgorithm::Sha512 } else { FileAlgorithm::Sha256 };
        let options = FileOptions { block_size: 1024, ..FileOptions::new(algorithm) };
        let mut all = Vec::new();
        let mut hasher = FileHasher::new(&options).unwrap();
        for (is_hole, length) in pieces {
            if is_hole {
                hasher.zeros(length as u64);
                all.resize(all.len() + length, 0);
            } else {
                let data = noise(length);
                hasher.update(&data);
                all.extend_from_slice(&data);
            }
        }
        prop_assert_eq!(hasher.finish(), digest(&all, &options));
    }
}

#[test]
fn parameters_that_are_none() {
    for block_size in [0, 512, 3000, 131_072] {
        let options = FileOptions {
            block_size,
            ..FileOptions::default()
        };
        let error = FileHasher::new(&options).unwrap_err();
        assert!(error.to_string().contains(&block_size.to_string()));
    }
    let options = FileOptions {
        salt: vec![0; 33],
        ..FileOptions::default()
    };
    assert!(FileHasher::new(&options).is_err());
}
