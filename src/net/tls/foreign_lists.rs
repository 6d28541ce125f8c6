//! Revocation lists that belong to none of the authorities beside them: they stop no start, and yet keep devices out.

use std::path::Path;

use rustls::crypto::aws_lc_rs;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::files;
use crate::net::config::{ClientAuth, Doubt, TlsConfig};
use crate::problem::Problem;

/// Each list that no key of `client_ca` has signed, with what comes of it. What cannot be read is for [`super::ServerTls::build`] to tell.
pub fn foreign_lists(config: &TlsConfig, base: &Path) -> Vec<Problem> {
    if config.client_auth == ClientAuth::Off {
        return Vec::new();
    }
    let read = |file| files::certificates(&base.join(file)).unwrap_or_default();
    let ders: Vec<_> = config.client_ca.iter().flat_map(read).collect();
    let authorities: Vec<X509Certificate<'_>> = ders
        .iter()
        .filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1))
        .collect();
    let mut covered = vec![false; authorities.len()];
    let mut foreign = Vec::new();
    for file in config.crl.iter().map(|file| base.join(file)) {
        for der in files::revocation_lists(&file).unwrap_or_default() {
            let Ok((_, list)) = CertificateRevocationList::from_der(&der) else {
                continue;
            };
            let mut own = false;
            for (authority, covered) in authorities.iter().zip(&mut covered) {
                let signed = is_signed_by(&list, authority);
                own |= signed;
                *covered |= signed;
            }
            if !own {
                let issuer = list.issuer();
                let same_name = authorities
                    .iter()
                    .any(|authority| authority.subject().as_raw() == issuer.as_raw());
                foreign.push((file.clone(), issuer.to_string(), same_name));
            }
        }
    }
    let uncovered: Vec<String> = authorities
        .iter()
        .zip(covered)
        .filter(|(_, covered)| !covered)
        .map(|(authority, _)| authority.subject().to_string())
        .collect();
    foreign
        .into_iter()
        .map(|(file, issuer, same_name)| {
            let told = if same_name {
                format!("signed by another key than the {issuer} of client_ca has: no device with a certificate of it gets in")
            } else if config.crl_missing == Doubt::Deny && !uncovered.is_empty() {
                format!(
                    "issued by {issuer}, which is none of client_ca: no device gets in with a certificate of {}, whose list is missing (crl_missing: deny)",
                    uncovered.join(" or ")
                )
            } else {
                format!("issued by {issuer}, which is none of client_ca: it counts for nothing but an intermediate authority of this name")
            };
            Problem::whole(file, told)
        })
        .collect()
}

fn is_signed_by(list: &CertificateRevocationList<'_>, authority: &X509Certificate<'_>) -> bool {
    let key = &authority.public_key().subject_public_key.data;
    let (signed, signature) = (list.tbs_cert_list.as_ref(), &list.signature_value.data);
    // An algorithm that is not the key's says no.
    aws_lc_rs::default_provider()
        .signature_verification_algorithms
        .all
        .iter()
        .any(|algorithm| algorithm.verify_signature(key, signed, signature).is_ok())
}
