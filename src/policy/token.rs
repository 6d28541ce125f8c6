//! The list that a token brings along, as rules beside those of the policies: it narrows what they allow or adds to it, and their denies win. Contract section 4

use super::build::Builder;
use super::document::{StatementDocument, Texts};
use super::pattern::{Asked, AskedLevel};
use super::rule::{Action, Effect, Rule, RuleId};
use crate::identity::jwt::{AclItem, AclMode, AclStatement, InvalidToken, OneOrMore, TokenAcl};
use crate::yaml::{Location, Spanned};

/// One list, compiled for a connection.
#[derive(Debug)]
pub(super) struct TokenRules {
    pub(super) mode: AclMode,
    /// `token acl`: who refuses when no statement of the list allows.
    pub(super) name: RuleId,
    rules: Box<[Rule]>,
    statements: usize,
}

/// Reads a list as [`super::Policies::compile`] will. One that it cannot compile refuses the login.
pub fn read_token(acl: &TokenAcl) -> Result<(), InvalidToken> {
    TokenRules::read(acl).map(|_| ())
}

impl TokenRules {
    /// What cannot be read permits nothing: it was read at the login, so that only an older or damaged record comes to this.
    pub(super) fn new(acl: &TokenAcl) -> Self {
        Self::read(acl).unwrap_or_else(|_| Self {
            mode: AclMode::Narrow,
            name: RuleId::of_token(&acl.claim),
            rules: Box::default(),
            statements: 0,
        })
    }

    fn read(acl: &TokenAcl) -> Result<Self, InvalidToken> {
        let mut rules = Vec::new();
        for AclItem {
            place,
            deny,
            statement,
        } in &acl.items
        {
            let effect = match deny {
                true => Effect::Deny,
                false => Effect::Allow,
            };
            // The policies' own reader, so that a statement means here what it means there.
            let mut builder = Builder::default();
            builder.statement(NO_POLICY, "", effect, false, document(statement));
            if let Some(problem) = builder.problems.first() {
                return Err(InvalidToken::acl(place, &problem.message));
            }
            let id = RuleId::of_token(place);
            rules.extend(builder.rules.into_iter().map(|rule| Rule {
                id: id.clone(),
                ..rule
            }));
        }
        Ok(Self {
            mode: acl.mode,
            name: RuleId::of_token(&acl.claim),
            rules: rules.into(),
            statements: acl.items.len(),
        })
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// With their places in the list.
    pub(super) fn of(&self, action: Action) -> impl Iterator<Item = (usize, &Rule)> {
        let rules = self.rules.iter().enumerate();
        rules.filter(move |(_, rule)| rule.action == action)
    }

    /// A token grants no `$`-topic, spelled out or not: it may only lack the right to one.
    pub(super) fn may_count(&self, rule: &Rule, asked: Asked<'_>) -> bool {
        rule.effect == Effect::Deny || self.mode == AclMode::Narrow || !is_reserved(asked)
    }

    /// For an operator who asks what the token brought.
    pub(super) fn describe(&self) -> String {
        format!(
            "{}, {}, {} in the list",
            self.name,
            self.mode.name(),
            self.statements
        )
    }
}

fn is_reserved(asked: Asked<'_>) -> bool {
    match asked.levels().next() {
        Some(AskedLevel::Literal(first)) => first.starts_with('$'),
        Some(AskedLevel::Single | AskedLevel::Multi) | None => false,
    }
}

/// Of no policy.
pub(super) const NO_POLICY: u32 = u32::MAX;

fn document(statement: &AclStatement) -> Spanned<StatementDocument> {
    let texts = |texts: &OneOrMore| Texts(texts.0.iter().cloned().map(nowhere).collect());
    nowhere(StatementDocument {
        publish: statement.publish.as_ref().map(texts),
        subscribe: statement.subscribe.as_ref().map(texts),
        qos: statement
            .qos
            .as_ref()
            .map(|levels| levels.iter().copied().map(nowhere).collect()),
        retain: statement.retain,
        share: statement.share.as_ref().map(texts),
    })
}

/// A token has no lines.
fn nowhere<T>(value: T) -> Spanned<T> {
    Spanned {
        value,
        at: Location::new(1, 1),
    }
}
