//! Enrolment over Secure Transport: devices fetch and renew their certificates with curl and openssl. RFC 7030, RFC 8951
//!
//! A device shows its certificate, or a token made for its name, and that opens these three paths and nothing else. What was shown is
//! looked at before a byte of the body is read, and again when the certificate is made.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use rustls_pki_types::CertificateDer;
use time::format_description::well_known::Rfc3339;
use tokio::time::timeout;

use super::answer::{self, Outcome};
use super::call::Visit;
use super::problem::Problem;
use crate::audit::{Event, Kind, Outcome as Audited};
use crate::identity::Method;
use crate::limits::Attempt;
use crate::pki::{Applicant, Enrolment, EnrolmentError, Fault, Record, SigningRequest, Wish};
use crate::secret::Secret;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Authorities,
    Enrol,
    Renew,
}

/// Whom the token or, without one, the certificate stands for. What is offered first decides, as everywhere.
pub(super) async fn identify(
    visit: &Visit,
    verb: Verb,
    certificate: Option<&CertificateDer<'static>>,
) -> Result<Applicant, Problem> {
    let attempt = attempt(visit);
    let limits = visit.shared.node.limits();
    if !visit.headers.contains_key(AUTHORIZATION) {
        let certificate = certificate.ok_or(Problem::NotEnrolled)?;
        return Applicant::by_certificate(certificate)
            .map_err(|error| refuse(visit, Method::CERTIFICATE, None, &error));
    }
    if let Err(refusal) = limits.attempt(&attempt, visit.now) {
        let until = refusal.until();
        let left = until.map_or(60, |end| end.saturating_duration_since(visit.now).as_secs());
        return Err(Problem::TooManyTries {
            seconds: left.saturating_add(1),
        });
    }
    let Some((name, token)) = basic(visit) else {
        return Err(refuse(
            visit,
            Method::ENROLMENT,
            None,
            &EnrolmentError::NoName,
        ));
    };
    if verb == Verb::Renew {
        let error = EnrolmentError::NotByToken;
        return Err(refuse(visit, Method::ENROLMENT, Some(&name), &error));
    }
    let (of, wall) = (name.clone(), visit.wall);
    let found = work(visit, move |enrolment| {
        enrolment.by_token(&of, token.expose(), wall)
    })
    .await?;
    match found {
        Ok(applicant) => {
            limits.succeeded(&attempt, visit.now);
            Ok(applicant)
        }
        Err(error) => Err(refuse(visit, Method::ENROLMENT, Some(&name), &error)),
    }
}

pub(super) async fn answer(visit: Visit, verb: Verb, applicant: Applicant) -> Outcome {
    let name = applicant.name().to_owned();
    let wish = match verb {
        Verb::Authorities => {
            let made = work(&visit, |enrolment| {
                enrolment.authorities().map_err(EnrolmentError::from)
            });
            let envelope = made
                .await?
                .map_err(|error| refuse(&visit, applicant.method(), Some(&name), &error))?;
            return Ok(enveloped(PKCS7, &envelope));
        }
        Verb::Enrol => Wish::First,
        Verb::Renew => Wish::Renewal,
    };
    if !visit.has_type("application/pkcs10") {
        return Err(Problem::UnsupportedMediaType("application/pkcs10"));
    }
    let (body, wall, method) = (visit.body.clone(), visit.wall, applicant.method());
    let (node, event) = (Arc::clone(&visit.shared.node), event(&visit, method, &name));
    let made = work(&visit, move |enrolment| {
        let request = SigningRequest::from_der(&request(&body)?)?;
        let agree = |record: &Record| {
            let end = record.not_after.format(&Rfc3339).unwrap_or_default();
            let event = Event {
                outcome: Audited::Permitted,
                reason: format!("{}: {} until {end}", record.issued_by, record.serial),
                ..event
            };
            node.record(event).is_ok()
        };
        enrolment.enrol(&applicant, wish, &request, wall, agree)
    });
    match made.await? {
        Ok(envelope) => Ok(enveloped(CERTS_ONLY, &envelope)),
        Err(error) => Err(refuse(&visit, method, Some(&name), &error)),
    }
}

/// Off the threads that serve, one at a time: signing takes the processor, writing takes the disk.
async fn work<T: Send + 'static>(
    visit: &Visit,
    work: impl FnOnce(&Enrolment) -> T + Send + 'static,
) -> Result<T, Problem> {
    const BUSY: Problem = Problem::NotReady("too many devices ask for certificates");
    let config = visit.shared.config.load();
    let est = config.est.as_ref().ok_or(Problem::Internal)?;
    let enrolment = est.enrolment(&visit.shared.base);
    let turn = timeout(PATIENCE, Arc::clone(&visit.shared.signing).acquire_owned());
    let turn = turn.await.map_err(|_| BUSY)?.map_err(|_| BUSY)?;
    let done = tokio::task::spawn_blocking(move || {
        let done = work(&enrolment);
        drop(turn);
        done
    });
    done.await.map_err(|_| Problem::Internal)
}

/// The user name is the device's, the password its token. RFC 7617 section 2
fn basic(visit: &Visit) -> Option<(String, Secret)> {
    let (scheme, encoded) = visit.header("authorization")?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = Secret::new(STANDARD.decode(encoded.trim()).ok()?);
    let colon = pair.expose().iter().position(|byte| *byte == b':')?;
    let (name, token) = pair.expose().split_at(colon);
    let name = String::from_utf8(name.to_vec()).ok()?;
    Some((name, Secret::new(token.get(1..)?.to_vec())))
}

/// Base64 whatever the header says, with line breaks anywhere or nowhere. RFC 8951 section 3.1
fn request(body: &[u8]) -> Result<Vec<u8>, EnrolmentError> {
    let text: Vec<u8> = body
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    STANDARD
        .decode(text)
        .map_err(|_| crate::pki::PkiError::NotARequest.into())
}

/// In lines, as `openssl base64 -d` wants them.
fn enveloped(content_type: &'static str, envelope: &[u8]) -> answer::Answer {
    let encoded = STANDARD.encode(envelope);
    let mut text = String::with_capacity(encoded.len().saturating_add(encoded.len() / 32));
    for (position, letter) in encoded.chars().enumerate() {
        if position > 0 && position % 64 == 0 {
            text.push_str("\r\n");
        }
        text.push(letter);
    }
    text.push_str("\r\n");
    let mut answer = answer::document(StatusCode::OK, content_type, text);
    // Clients of RFC 7030 look for it, those of RFC 8951 pass over it.
    let base64 = HeaderValue::from_static("base64");
    answer
        .headers_mut()
        .insert(CONTENT_TRANSFER_ENCODING, base64);
    answer
}

/// The true reason goes to the audit trail; the device learns whose mistake it was, and no more.
fn refuse(visit: &Visit, method: Method, name: Option<&str>, error: &EnrolmentError) -> Problem {
    let name = name.unwrap_or_default();
    let event = Event {
        reason: error.to_string(),
        ..event(visit, method, name)
    };
    let node = &visit.shared.node;
    match error.fault() {
        Fault::Credential => {
            let event = Event {
                kind: Kind::Authenticate,
                ..event
            };
            visit
                .shared
                .record_failure(&attempt(visit), event, visit.now, visit.wall);
            Problem::NotEnrolled
        }
        Fault::Request => {
            let _ = node.record(event);
            Problem::BadRequest("this request cannot be certified".into())
        }
        Fault::Ours => {
            let _ = node.record(Event {
                outcome: Audited::Failed,
                ..event
            });
            Problem::NotReady("no certificate can be made now")
        }
    }
}

/// Without the name, and by a method of its own whatever was shown: who fails here must slow neither the logins of a user who is called the same, nor the certificates
/// of those who share his address (IDN-13).
fn attempt(visit: &Visit) -> Attempt<'static> {
    Attempt {
        ip: visit.ip,
        method: Method::ENROLMENT,
        username: None,
    }
}

fn event(visit: &Visit, method: Method, name: &str) -> Event {
    Event {
        kind: Kind::Certificate,
        username: (!name.is_empty()).then(|| name.into()),
        ip: Some(visit.ip),
        listener: Some("admin".into()),
        protocol: Some("http"),
        method: Some(method.0),
        ..Event::default()
    }
}

/// RFC 7030 sections 4.1.3 and 4.2.3
const PKCS7: &str = "application/pkcs7-mime";
const CERTS_ONLY: &str = "application/pkcs7-mime; smime-type=certs-only";
const CONTENT_TRANSFER_ENCODING: HeaderName = HeaderName::from_static("content-transfer-encoding");
/// For a turn.
const PATIENCE: Duration = Duration::from_secs(10);
