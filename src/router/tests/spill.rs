//! What is only in the store keeps its place in the order, whatever is in memory behind it.

use super::*;

/// All that leaves, by sequence, while pages come in between.
fn drain(router: &Router, store: &Paper, handle: &Arc<SessionHandle>) -> Vec<u64> {
    let mut seen = Vec::new();
    for _round in 0..1000 {
        let (taken, deliveries) = take_at(handle, Position(0));
        seen.extend(deliveries.iter().map(|delivery| delivery.sequence));
        if let Some(wanted) = taken.wanted {
            router.fetch(handle, wanted);
        }
        let answered = store.answer();
        if !taken.rejudge && deliveries.is_empty() && answered == 0 {
            break;
        }
    }
    seen
}

/// The first place at which the sequences are not those expected.
fn first_astray(
    seen: &[u64],
    expected: std::ops::RangeInclusive<u64>,
) -> Option<(Option<u64>, Option<u64>)> {
    let seen = seen.iter().copied().map(Some).chain([None]);
    seen.zip(expected.map(Some).chain([None]))
        .find(|(seen, expected)| seen != expected)
}

fn resume(router: &Router, handle: &SessionHandle) -> (Arc<SessionHandle>, Box<Parked>) {
    match router.claim(&handle.rights(), false, 60, Instant::now()) {
        Claim::Resumed(handle, parked) => (handle, parked),
        Claim::New(_) | Claim::Wait(_) | Claim::Refused(_) => panic!("it was kept"),
    }
}

/// Messages of shared subscriptions are always in memory: those behind the spill wait for it, however many they are.
#[test]
fn nothing_leaves_before_what_is_older_and_only_in_the_store() {
    for shared_of_ten in [0, 1, 5, 9] {
        let store = Arc::new(Paper::default());
        let router = router_over(MqttConfig::default(), &store);
        let handle = open(&router, "durable", 60);
        subscribe(&router, &handle, "plain", QoS::AtLeastOnce, 1);
        subscribe(&router, &handle, "$share/g/shared", QoS::AtLeastOnce, 2);
        depart(&router, &handle, 60, None);
        for number in 0..3000 {
            let topic = if number % 10 < shared_of_ten {
                "shared"
            } else {
                "plain"
            };
            publish(&router, topic, QoS::AtLeastOnce, false, "x");
        }
        let (handle, _) = resume(&router, &handle);
        let seen = drain(&router, &store, &handle);
        assert_eq!(
            first_astray(&seen, 1..=3000),
            None,
            "{shared_of_ten} of ten are shared"
        );
        assert_eq!(handle.outbox().load(), (0, 0));
    }
}

#[test]
fn a_page_brings_nothing_that_is_in_flight_after_a_restart() {
    const SENT: u64 = 10;
    const SHARED: u64 = WINDOW_MESSAGES as u64;
    const SPILLED: u64 = 400;
    let store = Arc::new(Paper::default());
    let router = router_over(MqttConfig::default(), &store);
    let handle = open(&router, "durable", 60);
    router.keep(&handle, 60, None);
    subscribe(&router, &handle, "plain", QoS::AtLeastOnce, 1);
    subscribe(&router, &handle, "$share/g/shared", QoS::AtLeastOnce, 2);
    for (topic, count) in [("plain", SENT), ("shared", SHARED), ("plain", SPILLED)] {
        for _ in 0..count {
            publish(&router, topic, QoS::AtLeastOnce, false, "x");
        }
    }
    // The rows of the shared subscription are all that the window holds of what was not sent.
    let mut window = store.deliveries(&handle);
    let spilled = window.split_off((SENT + SHARED) as usize);
    let session = RestoredSession {
        record: store.record(&handle).unwrap(),
        subscriptions: handle.subscriptions(),
        replaying: Vec::new(),
        received: Vec::new(),
        handed_over: Vec::new(),
        sent: SENT,
        window,
        spilled: Spilled {
            messages: spilled.len(),
            bytes: spilled
                .iter()
                .map(|delivery| delivery.message.queued_bytes())
                .sum(),
        },
        last_sequence: SENT + SHARED + SPILLED,
    };
    let next = router_over(MqttConfig::default(), &store);
    let restored = Restored {
        sessions: vec![session],
        retained: Vec::new(),
        next_session: 2,
    };
    next.restore(restored, Instant::now());
    let (handle, parked) = resume(&next, &handle);
    assert_eq!(parked.carried.inflight.len() as u64, SENT);
    let seen = drain(&next, &store, &handle);
    assert_eq!(
        first_astray(&seen, SENT + 1..=SENT + SHARED + SPILLED),
        None
    );
}
