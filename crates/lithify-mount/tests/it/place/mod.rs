//! A place with images and a mount point, and what is left of it.
#![allow(unreachable_pub, reason = "shared by test programs")]

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Says that a test is skipped; true if it is.
pub fn skip(tools: &[&str]) -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0);
    let has = |tool: &&str| Command::new(tool).arg("--help").output().is_ok();
    let skipped = !root || !tools.iter().all(has);
    if skipped {
        eprintln!("skipped: needs root and {}", tools.join(", "));
    }
    skipped
}

pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

// What tests unmount themselves goes with `--lazy`: a process another test has just started may hold a file there until it
// runs its own program.

/// A directory; unmounts whatever is left in it when a test fails.
pub struct Place {
    pub work: tempfile::TempDir,
}

impl Place {
    pub fn within(directory: &Path) -> Self {
        let place = Self {
            work: tempfile::tempdir_in(directory).unwrap(),
        };
        fs::create_dir(place.target()).unwrap();
        place
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    pub fn image(&self) -> PathBuf {
        self.at("image.erofs")
    }

    pub fn target(&self) -> PathBuf {
        self.at("mnt")
    }

    /// Lines of the mount table that name this place.
    pub fn mounts(&self) -> Vec<String> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let here = self.work.path().to_str().unwrap();
        table
            .lines()
            .filter(|l| l.contains(here))
            .map(str::to_owned)
            .collect()
    }

    /// Loop devices of this place's images.
    pub fn loop_devices(&self) -> Vec<String> {
        let options = ["--list", "--noheadings", "--output", "NAME,BACK-FILE"];
        let list = run(Command::new("losetup").args(options));
        let here = self.work.path().to_str().unwrap().to_owned();
        list.lines()
            .filter(|l| l.contains(&here))
            .map(str::to_owned)
            .collect()
    }

    /// Nothing mounted, and no loop device after at most a moment: the last close may be another process's, such as
    /// udev looking at the device.
    pub fn assert_clean(&self) {
        assert_eq!(self.mounts(), [""; 0]);
        for _ in 0..100 {
            if self.loop_devices().is_empty() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert_eq!(self.loop_devices(), [""; 0]);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for _ in self.mounts() {
            Command::new("umount")
                .args(["-l"])
                .arg(self.target())
                .output()
                .unwrap();
        }
    }
}
