//! Bans: listed, placed, lifted. Contract section 7.

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::answer::{self, Outcome};
use super::call::{Call, Visit};
use super::node::Pending;
use super::problem::Problem;
use crate::address::Cidr;
use crate::limits::{Ban, BanError, BanSubject};
use crate::units::Period;

/// One of the three says who.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBan {
    ip: Option<Cidr>,
    username: Option<String>,
    client_id: Option<String>,
    /// Absent: until it is lifted.
    duration: Option<Period>,
    #[serde(default)]
    reason: String,
}

pub(super) fn list(call: &Call) -> Outcome {
    let visit = &call.visit;
    answer::json(&json!({ "bans": visit.shared.node.limits().bans(visit.now, visit.wall) }))
}

pub(super) fn place(call: Call) -> Pending<'static, Outcome> {
    Box::pin(async move {
        let (ban, disconnected) = placed(&call)?;
        keep(&call.visit).await?;
        answer::json_with(
            StatusCode::CREATED,
            &json!({ "ban": ban, "disconnected": disconnected }),
        )
    })
}

/// From here on it is in force.
fn placed(call: &Call) -> Result<(Ban, u64), Problem> {
    let NewBan {
        ip,
        username,
        client_id,
        duration,
        reason,
    } = call.visit.json()?;
    let subject = match (ip, username, client_id) {
        (Some(ip), None, None) => BanSubject::Ip(ip),
        (None, Some(username), None) => BanSubject::Username(username),
        (None, None, Some(client_id)) => BanSubject::ClientId(client_id),
        (_, _, _) => {
            return Err(Problem::BadRequest(
                "name one of ip, username and client_id".into(),
            ));
        }
    };
    // A slip of the hand must not shut out who could mend it.
    if matches!(subject, BanSubject::Ip(range) if range.contains(call.visit.ip)) {
        return Err(Problem::Conflict(
            "this would ban the address you call from".into(),
        ));
    }
    call.audit(format!("ban {subject}: {reason:?}"))?;
    let (visit, by) = (&call.visit, call.caller.name().to_owned());
    let (node, duration) = (&visit.shared.node, duration.map(Period::get));
    let placed = node
        .limits()
        .ban(subject, duration, (reason, by), visit.now, visit.wall);
    let ban = placed.map_err(|error| match error {
        BanError::Full => Problem::Conflict(error.to_string()),
        BanError::Name => Problem::BadRequest(error.to_string()),
    })?;
    let disconnected = node.kick_banned(&ban.subject);
    Ok((ban, disconnected))
}

pub(super) fn lift(call: Call) -> Pending<'static, Outcome> {
    Box::pin(async move {
        let subject: BanSubject = call
            .argument()?
            .parse()
            .map_err(|error| Problem::BadRequest(format!("{error}")))?;
        call.audit(format!("unban {subject}"))?;
        if !call.visit.shared.node.limits().unban(&subject) {
            return Err(Problem::NotFound("nobody of this name is banned"));
        }
        keep(&call.visit).await?;
        Ok(answer::nothing())
    })
}

/// Returns when it is on disk: a crash neither forgets a ban nor brings one back.
async fn keep(visit: &Visit) -> Result<(), Problem> {
    visit.shared.node.keep_bans().await.map_err(|error| {
        // It holds in memory, and is tried again; what follows is the operator's to know.
        tracing::error!(%error, "the bans could not be written down");
        Problem::NotReady("it holds now, but could not be written down yet")
    })
}
