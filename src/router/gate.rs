//! What keeps a commit from beginning while one publish is told: taken once by a thread, and dropped before it is taken again.

use parking_lot::{RwLock, RwLockReadGuard};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<bool> = const { Cell::new(false) };
}

/// A store's gate, held (`Store::gate`). A second one on the same thread would wait for ever as soon as a commit asks for the gate in between; debug builds, and so all
/// tests, say so each time and not only then.
#[must_use]
pub struct Gate<'a>(#[expect(dead_code, reason = "held")] Option<RwLockReadGuard<'a, ()>>);

impl<'a> Gate<'a> {
    /// Not recursive: publishers that follow one another without a gap must not keep a commit from beginning.
    pub fn enter(lock: &'a RwLock<()>) -> Self {
        take();
        Self(Some(lock.read()))
    }

    /// Of a store that commits nothing.
    pub fn open() -> Self {
        take();
        Self(None)
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        if cfg!(debug_assertions) {
            HELD.set(false);
        }
    }
}

fn take() {
    if cfg!(debug_assertions) {
        assert!(
            !HELD.replace(true),
            "this thread holds the store's gate already: a commit that asks for it now would never begin"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_after_the_other_is_right() {
        let lock = RwLock::new(());
        for _ in 0..2 {
            drop(Gate::enter(&lock));
            drop(Gate::open());
        }
    }

    #[test]
    #[should_panic(expected = "holds the store's gate already")]
    fn two_at_once_are_a_mistake_that_is_told() {
        let lock = RwLock::new(());
        let _outer = Gate::enter(&lock);
        let _inner = Gate::enter(&lock);
    }
}
