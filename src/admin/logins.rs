//! Logins by cookie: listed, and ended by others than their owner.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::answer::{self, Outcome};
use super::call::{Call, Visit};
use super::node::Pending;
use super::problem::Problem;

pub(super) fn list(call: &Call) -> Outcome {
    let limit = call.query.limit()?;
    let username = call.query.text("username");
    let logins = call.visit.shared.logins.list(call.visit.wall);
    let of_user = logins
        .iter()
        .filter(|login| username.is_none_or(|username| *login.identity.username == *username));
    let logins: Vec<_> = of_user
        .take(limit)
        .map(|login| {
            json!({
                "name": login.name,
                "username": login.identity.username,
                "namespace": login.identity.namespace,
                "auth": login.identity.method.0,
                "ip": login.ip,
                "begun": text(login.begun),
                "used": text(login.used),
                "until": text(login.ends_at()),
            })
        })
        .collect();
    answer::json(&json!({ "logins": logins }))
}

pub(super) fn revoke(call: Call) -> Pending<'static, Outcome> {
    Box::pin(async move {
        let name: Arc<str> = call.argument()?.into();
        call.audit(format!("end login {name:?}"))?;
        match end(&call.visit, &name).await? {
            0 => Err(Problem::NotFound("no login has this name")),
            _ => Ok(answer::nothing()),
        }
    })
}

/// Returns when the end is on disk: a restart does not bring the login back.
pub(super) async fn end(visit: &Visit, name: &Arc<str>) -> Result<usize, Problem> {
    let (logins, name) = (Arc::clone(&visit.shared.logins), Arc::clone(name));
    let ended = tokio::task::spawn_blocking(move || logins.end(|login| login.name == name)).await;
    match ended {
        Ok(Ok(ended)) => Ok(ended),
        Ok(Err(error)) => {
            // In memory the login has ended; what follows is the operator's to know.
            tracing::error!(%error, "the end of a login could not be written down");
            Err(Problem::NotReady(
                "the end of the login could not be written down",
            ))
        }
        Err(_) => Err(Problem::Internal),
    }
}

fn text(time: SystemTime) -> Option<String> {
    OffsetDateTime::from(time).format(&Rfc3339).ok()
}
