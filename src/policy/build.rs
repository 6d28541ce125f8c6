//! From what was written to what can judge, telling every problem with its place.

use super::assertion::PROTOCOLS;
use super::attribute::{Attribute, CertificateField};
use super::document::{
    Mode, OnDeny, PolicyDocument, StatementDocument, Texts, WhoDocument, WhoValue,
};
use super::glob::Glob;
use super::pattern::Pattern;
use super::policies::{MessageLimit, Policy};
use super::rule::{Action, Effect, QosSet, Rule, RuleId};
use super::who::{Condition, Who};
use crate::address::{Cidr, CidrError};
use crate::identity::Method;
use crate::mqtt::QoS;
use crate::problem::Problem;
use crate::yaml::{Location, Spanned};
use std::path::{Path, PathBuf};

const MAX_ID_LENGTH: usize = 128;
pub(super) const METHODS: [Method; 8] = [
    Method::ANONYMOUS,
    Method::CERTIFICATE,
    Method::PASSWORD,
    Method::LDAP,
    Method::JWT,
    Method::COOKIE,
    Method::SCRAM,
    Method::TOKEN,
];

/// Gathers policies, rules and what is wrong with them.
#[derive(Default)]
pub(super) struct Builder {
    pub(super) policies: Vec<Policy>,
    pub(super) rules: Vec<Rule>,
    pub(super) problems: Vec<Problem>,
    /// What may be meant, but hardly is.
    pub(super) warnings: Vec<Problem>,
    file: PathBuf,
}

impl Builder {
    pub(super) fn open(&mut self, file: &Path) {
        self.file = file.to_owned();
    }

    pub(super) fn problem(&mut self, at: Location, message: impl Into<String>) {
        self.problems
            .push(Problem::new(&self.file, at.line(), at.column(), message));
    }

    fn warn(&mut self, at: Location, message: impl Into<String>) {
        self.warnings
            .push(Problem::new(&self.file, at.line(), at.column(), message));
    }

    pub(super) fn policy(&mut self, written: Spanned<PolicyDocument>) {
        let at = written.at;
        let written = written.value;
        self.check_id(&written.id);
        let id = written.id.value;
        if written.allow.is_empty() && written.deny.is_empty() && written.limits.is_none() {
            self.problem(
                at,
                format!("policy {id} has neither allow, deny nor limits"),
            );
        }
        let Ok(index) = u32::try_from(self.policies.len()) else {
            return;
        };
        let who_at = written.who.at;
        let who = self.who(written.who, false);
        self.lint_who(&who, who_at, &id);
        let audit = match written.mode {
            Mode::Enforce => false,
            Mode::Audit => true,
        };
        let first_rule = self.rules.len();
        for (effect, statements) in [(Effect::Allow, written.allow), (Effect::Deny, written.deny)] {
            for statement in statements {
                self.statement(index, &id, effect, audit, statement);
            }
        }
        let line = written.id.at.line();
        let name = RuleId::new(&self.file, line, &id);
        let limit = written.limits.map(|limits| MessageLimit {
            policy: name.clone(),
            rate: limits.messages.rate,
            burst: limits
                .messages
                .burst
                .map_or(limits.messages.rate.amount(), std::num::NonZeroU32::get),
        });
        self.policies.push(Policy {
            id: id.into(),
            name,
            description: written.description.map(Into::into),
            who,
            rules: first_rule..self.rules.len(),
            // What is only watched neither closes nor slows.
            limit: limit.filter(|_| !audit),
            disconnect: written.on_deny == OnDeny::Disconnect && !audit,
            audit,
        });
    }

    fn check_id(&mut self, id: &Spanned<String>) {
        let printable = |character: char| !character.is_whitespace() && !character.is_control();
        if id.value.is_empty() || id.value.len() > MAX_ID_LENGTH || !id.value.chars().all(printable)
        {
            let message = format!(
                "an id is 1 to {MAX_ID_LENGTH} bytes without blanks: {:?}",
                id.value
            );
            self.problem(id.at, message);
        }
        if let Some(first) = self.policies.iter().find(|policy| *policy.id == *id.value) {
            let message = format!("duplicate id {}, first at {}", id.value, first.name);
            self.problem(id.at, message);
        }
    }

    pub(super) fn statement(
        &mut self,
        policy: u32,
        id: &str,
        effect: Effect,
        audit: bool,
        written: Spanned<StatementDocument>,
    ) {
        let at = written.at;
        let written = written.value;
        let (action, filters) = match (written.publish, written.subscribe) {
            (Some(filters), None) => (Action::Publish, filters),
            (None, Some(filters)) => (Action::Subscribe, filters),
            (Some(_), Some(_)) | (None, None) => {
                return self.problem(at, "a statement has exactly one of publish and subscribe");
            }
        };
        if filters.0.is_empty() {
            self.problem(at, "a list of filters must not be empty");
        }
        let qos = self.qos(at, written.qos);
        let share = written
            .share
            .and_then(|groups| self.share(at, action, groups));
        for filter in filters.0 {
            match Pattern::parse(&filter.value) {
                Ok(pattern) => self.rules.push(Rule {
                    id: RuleId::new(&self.file, filter.at.line(), id),
                    policy,
                    effect,
                    action,
                    pattern,
                    qos,
                    retain: written.retain,
                    share: share.clone(),
                    audit,
                }),
                Err(error) => {
                    let message = format!("{error}: {:?}", filter.value);
                    self.problem(filter.at, message);
                }
            }
        }
    }

    fn qos(&mut self, at: Location, written: Option<Vec<Spanned<u8>>>) -> QosSet {
        let Some(levels) = written else {
            return QosSet::ALL;
        };
        if levels.is_empty() {
            self.problem(at, "qos must not be empty");
        }
        let mut set = QosSet::NONE;
        for level in levels {
            match QoS::from_bits(level.value) {
                Some(qos) => set = set.or(QosSet::of([qos])),
                None => self.problem(level.at, "qos is 0, 1 or 2"),
            }
        }
        set
    }

    fn share(&mut self, at: Location, action: Action, groups: Texts) -> Option<Box<[Glob]>> {
        if action == Action::Publish {
            self.problem(at, "share narrows a subscribe, not a publish");
        }
        if groups.0.is_empty() {
            self.problem(at, "share must not be empty");
        }
        let mut names = Vec::new();
        for group in groups.0 {
            if group.value.is_empty() || group.value.contains(['/', '+', '#', '$']) {
                self.problem(
                    group.at,
                    "a share name is not empty and holds no / + # or $",
                );
            }
            names.push(Glob::new(&group.value));
        }
        Some(names.into())
    }

    fn who(&mut self, written: Spanned<WhoDocument>, negated: bool) -> Who {
        let at = written.at;
        if written.value.0.is_empty() {
            let message = if negated {
                "empty not"
            } else {
                "empty who: everybody is `any: true`"
            };
            self.problem(at, message);
        }
        let alone = written.value.0.len() == 1;
        let mut conditions = Vec::new();
        for (key, value) in written.value.0 {
            match value {
                WhoValue::Flag(true) if alone && !negated => conditions.push(Condition::Any),
                WhoValue::Flag(true) if negated => {
                    self.problem(key.at, "not any: true is nobody");
                }
                WhoValue::Flag(true) => {
                    self.problem(key.at, "any: true stands alone");
                }
                WhoValue::Flag(false) => {
                    self.problem(key.at, "any: false is nobody: leave the policy out");
                }
                WhoValue::Not(inner) => {
                    let inner = Spanned {
                        value: inner,
                        at: key.at,
                    };
                    let inner = self.who(inner, true);
                    conditions.push(Condition::Not(inner));
                }
                WhoValue::Texts(texts) => conditions.extend(self.condition(&key, texts)),
            }
        }
        Who(conditions.into())
    }

    fn condition(&mut self, key: &Spanned<String>, texts: Texts) -> Option<Condition> {
        let Some(attribute) = Attribute::parse(&key.value) else {
            self.problem(key.at, format!("unknown key {:?} in who", key.value));
            return None;
        };
        if texts.0.is_empty() {
            self.problem(key.at, "a list of values must not be empty");
        }
        if attribute == Attribute::Ip {
            return Some(Condition::Network(self.blocks(texts)));
        }
        let globs = texts.0.into_iter().map(|text| self.glob(&attribute, &text));
        let globs: Vec<_> = globs.collect();
        Some(Condition::Text(attribute, globs.into()))
    }

    fn glob(&mut self, attribute: &Attribute, text: &Spanned<String>) -> Glob {
        let at = text.at;
        if text.value.is_empty() {
            self.problem(at, "an empty value matches nobody");
        }
        if text.value.contains(char::is_control) {
            self.problem(at, "a control character matches nobody");
        }
        if text.value.contains("${") {
            self.problem(at, "placeholders stand in topics, not in who");
        }
        match attribute {
            // Written with or without separators, in either case.
            Attribute::Certificate(CertificateField::Serial | CertificateField::Fingerprint) => {
                return Glob::new(&text.value.replace(':', "").to_ascii_lowercase());
            }
            Attribute::Auth => self.is_known(text, "method", &METHODS.map(|method| method.0)),
            Attribute::Protocol => self.is_known(text, "protocol", &PROTOCOLS),
            Attribute::Username
            | Attribute::ClientId
            | Attribute::Ip
            | Attribute::Listener
            | Attribute::Namespace
            | Attribute::Group
            | Attribute::Certificate(_)
            | Attribute::Claim(_) => {}
        }
        Glob::new(&text.value)
    }

    /// A name that nobody has would make a deny that never bites.
    fn is_known(&mut self, text: &Spanned<String>, kind: &str, known: &[&str]) {
        let glob = Glob::new(&text.value);
        // The broker's own name, which its policy for `$SYS` asks for, is known and nobody's to write.
        let names = known.iter().chain(&[Method::SYSTEM.0]);
        if !names.into_iter().any(|name| glob.matches(name)) {
            let message = format!(
                "no {kind} is called {:?}: one of {}",
                text.value,
                known.join(", ")
            );
            self.problem(text.at, message);
        }
    }

    fn blocks(&mut self, texts: Texts) -> Box<[Cidr]> {
        let mut blocks = Vec::new();
        for text in texts.0 {
            match text.value.parse() {
                Ok(block) => blocks.push(block),
                Err(error) => {
                    let error: CidrError = error;
                    self.problem(text.at, error.to_string());
                }
            }
        }
        blocks.into()
    }

    /// The same name can come from two sources and be two people (IDN-4).
    fn lint_who(&mut self, who: &Who, at: Location, id: &str) {
        let asks = |wanted: &Attribute| {
            who.0
                .iter()
                .any(|one| matches!(one, Condition::Text(own, _) if own == wanted))
        };
        if asks(&Attribute::Username) && !asks(&Attribute::Auth) && !asks(&Attribute::Namespace) {
            let message = format!(
                "policy {id} asks for a username but not for auth or namespace: everybody who proves this name by any method is meant"
            );
            self.warn(at, message);
        }
    }
}
