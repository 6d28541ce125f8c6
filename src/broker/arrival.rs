//! From an accepted socket to a running connection: admission under one deadline, then the session is claimed and opened.

use super::connection::{Connection, Entry};
use super::node::Node;
use super::panics::Witness;
use super::pulse::warn_of_end;
use crate::admission::{
    Admitted, Cause, Door, Grant, Proxied, Refused, Screened, client, event_about,
};
use crate::audit::{Event, Kind, Outcome};
use crate::identity::Subject;
use crate::limits::{self, Handshake};
use crate::mqtt::{ConnAck, Packet, ReasonCode, Text, encode_within};
use crate::router::{Claim, End, Parked, SessionHandle};
use crate::session::{Output, Session, connack};
use bytes::BytesMut;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How long a refused peer may take to read why.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Lets one peer in, or tells it no. `handshake` is its place among those under way, until CONNACK.
pub async fn arrive(node: Arc<Node>, screened: Screened, handshake: Handshake) {
    let _witness = Witness(Arc::clone(&node));
    let (ip, door) = (screened.ip(), Arc::clone(screened.door()));
    let entering = async {
        let admitted = screened
            .secure()
            .await?
            .read_connect()
            .await?
            .identify()
            .await?
            .admit()?;
        open(&node, admitted).await
    };
    let outcome = in_time(&handshake, entering)
        .await
        .unwrap_or_else(|refusal| Err(Refused::stranger(refusal, &door, ip)));
    drop(handshake);
    match outcome {
        // A task of its own, so that an idle connection does not carry the memory of its handshake.
        Ok(connection) => {
            tokio::spawn(connection);
        }
        Err(refused) => refuse(&node, *refused).await,
    }
}

/// The same behind a proxy, whose header comes first.
pub async fn arrive_proxied(
    node: Arc<Node>,
    proxied: Proxied,
    handshake: Handshake,
    door: Arc<Door>,
) {
    let witness = Witness(Arc::clone(&node));
    let ip = proxied.ip();
    let screened = in_time(&handshake, proxied.screen(&door))
        .await
        .unwrap_or_else(|refusal| Err(Refused::stranger(refusal, &door, ip)));
    drop((handshake, witness));
    match screened {
        Ok((screened, handshake)) => arrive(node, screened, handshake).await,
        Err(refused) => refuse(&node, *refused).await,
    }
}

/// One deadline for all stages together; a handshake that must give way ends as well (TRN-10).
async fn in_time<T>(
    handshake: &Handshake,
    work: impl Future<Output = T>,
) -> Result<T, limits::Refusal> {
    tokio::select! {
        done = work => Ok(done),
        () = tokio::time::sleep_until(tokio::time::Instant::from_std(handshake.deadline())) => Err(limits::Refusal::HandshakeTimeout),
        () = handshake.evicted() => Err(limits::Refusal::HandshakeEvicted),
    }
}

/// One audit line, a code for the peer at most.
pub async fn refuse(node: &Node, refused: Refused) {
    let decision = node.record_refused(&refused);
    let reveal = node.settings.load().reveal_decision_id;
    refused
        .answer(reveal.then_some(decision), ANSWER_TIME)
        .await;
}

async fn open(node: &Arc<Node>, admitted: Admitted) -> Result<Connection, Box<Refused>> {
    if !takes_connack(&admitted) {
        // Nothing that we could say would be short enough. [MQTT-3.1.2-24]
        let refused = *admitted.refuse(Cause::AnswerTooLarge);
        return Err(Box::new(Refused {
            version: None,
            ..refused
        }));
    }
    let (handle, parked) = match claim(node, &admitted).await {
        Ok(claimed) => claimed,
        Err(cause) => return Err(admitted.refuse(cause)),
    };
    let grant = &admitted.grant;
    // It has a session by now, and whoever changes his mind finds it: what was changed just before goes as it would go then (IDN-11).
    if let Err(cause) = look_again(node, &handle) {
        handle.end(End {
            reason_code: ReasonCode::NotAuthorized,
            reason: cause.to_string(),
        });
    }
    node.router.keep(
        &handle,
        grant.session_expiry_interval(),
        grant.connect().will.as_ref(),
    );
    let session_present = parked.is_some();
    let Parked { carried, replays } = parked.map(|parked| *parked).unwrap_or_default();
    let settings = Arc::clone(&grant.rules().mqtt);
    let mut session = Session::open(grant, carried, settings);
    let mut output = Output::default();
    session.send(
        &Packet::ConnAck(Box::new(greeting(&admitted, session_present))),
        &mut output,
    ); // [MQTT-3.2.0-1]
    let store = node.router.store();
    session.release_again(store.current(), store.committed(), &mut output);
    tell_of_placeholders(node, grant);
    node.metrics.connections_admitted.add(1);
    node.metrics.authentications.add(1);
    tell_of_the_end(&admitted);
    Ok(Connection::new(
        Arc::clone(node),
        admitted,
        Entry {
            session,
            handle,
            replays,
            output,
        },
    ))
}

/// All that can still refuse the CONNECT comes before the claim: that ends a session, or the wait of a will, and is not undone (SES-2).
async fn claim(
    node: &Node,
    admitted: &Admitted,
) -> Result<(Arc<SessionHandle>, Option<Box<Parked>>), Cause> {
    let grant = &admitted.grant;
    let clean_start = grant.connect().clean_start;
    still_trusted(node, grant.subject())?;
    let event = Event {
        kind: Kind::Authenticate,
        outcome: Outcome::Permitted,
        ..event_about(grant.subject())
    };
    if !node.record(event) {
        return Err(Cause::Unauditable);
    }
    loop {
        match node.router.claim(
            grant.rights(),
            clean_start,
            grant.session_expiry_interval(),
            Instant::now(),
        ) {
            Claim::New(handle) => return Ok((handle, None)),
            Claim::Resumed(handle, parked) => return Ok((handle, Some(parked))),
            Claim::Refused(refused) => return Err(Cause::ClientIdentifier(refused.to_string())),
            // The handshake's deadline bounds the wait.
            Claim::Wait(gone) => {
                node.metrics.takeovers.add(1);
                let _ = gone.await;
                still_trusted(node, grant.subject())?;
            }
        }
    }
}

/// Whom a reload stopped trusting, or somebody banned, while it was let in (IDN-11).
fn still_trusted(node: &Node, subject: &Subject) -> Result<(), Cause> {
    node.back_ends.load().recheck(&subject.identity)?;
    not_banned(node, subject)
}

/// The same of somebody who is in the registry by now, with the groups of now.
fn look_again(node: &Node, handle: &Arc<SessionHandle>) -> Result<(), Cause> {
    node.look_again(handle)?;
    not_banned(node, handle.rights().subject())
}

fn not_banned(node: &Node, subject: &Subject) -> Result<(), Cause> {
    node.limits
        .judge_again(subject.ip, &client(subject), Instant::now())
        .map_err(Cause::Limit)
}

/// Statements that concern this client and have a placeholder that it cannot fill: an allow matches nothing then, and a deny more (POL-4).
fn tell_of_placeholders(node: &Node, grant: &Grant) {
    const MOST: usize = 4;
    let unusable = grant.rights().unusable_placeholders();
    for (rule, placeholder) in unusable.into_iter().take(MOST) {
        node.record(Event {
            kind: Kind::Admit,
            outcome: Outcome::Failed,
            reason: format!(
                "${{{placeholder}}} is missing or no single topic level: an allow with it matches nothing, a deny takes it for +"
            ),
            rule: Some(rule.text()),
            ..event_about(grant.subject())
        });
    }
}

fn tell_of_the_end(admitted: &Admitted) {
    let grant = &admitted.grant;
    let identity = &grant.subject().identity;
    let now = SystemTime::now();
    if let Some(until) = identity.valid_until
        && identity.certificate.is_some()
        && until <= now + grant.rules().expiry_warning
    {
        warn_of_end(&identity.username, until, now);
    }
}

/// Whether the CONNACK fits what the client says it takes.
fn takes_connack(admitted: &Admitted) -> bool {
    let connect = admitted.grant.connect();
    let Some(maximum) = connect.properties.maximum_packet_size else {
        return true;
    };
    let packet = Packet::ConnAck(Box::new(greeting(admitted, false)));
    let maximum = usize::try_from(maximum.get()).unwrap_or(usize::MAX);
    let version = connect.protocol_version;
    encode_within(&packet, version, maximum, &mut BytesMut::new())
}

fn greeting(admitted: &Admitted, session_present: bool) -> ConnAck {
    let grant = &admitted.grant;
    let assigned = grant
        .is_assigned()
        .then(|| Text::try_from(&*grant.subject().client_id).unwrap_or_default());
    let mut connack = connack(
        grant.connect(),
        &grant.rules().mqtt,
        session_present,
        assigned,
        grant.maximum_packet_size(),
    );
    connack.properties.authentication_data = grant.authentication_data().cloned();
    connack
}

#[cfg(test)]
#[path = "arrival_tests.rs"]
mod tests;
