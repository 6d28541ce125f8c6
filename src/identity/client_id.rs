//! Which client identifiers an identity may use: `authentication.client_id`.

use serde::{Deserialize, Serialize};

/// A session belongs to its identity in any case; binding keeps others from occupying the identifier first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientIdConfig {
    pub bind_to: ClientIdBinding,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientIdBinding {
    #[default]
    None,
    /// The client identifier is the username, or begins with `username:`.
    Username,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "client identifier {client_id:?} is neither {username:?} nor begins with {username:?} and a colon"
)]
pub struct ClientIdNotBound {
    pub client_id: String,
    pub username: String,
}

impl ClientIdBinding {
    /// Asked for every identity, the anonymous one included, and for identifiers that the client chose.
    pub fn permit(self, username: &str, client_id: &str) -> Result<(), ClientIdNotBound> {
        let bound = match self {
            Self::None => true,
            Self::Username => match client_id.strip_prefix(username) {
                Some(rest) => rest.is_empty() || rest.starts_with(':'),
                None => false,
            },
        };
        if bound && !(self == Self::Username && username.is_empty()) {
            return Ok(());
        }
        Err(ClientIdNotBound {
            client_id: client_id.to_owned(),
            username: username.to_owned(),
        })
    }

    /// The identifier for a client that sent none. [MQTT-3.1.3-6]
    pub fn assign(self, username: &str, random: u128) -> String {
        match self {
            Self::None => format!("auto-{random:032x}"),
            Self::Username => format!("{username}:{random:032x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_identifier_is_the_username_or_begins_with_it_and_a_colon() {
        let rows = [
            ("pump-7", "pump-7", true),
            ("pump-7", "pump-7:a", true),
            ("pump-7", "pump-7:", true),
            ("pump-7", "pump-70", false),
            ("pump-7", "pump-", false),
            ("pump-7", "PUMP-7", false),
            ("pump-7", "", false),
            ("pump-7", ":pump-7", false),
            ("", "", false),
            ("", ":a", false),
        ];
        for (username, client_id, bound) in rows {
            let verdict = ClientIdBinding::Username.permit(username, client_id);
            assert_eq!(verdict.is_ok(), bound, "{username:?} {client_id:?}");
            assert!(ClientIdBinding::None.permit(username, client_id).is_ok());
        }
    }

    #[test]
    fn an_assigned_identifier_is_bound() {
        let assigned = ClientIdBinding::Username.assign("pump-7", 7);
        assert!(
            ClientIdBinding::Username
                .permit("pump-7", &assigned)
                .is_ok()
        );
    }
}
