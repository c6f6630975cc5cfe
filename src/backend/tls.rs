//! TLS to databases and caches, with rustls.

use std::{path::Path, sync::Arc};

use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};

use crate::Error;

/// The checks of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Nothing: encrypts, but does not authenticate the server.
    Nothing,
    /// Its signature by a trusted authority.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "only PostgreSQL has sslmode=verify-ca")
    )]
    Authority,
    /// The signature, and that it is for the name in the URL.
    Name,
}

/// Files that a URL names, each with the parameter that named it.
#[derive(Debug, Default)]
pub(super) struct Files<'a> {
    /// Certificates of the authorities to trust. Default: those that this machine trusts.
    pub(super) roots: Option<(&'a str, &'a Path)>,
    /// The client's certificate and its key.
    pub(super) identity: Option<[(&'a str, &'a Path); 2]>,
}

pub(super) fn client(check: Check, files: &Files<'_>) -> Result<ClientConfig, Error> {
    // The application may have chosen a provider.
    let provider = CryptoProvider::get_default().cloned();
    let provider = provider.unwrap_or_else(|| Arc::new(ring::default_provider()));
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .dangerous() // rustls's name for every verifier but its own
        .with_custom_certificate_verifier(verifier(check, files, provider)?);
    match files.identity {
        None => Ok(config.with_no_client_auth()),
        Some([certificate, key]) => {
            let key = PrivateKeyDer::from_pem_slice(&read(key, "a private key")?)
                .map_err(|error| refused(key, "a private key", error.to_string()))?;
            let certificates = certificates(certificate)?;
            config.with_client_auth_cert(certificates, key).map_err(unusable)
        }
    }
}

fn verifier(
    check: Check,
    files: &Files<'_>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    if check == Check::Nothing {
        return Ok(Arc::new(Anybody(provider)));
    }
    let (mut roots, mut given) = (RootCertStore::empty(), Vec::new());
    match files.roots {
        Some(file) => {
            given = certificates(file)?;
            for certificate in &given {
                roots
                    .add(certificate.clone())
                    .map_err(|error| refused(file, "certificates to trust", error.to_string()))?;
            }
        }
        None => {
            let _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(Error::configuration(
                    "this machine trusts no authorities: install ca-certificates, or name a file in the URL",
                ));
            }
        }
    }
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    Ok(Arc::new(Trusted { chain: chain.map_err(unusable)?, given, any_name: check == Check::Authority }))
}

fn unusable(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::store_caused_by("cannot use TLS", cause)
}

fn certificates(file: (&str, &Path)) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(file, "certificates")?).collect();
    let found = found.map_err(|error| refused(file, "certificates", error.to_string()))?;
    if found.is_empty() {
        return Err(refused(file, "certificates", "the file contains none".to_owned()));
    }
    Ok(found)
}

fn read(file: (&str, &Path), content: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(file.1).map_err(|error| refused(file, content, error.to_string()))
}

/// Does not show the path: in a malformed URL it may be a part of the password.
fn refused((parameter, _): (&str, &Path), content: &str, cause: String) -> Error {
    let text = format!(
        "cannot read the file that the URL's parameter {parameter} names: it must contain {content} in PEM \
         form"
    );
    Error::store_caused_by(text, cause)
}

/// Accepts every certificate, but verifies the handshake.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Accepts what a trusted authority signed and, as OpenSSL does, a given certificate itself.
#[derive(Debug)]
struct Trusted {
    chain: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
    /// Whether to accept a certificate for any name.
    any_name: bool,
}

impl Trusted {
    /// Whether the server's certificate is a given one that signed itself. `openssl req -x509`, as in
    /// PostgreSQL's manual, marks it as an authority's, which rustls refuses for a server. That check follows
    /// the one of the dates. The error's type is not public, and its text is the name of the variant.
    fn is_given(&self, end_entity: &CertificateDer<'_>, error: &CertificateError) -> bool {
        matches!(error, CertificateError::Other(error) if error.to_string() == "CaUsedAsEndEntity")
            && self.given.iter().any(|given| given == end_entity)
    }
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let verified =
            self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // rustls verifies the name last.
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.any_name => Ok(ServerCertVerified::assertion()),
            Err(TlsError::InvalidCertificate(error)) if self.is_given(end_entity, &error) => {
                if !self.any_name {
                    verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
