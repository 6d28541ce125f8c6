//! Those whom the directory has named are looked for again: who was removed goes, and groups are those of now (IDN-11).

use super::node::Node;
use crate::identity::io::{BackEnds, Standing};
use crate::identity::{Identity, Method, Rejection, Subject};
use crate::mqtt::ReasonCode;
use crate::router::{End, SessionHandle};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often a configuration without a directory is looked at for one.
const IDLE: Duration = Duration::from_secs(5);

/// Asks one name after the other, so that a large crowd costs the directory no more than one login at a time.
pub(super) async fn watch(node: Arc<Node>) {
    loop {
        let back_ends = node.back_ends.load_full();
        let every = back_ends.look_again_every();
        tokio::time::sleep(every.unwrap_or(IDLE)).await;
        if every.is_none() {
            continue;
        }
        for (username, handles) in named_by_directory(&node, &back_ends) {
            match back_ends.look_again(&username).await {
                Standing::Good(groups) => regroup(&node, &back_ends, &handles, &groups),
                Standing::Gone(rejection) => put_out(&back_ends, &handles, &rejection),
                Standing::Unknown(reason) => {
                    tracing::warn!(%reason, "the directory cannot say who is still there");
                    // The others would wait for the same answer.
                    break;
                }
            }
        }
    }
}

/// Sessions by the name that the directory knows, parked ones too: what waits for them is judged by the groups of now.
fn named_by_directory(
    node: &Node,
    back_ends: &BackEnds,
) -> BTreeMap<Arc<str>, Vec<Arc<SessionHandle>>> {
    let mut named: BTreeMap<Arc<str>, Vec<Arc<SessionHandle>>> = BTreeMap::new();
    node.router.registry().for_each(|handle| {
        let rights = handle.rights();
        if let Some(name) = back_ends.name_in_directory(&rights.subject().identity) {
            named.entry(name).or_default().push(Arc::clone(handle));
        }
    });
    named
}

fn regroup(node: &Node, back_ends: &BackEnds, handles: &[Arc<SessionHandle>], groups: &[Arc<str>]) {
    for handle in handles {
        let subject = Arc::clone(handle.rights().subject());
        let identity = &subject.identity;
        // Joined with a token its groups are those of both, which end with the token.
        let is_joined = identity.method == Method::LDAP && !identity.claims.is_empty();
        if is_joined || identity.groups == groups {
            continue;
        }
        back_ends
            .logins()
            .regroup(&identity.namespace, &identity.username, groups);
        let subject = Arc::new(Subject {
            identity: Identity {
                groups: groups.to_vec(),
                ..identity.clone()
            },
            ..Subject::clone(&subject)
        });
        node.router.reidentify(handle, &subject);
    }
}

fn put_out(back_ends: &BackEnds, handles: &[Arc<SessionHandle>], rejection: &Rejection) {
    for handle in handles {
        let rights = handle.rights();
        let identity = &rights.subject().identity;
        let own = |login: &crate::identity::io::logins::Login| {
            login.identity.namespace == identity.namespace
                && login.identity.username == identity.username
        };
        if let Err(error) = back_ends.logins().end(own) {
            tracing::error!(%error, "the end of a login could not be written down");
        }
        if handle.outbox().is_online() {
            handle.end(End {
                reason_code: ReasonCode::NotAuthorized,
                reason: rejection.to_string(),
            });
        }
    }
}
