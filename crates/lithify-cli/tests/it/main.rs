//! Tests of `lithify-cli` from outside, as one program: it is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests state what they expect by panicking"
)]

mod artifacts;
mod artifacts_signatures;
mod boot; // kernels and guests
mod budgets;
mod commit;
mod commit_places;
mod common;
mod completions;
mod composefs_build; // images into repositories
mod composefs_care; // repositories looked after
mod composefs_cli; // `lithify composefs`
mod composefs_damage; // what is wrong gets no name
mod composefs_guest; // repositories under fs-verity, mounted
mod composefs_mount; // images of repositories, mounted
mod composefs_names; // names in repositories
mod composefs_profile; // rules of images
mod composefs_verify; // images of repositories, checked
mod composefs_words; // messages about repositories
mod contract;
mod cpio; // archives for kernels
mod daemon;
mod debian;
mod delta_bases;
mod delta_chains;
mod delta_exact; // several deltas
mod delta_hostile;
mod delta_images;
mod delta_places; // names of deltas
mod delta_pull; // images brought by way of deltas
mod delta_random; // deltas of random images
mod delta_referee; // deltas for another program
mod delta_tar;
mod dir_roundtrip;
mod directories;
mod drop_xattrs;
mod ext4;
mod ext4_source;
mod first_steps;
mod full_disk;
mod interruption;
mod interruption_terminal;
mod interruption_work;
mod layer_kinds;
mod layer_tars;
mod layers;
mod layers_cache;
mod layers_disks;
mod layers_mount;
mod layouts;
mod mount;
mod names;
mod native;
mod native_manifests;
mod native_mixed;
mod odd_documents;
mod outputs;
mod overlay_marks;
mod pages;
mod peers;
mod plans;
mod publishing;
mod registry;
mod registry_crash;
mod registry_faults;
mod registry_sign_in;
mod reproducible;
mod sealing; // digests of composefs beside images, published
mod seals; // the same, checked
mod shown;
mod store;
mod store_crash;
mod transfer_archives;
mod transfer_store;
mod trees;
mod zero_layers;
