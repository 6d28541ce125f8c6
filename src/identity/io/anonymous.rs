//! Clients without credentials, where a listener lists them: a name of their own and no rights by default (IDN-3).

use std::future::ready;
use std::sync::Arc;

use super::{Authenticator, Verdict};
use crate::identity::{Credentials, Method, Proof};

pub(super) struct Anonymous {
    pub(super) namespace: Arc<str>,
    /// Beside other methods only a client that offers nothing is anonymous: a mistyped name must not open this door. Alone on its listener it takes everybody
    /// and believes no name, as a user of Mosquitto expects of a lab.
    pub(super) sole: bool,
}

impl Authenticator for Anonymous {
    fn claims(&self, credentials: &Credentials) -> bool {
        self.sole || credentials.offers_nothing()
    }

    fn authenticate<'a>(&'a self, _: &'a Credentials) -> Verdict<'a> {
        let username = Some(Arc::from(Method::ANONYMOUS.0));
        let proof = Proof::new(Method::ANONYMOUS, self.namespace.clone(), username);
        Box::pin(ready(Ok(proof)))
    }
}
