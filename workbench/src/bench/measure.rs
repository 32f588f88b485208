//! What one command costs.

use std::process::Command;
use std::time::Instant;

use crate::sh;
use xtask::error::Error;

/// The cost of one run, of the command and everything it started and waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Seconds from start to end.
    pub(super) wall: f64,
    /// Seconds of processor time, user and system.
    pub(super) cpu: f64,
    /// The largest resident size of any one process, in bytes. Linux counts the starting process's own size at the
    /// moment of `exec` too, so this one must stay small.
    pub(super) peak: u64,
    /// Bytes of what it made, if that was kept.
    pub(super) output: Option<u64>,
}

/// Runs a command to its end.
#[expect(
    unsafe_code,
    reason = "std has no wait4, and nothing else tells one child's costs"
)]
pub(super) fn measure(command: &mut Command) -> Result<Sample, Error> {
    let shown = sh::show(command);
    let start = Instant::now();
    let child = command.spawn().map_err(|source| Error::Start {
        command: shown.clone(),
        source,
    })?;
    let pid = child.id().cast_signed();
    let mut status = 0;
    // SAFETY: `rusage` is plain integers, for which all zeros is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: `pid` is a child of this process that nobody has waited for: `child` is not used again. Both pointers
        // are to live variables of the types wait4(2) fills.
        let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
        if waited == pid {
            break;
        }
        let source = std::io::Error::last_os_error();
        if source.kind() != std::io::ErrorKind::Interrupted {
            return Err(Error::Start {
                command: shown,
                source,
            });
        }
    }
    let wall = start.elapsed().as_secs_f64();
    let status = std::os::unix::process::ExitStatusExt::from_raw(status);
    if !std::process::ExitStatus::success(&status) {
        return Err(Error::Failed {
            command: shown,
            status,
        });
    }
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    Ok(Sample {
        wall,
        cpu: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        peak: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        output: None,
    })
}

/// The middle value.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_those_of_the_command() {
        // 64 MiB held by one process, and some work.
        let script = "x=$(head -c 67108864 /dev/zero | tr '\\0' x); echo ${#x}";
        let mut command = sh::command("bash", ["-c", script]);
        let sample = measure(command.stdout(std::process::Stdio::null())).unwrap();
        assert!(sample.peak > 64 << 20, "{sample:?}");
        assert!(sample.cpu > 0.0 && sample.wall > 0.0, "{sample:?}");
        assert!(measure(&mut sh::command("false", [""; 0])).is_err());
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
