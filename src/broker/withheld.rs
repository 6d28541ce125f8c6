//! Tells what the router withheld: a line in the trail and an entry among the denials, with a decision to ask about. Contract section 5

use super::node::Node;
use crate::admin;
use crate::admission::event_about;
use crate::audit::{Event, Kind, Outcome};
use crate::policy::RuleId;
use crate::router::{Withheld, WithheldKind};
use std::sync::Arc;
use std::time::SystemTime;

pub(super) fn tell(node: &Node) {
    for one in node.router.take_withheld() {
        tell_one(node, one);
    }
}

fn tell_one(node: &Node, withheld: Withheld) {
    let Withheld {
        subject,
        of,
        topic,
        qos,
        retain,
        denial,
    } = withheld;
    let (kind, action) = match of {
        WithheldKind::Will => (Kind::Publish, "publish"),
        WithheldKind::Delivery => (Kind::Deliver, "subscribe"),
    };
    let what = match of {
        WithheldKind::Will => "the will was not sent",
        WithheldKind::Delivery => "the message was not delivered",
    };
    let reason = format!("{what}: {denial}");
    let decision = node.decision();
    node.record(Event {
        kind,
        outcome: Outcome::Refused,
        reason: reason.clone(),
        rule: denial.rule().map(RuleId::text),
        audited: denial.audited().map(RuleId::text),
        action: Some(action),
        topic: Some(topic.as_str().to_owned()),
        qos: Some(qos.bits()),
        retain: Some(retain),
        decision: Some(decision),
        ..event_about(&subject)
    });
    node.denials.record(admin::Denial {
        at: SystemTime::now(),
        decision,
        action,
        topic: topic.as_str().to_owned(),
        qos: qos.bits(),
        retain,
        rule: denial.rule().map(ToString::to_string),
        reason,
        subject: Arc::clone(&subject),
    });
}
