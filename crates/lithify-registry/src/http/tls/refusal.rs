//! Why a server, or what it shows, is not believed, in words.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lithify_escape::Escaped;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, OtherError};

use super::authority::Fault;
use super::certificate::{self, Certificate};

/// Why a certificate is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Refusal {
    /// Its time is over.
    #[error(
        "its certificate has expired: it was valid until {until}, and it is {now} by the clock here; \
         the registry's administrator has to renew it"
    )]
    Expired { until: Moment, now: Moment },
    /// Its time has not come.
    #[error(
        "its certificate is valid from {from} on, and it is {now} by the clock here: is the clock right?"
    )]
    NotYet { from: Moment, now: Moment },
    /// An authority's signature does not count.
    #[error("{signer} that signed its certificate {}", Faulty(.fault, .signer.is_trusted))]
    Authority { signer: Signer, fault: Fault },
    /// A key that signatures cannot be checked with: its own, or that of who signed it.
    #[error("{} has an RSA key of {bits} bits, and only 2048 to 8192 are accepted: have {}", .signer.as_ref().map_or_else(|| "its certificate".to_owned(), |signer| format!("{signer} that signed its certificate")), if .signer.is_some() { "its certificate signed by one with such a key, or one for ECDSA or Ed25519" } else { "one made with such a key, or one for ECDSA or Ed25519" })]
    Key { signer: Option<Signer>, bits: usize },
    /// An address as a name of a host.
    #[error("its certificate has `{}` as a DNS name, which an address is not: have one made with subjectAltName = IP:{0} (or use a name of the host)", Escaped(.host))]
    Address { host: String },
    /// It is somebody else's.
    #[error("its certificate is for {}, not for `{}`: use {}, or have a certificate made for this one", Names(.names), Escaped(.host), if .names.len() == 1 { "that name" } else { "one of these names" })]
    Name { host: String, names: Vec<String> },
    /// It says no host at all.
    #[error("its certificate names no host: it needs a subjectAltName, such as DNS:{} (a common name alone is not enough)", Escaped(.host))]
    NoName { host: String },
    /// Nobody known has signed it.
    #[error("its certificate is signed by nobody who is trusted here")]
    UnknownIssuer,
    /// It is not for servers.
    #[error(
        "its certificate is not for servers: its extended key usage has neither serverAuth nor any"
    )]
    Purpose,
    /// It is signed in a way that is not accepted.
    #[error(
        "its certificate is signed by {algorithm}, which is not accepted: have it signed by RSA, ECDSA or Ed25519 with SHA-256 or better"
    )]
    Algorithm { algorithm: String },
    /// The signature does not fit.
    #[error(
        "the signature of its certificate is not by the authority whose name it gives: there may be an older certificate of that authority here"
    )]
    Signature,
    /// The chain leads somewhere it may not.
    #[error("an authority that signed its certificate was not allowed to ({problem})")]
    Chain { problem: &'static str },
    /// It cannot be understood.
    #[error("its certificate cannot be used: {problem}")]
    Damaged { problem: &'static str },
}

impl Refusal {
    pub(super) fn of(
        error: &webpki::Error,
        certificate: Option<&Certificate<'_>>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Self {
        use webpki::Error;

        let host = name.to_str().into_owned();
        match error {
            Error::CertExpired { not_after, .. } => Self::Expired {
                until: Moment(not_after.as_secs()),
                now: Moment(now.as_secs()),
            },
            Error::CertNotValidYet { not_before, .. } => Self::NotYet {
                from: Moment(not_before.as_secs()),
                now: Moment(now.as_secs()),
            },
            Error::CertNotValidForName(_)
                if matches!(name, ServerName::IpAddress(_))
                    && certificate.is_some_and(|certificate| certificate.has_dns_name(&host)) =>
            {
                Self::Address { host }
            }
            Error::CertNotValidForName(_) => {
                match certificate.map(Certificate::names).unwrap_or_default() {
                    names if names.is_empty() => Self::NoName { host },
                    names => Self::Name { host, names },
                }
            }
            Error::UnknownIssuer => Self::UnknownIssuer,
            Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => Self::Purpose,
            Error::UnsupportedSignatureAlgorithmContext(context) => Self::Algorithm {
                algorithm: certificate::algorithm(&context.signature_algorithm_id),
            },
            Error::UnsupportedSignatureAlgorithmForPublicKeyContext(context) => Self::Algorithm {
                algorithm: certificate::algorithm(&context.signature_algorithm_id),
            },
            Error::InvalidSignatureForPublicKey => Self::Signature,
            Error::EndEntityUsedAsCa => Self::Chain {
                problem: "it is none",
            },
            Error::PathLenConstraintViolated => Self::Chain {
                problem: "there are more authorities below it than it may have",
            },
            Error::NameConstraintViolation => Self::Chain {
                problem: "the host is none of those it may sign for",
            },
            Error::CertDistrusted => Self::Chain {
                problem: "its key is known to be in wrong hands",
            },
            Error::MaximumPathBuildCallsExceeded
            | Error::MaximumPathDepthExceeded
            | Error::MaximumSignatureChecksExceeded
            | Error::MaximumNameConstraintComparisonsExceeded => Self::Chain {
                problem: "there are too many to check",
            },
            Error::UnsupportedCertVersion => Self::Damaged {
                problem: "it is of another version than 3",
            },
            Error::UnsupportedCriticalExtension => Self::Damaged {
                problem: "it has a critical extension that is not understood",
            },
            Error::InvalidCertValidity => Self::Damaged {
                problem: "it ends before it begins",
            },
            Error::InvalidSerialNumber => Self::Damaged {
                problem: "its serial number is none",
            },
            Error::CaUsedAsEndEntity => Self::Damaged {
                problem: "it is that of an authority, and not signed by one that is trusted itself",
            },
            _ => Self::Damaged {
                problem: "it is damaged",
            },
        }
    }
}

impl From<Refusal> for rustls::Error {
    fn from(refusal: Refusal) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
    }
}

/// An authority that signed, as words have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signer {
    /// What its certificate calls it; may be empty.
    pub(super) name: String,
    /// Whether it is trusted here, or only shown by the server.
    pub(super) is_trusted: bool,
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.is_trusted {
            true => "the trusted certificate of the authority",
            false => "the certificate, shown by the server, of the authority",
        })?;
        match self.name.as_str() {
            "" => Ok(()),
            name => write!(f, " `{}`", Escaped(name)),
        }
    }
}

/// What is wrong with an authority, and what to do.
struct Faulty<'a>(&'a Fault, bool);

impl fmt::Display for Faulty<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(fault, is_trusted) = self;
        match fault {
            Fault::Expired { until, now } => write!(
                f,
                "has expired: it was valid until {until}, and it is {now} by the clock here"
            ),
            Fault::NotYet { from, now } => {
                write!(
                    f,
                    "is valid from {from} on, and it is {now} by the clock here"
                )
            }
            Fault::KeyUsage => f.write_str("may not sign any: its key usage has no keyCertSign"),
            Fault::Purpose => f.write_str(
                "may sign none of servers: its extended key usage has neither serverAuth nor any",
            ),
        }?;
        let is_time = matches!(fault, Fault::Expired { .. } | Fault::NotYet { .. });
        f.write_str(match (is_trusted, is_time) {
            (true, true) => "; put a newer one in its place, unless the clock is wrong",
            (false, true) => {
                "; the registry's administrator has to replace it, unless the clock is wrong"
            }
            (true, false) => {
                "; have the authority's made anew with it, or trust the server's own certificate"
            }
            (false, false) => "; the registry's administrator has to have it made anew with it",
        })
    }
}

/// A point in time, seconds after 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) u64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Years that begin in March, so that the leap day comes last; 400 of them have the same number of days.
        let days = self.0 / 86_400 + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let of_year = day - (365 * year + year / 4 - year / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        let year = era * 400 + year + u64::from(month <= 2);
        let (hour, minute) = (self.0 / 3600 % 24, self.0 / 60 % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
    }
}

struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, name) in self.0.iter().enumerate() {
            let before = if number == 0 { "" } else { ", " };
            write!(f, "{before}`{}`", Escaped(name))?;
        }
        Ok(())
    }
}

/// What TLS has against the other side, or the other side against us.
#[derive(Debug)]
pub(crate) struct TlsFailure {
    pub(crate) error: rustls::Error,
    /// Whom we spoke to, as its directory of certificates is called.
    pub(super) host: String,
    /// The client's certificate that was there to be shown.
    pub(super) client: Option<PathBuf>,
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let rustls::Error::AlertReceived(alert) = &self.error {
            return told(f, *alert, self.client.as_deref(), &self.host);
        }
        Words(&self.error).fmt(f)?;
        if refusal(&self.error) == Some(&Refusal::UnknownIssuer) {
            write!(
                f,
                ": put the certificate of the authority that signed it, or this one, as ca.crt into \
                 /etc/containers/certs.d/{}, or name its file as `ca` in registries.toml",
                Escaped(&self.host)
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for TlsFailure {}

fn refusal(error: &rustls::Error) -> Option<&Refusal> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref(),
        _ => None,
    }
}

/// What the other side says before it hangs up (RFC 8446, section 6.2). What it has against a certificate can only be
/// against the client's.
fn told(
    f: &mut fmt::Formatter<'_>,
    alert: AlertDescription,
    client: Option<&Path>,
    host: &str,
) -> fmt::Result {
    let reason = match alert {
        AlertDescription::CertificateExpired => "it has expired",
        AlertDescription::CertificateRevoked => "it was revoked",
        AlertDescription::UnknownCA => "it does not know who signed it",
        AlertDescription::UnsupportedCertificate => "it does not know certificates of this kind",
        AlertDescription::AccessDenied => "whom it names has no access",
        AlertDescription::DecryptError if client.is_some() => "a signature of it is wrong",
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRequired => "it does not say why",
        AlertDescription::HandshakeFailure if client.is_none() => {
            return write!(
                f,
                "it ends the TLS handshake: it has no cipher in common with TLS 1.2 and 1.3 of today, or wants a \
                 certificate of the client ({})",
                Client(host)
            );
        }
        AlertDescription::ProtocolVersion => {
            return f.write_str("it speaks neither TLS 1.2 nor TLS 1.3");
        }
        AlertDescription::UnrecognisedName => {
            return f
                .write_str("it does not know itself by this name (TLS alert unrecognized_name)");
        }
        other => return write!(f, "it ends the TLS connection ({})", Alert(other)),
    };
    match client {
        None => write!(
            f,
            "it wants a certificate of the client, and none is configured: {}",
            Client(host)
        ),
        Some(path) => write!(
            f,
            "it does not accept the client's certificate `{}`: {reason} ({})",
            Escaped::path(path),
            Alert(alert)
        ),
    }
}

/// Where a client's certificate belongs.
struct Client<'a>(&'a str);

impl fmt::Display for Client<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "put it as client.cert, and its key as client.key, into /etc/containers/certs.d/{}, or name them as \
             `client-cert` and `client-key` in registries.toml",
            Escaped(self.0)
        )
    }
}

struct Alert(AlertDescription);

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_str() {
            Some(name) => write!(f, "TLS alert {name}"),
            None => write!(f, "TLS alert {}", u8::from(self.0)),
        }
    }
}

/// An error of the TLS library in our words.
pub(super) struct Words<'a>(pub(super) &'a rustls::Error);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use rustls::Error;

        if let Some(refusal) = refusal(self.0) {
            return refusal.fmt(f);
        }
        match self.0 {
            Error::InvalidCertificate(CertificateError::BadSignature) => {
                f.write_str("it does not prove that it has the key of its certificate")
            }
            Error::InvalidCertificate(CertificateError::BadEncoding) => {
                f.write_str("its certificate is damaged")
            }
            Error::InvalidCertificate(e) => write!(f, "its certificate is not accepted: {e}"),
            Error::NoCertificatesPresented => f.write_str("it shows no certificate"),
            Error::InvalidMessage(_) => f.write_str("what it says is no TLS"),
            Error::PeerIncompatible(_) => f.write_str(
                "it has no version, cipher or kind of signature in common with TLS 1.2 and 1.3 of today",
            ),
            Error::InconsistentKeys(_) => f.write_str(
                "the key is not that of the certificate: name the key it was made with (`openssl x509 -noout -pubkey -in` \
                 the one and `openssl pkey -pubout -in` the other print the same)",
            ),
            e => write!(f, "TLS: {e}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (784_111_777, "1994-11-06 08:49 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59 UTC"),
            (4_102_444_800, "2100-01-01 00:00 UTC"),
            (253_402_300_799, "9999-12-31 23:59 UTC"),
        ] {
            assert_eq!(Moment(seconds).to_string(), text);
        }
    }

    fn alert(alert: AlertDescription, client: Option<&str>) -> String {
        let failure = TlsFailure {
            error: rustls::Error::AlertReceived(alert),
            host: "r.example:5000".into(),
            client: client.map(PathBuf::from),
        };
        failure.to_string()
    }

    #[test]
    fn what_a_server_says_of_our_certificate() {
        for wanted in [
            AlertDescription::CertificateRequired,
            AlertDescription::BadCertificate,
        ] {
            let text = alert(wanted, None);
            assert!(text.contains("none is configured"), "{text}");
            assert!(text.contains("certs.d/r.example:5000,"), "{text}");
        }
        let text = alert(AlertDescription::UnknownCA, Some("/x/c.cert"));
        assert!(
            text.contains("`/x/c.cert`: it does not know who signed it"),
            "{text}"
        );
        let text = alert(AlertDescription::ProtocolVersion, None);
        assert_eq!(text, "it speaks neither TLS 1.2 nor TLS 1.3");
    }
}
