//! Who calls, and whether he may: token, login or client certificate (ADM-1, ADM-3).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use hyper::Method as HttpMethod;
use hyper::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

use super::call::Visit;
use super::problem::Problem;
use super::route::By;
use super::server::Shared;
use crate::audit::{Event, Kind, Outcome};
use crate::identity::{Identity, Method, Rejection, Role, cookie};
use crate::limits::Attempt;

/// Somebody who may do what he asked for: only [`Visit::permit`] makes one.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    name: Arc<str>,
    namespace: Arc<str>,
    role: Role,
    method: Method,
}

impl Caller {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    pub(super) fn method(&self) -> Method {
        self.method
    }

    /// An audit line about what he does.
    pub(super) fn event(&self, ip: IpAddr) -> Event {
        Event {
            kind: Kind::Admin,
            username: Some(Arc::clone(&self.name)),
            namespace: Some(Arc::clone(&self.namespace)),
            ip: Some(ip),
            listener: Some("admin".into()),
            method: Some(self.method.0),
            ..Event::default()
        }
    }
}

impl Visit {
    /// The caller, if he is somebody and has the role.
    pub(super) fn permit(
        &self,
        method: &HttpMethod,
        role: Role,
        by: By,
        certificate: Option<&Identity>,
    ) -> Result<Caller, Problem> {
        let (caller, granted) = self.identify(method, certificate)?;
        let refused = match granted {
            Some(granted) if granted < role => "your role may not do this",
            None => "you have no role here",
            Some(_) if by == By::Person && caller.method == Method::TOKEN => {
                "a token may not do this"
            }
            Some(_) => return Ok(caller),
        };
        let event = Event {
            outcome: Outcome::Refused,
            reason: format!("{refused}: {} needed", role.name()),
            ..caller.event(self.ip)
        };
        // A refusal stands whether or not it could be written down.
        let _ = self.shared.node.record(event);
        Err(Problem::Forbidden(refused))
    }

    /// What was offered first decides: a bad token is not made good by a cookie beside it.
    fn identify(
        &self,
        method: &HttpMethod,
        certificate: Option<&Identity>,
    ) -> Result<(Caller, Option<Role>), Problem> {
        if self.headers.contains_key(AUTHORIZATION) {
            return self.by_token();
        }
        if let Some(cookie) = self.cookie() {
            return self.by_login(method, cookie);
        }
        let identity = certificate.ok_or(Problem::NotAuthenticated)?;
        // A browser shows its certificate to whoever asks for a request in its name.
        if changes(method) && self.header("origin").is_some() && !self.is_same_origin() {
            return Err(Problem::Forbidden("the request comes from another site"));
        }
        let role = self
            .shared
            .config
            .load()
            .certificate_roles
            .get(&*identity.username)
            .copied();
        Ok((caller(identity, role), role))
    }

    fn by_token(&self) -> Result<(Caller, Option<Role>), Problem> {
        let token = self.header("authorization").and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then_some(token.trim())
        });
        let limits = self.shared.node.limits();
        let attempt = Attempt {
            ip: self.ip,
            method: Method::TOKEN,
            username: None,
        };
        // A good token is 256 bits that nobody guesses: it passes even where others failed, or failing would be a weapon.
        match self
            .shared
            .tokens
            .verify(token.unwrap_or_default(), self.wall)
        {
            Ok(facts) => {
                limits.succeeded(&attempt, self.now);
                let caller = Caller {
                    name: format!("token:{}", facts.id).into(),
                    namespace: Method::TOKEN.0.into(),
                    role: facts.role,
                    method: Method::TOKEN,
                };
                Ok((caller, Some(facts.role)))
            }
            Err(rejection) => {
                let was_locked_out = limits.attempt(&attempt, self.now).is_err();
                let event = about(&attempt, rejection.to_string());
                self.shared
                    .record_failure(&attempt, event, self.now, self.wall);
                Err(if was_locked_out {
                    Problem::TooManyTries { seconds: 60 }
                } else {
                    Problem::NotAuthenticated
                })
            }
        }
    }

    fn by_login(
        &self,
        method: &HttpMethod,
        cookie: &[u8],
    ) -> Result<(Caller, Option<Role>), Problem> {
        let login = self
            .shared
            .logins
            .find(cookie, self.wall)
            .ok_or(Problem::NotAuthenticated)?;
        if self.shared.node.recheck(&login.identity).is_err() {
            // Should the user come back, he logs in anew.
            let logins = Arc::clone(&self.shared.logins);
            tokio::task::spawn_blocking(move || logins.end(|other| other.name == login.name));
            return Err(Problem::NotAuthenticated);
        }
        if changes(method) {
            self.check_forgery(&login.csrf_token)?;
        }
        let role = self.shared.node.role(&login.identity);
        Ok((caller(&login.identity, role), role))
    }

    /// A change by cookie must repeat the token of its login, and may not come from another site.
    pub(super) fn check_forgery(&self, csrf_token: &str) -> Result<(), Problem> {
        let given = self.header("x-csrf-token").unwrap_or_default();
        if !bool::from(given.as_bytes().ct_eq(csrf_token.as_bytes())) {
            return Err(Problem::Forbidden(
                "X-CSRF-Token must hold the csrf_token of the login",
            ));
        }
        if self.header("origin").is_some() && !self.is_same_origin() {
            return Err(Problem::Forbidden("the request comes from another site"));
        }
        Ok(())
    }

    /// Whether the page that sent this came from here.
    pub(super) fn is_same_origin(&self) -> bool {
        match (self.header("origin"), self.header("host")) {
            (Some(origin), Some(host)) => origin
                .strip_prefix("https://")
                .is_some_and(|origin| origin.eq_ignore_ascii_case(host)),
            (_, _) => false,
        }
    }

    /// The value of our cookie; twice is as good as forged, in one field or in several.
    pub(super) fn cookie(&self) -> Option<&[u8]> {
        let fields = self.headers.get_all(hyper::header::COOKIE).into_iter();
        cookie::value_in(fields.map(|field| field.as_bytes()))
    }
}

impl Shared {
    /// Writes down why somebody is not let in. A guess counts as a failed login; our own trouble does not.
    pub(super) fn record_rejection(
        &self,
        attempt: &Attempt<'_>,
        rejection: &Rejection,
        now: Instant,
        wall: SystemTime,
    ) {
        if rejection.is_failure_of_client() {
            let event = about(attempt, rejection.to_string());
            return self.record_failure(attempt, event, now, wall);
        }
        let _ = self.node.record(Event {
            outcome: Outcome::Failed,
            ..about(attempt, rejection.to_string())
        });
    }

    /// Counts a failed login and writes it down, with the ban it may have led to. The refusal stands whether or not it could be written.
    pub(super) fn record_failure(
        &self,
        attempt: &Attempt<'_>,
        event: Event,
        now: Instant,
        wall: SystemTime,
    ) {
        if let Some(lockout) = self.node.limits().failed(attempt, now, wall) {
            let _ = self.node.record(Event {
                kind: Kind::Ban,
                reason: lockout.to_string(),
                ..event.clone()
            });
        }
        let _ = self.node.record(event);
    }
}

fn about(attempt: &Attempt<'_>, reason: String) -> Event {
    Event {
        kind: Kind::Authenticate,
        outcome: Outcome::Refused,
        username: attempt.username.map(Into::into),
        ip: Some(attempt.ip),
        listener: Some("admin".into()),
        method: Some(attempt.method.0),
        reason,
        ..Event::default()
    }
}

fn caller(identity: &Identity, role: Option<Role>) -> Caller {
    Caller {
        name: Arc::clone(&identity.username),
        namespace: Arc::clone(&identity.namespace),
        role: role.unwrap_or(Role::Viewer),
        method: identity.method,
    }
}

fn changes(method: &HttpMethod) -> bool {
    *method != HttpMethod::GET && *method != HttpMethod::HEAD
}
