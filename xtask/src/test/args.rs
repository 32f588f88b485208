//! The arguments of `cargo xtask test`.

use std::process::ExitCode;

const HELP: &str = "\
Runs all checks: format, lints, tests, documentation, fuzz targets.

Usage: cargo xtask test [--quick | --full] [--allow-skips]

Options:
      --quick        Format, lints and unit tests only: no referees, no fixtures
      --full         Ten times as many random inputs, other ones in every run, inputs that take minutes, and
                     the tests with cfsctl, which is built once in half an hour
      --allow-skips  Succeed although tests were skipped, also as root on Debian, where everything can be installed
  -h, --help         Show this";

/// Arguments of `cargo xtask test`.
#[derive(Debug, Default)]
pub(crate) struct Args {
    /// Nothing but format, lints and unit tests.
    pub(super) quick: bool,
    /// More random inputs.
    pub(super) full: bool,
    /// Skipped tests are no failure.
    pub(super) allow_skips: bool,
}

/// A reason not to run.
#[derive(Debug)]
pub(crate) enum Asked {
    /// For help.
    Help,
    /// For something unknown.
    Unknown(String),
}

impl Args {
    /// Reads the arguments behind `test`.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, Asked> {
        let mut args = Self::default();
        for argument in arguments {
            match argument.as_str() {
                "--quick" => args.quick = true,
                "--full" => args.full = true,
                "--allow-skips" => args.allow_skips = true,
                "-h" | "--help" => return Err(Asked::Help),
                other => return Err(Asked::Unknown(other.into())),
            }
        }
        if args.quick && args.full {
            return Err(Asked::Unknown("--quick with --full".into()));
        }
        Ok(args)
    }
}

impl Asked {
    /// Shows the help, with what was wrong.
    pub(crate) fn answer(&self) -> ExitCode {
        match self {
            Self::Help => {
                println!("{HELP}");
                ExitCode::SUCCESS
            }
            Self::Unknown(argument) => {
                eprintln!("error: unknown option: {argument}\n\n{HELP}");
                ExitCode::from(2)
            }
        }
    }
}
