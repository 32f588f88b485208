//! The workspace's own commands: `cargo xtask --help`.
//!
//! This program runs the checks and has no dependencies, so that it says something at once. The other commands are
//! those of the package `workbench`, which it starts.

mod test;

use std::process::ExitCode;

use xtask::{error, sh};

const HELP: &str = "\
The workspace's own commands.

Usage: cargo xtask COMMAND

Commands:
  test           Run all checks: format, lints, tests, documentation, fuzz targets
  fixtures       Make real images for tests and benchmarks under target/fixtures
  example-image  Write examples/hello anew
  bench          Measure builds, and other programs at the same jobs
  fuzz           Run fuzz targets, from seeds made here

`cargo xtask COMMAND --help` has the options of each.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = arguments.split_first() else {
        eprintln!("{HELP}");
        return ExitCode::from(2);
    };
    match command.as_str() {
        "test" => match test::Args::parse(rest) {
            Ok(args) => error::exit_code(&test::run(&args)),
            Err(asked) => asked.answer(),
        },
        "help" | "-h" | "--help" => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        _ => {
            let mut workbench = sh::cargo(["run", "--package", "workbench", "--"]);
            error::exit_code(&sh::run(workbench.args(&arguments)))
        }
    }
}
