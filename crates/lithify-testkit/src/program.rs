//! Programs a test writes and then runs.
//!
//! A file that is open for writing cannot be executed (`ETXTBSY`, execve(2)), and what one thread of a process has open,
//! a child that another thread just forked has open too, until it starts its own program. A test that wrote a program and
//! ran it would fail now and then, whatever it closed before. So programs are written here by processes of their own,
//! whose files no other thread's child ever sees.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::run;

/// Copies the running test program to a path where any user can start it.
///
/// # Panics
/// When it cannot be copied.
pub fn copy_self(to: &Path) {
    run::ok(
        run::command("install")
            .args(["-m", "0755"])
            .arg(own_path())
            .arg(to),
    );
}

/// Writes a script, its first line included, as a file that any user can start.
///
/// # Panics
/// When it cannot be written.
pub fn script(path: &Path, text: &str) {
    run::ok(
        run::command("sh")
            .args(["-c", r#"printf %s "$2" >"$1" && chmod 0755 "$1""#, "sh"])
            .arg(path)
            .arg(text),
    );
}

/// The running test program, to run again as a process of its own: one test of it, by its path (`module::test`).
///
/// # Panics
/// When there is no such test: a name that matches nothing would run nothing, and that successfully.
#[must_use]
pub fn again(test: &str) -> Command {
    again_from(&own_path(), test)
}

/// As [`again`], from a copy of the program that [`copy_self`] made.
///
/// # Panics
/// As [`again`].
#[must_use]
pub fn again_from(program: &Path, test: &str) -> Command {
    let mut command = Command::new(program);
    command.args(arguments(test)).stdin(Stdio::null());
    command
}

/// The arguments by which a test program runs this test alone.
///
/// # Panics
/// As [`again`].
#[must_use]
pub fn arguments(test: &str) -> [&str; 5] {
    let mut list = Command::new(own_path());
    list.args([
        "--list",
        "--format=terse",
        "--include-ignored",
        "--exact",
        test,
    ]);
    let listed = run::text(&mut list);
    assert_eq!(
        listed.trim(),
        format!("{test}: test"),
        "the test to run again"
    );
    [
        "--exact",
        test,
        "--nocapture",
        "--include-ignored",
        "--test-threads=1",
    ]
}

fn own_path() -> std::path::PathBuf {
    std::env::current_exe().expect("a test program knows where it is")
}
