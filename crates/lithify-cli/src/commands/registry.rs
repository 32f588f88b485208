//! `lithify login` and `logout`, and how registries are talked to.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use lithify::registry::auth::{Credential, Credentials, Login};
use lithify::registry::config::{Config, Environment};
use lithify::registry::{Client, ClientOptions, Secret};
use lithify::{Escaped, Registries};

use crate::args::{LoginArgs, LogoutArgs, RegistryArgs};
use crate::failure::Failure;
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

/// Most bytes of a password on standard input; the keys of service accounts have some thousand.
const PASSWORD_MAX: u64 = 64 << 10;

/// All of standard input without the end of its last line: a password may have lines, as the key of a service account has.
fn password_from_stdin() -> Result<Secret, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(PASSWORD_MAX + 1)
        .read_to_string(&mut text)
        .map_err(unread_password)?;
    if text.len() as u64 > PASSWORD_MAX {
        return Err(Failure::Usage(format!(
            "the password on standard input has more than {PASSWORD_MAX} bytes"
        )));
    }
    password(&text)
}

/// One line from a terminal.
fn password_from_terminal() -> Result<Secret, Failure> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(unread_password)?;
    password(&line)
}

fn unread_password(error: std::io::Error) -> Failure {
    Failure::Other(format!("cannot read the password: {error}"))
}

fn password(text: &str) -> Result<Secret, Failure> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    match text.is_empty() {
        true => Err(Failure::Usage("the password is empty".into())),
        false => Ok(Secret::new(text)),
    }
}

/// A registry as its documentation may spell it, as an address, by its host and what is behind that.
fn registry_name(given: &str) -> Result<&str, Failure> {
    let refused = |why: &str| {
        let expected = "expected HOST[:PORT] or HOST[:PORT]/NAMESPACE";
        Failure::Usage(format!("the registry has {why}, {expected}"))
    };
    // What is given is not shown: it may have a password in it.
    let name = match given.split_once("://") {
        None => given,
        Some((scheme, name))
            if ["https", "http"]
                .iter()
                .any(|known| known.eq_ignore_ascii_case(scheme)) =>
        {
            name.trim_end_matches('/')
        }
        Some(_) => return Err(refused("a scheme that is neither https nor http")),
    };
    if name.contains('@') {
        return Err(refused(
            "an `@`: a user name is given by --username, a password by --password-stdin",
        ));
    }
    match name.find(|c: char| "?#\\".contains(c) || c.is_whitespace() || c.is_control()) {
        Some(_) => Err(refused(
            "a character no registry's name has (`?`, `#`, `\\` or a blank)",
        )),
        None if name.is_empty() || name.starts_with('/') => Err(refused("no host")),
        None => Ok(name),
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
    let password = password_from_terminal();
    set(&before)?;
    crate::signals::restore_terminal(None);
    // The end of the line that was not shown: nobody listening is no reason to fail.
    writeln!(std::io::stderr()).ok();
    password
}

pub(crate) fn login(args: &LoginArgs, quiet: bool) -> Result<(), Failure> {
    let name = registry_name(&args.registry)?;
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
    let host = name.split('/').next().unwrap_or(name);
    Client::new(options)
        .and_then(|client| client.check_login(host))
        .map_err(failed)?;
    let place = login.store(name, &credential).map_err(stored)?;
    drop(at_work);
    if !quiet {
        let registry = Escaped(name);
        writeln!(crate::terminal::stdout(), "{registry}: stored in {place}")?;
    }
    Ok(())
}

pub(crate) fn logout(args: &LogoutArgs, quiet: bool) -> Result<(), Failure> {
    let environment = Environment::of_process();
    let login = Login::new(&environment, args.authfile.as_deref())
        .map_err(stored)?
        .until(&crate::signals::token());
    let name = registry_name(&args.registry)?;
    let at_work = crate::signals::at_work();
    let removed = login.remove(name).map_err(stored)?;
    drop(at_work);
    let registry = Escaped(name);
    if removed.sources.is_empty() {
        return Err(Failure::Other(format!("nothing is stored for {registry}")));
    }
    if !quiet {
        writeln!(crate::terminal::stdout(), "{registry}: removed")?;
    }
    Ok(())
}
