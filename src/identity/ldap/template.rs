//! Distinguished names and filters with a place for a name: the only code that builds either (IDN-6). RFC 4514, RFC 4515

use std::fmt;

use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};

/// `uid={username},ou=people,dc=example,dc=org`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnTemplate(Vec<Piece>);

/// `(&(objectClass=person)(uid={username}))`; `{dn}` is known where groups are searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterTemplate(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Username,
    Dn,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    #[error("a brace is not closed")]
    Unclosed,
    #[error("unknown place {{{0}}}: {{username}} and, in groups, {{dn}} are known")]
    Unknown(String),
    #[error("no place for a name: every user would be the same one")]
    NoPlace,
    #[error("a filter is in parentheses that match")]
    Parentheses,
}

impl DnTemplate {
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let pieces = pieces(text)?;
        if pieces.contains(&Piece::Dn) {
            return Err(InvalidTemplate::Unknown("dn".to_owned()));
        }
        Ok(Self(pieces))
    }

    pub fn fill(&self, username: &str) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => text.clone(),
                Piece::Username | Piece::Dn => ldap3::dn_escape(username).into_owned(),
            })
            .collect()
    }
}

impl FilterTemplate {
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let balanced = text.starts_with('(')
            && text.ends_with(')')
            && ldap3::parse_filter(sample(text)).is_ok();
        let pieces = pieces(text)?;
        if balanced {
            Ok(Self(pieces))
        } else {
            Err(InvalidTemplate::Parentheses)
        }
    }

    pub fn asks_for_a_dn(&self) -> bool {
        self.0.contains(&Piece::Dn)
    }

    pub fn fill(&self, username: &str, dn: &str) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => text.clone(),
                Piece::Username => ldap3::ldap_escape(username).into_owned(),
                Piece::Dn => ldap3::ldap_escape(dn).into_owned(),
            })
            .collect()
    }

    /// A filter for the entry whose `attribute` is this name, with anything in the place of what was typed, for people who log in by something else than that
    /// name. All the rest that the filter asks for is asked for again.
    pub fn fill_for_entry(&self, attribute: &str, username: &str) -> String {
        let own = format!("({attribute}={})", ldap3::ldap_escape(username));
        // An extensible match without an attribute has no form that fits anything: only whoever typed his own name is found again.
        let rest = self
            .fill_with_anything()
            .unwrap_or_else(|| self.fill(username, ""));
        format!("(&{own}{rest})")
    }

    /// With `*` in each place. Only an equality takes a wildcard: `(mail:caseExactMatch:={username})` and `(age>={username})` become the presence of the attribute.
    fn fill_with_anything(&self) -> Option<String> {
        let mut filter = String::new();
        for piece in &self.0 {
            let Piece::Literal(text) = piece else {
                if !filter.ends_with('*') {
                    filter.push('*');
                }
                continue;
            };
            let text = match filter.ends_with('*') {
                true => text.trim_start_matches('*'),
                false => text,
            };
            filter.push_str(text);
            // The assertion that the next place belongs to; values hold no parenthesis that is not escaped.
            let start = filter.rfind('(').map_or(0, |at| at.saturating_add(1));
            let assertion = filter.get(start..).unwrap_or_default();
            if let Some((left, value)) = assertion.split_once('=')
                && let Some(operator) = left.find([':', '~', '>', '<'])
                && !value.ends_with(')')
            {
                let (attribute, value) = (left.get(..operator)?.to_owned(), value.to_owned());
                if attribute.is_empty() {
                    return None;
                }
                filter.truncate(start);
                filter.push_str(&format!("{attribute}={value}"));
            }
        }
        Some(filter)
    }
}

/// The filter as it looks once it is filled in.
fn sample(text: &str) -> String {
    text.replace("{username}", "u").replace("{dn}", "cn=u")
}

fn pieces(text: &str) -> Result<Vec<Piece>, InvalidTemplate> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or(InvalidTemplate::Unclosed)?;
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.to_owned()));
        }
        pieces.push(match name {
            "username" => Piece::Username,
            "dn" => Piece::Dn,
            other => return Err(InvalidTemplate::Unknown(other.chars().take(32).collect())),
        });
        rest = after;
    }
    if pieces
        .iter()
        .all(|piece| matches!(piece, Piece::Literal(_)))
    {
        return Err(InvalidTemplate::NoPlace);
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest.to_owned()));
    }
    Ok(pieces)
}

/// As it was written.
fn written(pieces: &[Piece]) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Literal(text) => text.as_str(),
            Piece::Username => "{username}",
            Piece::Dn => "{dn}",
        })
        .collect()
}

impl Serialize for DnTemplate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&written(&self.0))
    }
}

impl Serialize for FilterTemplate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&written(&self.0))
    }
}

impl<'de> Deserialize<'de> for DnTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(
            deserializer,
            "a distinguished name with {username}",
            Self::parse,
        )
    }
}

impl<'de> Deserialize<'de> for FilterTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(
            deserializer,
            "a filter with {username} or {dn}",
            Self::parse,
        )
    }
}

fn from_text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: &'static str,
    parse: fn(&str) -> Result<T, InvalidTemplate>,
) -> Result<T, D::Error> {
    struct Parsed<T>(&'static str, fn(&str) -> Result<T, InvalidTemplate>);
    impl<T> de::Visitor<'_> for Parsed<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            (self.1)(text).map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Parsed(expected, parse))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn idn_06_a_name_stays_one_value_of_a_dn() {
        let template = DnTemplate::parse("uid={username},ou=people,dc=example").unwrap();
        let rows = [
            ("alice", "uid=alice,ou=people,dc=example"),
            ("x,ou=admins", "uid=x\\2cou\\3dadmins,ou=people,dc=example"),
            ("a+cn=b", "uid=a\\2bcn\\3db,ou=people,dc=example"),
            ("#616c", "uid=\\23616c,ou=people,dc=example"),
            ("a\\2cb", "uid=a\\5c2cb,ou=people,dc=example"),
            ("a\"b<c>;", "uid=a\\22b\\3cc\\3e\\3b,ou=people,dc=example"),
            ("{dn}", "uid={dn},ou=people,dc=example"),
            ("{username}", "uid={username},ou=people,dc=example"),
            ("ünï", "uid=ünï,ou=people,dc=example"),
        ];
        for (name, expected) in rows {
            assert_eq!(template.fill(name), expected, "{name:?}");
        }
    }

    #[test]
    fn idn_06_a_name_stays_one_value_of_a_filter() {
        let template = FilterTemplate::parse("(&(objectClass=person)(uid={username}))").unwrap();
        let rows = [
            ("alice", "alice"),
            ("*", "\\2a"),
            (")(uid=*", "\\29\\28uid=\\2a"),
            ("a\\2a", "a\\5c2a"),
            ("a)(|(b=c", "a\\29\\28|\\28b=c"),
        ];
        for (name, escaped) in rows {
            let filter = template.fill(name, "");
            assert_eq!(
                filter,
                format!("(&(objectClass=person)(uid={escaped}))"),
                "{name:?}"
            );
            assert!(ldap3::parse_filter(&filter).is_ok(), "{filter}");
        }
    }

    #[test]
    fn an_entry_is_found_again_by_its_own_name_and_by_all_else_that_was_asked() {
        let rows = [
            (
                "(&(objectClass=person)(uid={username}))",
                "(&(uid=al\\2a)(&(objectClass=person)(uid=*)))",
            ),
            (
                "(&(memberOf=cn=mqtt)(|(uid={username})(mail={username})))",
                "(&(uid=al\\2a)(&(memberOf=cn=mqtt)(|(uid=*)(mail=*))))",
            ),
            (
                "(mail={username}@example.org)",
                "(&(uid=al\\2a)(mail=*@example.org))",
            ),
            (
                "(&(mail:caseExactMatch:={username})(memberOf=cn=mqtt))",
                "(&(uid=al\\2a)(&(mail=*)(memberOf=cn=mqtt)))",
            ),
            (
                "(&(memberOf:1.2.840.113556.1.4.1941:=cn=mqtt)(cn:dn:2.5.13.2:=x{username}))",
                "(&(uid=al\\2a)(&(memberOf:1.2.840.113556.1.4.1941:=cn=mqtt)(cn=x*)))",
            ),
            (
                "(|(cn~={username})(!(level>=5))(level<={username}))",
                "(&(uid=al\\2a)(|(cn=*)(!(level>=5))(level=*)))",
            ),
            ("(cn=*{username}{username}*)", "(&(uid=al\\2a)(cn=*))"),
            (
                "(&(:caseExactMatch:={username})(memberOf=cn=mqtt))",
                "(&(uid=al\\2a)(&(:caseExactMatch:=al\\2a)(memberOf=cn=mqtt)))",
            ),
        ];
        for (template, expected) in rows {
            let filter = FilterTemplate::parse(template)
                .unwrap()
                .fill_for_entry("uid", "al*");
            assert_eq!(filter, expected, "{template}");
            assert!(ldap3::parse_filter(&filter).is_ok(), "{filter}");
        }
    }

    #[test]
    fn a_template_that_could_not_work_is_refused() {
        let rows = [
            ("uid=alice", Err(InvalidTemplate::NoPlace)),
            ("", Err(InvalidTemplate::NoPlace)),
            ("uid={username", Err(InvalidTemplate::Unclosed)),
            ("uid={user}", Err(InvalidTemplate::Unknown("user".into()))),
            ("uid={dn}", Err(InvalidTemplate::Unknown("dn".into()))),
            ("uid={username}@example.org", Ok(())),
        ];
        for (text, expected) in rows {
            assert_eq!(DnTemplate::parse(text).map(drop), expected, "{text}");
        }
        for text in [
            "uid={username}",
            "(uid={username}",
            "((uid={username}))x",
            "(uid={username}))",
        ] {
            assert!(FilterTemplate::parse(text).is_err(), "{text}");
        }
        assert!(FilterTemplate::parse("(member:1.2.840.113556.1.4.1941:={dn})").is_ok());
    }
}
