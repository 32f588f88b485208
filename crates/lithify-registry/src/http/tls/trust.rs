//! Whom to believe.

use std::cell::RefCell;
use std::collections::HashSet;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, VerifiedPath,
};

use super::certificate::{self, Certificate};
use super::refusal::Refusal;

/// Certificates that are believed: what they sign, and they themselves.
///
/// One that is trusted and shown by the server itself needs no chain: whoever has its key was trusted by name when its file
/// was put there. That grants nothing more: an authority's key could sign any certificate it likes, and by
/// identity it stands for the names in it alone. Name, validity and purpose count as for any other.
#[derive(Debug, Default)]
pub(super) struct Trust {
    anchors: Vec<TrustAnchor<'static>>,
    /// The certificate of each of these.
    authorities: Vec<CertificateDer<'static>>,
    themselves: HashSet<Vec<u8>>,
}

impl Trust {
    /// Believes a certificate; one that may not sign others (RFC 5280, section 4.2.1.9) for itself only.
    pub(super) fn add(&mut self, der: &CertificateDer<'_>) -> Result<(), webpki::Error> {
        let anchor = webpki::anchor_from_trusted_cert(der)?.to_owned();
        if Certificate::parse(der).is_none_or(|certificate| certificate.may_sign()) {
            self.anchors.push(anchor);
            self.authorities.push(der.clone().into_owned());
        }
        self.themselves.insert(der.to_vec());
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.themselves.is_empty()
    }

    /// Whether it is the time of an authority, by one of the certificates it has here: the check of chains does not look.
    fn is_time_of(&self, authority: &TrustAnchor<'_>, now: UnixTime) -> Result<(), webpki::Error> {
        let mut found = Ok(());
        for (anchor, der) in self.anchors.iter().zip(&self.authorities) {
            let is_it = anchor.subject == authority.subject
                && anchor.subject_public_key_info == authority.subject_public_key_info;
            if is_it {
                found = is_time_of(der, now);
                if found.is_ok() {
                    break;
                }
            }
        }
        found
    }
}

/// Whether it is the time of a certificate; any time is that of one that is not of version 3.
fn is_time_of(der: &CertificateDer<'_>, now: UnixTime) -> Result<(), webpki::Error> {
    let Ok(certificate) = EndEntityCert::try_from(der) else {
        return Ok(());
    };
    // The first thing that is looked at. There is nobody who could have signed it.
    match certificate.verify_for_usage(&[], &[], &[], now, ForServers, None, None) {
        Err(
            error @ (webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. }),
        ) => Err(error),
        _ => Ok(()),
    }
}

/// What there is against a certificate.
enum Doubt {
    /// What is said of it.
    Itself(webpki::Error),
    /// The time of the authority that is trusted.
    Authority(webpki::Error),
}

impl From<webpki::Error> for Doubt {
    fn from(error: webpki::Error) -> Self {
        Self::Itself(error)
    }
}

/// The check of what a server shows.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) trust: Trust,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// `serverAuth`, or any purpose.
struct ForServers;

impl ExtendedKeyUsageValidator for ForServers {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut none = true;
        for purpose in purposes {
            let purpose = purpose?;
            let is = |accepted| purpose == KeyPurposeId::new(accepted);
            if certificate::FOR_SERVERS.into_iter().any(is) {
                return Ok(());
            }
            none = false;
        }
        match none {
            true => Ok(()),
            false => Err(webpki::Error::EmptyEkuExtension),
        }
    }
}

impl Verifier {
    fn check(
        &self,
        certificate: &Certificate<'_>,
        shown: &EndEntityCert<'_>,
        der: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Doubt> {
        let trust = &self.trust;
        let untimely = RefCell::new(None);
        let timely = |path: &VerifiedPath<'_>| {
            trust.is_time_of(path.anchor(), now).inspect_err(|error| {
                untimely.replace(Some(error.clone()));
            })
        };
        let chain = |anchors: &[TrustAnchor<'_>], others: &[CertificateDer<'_>]| {
            let (all, last): (_, &dyn Fn(&VerifiedPath<'_>) -> _) = (self.algorithms.all, &timely);
            shown
                .verify_for_usage(all, anchors, others, now, ForServers, None, Some(last))
                .map(drop)
        };
        let itself = trust.themselves.contains(der.as_ref());
        if !itself && !certificate.is_authority() {
            return chain(&trust.anchors, others).map_err(|error| match untimely.take() {
                Some(time) if time == error => Doubt::Authority(error),
                _ => Doubt::Itself(error),
            });
        }
        // All but who signed it: a chain without anybody to end at.
        match chain(&[], &[]) {
            Ok(()) | Err(webpki::Error::UnknownIssuer | webpki::Error::CaUsedAsEndEntity) => {}
            Err(error) => return Err(error.into()),
        }
        if !certificate.is_for_servers() {
            return Err(webpki::Error::EmptyEkuExtension.into());
        }
        match itself {
            true => Ok(()),
            false => {
                let issuer = self.issuer(certificate);
                let issuer = issuer.ok_or(webpki::Error::UnknownIssuer)?;
                trust.is_time_of(issuer, now).map_err(Doubt::Authority)
            }
        }
    }

    /// Who of those that are trusted has signed a certificate himself. The check of chains lets no authority's
    /// certificate be a server's, though no standard forbids it (RFC 5280, section 6.1, knows no such rule) and OpenSSL and Go
    /// allow it.
    fn issuer(&self, certificate: &Certificate<'_>) -> Option<&TrustAnchor<'static>> {
        // What constrained authorities may sign is for the check of chains to say.
        let mut issuers = self.trust.anchors.iter().filter(|anchor| {
            anchor.subject.as_ref() == certificate.issuer && anchor.name_constraints.is_none()
        });
        issuers.find(|issuer| {
            let info = issuer.subject_public_key_info.as_ref();
            certificate::key(info).is_some_and(|(kind, key)| {
                self.algorithms.all.iter().any(|algorithm| {
                    algorithm.signature_alg_id().as_ref() == certificate.algorithm
                        && algorithm.public_key_alg_id().as_ref() == kind
                        && algorithm
                            .verify_signature(key, certificate.signed, certificate.signature)
                            .is_ok()
                })
            })
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        der: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let refused = |error: webpki::Error, certificate: Option<&Certificate<'_>>| {
            rustls::Error::from(Refusal::of(&error, certificate, name, now))
        };
        let shown = EndEntityCert::try_from(der).map_err(|e| refused(e, None))?;
        let certificate =
            Certificate::parse(der).ok_or_else(|| refused(webpki::Error::BadDer, None))?;
        self.check(&certificate, &shown, der, others, now)
            .and_then(|()| Ok(shown.verify_is_valid_for_subject_name(name)?))
            .map_err(|doubt| match doubt {
                Doubt::Itself(error) => refused(error, Some(&certificate)),
                Doubt::Authority(error) => Refusal::of_authority(&error, now).into(),
            })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Believes whatever is shown.
#[derive(Debug)]
pub(super) struct Unchecked;

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        use SignatureScheme as S;

        vec![
            S::ED25519,
            S::ED448,
            S::ECDSA_NISTP256_SHA256,
            S::ECDSA_NISTP384_SHA384,
            S::ECDSA_NISTP521_SHA512,
            S::RSA_PSS_SHA256,
            S::RSA_PSS_SHA384,
            S::RSA_PSS_SHA512,
            S::RSA_PKCS1_SHA256,
            S::RSA_PKCS1_SHA384,
            S::RSA_PKCS1_SHA512,
            S::ECDSA_SHA1_Legacy,
            S::RSA_PKCS1_SHA1,
        ]
    }
}
