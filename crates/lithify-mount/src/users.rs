//! Who keeps a mount busy.

use std::fs;
use std::path::Path;

use crate::User;
use crate::table::Mount;

/// Users named at most.
const USERS_MAX: usize = 5;

/// Mounts below a directory, and processes with something there. Processes one may not look into are not found.
pub(crate) fn of(directory: &Path, mounts: &[Mount]) -> Vec<User> {
    let below = mounts
        .iter()
        .filter(|m| m.is_below(directory))
        .map(|m| User::Mount(m.point.clone()));
    let processes = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&pid: &u32| uses(pid, directory))
        .map(|pid| User::Process {
            pid,
            name: fs::read_to_string(format!("/proc/{pid}/comm"))
                .unwrap_or_default()
                .trim_end()
                .to_owned(),
        });
    below.chain(processes).take(USERS_MAX).collect()
}

/// Whether a process works, has its root, its program or a file open below a directory.
fn uses(pid: u32, directory: &Path) -> bool {
    let leads_there = |link: &Path| fs::read_link(link).is_ok_and(|to| to.starts_with(directory));
    let process = Path::new("/proc").join(pid.to_string());
    ["cwd", "root", "exe"]
        .iter()
        .any(|name| leads_there(&process.join(name)))
        || fs::read_dir(process.join("fd"))
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| leads_there(&entry.path()))
}
