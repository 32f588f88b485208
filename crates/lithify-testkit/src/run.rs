//! Other programs.

use std::process::{Command, Output};

/// A command with a fixed locale and time zone, found also in the system directories.
#[must_use]
pub fn command(program: &str) -> Command {
    let found = crate::require::find_tool(program);
    let mut command = Command::new(found.unwrap_or_else(|| program.into()));
    command.env("LC_ALL", "C").env("TZ", "UTC");
    command
}

/// A command for a program that changes how its root directory is mounted, which has to be a mount for that. In a `chroot` it
/// need not be: then the program gets one, in a mount namespace of its own. Its working directory is the root.
#[must_use]
pub fn command_with_mounted_root(program: &str) -> Command {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if mounts
        .lines()
        .any(|line| line.split(' ').nth(4) == Some("/"))
    {
        return command(program);
    }
    let mut wrapped = command("unshare");
    wrapped.args(["--mount", "--propagation", "unchanged", "sh", "-c"]);
    // On a mount that can be made private, so that nobody else sees it.
    wrapped.arg("mount --make-rprivate /proc && mount --rbind / /proc/fs && exec chroot /proc/fs \"$0\" \"$@\"");
    wrapped.arg(program);
    wrapped
}

/// Runs a command that must succeed; its standard output.
///
/// # Panics
/// When the command cannot be started or fails; the message holds the command and all it wrote.
pub fn ok(command: &mut Command) -> Vec<u8> {
    let output = output(command);
    assert!(output.status.success(), "{}", report(command, &output));
    output.stdout
}

/// Runs a command that must succeed; its standard output as text.
///
/// # Panics
/// As [`ok`], and when the output is not UTF-8.
pub fn text(command: &mut Command) -> String {
    String::from_utf8(ok(command)).expect("the program writes UTF-8")
}

/// Runs a command, whatever comes of it.
///
/// # Panics
/// When the command cannot be started.
pub fn output(command: &mut Command) -> Output {
    match command.output() {
        Ok(output) => output,
        Err(error) => panic!("{command:?} cannot be started: {error}"),
    }
}

/// What a failed command should be reported with.
#[must_use]
pub fn report(command: &Command, output: &Output) -> String {
    format!(
        "{command:?}: {}\n--- stdout\n{}\n--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
