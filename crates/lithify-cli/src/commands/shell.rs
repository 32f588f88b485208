//! `lithify completions` and `lithify man`: made from the same definition the arguments are parsed by.

use std::io::Write as _;
use std::path::Path;

use clap::{Arg, Command, CommandFactory as _, ValueHint};

use super::Failure;
use crate::args::Cli;

pub(crate) fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "lithify", &mut text);
    if shell == clap_complete::Shell::Bash {
        text.extend_from_slice(places(&Cli::command()).as_bytes());
    }
    std::io::stdout().lock().write_all(&text)?;
    Ok(())
}

pub(crate) fn man(output: Option<&Path>) -> Result<(), Failure> {
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

/// What completes places and names of images in bash, for these arguments.
fn places(command: &Command) -> String {
    let (mut options, mut places, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for verb in command.get_subcommands() {
        let name = verb.get_name();
        for option in verb.get_opts().chain(command.get_opts()) {
            let short = option.get_short().map(|short| format!("-{short}"));
            let long = option.get_long().map(|long| format!("--{long}"));
            for spelled in short.into_iter().chain(long) {
                let pattern = format!("\"{name} {spelled}\"");
                if is_image(option) {
                    places.push(pattern.clone());
                }
                options.push(pattern);
            }
        }
        for (number, positional) in verb.get_positionals().enumerate() {
            let pattern = format!("\"{name} {number}\"");
            match positional.get_value_hint() {
                _ if !is_image(positional) => {}
                ValueHint::AnyPath => places.push(pattern),
                _ => names.push(pattern),
            }
        }
    }
    include_str!("places.bash")
        .replace("@OPTIONS@", &options.join(" | "))
        .replace("@PLACES@", &places.join(" | "))
        .replace("@NAMES@", &names.join(" | "))
}

/// Whether an argument is an image, or a place for one.
fn is_image(argument: &Arg) -> bool {
    ["image", "source", "destination", "base"].contains(&argument.get_id().as_str())
}
