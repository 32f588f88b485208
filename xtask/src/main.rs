//! The workspace's own commands: `cargo xtask --help`.

mod bench;
mod error;
mod example_image;
mod fixtures;
mod fuzz;
mod layout; // image layouts too large for memory
mod sh; // other programs
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The workspace's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all checks: format, lints, tests, documentation, fuzz targets.
    Test(test::Args),
    /// Write examples/hello anew.
    ExampleImage,
    /// Make real images for tests and benchmarks under target/fixtures (needs root, debootstrap and a Debian mirror).
    Fixtures(fixtures::Args),
    /// Measure builds, and other programs at the same jobs.
    Bench(bench::Args),
    /// Run fuzz targets, from seeds made here.
    Fuzz(fuzz::Args),
    /// One step of a build, for `bench` to measure.
    #[command(hide = true)]
    Speed(bench::speed::Args),
    /// A large archive on standard output, for `bench` to read.
    #[command(hide = true)]
    Generate(bench::synthetic::Args),
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Test(args) => test::run(&args),
        Command::ExampleImage => example_image::run(),
        Command::Fixtures(args) => fixtures::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Speed(args) => bench::speed::run(&args),
        Command::Generate(args) => bench::synthetic::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error::chain(&error));
            ExitCode::FAILURE
        }
    }
}
