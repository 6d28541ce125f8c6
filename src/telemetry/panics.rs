//! Defects that ended a task: counted and logged, while everything else goes on (TRN-15).

use std::panic::PanicHookInfo;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

static PANICS: AtomicU64 = AtomicU64::new(0);
static WATCH: Once = Once::new();

/// From now on every panic of this process is counted, and logged with its place. What it says is not logged: it may hold what a client sent (LOG-1).
pub fn watch() {
    WATCH.call_once(|| std::panic::set_hook(Box::new(note)));
}

/// Since the start of the process.
pub fn count() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

fn note(panic: &PanicHookInfo<'_>) {
    PANICS.fetch_add(1, Ordering::Relaxed);
    let place = panic.location().map(ToString::to_string);
    tracing::error!(
        place = place.as_deref().unwrap_or("unknown"),
        "a task of the broker ended by a defect: please report it"
    );
}
