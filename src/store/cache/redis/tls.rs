//! TLS to Redis, with rustls, if the feature `tls` is built in.

use std::path::Path;

use tokio::net::TcpStream;

use super::server::Stream;
use crate::Error;

#[cfg(feature = "tls")]
pub(super) use self::with_rustls::Tls;

/// There is none.
#[cfg(not(feature = "tls"))]
pub(super) enum Tls {}

#[cfg(not(feature = "tls"))]
impl Tls {
    pub(super) fn new(_: Option<&Path>) -> Result<Self, Error> {
        Err(Error::configuration(
            "rediss:// needs TLS, which is not built in: add the feature tls of actix-django-session",
        ))
    }

    #[allow(clippy::unused_async)] // as with the feature
    pub(super) async fn connect(&self, _: &str, _: TcpStream) -> std::io::Result<Box<dyn Stream>> {
        match *self {}
    }
}

#[cfg(feature = "tls")]
mod with_rustls {
    use std::sync::Arc;

    use tokio_rustls::{
        TlsConnector,
        rustls::{
            ClientConfig, RootCertStore,
            crypto::{CryptoProvider, ring},
            pki_types::{CertificateDer, ServerName, pem::PemObject as _},
        },
    };

    use super::{Error, Path, Stream, TcpStream};

    pub(in super::super) struct Tls(TlsConnector);

    impl Tls {
        /// Trusts the certificates in the file, or those that this machine trusts.
        pub(in super::super) fn new(ca: Option<&Path>) -> Result<Self, Error> {
            let roots = match ca {
                Some(file) => from_file(file)?,
                None => of_this_machine()?,
            };
            // Which provider is the application's choice, if it made one.
            let provider = CryptoProvider::get_default().cloned();
            let provider = provider.unwrap_or_else(|| Arc::new(ring::default_provider()));
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|cause| Error::store_caused_by("cannot use TLS", cause))?
                .with_root_certificates(roots)
                .with_no_client_auth();
            Ok(Self(Arc::new(config).into()))
        }

        pub(in super::super) async fn connect(
            &self,
            host: &str,
            stream: TcpStream,
        ) -> std::io::Result<Box<dyn Stream>> {
            let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
            Ok(Box::new(self.0.connect(name, stream).await?))
        }
    }

    fn from_file(file: &Path) -> Result<RootCertStore, Error> {
        let unreadable = |cause| {
            let text =
                "cannot read the file that the parameter ca names: it must hold certificates in PEM form";
            Error::store_caused_by(text, cause)
        };
        let pem = std::fs::read(file).map_err(|error| unreadable(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(unreadable("there is none in it".to_owned()));
        }
        Ok(roots)
    }

    fn of_this_machine() -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        let _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(Error::configuration(
                "this machine has no certificates to trust: install ca-certificates, or name a file with ?ca=",
            ));
        }
        Ok(roots)
    }
}
