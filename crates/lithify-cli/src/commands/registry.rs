//! `lithify login` and `logout`, and how registries are talked to.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use lithify::registry::auth::{Credential, Credentials, Login};
use lithify::registry::config::{Config, Environment};
use lithify::registry::{Client, ClientOptions, Secret};
use lithify::{Escaped, Registries};

use super::Failure;
use crate::args::{LoginArgs, LogoutArgs, RegistryArgs};
use crate::progress::Renderer;

fn failed(error: impl Into<lithify::registry::Error>) -> Failure {
    lithify::Error::from(error.into()).into()
}

fn stored(error: lithify::registry::auth::CredentialsError) -> Failure {
    failed(lithify::registry::auth::Error::from(error))
}

fn config(file: Option<&Path>, insecure: bool) -> Result<Config, lithify::registry::Error> {
    let config = Config::load(Environment::of_process(), file)?;
    Ok(match insecure {
        true => config.with_insecure(true),
        false => config,
    })
}

/// How registries are talked to. Configurations are read when the first one is needed.
pub(crate) fn registries(
    args: &RegistryArgs,
    renderer: &Arc<Renderer>,
) -> Result<Registries, Failure> {
    let mut credentials = Credentials::new(Environment::of_process());
    if let Some(file) = &args.authfile {
        credentials = credentials.with_file(file);
    }
    if let Some(creds) = &args.creds {
        let (username, password) = match creds.split_once(':') {
            Some((user, password)) => (user.to_owned(), Secret::new(password)),
            None => (creds.clone(), password_from_stdin()?),
        };
        let credential = Credential::Basic { username, password };
        credentials = credentials.with_credential_for_all(credential);
    }
    let (file, insecure, retries) = (args.registries.clone(), args.insecure, args.retries);
    let renderer = Arc::clone(renderer);
    Ok(Registries::configured_by(move || {
        let renderer = Arc::clone(&renderer);
        let mut options = ClientOptions::new(config(file.as_deref(), insecure)?);
        options.credentials = credentials.clone();
        options.on_pause = Some(Arc::new(move |pause| renderer.pause(pause)));
        if let Some(retries) = retries {
            options.retry.retries = retries;
        }
        Ok(options)
    }))
}

/// One line of standard input.
fn password_from_stdin() -> Result<Secret, Failure> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|e| Failure::Other(format!("cannot read the password: {e}")))?;
    let password = line.trim_end_matches(['\r', '\n']);
    match password.is_empty() {
        true => Err(Failure::Usage("the password is empty".into())),
        false => Ok(Secret::new(password)),
    }
}

/// Asks for a line on the terminal.
fn ask(what: &str) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "give the user with --username, and the password on standard input".into(),
        ));
    }
    write!(crate::terminal::stderr(), "{what}: ").ok();
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|e| Failure::Other(format!("cannot read standard input: {e}")))?;
    Ok(line.trim().to_owned())
}

/// Reads a password from a terminal without showing it.
fn ask_password() -> Result<Secret, Failure> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).map_err(|e| Failure::Other(e.to_string()))?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    let set = |modes| {
        tcsetattr(&stdin, OptionalActions::Flush, modes)
            .map_err(|e| Failure::Other(format!("cannot hide the password: {e}")))
    };
    write!(std::io::stderr(), "Password: ").ok();
    // Whatever happens from here on, the terminal is left as it was.
    crate::signals::restore_terminal(Some(before.clone()));
    set(&hidden)?;
    let password = password_from_stdin();
    set(&before)?;
    crate::signals::restore_terminal(None);
    writeln!(std::io::stderr()).ok();
    password
}

pub(crate) fn login(args: &LoginArgs, quiet: bool) -> Result<(), Failure> {
    let environment = Environment::of_process();
    // Who cannot store it need not be asked for it.
    let login = Login::new(&environment, args.authfile.as_deref())
        .map_err(stored)?
        .until(&crate::signals::token());
    let username = match &args.username {
        Some(username) => username.clone(),
        None => ask("Username")?,
    };
    let password = match args.password_stdin || !std::io::stdin().is_terminal() {
        true => password_from_stdin()?,
        false => ask_password()?,
    };
    let credential = Credential::Basic { username, password };
    let config = config(args.registries.as_deref(), args.insecure).map_err(failed)?;
    let mut options = ClientOptions::new(config);
    options.credentials =
        Credentials::new(Environment::empty()).with_credential_for_all(credential.clone());
    options.cancel = crate::signals::token();
    let renderer = Renderer::new(quiet);
    options.on_pause = Some(Arc::new(move |pause| renderer.pause(pause)));
    let at_work = crate::signals::at_work();
    let host = args.registry.split('/').next().unwrap_or(&args.registry);
    Client::new(options)
        .and_then(|client| client.check_login(host))
        .map_err(failed)?;
    let place = login.store(&args.registry, &credential).map_err(stored)?;
    drop(at_work);
    if !quiet {
        let registry = Escaped(&args.registry);
        writeln!(crate::terminal::stdout(), "{registry}: stored in {place}")?;
    }
    Ok(())
}

pub(crate) fn logout(args: &LogoutArgs, quiet: bool) -> Result<(), Failure> {
    let environment = Environment::of_process();
    let login = Login::new(&environment, args.authfile.as_deref())
        .map_err(stored)?
        .until(&crate::signals::token());
    let at_work = crate::signals::at_work();
    let removed = login.remove(&args.registry).map_err(stored)?;
    drop(at_work);
    let registry = Escaped(&args.registry);
    if removed.sources.is_empty() {
        return Err(Failure::Other(format!("nothing is stored for {registry}")));
    }
    if !quiet {
        writeln!(crate::terminal::stdout(), "{registry}: removed")?;
    }
    Ok(())
}
