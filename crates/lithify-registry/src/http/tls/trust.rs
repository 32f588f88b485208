//! Whom to believe.

use std::collections::HashSet;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter};

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
    themselves: HashSet<Vec<u8>>,
}

impl Trust {
    /// Believes a certificate; one that may not sign others (RFC 5280, section 4.2.1.9) for itself only.
    pub(super) fn add(&mut self, der: &CertificateDer<'_>) -> Result<(), webpki::Error> {
        let anchor = webpki::anchor_from_trusted_cert(der)?.to_owned();
        if Certificate::parse(der).is_none_or(|certificate| certificate.may_sign()) {
            self.anchors.push(anchor);
        }
        self.themselves.insert(der.to_vec());
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.themselves.is_empty()
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
    ) -> Result<(), webpki::Error> {
        let trust = &self.trust;
        let chain = |anchors: &[TrustAnchor<'_>], others: &[CertificateDer<'_>]| {
            let algorithms = self.algorithms.all;
            shown
                .verify_for_usage(algorithms, anchors, others, now, ForServers, None, None)
                .map(drop)
        };
        let itself = trust.themselves.contains(der.as_ref());
        if !itself && !certificate.is_authority() {
            return chain(&trust.anchors, others);
        }
        // All but who signed it: a chain without anybody to end at.
        match chain(&[], &[]) {
            Ok(()) | Err(webpki::Error::UnknownIssuer | webpki::Error::CaUsedAsEndEntity) => {}
            Err(error) => return Err(error),
        }
        if !certificate.is_for_servers() {
            return Err(webpki::Error::EmptyEkuExtension);
        }
        match itself || self.is_signed(certificate) {
            true => Ok(()),
            false => Err(webpki::Error::UnknownIssuer),
        }
    }

    /// Whether somebody who is trusted has signed a certificate himself. The check of chains lets no authority's
    /// certificate be a server's, though no standard forbids it (RFC 5280, section 6.1, knows no such rule) and OpenSSL and Go
    /// allow it.
    fn is_signed(&self, certificate: &Certificate<'_>) -> bool {
        // What constrained authorities may sign is for the check of chains to say.
        let issuers = self.trust.anchors.iter().filter(|anchor| {
            anchor.subject.as_ref() == certificate.issuer && anchor.name_constraints.is_none()
        });
        issuers
            .filter_map(|issuer| certificate::key(issuer.subject_public_key_info.as_ref()))
            .any(|(kind, key)| {
                self.algorithms.all.iter().any(|algorithm| {
                    algorithm.signature_alg_id().as_ref() == certificate.algorithm
                        && algorithm.public_key_alg_id().as_ref() == kind
                        && algorithm
                            .verify_signature(key, certificate.signed, certificate.signature)
                            .is_ok()
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
            .and_then(|()| shown.verify_is_valid_for_subject_name(name))
            .map_err(|e| refused(e, Some(&certificate)))?;
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
