//! TLS towards others: their certificate is always verified, against roots of our choosing.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::problem::Problem;

/// `ca` relative to `base`; the system's roots when absent.
pub(super) fn client_config(ca: Option<&Path>, base: &Path) -> Result<Arc<ClientConfig>, Problem> {
    let roots = match ca {
        Some(file) => roots_of(&base.join(file))?,
        None => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        }
    };
    if roots.is_empty() {
        return Err(Problem::whole(
            base,
            "the system has no root certificates: give `ca`",
        ));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Problem::whole(base, error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn roots_of(path: &Path) -> Result<RootCertStore, Problem> {
    let refused = |reason: String| Problem::whole(path, reason);
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(path).map_err(|error| refused(error.to_string()))?
    {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| refused(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refused("no certificate in the file".to_owned()));
    }
    Ok(roots)
}
