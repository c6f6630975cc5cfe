//! Certificates for servers, and for clients.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};

use super::proc::TempDir;

/// A certificate for a server, one for its client, and that of the authority which signed them.
#[derive(Debug)]
pub struct Certificates(TempDir);

impl Certificates {
    /// For these host names and addresses.
    pub fn new(names: &[&str]) -> Self {
        Self::with(names, false)
    }

    /// The server's is of last year.
    pub fn expired(names: &[&str]) -> Self {
        Self::with(names, true)
    }

    /// A server's certificate that signed itself, which is also the one for clients to trust. PostgreSQL's
    /// manual makes one that is marked as an authority's.
    pub fn self_signed(names: &[&str], authority: bool, expired: bool) -> Self {
        let dir = TempDir::new("certificates");
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = match authority {
            true => IsCa::Ca(BasicConstraints::Unconstrained),
            false => IsCa::ExplicitNoCa,
        };
        if expired {
            (params.not_before, params.not_after) = (date_time_ymd(2024, 1, 1), date_time_ymd(2024, 12, 31));
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        for name in ["ca.pem", "server.pem"] {
            fs::write(dir.path().join(name), &certificate).unwrap();
        }
        fs::write(dir.path().join("key.pem"), key.serialize_pem()).unwrap();
        Self(dir)
    }

    fn with(names: &[&str], expired: bool) -> Self {
        let dir = TempDir::new("certificates");
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        // Without names of their own OpenSSL mixes the two up.
        authority.distinguished_name.push(DnType::CommonName, "the tests' authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let [server_key, client_key] = [(), ()].map(|()| KeyPair::generate().unwrap());
        let mut server = CertificateParams::new(names).unwrap();
        if expired {
            (server.not_before, server.not_after) = (date_time_ymd(2024, 1, 1), date_time_ymd(2024, 12, 31));
        }
        let server = server.signed_by(&server_key, &issuer).unwrap();
        let mut client = CertificateParams::new(Vec::new()).unwrap();
        client.distinguished_name.push(DnType::CommonName, "postgres"); // its user, to PostgreSQL
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let client = client.signed_by(&client_key, &issuer).unwrap();
        let files = [
            ("ca.pem", issuer.pem()),
            ("server.pem", server.pem()),
            ("key.pem", server_key.serialize_pem()),
            ("client.pem", client.pem()),
            ("client-key.pem", client_key.serialize_pem()),
        ];
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Self(dir)
    }

    /// The certificate of the authority, for clients.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        Path::join(self.0.path(), name)
    }
}
