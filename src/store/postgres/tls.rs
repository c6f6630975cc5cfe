//! What `sslmode` means, as libpq has it; TLS itself if the feature `tls` is built in.

use std::path::PathBuf;

use tokio_postgres::config::SslMode;

use crate::Error;

/// `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Disable,
    /// With TLS if the server has it; `allow` too.
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl Mode {
    pub(super) fn named(name: &str) -> Result<Self, Error> {
        Ok(match name {
            "disable" => Self::Disable,
            "allow" | "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => {
                return Err(Error::configuration(
                    "the URL's parameter sslmode is disable, allow, prefer, require, verify-ca or verify-full",
                ));
            }
        })
    }

    /// For the driver, which leaves the certificate to us.
    pub(super) fn driver(self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => SslMode::Require,
        }
    }
}

/// Files that the URL names.
pub(super) struct Named {
    pub(super) roots: Option<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

/// How to connect.
#[derive(Clone)]
pub(super) enum Tls {
    No,
    #[cfg(feature = "tls")]
    Rustls(tokio_postgres_rustls::MakeRustlsConnect),
}

#[cfg(not(feature = "tls"))]
impl Tls {
    pub(super) fn new(mode: Option<Mode>, files: &Named) -> Result<Self, Error> {
        let wanted = matches!(mode, Some(Mode::Require | Mode::VerifyCa | Mode::VerifyFull));
        if wanted || [&files.roots, &files.certificate, &files.key].into_iter().any(Option::is_some) {
            return Err(Error::configuration(
                "the database URL asks for TLS, which is not built in: add the feature tls of actix-django-session, or \
                 build a deadpool pool with a TLS connector of yours and use PostgresStore::from_pool",
            ));
        }
        Ok(Self::No)
    }
}

#[cfg(feature = "tls")]
impl Tls {
    pub(super) fn new(mode: Option<Mode>, named: &Named) -> Result<Self, Error> {
        use crate::store::tls::{Check, Files, client};

        // As libpq takes it: those of the machine.
        let roots = named.roots.as_deref().filter(|file| file.as_os_str() != "system");
        let check = match mode {
            Some(Mode::Disable) => return Ok(Self::No),
            Some(Mode::VerifyFull) => Check::Name,
            Some(Mode::VerifyCa) => Check::Authority,
            // As in libpq, a file with authorities is not given in vain.
            Some(Mode::Require) if named.roots.is_some() => Check::Authority,
            Some(Mode::Require | Mode::Prefer) | None => Check::Nothing,
        };
        let identity = match (&named.certificate, &named.key) {
            (Some(certificate), Some(key)) => Some([("sslcert", &**certificate), ("sslkey", &**key)]),
            (None, None) => None,
            _ => {
                return Err(Error::configuration(
                    "the URL's parameters sslcert and sslkey go together: a certificate and its key",
                ));
            }
        };
        let files = Files { roots: roots.map(|file| ("sslrootcert", file)), identity };
        Ok(Self::Rustls(tokio_postgres_rustls::MakeRustlsConnect::new(client(check, &files)?)))
    }
}
