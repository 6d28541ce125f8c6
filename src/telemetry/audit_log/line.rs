//! One record as one JSON line, chained to the line before.

use std::fmt::Write;
use std::sync::Arc;
use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;

use super::super::escape::push_json_string;
use crate::audit::Event;

/// An event with the time it happened at, and how many it stands for.
pub(super) struct Record {
    time: SystemTime,
    event: Event,
    count: Option<u64>,
}

impl Record {
    pub(super) fn new(time: SystemTime, event: Event, count: Option<u64>) -> Self {
        Self { time, event, count }
    }

    pub(super) fn event(&self) -> &Event {
        &self.event
    }

    /// The line without its end. `previous` is the SHA-256 of the line before, so that none can be changed, dropped or put in between unseen.
    pub(super) fn to_line(&self, sequence: u64, previous: &str) -> String {
        let mut line = Fields(String::with_capacity(512));
        let time = OffsetDateTime::from(self.time).format(&TIME);
        let _ = write!(line.0, "{{\"time\":\"{}\"", time.unwrap_or_default());
        line.raw("sequence", Some(sequence));
        line.text("event", Some(self.event.kind.name()));
        line.text("outcome", Some(self.event.outcome.name()));
        line.text("client_id", self.event.client_id.as_deref());
        line.text("username", self.event.username.as_deref());
        line.text("namespace", self.event.namespace.as_deref());
        line.text("ip", self.event.ip.map(|ip| ip.to_string()).as_deref());
        line.text("listener", self.event.listener.as_deref());
        line.text("protocol", self.event.protocol);
        line.text("method", self.event.method);
        line.texts("groups", &self.event.groups);
        line.text(
            "reason",
            Some(&self.event.reason)
                .filter(|reason| !reason.is_empty())
                .map(String::as_str),
        );
        line.text("rule", self.event.rule.as_deref());
        line.text("audited", self.event.audited.as_deref());
        line.text("action", self.event.action);
        line.text("topic", self.event.topic.as_deref());
        line.raw("qos", self.event.qos);
        line.raw("retain", self.event.retain);
        line.text(
            "decision",
            self.event.decision.map(|id| id.to_string()).as_deref(),
        );
        line.raw("count", self.count);
        line.text("previous", Some(previous));
        line.0.push('}');
        line.0
    }
}

/// Lower-case hexadecimal SHA-256.
pub(super) fn digest(line: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, line);
    let mut hex = String::with_capacity(64);
    for byte in digest.as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// What the very first line of a trail says about the one before it.
pub(super) const BEGINNING: &str =
    "0000000000000000000000000000000000000000000000000000000000000000";

struct Fields(String);

impl Fields {
    fn text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            let _ = write!(self.0, ",\"{name}\":");
            push_json_string(&mut self.0, text);
        }
    }

    /// A list; an empty one is left out. A long one is cut: a line has a bound.
    fn texts(&mut self, name: &str, texts: &[Arc<str>]) {
        const MOST: usize = 32;
        if texts.is_empty() {
            return;
        }
        let _ = write!(self.0, ",\"{name}\":[");
        for (index, text) in texts.iter().take(MOST).enumerate() {
            if index > 0 {
                self.0.push(',');
            }
            push_json_string(&mut self.0, text);
        }
        self.0.push(']');
    }

    fn raw(&mut self, name: &str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            let _ = write!(self.0, ",\"{name}\":{value}");
        }
    }
}

const TIME: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::audit::{DecisionId, Kind, Outcome};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_line_holds_what_the_contract_names() {
        let event = Event {
            kind: Kind::Publish,
            outcome: Outcome::Refused,
            client_id: Some("pump\n7".into()),
            username: Some("pump-7".into()),
            ip: Some([192, 0, 2, 7].into()),
            listener: Some("mqtts".into()),
            method: Some("certificate"),
            reason: "nothing matched".into(),
            rule: Some("policies/a.yaml:3 own".into()),
            action: Some("publish"),
            topic: Some("a/\u{202e}b".into()),
            qos: Some(1),
            retain: Some(false),
            decision: Some(DecisionId(0xabc)),
            namespace: None,
            protocol: Some("mqtt"),
            groups: vec!["a\"b".into(), "c".into()],
            audited: Some("policies/b.yaml:4 soon".into()),
        };
        let at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let line = Record::new(at, event, None).to_line(7, BEGINNING);
        let expected = format!(
            "{{\"time\":\"2023-11-14T22:13:20.123Z\",\"sequence\":7,\"event\":\"publish\",\"outcome\":\"refused\",\
             \"client_id\":\"pump\\u000a7\",\"username\":\"pump-7\",\"ip\":\"192.0.2.7\",\"listener\":\"mqtts\",\
             \"protocol\":\"mqtt\",\"method\":\"certificate\",\"groups\":[\"a\\\"b\",\"c\"],\"reason\":\"nothing matched\",\
             \"rule\":\"policies/a.yaml:3 own\",\"audited\":\"policies/b.yaml:4 soon\",\"action\":\"publish\",\"topic\":\"a/\\u202eb\",\"qos\":1,\"retain\":false,\
             \"decision\":\"0000000000000abc\",\"previous\":\"{BEGINNING}\"}}"
        );
        assert_eq!(line, expected);
        serde_json::from_str::<serde_json::Value>(&line).unwrap();
    }

    #[test]
    fn the_digest_is_sha_256() {
        let of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest(b""), of_nothing);
    }
}
