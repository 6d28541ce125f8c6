//! Grants that reach beyond any one client's topics: for those who review policies.

use super::attribute::Attribute;
use super::pattern::Level;
use super::policies::Policies;
use super::rule::{Action, Effect, RuleId};
use super::who::{Condition, Who};

/// An allow of everything: its filter is `#`, or nothing but wildcards.
#[derive(Clone, Debug)]
pub struct WideGrant {
    pub rule: RuleId,
    pub action: Action,
    pub filter: String,
    /// As its policy says.
    pub who: String,
    /// No condition tells one person from another.
    pub is_for_everybody: bool,
}

impl Policies {
    pub fn wide_grants(&self) -> impl Iterator<Item = WideGrant> {
        let rules = self.rules.iter().filter(|rule| {
            let wild = |level: &Level| matches!(level, Level::Single);
            let is_wide = rule.pattern.is_open() && rule.pattern.levels().iter().all(wild);
            rule.effect == Effect::Allow && !rule.audit && is_wide
        });
        rules.filter_map(|rule| {
            let who = &self.policy(rule.policy)?.who;
            Some(WideGrant {
                rule: rule.id.clone(),
                action: rule.action,
                filter: rule.pattern.as_str().to_owned(),
                who: who.to_string(),
                is_for_everybody: is_everybody(who),
            })
        })
    }
}

/// How somebody came in says nothing of who it is; nor does who it is not.
fn is_everybody(who: &Who) -> bool {
    who.0.iter().all(|condition| match condition {
        Condition::Any | Condition::Not(_) => true,
        Condition::Network(_) => false,
        Condition::Text(attribute, globs) => match attribute {
            Attribute::Auth | Attribute::Protocol | Attribute::Listener => true,
            Attribute::Username
            | Attribute::ClientId
            | Attribute::Ip
            | Attribute::Namespace
            | Attribute::Group
            | Attribute::Certificate(_)
            | Attribute::Claim(_) => globs.iter().any(|glob| glob.to_string() == "*"),
        },
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_a_grant_of_everything_is_wide() {
        let rows = [
            ("any: true", "#", Some(true)),
            ("any: true", "+/#", Some(true)),
            ("any: true", "+/+/#", Some(true)),
            ("auth: certificate", "#", Some(true)),
            ("username: \"*\"", "#", Some(true)),
            ("not: { username: eve }", "#", Some(true)),
            ("group: admins", "#", Some(false)),
            ("username: bridge, auth: password", "#", Some(false)),
            ("any: true", "a/#", None),
            ("any: true", "+/a/#", None),
            ("any: true", "+", None),
            ("any: true", "${username}/#", None),
        ];
        for (who, filter, expected) in rows {
            let text = format!(
                "version: 1\npolicies:\n  - id: x\n    who: {{ {who} }}\n    allow: [{{ publish: \"{filter}\" }}]\n    deny: [{{ subscribe: \"#\" }}]\n"
            );
            let policies = Policies::parse(&[("x.yaml".into(), text)]).unwrap();
            let found: Vec<_> = policies
                .wide_grants()
                .map(|grant| grant.is_for_everybody)
                .collect();
            assert_eq!(
                found,
                expected.into_iter().collect::<Vec<_>>(),
                "{who} {filter}"
            );
        }
    }
}
