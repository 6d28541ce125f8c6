//! Clients named by username and password from the password file.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::hashing::{Hashing, HashingError};
use super::rehash::rehash;
use super::users_file::UsersFile;
use super::{Authenticator, Verdict};
use crate::identity::password_hash::PASSWORD_LENGTH_MAX;
use crate::identity::{Credentials, Method, Proof, Rejection};
use crate::secret::Secret;

pub(super) struct Password {
    pub(super) namespace: Arc<str>,
    pub(super) users: Arc<UsersFile>,
    pub(super) hashing: Arc<Hashing>,
    /// Another method of the listener may know the names that the file does not have.
    pub(super) others_follow: bool,
    /// `authentication.password.rehash`.
    pub(super) rehash: bool,
    pub(super) rehashing: Arc<Semaphore>,
}

impl Authenticator for Password {
    fn claims(&self, credentials: &Credentials) -> bool {
        match (&credentials.username, &credentials.password) {
            (Some(username), Some(_)) => {
                !self.others_follow || self.users.load().get(username).is_some()
            }
            (Some(_), None) | (None, Some(_)) | (None, None) => false,
        }
    }

    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Verdict<'a> {
        Box::pin(async move {
            match (&credentials.username, &credentials.password) {
                (Some(username), Some(password)) => {
                    self.check(username, password, credentials).await
                }
                (Some(_), None) | (None, Some(_)) | (None, None) => Err(Rejection::NobodyAnswered),
            }
        })
    }
}

impl Password {
    async fn check(
        &self,
        username: &str,
        password: &Arc<Secret>,
        credentials: &Credentials,
    ) -> Result<Proof, Rejection> {
        let users = self.users.load();
        let user = users.get(username);
        check_length(username, password)?;
        // Hash even when nobody has this name, and with the cost that most have: a quick answer would tell which names exist (IDN-12).
        let hash = user.map_or(users.stand_in(), |user| &user.hash).clone();
        let verified = self
            .hashing
            .verify(hash, password.clone(), credentials.into())
            .await
            .map_err(rejection)?;
        match user {
            None => Err(Rejection::UnknownUser(username.to_owned())),
            Some(_) if !verified => Err(Rejection::WrongPassword(username.to_owned())),
            Some(user) if user.disabled => Err(Rejection::DisabledUser(username.to_owned())),
            Some(user) => {
                if self.rehash && user.hash.is_outdated() {
                    self.rehash(username, password);
                }
                Ok(Proof {
                    groups: user.groups.clone(),
                    ..Proof::new(
                        Method::PASSWORD,
                        self.namespace.clone(),
                        Some(Arc::from(username)),
                    )
                })
            }
        }
    }

    /// One at a time and beside the login; whoever finds it busy is rehashed another day.
    fn rehash(&self, username: &str, password: &Arc<Secret>) {
        let Ok(turn) = self.rehashing.clone().try_acquire_owned() else {
            return;
        };
        let (users, username, password) =
            (self.users.clone(), username.to_owned(), password.clone());
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            // The watch sees the new file and everything else that has changed in it: whoever reads it here would hide a revocation from it (IDN-11).
            if let Err(error) = rehash(users.path(), &username, &password) {
                tracing::warn!(%error, "an old password hash could not be replaced");
            }
        });
    }
}

fn check_length(username: &str, password: &Secret) -> Result<(), Rejection> {
    if password.is_empty() {
        return Err(Rejection::EmptyPassword(username.to_owned()));
    }
    let length = password.expose().len();
    if length > PASSWORD_LENGTH_MAX {
        return Err(Rejection::LongPassword {
            username: username.to_owned(),
            length,
            max: PASSWORD_LENGTH_MAX,
        });
    }
    Ok(())
}

fn rejection(error: HashingError) -> Rejection {
    match error {
        HashingError::AddressFull => Rejection::AddressBusy,
        HashingError::Full => Rejection::Busy,
        HashingError::Late => Rejection::Late,
        HashingError::Stopped => Rejection::BackEnd {
            method: Method::PASSWORD,
            reason: "the password check did not finish".to_owned(),
        },
    }
}
