//! What went wrong with a request, as RFC 9457 writes it.

use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::json;

use super::answer::{self, Answer};
use crate::problem::Problem as FileProblem;

/// What the caller learns. For him it is safe: no variant carries what only the operator's log may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// Nobody, or nobody any more.
    NotAuthenticated,
    /// No device that may have a certificate.
    NotEnrolled,
    Forbidden(&'static str),
    NotFound(&'static str),
    MethodNotAllowed,
    BadRequest(String),
    TooLarge,
    UnsupportedMediaType(&'static str),
    TooManyTries {
        seconds: u64,
    },
    Conflict(String),
    /// A reload that was refused, with what is wrong where.
    Refused(Vec<FileProblem>),
    NotReady(&'static str),
    Internal,
}

impl Problem {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NotAuthenticated | Self::NotEnrolled => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyTries { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::NotAuthenticated => "a token, a login or a client certificate is needed".into(),
            Self::NotEnrolled => "a device certificate or an enrolment token is needed".into(),
            Self::Forbidden(why) | Self::NotFound(why) | Self::NotReady(why) => (*why).into(),
            Self::MethodNotAllowed => "this path has other methods".into(),
            Self::BadRequest(why) | Self::Conflict(why) => why.clone(),
            Self::TooLarge => "a body has at most 1 MiB".into(),
            Self::UnsupportedMediaType(expected) => format!("send {expected}"),
            Self::TooManyTries { .. } => "too many failed logins".into(),
            Self::Refused(problems) => format!("{} problems; nothing was changed", problems.len()),
            Self::Internal => "the request failed".into(),
        }
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        let status = problem.status();
        let mut document = json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "detail": problem.detail(),
        });
        if let (Problem::Refused(problems), Some(document)) = (&problem, document.as_object_mut()) {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            document.insert("problems".into(), problems.into());
        }
        let mut answer = answer::document(status, "application/problem+json", document.to_string());
        if let Problem::TooManyTries { seconds } = problem {
            answer
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        let challenge = if problem == Problem::NotAuthenticated {
            Some("Bearer realm=\"wardgate\"")
        } else if problem == Problem::NotEnrolled {
            // RFC 7030 section 3.2.3
            Some("Basic realm=\"enrolment\", charset=\"UTF-8\"")
        } else {
            None
        };
        if let Some(challenge) = challenge {
            let challenge = HeaderValue::from_static(challenge);
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        answer
    }
}
