//! `lithify completions`: made from the same definition the arguments are parsed by, with what completes places and names of
//! images, of which clap knows nothing.

use std::fmt::Write as _;
use std::io::Write as _;

use clap::{Arg, Command, CommandFactory as _, ValueHint};
use clap_complete::Shell;
use lithify::{TRANSPORTS, Transport};

use crate::args::Cli;
use crate::failure::Failure;

pub(crate) fn run(shell: Shell) -> Result<(), Failure> {
    let command = Cli::command();
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "lithify", &mut text);
    match shell {
        Shell::Bash => text.extend_from_slice(bash(&command).as_bytes()),
        Shell::Zsh => text = zsh(&command, &String::from_utf8_lossy(&text)).into_bytes(),
        Shell::Fish => text.extend_from_slice(fish(&command).as_bytes()),
        _ => {}
    }
    std::io::stdout().lock().write_all(&text)?;
    Ok(())
}

/// A script that is called in place of the generated one, and calls it.
fn bash(command: &Command) -> String {
    let arguments = Arguments::of(command);
    let pattern = |all: &[String]| quoted(all).join(" | ");
    let options = pattern(&arguments.options);
    let places = pattern(&[arguments.places, arguments.options_with_places].concat());
    include_str!("places.bash")
        .replace("@TRANSPORTS@", &transports(|_| true).join(" "))
        .replace(
            "@PATHS@",
            &paths(|prefix| format!("\"place {prefix}\"*")).join(" | "),
        )
        .replace("@OPTIONS@", &options)
        .replace("@PLACES@", &places)
        .replace("@NAMES@", &pattern(&arguments.names))
}

/// The beginnings of the generated lines of arguments that may be images of repositories.
const COMPOSEFS: [&str; 3] = ["'*::images -- ", "':place -- ", "'*::places -- "];

/// The generated script, which asks further functions where an image is meant.
fn zsh(command: &Command, generated: &str) -> String {
    let arguments = || command.get_subcommands().flat_map(Command::get_arguments);
    let names = |argument: &Arg| argument.get_value_names().unwrap_or_default().to_vec();
    // How a line with an image begins, or what stands before what completes it.
    let starts: Vec<_> = arguments()
        .filter(|argument| argument.is_positional() && is_image(argument))
        .flat_map(|argument| ["':", "'::"].map(|start| format!("{start}{} -- ", argument.get_id())))
        .collect();
    let ends: Vec<_> = arguments()
        .filter(|argument| !argument.is_positional() && is_image(argument))
        .flat_map(names)
        .map(|name| format!(":{name}:_files' \\"))
        .collect();
    // To zsh a colon ends the name of a value, and what comes next is run.
    let colons: Vec<_> = arguments()
        .flat_map(names)
        .filter(|name| name.contains(':'))
        .map(|name| {
            (
                format!("]:{name}:"),
                format!("]:{}:", name.replace(':', "\\:")),
            )
        })
        .collect();
    let mut script = String::new();
    for line in generated.lines() {
        // What is called at the end has to be there before.
        if line.starts_with("if [ \"$funcstack[1]\"") {
            let places = include_str!("places.zsh")
                .replace("@TRANSPORTS@", &transports(|_| true).join(" "))
                .replace("@PATHS@", &paths(str::to_owned).join("|"));
            script.push_str(&places);
        }
        // Images of repositories, behind a verb and another one.
        if COMPOSEFS.iter().any(|start| line.starts_with(start)) {
            script.push_str(&line.replace(":_files' \\", ":_lithify_composefs' \\"));
            script.push('\n');
            continue;
        }
        let is_ours = starts.iter().any(|start| line.starts_with(start))
            || ends.iter().any(|end| line.ends_with(end));
        let line = match line {
            line if !is_ours => colons
                .iter()
                .fold(line.to_owned(), |line, (name, escaped)| {
                    line.replace(name, escaped)
                }),
            line if line.ends_with(":_files' \\") => {
                line.replace(":_files' \\", ":_lithify_places' \\")
            }
            line => line.replace(":' \\", ":_lithify_names' \\"),
        };
        script.push_str(&line);
        script.push('\n');
    }
    script
}

/// More lines for the generated script.
fn fish(command: &Command) -> String {
    let arguments = Arguments::of(command);
    let list = |all: &[String]| quoted(all).join(" ");
    let mut script = include_str!("places.fish")
        .replace("@TRANSPORTS@", &transports(|_| true).join(" "))
        .replace("@PATHS@", &paths(|prefix| format!("'{prefix}*'")).join(" "))
        .replace("@OPTIONS@", &list(&arguments.options))
        .replace("@PLACES@", &list(&arguments.places))
        .replace("@NAMES@", &list(&arguments.names));
    for option in &arguments.options_with_places {
        if let Some((verb, long)) = option.split_once(" --") {
            // Writing to a string does not fail.
            writeln!(
                script,
                "complete -c lithify -n \"__fish_lithify_using_subcommand {verb}\" -l {long} -r -f -a '(__lithify_places)'"
            )
            .ok();
        }
    }
    script
}

/// Returns the prefixes of the transports for which `is_wanted` says so.
fn transports(is_wanted: impl Fn(&Transport) -> bool) -> Vec<&'static str> {
    let wanted = TRANSPORTS
        .iter()
        .filter(|t| !t.prefix.is_empty() && is_wanted(t));
    wanted.map(|t| t.prefix).collect()
}

/// Returns the pattern of each transport behind which a path stands.
fn paths(pattern: impl Fn(&str) -> String) -> Vec<String> {
    let with_path = transports(|t| matches!(t.names, "DIR" | "FILE" | "REPO"));
    with_path.into_iter().map(pattern).collect()
}

fn quoted(all: &[String]) -> Vec<String> {
    all.iter().map(|one| format!("\"{one}\"")).collect()
}

/// The arguments of every verb, spelled as a script meets them: `VERB --option`, and `VERB N` for the positional ones, counted
/// from 0.
#[derive(Default)]
struct Arguments {
    /// Options that take a value.
    options: Vec<String>,
    /// Options whose value is an image, or a place for one.
    options_with_places: Vec<String>,
    /// Arguments that are an image, or a place for one.
    places: Vec<String>,
    /// Arguments that are the name of an image.
    names: Vec<String>,
}

impl Arguments {
    fn of(command: &Command) -> Self {
        let mut all = Self::default();
        for verb in command.get_subcommands() {
            let name = verb.get_name();
            for option in verb.get_opts().chain(command.get_opts()) {
                let short = option.get_short().map(|short| format!("-{short}"));
                let long = option.get_long().map(|long| format!("--{long}"));
                for spelled in short.into_iter().chain(long) {
                    let spelled = format!("{name} {spelled}");
                    if is_image(option) {
                        all.options_with_places.push(spelled.clone());
                    }
                    all.options.push(spelled);
                }
            }
            for (number, positional) in verb.get_positionals().enumerate() {
                let spelled = format!("{name} {number}");
                match positional.get_value_hint() {
                    _ if !is_image(positional) => {}
                    ValueHint::AnyPath => all.places.push(spelled),
                    _ => all.names.push(spelled),
                }
            }
        }
        all
    }
}

/// Whether an argument is an image, or a place for one.
fn is_image(argument: &Arg) -> bool {
    let is_destination = || {
        let mut names = argument.get_value_names().unwrap_or_default().iter();
        names.any(|name| name == "DEST")
    };
    ["image", "source", "base"].contains(&argument.get_id().as_str()) || is_destination()
}
