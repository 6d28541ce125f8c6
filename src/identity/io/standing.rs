//! Whether what was proved earlier still holds, asked of what lies at hand: the password file, the logins, the keys of tokens (IDN-11).

use std::sync::Arc;
use std::time::SystemTime;

use super::key_source::KeySource;
use super::logins::{Login, Logins};
use super::users_file::UsersFile;
use crate::identity::{Identity, Method, Rejection};

/// What every identity is held against, without a password and without the network.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) users: Option<&'a UsersFile>,
    pub(super) logins: &'a Logins,
    pub(super) keys: Option<&'a KeySource>,
}

impl Sources<'_> {
    /// Every method that an identity rests on is asked. `None`: it stands as it is; otherwise it stands with other groups.
    pub(super) fn standing(self, identity: &Identity) -> Result<Option<Identity>, Rejection> {
        identity.regrouped(|method, groups| match method {
            Method::COOKIE => {
                let login = self.login_of(identity).ok_or(Rejection::NoLogin)?;
                self.groups_of_login(&login)
            }
            Method::PASSWORD | Method::SCRAM => self.groups_in_file(&identity.username),
            Method::JWT => {
                match (self.keys, &identity.token_key) {
                    (Some(keys), _) => keys.standing(identity)?,
                    (None, Some(_)) => return Err(Rejection::KeyGone),
                    // Read back from disk, without a connection.
                    (None, None) => {}
                }
                Ok(groups.to_vec())
            }
            // Certificates end by themselves, the directory is asked elsewhere.
            _ => Ok(groups.to_vec()),
        })
    }

    /// The groups of whoever stands behind a login, if he may still log in.
    pub(super) fn groups_of_login(self, login: &Login) -> Result<Vec<Arc<str>>, Rejection> {
        // A login begins with a name and a password, so that nothing stands behind it but these.
        match login.identity.method {
            Method::PASSWORD | Method::SCRAM => self.groups_in_file(&login.identity.username),
            _ => Ok(login.identity.groups.clone()),
        }
    }

    /// The login that a cookie's identity came by, if it lasts.
    pub(super) fn login_of(self, identity: &Identity) -> Option<Login> {
        let name = identity.login.as_deref()?;
        self.logins.named(name, SystemTime::now())
    }

    fn groups_in_file(self, username: &str) -> Result<Vec<Arc<str>>, Rejection> {
        match self.users.and_then(|users| users.user(username)) {
            None => Err(Rejection::UnknownUser(username.to_owned())),
            Some(user) if user.disabled => Err(Rejection::DisabledUser(username.to_owned())),
            Some(user) => Ok(user.groups),
        }
    }
}
