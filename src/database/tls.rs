//! TLS to database servers by rustls.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::broker::settings::DatabaseTls;
use crate::database::problem::Failure;

/// The client's side of TLS; none when connections are not encrypted.
pub fn config(tls: &DatabaseTls) -> Result<Option<Arc<ClientConfig>>, Failure> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| failed(&error))?;
    let config = match tls {
        DatabaseTls::Off => return Ok(None),
        DatabaseTls::Encrypted => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth(),
        DatabaseTls::Verified { ca } => {
            builder.with_root_certificates(roots(ca)?).with_no_client_auth()
        }
    };
    Ok(Some(Arc::new(config)))
}

fn roots(path: &str) -> Result<RootCertStore, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::Tls(format!("the authority's certificates in {path} cannot be read: {error}"))
    };
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&in_words(&error)))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unreadable(&in_words(&error)))?;
        roots.add(certificate).map_err(|_| unreadable(&"one is no X.509 certificate"))?;
    }
    if roots.is_empty() {
        return Err(unreadable(&"there is none"));
    }
    Ok(roots)
}

/// What is wrong with a PEM file. The error's own words quote the line: `caSecret` may name any Secret.
fn in_words(error: &pem::Error) -> String {
    if let pem::Error::Io(error) = error {
        return error.to_string();
    }
    "it is not in PEM format".to_owned()
}

fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure::Tls(error.to_string())
}

/// Believes whoever answers: mode `Require`, as the JDBC drivers have it.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_file_is_told_that_holds_no_certificates() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        for text in [
            "hunter2".to_owned(),
            "-----BEGIN hunter2".to_owned(),
            "-----BEGIN CERTIFICATE-----\nhunter2".to_owned(),
            "-----BEGIN CERTIFICATE-----\nhunter2\n-----END hunter2-----".to_owned(),
            "-----BEGIN CERTIFICATE-----\nhunter2=\n-----END CERTIFICATE-----".to_owned(),
            "-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----".to_owned(),
        ] {
            std::fs::write(path, &text).unwrap();
            let failure = format!("{:?}", roots(path).unwrap_err());
            assert!(failure.contains(path), "{failure}");
            let bytes = format!("{:?}", b"hunter2");
            let quoted = ["hunter2", "aHVudGVyMg", bytes.trim_matches(['[', ']'])];
            assert!(quoted.iter().all(|quote| !failure.contains(quote)), "{text}: {failure}");
        }
    }
}
