//! Finding credentials in the files and helpers other tools use.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use lithify_registry::Secret;
use lithify_registry::auth::{Credential, Credentials, CredentialsError, Outcome, Place, Source};
use lithify_registry::config::Environment;
use lithify_testkit::program;

struct Home {
    directory: tempfile::TempDir,
    environment: Environment,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let mut environment = Environment::empty();
        environment.root = root.to_owned();
        environment.home = Some(root.join("home"));
        environment.uid = Some(1000);
        fs::create_dir(root.join("bin")).unwrap();
        let path = std::env::join_paths([root.join("bin"), "/usr/bin".into(), "/bin".into()]);
        environment.path = Some(path.unwrap());
        Self {
            directory,
            environment,
        }
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn helper(&self, name: &str, script: &str) {
        let bin = self.directory.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        program::script(
            &bin.join(format!("docker-credential-{name}")),
            &format!("#!/bin/sh\n{script}\n"),
        );
    }

    fn credentials(&self) -> Credentials {
        Credentials::new(self.environment.clone())
    }
}

fn auth(user: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:pw"));
    format!("{{\"auth\":\"{pair}\"}}")
}

fn user(credentials: &Credentials, registry: &str, repository: &str) -> Option<String> {
    let lookup = credentials.find(registry, repository).unwrap();
    lookup.found.map(|found| match found.credential {
        Credential::Basic { username, .. } => username,
        Credential::IdentityToken(token) => format!("identity {}", token.expose()),
        Credential::RegistryToken(token) => format!("registry {}", token.expose()),
    })
}

#[test]
fn files_are_searched_in_order() {
    let mut home = Home::new();
    let entry = |user: &str| format!("{{\"auths\":{{\"r.io\":{}}}}}", auth(user));
    let found = |home: &Home| user(&home.credentials(), "r.io", "a");
    assert_eq!(found(&home), None);
    home.write(
        "home/.dockercfg",
        &format!("{{\"https://r.io/v1/\":{}}}", auth("legacy")),
    );
    assert_eq!(found(&home).as_deref(), Some("legacy"));
    home.write("home/.docker/config.json", &entry("docker"));
    assert_eq!(found(&home).as_deref(), Some("docker"));
    home.write("home/.config/containers/auth.json", &entry("config"));
    assert_eq!(found(&home).as_deref(), Some("config"));
    home.write("run/containers/1000/auth.json", &entry("run"));
    assert_eq!(found(&home).as_deref(), Some("run"));
    home.environment.xdg_runtime_dir = Some(home.directory.path().join("xdg"));
    assert_eq!(found(&home).as_deref(), Some("config"));
    home.write("xdg/containers/auth.json", &entry("runtime"));
    assert_eq!(found(&home).as_deref(), Some("runtime"));
    home.environment.registry_auth_file = Some(home.directory.path().join("none"));
    assert_eq!(found(&home), None);
    home.environment.registry_auth_file = Some(home.write("env.json", &entry("env")));
    assert_eq!(found(&home).as_deref(), Some("env"));
    let own = home.write("own.json", &entry("own"));
    assert_eq!(
        user(&home.credentials().with_file(own), "r.io", "a").as_deref(),
        Some("own")
    );
    let missing = home
        .credentials()
        .with_file("/nonexistent/x")
        .find("r.io", "a");
    assert!(matches!(missing, Err(CredentialsError::Missing { .. })));
}

#[test]
fn the_longest_prefix_wins() {
    let home = Home::new();
    let text = format!(
        "{{\"auths\":{{\"r.io\":{},\"r.io/team\":{},\"r.io/team/app\":{},\"https://index.docker.io/v1/\":{},\"quay.io\":{{}}}}}}",
        auth("host"),
        auth("team"),
        auth("app"),
        auth("hub"),
    );
    let path = home.write("home/.config/containers/auth.json", &text);
    let credentials = home.credentials();
    for (registry, repository, expected) in [
        ("r.io", "other", Some("host")),
        ("r.io", "", Some("host")),
        ("r.io", "teams", Some("host")),
        ("r.io", "team/x", Some("team")),
        ("r.io", "team/app", Some("app")),
        ("r.io", "team/app/sub", Some("app")),
        ("R.IO", "team/app", Some("app")),
        ("r.io:5000", "team/app", None),
        ("docker.io", "library/alpine", Some("hub")),
        ("registry-1.docker.io", "library/alpine", Some("hub")),
        ("quay.io", "a", None),
    ] {
        assert_eq!(
            user(&credentials, registry, repository).as_deref(),
            expected,
            "{registry}/{repository}"
        );
    }
    let found = credentials.find("r.io", "team/x").unwrap().found.unwrap();
    assert_eq!(
        found.source,
        Source::File {
            path: path.clone(),
            key: "r.io/team".into()
        }
    );
    assert!(!found.exposed);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(
        credentials
            .find("r.io", "team/x")
            .unwrap()
            .found
            .unwrap()
            .exposed
    );
}

#[test]
fn tokens_and_plain_members_are_read() {
    let home = Home::new();
    home.write(
        "home/.docker/config.json",
        r#"{"auths":{
            "a.io":{"auth":"MDAwOg==","identitytoken":"id"},
            "b.io":{"registrytoken":"raw"},
            "c.io":{"username":"me","password":"pw"},
            "d.io":{"auth":"!"},
            "e.io":{"auth":["hunter2"]}},"other":[1]}"#,
    );
    let credentials = home.credentials();
    assert_eq!(
        user(&credentials, "a.io", "").as_deref(),
        Some("identity id")
    );
    assert_eq!(
        user(&credentials, "b.io", "").as_deref(),
        Some("registry raw")
    );
    assert_eq!(user(&credentials, "c.io", "").as_deref(), Some("me"));
    let encoding = credentials.find("d.io", "").unwrap_err();
    assert!(
        encoding.to_string().contains("auths[\"d.io\"].auth"),
        "{encoding}"
    );
    let kind = credentials.find("e.io", "").unwrap_err();
    assert!(
        kind.to_string()
            .contains("auths[\"e.io\"].auth: expected a string"),
        "{kind}"
    );
    assert!(!format!("{kind:?}").contains("hunter2"));
}

#[test]
fn malformed_and_long_files_are_errors() {
    let home = Home::new();
    let find = || home.credentials().find("r.io", "a");
    home.write("home/.docker/config.json", "{\n  \"auths\": x}");
    let error = find().unwrap_err().to_string();
    assert!(
        error.contains("config.json") && error.contains("line 2"),
        "{error}"
    );
    home.write("home/.docker/config.json", &" ".repeat((1 << 20) + 1));
    assert!(matches!(find(), Err(CredentialsError::TooLong { .. })));
    home.write("home/.docker/config.json", "");
    assert!(find().unwrap().found.is_none());
    // Neither waited for nor taken for an empty file.
    let path = home.directory.path().join("home/.docker/config.json");
    std::fs::remove_file(&path).unwrap();
    let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
    rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, mode, 0).unwrap();
    let error = find().unwrap_err();
    assert!(matches!(error, CredentialsError::NotFile { .. }), "{error}");
    assert!(error.to_string().contains("not a regular file"), "{error}");
}

const ANSWER: &str = r#"read -r server; [ "$1" = get ] || exit 1
case "$server" in
r.io) echo '{"ServerURL":"r.io","Username":"from-helper","Secret":"pw"}';;
t.io) echo '{"Username":"<token>","Secret":"id"}';;
docker.io) echo '{"Username":"hub","Secret":"pw"}';;
*) echo "credentials not found in native keychain"; exit 1;;
esac"#;

#[test]
fn helpers_are_asked() {
    let home = Home::new();
    home.helper("fake", ANSWER);
    home.write(
        "home/.docker/config.json",
        &format!(
            "{{\"credsStore\":\"fake\",\"credHelpers\":{{\"gone.io\":\"none\",\"bad.io\":\"../x\"}},\"auths\":{{\"r.io\":{{}},\"inline.io\":{},\"r.io/team\":{}}}}}",
            auth("inline"), auth("team")
        ),
    );
    let credentials = home.credentials();
    assert_eq!(
        user(&credentials, "r.io", "a").as_deref(),
        Some("from-helper")
    );
    assert_eq!(
        user(&credentials, "r.io", "team/a").as_deref(),
        Some("team")
    );
    assert_eq!(
        user(&credentials, "t.io", "a").as_deref(),
        Some("identity id")
    );
    assert_eq!(
        user(&credentials, "docker.io", "library/a").as_deref(),
        Some("hub")
    );
    assert_eq!(
        user(&credentials, "inline.io", "a").as_deref(),
        Some("inline")
    );
    assert_eq!(user(&credentials, "unknown.io", "a"), None);
    assert_eq!(user(&credentials, "gone.io", ""), None);
    assert!(matches!(
        credentials.find("bad.io", ""),
        Err(CredentialsError::HelperName { .. })
    ));
}

#[test]
fn a_store_that_is_not_installed_is_passed_over() {
    let home = Home::new();
    home.write("home/.docker/config.json", "{\"credsStore\":\"desktop\"}");
    let lookup = home.credentials().find("r.io", "a").unwrap();
    assert!(lookup.found.is_none());
    let helper = lookup
        .looked
        .iter()
        .find(|place| place.helper.is_some())
        .unwrap();
    assert_eq!(helper.outcome, Outcome::Missing);
}

/// The places that were looked at, all without credentials, and why a helper gave none.
fn with_helper(key: &str, script: &str) -> (Vec<Place>, String) {
    let home = Home::new();
    home.helper("fake", script);
    let helpers = match key {
        "credsStore" => "\"credsStore\":\"fake\"".to_owned(),
        key => format!("\"credHelpers\":{{\"{key}\":\"fake\"}}"),
    };
    home.write("home/.docker/config.json", &format!("{{{helpers}}}"));
    let credentials = home
        .credentials()
        .with_helper_timeout(Duration::from_secs(20));
    let lookup = credentials.find("r.io", "a").unwrap();
    assert!(lookup.found.is_none());
    let mut reasons = lookup
        .looked
        .iter()
        .filter_map(|place| match &place.outcome {
            Outcome::Failed { reason } => Some(reason.clone()),
            _ => None,
        });
    let reason = reasons.next().expect("a helper failed");
    assert_eq!(reasons.next(), None);
    (lookup.looked, reason)
}

#[test]
fn helpers_that_fail_are_passed_over_with_their_words() {
    for key in ["credsStore", "r.io"] {
        for (script, words) in [
            (
                "echo 'the keychain is locked'; exit 1",
                "the keychain is locked",
            ),
            // What D-Bus says goes to the other stream, and has quotes in it.
            (
                "echo 'error: \"org.freedesktop.secrets\" was not provided' >&2\necho 'is it running?' >&2; exit 1",
                "error: \"org.freedesktop.secrets\" was not provided; is it running?",
            ),
            ("exit 3", "exit status: 3"),
            ("exec cat /dev/zero", "more than 65536 bytes"),
            ("echo hunter2", "output"),
            ("echo '{\"Secret\":\"hunter2\"'; exit 1", "exit status: 1"),
        ] {
            let (places, reason) = with_helper(key, script);
            assert!(reason.contains(words), "{script}: {reason}");
            assert!(!format!("{places:?}").contains("hunter2"), "{places:?}");
            assert!(reason.contains("docker-credential-fake"), "{reason}");
        }
    }
    // What else there is may do.
    let home = Home::new();
    home.helper("fake", "exit 1");
    home.write(
        "home/.docker/config.json",
        &format!(
            "{{\"credsStore\":\"fake\",\"auths\":{{\"r.io\":{}}}}}",
            auth("inline")
        ),
    );
    assert_eq!(
        user(&home.credentials(), "r.io", "a").as_deref(),
        Some("inline")
    );
}

#[test]
fn of_what_is_said_twice_the_last_counts() {
    let home = Home::new();
    home.write(
        "home/.docker/config.json",
        &format!(
            "{{\"auths\":{{\"r.io\":{one},\"a.io\":{one}}},\"auths\":{{\"r.io\":{{}},\"r.io\":{two}}}}}",
            one = auth("one"),
            two = auth("two")
        ),
    );
    assert_eq!(
        user(&home.credentials(), "r.io", "a").as_deref(),
        Some("two")
    );
    assert_eq!(
        user(&home.credentials(), "a.io", "a").as_deref(),
        Some("one")
    );
}

#[test]
fn a_helper_s_own_end_counts_whoever_holds_its_output_open() {
    const ENDED: &str = "echo '{\"Username\":\"me\",\"Secret\":\"pw\"}'";
    // What stays behind says which number it has, and ends with the test.
    let linger = |note: &Path| format!("sleep 1000 & echo $! > {}", note.display());
    let home = Home::new();
    let notes = ["one", "two", "three"].map(|name| home.directory.path().join(name));
    home.helper("before", &format!("{}; {ENDED}", linger(&notes[0])));
    home.helper("after", &format!("{ENDED}; {}", linger(&notes[1])));
    home.helper(
        "failing",
        &format!("{}; echo no >&2; exit 1", linger(&notes[2])),
    );
    home.write(
        "home/.docker/config.json",
        "{\"credHelpers\":{\"a.io\":\"before\",\"b.io\":\"after\",\"c.io\":\"failing\"}}",
    );
    // Longer than any test: nobody gets an answer by waiting for it.
    let credentials = home
        .credentials()
        .with_helper_timeout(Duration::from_secs(900));
    assert_eq!(user(&credentials, "a.io", "").as_deref(), Some("me"));
    assert_eq!(user(&credentials, "b.io", "").as_deref(), Some("me"));
    let lookup = credentials.find("c.io", "").unwrap();
    let said = format!("{:?}", lookup.looked);
    assert!(said.contains("failed: no"), "{said}");
    for note in notes {
        let pid: i32 = fs::read_to_string(note).unwrap().trim().parse().unwrap();
        // An agent that a helper started is not ours to end.
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
}

#[test]
fn a_helper_that_hangs_is_killed_with_its_group() {
    let home = Home::new();
    let note = home.directory.path().join("pid");
    home.helper(
        "fake",
        &format!("sleep 1000 & echo $! > {}; wait", note.display()),
    );
    home.write(
        "home/.docker/config.json",
        "{\"credHelpers\":{\"r.io\":\"fake\"}}",
    );
    // On a loaded machine the helper may not have come to its child when its time is over.
    let pid = [1, 4, 16, 64].into_iter().find_map(|seconds| {
        let credentials = home
            .credentials()
            .with_helper_timeout(Duration::from_secs(seconds));
        let lookup = credentials.find("r.io", "a").unwrap();
        let said = format!("{:?}", lookup.looked);
        assert!(
            said.contains(&format!("did not end within {seconds} s")),
            "{said}"
        );
        fs::read_to_string(&note)
            .ok()
            .filter(|pid| pid.ends_with('\n'))
    });
    let pid = pid.expect("the helper says its child's number");
    // Its end may take a moment; a zombie no one has waited for yet has ended too.
    let ended = || match fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat")) {
        Ok(stat) => stat
            .rsplit(')')
            .next()
            .unwrap()
            .trim_start()
            .starts_with('Z'),
        Err(_) => true,
    };
    for _ in 0..1000 {
        if ended() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the helper's child lives on");
}

#[test]
fn given_credentials_are_for_their_registry_only() {
    let home = Home::new();
    let given = Credential::Basic {
        username: "given".into(),
        password: Secret::new("pw"),
    };
    let credentials = home.credentials().with_credential("docker.io", given);
    assert_eq!(
        user(&credentials, "registry-1.docker.io", "a").as_deref(),
        Some("given")
    );
    assert_eq!(user(&credentials, "mirror.io", "a"), None);
    assert_eq!(user(&Credentials::anonymous(), "docker.io", "a"), None);
}
