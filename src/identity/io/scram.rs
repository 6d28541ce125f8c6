//! Clients that prove a password of the password file by SCRAM, without sending it.

use std::sync::Arc;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::users_file::UsersFile;
use super::{Authenticator, Verdict};
use crate::identity::scram::{ClientFirst, Exchange, ScramError};
use crate::identity::{Credentials, Method, Proof, Rejection};

/// The server's side of exchanges.
#[derive(Clone)]
pub struct ScramServer {
    pub(super) users: Arc<UsersFile>,
}

/// A challenge that was given and not yet answered.
pub struct Challenge {
    exchange: Exchange,
    /// Decided before the answer, told after it: a refusal must not come sooner for one name than for another (IDN-12).
    unfit: Option<Rejection>,
}

/// The end of an exchange: whose password it proved, or why nobody's. Made by [`Challenge::finish`] alone.
#[derive(Clone, Debug)]
pub struct ScramVerdict(Result<Arc<str>, Rejection>);

impl ScramServer {
    /// Takes `client-first-message`. A name that nobody has gets its challenge too.
    pub fn challenge(&self, client_first: &[u8]) -> Result<Challenge, Rejection> {
        let first = ClientFirst::parse(client_first)?;
        let users = self.users.load();
        let name = first.username.clone();
        let user = users.get(&name);
        let credential = user.and_then(|user| user.scram.clone());
        let unfit = match (user, &credential) {
            (None, _) => Some(Rejection::UnknownUser(name.clone())),
            (Some(_), None) => Some(Rejection::NoScramCredential(name.clone())),
            (Some(user), Some(_)) if user.disabled => Some(Rejection::DisabledUser(name.clone())),
            (Some(_), Some(_)) => None,
        };
        let credential = credential.unwrap_or_else(|| users.scram_stand_ins().stand_in(&name));
        let mut nonce = [0; 18];
        rand::fill(&mut nonce).map_err(|_| Rejection::BackEnd {
            method: Method::SCRAM,
            reason: "no randomness from the operating system".to_owned(),
        })?;
        let nonce = STANDARD_NO_PAD.encode(nonce);
        Ok(Challenge {
            exchange: Exchange::begin(first, credential, &nonce),
            unfit,
        })
    }
}

impl Challenge {
    pub fn username(&self) -> &str {
        self.exchange.username()
    }

    pub fn server_first(&self) -> &str {
        self.exchange.server_first()
    }

    /// Takes `client-final-message`; gives the verdict, and `server-final-message` for a client that proved itself.
    pub fn finish(self, client_final: &[u8]) -> (ScramVerdict, Option<String>) {
        let username: Arc<str> = Arc::from(self.exchange.username());
        let (verdict, server_final) = match self.exchange.finish(client_final) {
            Err(error) => (Err(error.into()), None),
            Ok(finished) => match self.unfit {
                Some(unfit) => (Err(unfit), None),
                None if finished.proved => (Ok(username), Some(finished.server_final)),
                None => (Err(Rejection::WrongPassword(username.to_string())), None),
            },
        };
        (ScramVerdict(verdict), server_final)
    }
}

/// Judges what an exchange has proved.
pub(super) struct Scram {
    pub(super) namespace: Arc<str>,
    pub(super) users: Arc<UsersFile>,
}

impl Authenticator for Scram {
    fn claims(&self, credentials: &Credentials) -> bool {
        credentials.scram.is_some()
    }

    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Verdict<'a> {
        Box::pin(std::future::ready(self.judge(credentials)))
    }
}

impl Scram {
    fn judge(&self, credentials: &Credentials) -> Result<Proof, Rejection> {
        let Some(ScramVerdict(verdict)) = &credentials.scram else {
            return Err(Rejection::NobodyAnswered);
        };
        let username = verdict.clone()?;
        if let Some(connect) = &credentials.username
            && **connect != *username
        {
            return Err(Rejection::Scram(ScramError::OtherUsername {
                scram: username.to_string(),
                connect: connect.to_string(),
            }));
        }
        let groups = self
            .users
            .user(&username)
            .map(|user| user.groups)
            .ok_or_else(|| Rejection::UnknownUser(username.to_string()))?;
        Ok(Proof {
            groups,
            ..Proof::new(Method::SCRAM, self.namespace.clone(), Some(username))
        })
    }
}
