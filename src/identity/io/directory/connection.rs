//! Connections to the directory: those that search and those that try passwords are never the same (IDN-7).

use ldap3::{DerefAliases, Ldap, LdapConnAsync, LdapError, ResultEntry, Scope, SearchOptions};
use parking_lot::Mutex;

use super::LookupError;
use super::settings::Settings;

/// An answer that fits no login is not read to its end.
const VALUES_MAX: usize = 64;
const NO_BASE: &str = "the search base does not exist";
/// For the directory itself; our own deadline is for the whole login.
const SEARCH_SECONDS_MAX: i32 = 10;

/// Result codes of RFC 4511 section 4.1.9.
mod result_code {
    pub(super) const SUCCESS: u32 = 0;
    pub(super) const SIZE_LIMIT_EXCEEDED: u32 = 4;
    pub(super) const CONSTRAINT_VIOLATION: u32 = 19;
    pub(super) const NO_SUCH_OBJECT: u32 = 32;
    pub(super) const INVALID_DN_SYNTAX: u32 = 34;
    pub(super) const INAPPROPRIATE_AUTHENTICATION: u32 = 48;
    pub(super) const INVALID_CREDENTIALS: u32 = 49;
    pub(super) const INSUFFICIENT_ACCESS_RIGHTS: u32 = 50;
    pub(super) const UNWILLING_TO_PERFORM: u32 = 53;
}

pub(super) struct Pool {
    settings: Settings,
    capacity: usize,
    searching: Mutex<Vec<Connection>>,
    binding: Mutex<Vec<Connection>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Bound as the one who searches, or as nobody.
    Search,
    /// Bound as whoever logged in last; good for another bind and for nothing else.
    Bind,
}

pub(super) struct Connection {
    ldap: Ldap,
}

enum Operation<'a> {
    Bind {
        dn: &'a str,
        password: &'a str,
    },
    Search {
        base: &'a str,
        filter: &'a str,
        attribute: &'a str,
        limit: usize,
    },
}

struct Answer {
    rc: u32,
    /// `None`: an entry could not be read.
    found: Option<Vec<Found>>,
}

/// An entry and the values of the attribute asked for.
pub(super) struct Found {
    pub(super) dn: String,
    pub(super) values: Vec<String>,
}

impl Pool {
    pub(super) fn new(settings: Settings, capacity: usize) -> Self {
        Self {
            settings,
            capacity,
            searching: Mutex::default(),
            binding: Mutex::default(),
        }
    }

    /// Succeeds for the right password alone.
    pub(super) async fn bind(&self, dn: &str, password: &str) -> Result<(), LookupError> {
        // An empty name or password is an anonymous bind, whoever asks for it (RFC 4513 section 5.1).
        if dn.is_empty() || password.is_empty() {
            return Err(LookupError::Refused("empty name or password".to_owned()));
        }
        let operation = Operation::Bind { dn, password };
        let (connection, answer) = self.perform(&operation).await?;
        let verdict = judge_bind(answer.rc);
        if verdict.is_ok() || verdict == Err(LookupError::WrongPassword) {
            self.put_back(Purpose::Bind, connection);
        }
        verdict
    }

    /// At most `limit` entries; referrals are not followed and count for nothing.
    pub(super) async fn search(
        &self,
        base: &str,
        filter: &str,
        attribute: &str,
        limit: usize,
    ) -> Result<Vec<Found>, LookupError> {
        let operation = Operation::Search {
            base,
            filter,
            attribute,
            limit,
        };
        let (connection, answer) = self.perform(&operation).await?;
        let unavailable = |reason: &str| LookupError::Unavailable(reason.to_owned());
        let found = answer
            .found
            .ok_or_else(|| unavailable("a search answer is malformed"))?;
        match answer.rc {
            result_code::SUCCESS => {
                self.put_back(Purpose::Search, connection);
                Ok(found)
            }
            // More than fit: the caller sees as many as it has asked for.
            result_code::SIZE_LIMIT_EXCEEDED if found.len() >= limit => Ok(found),
            result_code::NO_SUCH_OBJECT => {
                self.put_back(Purpose::Search, connection);
                Err(unavailable(NO_BASE))
            }
            other => Err(unavailable(&format!(
                "the search ended with result {other}"
            ))),
        }
    }

    /// Whether there is an entry of this name. Only an account of our own is believed: what a stranger may not see is not gone.
    pub(super) async fn exists(&self, dn: &str) -> Result<bool, LookupError> {
        match self.search(dn, "(objectClass=*)", "objectClass", 1).await {
            Ok(found) => Ok(!found.is_empty()),
            Err(LookupError::Unavailable(reason)) if reason == NO_BASE => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn searches_by_account(&self) -> bool {
        self.settings.bind_dn.is_some()
    }

    /// Does one thing on a connection: on one that waits, and when that turns out to be dead on a new one.
    async fn perform(
        &self,
        operation: &Operation<'_>,
    ) -> Result<(Connection, Answer), LookupError> {
        let purpose = operation.purpose();
        let idle = self.idle(purpose).lock().pop();
        if let Some(mut connection) = idle
            && !connection.ldap.is_closed()
            && let Ok(answer) = connection.perform(operation).await
        {
            return Ok((connection, answer));
        }
        let mut connection = self.open(purpose).await?;
        let answer = connection.perform(operation).await.map_err(unavailable)?;
        Ok((connection, answer))
    }

    async fn open(&self, purpose: Purpose) -> Result<Connection, LookupError> {
        let settings = self.settings.connection();
        let (driver, mut ldap) = LdapConnAsync::with_settings(settings, &self.settings.url)
            .await
            .map_err(unavailable)?;
        // Ends when the last handle is dropped, or the connection.
        tokio::spawn(async move {
            let _ = driver.drive().await;
        });
        if let (Purpose::Search, Some(dn), Some(password)) = (
            purpose,
            &self.settings.bind_dn,
            &self.settings.bind_password,
        ) {
            let password = std::str::from_utf8(password.expose())
                .map_err(|_| LookupError::Unavailable("bind_password is not UTF-8".to_owned()))?;
            let result = ldap.simple_bind(dn, password).await.map_err(unavailable)?;
            if result.rc != result_code::SUCCESS {
                let reason = format!("search.bind_dn is refused with result {}", result.rc);
                return Err(LookupError::Unavailable(reason));
            }
        }
        Ok(Connection { ldap })
    }

    fn put_back(&self, purpose: Purpose, connection: Connection) {
        let mut idle = self.idle(purpose).lock();
        if idle.len() < self.capacity {
            idle.push(connection);
        }
    }

    fn idle(&self, purpose: Purpose) -> &Mutex<Vec<Connection>> {
        match purpose {
            Purpose::Search => &self.searching,
            Purpose::Bind => &self.binding,
        }
    }
}

impl Operation<'_> {
    fn purpose(&self) -> Purpose {
        match self {
            Self::Bind { .. } => Purpose::Bind,
            Self::Search { .. } => Purpose::Search,
        }
    }
}

impl Connection {
    async fn perform(&mut self, operation: &Operation<'_>) -> Result<Answer, LdapError> {
        match *operation {
            Operation::Bind { dn, password } => {
                let rc = self.ldap.simple_bind(dn, password).await?.rc;
                let found = Some(Vec::new());
                Ok(Answer { rc, found })
            }
            Operation::Search {
                base,
                filter,
                attribute,
                limit,
            } => self.search(base, filter, attribute, limit).await,
        }
    }

    async fn search(
        &mut self,
        base: &str,
        filter: &str,
        attribute: &str,
        limit: usize,
    ) -> Result<Answer, LdapError> {
        let options = SearchOptions::new()
            .deref(DerefAliases::Never)
            .sizelimit(i32::try_from(limit).unwrap_or(i32::MAX))
            .timelimit(SEARCH_SECONDS_MAX);
        let mut stream = self
            .ldap
            .with_search_options(options)
            .streaming_search(base, Scope::Subtree, filter, vec![attribute.to_owned()])
            .await?;
        let mut found = Some(Vec::new());
        while let Some(entry) = stream.next().await? {
            if entry.is_ref() || entry.is_intermediate() {
                continue;
            }
            match (&mut found, self::entry(entry, attribute)) {
                (Some(found), Some(entry)) if found.len() < limit => found.push(entry),
                // More than was asked for: whoever sends that may never end.
                (Some(_), Some(_)) => {
                    let rc = result_code::SIZE_LIMIT_EXCEEDED;
                    return Ok(Answer { rc, found });
                }
                (_, None) | (None, _) => found = None,
            }
        }
        let rc = stream.finish().await.rc;
        Ok(Answer { rc, found })
    }
}

/// The library's own reader of entries panics on a malformed one; this one says nothing.
fn entry(entry: ResultEntry, attribute: &str) -> Option<Found> {
    let mut fields = entry.0.match_id(4)?.expect_constructed()?.into_iter();
    let dn = String::from_utf8(fields.next()?.expect_primitive()?).ok()?;
    let mut values = Vec::new();
    for field in fields.next()?.expect_constructed()? {
        let mut field = field.expect_constructed()?.into_iter();
        let name = String::from_utf8(field.next()?.expect_primitive()?).ok()?;
        // Attribute names are compared without case, and options are none of ours. RFC 4512 section 2.5
        if !name.eq_ignore_ascii_case(attribute) {
            continue;
        }
        for value in field.next()?.expect_constructed()? {
            if values.len() >= VALUES_MAX {
                return None;
            }
            values.push(String::from_utf8(value.expect_primitive()?).ok()?);
        }
    }
    Some(Found { dn, values })
}

fn judge_bind(rc: u32) -> Result<(), LookupError> {
    match rc {
        result_code::SUCCESS => Ok(()),
        result_code::INVALID_CREDENTIALS => Err(LookupError::WrongPassword),
        result_code::NO_SUCH_OBJECT | result_code::INVALID_DN_SYNTAX => {
            Err(LookupError::UnknownUser)
        }
        result_code::CONSTRAINT_VIOLATION
        | result_code::INAPPROPRIATE_AUTHENTICATION
        | result_code::INSUFFICIENT_ACCESS_RIGHTS
        | result_code::UNWILLING_TO_PERFORM => {
            Err(LookupError::Refused(format!("bind ended with result {rc}")))
        }
        // A referral (10) is among these: it is not followed.
        other => Err(LookupError::Unavailable(format!(
            "bind ended with result {other}"
        ))),
    }
}

fn unavailable(error: LdapError) -> LookupError {
    // The library's words are about channels of its own; there is no other way to come to them.
    let ended = matches!(
        error,
        LdapError::OpSend { .. } | LdapError::ResultRecv { .. } | LdapError::EndOfStream
    );
    LookupError::Unavailable(match ended {
        true => "the connection ended, or what came over it is not LDAP".to_owned(),
        false => error.to_string(),
    })
}
