//! Clients named by the directory: the last of a chain, for it takes any name.

use std::sync::Arc;

use super::directory::{Directory, Entry, LookupError};
use super::{Authenticator, Verdict};
use crate::identity::{Credentials, Method, Proof, Rejection};
use crate::secret::Secret;

pub(super) struct Ldap {
    pub(super) namespace: Arc<str>,
    pub(super) directory: Arc<Directory>,
}

impl Authenticator for Ldap {
    fn claims(&self, credentials: &Credentials) -> bool {
        credentials.username.is_some() && credentials.password.is_some()
    }

    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Verdict<'a> {
        Box::pin(async move {
            match (&credentials.username, &credentials.password) {
                (Some(username), Some(password)) => self.ask(username, password, credentials).await,
                (Some(_), None) | (None, Some(_)) | (None, None) => Err(Rejection::NobodyAnswered),
            }
        })
    }
}

impl Ldap {
    async fn ask(
        &self,
        username: &str,
        password: &Arc<Secret>,
        credentials: &Credentials,
    ) -> Result<Proof, Rejection> {
        let Entry { username, groups } = self
            .directory
            .clone()
            .login(username, password, credentials.into())
            .await
            .map_err(|error| rejection(error, username))?;
        Ok(Proof {
            groups,
            ..Proof::new(Method::LDAP, self.namespace.clone(), Some(username))
        })
    }
}

fn rejection(error: LookupError, username: &str) -> Rejection {
    let username = username.to_owned();
    match error {
        LookupError::UnknownUser => Rejection::UnknownUser(username),
        LookupError::WrongPassword => Rejection::WrongPassword(username),
        LookupError::Refused(reason) => Rejection::Directory { username, reason },
        LookupError::AddressFull => Rejection::AddressBusy,
        LookupError::Full => Rejection::Busy,
        LookupError::Unavailable(reason) => Rejection::BackEnd {
            method: Method::LDAP,
            reason,
        },
    }
}
