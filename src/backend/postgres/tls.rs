//! `sslmode` with libpq's meaning, and TLS if the feature `tls` is built in.

use std::path::PathBuf;

use tokio_postgres::config::SslMode;

use crate::{Error, backend::parameters::Parameters};

/// Whether connections are encrypted.
#[derive(Clone)]
pub(super) enum Transport {
    Plain,
    #[cfg(feature = "tls")]
    Rustls(tokio_postgres_rustls::MakeRustlsConnect),
}

/// The value of `sslmode`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SslLevel {
    Disable,
    /// TLS if the server supports it. `allow` means the same here.
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl SslLevel {
    fn parse(name: &str) -> Result<Self, Error> {
        Ok(match name {
            "disable" => Self::Disable,
            "allow" | "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => {
                return Err(Error::configuration(
                    "the URL's parameter sslmode is disable, allow, prefer, require, verify-ca or \
                     verify-full",
                ));
            }
        })
    }

    /// Returns the driver's setting. It does not verify certificates: the connector does.
    fn driver(self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => SslMode::Require,
        }
    }
}

/// Files that the URL names.
struct PemFiles {
    roots: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl PemFiles {
    /// Whether `roots` means the authorities of this machine.
    fn system(&self) -> bool {
        self.roots.as_ref().is_some_and(|roots| roots.as_os_str() == "system")
    }
}

impl Transport {
    /// Takes the URL's parameters about TLS. Without `sslmode`, the driver has taken it from a text of the
    /// form `host=… sslmode=…`. Returns the driver's setting too.
    pub(super) fn take(parameters: &mut Parameters, driver: SslMode) -> Result<(Self, SslMode), Error> {
        let level = match (parameters.take::<String>("sslmode")?, driver) {
            (Some(name), _) => Some(SslLevel::parse(&name)?),
            (None, SslMode::Disable) => Some(SslLevel::Disable),
            (None, SslMode::Require) => Some(SslLevel::Require),
            (None, _) => None,
        };
        let mut file = |name| parameters.take::<PathBuf>(name);
        let files =
            PemFiles { roots: file("sslrootcert")?, certificate: file("sslcert")?, key: file("sslkey")? };
        // Files change the level, as in libpq.
        let level = match (level, &files.roots) {
            (None, None) => Ok(SslLevel::Prefer),
            (None, Some(_)) if files.system() => Ok(SslLevel::VerifyFull),
            (None, Some(_)) => Ok(SslLevel::Require),
            (Some(SslLevel::Prefer), Some(_)) => {
                Err("the URL's parameter sslrootcert is for sslmode=require, verify-ca or verify-full")
            }
            (Some(SslLevel::Require | SslLevel::VerifyCa), Some(_)) if files.system() => Err(
                "the authorities of this machine (sslrootcert=system) sign certificates for anybody: use \
                 sslmode=verify-full",
            ),
            (Some(SslLevel::VerifyCa), None) => {
                Err("sslmode=verify-ca needs an authority to trust: name its file \
                 by sslrootcert, or use sslmode=verify-full")
            }
            (Some(level), _) => Ok(level),
        };
        let level = level.map_err(Error::configuration)?;
        Ok((Self::new(level, &files)?, level.driver()))
    }

    #[cfg(not(feature = "tls"))]
    fn new(level: SslLevel, files: &PemFiles) -> Result<Self, Error> {
        let named = [&files.roots, &files.certificate, &files.key].into_iter().any(Option::is_some);
        if level.driver() == SslMode::Require || named {
            return Err(Error::configuration(
                "the database URL asks for TLS, which is not built in: add the feature tls of \
                 actix-django-session, or make a deadpool pool with a TLS connector of your own and use \
                 Postgres::from_pool",
            ));
        }
        Ok(Self::Plain)
    }

    #[cfg(feature = "tls")]
    fn new(level: SslLevel, files: &PemFiles) -> Result<Self, Error> {
        use crate::backend::tls::{Check, Files, client};

        let check = match level {
            SslLevel::Disable => return Ok(Self::Plain),
            SslLevel::VerifyFull => Check::Name,
            SslLevel::VerifyCa => Check::Authority,
            // As in libpq, a file with authorities is used.
            SslLevel::Require if files.roots.is_some() => Check::Authority,
            SslLevel::Require | SslLevel::Prefer => Check::Nothing,
        };
        let identity = match (&files.certificate, &files.key) {
            (Some(certificate), Some(key)) => Some([("sslcert", &**certificate), ("sslkey", &**key)]),
            (None, None) => None,
            _ => {
                return Err(Error::configuration(
                    "the URL's parameters sslcert and sslkey go together: a certificate and its key",
                ));
            }
        };
        let roots = files.roots.as_deref().filter(|_| !files.system());
        let pem = Files { roots: roots.map(|file| ("sslrootcert", file)), identity };
        Ok(Self::Rustls(tokio_postgres_rustls::MakeRustlsConnect::new(client(check, &pem)?)))
    }
}
