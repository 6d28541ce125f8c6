//! Who is there: the listener's authenticators are asked, nothing else.

use super::greet::Greeted;
use super::refusal::{Cause, Refused};
use crate::identity::io::Chain;
use crate::identity::jwt::looks_like_a_token;
use crate::identity::{Credentials, Identity, Method, Rejection, Repute, Subject};
use crate::limits::{Attempt, Lockout};
use crate::mqtt::Text;
use crate::policy::read_token;
use crate::secret::Secret;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// A peer whose name was proved.
pub struct Identified {
    pub(super) greeted: Greeted,
    pub(super) subject: Arc<Subject>,
}

impl Greeted {
    /// Accept, reject or not mine (contract section 4); nobody answering is a refusal.
    pub async fn identify(mut self) -> Result<Identified, Box<Refused>> {
        let mut credentials = self.credentials();
        let challenge = match self.demand(&mut credentials) {
            Ok(challenge) => Ok(challenge),
            // What is no first message of the method is as good as a wrong password, and counted like one.
            Err(Cause::Rejected(rejection)) => Err(rejection),
            Err(cause) => return Err(self.refuse(cause)),
        };
        let (ip, door) = (self.ip, Arc::clone(&self.door));
        let username: Option<Arc<str>> = match &challenge {
            Ok(Some(challenge)) => Some(Arc::from(challenge.username())),
            Ok(None) | Err(_) => credentials.username.as_deref().map(Arc::from),
        };
        let method = guessed(&credentials, &self.rules.chain);
        let attempt = Attempt {
            ip,
            method,
            username: username.as_deref(),
        };
        // Before any hash is computed (IDN-12).
        credentials.repute = match door.limits.attempt(&attempt, Instant::now()) {
            Ok(repute) => repute,
            Err(refusal) => return Err(self.refuse(refusal)),
        };
        let challenge = match challenge {
            Ok(challenge) => challenge,
            Err(rejection) => return Err(self.rejected(rejection, &attempt)),
        };
        if let Some(challenge) = challenge {
            match self.converse(challenge).await {
                Ok(verdict) => credentials.scram = Some(verdict),
                Err(cause) => return Err(self.refuse_exchange(cause, username)),
            }
        }
        match prove(&self.rules.chain, credentials).await {
            Ok(identity) => {
                door.limits.succeeded(
                    &Attempt {
                        username: Some(&identity.username),
                        ..attempt
                    },
                    Instant::now(),
                );
                Ok(self.identified(identity))
            }
            Err(rejection) => Err(self.rejected(rejection, &attempt)),
        }
    }

    /// Counted as a failed login where the client is to blame.
    fn rejected(self, rejection: Rejection, attempt: &Attempt<'_>) -> Box<Refused> {
        let limits = &self.door.limits;
        let lockout = rejection
            .is_failure_of_client()
            .then(|| limits.failed(attempt, Instant::now(), SystemTime::now()))
            .flatten();
        let mut refused = self.refuse(rejection);
        refused.event.username = attempt.username.map(Arc::from);
        refused.event.method = Some(attempt.method.0);
        refused.lockout = lockout;
        refused
    }

    fn credentials(&mut self) -> Credentials {
        Credentials {
            certificate: self.certificate.take(),
            username: self.connect.username.clone(),
            // Out of the packet: nothing keeps the password once it was checked.
            password: self
                .connect
                .password
                .take()
                .map(|password| Arc::new(Secret::new(password.to_vec()))),
            cookie: self.cookie.take(),
            authorization: None,
            scram: None,
            demanded: None,
            client_id: self.connect.client_identifier.clone(),
            ip: self.ip,
            repute: Repute::default(),
            listener: Arc::clone(&self.door.name),
            protocol: self.rules.protocol(),
            now: SystemTime::now(),
        }
    }

    fn identified(mut self, identity: Identity) -> Identified {
        if self.assigned {
            let identifier = self
                .rules
                .client_id_binding
                .assign(&identity.username, rand::random());
            self.connect.client_identifier =
                Text::try_from(identifier.as_str()).unwrap_or_default();
        }
        let subject = Subject {
            identity,
            client_id: Arc::from(self.connect.client_identifier.as_str()),
            ip: self.ip,
            listener: Arc::clone(&self.door.name),
            protocol: self.rules.protocol(),
        };
        Identified {
            greeted: self,
            subject: Arc::new(subject),
        }
    }
}

/// The word of the chain. A token's list of statements must be one that the policies can read.
pub async fn prove(chain: &Chain, credentials: Credentials) -> Result<Identity, Rejection> {
    let identity = chain.identify(credentials).await?;
    if let Some(acl) = &identity.acl {
        read_token(acl)?;
    }
    Ok(identity)
}

/// By what the client offers: failures are counted for each method apart (IDN-13).
pub fn guessed(credentials: &Credentials, chain: &Chain) -> Method {
    if let Some(method) = credentials.demanded {
        return method;
    }
    if credentials.cookie.is_some() && credentials.password.is_none() {
        return Method::COOKIE;
    }
    let is_token = |password: &Arc<Secret>| looks_like_a_token(password.expose());
    match (&credentials.password, &credentials.certificate) {
        (Some(password), _) if is_token(password) && chain.offers(Method::JWT) => Method::JWT,
        (Some(_), _) => Method::PASSWORD,
        (None, Some(_)) => Method::CERTIFICATE,
        (None, None) => Method::ANONYMOUS,
    }
}

/// An address that was banned for its failed logins, as the audit log has it.
pub fn lockout_reason(lockout: &Lockout) -> String {
    format!(
        "{} failed logins by {}: {} is banned for {:?}",
        lockout.failures, lockout.method, lockout.address, lockout.duration
    )
}
