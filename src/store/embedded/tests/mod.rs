//! The store as its users see it: told, stopped one way or another, and opened again.

mod crash;
mod damage;
mod disk;
mod failing;
mod folder;
mod format;
mod queue;
mod restart;

pub(super) use self::folder::{Place, open_folder};

use self::disk::Disk;
use super::{Embedded, OpenError, Options};
use crate::identity::jwt::{AclItem, AclMode, TokenAcl};
use crate::identity::{CertificateNames, Identity, Method, Subject};
use crate::mqtt::{QoS, Subscription, SubscriptionOptions, Text, TopicLimits, TopicName};
use crate::router::{
    Accepted, Fetch, Gate, Page, Replaying, Restored, RestoredSession, SessionRecord, Store,
    Subscribed,
};
use crate::session::{Delivery, Message, Position, SessionId, StoredMessage, Ticket};
use crate::store::Durability;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Long enough for a loaded machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

const OPTIONS: Options = Options {
    durability: Durability::Sync,
    flush_interval: Duration::from_secs(1),
    cache: 8 * 1024 * 1024,
    store_free: 0,
};

pub(super) fn open(disk: &Disk) -> (Arc<Embedded>, Restored) {
    open_with(disk, OPTIONS).unwrap()
}

pub(super) fn open_with(
    disk: &Disk,
    options: Options,
) -> Result<(Arc<Embedded>, Restored), OpenError> {
    Embedded::open_on(
        Arc::new(disk.clone()),
        options,
        Instant::now(),
        SystemTime::now(),
    )
}

pub(super) fn subject(name: &str) -> Arc<Subject> {
    Arc::new(Subject {
        identity: Identity {
            groups: vec!["pumps".into(), "north".into()],
            certificate: Some(Arc::new(CertificateNames {
                common_name: vec![name.to_owned()],
                subject_dn: format!("CN={name}"),
                fingerprint: "ab12".to_owned(),
                ..CertificateNames::default()
            })),
            claims: BTreeMap::from([("site".to_owned(), vec!["a".to_owned(), "b".to_owned()])]),
            acl: Some(Arc::new(acl())),
            valid_until: Some(UNIX_EPOCH + Duration::from_secs(4_000_000_000)),
            ..Identity::new(Method::CERTIFICATE, "certificate".into(), name.into())
        },
        client_id: name.into(),
        ip: [192, 0, 2, 7].into(),
        listener: "tls".into(),
        protocol: "mqtt",
    })
}

/// What a token brought: lost at a restart, it would no longer narrow anything.
fn acl() -> TokenAcl {
    let statement = |text: &str| serde_json::from_str(text).unwrap();
    TokenAcl {
        claim: "acl".to_owned(),
        mode: AclMode::Narrow,
        items: vec![
            AclItem {
                place: "acl.allow[0]".to_owned(),
                deny: false,
                statement: statement(
                    r##"{"subscribe": ["#"], "qos": [0, 1], "retain": false, "share": ["g*"]}"##,
                ),
            },
            AclItem {
                place: "acl.deny[0]".to_owned(),
                deny: true,
                statement: statement(r#"{"publish": "x"}"#),
            },
        ],
    }
}

pub(super) fn topic(text: &str) -> TopicName {
    TopicName::new(Text::try_from(text).unwrap(), TopicLimits::default()).unwrap()
}

pub(super) fn filter(text: &str) -> Subscription {
    Subscription::new(Text::try_from(text).unwrap(), TopicLimits::default()).unwrap()
}

pub(super) fn message(payload: &str) -> Arc<Message> {
    message_to("a/b", payload, None)
}

pub(super) fn message_to(to: &str, payload: &str, expires_at: Option<Instant>) -> Arc<Message> {
    Arc::new(Message::restore(StoredMessage {
        topic: topic(to),
        qos: QoS::AtLeastOnce,
        retain: false,
        payload: payload.to_owned().into(),
        properties: None,
        author: subject("author"),
        publisher: SessionId(9),
        expires_at,
    }))
}

pub(super) fn record(id: u64) -> SessionRecord {
    SessionRecord {
        id: SessionId(id),
        subject: subject(&format!("client-{id}")),
        session_expiry_interval: 3_600,
        connected: true,
        expires_at: None,
        will: None,
        will_at: None,
    }
}

pub(super) fn subscribed(qos: QoS) -> Subscribed {
    Subscribed {
        options: SubscriptionOptions {
            maximum_qos: qos,
            ..SubscriptionOptions::default()
        },
        identifier: None,
        checked: false,
    }
}

pub(super) fn delivery(message: &Arc<Message>, session: u64, sequence: u64) -> Delivery {
    Delivery {
        message: Arc::clone(message),
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_identifiers: None,
        share: None,
        sequence,
        ticket: Some(Arc::new(Ticket::new(SessionId(session), sequence))),
    }
}

/// One message to one session; its ticket and its position.
pub(super) fn publish(
    store: &Embedded,
    payload: &str,
    session: u64,
    sequence: u64,
) -> (Arc<Ticket>, Position) {
    publish_under(&store.gate(), store, payload, session, sequence)
}

/// The same for a test that holds the gate.
pub(super) fn publish_under(
    gate: &Gate<'_>,
    store: &Embedded,
    payload: &str,
    session: u64,
    sequence: u64,
) -> (Arc<Ticket>, Position) {
    let message = message(payload);
    let delivery = delivery(&message, session, sequence);
    let ticket = delivery.ticket.clone().unwrap();
    (ticket, accept_under(gate, store, &message, vec![delivery]))
}

pub(super) fn accept(
    store: &Embedded,
    message: &Arc<Message>,
    deliveries: Vec<Delivery>,
) -> Position {
    accept_under(&store.gate(), store, message, deliveries)
}

/// The same for a test that holds the gate.
pub(super) fn accept_under(
    _gate: &Gate<'_>,
    store: &Embedded,
    message: &Arc<Message>,
    deliveries: Vec<Delivery>,
) -> Position {
    store.publish(Accepted {
        message,
        retain: None,
        deliveries,
        received: None,
    })
}

pub(super) fn retain(store: &Embedded, message: &Arc<Message>) -> Position {
    retain_version(store, message, 1)
}

pub(super) fn retain_version(store: &Embedded, message: &Arc<Message>, version: u64) -> Position {
    store.publish(Accepted {
        message,
        retain: Some(version),
        deliveries: Vec::new(),
        received: None,
    })
}

/// Until the position is committed.
pub(super) fn settle_down(store: &Embedded, position: Position) {
    assert!(
        reaches(store, position, PATIENCE),
        "{position:?} was not committed"
    );
}

pub(super) fn reaches(store: &Embedded, position: Position, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    while !store.wait(position, Waker::noop()) {
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// Everything told so far, what nobody waits for included.
pub(super) fn flush(store: &Embedded) {
    let position = store.release(SessionId(u64::MAX), crate::mqtt::PacketIdentifier::MIN);
    settle_down(store, position);
}

pub(super) fn fetch(
    store: &Embedded,
    session: u64,
    after: u64,
    up_to: u64,
    messages: usize,
) -> Page {
    let (send, receive) = sync_channel(1);
    store.fetch(Fetch {
        session: SessionId(session),
        after,
        up_to,
        messages,
        bytes: usize::MAX,
        reply: Box::new(move |page| {
            let _ = send.send(page);
        }),
    });
    receive.recv_timeout(PATIENCE).unwrap()
}

pub(super) fn find(restored: &Restored, id: u64) -> &RestoredSession {
    restored
        .sessions
        .iter()
        .find(|session| session.record.id == SessionId(id))
        .unwrap()
}

pub(super) fn payloads<'a>(deliveries: impl IntoIterator<Item = &'a Delivery>) -> Vec<String> {
    deliveries
        .into_iter()
        .map(|delivery| String::from_utf8_lossy(delivery.message.payload()).into_owned())
        .collect()
}

/// A small generator with a seed: xorshift.
pub(super) fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    }
}

/// Some of everything.
pub(super) fn fill(store: &Embedded) {
    for id in 1..=5 {
        store.save(record(id));
        store.subscribe(SessionId(id), &filter("a/#"), subscribed(QoS::AtLeastOnce));
        for sequence in 1..=40 {
            publish(store, &format!("{id}/{sequence}-").repeat(20), id, sequence);
        }
    }
    let shared = message("for all");
    accept(
        store,
        &shared,
        (1..=5).map(|id| delivery(&shared, id, 41)).collect(),
    );
    for number in 0..50 {
        retain(store, &message_to(&format!("r/{number}"), "retained", None));
    }
    flush(store);
}

/// A folder with some of everything, closed in order.
pub(super) fn filled(path: &std::path::Path) {
    let (store, _) = open_folder(path).unwrap();
    fill(&store);
    store.close();
}
