//! Clients: listed, shown, disconnected.

use serde_json::json;

use super::answer::{self, Outcome};
use super::call::Call;
use super::node::ClientQuery;
use super::problem::Problem;

pub(super) fn list(call: &Call) -> Outcome {
    let limit = call.query.limit()?;
    let query = ClientQuery {
        prefix: call.query.text("prefix").unwrap_or_default(),
        after: call.query.text("after").unwrap_or_default(),
        limit,
    };
    let clients = call.visit.shared.node.clients(&query);
    // A full page may not be the last.
    let next = clients
        .last()
        .filter(|_| clients.len() >= limit)
        .map(|last| last.client_id.clone());
    answer::json(&json!({ "clients": clients, "next": next }))
}

pub(super) fn show(call: &Call) -> Outcome {
    let client = call.visit.shared.node.client(call.argument()?);
    answer::json(&client.ok_or(NO_CLIENT)?)
}

pub(super) fn kick(call: &Call) -> Outcome {
    let id = call.argument()?;
    call.audit(format!("kick client {id:?}"))?;
    match call
        .visit
        .shared
        .node
        .kick(id, "disconnected by an operator")
    {
        true => Ok(answer::nothing()),
        false => Err(NO_CLIENT),
    }
}

const NO_CLIENT: Problem = Problem::NotFound("no client has this identifier");
