//! `lithify man`: made from the same definition the arguments are parsed by.

use std::io::Write as _;
use std::path::Path;

use clap::CommandFactory as _;

use crate::args::Cli;
use crate::failure::Failure;

pub(crate) fn run(output: Option<&Path>) -> Result<(), Failure> {
    let Some(directory) = output else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
        std::io::stdout().lock().write_all(&page)?;
        return Ok(());
    };
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), directory))
        .map_err(|e| {
            Failure::Other(format!(
                "cannot write manual pages to `{}`: {e}",
                directory.display()
            ))
        })
}
