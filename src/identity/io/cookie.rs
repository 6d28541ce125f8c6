//! Browsers named by the cookie of their login, from a page of an allowed origin.

use std::sync::Arc;

use super::logins::Logins;
use super::standing::Sources;
use super::users_file::UsersFile;
use super::{Authenticator, Verdict};
use crate::identity::{Credentials, Method, Proof, Rejection};

/// The claim that names the login, for policies to ask for. A live session is found by [`Proof::login`], for a token may have a claim of this name too.
const LOGIN: &str = "login";

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
        let sources = Sources {
            users: self.users.as_deref(),
            logins: &self.logins,
            // No cookie stands for a token.
            keys: None,
        };
        let groups = sources.groups_of_login(&login)?;
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
            login: Some(login.name),
            ..Proof::new(Method::COOKIE, namespace, Some(username))
        })
    }
}
