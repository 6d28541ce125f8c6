//! The cookie of a login: its name, its lifetimes, and how it is found in a request. Contract section 4

use crate::units::Period;
use serde::{Deserialize, Serialize};

/// `__Host-`: from this host alone, over TLS alone, for all its paths. RFC 6265bis section 4.1.3.2
pub const NAME: &str = "__Host-wardgate";

/// `authentication.cookie`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CookieConfig {
    /// Without a request or an upgrade.
    pub ttl: Period,
    /// In any case.
    pub max_age: Period,
}

impl Default for CookieConfig {
    fn default() -> Self {
        Self {
            ttl: Period::from_secs(30 * 60),
            max_age: Period::from_secs(12 * 3600),
        }
    }
}

/// The value of our cookie in a Cookie field, if it is there.
pub fn value(field: &[u8]) -> Option<&[u8]> {
    value_in(std::iter::once(field))
}

/// The same in all Cookie fields of a request, for HTTP/2 may split them. Twice is as good as forged: no browser sends it so.
pub fn value_in<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    let pairs = fields.flat_map(|field| field.split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| {
        pair.trim_ascii()
            .strip_prefix(NAME.as_bytes())?
            .strip_prefix(b"=")
    });
    let first = values.next()?;
    Some(match values.next() {
        Some(_) => &[],
        None => first,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_cookie_is_found_by_its_whole_name_and_once() {
        let rows: [(&[u8], Option<&[u8]>); 8] = [
            (b"__Host-wardgate=abc", Some(b"abc")),
            (b"a=b; __Host-wardgate=abc; c=d", Some(b"abc")),
            (b"a=b;__Host-wardgate=a=b", Some(b"a=b")),
            (b"__Host-wardgate=", Some(b"")),
            (b"__Host-wardgate=abc; __Host-wardgate=def", Some(b"")),
            (b"__Host-wardgate-2=abc", None),
            (b"x__Host-wardgate=abc", None),
            (b"", None),
        ];
        for (field, expected) in rows {
            assert_eq!(value(field), expected, "{}", field.escape_ascii());
        }
        type Row<'a> = (&'a [&'a [u8]], Option<&'a [u8]>);
        let fields: [Row<'_>; 3] = [
            (&[b"a=b", b"__Host-wardgate=abc"], Some(b"abc")),
            (&[b"__Host-wardgate=abc", b"__Host-wardgate=def"], Some(b"")),
            (&[], None),
        ];
        for (fields, expected) in fields {
            assert_eq!(value_in(fields.iter().copied()), expected, "{fields:?}");
        }
    }
}
