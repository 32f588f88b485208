//! The registries against programs that know the protocol.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::common::exchange;
use lithify_testkit::registry::{
    Action, At, Authority, Demand, FakeDaemon, Faulty, Kind, On, Proxy, Real, TokenServer,
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
