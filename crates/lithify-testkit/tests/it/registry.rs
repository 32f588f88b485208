//! The registries against programs that know the protocol, and bent answers as bytes on the wire.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lithify_testkit::registry::{
    Action, Answer, At, Authority, Demand, FakeDaemon, Faulty, Framing, Kind, On, Proxy, Real,
    TokenServer,
};
use lithify_testkit::{Layout, Tar, TarEntry, require, run, temp_dir};

/// Two layers, one of which is large enough to come in several reads.
fn image() -> Layout {
    let mut lower = Tar::new();
    let noise: Vec<u8> = (0..300_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes())
        .collect();
    lower
        .add(TarEntry::directory("etc"))
        .add(TarEntry::file("etc/noise", noise));
    let mut upper = Tar::new();
    upper.add(TarEntry::file("etc/motd", "hello\n"));
    Layout::new()
        .gzip_layer(&lower.finish())
        .gzip_layer(&upper.finish())
}

fn skopeo() -> Command {
    let mut command = run::command("skopeo");
    // Whoever runs the tests may have signed in somewhere.
    command
        .env("REGISTRY_AUTH_FILE", "/nonexistent/auth.json")
        .arg("--insecure-policy");
    command
}

/// Copies an image in and out again; both layouts hold the same blobs.
fn round_trip(address: &str, to: &[&str], from: &[&str]) {
    let tmp = temp_dir();
    image().write(&tmp.path().join("in"));
    let local = |name: &str| format!("oci:{}:latest", tmp.path().join(name).display());
    let remote = format!("docker://{address}/team/app:1");
    run::ok(skopeo().arg("copy").args(to).args([&local("in"), &remote]));
    run::ok(
        skopeo()
            .arg("copy")
            .args(from)
            .args([&remote, &local("out")]),
    );
    assert_eq!(
        blobs(&tmp.path().join("in")),
        blobs(&tmp.path().join("out"))
    );
}

fn blobs(layout: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(layout.join("blobs/sha256")).unwrap();
    let mut names: Vec<_> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn tools() -> bool {
    ["skopeo", "docker-registry", "htpasswd", "openssl"]
        .into_iter()
        .all(require::tool)
}

const PLAIN: [&str; 1] = ["--dest-tls-verify=false"];
const FROM_PLAIN: [&str; 1] = ["--src-tls-verify=false"];

#[test]
fn the_real_registry_serves_everybody() {
    if !tools() {
        return;
    }
    let registry = Real::setup().delete().start();
    round_trip(registry.address(), &PLAIN, &FROM_PLAIN);
    let remote = format!("docker://{}/team/app:1", registry.address());
    let said = run::text(skopeo().args(["inspect", "--tls-verify=false", &remote]));
    assert!(said.contains("\"Digest\": \"sha256:"), "{said}");
    run::ok(skopeo().args(["delete", "--tls-verify=false", &remote]));
    let gone = run::output(skopeo().args(["inspect", "--tls-verify=false", &remote]));
    assert!(!gone.status.success());
    assert!(registry.log().contains("listening on"));
}

#[test]
fn the_real_registry_demands_a_password() {
    if !tools() {
        return;
    }
    let registry = Real::setup().user("alice", "secret").start();
    round_trip(
        registry.address(),
        &[PLAIN[0], "--dest-creds=alice:secret"],
        &[FROM_PLAIN[0], "--src-creds=alice:secret"],
    );
    let remote = format!("docker://{}/team/app:1", registry.address());
    for creds in [&["--creds=alice:wrong"][..], &[]] {
        let refused = run::output(
            skopeo()
                .args(["inspect", "--tls-verify=false"])
                .args(creds)
                .arg(&remote),
        );
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            !refused.status.success() && said.contains("authentication required"),
            "{said}"
        );
    }
}

#[test]
fn the_real_registry_speaks_tls() {
    if !tools() {
        return;
    }
    let authority = Authority::new();
    let certs = authority.cert_dir(None);
    let registry = Real::setup().tls(&authority).start();
    let dir = certs.path().display();
    let (to, from) = (
        format!("--dest-cert-dir={dir}"),
        format!("--src-cert-dir={dir}"),
    );
    round_trip(registry.address(), &[&to], &[&from]);
    let remote = format!("docker://{}/team/app:1", registry.address());
    let untrusted = run::output(skopeo().args(["inspect", &remote]));
    assert!(String::from_utf8_lossy(&untrusted.stderr).contains("unknown authority"));

    let guarded = Real::setup().tls(&authority).clients_of(&authority).start();
    assert!(guarded.url().starts_with("https://127.0.0.1:"));
    let with_client = authority.cert_dir(Some(&authority.client()));
    let dir = with_client.path().display();
    let (client_to, client_from) = (
        format!("--dest-cert-dir={dir}"),
        format!("--src-cert-dir={dir}"),
    );
    round_trip(guarded.address(), &[&client_to], &[&client_from]);
    let remote = format!("docker://{}/team/app:1", guarded.address());
    let nobody = run::output(
        skopeo()
            .arg("inspect")
            .arg(format!("--cert-dir={}", certs.path().display()))
            .arg(&remote),
    );
    assert!(!nobody.status.success());

    let elsewhere = Real::setup()
        .certificate(authority.server_for("DNS:elsewhere.example"))
        .start();
    let remote = format!("docker://{}/team/app:1", elsewhere.address());
    let other = run::output(
        skopeo()
            .arg("inspect")
            .arg(format!("--cert-dir={}", certs.path().display()))
            .arg(&remote),
    );
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(said.contains("x509"), "{said}");
}

#[test]
fn the_real_registry_demands_tokens() {
    if !tools() {
        return;
    }
    let tokens = TokenServer::start();
    tokens.add_user("alice", "secret");
    tokens.add_user("bob", "word");
    tokens.allow("bob", "team/*", &["pull"]);
    let registry = Real::setup().token(&tokens).start();
    round_trip(
        registry.address(),
        &[PLAIN[0], "--dest-creds=alice:secret"],
        &[FROM_PLAIN[0], "--src-creds=bob:word"],
    );
    let asked = tokens.asked();
    assert!(
        asked
            .iter()
            .all(|a| a.given && a.service.as_deref() == Some(TokenServer::SERVICE))
    );
    assert!(asked.iter().any(
        |a| a.user.as_deref() == Some("alice") && a.scopes == ["repository:team/app:pull,push"]
    ));
    assert!(
        asked
            .iter()
            .any(|a| a.user.as_deref() == Some("bob") && a.scopes == ["repository:team/app:pull"])
    );

    let remote = format!("docker://{}/team/app:1", registry.address());
    let inspect = |creds: &[&str]| {
        run::output(
            skopeo()
                .args(["inspect", "--tls-verify=false"])
                .args(creds)
                .arg(&remote),
        )
    };
    assert!(!inspect(&[]).status.success());
    tokens.allow_anonymous("team/app", &["pull"]);
    assert!(inspect(&[]).status.success());
    assert!(!inspect(&["--creds=bob:wrong"]).status.success());
    assert!(!tokens.asked().last().unwrap().given);
}

#[test]
fn tokens_by_oauth2() {
    if !tools() {
        return;
    }
    let tokens = TokenServer::start();
    tokens.add_user("alice", "secret");
    let registry = Real::setup().token(&tokens).start();
    let address = tokens.realm();
    let address = address
        .trim_start_matches("http://")
        .trim_end_matches("/token");
    let post = |form: &str| {
        let head = "POST /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n";
        let answer = exchange(
            address,
            &format!("{head}Content-Length: {}\r\n\r\n{form}", form.len()),
        );
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let json: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        (head[9..12].to_owned(), json)
    };
    let service = format!(
        "service={}&client_id=test&scope=repository%3Ateam%2Fapp%3Apull%2Cpush",
        TokenServer::SERVICE
    );
    let (status, first) = post(&format!(
        "grant_type=password&username=alice&password=secret&access_type=offline&{service}"
    ));
    assert_eq!(status, "200");
    let refresh = first["refresh_token"].as_str().unwrap();
    let (status, second) = post(&format!(
        "grant_type=refresh_token&refresh_token={refresh}&{service}"
    ));
    assert_eq!(
        (status.as_str(), &second["refresh_token"]),
        ("200", &first["refresh_token"])
    );
    let token = second["access_token"].as_str().unwrap();
    // The registry lets its bearer look, and finds nothing.
    let ask = |token: &str| {
        let head = "GET /v2/team/app/tags/list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        exchange(
            registry.address(),
            &format!("{head}Authorization: Bearer {token}\r\n\r\n"),
        )
    };
    assert!(ask(token).contains("NAME_UNKNOWN"));
    tokens.set_lifetime(Duration::ZERO);
    std::thread::sleep(Duration::from_secs(2));
    let expired = tokens.token("team/app", &["pull"]);
    std::thread::sleep(Duration::from_secs(2));
    assert!(ask(&expired).contains("UNAUTHORIZED"));
    tokens.revoke_refresh_tokens();
    let (status, _) = post(&format!(
        "grant_type=refresh_token&refresh_token={refresh}&{service}"
    ));
    assert_eq!(status, "401");
    tokens.set_html(true);
    assert!(
        exchange(address, "GET /token HTTP/1.1\r\nConnection: close\r\n\r\n").contains("<!DOCTYPE")
    );
    let grants: Vec<_> = tokens
        .asked()
        .into_iter()
        .filter_map(|a| a.grant_type)
        .collect();
    assert_eq!(grants, ["password", "refresh_token", "refresh_token"]);
}

#[test]
fn ours_is_a_registry_to_skopeo_and_buildah() {
    if !tools() {
        return;
    }
    let registry = Faulty::start();
    let address = registry.address();
    round_trip(&address, &PLAIN, &FROM_PLAIN);
    assert_eq!(registry.tags("team/app"), ["1"]);
    assert_eq!(registry.open_uploads(), 0);
    let remote = format!("docker://{address}/team/app");
    let said = run::text(skopeo().args(["inspect", "--tls-verify=false", &format!("{remote}:1")]));
    let (_, manifest) = registry.manifest("team/app", "1").unwrap();
    assert!(said.contains("\"Architecture\": \"amd64\""), "{said}");
    assert!(!manifest.is_empty());

    registry.set_page(2);
    registry.clear_requests();
    for tag in ["a", "b", "c", "d"] {
        let _digest = registry.add_manifest(
            "team/app",
            Some(tag),
            "application/vnd.oci.image.manifest.v1+json",
            manifest.clone(),
        );
    }
    let said = run::text(skopeo().args(["list-tags", "--tls-verify=false", &remote]));
    assert!(
        ["1", "a", "b", "c", "d"]
            .iter()
            .all(|t| said.contains(&format!("\"{t}\""))),
        "{said}"
    );
    assert_eq!(registry.requests_on(&On::kind(Kind::Tags)).len(), 3);

    // To another repository: what is there already is mounted.
    registry.clear_requests();
    let copy = |to: &str| {
        let to = format!("docker://{address}/{to}");
        run::ok(skopeo().args(["copy", PLAIN[0], FROM_PLAIN[0], &format!("{remote}:1"), &to]));
    };
    registry.set_absolute_locations(true);
    copy("other/app:1");
    assert_eq!(registry.blobs("other/app"), registry.blobs("team/app"));

    if require::root() && require::tool("buildah") {
        let root = temp_dir();
        let storage = |command: &mut Command| {
            command
                .arg("--root")
                .arg(root.path().join("a"))
                .arg("--runroot")
                .arg(root.path().join("b"));
            command.args(["--storage-driver", "vfs"]);
        };
        let mut pull = run::command_with_mounted_root("buildah");
        storage(&mut pull);
        run::ok(
            pull.args(["pull", "--tls-verify=false"])
                .arg(format!("{address}/team/app:1")),
        );
        let mut push = run::command_with_mounted_root("buildah");
        storage(&mut push);
        run::ok(
            push.args(["push", "--tls-verify=false"])
                .arg(format!("{address}/team/app:1"))
                .arg(format!("docker://{address}/built/app:2")),
        );
        assert_eq!(registry.tags("built/app"), ["2"]);
    }
}

#[test]
fn ours_demands_what_it_is_told_to() {
    if !tools() {
        return;
    }
    let registry = Faulty::start();
    registry.demand(Demand::basic("alice", "secret"));
    round_trip(
        &registry.address(),
        &[PLAIN[0], "--dest-creds=alice:secret"],
        &[FROM_PLAIN[0], "--src-creds=alice:secret"],
    );
    let tokens = TokenServer::start();
    tokens.add_user("alice", "secret");
    registry.demand(Demand::token(&tokens));
    round_trip(
        &registry.address(),
        &[PLAIN[0], "--dest-creds=alice:secret"],
        &[FROM_PLAIN[0], "--src-creds=alice:secret"],
    );
    assert!(tokens.asked().len() >= 2);
    let remote = format!("docker://{}/team/app:1", registry.address());
    tokens.set_access_token_only(true);
    tokens.set_stated_lifetime(None);
    run::ok(skopeo().args([
        "inspect",
        "--tls-verify=false",
        "--creds=alice:secret",
        &remote,
    ]));
    let refused = run::output(skopeo().args(["inspect", "--tls-verify=false", &remote]));
    assert!(!refused.status.success());
    let own = format!("Bearer realm=\"{}/token\",service=\"own\"", registry.url());
    registry.demand(Demand::any_token(&own));
    run::ok(skopeo().args(["inspect", "--tls-verify=false", &remote]));
    assert!(!registry.requests_on(&On::kind(Kind::Token)).is_empty());
}

#[test]
fn ours_takes_a_layout_and_gives_it_to_skopeo() {
    if !tools() {
        return;
    }
    let tmp = temp_dir();
    image().write(&tmp.path().join("in"));
    let (registry, mirror) = (Faulty::start(), Faulty::start());
    let digest = registry.add_layout(&tmp.path().join("in"), "team/app", "1");
    assert_eq!(
        mirror.add_layout(&tmp.path().join("in"), "team/app", "1"),
        digest
    );
    // Blobs come from elsewhere, without what was meant for the first.
    registry.demand(Demand::basic("alice", "secret"));
    registry.rule(On::kind(Kind::Blob), Action::RedirectTo(307, mirror.url()));
    let out = format!("oci:{}:latest", tmp.path().join("out").display());
    let remote = format!("docker://{}/team/app@{digest}", registry.address());
    run::ok(skopeo().args([
        "copy",
        FROM_PLAIN[0],
        "--src-creds=alice:secret",
        &remote,
        &out,
    ]));
    assert_eq!(
        blobs(&tmp.path().join("in")),
        blobs(&tmp.path().join("out"))
    );
    let elsewhere = mirror.requests();
    assert_eq!(elsewhere.len(), 3);
    assert!(
        elsewhere
            .iter()
            .all(|r| r.kind == Kind::Blob && r.status == Some(200))
    );
}

#[test]
fn ours_speaks_tls() {
    if !tools() {
        return;
    }
    let authority = Authority::new();
    let registry = Faulty::start_tls(&authority);
    registry.set_absolute_locations(true);
    let certs = authority.cert_dir(None);
    let dir = certs.path().display();
    let (to, from) = (
        format!("--dest-cert-dir={dir}"),
        format!("--src-cert-dir={dir}"),
    );
    round_trip(&registry.address(), &[&to], &[&from]);
    registry.set_absolute_locations(true);
    registry.rule(
        On::kind(Kind::Blob).method("GET"),
        Action::ResetAt(At::Percent(50)),
    );
    let remote = format!("docker://{}/team/app:1", registry.address());
    let broken =
        run::output(skopeo().args(["inspect", &format!("--cert-dir={dir}"), "--config", &remote]));
    let said = String::from_utf8_lossy(&broken.stderr).into_owned();
    assert!(
        !broken.status.success() && said.contains("reset by peer"),
        "{said}"
    );
    let untrusted = run::output(skopeo().args(["inspect", &remote]));
    assert!(String::from_utf8_lossy(&untrusted.stderr).contains("unknown authority"));
}

#[test]
fn a_proxy_leads_to_hosts_of_a_test() {
    if !tools() {
        return;
    }
    let authority = Authority::new();
    let registry = Faulty::start_with(&authority.server_for("DNS:registry.example"));
    let tmp = temp_dir();
    image().write(&tmp.path().join("in"));
    let _digest = registry.add_layout(&tmp.path().join("in"), "team/app", "1");
    let certs = authority.cert_dir(None);
    let cert_dir = format!("--cert-dir={}", certs.path().display());
    let proxy = Proxy::start();
    let inspect = |proxy: &str| {
        let mut command = skopeo();
        command
            .env("HTTPS_PROXY", proxy)
            .args(["inspect", &cert_dir]);
        run::output(command.arg("docker://registry.example/team/app:1"))
    };
    let unknown = inspect(&proxy.url());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("Bad Gateway"));
    proxy.map("registry.example:443", &registry.address());
    let said = inspect(&proxy.url());
    assert!(said.status.success(), "{said:?}");
    proxy.demand("alice", "secret");
    assert!(!inspect(&proxy.url()).status.success());
    let with_user = format!("http://alice:secret@{}", proxy.address());
    assert!(inspect(&with_user).status.success());
    assert!(
        proxy
            .requests()
            .iter()
            .all(|r| r.method == "CONNECT" && r.target == "registry.example:443")
    );

    let (open, plain) = (Proxy::start(), Faulty::start());
    let whole = format!(
        "GET {}/v2/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic x\r\n\r\n",
        plain.url()
    );
    assert!(exchange(&open.address(), &whole).starts_with("HTTP/1.1 200 "));
    assert!(plain.requests()[0].header("proxy-authorization").is_none());
}

#[test]
fn a_daemon_to_skopeo() {
    if !tools() {
        return;
    }
    let tmp = temp_dir();
    let daemon = FakeDaemon::start();
    daemon.add_image("docker.io/library/test:1", image().docker_archive("test:1"));
    let (from, to) = (
        format!("--src-daemon-host={}", daemon.host()),
        format!("--dest-daemon-host={}", daemon.host()),
    );
    let out = format!("oci:{}:latest", tmp.path().join("out").display());
    run::ok(skopeo().args(["copy", &from, "docker-daemon:test:1", &out]));
    assert_eq!(blobs(&tmp.path().join("out")).len(), 4);
    run::ok(skopeo().args(["copy", &to, &out, "docker-daemon:copy:2"]));
    assert_eq!(daemon.loaded().len(), 1);
    run::ok(skopeo().args([
        "copy",
        &from,
        "docker-daemon:copy:2",
        &format!("dir:{}", tmp.path().join("dir").display()),
    ]));
    let missing = run::output(skopeo().args(["copy", &from, "docker-daemon:none:1", &out]));
    assert!(!missing.status.success());
    daemon.rule(On::kind(Kind::Save), Action::ResetAt(At::Percent(50)));
    let broken = run::output(skopeo().args(["copy", &from, "docker-daemon:test:1", &out]));
    assert!(!broken.status.success());
    daemon.clear_rules();
    daemon.set_versions((1, 24), (1, 43));
    let old = run::output(skopeo().args(["copy", &from, "docker-daemon:test:1", &out]));
    let said = String::from_utf8_lossy(&old.stderr);
    assert!(said.contains("too old"), "{said}");
}

/// All a server answers to these bytes until it closes the connection.
fn exchange(address: &str, request: &str) -> String {
    let (answer, result) = raw(address, request);
    result.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// What arrives, and how it ends.
fn raw(address: &str, request: &str) -> (Vec<u8>, std::io::Result<()>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let result = stream.read_to_end(&mut answer).map(drop);
    (answer, result)
}

struct Bent {
    registry: Faulty,
    path: String,
}

impl Bent {
    /// A registry with one blob of 100 000 bytes.
    fn new() -> Self {
        let registry = Faulty::start();
        let path = format!(
            "/v2/x/blobs/{}",
            registry.add_blob("x", vec![b'b'; 100_000])
        );
        Self { registry, path }
    }

    /// Status line and headers, body, and how it ended, under one action.
    fn get(&self, action: Action, headers: &str) -> (String, Vec<u8>, std::io::Result<()>) {
        self.registry.clear_rules();
        self.registry
            .rule(On::kind(Kind::Blob).method("GET"), action);
        self.plain(headers)
    }

    fn plain(&self, headers: &str) -> (String, Vec<u8>, std::io::Result<()>) {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n",
            self.path
        );
        let (answer, result) = raw(&self.registry.address(), &request);
        let split = answer.windows(4).position(|w| w == b"\r\n\r\n");
        let head = String::from_utf8_lossy(&answer[..split.unwrap_or(answer.len())]).into_owned();
        let body = split.map_or_else(Vec::new, |at| answer[at + 4..].to_vec());
        (head, body, result)
    }
}

#[test]
fn bodies_that_end_early() {
    let bent = Bent::new();
    for percent in (0..=100).step_by(10) {
        let (head, body, result) = bent.get(Action::ResetAt(At::Percent(percent)), "");
        assert!(head.contains("Content-Length: 100000"), "{head}");
        assert_eq!(body.len(), usize::from(percent) * 1000);
        assert_eq!(
            result.unwrap_err().kind(),
            std::io::ErrorKind::ConnectionReset
        );
    }
    let (_, body, result) = bent.get(Action::Truncate(At::Byte(7)), "");
    assert_eq!((body.len(), result.is_ok()), (7, true));
    let (_, body, result) = bent.get(Action::Drip(50_000, Duration::from_millis(1)), "");
    assert_eq!((body.len(), result.is_ok()), (100_000, true));
    let (head, _, result) = bent.get(Action::Close, "");
    assert_eq!((head.as_str(), result.is_ok()), ("", true));
    let (head, _, result) = bent.get(Action::Reset, "");
    assert!(head.is_empty() && result.is_err());
    let last = bent.registry.requests().pop().unwrap();
    assert_eq!((last.status, last.sent), (None, 0));
}

#[test]
fn bodies_that_lie() {
    let bent = Bent::new();
    let (head, body, _) = bent.get(Action::Length(99_999), "");
    assert!(head.contains("Content-Length: 99999") && body.len() == 100_000);
    let (head, body, _) = bent.get(Action::Framing(Framing::Chunked), "");
    assert!(head.contains("Transfer-Encoding: chunked") && !head.contains("Content-Length"));
    assert!(body.starts_with(b"10000\r\nb") && body.ends_with(b"b\r\n0\r\n\r\n"));
    let (head, body, _) = bent.get(Action::Framing(Framing::UntilClose), "");
    assert!(!head.contains("Content-Length") && body.len() == 100_000);
    let (_, body, _) = bent.get(Action::FlipBit(99_999), "");
    assert_eq!((body[99_998], body[99_999]), (b'b', b'b' ^ 1));
    let (head, body, _) = bent.get(Action::Body(b"other".to_vec()), "");
    assert!(head.contains("Content-Length: 5") && body == b"other");
    let digest = Action::Header("docker-content-digest".into(), "sha256:0".into());
    assert!(
        bent.get(digest, "")
            .0
            .contains("docker-content-digest: sha256:0")
    );
    let (head, ..) = bent.get(Action::NoHeader("Docker-Content-Digest".into()), "");
    assert!(!head.contains("Docker-Content-Digest"));
    // The blob itself is as it was.
    bent.registry.clear_rules();
    assert_eq!(bent.plain("").1, vec![b'b'; 100_000]);
}

#[test]
fn ranges() {
    let bent = Bent::new();
    let (head, body, _) = bent.plain("Range: bytes=99990-\r\n");
    assert!(
        head.starts_with("HTTP/1.1 206 ")
            && head.contains("Content-Range: bytes 99990-99999/100000")
    );
    assert_eq!(body.len(), 10);
    assert_eq!(bent.plain("Range: bytes=5-9\r\n").1.len(), 5);
    assert_eq!(bent.plain("Range: bytes=-3\r\n").1.len(), 3);
    let (head, ..) = bent.plain("Range: bytes=100000-\r\n");
    assert!(head.starts_with("HTTP/1.1 416 ") && head.contains("Content-Range: bytes */100000"));
    let (head, body, _) = bent.get(Action::IgnoreRange, "Range: bytes=10-\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && body.len() == 100_000);
    let (head, body, _) = bent.get(Action::ShiftRange(5), "Range: bytes=10-\r\n");
    assert!(head.contains("Content-Range: bytes 10-99999/100000") && body.len() == 99_985);
    let (head, body, _) = bent.get(Action::ShortRange(4), "Range: bytes=10-\r\n");
    assert!(
        head.contains("Content-Range: bytes 10-")
            && head.contains("Content-Length: 4\r\n")
            && body.len() == 4
    );
}

#[test]
fn rules_count() {
    let bent = Bent::new();
    let busy = Answer::error(429, "TOOMANYREQUESTS", "slow down").header("Retry-After", 1);
    let hits = bent
        .registry
        .rule(On::kind(Kind::Blob).after(1).times(2), Action::Answer(busy));
    let statuses: Vec<_> = (0..5).map(|_| bent.plain("").0[9..12].to_owned()).collect();
    assert_eq!(statuses, ["200", "429", "429", "200", "200"]);
    assert_eq!(hits.count(), 2);
    let requests = bent.registry.requests();
    assert_eq!(requests.len(), 5);
    assert_eq!((requests[0].status, requests[0].sent), (Some(200), 100_000));
    // Over one connection: a connection is kept where nothing is said.
    let request = format!("GET {} HTTP/1.1\r\nRange: bytes=0-0\r\n\r\n", bent.path);
    let last = format!(
        "GET {} HTTP/1.1\r\nRange: bytes=0-0\r\nConnection: close\r\n\r\n",
        bent.path
    );
    let answer = exchange(
        &bent.registry.address(),
        &format!("{request}{request}{last}"),
    );
    assert_eq!(answer.matches("HTTP/1.1 206 ").count(), 3);
}

#[test]
fn redirects() {
    let bent = Bent::new();
    let location = |head: &str| {
        head.lines()
            .find_map(|l| l.strip_prefix("Location: ").map(str::to_owned))
    };
    let (head, ..) = bent.get(Action::RedirectLoop(302), "");
    assert_eq!(location(&head).as_ref(), Some(&bent.path));
    let (head, ..) = bent.get(Action::RedirectTo(308, "http://u:p@127.0.0.1:1".into()), "");
    assert_eq!(
        location(&head),
        Some(format!("http://u:p@127.0.0.1:1{}", bent.path))
    );
    bent.registry.add_file("/cdn/x", "abc");
    let (head, ..) = bent.get(
        Action::Redirect(301, format!("{}/cdn/x", bent.registry.url())),
        "",
    );
    assert!(location(&head).unwrap().ends_with("/cdn/x"));
    bent.registry.clear_rules();
    bent.registry
        .rule(On::kind(Kind::Blob), Action::Hops(307, 3));
    let mut path = bent.path.clone();
    let mut hops = 0;
    loop {
        let answer = exchange(
            &bent.registry.address(),
            &format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n"),
        );
        match location(&answer) {
            Some(next) => (path, hops) = (next, hops + 1),
            None => break assert!(answer.starts_with("HTTP/1.1 200 ")),
        }
    }
    assert_eq!(hops, 3);
}

#[test]
fn what_never_ends_ends_with_the_server() {
    let bent = Bent::new();
    let address = bent.registry.address();
    bent.registry
        .rule(On::kind(Kind::Blob).nth(1), Action::Stall);
    bent.registry
        .rule(On::kind(Kind::Blob).nth(2), Action::StallAt(At::Byte(10)));
    bent.registry
        .rule(On::kind(Kind::Blob).nth(3), Action::EndlessHeaders);
    bent.registry.rule(
        On::kind(Kind::Blob).nth(4),
        Action::Endless(Framing::Chunked),
    );
    bent.registry.rule(
        On::kind(Kind::Blob).nth(5),
        Action::Endless(Framing::Length),
    );
    bent.registry.rule(
        On::kind(Kind::Blob).nth(6),
        Action::Delay(Duration::from_secs(3600)),
    );
    let request = format!("GET {} HTTP/1.1\r\n\r\n", bent.path);
    let mut streams = Vec::new();
    for number in 1..=6 {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        while bent.registry.requests().len() < number {
            std::thread::yield_now();
        }
        streams.push(stream);
    }
    let mut start = [0; 17];
    streams[4].read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK\r\n");
    // The join of every thread is the test.
    drop(bent);
    assert!(TcpStream::connect(&address).is_err());
}

#[test]
fn uploads_in_pieces() {
    let registry = Faulty::start();
    let address = registry.address();
    let send = |method: &str, path: &str, headers: &str, body: &str| {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nConnection: close\r\nHost: {address}\r\n{headers}"
        );
        exchange(
            &address,
            &format!("{head}Content-Length: {length}\r\n\r\n{body}"),
        )
    };
    let header = |answer: &str, name: &str| {
        let line = answer
            .lines()
            .find_map(|l| l.strip_prefix(&format!("{name}: ")).map(str::to_owned));
        line.unwrap_or_else(|| panic!("{name} in {answer}"))
    };
    let begun = send("POST", "/v2/x/blobs/uploads/", "", "");
    let location = header(&begun, "Location");
    let first = send("PATCH", &location, "Content-Range: 0-4\r\n", "hello");
    assert_eq!(
        (&first[9..12], header(&first, "Range").as_str()),
        ("202", "0-4")
    );
    let wrong = send("PATCH", &location, "Content-Range: 9-13\r\n", "hello");
    assert_eq!(&wrong[9..12], "416");
    let (status, _) = location.split_once('?').unwrap();
    let status = send("GET", status, "", "");
    assert_eq!(
        (&status[9..12], header(&status, "Range").as_str()),
        ("204", "0-4")
    );
    // sha256 of "hello world"
    let digest = "sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
    let done = send(
        "PUT",
        &format!("{location}&digest={}", digest.replace(':', "%3A")),
        "",
        " world",
    );
    assert_eq!(&done[9..12], "201");
    assert_eq!(registry.blob("x", digest).unwrap(), b"hello world");
    let mounted = send(
        "POST",
        &format!("/v2/y/blobs/uploads/?mount={digest}&from=x"),
        "",
        "",
    );
    assert_eq!(&mounted[9..12], "201");
    let one = send(
        "POST",
        &format!("/v2/z/blobs/uploads/?digest={digest}"),
        "",
        "hello world",
    );
    assert_eq!(&one[9..12], "201");

    let subject = registry.add_manifest(
        "x",
        Some("1"),
        "application/vnd.oci.image.manifest.v1+json",
        "{}",
    );
    let config = registry.add_blob("x", "{}");
    let artifact = format!(
        r#"{{"artifactType":"a/b","config":{{"digest":"{config}"}},"subject":{{"digest":"{subject}"}}}}"#
    );
    let put = send(
        "PUT",
        "/v2/x/manifests/art",
        "Content-Type: m/t\r\n",
        &artifact,
    );
    assert_eq!(
        (&put[9..12], header(&put, "OCI-Subject")),
        ("201", subject.clone())
    );
    let list = send(
        "GET",
        &format!("/v2/x/referrers/{subject}?artifactType=a/b"),
        "",
        "",
    );
    assert!(
        list.contains("\"artifactType\":\"a/b\"")
            && list.contains("OCI-Filters-Applied: artifactType")
    );
    let none = send(
        "GET",
        &format!("/v2/x/referrers/{subject}?artifactType=c"),
        "",
        "",
    );
    assert!(none.contains("\"manifests\":[]"));
    registry.set_referrers(false);
    assert_eq!(
        &send("GET", &format!("/v2/x/referrers/{subject}"), "", "")[9..12],
        "404"
    );
    let lost = send(
        "PUT",
        "/v2/x/manifests/2",
        "Content-Type: m/t\r\n",
        r#"{"layers":[{"digest":"sha256:00"}]}"#,
    );
    assert!(lost.contains("MANIFEST_BLOB_UNKNOWN"));
    assert_eq!(
        &send("DELETE", &format!("/v2/x/manifests/{subject}"), "", "")[9..12],
        "202"
    );
    assert_eq!(registry.tags("x"), ["art"]);

    registry.rule(
        On::kind(Kind::Upload).method("PATCH"),
        Action::ResetUpload(3),
    );
    let location = header(&send("POST", "/v2/x/blobs/uploads/", "", ""), "Location");
    let patch = format!("PATCH {location} HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello");
    assert!(raw(&address, &patch).1.is_err());
    registry.rule(On::kind(Kind::Upload).method("PUT"), Action::LoseAnswer);
    let put = send(
        "PUT",
        &format!("{location}&digest={digest}"),
        "",
        "hello world",
    );
    assert_eq!((put.as_str(), registry.open_uploads()), ("", 0));
}
