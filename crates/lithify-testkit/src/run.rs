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
