//! A panic ends the one task it happens in: it is audited besides counted and logged, and what serves everybody begins anew (TRN-15).

use super::node::Node;
use crate::audit::{Event, Kind, Outcome};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Before what serves everybody begins anew: a fault that comes again at once must not keep a core busy.
const PAUSE: Duration = Duration::from_secs(1);

/// `None`: it panicked.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// Held while a stranger's task runs: records its panic when it unwinds.
pub(super) struct Witness(pub(super) Arc<Node>);

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.record_panic(Event::default());
        }
    }
}

/// A task that everybody needs: begun anew when it panics, over when it returns.
pub(super) fn keep_running<F>(
    node: &Arc<Node>,
    task: impl Fn() -> F + Send + 'static,
) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let node = Arc::clone(node);
    tokio::spawn(async move {
        while tokio::spawn(task())
            .await
            .is_err_and(|error| error.is_panic())
        {
            node.record_panic(Event::default());
            tokio::time::sleep(PAUSE).await;
        }
    })
}

impl Node {
    /// `event` says whom it concerns.
    pub(super) fn record_panic(&self, event: Event) {
        self.record(Event {
            kind: Kind::Internal,
            outcome: Outcome::Failed,
            reason: "panicked".into(),
            ..event
        });
    }
}

/// Where the tests make a connection's task panic.
#[cfg(test)]
pub(super) fn trip(topic: &str) {
    assert!(!topic.starts_with("tripwire/"), "{topic}");
}

#[cfg(test)]
mod tests;
