//! Those whom the directory has named are looked for again: who was removed goes, and groups are those of now (IDN-11).

use super::directory_round::Rounds;
use super::node::Node;
use crate::identity::Rejection;
use crate::identity::io::{BackEnds, Standing};
use crate::mqtt::ReasonCode;
use crate::router::{End, SessionHandle};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How often a configuration without a directory is looked at for one.
const IDLE: Duration = Duration::from_secs(5);

type Sessions = BTreeMap<Arc<str>, Vec<Arc<SessionHandle>>>;

/// Asks one name after the other, so that a large crowd costs the directory no more than one login at a time.
pub(super) async fn watch(node: Arc<Node>) {
    let mut rounds = Rounds::default();
    loop {
        let back_ends = node.back_ends.load_full();
        let every = back_ends.look_again_every();
        tokio::time::sleep(every.unwrap_or(IDLE)).await;
        if every.is_some() {
            look(&node, &back_ends, &mut rounds).await;
        }
    }
}

async fn look(node: &Node, back_ends: &Arc<BackEnds>, rounds: &mut Rounds) {
    let sessions = named_by_directory(node, back_ends);
    // A browser may have a login and no connection.
    let logins = back_ends.logins_in_directory(SystemTime::now());
    let names: BTreeSet<_> = sessions.keys().cloned().chain(logins).collect();
    for username in rounds.begin(names) {
        let handles = sessions.get(&username).map_or(&[][..], Vec::as_slice);
        match back_ends.look_again(&username).await {
            Standing::Good(groups) => {
                rounds.answered();
                regroup(node, back_ends, &username, handles, &groups);
            }
            Standing::Gone(rejection) => {
                rounds.answered();
                put_out(back_ends, &username, handles, &rejection).await;
            }
            Standing::Unknown(reason) => {
                tracing::warn!(%username, %reason, "the directory cannot say who is still there");
                if rounds.unanswered(&username) {
                    return;
                }
            }
        }
    }
}

/// Sessions by the name that the directory knows, parked ones too: what waits for them is judged by the groups of now.
fn named_by_directory(node: &Node, back_ends: &BackEnds) -> Sessions {
    let mut named = Sessions::new();
    node.router.registry().for_each(|handle| {
        let rights = handle.rights();
        if let Some(name) = back_ends.name_in_directory(&rights.subject().identity) {
            named.entry(name).or_default().push(Arc::clone(handle));
        }
    });
    named
}

fn regroup(
    node: &Node,
    back_ends: &BackEnds,
    username: &str,
    handles: &[Arc<SessionHandle>],
    groups: &[Arc<str>],
) {
    back_ends.regroup_logins(username, groups);
    for handle in handles {
        node.router.regroup(handle, |identity| {
            back_ends.regrouped_by_directory(identity, groups)
        });
    }
}

async fn put_out(
    back_ends: &Arc<BackEnds>,
    username: &Arc<str>,
    handles: &[Arc<SessionHandle>],
    rejection: &Rejection,
) {
    for handle in handles {
        if handle.outbox().is_online() {
            handle.end(End {
                reason_code: ReasonCode::NotAuthorized,
                reason: rejection.to_string(),
            });
        }
    }
    let (back_ends, username) = (Arc::clone(back_ends), Arc::clone(username));
    // It waits for the disk.
    let ended = tokio::task::spawn_blocking(move || back_ends.end_logins(&username)).await;
    if let Ok(Err(error)) = ended {
        tracing::error!(%error, "the end of a login could not be written down");
    }
}
