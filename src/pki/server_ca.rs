//! The server CA: makes the certificate that a first run serves with.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{DnType, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use zeroize::Zeroizing;

use super::authority::{Authority, Kind, Protection};
use super::device_name::check_dns_name;
use super::key_file::Passphrase;
use super::{PkiError, files};

/// What clients take at most: 398 days, Apple and the CA/Browser Forum.
const DAYS: u32 = 397;

pub struct ServerCa {
    folder: PathBuf,
    authority: Authority,
}

pub struct ServerCertificate {
    pub certificate_pem: String,
    pub key_pem: Zeroizing<String>,
}

impl ServerCa {
    pub fn create(folder: &Path, now: SystemTime) -> Result<Self, PkiError> {
        Self::create_with(folder, &Protection::default(), now)
    }

    pub fn create_with(
        folder: &Path,
        protection: &Protection<'_>,
        now: SystemTime,
    ) -> Result<Self, PkiError> {
        Ok(Self {
            authority: Authority::create(folder, Kind::Server, protection, now)?,
            folder: folder.to_owned(),
        })
    }

    pub fn open(folder: &Path, passphrase: Passphrase<'_>) -> Result<Self, PkiError> {
        Ok(Self {
            authority: Authority::open(folder, Kind::Server, passphrase)?,
            folder: folder.to_owned(),
        })
    }

    /// The certificate of the CA in `folder`, without its key.
    pub fn certificate(folder: &Path) -> Result<String, PkiError> {
        Authority::certificate(folder, Kind::Server)
    }

    /// What clients put into their `ca.pem`.
    pub fn certificate_pem(&self) -> &str {
        self.authority.certificate_pem()
    }

    pub fn certificate_path(&self) -> PathBuf {
        self.folder.join("server-ca.pem")
    }

    /// A key and a certificate for `localhost`, 127.0.0.1, ::1 and the hosts given (names or addresses; what is neither is left out).
    pub fn issue(&self, hosts: &[String], now: SystemTime) -> Result<ServerCertificate, PkiError> {
        let mut params = self.authority.leaf_params(DAYS, now)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "Wardgate");
        let own = ["localhost", "127.0.0.1", "::1"].into_iter();
        for host in own.chain(hosts.iter().map(String::as_str)) {
            let name = match host.parse::<IpAddr>() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) if check_dns_name(host).is_ok() => SanType::DnsName(host.try_into()?),
                Err(_) => continue,
            };
            if !params.subject_alt_names.contains(&name) {
                params.subject_alt_names.push(name);
            }
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, self.authority.issuer())?;
        Ok(ServerCertificate {
            certificate_pem: certificate.pem(),
            key_pem: Zeroizing::new(key.serialize_pem()),
        })
    }
}

impl ServerCertificate {
    /// Writes the chain and the key (0600); neither may exist, unless `replace` says that they are renewed.
    pub fn write_to(&self, certificate: &Path, key: &Path, replace: bool) -> Result<(), PkiError> {
        let write = if replace {
            files::replace
        } else {
            files::create_new
        };
        write(key, self.key_pem.as_bytes(), files::PRIVATE).map_err(PkiError::file(key))?;
        write(certificate, self.certificate_pem.as_bytes(), files::PUBLIC)
            .map_err(PkiError::file(certificate))
    }
}
