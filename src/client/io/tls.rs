//! What the client trusts, and the certificate it shows.

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// PEM files, as the command line names them.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// Who may have signed the server's certificate; without it, whom the system trusts.
    pub ca: Option<PathBuf>,
    /// The client's chain; only together with its key.
    pub certificate: Option<PathBuf>,
    pub private_key: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    #[error("{}: {source}", file.display())]
    Pem {
        file: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("{}: no certificate in it", .0.display())]
    NoCertificate(PathBuf),
    #[error("the system trusts no certificate authority that could be read; name one with --ca")]
    NoSystemRoots,
    #[error("a client certificate and its key go together: give both --cert and --key")]
    HalfIdentity,
    #[error("{0}")]
    Rejected(#[from] rustls::Error),
}

impl TlsFiles {
    /// TLS 1.3 and 1.2, the server's chain and name always verified.
    pub fn build(&self) -> Result<Arc<ClientConfig>, TlsSetupError> {
        let builder = ClientConfig::builder().with_root_certificates(self.roots()?);
        let config = match (&self.certificate, &self.private_key) {
            (Some(certificate), Some(private_key)) => {
                let key = PrivateKeyDer::from_pem_file(private_key)
                    .map_err(|source| unreadable(private_key, source))?;
                builder.with_client_auth_cert(certificates(certificate)?, key)?
            }
            (None, None) => builder.with_no_client_auth(),
            (Some(_), None) | (None, Some(_)) => return Err(TlsSetupError::HalfIdentity),
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, TlsSetupError> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(ca) => {
                for certificate in certificates(ca)? {
                    roots.add(certificate)?;
                }
            }
            None => {
                let system = rustls_native_certs::load_native_certs();
                if roots.add_parsable_certificates(system.certs).0 == 0 {
                    return Err(TlsSetupError::NoSystemRoots);
                }
            }
        }
        Ok(roots)
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| unreadable(file, source))?;
    if certificates.is_empty() {
        return Err(TlsSetupError::NoCertificate(file.to_owned()));
    }
    Ok(certificates)
}

fn unreadable(file: &Path, source: pem::Error) -> TlsSetupError {
    TlsSetupError::Pem {
        file: file.to_owned(),
        source,
    }
}
