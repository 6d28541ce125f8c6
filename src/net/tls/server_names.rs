//! Which certificate we show: by the host name that the client asks for.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::DnsName;

use super::files;
use crate::net::config::TlsConfig;
use crate::problem::Problem;

#[derive(Debug)]
pub(super) struct ServerNames {
    default: Arc<CertifiedKey>,
    /// By lower-case name.
    named: HashMap<String, Arc<CertifiedKey>>,
}

impl ServerNames {
    pub(super) fn load(
        config: &TlsConfig,
        base: &Path,
        provider: &CryptoProvider,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut load = |certificate: &Path, private_key: &Path| {
            certified_key(&base.join(certificate), &base.join(private_key), provider)
                .map_err(|mut found| problems.append(&mut found))
                .ok()
                .map(Arc::new)
        };
        let default = load(&config.certificate, &config.private_key);
        let mut named = HashMap::new();
        for (name, pair) in &config.sni {
            let key = load(&pair.certificate, &pair.private_key);
            named.extend(key.map(|key| (name.to_ascii_lowercase(), key)));
        }
        for name in config.sni.keys() {
            if DnsName::try_from(name.as_str()).is_err() {
                problems.push(Problem::whole(
                    base,
                    format!("tls.sni: {name:?} is not a host name"),
                ));
            }
        }
        match default {
            Some(default) if problems.is_empty() => Ok(Self { default, named }),
            Some(_) | None => Err(problems),
        }
    }
}

fn certified_key(
    certificate: &Path,
    private_key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, Vec<Problem>> {
    let chain = files::certificates(certificate);
    let key = files::private_key(private_key);
    let (chain, key) = match (chain, key) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => {
            return Err(chain.err().into_iter().chain(key.err()).collect());
        }
    };
    CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        let (file, message) = if matches!(error, rustls::Error::InconsistentKeys(_)) {
            let certificate = certificate.display();
            (
                private_key,
                format!("is not the key of the certificate in {certificate}"),
            )
        } else if let rustls::Error::InvalidCertificate(error) = error {
            (certificate, format!("not a usable certificate: {error}"))
        } else {
            (private_key, format!("not a usable key: {error}"))
        };
        vec![Problem::whole(file, message)]
    })
}

impl ResolvesServerCert for ServerNames {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello
            .server_name()
            .and_then(|name| self.named.get(&name.to_ascii_lowercase()));
        Some(Arc::clone(named.unwrap_or(&self.default)))
    }
}
