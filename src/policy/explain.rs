//! Why: every rule that came near a decision, with what failed in it.

use super::assertion::Attempt;
use super::attribute::{Attribute, Values};
use super::compiled::Compiled;
use super::judge::{Judge, Verdict};
use super::pattern::{Asked, AskedLevel, Level, Pattern, is_unusable};
use super::permit::Denial;
use super::policies::{MessageLimit, Policy};
use super::rule::{Action, Effect, Rule, RuleId};
use super::token;
use super::who::{Condition, Holds};
use crate::identity::Subject;
use crate::identity::jwt::AclMode;
use crate::mqtt::QoS;
use serde::{Serialize, Serializer};
use std::fmt;

/// No more rules are listed: the nearest ones.
const MOST: usize = 20;

/// The answer to one attempt, and the way to it.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    pub allowed: bool,
    pub action: Action,
    /// Topic name or filter, with its share.
    pub topic: String,
    pub qos: u8,
    pub retain: bool,
    /// What a SUBACK would grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granted_qos: Option<u8>,
    /// Each message of the subscription would be judged again when it is delivered.
    pub checked_at_delivery: bool,
    /// The deciding `file:line id`, or the place in the token's list; nothing when no statement matched.
    pub rule: Option<RuleId>,
    /// The rule in audit mode that would have decided otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audited: Option<RuleId>,
    pub reason: String,
    pub subject: Described,
    /// What the policies that concern the subject let it send; all of them hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policy_limits: Vec<LimitedBy>,
    /// The list that the subject's token brought along: its name, what it does, how long it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_list: Option<String>,
    /// The nearest first.
    pub near: Vec<Near>,
    /// Rules about the same action that came near but are not listed.
    pub unlisted: usize,
}

/// Who was judged.
#[derive(Clone, Debug, Serialize)]
pub struct Described {
    pub username: String,
    pub namespace: String,
    pub auth: &'static str,
    pub client_id: String,
    pub ip: String,
    pub listener: String,
    pub protocol: &'static str,
    pub groups: Vec<String>,
}

/// `limits:` of a policy.
#[derive(Clone, Debug, Serialize)]
pub struct LimitedBy {
    pub policy: RuleId,
    pub messages: String,
}

/// A rule that decided, would have, or lacked little.
#[derive(Clone, Debug, Serialize)]
pub struct Near {
    pub rule: RuleId,
    pub effect: &'static str,
    /// `mode: audit`: tells, and does not decide.
    pub audit: bool,
    /// What its policy says it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its filter as written.
    pub filter: String,
    /// Its filter with the subject's values, when it has placeholders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filled: Option<String>,
    /// Empty: it matched.
    pub failed: Vec<String>,
    /// Shares some of the topics of a filter, so that it is asked again for each message.
    pub partial: bool,
}

impl Compiled {
    /// Judges the attempt as [`Compiled::permit_publish`] and [`Compiled::permit_subscribe`] do, and tells why.
    pub fn explain(&self, attempt: &Attempt) -> Explanation {
        let judge = self.judge();
        let (allowed, verdict) = attempt.judge(judge);
        let rule = verdict.rule().and_then(|number| judge.rule(number));
        let (granted_qos, checked, audited) = match attempt {
            Attempt::Publish { topic, qos, retain } => {
                let judged = judge.publish(topic.as_str(), *qos, *retain);
                (None, false, judged.audited)
            }
            Attempt::Subscribe { subscription, qos } => {
                let share = subscription.share.as_ref().map(|share| share.as_str());
                let filter = judge.subscribe(subscription.filter.as_str(), share, *qos);
                let granted = rule.filter(|rule| rule.effect == Effect::Allow);
                (
                    granted.map(|_| filter.maximum_qos),
                    granted.is_some() && filter.checked,
                    filter.judged.audited,
                )
            }
        };
        let mut ranked = judge.near(attempt);
        ranked.sort_by_key(|(distance, number, _)| (*distance, *number));
        let unlisted = ranked.len().saturating_sub(MOST);
        let (qos, retain) = attempt.qos_and_retain();
        Explanation {
            allowed,
            action: attempt.action(),
            topic: attempt.topic_text(),
            qos: qos.bits(),
            retain,
            granted_qos: granted_qos.map(QoS::bits),
            checked_at_delivery: checked,
            rule: match verdict {
                Verdict::Narrowed => self.token_name(),
                Verdict::Allowed(_) | Verdict::DeniedBy(_) | Verdict::NothingMatched => {
                    rule.map(|rule| rule.id.clone())
                }
            },
            audited: audited
                .and_then(|number| judge.rule(number))
                .map(|rule| rule.id.clone()),
            reason: match verdict {
                Verdict::Narrowed => narrowed(attempt.action(), self.token_name()),
                Verdict::Allowed(_) | Verdict::DeniedBy(_) | Verdict::NothingMatched => {
                    reason(allowed, rule, granted_qos, qos)
                }
            },
            subject: Described::new(self.subject()),
            policy_limits: self.limits().map(LimitedBy::new).collect(),
            token_list: self.token_list(),
            near: ranked
                .into_iter()
                .take(MOST)
                .map(|(_, _, near)| near)
                .collect(),
            unlisted,
        }
    }
}

/// As [`super::Denial`] says it.
fn narrowed(action: Action, by: Option<RuleId>) -> String {
    Denial::new(action, None, None, false)
        .narrowed(by)
        .to_string()
}

fn reason(allowed: bool, rule: Option<&Rule>, granted: Option<QoS>, wanted: QoS) -> String {
    match rule {
        Some(rule) if allowed => format!("allowed by {}", rule.id),
        Some(rule) => match (rule.effect, granted) {
            (Effect::Deny, _) => format!("denied by {}", rule.id),
            (Effect::Allow, Some(granted)) => format!(
                "{} grants QoS {} and not {}",
                rule.id,
                granted.bits(),
                wanted.bits()
            ),
            (Effect::Allow, None) => format!("{} does not suffice", rule.id),
        },
        None => "no statement allows it".to_owned(),
    }
}

/// How far a rule is from deciding: how much failed, whether it is a deny that does not match (which changes nothing), and how few levels agree.
type Distance = (usize, bool, std::cmp::Reverse<usize>);

impl Judge<'_> {
    fn near(self, attempt: &Attempt) -> Vec<(Distance, usize, Near)> {
        let action = attempt.action();
        let mut found = Vec::new();
        for policy in &self.policies.policies {
            let who = self.who_failures(policy);
            for number in policy.rules.clone() {
                let Some(rule) = self.policies.rules.get(number) else {
                    continue;
                };
                if rule.action != action {
                    continue;
                }
                let source = Source {
                    audit: policy.audit,
                    description: policy.description.as_deref(),
                    who: &who,
                };
                let (distance, near) = self.judge_near(rule, source, attempt);
                // Somebody else's rule about something else explains nothing.
                if distance.0 <= 1 || near.partial {
                    found.push((distance, number, near));
                }
            }
        }
        found.extend(self.near_in_token(attempt));
        found
    }

    /// The token's own statements about the same action: there are few, and all of them are the subject's.
    fn near_in_token(self, attempt: &Attempt) -> Vec<(Distance, usize, Near)> {
        let Some(token) = self.token else {
            return Vec::new();
        };
        let everybody = WhoFailures::default();
        let source = Source {
            audit: false,
            description: Some(match token.mode {
                AclMode::Narrow => "the token's list, without which nothing is allowed",
                AclMode::Grant => "the token's list, which grants besides the policies",
            }),
            who: &everybody,
        };
        let first = self.policies.rules.len();
        let rules = token.of(attempt.action());
        let near = rules.map(|(place, rule)| {
            let (distance, near) = self.judge_near(rule, source, attempt);
            (distance, first.saturating_add(place), near)
        });
        near.collect()
    }

    fn judge_near(self, rule: &Rule, source: Source<'_>, attempt: &Attempt) -> (Distance, Near) {
        let mut failed = match rule.effect {
            Effect::Allow => source.who.in_allow.clone(),
            Effect::Deny => source.who.in_deny.clone(),
        };
        // Several failing conditions of one `who` are one distance: it is somebody else's.
        let mut steps = usize::from(!failed.is_empty());
        let concerned = failed.is_empty();
        let text = attempt.pattern_text();
        let asked = match attempt {
            Attempt::Publish { .. } => Asked::topic(&text),
            Attempt::Subscribe { .. } => Asked::filter(&text),
        };
        let mut agreeing = rule.pattern.levels().len();
        if !rule.pattern.covers(asked, self.values, rule.effect) {
            let (levels, message) = self.topic_failure(rule, asked);
            agreeing = levels;
            steps += 1;
            failed.push(message);
        } else if self
            .token
            .is_some_and(|token| rule.policy == token::NO_POLICY && !token.may_count(rule, asked))
        {
            steps += 1;
            failed.push("topic: a token grants nothing that begins with $".to_owned());
        }
        let conditions = condition_failures(rule, attempt);
        steps += conditions.len();
        failed.extend(conditions);
        let partial = concerned
            && rule.effect == Effect::Deny
            && matches!(attempt, Attempt::Subscribe { .. })
            && !failed.is_empty()
            && rule.pattern.may_overlap(asked, self.values);
        let near = Near {
            rule: rule.id.clone(),
            effect: match rule.effect {
                Effect::Allow => "allow",
                Effect::Deny => "deny",
            },
            audit: source.audit,
            description: source.description.map(str::to_owned),
            filter: rule.pattern.to_string(),
            filled: rule
                .pattern
                .attributes()
                .next()
                .map(|_| fill(&rule.pattern, self.values)),
            failed,
            partial,
        };
        let idle = rule.effect == Effect::Deny && steps > 0 && !partial;
        ((steps, idle, std::cmp::Reverse(agreeing)), near)
    }

    fn who_failures(self, policy: &Policy) -> WhoFailures {
        let mut failures = WhoFailures::default();
        for condition in &policy.who.0 {
            let message = || format!("who: {}", describe(condition, self.values));
            match condition.holds(self.values) {
                Holds::Yes => {}
                Holds::Unknown => failures.in_allow.push(message()),
                Holds::No => {
                    failures.in_allow.push(message());
                    failures.in_deny.push(message());
                }
            }
        }
        // A deny holds when in doubt, but not when another condition fails.
        failures
    }

    /// How many levels agree, and what the first one says that does not.
    fn topic_failure(self, rule: &Rule, asked: Asked<'_>) -> (usize, String) {
        let mut levels = asked.levels();
        for (index, level) in rule.pattern.levels().iter().enumerate() {
            let found = levels.next();
            let covered = match found {
                None | Some(AskedLevel::Multi) => false,
                Some(AskedLevel::Single) => match level {
                    Level::Single => true,
                    Level::Literal(_) | Level::Value(_) => false,
                },
                Some(AskedLevel::Literal(literal)) => {
                    level.covers_literal(literal, index == 0, self.values, rule.effect)
                }
            };
            if !covered {
                let wanted = wanted(level, self.values, found, index == 0);
                let found = match found {
                    None => "missing".to_owned(),
                    Some(AskedLevel::Single) => "+".to_owned(),
                    Some(AskedLevel::Multi) => "#".to_owned(),
                    Some(AskedLevel::Literal(literal)) => format!("{literal:?}"),
                };
                return (
                    index,
                    format!("topic: level {} is {found}, {wanted}", index + 1),
                );
            }
        }
        let length = rule.pattern.levels().len();
        (length, format!("topic: more than {length} levels"))
    }
}

/// What a rule is part of.
#[derive(Clone, Copy)]
struct Source<'a> {
    audit: bool,
    description: Option<&'a str>,
    who: &'a WhoFailures,
}

#[derive(Default)]
struct WhoFailures {
    in_allow: Vec<String>,
    in_deny: Vec<String>,
}

fn condition_failures(rule: &Rule, attempt: &Attempt) -> Vec<String> {
    let mut failed = Vec::new();
    match attempt {
        Attempt::Publish { qos, retain, .. } => {
            if !rule.qos.contains(*qos) {
                failed.push(format!("qos: {} is not in {}", qos.bits(), rule.qos));
            }
            if !rule.takes_retain(*retain) {
                failed.push(format!("retain: {retain}, wanted {}", !retain));
            }
        }
        Attempt::Subscribe { subscription, qos } => {
            let share = subscription.share.as_ref().map(|share| share.as_str());
            if !rule.takes_share(share) {
                failed.push(match share {
                    Some(share) => format!("share: {share:?} is not among its groups"),
                    None => "share: only for shared subscriptions".to_owned(),
                });
            }
            if !rule.qos.contains(*qos) {
                failed.push(format!("qos: {} is not in {}", qos.bits(), rule.qos));
            }
        }
    }
    failed
}

/// A condition with what the subject has instead.
fn describe(condition: &Condition, of: Values<'_>) -> String {
    match condition {
        Condition::Any => "any".to_owned(),
        Condition::Text(attribute, _) => {
            let values: Vec<_> = attribute
                .values(of)
                .map(|value| format!("{value:?}"))
                .collect();
            let found = match values.as_slice() {
                [] => "missing".to_owned(),
                some => some.join(", "),
            };
            format!(
                "{attribute} is {found}, wanted {}",
                Condition::wanted(condition)
            )
        }
        Condition::Network(_) => {
            format!("ip is {}, wanted {}", of.ip, Condition::wanted(condition))
        }
        Condition::Not(who) => match condition.holds(of) {
            Holds::Unknown => format!("not {who}: something in it is missing"),
            Holds::Yes | Holds::No => format!("not {who}: all of it holds"),
        },
    }
}

fn wanted(level: &Level, of: Values<'_>, found: Option<AskedLevel<'_>>, first: bool) -> String {
    match level {
        Level::Literal(literal) => format!("wanted {literal:?}"),
        Level::Single => match found {
            Some(AskedLevel::Literal(_)) if first => {
                "and a wildcard does not cover a topic that begins with $".to_owned()
            }
            Some(_) | None => "wanted one level".to_owned(),
        },
        Level::Value(template) => {
            let mut filled = String::new();
            fill_level(&mut filled, level, of);
            format!("wanted {filled:?} (${{{}}})", template.attribute)
        }
    }
}

/// The filter with the subject's values, for reading only.
fn fill(pattern: &Pattern, of: Values<'_>) -> String {
    let mut text = String::new();
    for (index, level) in pattern.levels().iter().enumerate() {
        if index > 0 {
            text.push('/');
        }
        fill_level(&mut text, level, of);
    }
    if pattern.is_open() {
        text.push_str("/#");
    }
    text
}

fn fill_level(text: &mut String, level: &Level, of: Values<'_>) {
    match level {
        Level::Literal(literal) => text.push_str(literal),
        Level::Single => text.push('+'),
        Level::Value(template) => {
            text.push_str(&template.before);
            fill_value(text, &template.attribute, of);
            text.push_str(&template.after);
        }
    }
}

fn fill_value(text: &mut String, attribute: &Attribute, of: Values<'_>) {
    let shown = |value: &str| match is_unusable(value) {
        true => format!("({value:?} is no level)"),
        false => value.to_owned(),
    };
    let values: Vec<_> = attribute.values(of).map(shown).collect();
    match values.as_slice() {
        [] => text.push_str(&format!("({attribute} is missing)")),
        [one] => text.push_str(one),
        several => text.push_str(&format!("{{{}}}", several.join(","))),
    }
}

impl LimitedBy {
    fn new(limit: &MessageLimit) -> Self {
        Self {
            policy: limit.policy.clone(),
            messages: format!("{}, burst {}", limit.rate, limit.burst),
        }
    }
}

impl Described {
    pub(super) fn new(subject: &Subject) -> Self {
        let identity = &subject.identity;
        Self {
            username: identity.username.to_string(),
            namespace: identity.namespace.to_string(),
            auth: identity.method.0,
            client_id: subject.client_id.to_string(),
            ip: subject.ip.to_canonical().to_string(),
            listener: subject.listener.to_string(),
            protocol: subject.protocol,
            groups: identity.groups.iter().map(ToString::to_string).collect(),
        }
    }
}

impl fmt::Display for Explanation {
    /// `ALLOW` or `DENY`, the reason, and below it each rule that came near.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.allowed { "ALLOW" } else { "DENY" };
        let retain = if self.retain { " retain" } else { "" };
        let action = self.action.name();
        writeln!(
            f,
            "{verdict} {action} {} qos {}{retain}",
            self.topic, self.qos
        )?;
        write!(f, "  {}", self.reason)?;
        if self.checked_at_delivery {
            f.write_str("; each message is judged again when it is delivered")?;
        }
        f.write_str("\n")?;
        if let Some(audited) = &self.audited {
            writeln!(f, "  in audit mode: {audited} would have decided otherwise")?;
        }
        writeln!(f, "  as {}", self.subject)?;
        if let Some(list) = &self.token_list {
            writeln!(f, "  with {list}")?;
        }
        for limit in &self.policy_limits {
            writeln!(f, "  limited by {} to {}", limit.policy, limit.messages)?;
        }
        if !self.near.is_empty() {
            writeln!(f, "  rules that came near:")?;
        }
        for near in &self.near {
            writeln!(f, "    {near}")?;
            for failed in &near.failed {
                writeln!(f, "        {failed}")?;
            }
        }
        if self.unlisted > 0 {
            writeln!(f, "    and {} more", self.unlisted)?;
        }
        Ok(())
    }
}

impl fmt::Display for Near {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let audit = if self.audit { " (audit)" } else { "" };
        let state = match (self.failed.is_empty(), self.partial) {
            (true, _) => "matches",
            (false, true) => "concerns some of it",
            (false, false) => "does not match",
        };
        write!(
            f,
            "{} {}{audit} {:?} {state}",
            self.rule, self.effect, self.filter
        )?;
        match &self.filled {
            Some(filled) => write!(f, ", filled: {filled}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "username {:?} by {} (name space {:?}), client identifier {:?}, ip {}, listener {:?}, protocol {}, groups {:?}",
            self.username,
            self.auth,
            self.namespace,
            self.client_id,
            self.ip,
            self.listener,
            self.protocol,
            self.groups
        )
    }
}

impl Serialize for RuleId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
