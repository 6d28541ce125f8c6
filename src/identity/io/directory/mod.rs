//! A directory asked over LDAP: bounded in number, time and memory, fair between addresses. IDN-5 to IDN-7

mod cache;
mod connection;
mod settings;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::cache::Cache;
use self::connection::{Found, Pool};
use self::settings::Settings;
use super::fair_gate::FairGate;
use super::fair_queue::{Asker, QueueFull};
use crate::identity::check_username;
use crate::identity::ldap::{LdapConfig, LdapMode, check_bind_name, check_name, check_password};
use crate::problem::Problem;
use crate::secret::Secret;

/// Groups of one user, nested ones included; and as many searches for them.
const GROUPS_MAX: usize = 256;
const GROUP_SEARCHES_MAX: usize = 64;

pub(super) struct Directory {
    config: LdapConfig,
    pool: Pool,
    gate: Arc<FairGate>,
    timeout: Duration,
    cache: Cache,
}

/// Somebody whom the directory has let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) username: Arc<str>,
    pub(super) groups: Vec<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LookupError {
    UnknownUser,
    WrongPassword,
    /// The directory, or we for it, will not have this name or password.
    Refused(String),
    AddressFull,
    Full,
    Unavailable(String),
}

impl Directory {
    pub(super) fn new(config: &LdapConfig, base: &Path) -> Result<Self, Vec<Problem>> {
        let settings = Settings::new(config, base)?;
        let length = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let turns = usize::from(config.pool.max(1));
        Ok(Self {
            pool: Pool::new(settings, turns),
            gate: FairGate::new(turns, length(config.queue), length(config.queue_per_ip)),
            timeout: config.timeout.get(),
            cache: Cache::new(config.cache.get()),
            config: config.clone(),
        })
    }

    /// Whether this is the user's password, who he is and where he belongs.
    pub(super) async fn login(
        self: Arc<Self>,
        username: &str,
        password: &Arc<Secret>,
        asker: Asker,
    ) -> Result<Entry, LookupError> {
        // Before a connection is opened (IDN-5).
        let refused = |reason: &str| LookupError::Refused(reason.to_owned());
        check_name(username).map_err(refused)?;
        check_password(password.expose()).map_err(refused)?;
        let key = self.cache.key(username, password.expose());
        if let Some(entry) = self.cache.find(&key, Instant::now()) {
            return Ok(entry);
        }
        let (directory, username, password) = (self.clone(), username.to_owned(), password.clone());
        let asking = async move { directory.ask(&username, &password, asker).await };
        let entry = self.in_time(asking).await?;
        self.cache.store(key, &entry, Instant::now());
        Ok(entry)
    }

    /// Whether somebody who was let in is still there, and where he belongs now; without his password (IDN-11).
    pub(super) async fn look_again(self: Arc<Self>, username: &str) -> Result<Entry, LookupError> {
        let (directory, username) = (self.clone(), username.to_owned());
        let asking = async move { directory.ask_again(&username).await };
        self.in_time(asking).await
    }

    /// How often that is asked: what a login may be out of date, a session may be too.
    pub(super) fn look_again_every(&self) -> Duration {
        match self.config.cache.get() {
            Duration::ZERO => LdapConfig::CACHE_MAX.get(),
            cache => cache.max(Duration::from_secs(1)),
        }
    }

    /// A task of its own: should the library stumble over an answer, nothing else happens (TRN-15).
    async fn in_time(
        &self,
        asking: impl Future<Output = Result<Entry, LookupError>> + Send + 'static,
    ) -> Result<Entry, LookupError> {
        let unavailable = |reason: &str| LookupError::Unavailable(reason.to_owned());
        let task = tokio::spawn(asking);
        let _abort = AbortOnDrop(task.abort_handle());
        match tokio::time::timeout(self.timeout, task).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(unavailable("the answer is malformed")),
            Err(_) => Err(unavailable("no answer in time")),
        }
    }

    async fn ask_again(&self, username: &str) -> Result<Entry, LookupError> {
        let dn = match (self.config.mode, &self.config.bind_dn_template) {
            (LdapMode::Bind, Some(template)) => {
                let dn = template.fill(username);
                if self.pool.searches_by_account() && !self.pool.exists(&dn).await? {
                    return Err(LookupError::UnknownUser);
                }
                dn
            }
            (LdapMode::Bind, None) | (LdapMode::SearchBind, _) => self.find_again(username).await?,
        };
        let groups = self.groups(&dn, username).await?;
        Ok(Entry {
            username: Arc::from(username),
            groups,
        })
    }

    /// The entry of somebody who was let in by the name that the directory itself gave him. What he had typed then, his mail address perhaps, is not kept.
    async fn find_again(&self, username: &str) -> Result<String, LookupError> {
        let search = &self.config.search;
        let unavailable = || LookupError::Unavailable("the section has no search".to_owned());
        let filter = search.filter.as_ref().ok_or_else(unavailable)?;
        let attribute = self.config.username_attribute.as_str();
        match self
            .the_one(&filter.fill_for_entry(attribute, username))
            .await?
        {
            (dn, name) if name == username => Ok(dn),
            // One that is called otherwise is somebody else, or he under a name that his session does not have.
            (_, name) => Err(LookupError::Refused(format!(
                "{attribute} of the entry is {name:?}"
            ))),
        }
    }

    async fn ask(
        &self,
        username: &str,
        password: &Secret,
        asker: Asker,
    ) -> Result<Entry, LookupError> {
        let _turn = self.gate.enter(asker).await.map_err(|full| match full {
            QueueFull::All => LookupError::Full,
            QueueFull::Origin => LookupError::AddressFull,
        })?;
        let (dn, username) = self.find(username).await?;
        let password = check_password(password.expose())
            .map_err(|reason| LookupError::Refused(reason.to_owned()))?;
        self.pool.bind(&dn, password).await?;
        let groups = self.groups(&dn, &username).await?;
        Ok(Entry {
            username: Arc::from(username),
            groups,
        })
    }

    /// The entry that a name stands for, and its own spelling of the name.
    async fn find(&self, username: &str) -> Result<(String, String), LookupError> {
        let unavailable = || LookupError::Unavailable("the section has no search".to_owned());
        if let (LdapMode::Bind, Some(template)) = (self.config.mode, &self.config.bind_dn_template)
        {
            check_bind_name(username).map_err(|reason| LookupError::Refused(reason.to_owned()))?;
            return Ok((template.fill(username), username.to_owned()));
        }
        let filter = self.config.search.filter.as_ref();
        let filter = filter.ok_or_else(unavailable)?.fill(username, "");
        self.the_one(&filter).await
    }

    /// The only entry that a filter finds, and its username.
    async fn the_one(&self, filter: &str) -> Result<(String, String), LookupError> {
        let base = &self.config.search.base;
        let attribute = self.config.username_attribute.as_str();
        // Two are asked for: a name that fits two entries names nobody.
        let found = self.pool.search(base, filter, attribute, 2).await?;
        let several = found.len() > 1;
        let Some(Found { dn, values }) = found.into_iter().next() else {
            return Err(LookupError::UnknownUser);
        };
        if several {
            return Err(LookupError::Refused(
                "the name fits several entries".to_owned(),
            ));
        }
        if dn.is_empty() {
            return Err(LookupError::Refused("the entry has no name".to_owned()));
        }
        match values.as_slice() {
            [name] if check_username(name).is_ok() => Ok((dn, name.clone())),
            _ => Err(LookupError::Refused(format!(
                "{attribute} of the entry is no username"
            ))),
        }
    }

    async fn groups(&self, dn: &str, username: &str) -> Result<Vec<Arc<str>>, LookupError> {
        let Some(section) = &self.config.groups else {
            return Ok(Vec::new());
        };
        let mut names: Vec<Arc<str>> = Vec::new();
        let mut asked = vec![dn.to_owned()];
        let mut next = 0;
        while let Some(member) = asked.get(next).cloned() {
            next = next.saturating_add(1);
            let filter = section.filter.fill(username, &member);
            let found = self
                .pool
                .search(&section.base, &filter, &section.attribute, GROUPS_MAX + 1)
                .await?;
            // A group left out could be one that a policy denies something to: whose groups cannot all be told is not let in.
            if found.len() > GROUPS_MAX {
                return Err(LookupError::Refused("too many groups".to_owned()));
            }
            for group in found {
                let [name] = group.values.as_slice() else {
                    let (dn, attribute) = (&group.dn, &section.attribute);
                    let several = group.values.len();
                    let reason = format!("the group {dn:?} has {several} values of {attribute}");
                    return Err(LookupError::Refused(reason));
                };
                check_username(name)
                    .map_err(|reason| LookupError::Refused(format!("a group: {reason}")))?;
                if !names.iter().any(|known| **known == **name) {
                    names.push(Arc::from(name.as_str()));
                }
                if section.nested && section.filter.asks_for_a_dn() && !asked.contains(&group.dn) {
                    asked.push(group.dn);
                }
            }
            if names.len() > GROUPS_MAX || asked.len() > GROUP_SEARCHES_MAX {
                return Err(LookupError::Refused("too many groups".to_owned()));
            }
        }
        Ok(names)
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod slapd;
#[cfg(test)]
mod tests;
