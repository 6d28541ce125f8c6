//! The closed loop: how many messages of one publisher may be under way, counted from its write to the last subscriber's read.

use std::cell::{Cell, RefCell};
use std::task::Waker;

#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Subscribers that get each message.
    copies: u64,
    window: u64,
    sent: Cell<u64>,
    delivered: Cell<u64>,
    publisher: RefCell<Option<Waker>>,
    /// Delivered to since the publisher was woken.
    is_touched: Cell<bool>,
}

impl Flow {
    pub(super) fn new(window: u64, copies: u64) -> Self {
        Self {
            copies,
            window,
            ..Self::default()
        }
    }

    /// How many messages the window has room for. With several copies the deliveries are counted together.
    pub(super) fn room(&self) -> u64 {
        let under_way = self.sent.get() * self.copies - self.delivered.get();
        self.window
            .saturating_sub(under_way.div_ceil(self.copies.max(1)))
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.get()
    }

    pub(super) fn delivered(&self) -> u64 {
        self.delivered.get()
    }

    /// Deliveries that have not come.
    pub(super) fn missing(&self) -> u64 {
        (self.sent.get() * self.copies).saturating_sub(self.delivered.get())
    }

    pub(super) fn send(&self, messages: u64) {
        self.sent.set(self.sent.get() + messages);
    }

    /// Counts one delivery; true for the first since the publisher was woken.
    pub(super) fn deliver(&self) -> bool {
        self.delivered.set(self.delivered.get() + 1);
        !self.is_touched.replace(true)
    }

    pub(super) fn wait(&self, waker: &Waker) {
        let mut publisher = self.publisher.borrow_mut();
        match publisher.as_mut() {
            Some(known) => known.clone_from(waker),
            None => *publisher = Some(waker.clone()),
        }
    }

    /// Once for each batch of deliveries.
    pub(super) fn wake(&self) {
        self.is_touched.set(false);
        if let Some(publisher) = self.publisher.borrow().as_ref() {
            publisher.wake_by_ref();
        }
    }
}
