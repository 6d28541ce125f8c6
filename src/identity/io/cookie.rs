//! Browsers named by the cookie of their login, from a page of an allowed origin.

use std::sync::Arc;
use std::time::SystemTime;

use super::logins::{Login, Logins};
use super::users_file::UsersFile;
use super::{Authenticator, Verdict};
use crate::identity::{Credentials, Identity, Method, Proof, Rejection};

/// The claim that names the login: policies may ask for it, and a live session is found by it.
pub(super) const LOGIN: &str = "login";

pub(super) struct Cookie {
    pub(super) logins: Arc<Logins>,
    pub(super) users: Option<Arc<UsersFile>>,
}

impl Authenticator for Cookie {
    fn claims(&self, credentials: &Credentials) -> bool {
        credentials.cookie.is_some()
    }

    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Verdict<'a> {
        Box::pin(std::future::ready(self.judge(credentials)))
    }
}

impl Cookie {
    fn judge(&self, credentials: &Credentials) -> Result<Proof, Rejection> {
        let cookie = credentials.cookie.as_ref();
        let cookie = cookie.ok_or(Rejection::NobodyAnswered)?;
        let login = self
            .logins
            .find(cookie.expose(), credentials.now)
            .ok_or(Rejection::NoLogin)?;
        let groups = standing(self.users.as_deref(), &login.identity)?;
        // The name space is the one that the name was proved in. Contract section 4
        let identity = &login.identity;
        let (namespace, username) = (
            Arc::clone(&identity.namespace),
            Arc::clone(&identity.username),
        );
        Ok(Proof {
            groups,
            claims: [(LOGIN.to_owned(), vec![login.name.to_string()])].into(),
            valid_until: Some(login.ends_at()),
            ..Proof::new(Method::COOKIE, namespace, Some(username))
        })
    }
}

/// The login that a cookie's identity came by, if it lasts.
pub(super) fn login_of(logins: &Logins, identity: &Identity) -> Option<Login> {
    let name = identity.claims.get(LOGIN)?.first()?;
    logins.named(name, SystemTime::now())
}

/// The groups of a name that was proved earlier, if it still stands (IDN-11).
pub(super) fn standing(
    users: Option<&UsersFile>,
    identity: &Identity,
) -> Result<Vec<Arc<str>>, Rejection> {
    if identity.method != Method::PASSWORD && identity.method != Method::SCRAM {
        return Ok(identity.groups.clone());
    }
    let username = identity.username.to_string();
    match users.and_then(|users| users.user(&username)) {
        None => Err(Rejection::UnknownUser(username)),
        Some(user) if user.disabled => Err(Rejection::DisabledUser(username)),
        Some(user) => Ok(user.groups),
    }
}
