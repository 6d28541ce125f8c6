//! The audit trail, searched. Contract section 7.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;

use super::answer::{self, Outcome};
use super::call::{Call, Query};
use super::node::Pending;
use super::problem::Problem;
use crate::telemetry::audit_log::{Tail, records};

/// What lines must hold.
struct Filter {
    wanted: Vec<(&'static str, String)>,
    limit: usize,
}

pub(super) fn query(call: Call) -> Pending<'static, Outcome> {
    Box::pin(async move {
        let filter = Filter::parse(&call.query)?;
        let trail = call.visit.shared.node.audit_trail();
        if call.query.flag("follow")? {
            return Ok(follow(call, filter));
        }
        let _turn = call
            .visit
            .shared
            .readers
            .acquire()
            .await
            .map_err(|_| Problem::Internal)?;
        let lines = tokio::task::spawn_blocking(move || filter.search(&trail)).await;
        match lines {
            Ok(Ok(lines)) => answer::json(&serde_json::json!({ "records": lines })),
            Ok(Err(_)) | Err(_) => Err(Problem::NotReady("the audit trail cannot be read")),
        }
    })
}

/// Sends what is new each second, until the reader goes away. One that does not read is not waited for.
fn follow(call: Call, filter: Filter) -> answer::Answer {
    let (sender, receiver) = mpsc::channel(QUEUE);
    // Before the answer begins: whoever has it misses nothing that happens from there on.
    let tail = Tail::at_end(&call.visit.shared.node.audit_trail());
    tokio::spawn(async move {
        let Ok(mut tail) = tail else {
            return;
        };
        while !sender.is_closed() {
            let looked = tokio::task::spawn_blocking(move || {
                let lines = tail.read(QUEUE);
                (tail, lines)
            });
            let Ok((back, Ok(lines))) = looked.await else {
                return;
            };
            tail = back;
            for line in lines {
                let fields: Option<Value> = serde_json::from_str(&line).ok();
                let wanted = fields.is_some_and(|fields| filter.holds(&fields));
                if wanted
                    && sender
                        .try_send(Bytes::from(format!("data: {line}\n\n")))
                        .is_err()
                {
                    return;
                }
            }
            tokio::time::sleep(INTERVAL).await;
        }
    });
    answer::events(receiver)
}

impl Filter {
    fn parse(query: &Query) -> Result<Self, Problem> {
        let wanted = FIELDS
            .iter()
            .filter_map(|name| Some((*name, query.text(name)?.to_owned())));
        Ok(Self {
            wanted: wanted.collect(),
            limit: query.limit()?,
        })
    }

    /// The newest first.
    fn search(&self, trail: &Path) -> io::Result<Vec<Value>> {
        let mut found = VecDeque::with_capacity(self.limit);
        for entry in records(trail)? {
            let Some(fields) = entry?.fields() else {
                continue;
            };
            if self.holds(&fields) {
                if found.len() >= self.limit {
                    found.pop_front();
                }
                found.push_back(fields);
            }
        }
        Ok(found.into_iter().rev().collect())
    }

    fn holds(&self, fields: &Value) -> bool {
        self.wanted
            .iter()
            .all(|(name, wanted)| fields.get(name).and_then(Value::as_str) == Some(wanted))
    }
}

const FIELDS: [&str; 6] = [
    "event",
    "outcome",
    "username",
    "client_id",
    "ip",
    "decision",
];
const INTERVAL: Duration = Duration::from_secs(1);
const QUEUE: usize = 1024;
