//! A ban as files, the API and commands write it: who is kept out, by whom, why, and until when.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::address::Cidr;

/// Written `ip:192.0.2.7`, `ip:203.0.113.0/24`, `username:alice`, `client_id:pump-7`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BanSubject {
    Ip(Cidr),
    Username(String),
    ClientId(String),
}

/// Whose client it is: the same identifier under another name is another client.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub struct Owner {
    pub namespace: String,
    pub username: String,
}

/// Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Ban {
    #[serde(flatten)]
    pub subject: BanSubject,
    /// Only logins by this method; absent: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Only this owner's client of that identifier; absent: everybody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    pub reason: String,
    /// Who placed it; absent: too many failed logins or connections did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    pub since: u64,
    /// Absent: until it is lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BanError {
    #[error("the list holds {OPERATOR_BANS} bans: lift one, or ban a range")]
    Full,
    #[error("a name to ban has 1 to {MAX_NAME} bytes")]
    Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write ip:ADDRESS, ip:RANGE, username:NAME or client_id:NAME")]
pub struct NotABanSubject;

impl BanSubject {
    /// Whether a client is meant: it is then disconnected.
    pub fn concerns(&self, ip: IpAddr, username: &str, client_id: &str) -> bool {
        match self {
            Self::Ip(range) => range.contains(ip),
            Self::Username(name) => name == username,
            Self::ClientId(name) => name == client_id,
        }
    }

    pub(super) fn range(&self) -> Option<&Cidr> {
        match self {
            Self::Ip(range) => Some(range),
            Self::Username(_) | Self::ClientId(_) => None,
        }
    }

    /// Names that clients brought into the list by flapping may be longer.
    pub(super) fn may_be_placed(&self) -> bool {
        self.name().is_none_or(|name| name.len() <= MAX_NAME) && self.is_named()
    }

    fn is_named(&self) -> bool {
        self.name()
            .is_none_or(|name| (1..=LONGEST_NAME).contains(&name.len()))
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Ip(_) => None,
            Self::Username(name) | Self::ClientId(name) => Some(name),
        }
    }
}

impl fmt::Display for BanSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(range) => write!(f, "ip:{range}"),
            Self::Username(name) => write!(f, "username:{name}"),
            Self::ClientId(name) => write!(f, "client_id:{name}"),
        }
    }
}

impl FromStr for BanSubject {
    type Err = NotABanSubject;

    fn from_str(text: &str) -> Result<Self, NotABanSubject> {
        let subject = match text.split_once(':').ok_or(NotABanSubject)? {
            ("ip", range) => Self::Ip(range.parse().map_err(|_| NotABanSubject)?),
            ("username", name) => Self::Username(name.to_owned()),
            ("client_id", name) => Self::ClientId(name.to_owned()),
            (_, _) => return Err(NotABanSubject),
        };
        subject.is_named().then_some(subject).ok_or(NotABanSubject)
    }
}

/// Of operators.
pub(super) const OPERATOR_BANS: usize = 10_000;
const MAX_NAME: usize = 1024;
/// Of any string in MQTT.
const LONGEST_NAME: usize = 65_535;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_written_as_they_are_read() {
        let rows = [
            ("ip:192.0.2.7", true),
            ("ip:203.0.113.0/24", true),
            ("ip:2001:db8::/64", true),
            ("username:alice", true),
            ("client_id:a:b/c", true),
            ("username:", false),
            ("ip:", false),
            ("ip:10.0.0.1/8", false),
            ("host:x", false),
            ("", false),
        ];
        for (text, expected) in rows {
            let read = text.parse::<BanSubject>();
            assert_eq!(read.is_ok(), expected, "{text}");
            if let Ok(subject) = read {
                assert_eq!(subject.to_string(), text);
            }
        }
    }

    #[test]
    fn a_ban_is_written_as_it_is_read() {
        let rows = [
            r#"{"ip":"192.0.2.7","method":"password","reason":"10 failed logins","since":1,"until":2}"#,
            r#"{"username":"alice","reason":"rude","by":"root","since":1}"#,
            r#"{"client_id":"pump","owner":{"namespace":"ldap","username":"alice"},"reason":"r","since":1,"until":2}"#,
        ];
        for text in rows {
            let ban: Ban = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&ban).unwrap(), text);
        }
    }
}
