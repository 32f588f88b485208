//! Signing in and out: what is written, and that skopeo and buildah read it.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use lithify_registry::Secret;
use lithify_registry::auth::{Credential, Credentials, CredentialsError, Login, Source};
use lithify_registry::config::Environment;
use lithify_testkit::{require, run};

fn user(name: &str) -> Credential {
    Credential::Basic {
        username: name.into(),
        password: Secret::new("p:w \u{fc}"),
    }
}

fn login(file: &Path) -> Login {
    Login::new(&Environment::empty(), Some(file)).unwrap()
}

fn read(file: &Path, registry: &str) -> Option<Credential> {
    let credentials = Credentials::new(Environment::empty()).with_file(file);
    let found = credentials.find(registry, "").unwrap().found;
    found.map(|found| found.credential)
}

#[test]
fn everything_else_in_the_file_stays() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("auth.json");
    let before = "{\"x\": [1,  2.50e3], \"auths\": {\"other.io\": {\"auth\": \"bWU6cHc=\",\"email\":\"a\\u0040b\"}, \"https://r.io/v1/\": {}}, \"HttpHeaders\": { \"a\" : \"b\" }}";
    fs::write(&file, before).unwrap();
    login(&file).store("r.io", &user("me")).unwrap();
    let after = fs::read_to_string(&file).unwrap();
    for part in [
        "[1,  2.50e3]",
        "{\"auth\": \"bWU6cHc=\",\"email\":\"a\\u0040b\"}",
        "{ \"a\" : \"b\" }",
    ] {
        assert!(after.contains(part), "{after}");
    }
    assert!(!after.contains("https://r.io/v1/"), "{after}");
    assert_eq!(read(&file, "r.io"), Some(user("me")));
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    login(&file).store("r.io", &user("you")).unwrap();
    assert_eq!(read(&file, "r.io"), Some(user("you")));
    let removed = login(&file).remove("https://r.io/").unwrap();
    assert_eq!(
        removed.sources,
        [Source::File {
            path: file.clone(),
            key: "r.io".into()
        }]
    );
    assert_eq!(read(&file, "r.io"), None);
    assert!(read(&file, "other.io").is_some());
    assert!(login(&file).remove("r.io").unwrap().sources.is_empty());
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        1,
        "nothing temporary is left"
    );
}

#[test]
fn links_are_followed_and_directories_made() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("real/deep/auth.json");
    let link = directory.path().join("auth.json");
    std::os::unix::fs::symlink("real/deep/auth.json", &link).unwrap();
    login(&link).store("r.io/team", &user("me")).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(read(&target, "r.io"), None);
    let credentials = Credentials::new(Environment::empty()).with_file(&target);
    assert!(
        credentials
            .find("r.io", "team/app")
            .unwrap()
            .found
            .is_some()
    );
    assert_eq!(
        fs::metadata(target.parent().unwrap()).unwrap().mode() & 0o777,
        0o700
    );
    let round = directory.path().join("round");
    std::os::unix::fs::symlink("round", &round).unwrap();
    assert!(matches!(
        login(&round).store("r.io", &user("me")),
        Err(CredentialsError::Io { .. })
    ));
}

#[test]
fn the_default_file() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let mut environment = Environment::empty();
    assert!(matches!(
        Login::new(&environment, None),
        Err(CredentialsError::NoPlace)
    ));
    environment.root = root.to_owned();
    environment.home = Some(root.join("home"));
    environment.uid = Some(1000);
    let file = |environment: &Environment| Login::new(environment, None).unwrap().file().to_owned();
    assert_eq!(
        file(&environment),
        root.join("home/.config/containers/auth.json")
    );
    fs::create_dir_all(root.join("run/containers/1000")).unwrap();
    assert_eq!(
        file(&environment),
        root.join("run/containers/1000/auth.json")
    );
    environment.xdg_runtime_dir = Some(root.join("missing"));
    assert_eq!(
        file(&environment),
        root.join("home/.config/containers/auth.json")
    );
    environment.xdg_runtime_dir = Some(root.to_owned());
    assert_eq!(file(&environment), root.join("containers/auth.json"));
    environment.registry_auth_file = Some(root.join("env.json"));
    assert_eq!(file(&environment), root.join("env.json"));
}

#[test]
fn what_is_no_registry_or_user_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("auth.json");
    for name in [
        "",
        "https://",
        "r.io/UPPER",
        "r.io/a:tag",
        "r io",
        "../x",
        "r.io/../x",
    ] {
        let result = login(&file).store(name, &user("me"));
        assert!(
            matches!(result, Err(CredentialsError::Registry { .. })),
            "{name:?}"
        );
    }
    for name in ["", "a:b", "a\nb"] {
        let result = login(&file).store("r.io", &user(name));
        assert!(
            matches!(result, Err(CredentialsError::Username)),
            "{name:?}"
        );
    }
    assert!(!file.exists());
    fs::write(&file, "{ broken").unwrap();
    assert!(login(&file).store("r.io", &user("me")).is_err());
    assert_eq!(fs::read_to_string(&file).unwrap(), "{ broken");
}

#[test]
fn a_helper_stores_and_erases() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let helper = root.join("docker-credential-fake");
    let held = root.join("held");
    let script = format!(
        "#!/bin/sh\ncase $1 in\nstore) cat > {0};;\nget) if [ -e {0} ]; then cat {0}; else echo 'credentials not found in native keychain'; exit 1; fi;;\nerase) rm {0};;\nesac\n",
        held.display()
    );
    lithify_testkit::program::script(&helper, &script);
    let file = root.join("config.json");
    fs::write(&file, "{\"credsStore\":\"fake\"}").unwrap();
    let mut environment = Environment::empty();
    let path = std::env::join_paths([root.to_owned(), PathBuf::from("/usr/bin"), "/bin".into()]);
    environment.path = Some(path.unwrap());
    let login = Login::new(&environment, Some(&file)).unwrap();
    let source = login.store("r.io", &user("me")).unwrap();
    assert!(matches!(source, Source::Helper { .. }));
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        "{\"credsStore\":\"fake\"}"
    );
    let credentials = Credentials::new(environment).with_file(&file);
    assert_eq!(
        credentials
            .find("r.io", "a")
            .unwrap()
            .found
            .unwrap()
            .credential,
        user("me")
    );
    assert_eq!(login.remove("r.io").unwrap().sources, [source]);
    assert!(!held.exists());
    assert!(login.remove("r.io").unwrap().sources.is_empty());
}

#[test]
fn skopeo_and_buildah_read_what_we_wrote() {
    if !require::tool("skopeo") || !require::tool("buildah") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for (file, registry) in [
        ("auth.json", "docker.io"),
        ("config.json", "docker.io"),
        ("auth.json", "localhost:5000"),
        ("auth.json", "quay.io"),
    ] {
        let file = directory.path().join(file);
        login(&file).store(registry, &user("me")).unwrap();
        for tool in ["skopeo", "buildah"] {
            let mut command = run::command(tool);
            command
                .args(["login", "--get-login", "--authfile"])
                .arg(&file)
                .arg(registry);
            assert_eq!(run::text(&mut command).trim(), "me", "{tool} {registry}");
        }
    }
    let file = directory.path().join("auth.json");
    run::ok(
        run::command("skopeo")
            .args(["logout", "--authfile"])
            .arg(&file)
            .arg("quay.io"),
    );
    assert_eq!(read(&file, "quay.io"), None);
    assert_eq!(read(&file, "docker.io"), Some(user("me")));
}

/// A server that ends with the test.
struct Server(std::process::Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn we_read_what_skopeo_wrote() {
    if !["docker-registry", "htpasswd", "skopeo"]
        .map(require::tool)
        .iter()
        .all(|found| *found)
    {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let users = run::ok(run::command("htpasswd").args(["-Bbn", "me", "p:w \u{fc}"]));
    fs::write(root.join("users"), users).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let host = format!("127.0.0.1:{port}");
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {0}}}}}\nhttp: {{addr: '{host}'}}\nauth: {{htpasswd: {{realm: r, path: {0}/users}}}}\n",
        root.display()
    );
    fs::write(root.join("config.yml"), config).unwrap();
    let mut command = run::command("docker-registry");
    command.arg("serve").arg(root.join("config.yml"));
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let _server = Server(command.spawn().unwrap());
    for _ in 0..1000 {
        if std::net::TcpStream::connect(&host).is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let file = root.join("auth.json");
    let mut command = run::command("skopeo");
    command.args([
        "login",
        "--tls-verify=false",
        "-u",
        "me",
        "-p",
        "p:w \u{fc}",
        "--authfile",
    ]);
    run::ok(command.arg(&file).arg(&host));
    assert_eq!(read(&file, &host), Some(user("me")));
    // And skopeo is let in with ours.
    let ours = root.join("ours.json");
    login(&ours).store(&host, &user("me")).unwrap();
    let mut command = run::command("skopeo");
    command
        .args(["list-tags", "--tls-verify=false", "--authfile"])
        .arg(&ours);
    let output = run::output(command.arg(format!("docker://{host}/none")));
    let said = String::from_utf8_lossy(&output.stderr);
    // A repository that does not exist, rather than 401.
    assert!(said.contains("404"), "{said}");
}
