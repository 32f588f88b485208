//! One module per verb.

mod build;
mod cat;
mod commit;
mod completions;
mod composefs;
mod delta;
mod disk;
mod inspect;
mod ls;
mod man;
mod mount;
mod plan;
mod push;
mod registry;
mod store;
mod transfer;
mod verify;

use std::ffi::OsStr;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;

use lithify::{ArtifactError, Cause, Limits, Platform, Session};

use crate::args::{Cli, Command, ImageArgs, LimitArgs, ReadArgs, RegistryArgs};
use crate::failure::Failure;
use crate::progress::Renderer;

pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    let quiet = cli.quiet;
    crate::log::init(quiet, cli.verbose)?;
    match cli.command {
        Command::Build(args) => build::run(args, quiet),
        Command::Disk(command) => disk::run(command, quiet),
        Command::Inspect(args) => inspect::run(args, quiet),
        Command::Ls(args) => ls::run(args, quiet),
        Command::Cat(args) => cat::run(args, quiet),
        Command::Verify(args) => verify::run(args, quiet),
        Command::Mount(args) => mount::mount(args, quiet),
        Command::Umount(args) => mount::umount(&args),
        Command::Commit(args) => commit::run(args, quiet),
        Command::Pull(args) => transfer::pull(args, quiet),
        Command::Push(args) => push::run(args, quiet),
        Command::Copy(args) => transfer::copy(args, quiet),
        Command::Tag(args) => transfer::tag(&args, quiet),
        Command::Login(args) => registry::login(&args, quiet),
        Command::Logout(args) => registry::logout(&args, quiet),
        Command::Mounts { json } => mount::mounts(json),
        Command::Images(args) => store::images(&args, quiet),
        Command::Rm(args) => store::rm(&args, quiet),
        Command::Gc(args) => store::gc(&args, quiet),
        Command::Fsck(args) => store::fsck(&args, quiet),
        Command::Df(args) => store::df(&args, quiet),
        Command::Composefs(command) => composefs::run(&command, quiet),
        Command::Delta(command) => delta::run(command, quiet),
        Command::Completions { shell } => completions::run(shell),
        Command::Man { output } => man::run(output.as_deref()),
    }
}

/// Read options with a progress renderer, which the caller clears before it prints.
fn decoding_session(args: &ReadArgs, quiet: bool) -> Result<(Session, Arc<Renderer>), Failure> {
    let (mut options, renderer) = finding_session(&args.image, quiet)?;
    options.jobs = args.jobs.and_then(|n| NonZeroUsize::new(usize::from(n)));
    Ok((options, renderer))
}

/// The same for what decodes nothing.
fn finding_session(args: &ImageArgs, quiet: bool) -> Result<(Session, Arc<Renderer>), Failure> {
    let (mut options, renderer) = base_session(&args.limits, &args.registry, quiet)?;
    options.platform = args.platform.as_deref().map(platform).transpose()?;
    options.store = args.store.choice();
    options.pull = args.policy;
    Ok((options, renderer))
}

/// What every kind of reading needs.
fn base_session(
    limit_args: &LimitArgs,
    registry: &RegistryArgs,
    quiet: bool,
) -> Result<(Session, Arc<Renderer>), Failure> {
    let limits = limits(limit_args)?;
    let renderer = Arc::new(Renderer::new(quiet));
    let options = Session {
        registries: registry::registries(registry, &renderer)?,
        limits,
        cancel: crate::signals::token(),
        progress: Arc::clone(&renderer) as Arc<dyn lithify::Progress>,
        ..Session::default()
    };
    Ok((options, renderer))
}

fn limits(args: &LimitArgs) -> Result<Limits, Failure> {
    let mut limits = Limits::default();
    for (name, value) in &args.limits {
        limits
            .set(name, *value)
            .map_err(|e| Failure::Usage(e.to_string()))?;
    }
    Ok(limits)
}

fn platform(text: &str) -> Result<Platform, Failure> {
    text.parse::<Platform>()
        .map_err(|e| Failure::Usage(e.to_string()))
}

/// Looks for a path as it is spelled by `ls`, and if there is nothing, as it stands.
fn with_path<T>(
    given: &OsStr,
    mut find: impl FnMut(&[u8]) -> Result<T, lithify::Error>,
) -> Result<T, lithify::Error> {
    let given = given.as_encoded_bytes();
    let path = lithify::unescape(given);
    match find(&path) {
        Err(missing)
            if path != given
                && matches!(
                    missing.cause(),
                    Cause::Artifact(ArtifactError::NotInImage { .. })
                ) =>
        {
            find(given).map_err(|_| missing)
        }
        found => found,
    }
}

/// An argument as it is shown.
fn shown(argument: &OsStr) -> String {
    lithify::Escaped(argument.as_encoded_bytes()).to_string()
}

/// Runs the work and takes the progress off the screen, whatever came of it.
fn with_progress<T>(
    renderer: &Renderer,
    work: impl FnOnce() -> Result<T, lithify::Error>,
) -> Result<T, Failure> {
    let at_work = crate::signals::at_work();
    let result = work();
    renderer.clear();
    drop(at_work);
    Ok(result?)
}

/// Puts a path of this machine into an object, with its bytes beside it if they are no text; `null` for none.
fn insert_path(object: &mut serde_json::Value, key: &str, path: Option<&std::path::Path>) {
    let Some(path) = path else {
        object[key] = serde_json::Value::Null;
        return;
    };
    let (text, bytes) = lithify::path_as_data(path);
    object[key] = text.into();
    if let Some(bytes) = bytes {
        object[format!("{key}_bytes")] = bytes.into();
    }
}

/// Prints a value as indented JSON.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    lithify::write_json_pretty(&mut out, value)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
