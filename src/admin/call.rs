//! A request, read within bounds (ADM-4).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use hyper::HeaderMap;
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;

use super::identify::Caller;
use super::problem::Problem;
use super::route::decode;
use super::server::Shared;
use crate::audit::{Event, Kind, Outcome};

/// Without credentials.
pub(super) struct Visit {
    pub(super) shared: Arc<Shared>,
    pub(super) ip: IpAddr,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) now: Instant,
    pub(super) wall: SystemTime,
}

/// By somebody who may.
pub(super) struct Call {
    pub(super) visit: Visit,
    pub(super) caller: Caller,
    /// What the names in the route's path stand for.
    pub(super) path: Vec<String>,
    pub(super) query: Query,
}

/// Decoded once; a name that comes twice is refused, for two readers might read two things.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Visit {
    /// Depth is bounded by serde_json (128), length by the server.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        if !self.has_type("application/json") {
            return Err(Problem::UnsupportedMediaType("application/json"));
        }
        serde_json::from_slice(&self.body).map_err(|error| Problem::BadRequest(error.to_string()))
    }

    pub(super) fn has_type(&self, expected: &str) -> bool {
        let given = self
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.split(';').next());
        given.is_some_and(|given| given.trim().eq_ignore_ascii_case(expected))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Call {
    pub(super) fn argument(&self) -> Result<&str, Problem> {
        self.path
            .first()
            .map(String::as_str)
            .ok_or(Problem::Internal)
    }

    /// Writes the audit line of a change before it is made: what cannot be audited is refused.
    pub(super) fn audit(&self, reason: String) -> Result<(), Problem> {
        let event = Event {
            kind: Kind::Admin,
            outcome: Outcome::Permitted,
            reason,
            ..self.caller.event(self.visit.ip)
        };
        self.visit
            .shared
            .node
            .record(event)
            .map_err(|_| Problem::NotReady("the audit log cannot be written"))
    }
}

impl Query {
    pub(super) fn parse(text: Option<&str>) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in text
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = |text: &str| decode(&text.replace('+', " "));
            let (Some(name), Some(value)) = (decoded(name), decoded(value)) else {
                return Err(Problem::BadRequest(
                    "the query is not percent-encoded UTF-8".into(),
                ));
            };
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(Problem::BadRequest(format!("{name:?} is given twice")));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// Whatever a route does not take is a mistake worth telling.
    pub(super) fn allow_only(&self, names: &[(&str, &str)]) -> Result<(), Problem> {
        match self
            .0
            .iter()
            .find(|(name, _)| !names.iter().any(|(known, _)| known == name))
        {
            Some((name, _)) => Err(Problem::BadRequest(format!(
                "no parameter is called {name:?}"
            ))),
            None => Ok(()),
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        Some(value)
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(_) => Err(Problem::BadRequest(format!("{name} is true or false"))),
        }
    }

    /// How long a page may be: 1 to 1,000, 100 unsaid (ADM-4).
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        match self.text("limit").map(str::parse) {
            None => Ok(100),
            Some(Ok(limit @ 1..=1000)) => Ok(limit),
            Some(_) => Err(Problem::BadRequest(
                "limit is a number from 1 to 1000".into(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adm_04_queries_and_pages_are_bounded() {
        let rows = [
            ("", true),
            ("limit=1", true),
            ("limit=1000", true),
            ("limit=1001", false),
            ("limit=0", false),
            ("limit=9223372036854775808", false),
            ("limit=-1", false),
            ("limit=x", false),
            ("prefix=a%2fb&limit=5", true),
            ("limit=5&limit=6", false),
            ("prefix=%", false),
            ("surprise=1", false),
        ];
        for (text, expected) in rows {
            let limit = Query::parse(Some(text)).and_then(|query| {
                query.allow_only(&[("limit", ""), ("prefix", "")])?;
                query.limit()
            });
            assert_eq!(limit.is_ok(), expected, "{text:?}: {limit:?}");
        }
    }
}
