//! The power goes in the middle of a commit: a store on a disk that keeps only what was synced, told at random what to keep.

use super::disk::{Disk, Remains};
use super::ledger::{Entry, Found, FoundSession, History, Ledger, payload};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};
use wardgate::identity::{Identity, Method, Subject};
use wardgate::mqtt::{QoS, Subscription, SubscriptionOptions, Text, TopicLimits, TopicName};
use wardgate::router::{
    Accepted, Fetch, Page, Restored, RestoredSession, SessionRecord, Store, Subscribed,
};
use wardgate::session::{Delivery, Message, Position, SessionId, StoredMessage, Ticket};
use wardgate::store::{Durability, Embedded, Options};

const CUTS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);
const REMAINS: [Remains; 4] = [
    Remains::Nothing,
    Remains::Prefix,
    Remains::Some,
    Remains::Everything,
];

/// A round: traffic, a cut, a look at what is left, and on from there.
pub fn round(seed: u64, mut disk: Disk) -> Vec<String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut ledger = Ledger::default();
    let mut operator = Operator::default();
    for cut in 0..=CUTS {
        let (store, restored) = match Embedded::open_on(
            Arc::new(disk.clone()),
            options(),
            Instant::now(),
            SystemTime::now(),
        ) {
            Ok(opened) => opened,
            Err(error) => return vec![format!("LOST: after cut {cut} it does not open: {error}")],
        };
        let found = match read_all(&*store, restored) {
            Ok(found) => found,
            Err(fault) => return vec![fault],
        };
        let faults = ledger.compare(&found, operator.committed);
        if !faults.is_empty() {
            return faults;
        }
        if cut == CUTS {
            return Vec::new();
        }
        ledger = Ledger::begin_anew(&found);
        operator.resume(&found);
        // Mostly between two operations of the disk, sometimes while nothing is going on.
        if rng.random_range(0..5) > 0 {
            disk.cut_after(rng.random_range(1..400));
        }
        operator.work(&*store, &disk, &mut ledger, &mut rng);
        disk.cut();
        operator.committed = store.committed();
        drop(store);
        disk = disk.after_the_cut(REMAINS[rng.random_range(0..4)], &mut rng);
    }
    Vec::new()
}

fn options() -> Options {
    Options {
        durability: Durability::Sync,
        flush_interval: Duration::from_secs(1),
        // Small, so that pages leave memory before their commit.
        cache: 256 * 1024,
        store_free: 0,
    }
}

/// Every queue to its end, as sessions would read theirs.
fn read_all(store: &dyn Store, restored: Restored) -> Result<Found, String> {
    let mut sessions = Vec::new();
    for mut session in restored.sessions {
        let mut queue = std::mem::take(&mut session.window);
        let in_window = queue.len();
        while queue.len() - in_window < session.spilled.messages {
            let after = queue.last().map_or(0, |delivery| delivery.sequence);
            let page = fetch(store, &session, after)?;
            if page.damaged > 0 || (page.deliveries.is_empty() && !page.more) {
                let id = session.record.id;
                return Err(format!("LOST a page of {id:?} after {after}"));
            }
            queue.extend(page.deliveries);
        }
        sessions.push(FoundSession { session, queue });
    }
    Ok(Found {
        sessions,
        retained: restored
            .retained
            .into_iter()
            .map(|(kept, _)| kept)
            .collect(),
    })
}

fn fetch(store: &dyn Store, session: &RestoredSession, after: u64) -> Result<Page, String> {
    let (sender, receiver) = mpsc::sync_channel(1);
    store.fetch(Fetch {
        session: session.record.id,
        after,
        up_to: session.last_sequence,
        messages: 100,
        bytes: 64 * 1024,
        reply: Box::new(move |page| _ = sender.send(page)),
    });
    receiver
        .recv_timeout(PATIENCE)
        .map_err(|_| "a page was never answered".to_owned())
}

/// Who tells the store what to keep.
#[derive(Default)]
struct Operator {
    committed: Position,
    sessions: Vec<(SessionId, u64)>,
    next_session: u64,
    next_number: u64,
    next_tag: u32,
    version: u64,
}

impl Operator {
    fn resume(&mut self, found: &Found) {
        self.sessions = found
            .sessions
            .iter()
            .map(|found| (found.session.record.id, found.session.last_sequence))
            .collect();
    }

    fn work(&mut self, store: &dyn Store, disk: &Disk, ledger: &mut Ledger, rng: &mut StdRng) {
        while self.sessions.len() < 8 {
            self.begin_session(store, ledger);
        }
        for _ in 0..rng.random_range(50..1500) {
            if disk.is_off() {
                return;
            }
            match rng.random_range(0..100) {
                0..45 => self.publish(store, ledger, rng),
                45..70 => settle(store, ledger, rng),
                70..78 => hand_over(store, ledger, rng),
                78..83 => release(store, ledger, rng),
                83..86 => self.subscribe(store, ledger, rng),
                86..89 => self.save_again(store, ledger, rng),
                89..91 => self.end_session(store, ledger, rng),
                91..94 => self.sent(store, ledger, rng),
                _ => wait(store, disk, store.current()),
            }
        }
    }

    fn begin_session(&mut self, store: &dyn Store, ledger: &mut Ledger) {
        self.next_session += 1;
        let id = SessionId(self.next_session);
        self.sessions.push((id, 0));
        self.save(store, ledger, id);
    }

    fn save(&mut self, store: &dyn Store, ledger: &mut Ledger, id: SessionId) {
        self.next_tag += 1;
        let tag = 1_000_000 + self.next_tag;
        let position = store.save(SessionRecord {
            id,
            subject: subject(id),
            session_expiry_interval: tag,
            connected: true,
            expires_at: None,
            will: None,
            will_at: None,
        });
        note(&mut ledger.records, id, position, Some(tag));
    }

    fn save_again(&mut self, store: &dyn Store, ledger: &mut Ledger, rng: &mut StdRng) {
        let (id, _) = self.sessions[rng.random_range(0..self.sessions.len())];
        self.save(store, ledger, id);
    }

    fn end_session(&mut self, store: &dyn Store, ledger: &mut Ledger, rng: &mut StdRng) {
        let place = rng.random_range(0..self.sessions.len());
        let (id, _) = self.sessions.swap_remove(place);
        let position = store.remove(id);
        for ((session, _), entry) in &mut ledger.entries {
            entry.settled |= *session == id;
        }
        if let Some(history) = ledger.records.get_mut(&id) {
            history.push(position, None);
        }
        self.begin_session(store, ledger);
    }

    fn publish(&mut self, store: &dyn Store, ledger: &mut Ledger, rng: &mut StdRng) {
        self.next_number += 1;
        let number = self.next_number;
        let retain = rng.random_range(0..6) == 0;
        let clears = retain && rng.random_range(0..4) == 0;
        let length = [10, 100, 1000, 9000][rng.random_range(0..4)];
        let topic = format!("t/{}", rng.random_range(0..6));
        let message = Arc::new(Message::restore(StoredMessage {
            topic: TopicName::new(text(&topic), TopicLimits::default()).unwrap(),
            qos: QoS::ExactlyOnce,
            retain,
            payload: if clears {
                Bytes::new()
            } else {
                Bytes::from(payload(number, length))
            },
            properties: None,
            author: subject(SessionId(0)),
            publisher: SessionId(0),
            expires_at: None,
        }));
        let gate = store.gate();
        let mut deliveries = Vec::new();
        if !clears {
            for (id, sequence) in &mut self.sessions {
                if rng.random_range(0..3) == 0 {
                    *sequence += 1;
                    let ticket = Arc::new(Ticket::new(*id, *sequence));
                    deliveries.push(delivery(&message, rng, *sequence, ticket));
                }
            }
        }
        let received = (rng.random_range(0..4) == 0).then(|| {
            let (id, _) = self.sessions[rng.random_range(0..self.sessions.len())];
            (id, NonZeroU16::new(rng.random_range(1..50)).unwrap())
        });
        self.version += 1;
        let position = store.publish(Accepted {
            message: &message,
            retain: retain.then_some(self.version),
            deliveries: deliveries.clone(),
            received,
        });
        drop(gate);
        for delivery in deliveries {
            if let Some(ticket) = delivery.ticket {
                let entry = Entry::new(number, delivery.qos, position, Arc::clone(&ticket));
                let key = (ticket.session(), ticket.sequence());
                ledger.entries.insert(key, entry);
            }
        }
        if let Some((id, identifier)) = received {
            note(&mut ledger.received, (id, identifier.get()), position, true);
        }
        if retain {
            let value = (!clears).then_some(number);
            note(&mut ledger.retained, topic, position, value);
        }
    }

    fn subscribe(&mut self, store: &dyn Store, ledger: &mut Ledger, rng: &mut StdRng) {
        let (id, _) = self.sessions[rng.random_range(0..self.sessions.len())];
        let filter = format!("f/{}/+/#", rng.random_range(0..5));
        let subscription = Subscription::new(text(&filter), TopicLimits::default()).unwrap();
        let qos = QoS::from_bits(rng.random_range(0..3)).unwrap();
        let (position, value) = if rng.random() {
            let subscribed = Subscribed {
                options: SubscriptionOptions {
                    maximum_qos: qos,
                    ..SubscriptionOptions::default()
                },
                identifier: None,
                checked: false,
            };
            let position = store.subscribe(id, &subscription, subscribed);
            (position, Some(qos.bits()))
        } else {
            (store.unsubscribe(id, &subscription), None)
        };
        note(
            &mut ledger.subscriptions,
            (id, subscription),
            position,
            value,
        );
    }

    fn sent(&mut self, store: &dyn Store, ledger: &mut Ledger, rng: &mut StdRng) {
        let (id, last) = self.sessions[rng.random_range(0..self.sessions.len())];
        let told = ledger.sent.entry(id).or_default();
        if *told < last {
            *told = rng.random_range(*told..=last);
            store.sent(id, *told);
        }
    }
}

fn note<K: Ord, T>(
    histories: &mut std::collections::BTreeMap<K, History<T>>,
    key: K,
    position: Position,
    value: T,
) {
    histories
        .entry(key)
        .or_insert_with(History::empty)
        .push(position, value);
}

fn settle(store: &dyn Store, ledger: &mut Ledger, rng: &mut StdRng) {
    if let Some(entry) = any(ledger, rng)
        && !entry.settled
    {
        entry.settled = true;
        store.settle(&entry.ticket);
    }
}

fn hand_over(store: &dyn Store, ledger: &mut Ledger, rng: &mut StdRng) {
    if let Some(entry) = any(ledger, rng)
        && entry.qos == QoS::ExactlyOnce
        && !entry.settled
        && entry.handed_over.is_none()
    {
        entry.handed_over = Some(store.hand_over(&entry.ticket));
    }
}

fn any<'a>(ledger: &'a mut Ledger, rng: &mut StdRng) -> Option<&'a mut Entry> {
    let count = ledger.entries.len();
    if count == 0 {
        return None;
    }
    // Mostly from the front, as clients acknowledge.
    let place = rng.random_range(0..count) * rng.random_range(0..100) / 100;
    ledger.entries.values_mut().nth(place)
}

fn release(store: &dyn Store, ledger: &mut Ledger, rng: &mut StdRng) {
    let count = ledger.received.len();
    if count == 0 {
        return;
    }
    let place = rng.random_range(0..count);
    if let Some(((id, identifier), history)) = ledger.received.iter_mut().nth(place)
        && ledger.records.get(id).is_some_and(History::stands)
        && let Some(identifier) = NonZeroU16::new(*identifier)
    {
        history.push(store.release(*id, identifier), false);
    }
}

/// As a publisher waits for its acknowledgement.
fn wait(store: &dyn Store, disk: &Disk, position: Position) {
    let deadline = Instant::now() + PATIENCE;
    while store.committed() < position && !disk.is_off() {
        assert!(Instant::now() < deadline, "{position:?} is never committed");
        std::thread::yield_now();
    }
}

fn delivery(
    message: &Arc<Message>,
    rng: &mut StdRng,
    sequence: u64,
    ticket: Arc<Ticket>,
) -> Delivery {
    let qos = if rng.random() {
        QoS::ExactlyOnce
    } else {
        QoS::AtLeastOnce
    };
    Delivery {
        message: Arc::clone(message),
        qos,
        retain: false,
        subscription_identifiers: None,
        share: None,
        sequence,
        ticket: Some(ticket),
    }
}

fn subject(id: SessionId) -> Arc<Subject> {
    Arc::new(Subject {
        identity: Identity {
            groups: vec!["some".into()],
            ..Identity::new(Method::PASSWORD, "password".into(), "someone".into())
        },
        client_id: format!("client-{}", id.0).into(),
        ip: std::net::Ipv4Addr::LOCALHOST.into(),
        listener: "lab".into(),
        protocol: "mqtt",
    })
}

fn text(text: &str) -> Text {
    Text::try_from(text).unwrap()
}
