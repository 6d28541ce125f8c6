//! What stands behind the authenticators and is shared by all listeners: the password file, the pool that checks passwords, the keys that verify tokens, the directory.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;

use super::directory::{Directory, LookupError};
use super::hashing::{Hashing, HashingCounters};
use super::key_source::KeySource;
use super::logins::{Login, Logins};
use super::standing::Sources;
use super::users_file::UsersFile;
use crate::identity::{AuthenticationConfig, Identity, Method, PasswordConfig, Rejection, Role};
use crate::problem::Problem;

pub struct BackEnds {
    pub(super) config: AuthenticationConfig,
    pub(super) password: Option<PasswordBackEnd>,
    pub(super) jwt: Option<Arc<KeySource>>,
    pub(super) ldap: Option<Arc<Directory>>,
    pub(super) logins: Arc<Logins>,
}

/// What the directory says of somebody who was let in earlier.
#[derive(Debug)]
pub enum Standing {
    Good(Vec<Arc<str>>),
    Gone(Rejection),
    /// It does not answer: nobody is let in, and nobody who is in is put out.
    Unknown(String),
}

pub(super) struct PasswordBackEnd {
    pub(super) users: Arc<UsersFile>,
    pub(super) hashing: Arc<Hashing>,
    pub(super) rehashing: Arc<Semaphore>,
}

impl BackEnds {
    /// Opens everything that the section names; `base` is the folder of the configuration file. Any problem is a problem of the start (IDN-2).
    pub fn open(config: &AuthenticationConfig, base: &Path) -> Result<Arc<Self>, Vec<Problem>> {
        Self::open_with(config, base, Arc::new(Logins::in_memory()))
    }

    /// The same with the logins that there are: they outlive the configuration.
    pub fn open_with(
        config: &AuthenticationConfig,
        base: &Path,
        logins: Arc<Logins>,
    ) -> Result<Arc<Self>, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut noted = |found: Vec<Problem>| problems.extend(found);
        let password = config.password.as_ref();
        let password =
            password.and_then(|section| open_password(section, base).map_err(&mut noted).ok());
        let jwt = config.jwt.as_ref();
        let jwt = jwt.and_then(|section| KeySource::open(section, base).map_err(&mut noted).ok());
        let ldap = config.ldap.as_ref();
        let ldap = ldap.and_then(|section| Directory::new(section, base).map_err(&mut noted).ok());
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Arc::new(Self {
            config: config.clone(),
            password,
            jwt: jwt.map(Arc::new),
            ldap: ldap.map(Arc::new),
            logins,
        }))
    }

    /// Reads the files again, all or nothing. When it says so, every live identity is to be asked with [`Self::recheck`].
    pub fn reload(&self) -> Result<bool, Vec<Problem>> {
        // Everything is read before anything is put in place.
        let mut problems = Vec::new();
        let mut noted = |found: Vec<Problem>| problems.extend(found);
        let mut concerns_somebody = self.jwt.as_ref().is_some_and(|keys| keys.have_changed());
        let users = self.password.as_ref();
        let users = users.and_then(|password| password.users.read_again().map_err(&mut noted).ok());
        let keys = self
            .jwt
            .as_ref()
            .and_then(|keys| keys.read_again().map_err(&mut noted).ok());
        if !problems.is_empty() {
            return Err(problems);
        }
        if let (Some(password), Some(users)) = (&self.password, users) {
            // An old hash that became a new one changes nobody's standing.
            concerns_somebody |= !users.stand_as_in(&password.users.load());
            password.users.replace(users);
        }
        if let (Some(jwt), Some(keys)) = (&self.jwt, keys) {
            jwt.replace(keys);
        }
        Ok(concerns_somebody)
    }

    /// Cheap enough to ask every second.
    pub fn have_changed(&self) -> bool {
        self.password
            .as_ref()
            .is_some_and(|password| password.users.has_changed())
            || self.jwt.as_ref().is_some_and(|keys| keys.have_changed())
    }

    /// Whether keys behind a URL went since this was asked last. When it says so, every live identity is to be asked with [`Self::recheck`].
    pub fn keys_went(&self) -> bool {
        self.jwt.as_ref().is_some_and(|keys| keys.went())
    }

    /// Whether the keys behind a URL are to be fetched again if [`Self::lives_by_url`] is true of somebody.
    pub fn keys_are_due(&self) -> bool {
        self.jwt.as_ref().is_some_and(|keys| keys.is_due())
    }

    pub fn lives_by_url(&self, identity: &Identity) -> bool {
        let keys = self.jwt.as_ref();
        keys.is_some_and(|keys| keys.lives_by_url(identity))
    }

    pub async fn fetch_keys(&self) {
        if let Some(keys) = &self.jwt {
            keys.fetch().await;
        }
    }

    /// Goes on with what was fetched before a reload.
    pub fn take_over(&self, before: &Self) {
        if let (Some(keys), Some(before)) = (&self.jwt, &before.jwt) {
            keys.take_over(before);
        }
    }

    /// Whether an identity that was proved earlier still stands: a user who was removed or disabled since does not (IDN-11). Cheap, without a password.
    pub fn recheck(&self, identity: &Identity) -> Result<(), Rejection> {
        self.sources().standing(identity).map(|_| ())
    }

    /// The same identity with the groups that the password file gives by now; `None`: with those it has, or it does not stand.
    pub fn regrouped(&self, identity: &Identity) -> Option<Identity> {
        self.sources().standing(identity).ok().flatten()
    }

    /// How often those whom the directory has named are to be looked for again; `None`: there is no directory.
    pub fn look_again_every(&self) -> Option<Duration> {
        Some(self.ldap.as_ref()?.look_again_every())
    }

    /// The name under which the directory knows an identity, however it came.
    pub fn name_in_directory(&self, identity: &Identity) -> Option<Arc<str>> {
        if identity.rests_on(Method::LDAP) {
            return Some(Arc::clone(&identity.username));
        }
        let login = self.sources().login_of(identity)?;
        is_named_by_directory(&login).then(|| Arc::clone(&login.identity.username))
    }

    /// Names of all whom the directory has let in by a login that lasts.
    pub fn logins_in_directory(&self, now: SystemTime) -> impl Iterator<Item = Arc<str>> {
        let logins = self.logins.list(now).into_iter();
        logins
            .filter(is_named_by_directory)
            .map(|login| Arc::clone(&login.identity.username))
    }

    /// The same identity with the groups that the directory gives by now, where it rests on the directory; `None`: with those it has.
    pub fn regrouped_by_directory(
        &self,
        identity: &Identity,
        groups: &[Arc<str>],
    ) -> Option<Identity> {
        let login = self.sources().login_of(identity);
        let by_login = login.as_ref().is_some_and(is_named_by_directory);
        let regrouped = identity.regrouped(|method, own| {
            let is_of_directory = method == Method::LDAP || (by_login && method == Method::COOKIE);
            Ok::<_, Infallible>(if is_of_directory { groups } else { own }.to_vec())
        });
        let Ok(regrouped) = regrouped;
        regrouped
    }

    /// New groups for the logins of somebody whom the directory has let in.
    pub fn regroup_logins(&self, username: &str, groups: &[Arc<str>]) {
        let concerns =
            |login: &Login| is_named_by_directory(login) && *login.identity.username == *username;
        self.logins.regroup(concerns, groups);
    }

    /// Ends the logins of somebody whom the directory no longer knows. Blocks.
    pub fn end_logins(&self, username: &str) -> std::io::Result<usize> {
        let concerns =
            |login: &Login| is_named_by_directory(login) && *login.identity.username == *username;
        self.logins.end(concerns)
    }

    /// Whether the directory still has somebody, and his groups now.
    pub async fn look_again(&self, username: &str) -> Standing {
        let Some(directory) = &self.ldap else {
            return Standing::Unknown("there is no directory".to_owned());
        };
        match directory.clone().look_again(username).await {
            Ok(entry) => Standing::Good(entry.groups),
            Err(LookupError::UnknownUser) => {
                Standing::Gone(Rejection::UnknownUser(username.to_owned()))
            }
            Err(LookupError::Refused(reason)) => Standing::Gone(Rejection::Directory {
                username: username.to_owned(),
                reason,
            }),
            Err(LookupError::Unavailable(reason)) => Standing::Unknown(reason),
            Err(LookupError::WrongPassword | LookupError::AddressFull | LookupError::Full) => {
                Standing::Unknown("the directory is busy".to_owned())
            }
        }
    }

    pub fn logins(&self) -> &Arc<Logins> {
        &self.logins
    }

    fn sources(&self) -> Sources<'_> {
        Sources {
            users: self
                .password
                .as_ref()
                .map(|password| password.users.as_ref()),
            logins: &self.logins,
            keys: self.jwt.as_deref(),
        }
    }

    /// The role that the password file gives; only a name that this file itself has proved has one (IDN-4).
    pub fn role(&self, identity: &Identity) -> Option<Role> {
        if identity.method != Method::PASSWORD {
            return None;
        }
        self.password.as_ref()?.users.user(&identity.username)?.role
    }

    pub fn hashing_counters(&self) -> HashingCounters {
        self.password
            .as_ref()
            .map_or_else(HashingCounters::default, |password| {
                password.hashing.counters()
            })
    }
}

fn is_named_by_directory(login: &Login) -> bool {
    login.identity.rests_on(Method::LDAP)
}

fn open_password(section: &PasswordConfig, base: &Path) -> Result<PasswordBackEnd, Vec<Problem>> {
    let path = base.join(&section.file);
    let hashing = Hashing::start(&section.hashing).map_err(|error| {
        vec![Problem::whole(
            &path,
            format!("no thread for password checks: {error}"),
        )]
    })?;
    Ok(PasswordBackEnd {
        users: Arc::new(UsersFile::open(path, hashing.memory_kib())?),
        hashing: Arc::new(hashing),
        rehashing: Arc::new(Semaphore::new(1)),
    })
}
