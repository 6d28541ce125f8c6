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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;
    use std::io::Write;
    use std::panic::{catch_unwind, set_hook, take_hook};
    use std::sync::Mutex;

    #[test]
    fn log_01_a_panic_is_logged_by_its_place_and_not_its_words() {
        static SAID: Mutex<Vec<u8>> = Mutex::new(Vec::new());
        struct Said;
        impl Write for Said {
            fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
                SAID.lock().unwrap().extend_from_slice(text);
                Ok(text.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let before = count();
        // Only for this thread: the tests beside it keep their own.
        let (ours, others) = (std::thread::current().id(), take_hook());
        set_hook(Box::new(move |panic| {
            if std::thread::current().id() == ours {
                note(panic);
            } else {
                others(panic);
            }
        }));
        let subscriber = tracing_subscriber::fmt().with_writer(|| Said).finish();
        tracing::subscriber::with_default(subscriber, || {
            assert!(catch_unwind(|| panic!("canary-payload")).is_err());
        });
        let said = String::from_utf8(SAID.lock().unwrap().clone()).unwrap();
        assert!(
            said.contains("ended by a defect") && said.contains(file!()),
            "{said}"
        );
        assert!(!said.contains("canary"), "{said}");
        assert!(count() > before);
    }
}
