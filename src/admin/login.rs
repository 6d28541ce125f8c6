//! `/login` and `/logout`: name and password against a cookie. Contract sections 4 and 10.

use std::time::Instant;

use hyper::StatusCode;
use hyper::header::{HeaderValue, LOCATION, SET_COOKIE};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

use super::answer::{self, Answer, Outcome};
use super::call::{Query, Visit};
use super::node::Pending;
use super::problem::Problem;
use crate::audit::{Event, Kind, Outcome as Audited};
use crate::identity::cookie::NAME;
use crate::identity::{Credentials, Identity, Method};
use crate::limits::{Attempt, Refusal};
use crate::mqtt::Text;
use crate::secret::Secret;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    username: String,
    password: String,
}

pub(super) fn login(visit: Visit) -> Pending<'static, Outcome> {
    Box::pin(async move {
        // Without this another site could log a browser in as somebody of its own choice.
        if visit.header("origin").is_some() && !visit.is_same_origin() {
            return Err(Problem::Forbidden("the request comes from another site"));
        }
        let by_form = visit.has_type("application/x-www-form-urlencoded");
        let Login { username, password } = if by_form {
            form(&visit)?
        } else {
            visit.json()?
        };
        let password = Secret::new(password.into_bytes());
        let identity = identify(&visit, username, password).await?;
        let username = Arc::clone(&identity.username);
        let event = Event {
            kind: Kind::Authenticate,
            outcome: Audited::Permitted,
            username: Some(Arc::clone(&username)),
            namespace: Some(Arc::clone(&identity.namespace)),
            ip: Some(visit.ip),
            listener: Some("admin".into()),
            method: Some(identity.method.0),
            ..Event::default()
        };
        visit
            .shared
            .node
            .record(event)
            .map_err(|_| Problem::NotReady("the audit log cannot be written"))?;
        let role = visit.shared.node.role(&identity);
        let begun = visit
            .shared
            .logins
            .begin(identity, visit.ip, visit.wall)
            .ok_or(Problem::Internal)?;
        let mut answer = if by_form {
            let mut answer = answer::document(StatusCode::SEE_OTHER, "text/plain", String::new());
            answer
                .headers_mut()
                .insert(LOCATION, HeaderValue::from_static("/"));
            answer
        } else {
            answer::json(
                &json!({ "username": username, "role": role, "csrf_token": begun.csrf_token }),
            )?
        };
        set_cookie(
            &mut answer,
            &format!(
                "{NAME}={}; Path=/; Secure; HttpOnly; SameSite=Strict",
                begun.cookie
            ),
        )?;
        Ok(answer)
    })
}

pub(super) fn logout(visit: Visit) -> Pending<'static, Outcome> {
    Box::pin(async move {
        let cookie = visit.cookie().ok_or(Problem::NotAuthenticated)?;
        let login = visit
            .shared
            .logins
            .find(cookie, visit.wall)
            .ok_or(Problem::NotAuthenticated)?;
        visit.check_forgery(&login.csrf_token)?;
        super::logins::end(&visit, &login.name).await?;
        let mut answer = answer::nothing();
        set_cookie(
            &mut answer,
            &format!("{NAME}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0"),
        )?;
        Ok(answer)
    })
}

/// Limited and locked out as an MQTT login is; a wrong name and a wrong password look alike.
async fn identify(visit: &Visit, username: String, password: Secret) -> Result<Identity, Problem> {
    let name = Text::new(username.clone().into()).map_err(|_| Problem::NotAuthenticated)?;
    let attempt = Attempt {
        ip: visit.ip,
        method: Method::PASSWORD,
        username: Some(&username),
    };
    let limits = visit.shared.node.limits();
    let repute = limits
        .attempt(&attempt, visit.now)
        .map_err(|refusal| too_many(&refusal, visit.now))?;
    let credentials = Credentials {
        certificate: None,
        username: Some(name),
        password: Some(Arc::new(password)),
        cookie: None,
        authorization: None,
        scram: None,
        demanded: None,
        client_id: Text::default(),
        ip: visit.ip,
        repute,
        listener: "admin".into(),
        protocol: "http",
        now: visit.wall,
    };
    match visit.shared.node.identify(credentials).await {
        Ok(identity) => {
            limits.succeeded(&attempt, visit.now);
            Ok(identity)
        }
        Err(rejection) => {
            visit
                .shared
                .record_rejection(&attempt, &rejection, visit.now, visit.wall);
            Err(match rejection.is_failure_of_client() {
                true => Problem::NotAuthenticated,
                false => Problem::NotReady("no password can be checked now"),
            })
        }
    }
}

fn too_many(refusal: &Refusal, now: Instant) -> Problem {
    let until = refusal.until();
    let left = until.map_or(60, |until| until.saturating_duration_since(now).as_secs());
    Problem::TooManyTries {
        seconds: left.saturating_add(1),
    }
}

fn form(visit: &Visit) -> Result<Login, Problem> {
    let text = std::str::from_utf8(&visit.body)
        .map_err(|_| Problem::BadRequest("the form is not UTF-8".into()))?;
    let fields = Query::parse(Some(text))?;
    match (fields.text("username"), fields.text("password")) {
        (Some(username), Some(password)) => Ok(Login {
            username: username.into(),
            password: password.into(),
        }),
        (_, _) => Err(Problem::BadRequest(
            "username and password are needed".into(),
        )),
    }
}

fn set_cookie(answer: &mut Answer, cookie: &str) -> Result<(), Problem> {
    let cookie = HeaderValue::from_str(cookie).map_err(|_| Problem::Internal)?;
    answer.headers_mut().insert(SET_COOKIE, cookie);
    Ok(())
}
