//! The list of statements that a token brings along, its shape and size checked. Contract section 4

use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::config::OneOrMore;
use super::token::InvalidToken;
use crate::mqtt::Text;

const STATEMENTS_MAX: usize = 64;
const FILTERS_MAX: usize = 128;
/// In bytes, of a filter or a share name.
const TEXT_LENGTH_MAX: usize = 1024;

/// What a token's list does to what the policies allow. Their denies win either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AclMode {
    /// What the list does not allow is refused.
    Narrow,
    /// What the list allows is allowed, but for `$`-topics.
    Grant,
}

impl AclMode {
    pub fn name(self) -> &'static str {
        match self {
            Self::Narrow => "narrow",
            Self::Grant => "grant",
        }
    }
}

/// `acl_claim` and `acl_mode`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclRules {
    pub claim: String,
    pub mode: AclMode,
}

/// What a token says of its bearer's rights. Whether its filters are any is the word of those who compile them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct TokenAcl {
    pub claim: String,
    pub mode: AclMode,
    pub items: Vec<AclItem>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct AclItem {
    /// Where it stands in the token, as an operator reads it: `acl[2]`, `acl.deny[0]`.
    pub place: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deny: bool,
    pub statement: AclStatement,
}

/// The keys of a policy's statement, and no others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AclStatement {
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub publish: Option<OneOrMore>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub subscribe: Option<OneOrMore>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub qos: Option<Vec<u8>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub retain: Option<bool>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub share: Option<OneOrMore>,
}

impl AclRules {
    /// `None`: the token has no list, and needs none.
    pub fn read(&self, claims: &Map<String, Value>) -> Result<Option<TokenAcl>, InvalidToken> {
        let claim = &self.claim;
        let items = match (claims.get(claim), self.mode) {
            (None, AclMode::Grant) => return Ok(None),
            // Whoever lost the list would otherwise have more rights than before.
            (None, AclMode::Narrow) => {
                return Err(refused(claim, "is missing, and `acl_mode` is narrow"));
            }
            (Some(Value::Array(list)), _) => items(claim, list, false)?,
            (Some(Value::Object(sections)), _) => in_sections(claim, sections)?,
            (Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)), _) => {
                return Err(refused(claim, "is no list of statements"));
            }
        };
        judge_size(claim, &items)?;
        Ok(Some(TokenAcl {
            claim: claim.clone(),
            mode: self.mode,
            items,
        }))
    }
}

/// `{allow: […], deny: […]}`, as a policy has them.
fn in_sections(claim: &str, sections: &Map<String, Value>) -> Result<Vec<AclItem>, InvalidToken> {
    if sections.is_empty() {
        return Err(refused(claim, "has neither allow nor deny"));
    }
    let mut all = Vec::new();
    for (name, list) in sections {
        let deny = match name.as_str() {
            "allow" => false,
            "deny" => true,
            _ => return Err(refused(claim, "holds more than allow and deny")),
        };
        let place = format!("{claim}.{name}");
        let list = list
            .as_array()
            .ok_or_else(|| refused(&place, "is no list of statements"))?;
        all.extend(items(&place, list, deny)?);
    }
    Ok(all)
}

fn items(place: &str, list: &[Value], deny: bool) -> Result<Vec<AclItem>, InvalidToken> {
    if list.len() > STATEMENTS_MAX {
        return Err(refused(place, "has too many statements"));
    }
    let item = |(index, value): (usize, &Value)| {
        let place = format!("{place}[{index}]");
        // Without this a list would be read as a statement's values in their order.
        if !value.is_object() {
            return Err(refused(&place, "is no statement"));
        }
        match AclStatement::deserialize(value) {
            Ok(statement) => Ok(AclItem {
                place,
                deny,
                statement,
            }),
            Err(error) => Err(refused(&place, &error.to_string())),
        }
    };
    list.iter().enumerate().map(item).collect()
}

fn judge_size(claim: &str, items: &[AclItem]) -> Result<(), InvalidToken> {
    if items.len() > STATEMENTS_MAX {
        return Err(refused(claim, "has too many statements"));
    }
    let mut filters = 0_usize;
    for AclItem {
        place, statement, ..
    } in items
    {
        let actions = [&statement.publish, &statement.subscribe];
        let own = actions.into_iter().flatten().map(|own| own.0.len());
        filters = filters.saturating_add(own.sum());
        let texts = actions.into_iter().chain([&statement.share]).flatten();
        for text in texts.flat_map(|texts| &texts.0) {
            if text.len() > TEXT_LENGTH_MAX {
                return Err(refused(place, "holds a text that is too long"));
            }
            // Client text, through the same validation as a packet's (TRN-3).
            Text::try_from(text.as_str())
                .map_err(|_| refused(place, "holds a control character"))?;
        }
        if statement
            .share
            .as_ref()
            .is_some_and(|share| share.0.len() > FILTERS_MAX)
        {
            return Err(refused(place, "names too many groups"));
        }
    }
    if filters > FILTERS_MAX {
        return Err(refused(claim, "has too many filters"));
    }
    Ok(())
}

fn refused(place: &str, reason: &str) -> InvalidToken {
    InvalidToken::acl(place, reason)
}

/// A key that stands there has a value: `null` must not read as one that was left out.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(mode: AclMode, acl: Value) -> Result<Option<TokenAcl>, String> {
        let mut claims = json!({"sub": "alice"});
        if !acl.is_null() {
            claims["acl"] = acl;
        }
        let rules = AclRules {
            claim: "acl".to_owned(),
            mode,
        };
        rules
            .read(claims.as_object().unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn idn_09_a_list_that_is_not_wholly_understood_refuses_the_login() {
        let many = |statement: Value, number| Value::Array(vec![statement; number]);
        let one = json!({"publish": "a"});
        let rows = [
            (json!([]), ""),
            (json!([one]), ""),
            (json!({"allow": []}), ""),
            (json!({"deny": [one], "allow": [one, one]}), ""),
            (
                json!([{"subscribe": ["a/#", "b"], "qos": [0, 1], "retain": false, "share": ["g"]}]),
                "",
            ),
            (many(one.clone(), 64), ""),
            (json!([{"publish": vec!["a"; 128]}]), ""),
            (many(one.clone(), 65), "claim acl: has too many statements"),
            (
                json!({"allow": vec![&one; 40], "deny": vec![&one; 40]}),
                "claim acl: has too many statements",
            ),
            (
                json!([{"publish": vec!["a"; 129]}]),
                "claim acl: has too many filters",
            ),
            (
                json!([{"publish": vec!["a"; 100]}, {"subscribe": vec!["a"; 29]}]),
                "claim acl: has too many filters",
            ),
            (
                json!([{"subscribe": "a", "share": vec!["a"; 129]}]),
                "claim acl[0]: names too many groups",
            ),
            (
                json!([one, {"publish": "a".repeat(1025)}]),
                "claim acl[1]: holds a text that is too long",
            ),
            (
                json!([{"publish": "a\u{0}"}]),
                "claim acl[0]: holds a control character",
            ),
            (
                json!([{"publish": "a\n"}]),
                "claim acl[0]: holds a control character",
            ),
            (json!({}), "claim acl: has neither allow nor deny"),
            (
                json!({"allow": [], "also": []}),
                "claim acl: holds more than allow and deny",
            ),
            (
                json!({"deny": one}),
                "claim acl.deny: is no list of statements",
            ),
            (
                json!({"deny": null}),
                "claim acl.deny: is no list of statements",
            ),
            (json!("publish a"), "claim acl: is no list of statements"),
            (json!(7), "claim acl: is no list of statements"),
            (json!(false), "claim acl: is no list of statements"),
            (json!(["publish a"]), "claim acl[0]: is no statement"),
            (json!([null]), "claim acl[0]: is no statement"),
            (json!([[["a"]]]), "claim acl[0]: is no statement"),
            (
                json!([one, {"publish": "a", "who": "b"}]),
                "claim acl[1]: unknown field `who`",
            ),
            (
                json!([{"publish": null}]),
                "claim acl[0]: invalid type: null",
            ),
            (
                json!([{"publish": "a", "qos": null}]),
                "claim acl[0]: invalid type: null",
            ),
            (
                json!([{"publish": "a", "qos": 1}]),
                "claim acl[0]: invalid type",
            ),
            (
                json!([{"publish": "a", "qos": ["1"]}]),
                "claim acl[0]: invalid type",
            ),
            (
                json!([{"publish": "a", "qos": [1.5]}]),
                "claim acl[0]: invalid type",
            ),
            (
                json!([{"publish": "a", "qos": [-1]}]),
                "claim acl[0]: invalid value",
            ),
            (
                json!([{"publish": "a", "retain": "no"}]),
                "claim acl[0]: invalid type",
            ),
            (json!([{"publish": ["a", 1]}]), "claim acl[0]: invalid type"),
            (json!([{"publish": {"a": 1}}]), "claim acl[0]: invalid type"),
        ];
        for (acl, expected) in rows {
            for mode in [AclMode::Narrow, AclMode::Grant] {
                match read(mode, acl.clone()) {
                    Ok(Some(_)) => assert_eq!(expected, "", "{acl} is taken"),
                    Ok(None) => assert_eq!(acl, "", "is passed over"),
                    Err(reason) => assert!(
                        !expected.is_empty() && reason.starts_with(expected),
                        "{acl}: {reason}"
                    ),
                }
            }
        }
    }

    #[test]
    fn a_token_without_a_list_is_refused_where_the_list_narrows() {
        assert_eq!(
            read(AclMode::Narrow, Value::Null),
            Err("claim acl: is missing, and `acl_mode` is narrow".to_owned())
        );
        assert_eq!(read(AclMode::Grant, Value::Null), Ok(None));
    }

    #[test]
    fn each_statement_knows_its_place_and_is_read_back_from_disk() {
        let list = read(
            AclMode::Grant,
            json!([{"publish": "a"}, {"subscribe": ["b"], "retain": true}]),
        );
        let list = list.unwrap().unwrap();
        assert_eq!(
            (list.items[1].place.as_str(), list.items[1].deny),
            ("acl[1]", false)
        );
        let sections = read(
            AclMode::Narrow,
            json!({"deny": [{"publish": "a"}], "allow": [{"publish": "#"}]}),
        );
        let sections = sections.unwrap().unwrap();
        let places: Vec<_> = sections
            .items
            .iter()
            .map(|item| (item.place.as_str(), item.deny))
            .collect();
        assert_eq!(places.len(), 2);
        assert!(
            places.contains(&("acl.allow[0]", false)) && places.contains(&("acl.deny[0]", true))
        );
        for acl in [list, sections] {
            let text = serde_json::to_string(&acl).unwrap();
            assert_eq!(serde_json::from_str::<TokenAcl>(&text).unwrap(), acl);
        }
    }
}
