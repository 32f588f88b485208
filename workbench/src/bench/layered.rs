//! What is compared with what: layers, disks, the store, squashfs, compression.

use super::cases::{Case, Group, Programs, case, layout, quote};
use super::inputs::{CROWD, Inputs, WHITEOUTS};

/// How often a build of what the store has already is repeated: it takes so little that a few runs say nothing.
const CACHED: usize = 10;

impl Programs {
    /// Groups about more than one flat, uncompressed EROFS image.
    pub(super) fn layered(&self, inputs: &Inputs) -> Vec<Group> {
        vec![
            self.squashfs(inputs),
            self.compressed(inputs),
            self.layers(inputs),
            self.second_image(inputs),
            self.fsmeta(inputs),
        ]
    }

    fn squashfs(&self, inputs: &Inputs) -> Group {
        let blob = quote(&inputs.blob);
        let build = format!("tar:{blob} -f squashfs --compress zstd:3 --jobs 2 -o out.sqfs");
        let tar2sqfs = "tar2sqfs -q -f -j 2 -c zstd -X level=3 -b 131072 out.sqfs";
        // sqfstar is mksquashfs with `-tar`; some releases of it take no options of a compressor.
        let sqfstar = "mksquashfs - out.sqfs -tar -comp zstd -Xcompression-level 3 -b 131072 \
                       -processors 2 -quiet -no-progress";
        Group {
            name: "layer to squashfs (zstd:3)",
            tar_bytes: inputs.tar_bytes,
            entries: None,
            cases: vec![
                case("lithify", self.build(&format!("{build} --no-fsync"))),
                case("lithify, on disk", self.build(&build)),
                case("gzip | tar2sqfs", format!("gzip -dc {blob} | {tar2sqfs}")),
                case(
                    "gzip | mksquashfs -tar (sqfstar)",
                    format!("gzip -dc {blob} | {sqfstar}"),
                ),
            ],
        }
    }

    fn compressed(&self, inputs: &Inputs) -> Group {
        let image = layout(&inputs.image);
        let build = |options: &str| {
            self.build(&format!(
                "{image} --compress {options} --no-fsync -o out.erofs"
            ))
        };
        let unpack = format!(
            "umoci unpack --image {}:latest bundle",
            quote(&inputs.image)
        );
        let mkfs = Case {
            setup: Some(unpack),
            ..case(
                "mkfs.erofs -zlz4 of the unpacked tree",
                "mkfs.erofs -zlz4 -C65536 out.erofs bundle/rootfs".into(),
            )
        };
        Group {
            name: "image to compressed EROFS",
            tar_bytes: inputs.image_bytes,
            entries: None,
            cases: vec![
                case("lithify, lz4, 64 KiB", build("lz4 --block-size 64K")),
                case("lithify, lz4", build("lz4")),
                case("lithify, zstd", build("zstd")),
                mkfs,
            ],
        }
    }

    /// Layers, what merges them, and a disk, into `out`, with the store `store`.
    fn build_layers(&self, image: &str, options: &str) -> String {
        self.build(&format!(
            "{image} -f erofs-layers --store store {options} -o out"
        ))
    }

    fn layers(&self, inputs: &Inputs) -> Group {
        let image = layout(&inputs.image);
        let blobs: Vec<_> = inputs.blobs.iter().map(|blob| quote(blob)).collect();
        let floor = format!(
            "{} speed inflate-sha256 {}",
            quote(&self.workbench),
            blobs.join(" ")
        );
        let cached = |name: &str, options: &str| Case {
            setup: Some(format!(
                "{} && rm -rf out",
                self.build_layers(&image, options)
            )),
            times: CACHED,
            ..case(name, self.build_layers(&image, options))
        };
        let flat = format!("{image} --no-fsync -o out.erofs");
        let no_store = format!("{image} -f erofs-layers --no-store --no-fsync -o out");
        Group {
            name: "image to EROFS layers, fsmeta and disk",
            tar_bytes: inputs.image_bytes,
            entries: None,
            cases: vec![
                case("lithify", self.build_layers(&image, "--no-fsync")),
                case("lithify, on disk", self.build_layers(&image, "")),
                case("lithify, without a store", self.build(&no_store)),
                case(
                    "lithify --verity",
                    self.build_layers(&image, "--verity --no-fsync"),
                ),
                cached("lithify, all in the store", "--no-fsync"),
                cached("lithify, all in the store, on disk", ""),
                case("lithify, one flat EROFS", self.build(&flat)),
                case("inflate and SHA-256 alone, two threads", floor),
            ],
        }
    }

    fn second_image(&self, inputs: &Inputs) -> Group {
        let (first, second) = (layout(&inputs.image), layout(&inputs.sibling));
        let setup = self.build_layers(&first, "--no-fsync");
        Group {
            name: "second image to EROFS layers",
            tar_bytes: inputs.image_bytes,
            entries: None,
            cases: vec![
                Case {
                    setup: Some(format!("{setup} && rm -rf out")),
                    ..case(
                        "lithify, all but one layer in the store",
                        self.build_layers(&second, "--no-fsync"),
                    )
                },
                case(
                    "lithify, nothing in the store",
                    self.build_layers(&second, "--no-fsync"),
                ),
            ],
        }
    }

    /// Almost nothing but merging: all large layers are in the store.
    fn fsmeta(&self, inputs: &Inputs) -> Group {
        let (first, second) = (layout(&inputs.crowd), layout(&inputs.crowd_more));
        let setup = self.build_layers(&first, "--no-fsync");
        Group {
            name: "fsmeta of 100 000 files and 4 000 whiteouts",
            tar_bytes: (CROWD + WHITEOUTS) * 1024,
            entries: Some(CROWD + WHITEOUTS),
            cases: vec![
                Case {
                    setup: Some(format!("{setup} && rm -rf out")),
                    ..case(
                        "lithify, large layers in the store",
                        self.build_layers(&second, "--no-fsync"),
                    )
                },
                case(
                    "lithify, nothing in the store",
                    self.build_layers(&second, "--no-fsync"),
                ),
            ],
        }
    }
}
