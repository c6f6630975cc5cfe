//! TLS to Redis, with rustls, if the feature `tls` is built in.

use std::{io, path::Path};

use tokio::net::TcpStream;

use super::stream::ByteStream;
use crate::Error;

#[cfg(feature = "tls")]
pub(super) struct TlsClient(tokio_rustls::TlsConnector);

#[cfg(feature = "tls")]
impl TlsClient {
    /// Trusts the certificates in the file, or those that this machine trusts; any certificate if nothing is
    /// to be verified.
    pub(super) fn new(ca: Option<&Path>, verify: bool) -> Result<Self, Error> {
        use crate::backend::tls::{Check, Files, client};
        let files = Files { roots: ca.map(|file| ("ca", file)), identity: None };
        let check = if verify { Check::Name } else { Check::Nothing };
        Ok(Self(std::sync::Arc::new(client(check, &files)?).into()))
    }

    pub(super) async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<Box<dyn ByteStream>> {
        let name = tokio_rustls::rustls::pki_types::ServerName::try_from(host.to_owned());
        Ok(Box::new(self.0.connect(name.map_err(io::Error::other)?, stream).await?))
    }
}

/// Without the feature there is no value of this type.
#[cfg(not(feature = "tls"))]
pub(super) enum TlsClient {}

#[cfg(not(feature = "tls"))]
impl TlsClient {
    pub(super) fn new(_: Option<&Path>, _: bool) -> Result<Self, Error> {
        Err(Error::configuration("rediss:// needs TLS: add the feature tls of actix-django-session"))
    }

    #[allow(clippy::unused_async)] // as with the feature
    pub(super) async fn connect(&self, _: &str, _: TcpStream) -> io::Result<Box<dyn ByteStream>> {
        match *self {}
    }
}
