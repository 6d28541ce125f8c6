//! The description of the API, made from the table that serves it: neither can say more than the other.

use serde_json::{Map, Value, json};

use super::answer::{self, Outcome};
use super::call::Call;
use super::route::{By, Demand, Route};
use super::routes::ROUTES;

pub(super) fn openapi(_: &Call) -> Outcome {
    answer::json(&description())
}

pub(super) fn description() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.method.as_str().to_ascii_lowercase(), operation(route));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Wardgate", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": { "securitySchemes": {
            "token": { "type": "http", "scheme": "bearer" },
            "cookie": { "type": "apiKey", "in": "cookie", "name": crate::identity::cookie::NAME },
            "certificate": { "type": "mutualTLS" },
            "enrolment": { "type": "http", "scheme": "basic" },
        } },
    })
}

fn operation(route: &Route) -> Value {
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters(route),
        "responses": { "default": { "description": "An answer, or a problem document (RFC 9457)" } },
    });
    let Some(members) = operation.as_object_mut() else {
        return operation;
    };
    if route.method == hyper::Method::POST && !route.takes.is_empty() {
        let fields: Map<String, Value> = route
            .takes
            .iter()
            .map(|(name, kind)| ((*name).into(), json!({ "type": kind })))
            .collect();
        let body = json!({ "content": { "application/json": { "schema": { "type": "object", "properties": fields } } } });
        members.insert("requestBody".into(), body);
    }
    match &route.demand {
        Demand::Nothing(_) => members.insert("security".into(), json!([])),
        Demand::Device(_) => members.insert(
            "security".into(),
            json!([{ "enrolment": [] }, { "certificate": [] }]),
        ),
        Demand::Role { role, by, .. } => {
            members.insert("x-role".into(), json!(role));
            let token = (*by == By::Any).then(|| json!({ "token": [] }));
            let schemes: Vec<Value> = token
                .into_iter()
                .chain([json!({ "cookie": [] }), json!({ "certificate": [] })])
                .collect();
            members.insert("security".into(), schemes.into())
        }
    };
    operation
}

fn parameters(route: &Route) -> Value {
    let names = route
        .path
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let in_path = names.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let query = if route.method == hyper::Method::GET {
        route.takes
    } else {
        &[]
    };
    let in_query = query
        .iter()
        .map(|(name, kind)| json!({ "name": name, "in": "query", "schema": { "type": kind } }));
    in_path.chain(in_query).collect()
}
