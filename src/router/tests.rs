//! The routing core by itself: who gets what, who owns which name, and what becomes of what nobody fetches.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod races;
mod replays;
mod spill;
mod timers;
mod withdrawn;

use super::paper::Paper;
use super::*;
use crate::identity::{Identity, Method};
use crate::limits::LimitsConfig;
use crate::mqtt::{
    QoS, ReasonCode, RetainHandling, Subscription, SubscriptionIdentifier, SubscriptionOptions,
    Text, TopicLimits, TopicName, Will,
};
use crate::session::{Content, Delivery, Position, Reach, SessionId};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::task::Waker;
use std::time::{Duration, Instant};

const ALLOW: &str = "version: 1\npolicies:\n  - id: all\n    who: { any: true }\n    allow:\n      - publish: \"#\"\n      - subscribe: \"#\"\n";
const DENY: &str = "    deny:\n      - publish: \"secret/#\"\n      - subscribe: \"secret/#\"\n";

fn policies(yaml: &str) -> Arc<Policies> {
    Arc::new(Policies::parse(&[(PathBuf::from("p.yaml"), yaml.to_owned())]).unwrap())
}

fn router(mqtt: MqttConfig) -> Router {
    let mut store = Paper::default();
    store.forgetful = true;
    router_over(mqtt, &Arc::new(store))
}

fn router_over(mqtt: MqttConfig, store: &Arc<Paper>) -> Router {
    let limits = Arc::new(Limits::new(LimitsConfig::default(), [1; 4], Instant::now()));
    Router::new(policies(ALLOW), mqtt, Arc::clone(store) as _, limits)
}

fn subject(namespace: &str, client_id: &str) -> Arc<Subject> {
    let identity = Identity::new(Method::PASSWORD, namespace.into(), "alice".into());
    Arc::new(Subject {
        identity,
        client_id: client_id.into(),
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        listener: "lab".into(),
        protocol: "mqtt",
    })
}

fn open(router: &Router, client_id: &str, expiry: u32) -> Arc<SessionHandle> {
    let rights = router.rights(&subject("password", client_id));
    match router.claim(&rights, false, expiry, Instant::now()) {
        Claim::New(handle) => handle,
        Claim::Resumed(..) | Claim::Wait(_) | Claim::Refused(_) => panic!("{client_id} is not new"),
    }
}

fn text(text: &str) -> Text {
    Text::try_from(text).unwrap()
}

fn subscribe(
    router: &Router,
    handle: &Arc<SessionHandle>,
    filter: &str,
    qos: QoS,
    identifier: u32,
) -> Option<Replay> {
    let subscription = Subscription::new(text(filter), TopicLimits::default()).unwrap();
    let permit = handle
        .rights()
        .permit_subscribe(&subscription, qos)
        .unwrap();
    let options = SubscriptionOptions {
        maximum_qos: qos,
        retain_handling: RetainHandling::SendAtSubscribe,
        ..SubscriptionOptions::default()
    };
    router
        .subscribe(
            handle,
            permit,
            options,
            SubscriptionIdentifier::new(identifier),
        )
        .unwrap()
        .replay
}

fn publish(router: &Router, topic: &str, qos: QoS, retain: bool, payload: &str) -> Published {
    let rights = router.rights(&subject("password", "publisher"));
    let topic = TopicName::new(text(topic), TopicLimits::default()).unwrap();
    let permit = rights.permit_publish(topic, qos, retain).unwrap();
    let content = Content::from_session(
        SessionId(0),
        Bytes::copy_from_slice(payload.as_bytes()),
        None,
    );
    let mut cache = RouteCache::default();
    router
        .publish(
            &permit,
            content,
            &mut cache,
            Instant::now(),
            &mut Wakes::default(),
        )
        .unwrap()
}

/// What leaves once the connection has judged itself anew, or gone, if it was asked to.
fn take(handle: &SessionHandle) -> Vec<Delivery> {
    loop {
        let (taken, deliveries) = take_at(handle, Position(0));
        if !taken.rejudge && taken.end.is_none() {
            return deliveries;
        }
        assert!(deliveries.is_empty());
    }
}

fn take_at(handle: &SessionHandle, committed: Position) -> (Taken, Vec<Delivery>) {
    let mut deliveries = Vec::new();
    let room = Room {
        reach: Reach::default(),
        committed,
        window: usize::MAX,
        bytes: usize::MAX,
    };
    let taken = handle
        .outbox()
        .take(room, usize::MAX, &mut deliveries, Waker::noop());
    (taken, deliveries)
}

fn payloads(handle: &SessionHandle) -> Vec<String> {
    take(handle)
        .iter()
        .map(|delivery| String::from_utf8(delivery.message.payload().to_vec()).unwrap())
        .collect()
}

fn depart(router: &Router, handle: &Arc<SessionHandle>, expiry: u32, will: Option<Will>) {
    let departure = Departure {
        parked: Parked::default(),
        session_expiry_interval: expiry,
        will,
    };
    router.depart(handle, departure, Instant::now());
}

proptest! {
    #[test]
    fn the_index_agrees_with_the_matcher(
        filters in prop::collection::btree_set("(\\+|a|b|\\$x|)(/(\\+|a|b|)){0,3}(/#)?", 1..30),
        removed in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        topic in "(a|b|\\$x|)(/(a|b|c|)){0,4}",
    ) {
        prop_assume!(!topic.is_empty());
        let router = router(MqttConfig::default());
        let filters: Vec<String> = filters.into_iter().filter(|filter| !filter.is_empty()).collect();
        prop_assume!(!filters.is_empty());
        let gone: BTreeSet<usize> = removed.iter().map(|index| index.index(2 * filters.len())).collect();
        let topic = TopicName::new(text(&topic), TopicLimits::default()).unwrap();
        let (mut expected, mut leaving) = (BTreeSet::new(), Vec::new());
        // Twice as many sessions as filters: one filter has one subscriber or two.
        for (number, filter) in filters.iter().chain(&filters).enumerate() {
            let handle = open(&router, &format!("c{number}"), 0);
            // A leading wildcard over everything is what the policy grants: `$` names take a statement of their own.
            let subscription = Subscription::new(text(filter), TopicLimits::default()).unwrap();
            let Ok(permit) = handle.rights().permit_subscribe(&subscription, QoS::AtMostOnce) else { continue };
            router.subscribe(&handle, permit, SubscriptionOptions::default(), None).unwrap();
            if gone.contains(&number) {
                leaving.push((handle, subscription));
            } else if subscription.filter.matches(&topic) {
                expected.insert(handle.id());
            }
        }
        for (handle, subscription) in leaving {
            prop_assert!(router.unsubscribe(&handle, &subscription).is_some());
            prop_assert!(router.unsubscribe(&handle, &subscription).is_none());
        }
        let mut found = BTreeSet::new();
        router.index.read().matching(&topic, |subscribers| {
            for entry in subscribers.plain() {
                assert!(found.insert(entry.handle.id()), "once each");
            }
        });
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn overlapping_subscriptions_give_one_copy_with_the_highest_qos_and_every_identifier() {
    let router = router(MqttConfig::default());
    let handle = open(&router, "reader", 0);
    subscribe(&router, &handle, "a/#", QoS::AtMostOnce, 1);
    subscribe(&router, &handle, "a/+", QoS::ExactlyOnce, 2);
    subscribe(&router, &handle, "b", QoS::ExactlyOnce, 3);
    assert!(publish(&router, "a/b", QoS::AtLeastOnce, false, "x").matched);
    let taken = take(&handle);
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].qos, QoS::AtLeastOnce);
    let identifiers: Vec<u32> = taken[0]
        .subscription_identifiers
        .iter()
        .flat_map(|all| all.iter().map(|one| one.get()))
        .collect();
    assert_eq!(identifiers, [1, 2]);
    assert!(!publish(&router, "c", QoS::AtLeastOnce, false, "x").matched);
}

#[test]
fn a_full_queue_does_what_it_was_told() {
    let rows = [
        (WhenFull::DropOldest, ["2", "3"]),
        (WhenFull::DropNewest, ["1", "2"]),
    ];
    for (when_full, expected) in rows {
        let queue = QueueConfig {
            messages: 2,
            when_full,
            ..QueueConfig::default()
        };
        let router = router(MqttConfig {
            queue,
            ..MqttConfig::default()
        });
        let handle = open(&router, "reader", 60);
        subscribe(&router, &handle, "t", QoS::AtLeastOnce, 1);
        for payload in ["1", "2", "3"] {
            publish(&router, "t", QoS::AtLeastOnce, false, payload);
        }
        assert_eq!(payloads(&handle), expected, "{when_full:?}");
        assert_eq!(router.counters().dropped.value(), 1, "{when_full:?}");
    }
}

#[test]
fn ses_01_another_owner_neither_resumes_nor_discards() {
    let router = router(MqttConfig::default());
    let handle = open(&router, "c", 60);
    subscribe(&router, &handle, "t", QoS::AtLeastOnce, 1);
    let stranger = router.rights(&subject("certificate", "c"));
    for online in [true, false] {
        if !online {
            depart(&router, &handle, 60, None);
        }
        for clean_start in [true, false] {
            let claim = router.claim(&stranger, clean_start, 0, Instant::now());
            assert!(
                matches!(claim, Claim::Refused(Refused::Owned(_))),
                "online {online}, clean start {clean_start}"
            );
        }
        assert_eq!(handle.subscription_count(), 1);
    }
}

#[test]
fn a_taken_over_session_goes_to_the_next_with_its_queue() {
    let router = router(MqttConfig::default());
    let handle = open(&router, "c", 60);
    subscribe(&router, &handle, "t", QoS::AtLeastOnce, 1);
    let rights = router.rights(&subject("password", "c"));
    let Claim::Wait(mut gone) = router.claim(&rights, false, 60, Instant::now()) else {
        panic!("it is online")
    };
    let room = Room {
        reach: Reach::default(),
        committed: Position(0),
        window: 1,
        bytes: 1,
    };
    let end = handle
        .outbox()
        .take(room, 1, &mut Vec::new(), Waker::noop())
        .end;
    assert_eq!(
        end.map(|end| end.reason_code),
        Some(crate::mqtt::ReasonCode::SessionTakenOver)
    );
    assert!(gone.try_recv().is_err());
    depart(&router, &handle, 60, None);
    assert!(gone.try_recv().is_ok());
    publish(
        &router,
        "t",
        QoS::AtMostOnce,
        false,
        "for those who are there",
    );
    publish(&router, "t", QoS::AtLeastOnce, false, "kept");
    let Claim::Resumed(resumed, _) = router.claim(&rights, false, 60, Instant::now()) else {
        panic!("it was kept")
    };
    assert_eq!(resumed.id(), handle.id());
    assert_eq!(payloads(&resumed), ["kept"]);
}

#[test]
fn ses_05_a_will_waits_for_its_delay_or_the_end_of_its_session() {
    let rows = [
        // (delay, expiry, seconds later, sent)
        (0, 60, 0, true),
        (10, 60, 9, false),
        (10, 60, 10, true),
        (60, 10, 10, true),
        (60, 0, 0, true),
    ];
    for (delay, expiry, later, sent) in rows {
        let router = router(MqttConfig::default());
        let reader = open(&router, "reader", 0);
        subscribe(&router, &reader, "will", QoS::AtMostOnce, 1);
        let mortal = open(&router, "mortal", expiry);
        let will = Will {
            qos: QoS::AtMostOnce,
            retain: false,
            topic: TopicName::new(text("will"), TopicLimits::default()).unwrap(),
            payload: Bytes::from_static(b"gone"),
            will_delay_interval: Some(delay),
            properties: None,
        };
        depart(&router, &mortal, expiry, Some(will));
        router.handle_timeout(Instant::now() + Duration::from_secs(later));
        let expected: &[&str] = if sent { &["gone"] } else { &[] };
        assert_eq!(
            payloads(&reader),
            expected,
            "delay {delay}, expiry {expiry}, after {later} s"
        );
    }
}

#[test]
fn retained_messages_are_replayed_in_windows_each_once() {
    let router = router(MqttConfig::default());
    for number in 0..5000 {
        publish(
            &router,
            &format!("r/{number}/x"),
            QoS::AtMostOnce,
            true,
            "1",
        );
        publish(
            &router,
            &format!("r/{number}/y"),
            QoS::AtMostOnce,
            true,
            "1",
        );
    }
    publish(&router, "r/7/x", QoS::AtMostOnce, true, "");
    let handle = open(&router, "late", 0);
    let mut replay = subscribe(&router, &handle, "r/+/x", QoS::AtMostOnce, 1).unwrap();
    let (mut topics, mut rounds) = (BTreeSet::new(), 0);
    loop {
        let mut taken = Vec::new();
        let goes_on = router.replay(
            &handle,
            &mut replay,
            (64, Reach::default()),
            Instant::now(),
            &mut taken,
        );
        assert!(taken.len() <= 64);
        for delivery in taken {
            assert!(delivery.retain);
            assert!(topics.insert(delivery.message.topic().clone()));
        }
        rounds += 1;
        if !goes_on {
            break;
        }
    }
    assert_eq!(topics.len(), 4999);
    assert!(rounds >= 78, "{rounds}");
}

#[test]
fn sto_01_a_replay_to_a_durable_session_is_told_with_its_messages_until_it_is_over() {
    let store = Arc::new(Paper::default());
    let router = router_over(MqttConfig::default(), &store);
    for number in 0..100 {
        let topic = format!("r/{number:03}");
        publish(&router, &topic, QoS::AtLeastOnce, true, "1");
    }
    let handle = open(&router, "durable", 60);
    let mut replay = subscribe(&router, &handle, "r/+", QoS::AtLeastOnce, 1).unwrap();
    let after = |number: Option<&str>| {
        let replaying = store.replaying(&handle, "r/+").unwrap();
        assert_eq!(replaying.as_of, 100);
        assert_eq!(replaying.after.as_ref().map(TopicName::as_str), number);
    };
    after(None);
    let mut step = |room| {
        let goes_on = router.replay(
            &handle,
            &mut replay,
            (room, Reach::default()),
            Instant::now(),
            &mut Vec::new(),
        );
        (goes_on, store.rows(&handle).len())
    };
    assert_eq!(step(0), (true, 0));
    after(None);
    assert_eq!(step(64), (true, 64));
    after(Some("r/063"));
    assert_eq!(step(64), (false, 100));
    assert_eq!(store.replaying(&handle, "r/+"), None);
    // Of which nothing is retained: there is nothing to tell.
    assert!(subscribe(&router, &handle, "s/#", QoS::AtLeastOnce, 2).is_none());
    assert_eq!(store.replaying(&handle, "s/#"), None);
}

#[test]
fn pol_06_what_a_reload_forbids_is_gone_when_it_returns() {
    let router = router(MqttConfig::default());
    let handle = open(&router, "reader", 60);
    subscribe(&router, &handle, "secret/x", QoS::AtLeastOnce, 1);
    subscribe(&router, &handle, "#", QoS::AtLeastOnce, 2);
    publish(&router, "secret/x", QoS::AtLeastOnce, false, "queued");
    publish(&router, "open", QoS::AtLeastOnce, false, "fine");
    router.replace(policies(&format!("{ALLOW}{DENY}")), MqttConfig::default());
    assert_eq!(payloads(&handle), ["fine"]);
    assert_eq!(
        handle.subscription_count(),
        1,
        "only # is left, and is judged for each message"
    );
    let subscribed = handle.subscriptions()[0].1;
    assert!(subscribed.checked);
}

#[test]
fn what_durable_sessions_must_get_is_what_an_acknowledgement_waits_for() {
    let store = Arc::new(Paper::default());
    let router = router_over(MqttConfig::default(), &store);
    let (durable, passing) = (open(&router, "durable", 60), open(&router, "passing", 0));
    for handle in [&durable, &passing] {
        subscribe(&router, handle, "t", QoS::ExactlyOnce, 1);
    }
    let published = publish(&router, "t", QoS::AtLeastOnce, false, "x");
    assert_eq!(published.position, Position(1));
    let published = publish(&router, "t", QoS::AtMostOnce, false, "x");
    assert_eq!(published.position, Position(0), "QoS 0 promises nothing");
    let published = publish(&router, "elsewhere", QoS::AtLeastOnce, true, "x");
    assert_eq!(published.position, Position(1), "retained");
    assert_eq!(store.retained(), 1);
    assert_eq!(
        (store.rows(&durable), store.rows(&passing)),
        (vec![1], vec![])
    );
    for delivery in take(&durable) {
        if let Some(ticket) = &delivery.ticket {
            router.store().settle(ticket);
        }
    }
    assert!(store.rows(&durable).is_empty());
}

#[test]
fn a_durable_sessions_qos_2_leaves_only_when_it_is_on_disk() {
    let store = Arc::new(Paper::default());
    let router = router_over(MqttConfig::default(), &store);
    let (durable, passing) = (open(&router, "durable", 60), open(&router, "passing", 0));
    for handle in [&durable, &passing] {
        subscribe(&router, handle, "t", QoS::ExactlyOnce, 1);
    }
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtMostOnce] {
        publish(&router, "t", qos, false, "x");
    }
    assert_eq!(take(&passing).len(), 3);
    let (taken, deliveries) = take_at(&durable, store.committed());
    assert_eq!((taken.awaits, deliveries.len()), (Some(Position(1)), 1));
    let (taken, deliveries) = take_at(&durable, store.commit());
    assert_eq!((taken.awaits, deliveries.len()), (None, 2), "in order");
}

#[test]
fn a_long_queue_is_in_memory_for_a_window_only_and_comes_back_in_order() {
    let store = Arc::new(Paper::default());
    let router = router_over(MqttConfig::default(), &store);
    let handle = open(&router, "durable", 60);
    subscribe(&router, &handle, "t", QoS::AtLeastOnce, 1);
    let departure = |parked| Departure {
        parked,
        session_expiry_interval: 60,
        will: None,
    };
    // Some while it is there, more when it is not.
    for number in 0..1000 {
        publish(&router, "t", QoS::AtLeastOnce, false, &number.to_string());
    }
    router.depart(&handle, departure(Parked::default()), Instant::now());
    for number in 1000..3000 {
        publish(&router, "t", QoS::AtLeastOnce, false, &number.to_string());
    }
    assert_eq!(handle.outbox().load().0, 3000);
    assert_eq!(handle.outbox().held(), WINDOW_MESSAGES);
    let rights = Arc::clone(&handle.rights());
    assert!(matches!(
        router.claim(&rights, false, 60, Instant::now()),
        Claim::Resumed(..)
    ));
    let mut seen = Vec::new();
    for round in 0..100 {
        let (taken, deliveries) = take_at(&handle, Position(0));
        for delivery in &deliveries {
            let payload = String::from_utf8(delivery.message.payload().to_vec()).unwrap();
            seen.push(payload.parse::<usize>().unwrap());
        }
        if let Some(wanted) = taken.wanted {
            router.fetch(&handle, wanted);
        }
        // While pages come more is published behind them.
        if round < 5 {
            publish(
                &router,
                "t",
                QoS::AtLeastOnce,
                false,
                &(3000 + round).to_string(),
            );
        }
        store.answer();
    }
    assert_eq!(seen, (0..3005).collect::<Vec<_>>());
    assert_eq!(handle.outbox().load(), (0, 0));
}

#[test]
fn the_oldest_of_a_full_queue_goes_wherever_it_is() {
    let store = Arc::new(Paper::default());
    let mut mqtt = MqttConfig::default();
    mqtt.queue.messages = 1000;
    let router = router_over(mqtt, &store);
    let handle = open(&router, "durable", 60);
    subscribe(&router, &handle, "t", QoS::AtLeastOnce, 1);
    let departure = Departure {
        parked: Parked::default(),
        session_expiry_interval: 60,
        will: None,
    };
    router.depart(&handle, departure, Instant::now());
    for number in 0..5000 {
        publish(&router, "t", QoS::AtLeastOnce, false, &number.to_string());
        store.answer();
    }
    assert_eq!(handle.outbox().load().0, 1000);
    assert_eq!(
        store.rows(&handle),
        (4001..=5000).collect::<Vec<u64>>(),
        "the store forgets what was dropped"
    );
}

#[test]
fn a_full_disk_refuses_what_it_could_not_keep_and_lets_the_rest_go_on() {
    let store = Arc::new(Paper::default());
    let router = router_over(MqttConfig::default(), &store);
    let (durable, passing) = (open(&router, "durable", 60), open(&router, "passing", 0));
    subscribe(&router, &durable, "kept", QoS::AtLeastOnce, 1);
    for filter in ["kept", "passing"] {
        subscribe(&router, &passing, filter, QoS::AtLeastOnce, 1);
    }
    store.set_full(true);
    let attempt = |topic: &str, qos, retain| {
        let rights = router.rights(&subject("password", "publisher"));
        let topic = TopicName::new(text(topic), TopicLimits::default()).unwrap();
        let permit = rights.permit_publish(topic, qos, retain).unwrap();
        let content = Content::from_session(SessionId(0), Bytes::from_static(b"x"), None);
        router
            .publish(
                &permit,
                content,
                &mut RouteCache::default(),
                Instant::now(),
                &mut Wakes::default(),
            )
            .is_ok()
    };
    for (topic, qos, retain, taken) in [
        ("kept", QoS::AtLeastOnce, false, false),
        ("kept", QoS::AtMostOnce, false, true),
        ("passing", QoS::AtLeastOnce, false, true),
        ("passing", QoS::AtLeastOnce, true, false),
        ("passing", QoS::AtMostOnce, true, false),
    ] {
        assert_eq!(
            attempt(topic, qos, retain),
            taken,
            "{topic} {qos:?} {retain}"
        );
    }
    assert!(store.rows(&durable).is_empty());
    assert_eq!((store.retained(), router.retained().load().0), (0, 0));
    store.set_full(false);
    assert!(
        attempt("kept", QoS::AtLeastOnce, false),
        "resumes by itself"
    );
}

#[test]
fn what_the_store_knows_of_a_session_follows_its_life() {
    let store = Arc::new(Paper::default());
    let router = router_over(MqttConfig::default(), &store);
    let now = Instant::now();
    let (durable, passing) = (open(&router, "durable", 60), open(&router, "passing", 0));
    router.keep(&passing, 0, None);
    assert!(store.record(&passing).is_none(), "nothing of it survives");
    router.keep(&durable, 60, None);
    assert!(store.record(&durable).unwrap().connected);
    let departure = Departure {
        parked: Parked::default(),
        session_expiry_interval: 60,
        will: None,
    };
    router.depart(&durable, departure, now);
    let record = store.record(&durable).unwrap();
    assert!(!record.connected && record.expires_at.is_some());
    router.handle_timeout(now + Duration::from_secs(61));
    assert!(store.record(&durable).is_none(), "expired");
    assert_eq!(store.received(), 0);
}

#[test]
fn pol_06_who_was_admitted_under_older_policies_gets_the_rights_of_now() {
    let router = router(MqttConfig::default());
    let rights = router.rights(&subject("password", "late"));
    let stricter = policies(&format!("{ALLOW}{DENY}"));
    router.replace(stricter, MqttConfig::default());
    let Claim::New(handle) = router.claim(&rights, false, 0, Instant::now()) else {
        panic!("it is new");
    };
    let topic = TopicName::new(text("secret/plan"), TopicLimits::default()).unwrap();
    assert!(
        rights
            .permit_publish(topic.clone(), QoS::AtMostOnce, false)
            .is_ok()
    );
    assert!(
        handle
            .rights()
            .permit_publish(topic, QoS::AtMostOnce, false)
            .is_err()
    );
}

#[test]
fn what_waits_stays_for_whoever_may_have_it_when_the_connection_is_judged_or_told_to_go() {
    let router = router(MqttConfig::default());
    let handle = open(&router, "a", 60);
    subscribe(&router, &handle, "t", QoS::AtLeastOnce, 1);
    publish(&router, "t", QoS::AtLeastOnce, false, "x");
    handle.outbox().rejudge();
    let (taken, deliveries) = take_at(&handle, Position(0));
    assert!(taken.rejudge && taken.more && deliveries.is_empty());
    handle.end(End {
        reason_code: ReasonCode::NotAuthorized,
        reason: "revoked".into(),
    });
    let (taken, deliveries) = take_at(&handle, Position(0));
    assert!(taken.end.is_some() && deliveries.is_empty());
    assert_eq!(payloads(&handle), ["x"]);
}

#[test]
fn messages_too_far_apart_for_their_identifiers_do_not_leave_together() {
    let mut mqtt = MqttConfig::default();
    mqtt.queue.messages = 100_000;
    let router = router(mqtt);
    let handle = open(&router, "a", 60);
    subscribe(&router, &handle, "t", QoS::AtLeastOnce, 1);
    for number in 0..40_000 {
        publish(&router, "t", QoS::AtLeastOnce, false, &number.to_string());
    }
    // What was in between is withdrawn.
    let mut number = 0;
    handle.outbox().withdraw(|_| {
        number += 1;
        number == 1 || number == 40_000
    });
    let mut inflight = crate::session::Inflight::default();
    for expected in ["0", "39999"] {
        let mut deliveries = Vec::new();
        let room = Room {
            reach: inflight.reach(),
            committed: Position(0),
            window: usize::MAX,
            bytes: usize::MAX,
        };
        handle
            .outbox()
            .take(room, usize::MAX, &mut deliveries, Waker::noop());
        let [delivery] = deliveries.try_into().unwrap();
        assert_eq!(delivery.message.payload(), expected);
        let sequence = delivery.sequence;
        let identifier = inflight
            .insert(sequence, crate::session::Outgoing::PubAck(delivery))
            .unwrap();
        inflight.remove(identifier);
    }
}

#[test]
fn lim_05_a_subscription_keeps_no_packet() {
    let router = router(MqttConfig::default());
    let handle = open(&router, "reader", 60);
    let packet = Bytes::from([&b"$share/g/a/b"[..], &[b'x'; 1000]].concat());
    for filter in [packet.slice(9..12), packet.slice(..12)] {
        let subscription =
            Subscription::new(Text::new(filter).unwrap(), TopicLimits::default()).unwrap();
        let permit = handle
            .rights()
            .permit_subscribe(&subscription, QoS::AtLeastOnce)
            .unwrap();
        let made = router.subscribe(&handle, permit, SubscriptionOptions::default(), None);
        assert!(made.is_ok());
    }
    assert_eq!(handle.subscription_count(), 2);
    assert!(packet.is_unique());
}

#[test]
fn lim_05_what_has_expired_holds_no_place_in_a_full_queue() {
    let begin = Instant::now();
    for when_full in [WhenFull::DropNewest, WhenFull::DropOldest] {
        // In memory, and behind its window in the store.
        for messages in [2, WINDOW_MESSAGES + 10] {
            let queue = QueueConfig {
                messages,
                when_full,
                ..QueueConfig::default()
            };
            let mqtt = MqttConfig {
                queue,
                ..MqttConfig::default()
            };
            let store = Arc::new(Paper::default());
            let router = router_over(mqtt, &store);
            let handle = open(&router, "reader", 3600);
            subscribe(&router, &handle, "t", QoS::AtLeastOnce, 1);
            depart(&router, &handle, 3600, None);
            let send = |payload: &'static str, expiry: Option<u32>, later: u64| {
                let rights = router.rights(&subject("password", "publisher"));
                let topic = TopicName::new(text("t"), TopicLimits::default()).unwrap();
                let permit = rights
                    .permit_publish(topic, QoS::AtLeastOnce, false)
                    .unwrap();
                let properties = crate::mqtt::PublishProperties {
                    message_expiry_interval: expiry,
                    ..Default::default()
                };
                let content = Content::from_session(
                    SessionId(0),
                    Bytes::from_static(payload.as_bytes()),
                    Some(Box::new(properties)),
                );
                let now = begin + Duration::from_secs(later);
                router
                    .publish(
                        &permit,
                        content,
                        &mut RouteCache::default(),
                        now,
                        &mut Wakes::default(),
                    )
                    .unwrap();
            };
            send("first", Some(100), 0);
            for _ in 1..messages {
                send("brief", Some(1), 0);
            }
            assert_eq!(handle.outbox().load().0, messages);
            send("late", None, 2);
            let what = format!("{when_full:?} {messages}");
            assert!(router.counters().expired_messages.value() > 0, "{what}");
            assert_eq!(router.counters().dropped.value(), 0, "{what}");
            let rows = store.rows(&handle);
            let last = messages as u64 + 1;
            assert!(
                rows.first() == Some(&1) && rows.last() == Some(&last),
                "{what}"
            );
        }
    }
}

/// One old message that nobody acknowledges must not cost a retained one its delivery.
#[test]
fn a_retained_message_too_far_ahead_for_its_identifier_waits_in_the_queue() {
    let mut mqtt = MqttConfig::default();
    mqtt.queue.messages = 100_000;
    let router = router(mqtt);
    publish(&router, "kept", QoS::AtLeastOnce, true, "retained");
    let handle = open(&router, "reader", 0);
    subscribe(&router, &handle, "t", QoS::AtLeastOnce, 1);
    let mut inflight = crate::session::Inflight::default();
    for number in 0..20_000 {
        publish(&router, "t", QoS::AtLeastOnce, false, "x");
        for delivery in take(&handle) {
            if number == 0 {
                let outgoing = crate::session::Outgoing::PubAck(delivery);
                assert!(inflight.insert(1, outgoing).is_some());
            }
        }
    }
    let mut replay = subscribe(&router, &handle, "kept", QoS::AtLeastOnce, 2).unwrap();
    let mut taken = Vec::new();
    let space = (64, inflight.reach());
    let _goes_on = router.replay(&handle, &mut replay, space, Instant::now(), &mut taken);
    assert!(taken.is_empty(), "no identifier is free for it");
    let first = crate::mqtt::PacketIdentifier::MIN;
    assert!(inflight.remove(first).is_some());
    assert_eq!(payloads(&handle), ["retained"]);
}
