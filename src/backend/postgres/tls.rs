//! What `sslmode` means, as libpq has it; TLS itself if the feature `tls` is built in.

use std::path::{Path, PathBuf};

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
    fn driver(self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => SslMode::Require,
        }
    }
}

/// The mode that is meant, where files are named too.
fn meant(mode: Option<Mode>, roots: Option<&Path>) -> Result<Option<Mode>, Error> {
    let of_this_machine = roots.is_some_and(|roots| roots.as_os_str() == "system");
    match (mode, roots) {
        (Some(Mode::Disable), _) => Ok(mode),
        // As in libpq.
        (None, Some(_)) => Ok(Some(if of_this_machine { Mode::VerifyFull } else { Mode::Require })),
        (Some(Mode::Prefer), Some(_)) => Err(Error::configuration(
            "the URL's parameter sslrootcert is for sslmode=require, verify-ca or verify-full",
        )),
        (Some(Mode::Require | Mode::VerifyCa), Some(_)) if of_this_machine => Err(Error::configuration(
            "the authorities of this machine (sslrootcert=system) sign for everybody: use sslmode=verify-full",
        )),
        (Some(Mode::VerifyCa), None) => Err(Error::configuration(
            "sslmode=verify-ca takes whoever has a certificate of the authority: name that by sslrootcert, or use \
             sslmode=verify-full",
        )),
        _ => Ok(mode),
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
    /// And what the driver is to ask for.
    pub(super) fn new(mode: Option<Mode>, files: &Named) -> Result<(Self, SslMode), Error> {
        let mode = meant(mode, files.roots.as_deref())?;
        let wanted = matches!(mode, Some(Mode::Require | Mode::VerifyCa | Mode::VerifyFull));
        if wanted || [&files.roots, &files.certificate, &files.key].into_iter().any(Option::is_some) {
            return Err(Error::configuration(
                "the database URL asks for TLS, which is not built in: add the feature tls of actix-django-session, or \
                 build a deadpool pool with a TLS connector of yours and use PostgresStore::from_pool",
            ));
        }
        Ok((Self::No, mode.map_or(SslMode::Prefer, Mode::driver)))
    }
}

#[cfg(feature = "tls")]
impl Tls {
    /// And what the driver is to ask for.
    pub(super) fn new(mode: Option<Mode>, named: &Named) -> Result<(Self, SslMode), Error> {
        use crate::store::tls::{Check, Files, client};

        let mode = meant(mode, named.roots.as_deref())?;
        let driver = mode.map_or(SslMode::Prefer, Mode::driver);
        // Those of the machine.
        let roots = named.roots.as_deref().filter(|file| file.as_os_str() != "system");
        let check = match mode {
            Some(Mode::Disable) => return Ok((Self::No, driver)),
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
        Ok((Self::Rustls(tokio_postgres_rustls::MakeRustlsConnect::new(client(check, &files)?)), driver))
    }
}
