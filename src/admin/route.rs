//! A route: method, path, and what it demands of the caller. None can be written without (ADM-1).

use hyper::Method;

use super::answer::Outcome;
use super::call::{Call, Visit};
use super::est;
use super::node::Pending;
use crate::identity::Role;

/// One verb of the API. What a role that only reads can reach is decided by the constructors below: `write` takes no viewer.
pub(super) struct Route {
    pub(super) method: Method,
    /// `{name}` stands for one percent-encoded segment.
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    /// Query parameters or members of the JSON body: name and type.
    pub(super) takes: &'static [(&'static str, &'static str)],
    pub(super) demand: Demand,
}

pub(super) enum Demand {
    /// No credentials.
    Nothing(OpenHandler),
    /// A device that may have a certificate; nobody else, whatever his role. There only where `admin.est` is.
    Device(est::Verb),
    Role {
        role: Role,
        by: By,
        handler: Handler,
    },
}

/// Who may come with the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Any,
    /// A person by login or certificate, no token: a token cannot make another that outlives it.
    Person,
}

/// Roles that may change something.
#[derive(Clone, Copy, Debug)]
pub(super) enum Writer {
    Operator,
    Admin,
}

#[derive(Clone, Copy)]
pub(super) enum Handler {
    Now(fn(&Call) -> Outcome),
    Later(fn(Call) -> Pending<'static, Outcome>),
}

pub(super) type OpenHandler = fn(Visit) -> Pending<'static, Outcome>;
pub(super) type Takes = &'static [(&'static str, &'static str)];

impl Route {
    pub(super) const fn open(
        method: Method,
        path: &'static str,
        summary: &'static str,
        takes: Takes,
        handler: OpenHandler,
    ) -> Self {
        Self {
            method,
            path,
            summary,
            takes,
            demand: Demand::Nothing(handler),
        }
    }

    pub(super) const fn device(
        method: Method,
        path: &'static str,
        summary: &'static str,
        verb: est::Verb,
    ) -> Self {
        Self {
            method,
            path,
            summary,
            takes: &[],
            demand: Demand::Device(verb),
        }
    }

    pub(super) fn is_for_devices(&self) -> bool {
        matches!(self.demand, Demand::Device(_))
    }

    /// Changes nothing.
    pub(super) const fn read(
        path: &'static str,
        role: Role,
        summary: &'static str,
        takes: Takes,
        handler: Handler,
    ) -> Self {
        let demand = Demand::Role {
            role,
            by: By::Any,
            handler,
        };
        Self {
            method: Method::GET,
            path,
            summary,
            takes,
            demand,
        }
    }

    /// A question too long for a query; changes nothing.
    pub(super) const fn ask(
        path: &'static str,
        role: Role,
        summary: &'static str,
        takes: Takes,
        handler: Handler,
    ) -> Self {
        let demand = Demand::Role {
            role,
            by: By::Any,
            handler,
        };
        Self {
            method: Method::POST,
            path,
            summary,
            takes,
            demand,
        }
    }

    pub(super) const fn write(
        method: Method,
        path: &'static str,
        role: Writer,
        summary: &'static str,
        takes: Takes,
        handler: Handler,
    ) -> Self {
        let demand = Demand::Role {
            role: role.role(),
            by: By::Any,
            handler,
        };
        Self {
            method,
            path,
            summary,
            takes,
            demand,
        }
    }

    /// A write that no token may do.
    pub(super) const fn personal(
        method: Method,
        path: &'static str,
        role: Writer,
        summary: &'static str,
        takes: Takes,
        handler: Handler,
    ) -> Self {
        let demand = Demand::Role {
            role: role.role(),
            by: By::Person,
            handler,
        };
        Self {
            method,
            path,
            summary,
            takes,
            demand,
        }
    }

    /// The decoded segments that the path's `{names}` stand for, if it is this path.
    pub(super) fn matches(&self, path: &str) -> Option<Vec<String>> {
        let mut values = Vec::new();
        let mut given = path.split('/');
        for expected in self.path.split('/') {
            let given = given.next()?;
            if expected.starts_with('{') {
                values.push(decode(given).filter(|value| !value.is_empty())?);
            } else if expected != given {
                return None;
            }
        }
        given.next().is_none().then_some(values)
    }
}

impl Writer {
    const fn role(self) -> Role {
        match self {
            Self::Operator => Role::Operator,
            Self::Admin => Role::Admin,
        }
    }
}

/// Percent-decoding, strict: a `%` without two digits, or bytes that are no UTF-8, are no name of ours. RFC 3986 section 2.1
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let value = digit()? * 16 + digit()?;
            decoded.push(u8::try_from(value).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_matches_segment_by_segment() {
        let route = Route::read(
            "/api/v1/clients/{id}",
            Role::Viewer,
            "",
            &[],
            Handler::Now(|_| Ok(super::super::answer::nothing())),
        );
        let rows = [
            ("/api/v1/clients/pump-7", Some("pump-7")),
            ("/api/v1/clients/a%2Fb%25", Some("a/b%")),
            ("/api/v1/clients/a/b", None),
            ("/api/v1/clients/", None),
            ("/api/v1/clients", None),
            ("/api/v1/clients/%", None),
            ("/api/v1/clients/%zz", None),
            ("/api/v1/clients/%ff", None),
            ("/api/v1/../clients/x", None),
            ("//api/v1/clients/x", None),
            ("/API/v1/clients/x", None),
        ];
        for (path, expected) in rows {
            let values = route.matches(path);
            assert_eq!(
                values.as_deref().map(|values| values.join(",")).as_deref(),
                expected,
                "{path}"
            );
        }
    }
}
