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

    use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

    use super::{Error, Path, Stream, TcpStream};
    use crate::store::tls::{Check, Files, client};

    pub(in super::super) struct Tls(TlsConnector);

    impl Tls {
        /// Trusts the certificates in the file, or those that this machine trusts.
        pub(in super::super) fn new(ca: Option<&Path>) -> Result<Self, Error> {
            let files = Files { roots: ca.map(|file| ("ca", file)), identity: None };
            Ok(Self(Arc::new(client(Check::Name, &files)?).into()))
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
}
