//! What two do at the same moment, in the order that used to go wrong.

use super::*;
use crate::router::store::{Restored, RestoredSession, Spilled};
use std::sync::atomic::{AtomicUsize, Ordering};

fn will(delay: u32) -> Will {
    Will {
        qos: QoS::AtLeastOnce,
        // So that the store is told of it.
        retain: true,
        topic: TopicName::new(text("will"), TopicLimits::default()).unwrap(),
        payload: Bytes::from_static(b"gone"),
        will_delay_interval: Some(delay),
        properties: None,
    }
}

#[test]
fn ses_05_a_session_that_changes_hands_while_its_will_is_sent_keeps_its_new_record() {
    // Whether the one who comes back starts clean, and what is kept of the first session then.
    for (clean_start, delay, kept) in [
        (false, 0, true),
        (false, 5, true),
        (true, 0, false),
        (true, 5, false),
    ] {
        let row = format!("clean start {clean_start}, delay {delay}");
        let store = Arc::new(Paper::default());
        let router = Arc::new(router_over(MqttConfig::default(), &store));
        let handle = open(&router, "mortal", 60);
        router.keep(&handle, 60, Some(&will(delay)));
        let others = Arc::clone(&router);
        let rights = Arc::clone(&handle.rights());
        store.meanwhile("publish", move || {
            let claim = others.claim(&rights, clean_start, 90, Instant::now());
            let (Claim::New(handle) | Claim::Resumed(handle, _)) = claim else {
                panic!("nobody is there");
            };
            others.keep(&handle, 90, Some(&will(7)));
        });
        depart(&router, &handle, 60, Some(will(delay)));
        router.handle_timeout(Instant::now() + Duration::from_secs(6));
        let record = store.record(&handle);
        assert_eq!(record.is_some(), kept, "{row}: rises again");
        let new = router.registry().find("mortal").unwrap();
        let record = store.record(&new).unwrap();
        assert!(record.connected, "{row}");
        assert_eq!(record.session_expiry_interval, 90, "{row}");
        assert!(record.will.is_some(), "{row}: the new will is lost");
    }
}

#[test]
fn a_message_that_is_retained_while_somebody_subscribes_reaches_him() {
    let store = Arc::new(Paper::default());
    let router = Arc::new(router_over(MqttConfig::default(), &store));
    let handle = open(&router, "late", 60);
    publish(&router, "t", QoS::AtLeastOnce, true, "old");
    let (others, late) = (Arc::clone(&router), Arc::clone(&handle));
    let (sender, replay) = std::sync::mpsc::sync_channel(1);
    // The publisher asks whether the store takes anything; meanwhile the SUBSCRIBE comes in and is done.
    store.meanwhile("accepting", move || {
        let replay = subscribe(&others, &late, "t", QoS::AtLeastOnce, 1);
        sender.send(replay).unwrap();
    });
    publish(&router, "t", QoS::AtLeastOnce, true, "new");
    let mut received = Vec::new();
    if let Some(mut replay) = replay.recv().unwrap() {
        let mut taken = Vec::new();
        router.replay(
            &handle,
            &mut replay,
            (64, Reach::default()),
            Instant::now(),
            &mut taken,
        );
    }
    received.extend(payloads(&handle));
    assert!(received.contains(&"new".to_owned()), "{received:?}");
}

#[test]
fn lim_05_a_session_that_has_ended_holds_no_place_whoever_remembers_it() {
    let mut config = LimitsConfig::default();
    config.state.sessions_per_user = crate::limits::Limit::At(crate::limits::Count::new(1));
    let limits = Arc::new(Limits::new(config, [1; 4], Instant::now()));
    let store = Arc::new(Paper::default());
    let router = Router::new(policies(ALLOW), MqttConfig::default(), store as _, limits);
    let sessions = || router.limits.standing(Instant::now()).sessions;
    // A publisher that remembers where its messages go.
    let mut cache = RouteCache::default();
    let mut publish = || {
        let rights = router.rights(&subject("certificate", "publisher"));
        let topic = TopicName::new(text("t"), TopicLimits::default()).unwrap();
        let permit = rights
            .permit_publish(topic, QoS::AtMostOnce, false)
            .unwrap();
        let content = Content::from_session(SessionId(0), Bytes::from_static(b"x"), None);
        let (now, wakes) = (Instant::now(), &mut Wakes::default());
        let published = router.publish(&permit, content, &mut cache, now, wakes);
        published.unwrap().matched
    };
    for (clean_start, expiry) in [(false, 0), (false, 60), (true, 60), (true, 0)] {
        let rights = router.rights(&subject("password", "c"));
        let Claim::New(handle) = router.claim(&rights, clean_start, expiry, Instant::now()) else {
            panic!("clean start {clean_start}, expiry {expiry}: its place is free");
        };
        subscribe(&router, &handle, "t", QoS::AtMostOnce, 1);
        assert!(publish());
        assert_eq!(sessions(), 1);
        depart(&router, &handle, expiry, None);
        assert_eq!(sessions(), u64::from(expiry > 0));
    }
    assert_eq!(sessions(), 0);
}

#[test]
fn what_a_member_may_not_have_any_more_goes_to_the_others_of_its_group() {
    const WITHOUT_A: &str =
        "  - id: not-a\n    who: { client_id: a }\n    deny:\n      - subscribe: \"secret/#\"\n";
    let stricter = || policies(&format!("{ALLOW}{WITHOUT_A}"));
    for (filter, restarted) in [
        ("$share/g/secret/x", false),
        ("$share/g/#", false),
        ("$share/g/secret/x", true),
        ("$share/g/#", true),
    ] {
        let row = format!("{filter}, restarted {restarted}");
        let store = Arc::new(Paper::default());
        let mut router = router_over(MqttConfig::default(), &store);
        let members = ["a", "b"].map(|client_id| {
            let handle = open(&router, client_id, 60);
            router.keep(&handle, 60, None);
            handle
        });
        let [a, b] = &members;
        subscribe(&router, a, filter, QoS::AtLeastOnce, 1);
        let expected: Vec<String> = (0..50).map(|number| number.to_string()).collect();
        for number in &expected {
            publish(&router, "secret/x", QoS::AtLeastOnce, false, number);
        }
        subscribe(&router, b, filter, QoS::AtLeastOnce, 1);
        assert_eq!(a.outbox().held(), 50);
        if restarted {
            let sessions = members.each_ref().map(|handle| RestoredSession {
                record: store.record(handle).unwrap(),
                subscriptions: handle.subscriptions(),
                replaying: Vec::new(),
                received: Vec::new(),
                handed_over: Vec::new(),
                sent: 0,
                window: take(handle),
                spilled: Spilled::default(),
                last_sequence: 50,
            });
            router = router_over(MqttConfig::default(), &store);
            router.policies.store(stricter());
            let restored = Restored {
                sessions: sessions.into(),
                retained: Vec::new(),
                next_session: 9,
            };
            router.restore(restored, Instant::now());
        } else {
            router.replace(stricter(), MqttConfig::default());
        }
        let now = |handle: &SessionHandle| router.registry().find(handle.client_id()).unwrap();
        assert_eq!(payloads(&now(b)), expected, "{row}");
        assert!(payloads(&now(a)).is_empty(), "{row}");
        assert!(store.rows(a).is_empty(), "{row}");
        assert_eq!(store.rows(b).len(), 50, "{row}");
        assert_eq!(router.counters().dropped.value(), 0, "{row}");
    }
}

#[derive(Default)]
struct Bell(AtomicUsize);

impl std::task::Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_page_that_comes_too_late_wakes_whoever_relied_on_it() {
    let store = Arc::new(Paper::default());
    let router = router_over(MqttConfig::default(), &store);
    let handle = open(&router, "durable", 60);
    subscribe(&router, &handle, "t", QoS::AtLeastOnce, 1);
    // More than a connected session's window, of such a size that few of them fill the window of one that is away.
    let payload = "x".repeat(4096);
    for _ in 0..1100 {
        publish(&router, "t", QoS::AtLeastOnce, false, &payload);
    }
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut sequences = Vec::new();
    let mut look = |most: usize| {
        let mut deliveries = Vec::new();
        let room = Room {
            reach: Reach::default(),
            committed: Position(0),
            window: most,
            bytes: usize::MAX,
        };
        let taken = handle.outbox().take(room, most, &mut deliveries, &waker);
        sequences.extend(deliveries.iter().map(|delivery| delivery.sequence));
        taken
    };
    while handle.outbox().held() > 100 {
        let most = handle.outbox().held() - 100;
        if let Some(wanted) = look(most).wanted {
            router.fetch(&handle, wanted);
        }
    }
    // The disk takes its time. The client goes, the window shrinks, the client comes back and takes all of it.
    depart(&router, &handle, 60, None);
    assert!(handle.outbox().held() < 100);
    let rights = Arc::clone(&handle.rights());
    let claim = router.claim(&rights, false, 60, Instant::now());
    assert!(matches!(claim, Claim::Resumed(..)));
    loop {
        let taken = look(usize::MAX);
        assert!(taken.wanted.is_none(), "somebody asks already");
        if !taken.rejudge {
            break;
        }
    }
    assert_eq!(
        (handle.outbox().held(), bell.0.load(Ordering::Relaxed)),
        (0, 0)
    );
    assert_eq!(store.answer(), 1);
    assert_eq!(
        bell.0.load(Ordering::Relaxed),
        1,
        "nobody else will wake it"
    );
    while let Some(wanted) = look(usize::MAX).wanted {
        router.fetch(&handle, wanted);
        store.answer();
    }
    look(usize::MAX);
    assert_eq!(sequences, (1..=1100).collect::<Vec<u64>>());
}
