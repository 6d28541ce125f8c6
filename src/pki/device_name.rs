//! The names a certificate of ours may carry, each fit to be a username, a topic level and a file name, whoever proposed it.

use crate::identity::check_username;

/// RFC 5280 appendix A.1: ub-common-name, ub-organizational-unit-name.
const LENGTH_MAX: usize = 64;
const ALTERNATIVE_NAMES_MAX: usize = 16;
const URI_LENGTH_MAX: usize = 512;

/// Names that were checked: there is no other way to make a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceNames {
    common_name: String,
    organizational_unit: Option<String>,
    san_dns: Vec<String>,
    san_uri: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {value:?}: {reason}")]
pub struct InvalidName {
    field: &'static str,
    value: String,
    reason: &'static str,
}

impl DeviceNames {
    pub fn new(
        common_name: &str,
        organizational_unit: Option<&str>,
        san_dns: &[String],
        san_uri: &[String],
    ) -> Result<Self, InvalidName> {
        check("name", common_name, check_common_name)?;
        if let Some(unit) = organizational_unit {
            check("organizational unit", unit, check_text)?;
        }
        for name in san_dns {
            check("DNS name", name, check_dns_name)?;
        }
        for uri in san_uri {
            check("URI", uri, check_uri)?;
        }
        if san_dns.len().saturating_add(san_uri.len()) > ALTERNATIVE_NAMES_MAX {
            return Err(InvalidName {
                field: "name",
                value: common_name.to_owned(),
                reason: "more than 16 alternative names",
            });
        }
        Ok(Self {
            common_name: common_name.to_owned(),
            organizational_unit: organizational_unit.map(str::to_owned),
            san_dns: san_dns.to_vec(),
            san_uri: san_uri.to_vec(),
        })
    }

    /// Just a name.
    pub fn named(common_name: &str) -> Result<Self, InvalidName> {
        Self::new(common_name, None, &[], &[])
    }

    /// Safe as a file name.
    pub fn common_name(&self) -> &str {
        &self.common_name
    }

    pub fn organizational_unit(&self) -> Option<&str> {
        self.organizational_unit.as_deref()
    }

    pub fn san_dns(&self) -> &[String] {
        &self.san_dns
    }

    pub fn san_uri(&self) -> &[String] {
        &self.san_uri
    }
}

fn check(
    field: &'static str,
    value: &str,
    rule: fn(&str) -> Result<(), &'static str>,
) -> Result<(), InvalidName> {
    rule(value).map_err(|reason| InvalidName {
        field,
        // What is printed stays short, whatever was asked for.
        value: value.chars().take(LENGTH_MAX).collect(),
        reason,
    })
}

fn check_common_name(name: &str) -> Result<(), &'static str> {
    check_text(name)?;
    if name.contains(['/', '\\']) {
        return Err("a slash would lead out of the folder, and out of a topic level");
    }
    if name.contains(['*', '+', '#']) {
        return Err("a wildcard names nobody");
    }
    if name.starts_with(['.', '-', '$', '~']) {
        return Err("must not begin with '.', '-', '$' or '~'");
    }
    Ok(())
}

fn check_text(text: &str) -> Result<(), &'static str> {
    check_username(text)?;
    if text.chars().count() > LENGTH_MAX {
        return Err("longer than 64 characters");
    }
    Ok(())
}

/// RFC 1123 section 2.1, RFC 5280 section 4.2.1.6; no wildcards.
pub(super) fn check_dns_name(name: &str) -> Result<(), &'static str> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err("not a host name");
    }
    Ok(())
}

/// RFC 3986: a scheme, a colon, and printable ASCII without blanks.
fn check_uri(uri: &str) -> Result<(), &'static str> {
    let Some((scheme, rest)) = uri.split_once(':') else {
        return Err("not an absolute URI");
    };
    let scheme_is_good = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    if !scheme_is_good || rest.is_empty() || !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("not an absolute URI");
    }
    if rest.contains(['*', '<', '>', '"', '\\', '^', '`', '{', '|', '}']) {
        return Err("holds a character that a URI has to escape");
    }
    if uri.len() > URI_LENGTH_MAX {
        return Err("longer than 512 characters");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idn_15_a_name_is_a_username_a_topic_level_and_a_file_name() {
        let long = "x".repeat(65);
        let huge = "x".repeat(4096);
        let good = [
            "pump-7",
            "Pumpe 7",
            "a.b",
            "ünï",
            "alice@example.org",
            "a:b",
            "x",
        ];
        let bad = [
            "", " ", " a", "a ", ".", "..", ".a", "-a", "$a", "~a", "a/b", "../a", "a\\b", "*",
            "a*", "+", "#", "a\0", "a\nb", "\u{1b}", "\u{85}", &long, &huge,
        ];
        for name in good {
            assert!(DeviceNames::named(name).is_ok(), "{name:?}");
        }
        for name in bad {
            let refused = DeviceNames::named(name);
            assert!(refused.is_err(), "{name:?}");
            assert!(
                refused
                    .err()
                    .is_some_and(|error| error.to_string().len() < 400),
                "{name:?}"
            );
        }
    }

    #[test]
    fn idn_15_alternative_names_have_their_own_rules() {
        let dns = [
            ("a.example", true),
            ("A-1.b_c", true),
            ("*.example", false),
            ("a..b", false),
            ("", false),
            ("-a", false),
            ("a b", false),
            ("é", false),
        ];
        for (name, good) in dns {
            let names = DeviceNames::new("a", None, &[name.to_owned()], &[]);
            assert_eq!(names.is_ok(), good, "{name:?}");
        }
        let uris = [
            ("urn:dev:1", true),
            ("spiffe://a/b", true),
            ("a", false),
            (":a", false),
            ("a:", false),
            ("a:b c", false),
            ("urn:*", false),
            ("1:a", false),
            ("a:\u{e9}", false),
        ];
        for (uri, good) in uris {
            let names = DeviceNames::new("a", None, &[], &[uri.to_owned()]);
            assert_eq!(names.is_ok(), good, "{uri:?}");
        }
        assert!(DeviceNames::new("a", None, &vec!["a.b".to_owned(); 17], &[]).is_err());
        assert!(DeviceNames::new("a", Some("sensors"), &[], &[]).is_ok());
        assert!(DeviceNames::new("a", Some(""), &[], &[]).is_err());
    }
}
