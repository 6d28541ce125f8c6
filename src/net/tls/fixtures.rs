//! Authorities, devices and revocation lists made on the spot: no key is ever committed.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    CrlIssuingDistributionPoint, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use crate::net::config::{ClientAuth, TlsConfig};

/// A folder of its own for one test, gone with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("wardgate-net-{}-{unique}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Readable for the owner alone.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        set_mode(&path, 0o600);
        path
    }
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A CA, with the certificates that lead from it to its root (without the root).
pub(crate) struct Authority {
    pub(crate) certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
    path: Vec<CertificateDer<'static>>,
}

/// A certificate and its key, as a device holds them.
pub(crate) struct Device {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: KeyPair,
}

impl Device {
    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

pub(crate) fn days(days: i64) -> OffsetDateTime {
    OffsetDateTime::now_utc() + Duration::days(days)
}

fn params(common_name: &str, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_before = days(-1);
    params.not_after = days(90);
    params
}

fn ca_params(common_name: &str, serial: u64) -> CertificateParams {
    let mut params = params(common_name, serial);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Authority {
    pub(crate) fn root(common_name: &str) -> Self {
        let params = ca_params(common_name, 1);
        let key = KeyPair::generate().unwrap();
        Self {
            certificate: params.self_signed(&key).unwrap(),
            issuer: Issuer::new(params, key),
            path: Vec::new(),
        }
    }

    pub(crate) fn intermediate(&self, common_name: &str, serial: u64) -> Self {
        let params = ca_params(common_name, serial);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let own = certificate.der().clone();
        Self {
            path: [&[own], self.path.as_slice()].concat(),
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    /// A device certificate, changed as the test wants it.
    pub(crate) fn device_with(
        &self,
        serial: u64,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Device {
        let mut params = params("device", serial);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        Device {
            chain: [&[leaf.der().clone()], self.path.as_slice()].concat(),
            key,
        }
    }

    pub(crate) fn device(&self, serial: u64) -> Device {
        self.device_with(serial, |_| {})
    }

    /// A device certificate for a public key of which nobody here holds the private one.
    pub(crate) fn certify(&self, public_key_pem: &str) -> CertificateDer<'static> {
        let public_key = rcgen::SubjectPublicKeyInfo::from_pem(public_key_pem).unwrap();
        let params = params("device", 9);
        params
            .signed_by(&public_key, &self.issuer)
            .unwrap()
            .der()
            .clone()
    }

    pub(crate) fn server(&self, host: &str) -> Device {
        self.device_with(1000, |params| {
            params.subject_alt_names = vec![rcgen::SanType::DnsName(host.try_into().unwrap())];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        })
    }

    pub(crate) fn crl(&self, revoked: &[u64]) -> Vec<u8> {
        self.crl_with(revoked, |_| {})
    }

    pub(crate) fn crl_with(
        &self,
        revoked: &[u64],
        change: impl FnOnce(&mut CertificateRevocationListParams),
    ) -> Vec<u8> {
        let revoked_certs = revoked.iter().map(|&serial| RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: days(-1),
            reason_code: None,
            invalidity_date: None,
        });
        let mut params = CertificateRevocationListParams {
            this_update: days(-2),
            next_update: days(7),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        change(&mut params);
        params.signed_by(&self.issuer).unwrap().der().to_vec()
    }
}

pub(crate) fn distribution_point(uris: &[&str]) -> CrlDistributionPoint {
    CrlDistributionPoint {
        uris: uris.iter().map(|&uri| uri.to_owned()).collect(),
    }
}

pub(crate) fn issuing_distribution_point(uris: &[&str]) -> Option<CrlIssuingDistributionPoint> {
    Some(CrlIssuingDistributionPoint {
        distribution_point: distribution_point(uris),
        scope: None,
    })
}

/// A folder with a server certificate for localhost, and a TLS section that names it.
pub(crate) fn server_files(authority: &Authority, client_auth: ClientAuth) -> (Folder, TlsConfig) {
    let folder = Folder::new();
    let server = authority.server("localhost");
    let leaf = server.chain.first().unwrap();
    folder.write("server.pem", leaf);
    folder.write("server.key", server.key.serialize_pem());
    folder.write("ca.pem", authority.certificate.pem());
    let mut config = TlsConfig::new("server.pem", "server.key");
    config.client_auth = client_auth;
    config.client_ca = vec!["ca.pem".into()];
    (folder, config)
}

/// A client that believes `authority` and remembers sessions.
pub(crate) fn client(
    authority: &Authority,
    device: Option<&Device>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match device {
        Some(device) => builder
            .with_client_auth_cert(device.chain.clone(), device.private_key())
            .unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::in_memory_sessions(8);
    config
}
