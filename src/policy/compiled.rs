//! Policies as they concern one subject: asked on everything that a connection does.

use super::applicable::Applicable;
use super::attribute::{Attribute, Values};
use super::judge::{Judge, Verdict};
use super::permit::{Delivery, Denial, PublishPermit, SubscribePermit};
use super::policies::{MessageLimit, Policies};
use super::rule::{Action, Effect, RuleId};
use super::token::TokenRules;
use crate::identity::Subject;
use crate::mqtt::{QoS, Subscription, TopicName};
use std::sync::Arc;

/// A few pointers: the rules are shared with every connection that the same policies concern, the values are read from the subject.
#[derive(Clone, Debug)]
pub struct Compiled {
    policies: Arc<Policies>,
    subject: Arc<Subject>,
    applicable: Arc<Applicable>,
    /// Of this connection alone.
    token: Option<Arc<TokenRules>>,
    ip: Arc<str>,
}

impl Policies {
    pub fn compile(self: &Arc<Self>, subject: &Arc<Subject>) -> Compiled {
        let ip = ip_text(subject);
        let values = Values { subject, ip: &ip };
        Compiled {
            applicable: self.shared.share(self.applicable(values)),
            token: subject
                .identity
                .acl
                .as_deref()
                .map(|acl| Arc::new(TokenRules::new(acl))),
            policies: Arc::clone(self),
            subject: Arc::clone(subject),
            ip,
        }
    }
}

impl Compiled {
    /// Judges a PUBLISH, a will, or any other message on its way in.
    pub fn permit_publish(
        &self,
        topic: TopicName,
        qos: QoS,
        retain: bool,
    ) -> Result<PublishPermit, Denial> {
        let judged = self.judge().publish(topic.as_str(), qos, retain);
        let audited = judged.audited.and_then(|rule| self.rule_id(rule));
        let denial = |by| Denial::new(Action::Publish, by, audited.clone(), judged.disconnects);
        match judged.verdict {
            Verdict::Allowed(rule) => {
                let rule = self.rule_id(rule).ok_or_else(|| denial(None))?;
                let author = Arc::clone(&self.subject);
                let generation = self.policies.generation();
                Ok(PublishPermit::new(
                    (topic, qos, retain),
                    author,
                    rule,
                    audited,
                    generation,
                ))
            }
            Verdict::DeniedBy(rule) => Err(denial(self.rule_id(rule))),
            Verdict::Narrowed => Err(denial(None).narrowed(self.token_name())),
            Verdict::NothingMatched => Err(denial(None)),
        }
    }

    /// Judges one filter of a SUBSCRIBE: `$share/G/F` as F, which `share` may narrow to groups (POL-2).
    pub fn permit_subscribe(
        &self,
        subscription: &Subscription,
        qos: QoS,
    ) -> Result<SubscribePermit, Denial> {
        let share = subscription.share.as_ref().map(|share| share.as_str());
        let filter = self
            .judge()
            .subscribe(subscription.filter.as_str(), share, qos);
        let judged = filter.judged;
        let audited = judged.audited.and_then(|rule| self.rule_id(rule));
        let denial = |by| Denial::new(Action::Subscribe, by, audited.clone(), judged.disconnects);
        match judged.verdict {
            Verdict::Allowed(rule) => {
                let rule = self.rule_id(rule).ok_or_else(|| denial(None))?;
                let delivery = match filter.checked {
                    true => Delivery::Checked,
                    false => Delivery::Unconditional,
                };
                Ok(SubscribePermit::new(
                    subscription.clone(),
                    (filter.maximum_qos, delivery),
                    Arc::clone(&self.subject),
                    rule,
                    audited,
                    self.policies.generation(),
                ))
            }
            Verdict::DeniedBy(rule) => Err(denial(self.rule_id(rule))),
            Verdict::Narrowed => Err(denial(None).narrowed(self.token_name())),
            Verdict::NothingMatched => Err(denial(None)),
        }
    }

    /// The permit itself where it is of these very rights, of these policies for this proof with these groups; otherwise it is judged anew.
    pub fn renew(&self, permit: SubscribePermit, qos: QoS) -> Result<SubscribePermit, Denial> {
        let stands = permit.generation() == self.generation()
            && Arc::ptr_eq(permit.subscriber(), &self.subject);
        if stands {
            return Ok(permit);
        }
        self.permit_subscribe(permit.subscription(), qos)
    }

    /// Judges a message on its way out, with the QoS and RETAIN flag that it would be sent with and the group of a shared subscription.
    pub fn permits_delivery(
        &self,
        topic: &TopicName,
        qos: QoS,
        retain: bool,
        share: Option<&str>,
    ) -> bool {
        let verdict = self.judge().deliver(topic.as_str(), qos, retain, share);
        matches!(verdict, Verdict::Allowed(_))
    }

    /// The refusal behind a delivery that is not permitted.
    pub fn why_not_delivered(
        &self,
        topic: &TopicName,
        qos: QoS,
        retain: bool,
        share: Option<&str>,
    ) -> Option<Denial> {
        let denial = |by| Denial::new(Action::Subscribe, by, None, false);
        match self.judge().deliver(topic.as_str(), qos, retain, share) {
            Verdict::Allowed(_) => None,
            Verdict::DeniedBy(rule) => Some(denial(self.rule_id(rule))),
            Verdict::Narrowed => Some(denial(None).narrowed(self.token_name())),
            Verdict::NothingMatched => Some(denial(None)),
        }
    }

    /// Whether an attempt of an assertion or of `explain` would be permitted.
    pub fn allows(&self, attempt: &super::Attempt) -> bool {
        attempt.judge(self.judge()).0
    }

    pub fn subject(&self) -> &Arc<Subject> {
        &self.subject
    }

    pub fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }

    pub fn generation(&self) -> u64 {
        self.policies.generation()
    }

    /// `limits:` of every policy that concerns the subject; all of them hold.
    pub fn limits(&self) -> impl Iterator<Item = &MessageLimit> {
        let policies = self.applicable.limits.iter();
        policies.filter_map(|number| self.policies.policy(*number)?.limit.as_ref())
    }

    /// Statements with a placeholder that this subject cannot fill, for the audit log: an allow then matches nothing, a deny reads it as `+`.
    pub fn unusable_placeholders(&self) -> Vec<(RuleId, String)> {
        let all = [Action::Publish, Action::Subscribe];
        let rules = all.iter().flat_map(|action| self.applicable.of(*action));
        let of_token = self.token.iter().flat_map(|token| token.rules());
        let mut found = Vec::new();
        for rule in rules
            .filter_map(|number| self.policies.rule(*number))
            .chain(of_token)
        {
            let unusable = |attribute: &&Attribute| match rule.effect {
                Effect::Allow => attribute
                    .values(self.values())
                    .all(super::pattern::is_unusable),
                Effect::Deny => {
                    let mut values = attribute.values(self.values()).peekable();
                    values.peek().is_none() || values.any(super::pattern::is_unusable)
                }
            };
            if let Some(attribute) = rule.pattern.attributes().find(unusable) {
                found.push((rule.id.clone(), attribute.to_string()));
            }
        }
        found
    }

    #[cfg(test)]
    pub(super) fn shares_rules_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.applicable, &other.applicable)
    }

    pub(super) fn judge(&self) -> Judge<'_> {
        Judge {
            policies: &self.policies,
            applicable: &self.applicable,
            token: self.token.as_deref(),
            values: self.values(),
        }
    }

    fn values(&self) -> Values<'_> {
        Values {
            subject: &self.subject,
            ip: &self.ip,
        }
    }

    /// Who refuses when the token's list allows nothing of it.
    pub(super) fn token_name(&self) -> Option<RuleId> {
        self.token.as_ref().map(|token| token.name.clone())
    }

    /// What the token brought, where it brought a list.
    pub(super) fn token_list(&self) -> Option<String> {
        self.token.as_ref().map(|token| token.describe())
    }

    fn rule_id(&self, number: u32) -> Option<RuleId> {
        self.judge().rule(number).map(|rule| rule.id.clone())
    }
}

/// An IPv4-mapped address is written as the IPv4 address that it carries.
pub(super) fn ip_text(subject: &Subject) -> Arc<str> {
    subject.ip.to_canonical().to_string().into()
}
