//! Whose signatures count.

use std::path::Path;

use lithify_testkit::registry::{Authority, Certificate, Recipe};
use lithify_testkit::{require, run};

use super::certificates::{HOST, LEAF, ask, judged, registry, tools};
use super::support::shown;

const AUTHORITY: &str = "basicConstraints = critical,CA:TRUE\n";

fn end() -> Recipe {
    Recipe::new(&format!("{LEAF}subjectAltName = {HOST}\n"))
}

/// Whether OpenSSL takes a certificate for a server's, with those shown behind it, when it trusts one file.
fn openssl_verifies(server: &Certificate, trusted: &Path) -> bool {
    let mut command = run::command("openssl");
    command.args(["verify", "-purpose", "sslserver", "-partial_chain"]);
    command.arg("-CAfile").arg(trusted);
    command.arg("-untrusted").arg(&server.certificate);
    run::output(command.arg(&server.certificate))
        .status
        .success()
}

/// What authorities say of their keys, whether their signatures count, and what is said where they do not.
const USAGES: [(&str, Result<(), &str>); 10] = [
    ("", Ok(())),
    ("keyUsage = critical,keyCertSign\n", Ok(())),
    ("keyUsage = digitalSignature,keyCertSign,cRLSign\n", Ok(())),
    (
        "keyUsage = critical,cRLSign\n",
        Err("its key usage has no keyCertSign"),
    ),
    (
        "keyUsage = digitalSignature\n",
        Err("its key usage has no keyCertSign"),
    ),
    ("extendedKeyUsage = serverAuth\n", Ok(())),
    ("extendedKeyUsage = clientAuth,serverAuth\n", Ok(())),
    (
        "extendedKeyUsage = clientAuth\n",
        Err("its extended key usage has neither serverAuth nor any"),
    ),
    (
        "extendedKeyUsage = critical,emailProtection,clientAuth\n",
        Err("its extended key usage has neither serverAuth nor any"),
    ),
    // OpenSSL 3.0.22 alone refuses this one.
    ("extendedKeyUsage = anyExtendedKeyUsage\n", Ok(())),
];

#[test]
fn what_an_authority_s_key_is_for() {
    if !tools() {
        return;
    }
    let root = Authority::new();
    let names_servers = Recipe {
        extensions: format!("{}extendedKeyUsage = serverAuth\n", end().extensions),
        ..end()
    };
    for (usage, accepted) in USAGES {
        let own = Recipe::new(&format!("{AUTHORITY}{usage}"));
        let trusted = Authority::by(&own);
        let between = root.below(&own);
        // One that is trusted, one that is shown, and one of these that is trusted itself.
        for (server, trusted, place) in [
            (
                trusted.issue_by(&end()),
                trusted.certificate(),
                "trusted certificate of",
            ),
            (
                trusted.issue_by(&names_servers),
                trusted.certificate(),
                "trusted certificate of",
            ),
            (
                trusted.issue_by(&Recipe::plain(HOST)),
                trusted.certificate(),
                "trusted certificate of",
            ),
            (
                between.issue_by(&end()).with_signer(&between),
                root.certificate(),
                "shown by the server, of",
            ),
            (
                between.issue_by(&end()).with_signer(&between),
                between.certificate(),
                "trusted certificate of",
            ),
        ] {
            let text = judged(usage, &server, &trusted, accepted.is_ok());
            if !usage.contains("any") {
                let verified = openssl_verifies(&server, &trusted);
                assert_eq!(verified, accepted.is_ok(), "OpenSSL: {usage}");
            }
            if let Err(words) = accepted {
                assert!(text.contains(words), "{usage}: {text}");
                assert!(text.contains(place), "{usage}: {text}");
                assert!(
                    text.contains("the authority `lithify test "),
                    "{usage}: {text}"
                );
            }
        }
    }
}

#[test]
fn a_newer_certificate_of_the_same_authority_may_do() {
    if !tools() {
        return;
    }
    // Its key has two certificates, one of which is for something else.
    let authority = Authority::by(&Recipe::new(&format!("{AUTHORITY}keyUsage = cRLSign\n")));
    let server = authority.issue_by(&end());
    judged("one", &server, &authority.certificate(), false);
    let newer = authority.renewed(&Recipe::new(AUTHORITY));
    judged("both", &server, &newer, true);
}

#[test]
fn authorities_have_their_time_too() {
    if !tools() {
        return;
    }
    let root = Authority::new();
    for (from, until, words) in [
        (
            "20200101000000Z",
            "20210203040506Z",
            "has expired: it was valid until 2021-02-03 04:05 UTC",
        ),
        (
            "20900101000000Z",
            "20910101000000Z",
            "is valid from 2090-01-01 00:00 UTC on",
        ),
    ] {
        let own = Recipe::new(AUTHORITY).dated(from, until);
        let (trusted, between) = (Authority::by(&own), root.below(&own));
        for (server, trusted, what) in [
            (
                trusted.issue_by(&end()),
                trusted.certificate(),
                "put a newer one in its place",
            ),
            (
                trusted.issue_by(&Recipe::plain(HOST)),
                trusted.certificate(),
                "put a newer one in its place",
            ),
            (
                between.issue_by(&end()).with_signer(&between),
                root.certificate(),
                "administrator has to replace it",
            ),
        ] {
            let text = judged(until, &server, &trusted, false);
            let whole = format!("that signed its certificate {words}");
            assert!(text.contains(&whole) && text.contains(what), "{text}");
            assert!(text.contains("the authority `lithify test "), "{text}");
        }
    }
}

#[test]
fn keys_of_authorities_that_are_too_short() {
    if !require::tool("openssl") {
        return;
    }
    let root = Authority::new();
    let own = Recipe::new(AUTHORITY).with("rsa:1024", "sha256");
    let (trusted, between) = (Authority::by(&own), root.below(&own));
    for (server, trusted, place) in [
        (trusted.issue_by(&end()), trusted.certificate(), "trusted"),
        (
            trusted.issue_by(&Recipe::plain(HOST)),
            trusted.certificate(),
            "trusted",
        ),
        (
            between.issue_by(&end()).with_signer(&between),
            root.certificate(),
            "shown by the server",
        ),
    ] {
        let text = shown(&ask(&registry(&server), &trusted).unwrap_err());
        assert!(text.contains("has an RSA key of 1024 bits"), "{text}");
        assert!(text.contains(place), "{text}");
    }
}

#[test]
fn addresses_are_no_names() {
    if !tools() {
        return;
    }
    let authority = Authority::new();
    let named = Recipe::new(&format!("{LEAF}subjectAltName = DNS:127.0.0.1\n"));
    let server = authority.issue_by(&named);
    let text = judged("DNS", &server, &authority.certificate(), false);
    let words = "has `127.0.0.1` as a DNS name, which an address is not: have one made with subjectAltName = IP:127.0.0.1";
    assert!(text.contains(words), "{text}");
}
