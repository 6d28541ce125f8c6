//! Clients named by a token, in the password field or as a bearer.

use std::sync::Arc;

use super::key_source::KeySource;
use super::{Authenticator, Verdict};
use crate::identity::jwt::{JwtConfig, Rules, Unverified, looks_like_a_token};
use crate::identity::{Credentials, Method, Proof, Rejection};
use crate::secret::Secret;

pub(super) struct Jwt {
    pub(super) config: JwtConfig,
    pub(super) rules: Rules,
    pub(super) keys: Arc<KeySource>,
}

impl Authenticator for Jwt {
    fn claims(&self, credentials: &Credentials) -> bool {
        token(credentials).is_some()
    }

    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Verdict<'a> {
        Box::pin(self.judge(credentials))
    }
}

impl Jwt {
    async fn judge(&self, credentials: &Credentials) -> Result<Proof, Rejection> {
        let token = token(credentials).ok_or(Rejection::NobodyAnswered)?;
        let unverified = Unverified::parse(token.expose())?;
        let keys = self
            .keys
            .for_token(&unverified)
            .await
            .map_err(|reason| Rejection::BackEnd {
                method: Method::JWT,
                reason,
            })?;
        let sets: Vec<_> = keys.iter().map(Arc::as_ref).collect();
        let (claims, key) = unverified.verify(&sets)?;
        let claims = self
            .rules
            .judge(&claims, &credentials.client_id, credentials.now)?;
        let namespace = self.config.namespace(claims.issuer.as_deref()).into();
        Ok(Proof {
            groups: claims.groups,
            claims: claims.values,
            acl: claims.acl.map(Arc::new),
            token_key: Some(key),
            valid_until: Some(claims.valid_until),
            ..Proof::new(Method::JWT, namespace, Some(claims.username))
        })
    }
}

/// The bearer's token, else a password of that shape.
fn token(credentials: &Credentials) -> Option<&Secret> {
    if let Some(bearer) = &credentials.authorization {
        return Some(bearer);
    }
    let password = credentials.password.as_deref()?;
    looks_like_a_token(password.expose()).then_some(password)
}
