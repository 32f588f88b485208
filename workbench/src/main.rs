//! Fixtures, the example image, benchmarks and fuzzing: `cargo xtask fixtures|example-image|bench|fuzz`.

mod bench;
mod example_image;
mod fixtures;
mod fuzz;
mod layout; // image layouts too large for memory

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{error, sh};

/// Fixtures, the example image, benchmarks and fuzzing.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
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
        Command::ExampleImage => example_image::run(),
        Command::Fixtures(args) => fixtures::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Speed(args) => bench::speed::run(&args),
        Command::Generate(args) => bench::synthetic::run(&args),
    };
    error::exit_code(&result)
}
