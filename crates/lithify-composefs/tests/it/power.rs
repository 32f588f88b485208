//! Power cuts while images are published and collected, in a guest.

use std::path::PathBuf;

use lithify_composefs::oci::{promised_digest, tags};
use lithify_composefs::repository::{Depth, FsckOptions, OpenOptions, Repository};
use lithify_testkit::{program, require, run, temp_dir, vm};

use crate::common::Lists;
use crate::killed;

/// For the guest that looks after the cut: the repository.
const DIRECTORY: &str = "LITHIFY_TEST_POWER";

#[test]
fn a_power_cut_leaves_no_link_to_nothing() {
    if !require::vm() || !require::tool("mkfs.ext4") {
        return;
    }
    let tmp = temp_dir();
    let disk = tmp.path().join("disk");
    run::ok(
        run::command("mkfs.ext4")
            .args(["-q", "-b", "4096"])
            .arg(&disk)
            .arg("128M"),
    );
    let this = std::env::current_exe().unwrap();
    let boot = |script: &str| {
        // The journal is written every second, so that names are on the disk soon, and files
        // without care are not.
        let script = format!("mkdir /disk && mount -o commit=1 /dev/vda /disk && {script}");
        vm::BootSpec::new(&script)
            .writable_disk(&disk)
            .module("ext4")
            .program(this.to_str().unwrap())
            .boot()
    };
    let this = this.display();
    let rounds = if lithify_testkit::wants_all() { 10 } else { 2 };
    for seed in 0..rounds {
        let publisher = program::arguments("killed::publisher").join(" ");
        // The first publisher ends: whatever the second one has done at the cut, that image is there.
        let output = boot(&format!(
            "export {}=/disk/repository {}={seed}
             {}=1 {this} {publisher} >/dev/null
             ({this} {publisher} >/dev/null 2>&1 &)
             sleep 3.{seed}
             echo 1 >/proc/sys/kernel/sysrq
             echo b >/proc/sysrq-trigger",
            killed::DIRECTORY,
            killed::SEED,
            killed::IMAGES,
        ));
        assert_eq!(output.status, None, "the guest ended in order: {output}");
        let checker = program::arguments("power::checker").join(" ");
        let output = boot(&format!("{DIRECTORY}=/disk/repository {this} {checker}"));
        assert_eq!(output.status, Some(0), "{output}");
        assert!(output.has_line("everything is there"), "{output}");
    }
}

/// Not a test by itself: what the guest does after a cut.
#[test]
fn checker() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else {
        return;
    };
    let repository = Repository::open(directory, &OpenOptions::new()).unwrap();
    let checks = FsckOptions {
        depth: Depth::Contents,
        threads: None,
        promised: Some(promised_digest),
    };
    let report = repository.fsck(&Lists, &checks).unwrap();
    // An object that nothing leads to may be damaged: whoever stores it again compares it.
    let needed: Vec<_> = report
        .findings
        .iter()
        .filter(|f| f.id().is_none() || !f.needed_by.is_empty())
        .collect();
    assert!(needed.is_empty(), "{needed:#?}");
    let kept = tags(&repository).unwrap();
    let kept = kept.iter().find(|tag| tag.name == killed::KEPT);
    assert!(report.streams > 0 && kept.is_some());
    println!("\neverything is there");
}
