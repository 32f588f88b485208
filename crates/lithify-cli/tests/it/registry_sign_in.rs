//! Signing in to registries: passwords, tokens, certificates, and whom to believe.

use std::fs;
use std::process::{Command, Output, Stdio};

use crate::common::registries::{PASSWORD, Place, USER, paths_of, skopeo, two_layers};
use crate::common::{paths, stderr};
use lithify_testkit::registry::{Authority, Demand, Faulty, Real, Recipe, TokenServer};
use lithify_testkit::{require, run};

fn with_input(command: &mut Command, input: &str) -> Output {
    use std::io::Write as _;

    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn signing_in_with_basic_authentication() {
    if !require::tool("docker-registry") || !require::tool("htpasswd") || !require::tool("skopeo") {
        return;
    }
    let place = Place::new();
    let real = Real::setup().user(USER, PASSWORD).start();
    let remote = format!("docker://{}/private:1", real.address());
    let image = place.image();

    let refused = place.fails(&["push", &image, &remote], 1);
    assert!(refused.contains("lithify login"), "{refused}");
    let wrong = place.fails(
        &[
            "push",
            "--creds",
            &format!("{USER}:wrong-secret"),
            &image,
            &remote,
        ],
        1,
    );
    assert!(
        wrong.contains("refused") && !wrong.contains("wrong-secret"),
        "{wrong}"
    );
    let output = with_input(
        place
            .lithify()
            .args(["login", real.address(), "-u", USER, "--password-stdin"]),
        "wrong-secret\n",
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(!stderr(&output).contains("wrong-secret"));

    let output = with_input(
        place
            .lithify()
            .args(["login", real.address(), "-u", USER, "--password-stdin"]),
        &format!("{PASSWORD}\n"),
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let said = run::output(place.lithify().args(["push", "-vv", &image, &remote]));
    let said = stderr(&said);
    assert!(
        said.contains("credentials from") && said.contains("auth.json"),
        "{said}"
    );
    assert!(said.contains(real.address()), "{said}");
    assert!(
        !said.contains(PASSWORD) && !said.to_lowercase().contains("authorization"),
        "{said}"
    );
    assert_eq!(paths_of(&place, &remote), paths(&image));

    // skopeo is let in with what we stored.
    let stored = [
        place.path("run/containers/auth.json"),
        place.path("home/.config/containers/auth.json"),
    ];
    let stored = stored.iter().find(|p| p.exists());
    let stored = stored.expect("it is stored where other tools look for it");
    run::ok(
        skopeo()
            .args(["inspect", "--tls-verify=false", "--authfile"])
            .arg(stored)
            .arg(&remote),
    );
    place.ok(&["logout", real.address()]);
    place.fails(&["ls", &remote], 1);
    assert_eq!(paths_of(&place, &image), paths(&image));
}

/// What cloud registries say of themselves: a registry by its address, and a key with lines as the password.
#[test]
fn signing_in_with_a_key_of_several_lines_at_an_address() {
    let place = Place::new();
    let key = "{\n  \"type\": \"service_account\",\r\n  \"key\": \"a:b \\n\"\n\n}";
    let registry = Faulty::start();
    let image = place.path("key");
    two_layers().write(&image);
    registry.add_layout(&image, "app", "1");
    registry.demand(Demand::basic("_json_key", key));
    let remote = format!("docker://{}/app:1", registry.address());
    let login = |address: &str, password: &str| {
        let mut command = place.lithify();
        command.args(["login", "-u", "_json_key", "--password-stdin", address]);
        with_input(&mut command, password)
    };
    let plain = registry.address();
    let address = format!("HTTPS://{plain}/");
    for (registry, end) in [(&address, "\n"), (&address, ""), (&plain, "\r\n")] {
        let output = login(registry, &format!("{key}{end}"));
        let said = stderr(&output);
        assert!(output.status.success(), "{said}");
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(shown.starts_with(&format!("{plain}: ")), "{shown}");
        assert!(!said.contains("service_account") && !shown.contains("service_account"));
        place.ok(&["inspect", &remote]);
        place.ok(&["logout", registry]);
        place.fails(&["inspect", &remote], 1);
    }
    // Only the end of the last line is none of it.
    let output = login(&plain, &format!("{key}\n\n"));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    for none in ["", "\n", "\r\n"] {
        let output = login(&plain, none);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    }
    let output = login(&plain, &"x".repeat((64 << 10) + 1));
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn signing_in_with_tokens() {
    if !require::tool("docker-registry") || !require::tool("openssl") {
        return;
    }
    let place = Place::new();
    let tokens = TokenServer::start();
    tokens.add_user(USER, PASSWORD);
    tokens.allow(USER, "team/*", &["pull", "push"]);
    tokens.allow_anonymous("public/*", &["pull"]);
    let real = Real::setup().token(&tokens).start();
    let image = place.image();
    let creds = format!("{USER}:{PASSWORD}");
    let remote = format!("docker://{}/team/app:1", real.address());

    place.ok(&["push", "--creds", &creds, &image, &remote]);
    // They are for one registry, not for any that takes part.
    let two = place.fails(
        &[
            "copy",
            "--creds",
            &creds,
            &remote,
            "docker://other.example/x:1",
        ],
        2,
    );
    assert!(two.contains("lithify login"), "{two}");
    // One token did for all blobs and the manifests.
    assert!(tokens.requests().len() <= 3, "{:?}", tokens.asked());
    let listed = place.ok(&["-q", "ls", "-aR", "--creds", &creds, &remote]);
    assert_eq!(listed.lines().count(), paths(&image).len());
    place.fails(&["ls", &remote], 1);
    place.fails(
        &[
            "push",
            "--creds",
            &creds,
            &image,
            &format!("docker://{}/others/app:1", real.address()),
        ],
        1,
    );
}

#[test]
fn private_authorities_and_client_certificates() {
    if !require::tool("docker-registry") || !require::tool("openssl") {
        return;
    }
    let place = Place::new();
    let authority = Authority::new();
    let real = Real::setup().tls(&authority).clients_of(&authority).start();
    let remote = format!("docker://{}/secure:1", real.address());
    let image = place.image();

    let unknown = place.fails(&["push", "--retries", "0", &image, &remote], 1);
    assert!(unknown.contains("certificate"), "{unknown}");
    let client = authority.client();
    let directory = authority.cert_dir(Some(&client));
    let find = |suffix: &str| {
        let mut files = fs::read_dir(directory.path())
            .unwrap()
            .map(|e| e.unwrap().path());
        files
            .find(|p| p.to_string_lossy().ends_with(suffix))
            .unwrap()
    };
    let configured = place.path("registries.toml");
    fs::write(
        &configured,
        format!(
            "[[registry]]\nprefix = {:?}\nca = {:?}\nclient-cert = {:?}\nclient-key = {:?}\n",
            real.address(),
            find(".crt"),
            find(".cert"),
            find(".key"),
        ),
    )
    .unwrap();
    let configured = configured.display().to_string();
    place.ok(&["push", "--registries", &configured, &image, &remote]);
    let listed = place.ok(&["-q", "ls", "-aR", "--registries", &configured, &remote]);
    assert_eq!(listed.lines().count(), paths(&image).len());
}

#[test]
fn a_certificate_of_its_own_is_trusted_by_the_environment() {
    if !require::tool("openssl") {
        return;
    }
    let place = Place::new();
    let (authority, other) = (
        Authority::by(&Recipe::plain("IP:127.0.0.1")),
        Authority::new(),
    );
    let registry = Faulty::start_with(&authority.itself());
    let remote = format!("docker://{}/own:1", registry.address());
    let push = |trusted: &Authority| {
        let mut command = place.lithify();
        command.env("SSL_CERT_FILE", trusted.certificate());
        run::output(command.args(["push", "--retries", "0", &place.image(), &remote]))
    };
    let unknown = push(&other);
    assert_eq!(unknown.status.code(), Some(1));
    let said = stderr(&unknown);
    assert!(said.contains("nobody who is trusted here: put"), "{said}");
    let trusted = push(&authority);
    assert!(trusted.status.success(), "{}", stderr(&trusted));
    // A stray file beside what is needed is a warning.
    let certificates = place
        .path("home/.config/containers/certs.d")
        .join(registry.address());
    fs::create_dir_all(&certificates).unwrap();
    fs::write(certificates.join("empty.crt"), "").unwrap();
    fs::copy(authority.certificate(), certificates.join("own.crt")).unwrap();
    let output = push(&other);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("empty.crt` holds no certificate in PEM form; it is passed over"),
        "{said}"
    );
}

#[test]
fn a_variable_that_names_no_certificates_is_told() {
    if !require::tool("openssl") {
        return;
    }
    let place = Place::new();
    let authority = Authority::new();
    let registry = Faulty::start_with(&authority.server());
    let remote = format!("docker://{}/own:1", registry.address());
    let nowhere = place.path("missing.pem");
    let push = |variables: &[(&str, &std::path::Path)]| {
        let mut command = place.lithify();
        command
            .env_remove("SSL_CERT_FILE")
            .env_remove("SSL_CERT_DIR");
        for (name, value) in variables {
            command.env(name, value);
        }
        run::output(command.args(["push", "--retries", "0", &place.image(), &remote]))
    };
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        let failed = push(&[(name, &nowhere)]);
        let said = stderr(&failed);
        assert_eq!(failed.status.code(), Some(1), "{said}");
        let words = format!("${name} is `{}`, which cannot be read: ", nowhere.display());
        assert!(said.contains(&words) && said.contains("unset it"), "{said}");
    }
    // Where others are believed, it is a warning.
    let certificates = place
        .path("home/.config/containers/certs.d")
        .join(registry.address());
    fs::create_dir_all(&certificates).unwrap();
    fs::copy(authority.certificate(), certificates.join("own.crt")).unwrap();
    let pushed = push(&[("SSL_CERT_FILE", &nowhere)]);
    let said = stderr(&pushed);
    assert!(pushed.status.success(), "{said}");
    assert!(said.contains("$SSL_CERT_FILE is `"), "{said}");
}
