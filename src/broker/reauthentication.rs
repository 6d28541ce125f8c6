//! A client proves itself again on its living connection, by the method it came in with. MQTT 5.0 section 4.12.1

use super::actions::withdrawn;
use super::connection::{Connection, Ending};
use crate::admission::{Demand, auth, demand, ends_at, event_about, guessed, prove};
use crate::audit::{Event, Kind, Outcome};
use crate::identity::io::Challenge;
use crate::identity::{
    Credentials, Identity, Method, PresentedCertificate, Rejection, Repute, Subject,
};
use crate::limits::Attempt;
use crate::mqtt::{Auth, ReasonCode, Text};
use crate::router::End;
use crate::session::ProtocolError;
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

/// How long a client may think about a challenge.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// What is under way; one at a time.
pub(super) enum Reauthentication {
    Challenged {
        challenge: Box<Challenge>,
        credentials: Box<Credentials>,
        until: Instant,
    },
    /// Nobody waits for the verdict but this: other packets go on meanwhile. MQTT 5.0 section 4.12.1
    Judged(Pin<Box<dyn Future<Output = Judged> + Send>>),
}

pub(super) struct Judged {
    identity: Result<Identity, Rejection>,
    method: Method,
    username: Option<Arc<str>>,
    /// The server's own proof.
    answer: Option<Bytes>,
}

impl Reauthentication {
    /// When the client must have answered. A verdict is bounded by those who give it.
    pub(super) fn until(&self) -> Option<Instant> {
        match self {
            Self::Challenged { until, .. } => Some(*until),
            Self::Judged(_) => None,
        }
    }
}

impl Connection {
    pub(super) fn on_auth(&mut self, auth: Auth, now: Instant) -> Result<(), Ending> {
        let unexpected = || Ending::Misbehaved(ProtocolError::UnexpectedAuth);
        let under_way = self.reauthentication.take().map(|under_way| *under_way);
        match (auth.reason_code, under_way) {
            (ReasonCode::ReAuthenticate, None) => self.begin(&auth, now),
            (
                ReasonCode::ContinueAuthentication,
                Some(Reauthentication::Challenged {
                    challenge,
                    mut credentials,
                    ..
                }),
            ) => {
                let username = Some(Arc::from(challenge.username()));
                let client_final = auth.authentication_data.unwrap_or_default();
                let (verdict, server_final) = challenge.finish(&client_final);
                credentials.scram = Some(verdict);
                self.judge(*credentials, username, server_final.map(Bytes::from));
                Ok(())
            }
            _ => Err(unexpected()),
        }
    }

    fn begin(&mut self, auth: &Auth, now: Instant) -> Result<(), Ending> {
        let mut credentials = self.credentials();
        let method = auth.authentication_method.as_deref().unwrap_or_default();
        let data = auth.authentication_data.as_ref();
        let demanded = demand(&self.rules.chain, method, data, &mut credentials);
        let username = match &demanded {
            Some(Ok(Demand::Challenged(challenge))) => Some(Arc::from(challenge.username())),
            Some(_) | None => None,
        };
        let method = guessed(&credentials, &self.rules.chain);
        let attempt = attempt(self.rights.subject(), method, username.as_deref());
        credentials.repute = match self.door.limits.attempt(&attempt, now) {
            Ok(repute) => repute,
            Err(refusal) => {
                return Err(Ending::Asked(End {
                    reason_code: refusal.reason_code(),
                    reason: refusal.to_string(),
                }));
            }
        };
        match demanded {
            None => Err(withdrawn(format!("{method} is not offered any more"))),
            Some(Err(rejection)) => Err(self.rejected(&rejection, method, None)),
            Some(Ok(Demand::Complete)) => {
                self.judge(credentials, None, None);
                Ok(())
            }
            Some(Ok(Demand::Challenged(challenge))) => {
                let data = Bytes::copy_from_slice(challenge.server_first().as_bytes());
                self.answer(ReasonCode::ContinueAuthentication, data);
                self.reauthentication = Some(Box::new(Reauthentication::Challenged {
                    challenge,
                    credentials: Box::new(credentials),
                    until: now + ANSWER_TIME,
                }));
                Ok(())
            }
        }
    }

    fn judge(
        &mut self,
        credentials: Credentials,
        username: Option<Arc<str>>,
        answer: Option<Bytes>,
    ) {
        let chain = Arc::clone(&self.rules.chain);
        let method = guessed(&credentials, &chain);
        let judging = async move {
            Judged {
                identity: prove(&chain, credentials).await,
                method,
                username,
                answer,
            }
        };
        self.reauthentication = Some(Box::new(Reauthentication::Judged(Box::pin(judging))));
    }

    /// Takes a verdict once it is there.
    pub(super) fn poll_reauthentication(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), Ending> {
        let Some(under_way) = &mut self.reauthentication else {
            return Ok(());
        };
        let Reauthentication::Judged(judging) = &mut **under_way else {
            return Ok(());
        };
        let Poll::Ready(judged) = judging.as_mut().poll(cx) else {
            return Ok(());
        };
        self.reauthentication = None;
        self.conclude(judged, now)?;
        self.flush(cx, now)
            .map_err(|error| Ending::Lost(Some(error)))
    }

    fn conclude(&mut self, judged: Judged, now: Instant) -> Result<(), Ending> {
        let Judged {
            identity,
            method,
            username,
            answer,
        } = judged;
        let identity = match identity {
            Ok(identity) => identity,
            Err(rejection) => return Err(self.rejected(&rejection, method, username.as_deref())),
        };
        let old = self.rights.subject();
        // A session belongs to one person: another proof renews it, another person does not inherit it (SES-1).
        if (&identity.namespace, &identity.username)
            != (&old.identity.namespace, &old.identity.username)
        {
            return Err(withdrawn(format!(
                "authenticated again as {:?} of {:?}",
                identity.username, identity.namespace
            )));
        }
        let attempt = Attempt {
            ip: old.ip,
            method,
            username: Some(&identity.username),
        };
        self.door.limits.succeeded(&attempt, now);
        self.valid_until = ends_at(&identity, now);
        let subject = Arc::new(Subject {
            identity,
            ..Subject::clone(old)
        });
        let audited = self.node.record(Event {
            kind: Kind::Authenticate,
            outcome: Outcome::Permitted,
            reason: "authenticated again".into(),
            action: Some("authenticate"),
            ..event_about(&subject)
        });
        if !audited {
            return Err(Ending::Misbehaved(ProtocolError::Unauditable));
        }
        self.node.router.reidentify(&self.handle, &subject);
        let looked = self.node.look_again(&self.handle);
        looked.map_err(|rejection| withdrawn(rejection.to_string()))?;
        self.rejudge()?;
        self.answer(ReasonCode::Success, answer.unwrap_or_default());
        Ok(())
    }

    /// Counted as any failed login is; the session ends. [MQTT-4.12.1-2]
    fn rejected(&self, rejection: &Rejection, method: Method, username: Option<&str>) -> Ending {
        if rejection.is_failure_of_client() {
            let subject = self.rights.subject();
            let attempt = Attempt {
                ip: subject.ip,
                method,
                username: username.or(Some(&subject.identity.username)),
            };
            // A ban of this address is told by its next attempt; this one ends anyway.
            let _ = self
                .door
                .limits
                .failed(&attempt, Instant::now(), SystemTime::now());
        }
        self.node.metrics.refused(Kind::Authenticate);
        self.node.record(Event {
            kind: Kind::Authenticate,
            outcome: Outcome::Refused,
            reason: rejection.to_string(),
            decision: Some(self.node.decision()),
            ..self.event()
        });
        withdrawn(format!("authentication again failed: {rejection}"))
    }

    fn answer(&mut self, reason_code: ReasonCode, data: Bytes) {
        let method = self.session.authentication_method().cloned();
        let data = (!data.is_empty()).then_some(data);
        self.session
            .send(&auth(reason_code, method, data), &mut self.output);
    }

    /// What is known of this client without asking it.
    fn credentials(&self) -> Credentials {
        let subject = self.rights.subject();
        Credentials {
            certificate: self.peer_tls.as_ref().map(|peer| {
                Arc::new(PresentedCertificate {
                    chain: peer.certificates.to_vec(),
                })
            }),
            username: None,
            password: None,
            cookie: None,
            authorization: None,
            scram: None,
            demanded: None,
            client_id: Text::try_from(&*subject.client_id).unwrap_or_default(),
            ip: subject.ip,
            repute: Repute::default(),
            listener: Arc::clone(&subject.listener),
            protocol: subject.protocol,
            now: SystemTime::now(),
        }
    }
}

fn attempt<'a>(subject: &'a Subject, method: Method, username: Option<&'a str>) -> Attempt<'a> {
    Attempt {
        ip: subject.ip,
        method,
        username: username.or(Some(&subject.identity.username)),
    }
}
