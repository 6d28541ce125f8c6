//! Which field of a certificate is the username, chosen once in the configuration.

use serde::{Deserialize, Serialize};

use super::CertificateNames;
use super::certificate::CertificateError;

/// `authentication.certificate.username_from`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UsernameFrom {
    #[default]
    CommonName,
    SanDns,
    SanUri,
    SanEmail,
    SubjectDn,
    Fingerprint,
    /// The certificate opens the door, the second method of an `all:` names the user.
    None,
}

impl UsernameFrom {
    /// The username, or `None` where the certificate is not asked for one. A field that another could copy or that fits many is refused (TRN-7).
    pub fn username(self, names: &CertificateNames) -> Result<Option<&str>, CertificateError> {
        let (field, values): (_, &[String]) = match self {
            Self::CommonName => ("common name", &names.common_name),
            Self::SanDns => ("DNS name", &names.san_dns),
            Self::SanUri => ("URI", &names.san_uri),
            Self::SanEmail => ("e-mail address", &names.san_email),
            Self::SubjectDn => ("subject", std::slice::from_ref(&names.subject_dn)),
            Self::Fingerprint => ("fingerprint", std::slice::from_ref(&names.fingerprint)),
            Self::None => return Ok(None),
        };
        match values {
            [] => Err(CertificateError::NoName(field)),
            [name] if name.trim().is_empty() => Err(CertificateError::NoName(field)),
            [name] if name.contains('*') => Err(CertificateError::Wildcard(field)),
            [name] => Ok(Some(name)),
            several => Err(CertificateError::SeveralNames {
                field,
                count: several.len(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> CertificateNames {
        CertificateNames {
            common_name: vec!["pump-7".into()],
            san_dns: vec!["a.example".into(), "b.example".into()],
            san_uri: vec!["*".into()],
            san_email: vec![" ".into()],
            subject_dn: "CN=pump-7".into(),
            fingerprint: "ab12".into(),
            ..CertificateNames::default()
        }
    }

    #[test]
    fn trn_07_only_one_plain_name_is_a_username() {
        use CertificateError as E;
        let several = E::SeveralNames {
            field: "DNS name",
            count: 2,
        };
        let rows = [
            (UsernameFrom::CommonName, Ok(Some("pump-7"))),
            (UsernameFrom::SanDns, Err(several)),
            (UsernameFrom::SanUri, Err(E::Wildcard("URI"))),
            (UsernameFrom::SanEmail, Err(E::NoName("e-mail address"))),
            (UsernameFrom::SubjectDn, Ok(Some("CN=pump-7"))),
            (UsernameFrom::Fingerprint, Ok(Some("ab12"))),
            (UsernameFrom::None, Ok(None)),
        ];
        for (from, expected) in rows {
            assert_eq!(from.username(&names()), expected, "{from:?}");
        }
        let nobody = CertificateNames::default();
        for from in [UsernameFrom::CommonName, UsernameFrom::SubjectDn] {
            assert!(
                matches!(from.username(&nobody), Err(E::NoName(_))),
                "{from:?}"
            );
        }
    }
}
