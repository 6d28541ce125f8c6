//! A certificate and its key in one file, under a password, for devices and browsers that take nothing else. RFC 7292

use p12_keystore::{
    Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, PrivateKey,
    PrivateKeyChain,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{Issued, PkiError};

/// The file lies about on people's disks: OWASP's count for PBKDF2 with HMAC-SHA256.
const ITERATIONS: u32 = 600_000;

impl Issued {
    /// The certificate, its key and the CA's certificate; AES-256 under a key of many rounds, nothing older.
    pub fn pkcs12(&self, authority_pem: &str, password: &str) -> Result<Vec<u8>, PkiError> {
        let key_pem = self.key_pem.as_ref().ok_or(PkiError::NoKey)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| PkiError::NoKey)?;
        let key = PrivateKey::from_der(key.secret_der()).map_err(bundle)?;
        let authority = CertificateDer::from_pem_slice(authority_pem.as_bytes())
            .map_err(|_| PkiError::Generate(rcgen::Error::CouldNotParseCertificate))?;
        let certificates = [
            Certificate::from_der(&self.certificate_der()?).map_err(bundle)?,
            Certificate::from_der(&authority).map_err(bundle)?,
        ];
        let chain = PrivateKeyChain::new(self.record.serial.as_str(), key, certificates);
        let mut store = KeyStore::new();
        store.add_entry(&self.record.name, KeyStoreEntry::PrivateKeyChain(chain));
        store
            .writer(password)
            .encryption_algorithm(EncryptionAlgorithm::PbeWithHmacSha256AndAes256)
            .encryption_iterations(ITERATIONS)
            .mac_algorithm(MacAlgorithm::HmacSha256)
            .mac_iterations(ITERATIONS)
            .write()
            .map_err(bundle)
    }
}

fn bundle(error: p12_keystore::error::Error) -> PkiError {
    PkiError::Bundle(error.to_string())
}
