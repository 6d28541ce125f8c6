//! The node as a whole: health, status, metrics, reload, and the tokens that open its API.

use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::answer::{self, Outcome};
use super::call::{Call, Visit};
use super::node::Pending;
use super::problem::Problem;
use super::server::METRICS;
use super::tokens::TokenError;
use crate::identity::Role;

/// Says nothing but its state (ADM-5).
pub(super) fn healthz(_: Visit) -> Pending<'static, Outcome> {
    Box::pin(async {
        Ok(answer::document(
            StatusCode::OK,
            "text/plain",
            "ok\n".into(),
        ))
    })
}

pub(super) fn readyz(visit: Visit) -> Pending<'static, Outcome> {
    Box::pin(async move {
        match visit.shared.node.readiness() {
            Ok(()) => Ok(answer::document(
                StatusCode::OK,
                "text/plain",
                "ready\n".into(),
            )),
            // Why is for those who log in: `status`, and the log.
            Err(_) => Ok(answer::document(
                StatusCode::SERVICE_UNAVAILABLE,
                "text/plain",
                "not ready\n".into(),
            )),
        }
    })
}

pub(super) fn status(call: &Call) -> Outcome {
    let node = &call.visit.shared.node;
    let mut status = serde_json::to_value(node.status()).map_err(|_| Problem::Internal)?;
    if let Some(members) = status.as_object_mut() {
        if let Err(reason) = node.readiness() {
            members.insert("not_ready_because".into(), reason.into());
        }
        if call.query.flag("effective")? {
            members.insert("effective".into(), node.effective_configuration());
        }
    }
    answer::json(&status)
}

pub(super) fn metrics(call: &Call) -> Outcome {
    Ok(answer::document(
        StatusCode::OK,
        METRICS,
        call.visit.shared.node.metrics(),
    ))
}

pub(super) fn session(call: &Call) -> Outcome {
    let caller = &call.caller;
    answer::json(
        &json!({ "name": caller.name(), "role": caller.role(), "auth": caller.method().0 }),
    )
}

pub(super) fn reload(call: Call) -> Pending<'static, Outcome> {
    Box::pin(async move {
        call.audit("reload".into())?;
        match call.visit.shared.node.reload().await {
            Ok(()) => answer::json(&json!({ "reloaded": true })),
            Err(problems) => Err(Problem::Refused(problems)),
        }
    })
}

pub(super) fn tokens(call: &Call) -> Outcome {
    let tokens = call
        .visit
        .shared
        .tokens
        .all(call.visit.wall)
        .map_err(of_tokens)?;
    let shown = |token: &super::tokens::Token| json!({ "id": token.id, "scope": token.role, "created": token.created, "expires": token.expires });
    answer::json(&json!({ "tokens": tokens.iter().map(shown).collect::<Vec<_>>() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    scope: Role,
    days: Option<u16>,
}

pub(super) fn new_token(call: &Call) -> Outcome {
    let wanted: NewToken = call.visit.json()?;
    let lifetime = wanted
        .days
        .map(|days| Duration::from_secs(u64::from(days) * 86_400));
    call.audit(format!("token new, scope {}", wanted.scope.name()))?;
    let token = call
        .visit
        .shared
        .tokens
        .create(wanted.scope, lifetime, call.visit.wall)
        .map_err(of_tokens)?;
    answer::json_with(StatusCode::CREATED, &json!({ "token": token }))
}

pub(super) fn remove_token(call: &Call) -> Outcome {
    let id = call.argument()?;
    call.audit(format!("token remove {id:?}"))?;
    match call
        .visit
        .shared
        .tokens
        .revoke(id, call.visit.wall)
        .map_err(of_tokens)?
    {
        true => Ok(answer::nothing()),
        false => Err(Problem::NotFound("no token has this id")),
    }
}

fn of_tokens(error: TokenError) -> Problem {
    match error {
        TokenError::TooMany => Problem::Conflict(error.to_string()),
        TokenError::File { .. } => {
            tracing::error!(%error, "the file of tokens failed");
            Problem::Internal
        }
    }
}
