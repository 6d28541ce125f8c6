//! Answers: JSON, text, downloads and event streams, all with the headers that keep a browser from making more of them (ADM-2).

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

use super::problem::Problem;

pub(super) type Answer = Response<BoxBody<Bytes, Broken>>;
pub(super) type Outcome = Result<Answer, Problem>;

pub(super) fn json(value: &impl Serialize) -> Outcome {
    json_with(StatusCode::OK, value)
}

pub(super) fn json_with(status: StatusCode, value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string(value).map_err(|_| Problem::Internal)?;
    Ok(document(status, "application/json", text))
}

pub(super) fn nothing() -> Answer {
    document(StatusCode::NO_CONTENT, "application/json", String::new())
}

pub(super) fn document(status: StatusCode, content_type: &'static str, text: String) -> Answer {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {});
    finish(status, content_type, body.boxed())
}

/// Server-sent events, as they come.
pub(super) fn events(source: mpsc::Receiver<Bytes>) -> Answer {
    finish(StatusCode::OK, "text/event-stream", Events(source).boxed())
}

/// A file of this name, as it comes.
pub(super) fn download(name: &'static str, source: mpsc::Receiver<Piece>) -> Answer {
    let body = Download {
        source,
        is_whole: false,
    };
    let mut answer = finish(StatusCode::OK, "application/octet-stream", body.boxed());
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        answer
            .headers_mut()
            .insert(header::CONTENT_DISPOSITION, value);
    }
    answer
}

/// Of a download.
pub(super) enum Piece {
    Bytes(Bytes),
    /// That was all. A source that ends without it has failed.
    Whole,
}

/// The connection breaks off, so that nobody takes a part for the whole.
#[derive(Debug, thiserror::Error)]
#[error("the answer could not be finished")]
pub(super) struct Broken;

fn finish(status: StatusCode, content_type: &'static str, body: BoxBody<Bytes, Broken>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, value) in SAFE {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// Nothing that we answer is a page: no script, no frame, no guess at the type, no copy in a cache.
const SAFE: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

struct Events(mpsc::Receiver<Bytes>);

impl Body for Events {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.0
            .poll_recv(context)
            .map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

struct Download {
    source: mpsc::Receiver<Piece>,
    is_whole: bool,
}

impl Body for Download {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.is_whole {
            return Poll::Ready(None);
        }
        self.source.poll_recv(context).map(|piece| match piece {
            Some(Piece::Bytes(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Piece::Whole) => {
                self.is_whole = true;
                None
            }
            None => Some(Err(Broken)),
        })
    }
}
