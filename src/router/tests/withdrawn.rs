//! Rights that change while something they permitted is under way (POL-6).

use super::*;
use crate::router::{SubscribeError, WithheldKind};

fn subscription(filter: &str) -> Subscription {
    Subscription::new(text(filter), TopicLimits::default()).unwrap()
}

const GROUPED: &str = "version: 1\npolicies:\n  - id: readers\n    who: { group: readers }\n    allow:\n      - subscribe: \"#\"\n";

#[test]
fn pol_06_a_subscription_permitted_before_a_change_is_made_by_the_rights_behind_it() {
    type Change = fn(&Router, &Arc<SessionHandle>);
    let reload: Change = |router, _| {
        router.replace(policies(&format!("{ALLOW}{DENY}")), MqttConfig::default());
    };
    let regroup: Change = |router, handle| {
        router.regroup(handle, |identity| {
            let mut regrouped = identity.clone();
            regrouped.groups.clear();
            Some(regrouped)
        });
    };
    let reidentify: Change = |router, handle| {
        let subject = Arc::clone(handle.rights().subject());
        let mut renewed = Subject::clone(&subject);
        renewed.identity.groups.clear();
        router.reidentify(handle, &Arc::new(renewed));
    };
    // With what is left of it: nothing, or whether each message is judged.
    let rows: [(&str, &str, Change, Option<bool>); 6] = [
        ("secret/#", ALLOW, reload, None),
        ("#", ALLOW, reload, Some(true)),
        ("open", ALLOW, reload, Some(false)),
        ("open", GROUPED, regroup, None),
        ("open", GROUPED, reidentify, None),
        ("open", GROUPED, |_, _| {}, Some(false)),
    ];
    for (row, (filter, rules, change, left)) in rows.into_iter().enumerate() {
        let router = router(MqttConfig::default());
        router.replace(policies(rules), MqttConfig::default());
        let mut subject = Subject::clone(&subject("password", "c"));
        subject.identity.groups = vec!["readers".into()];
        let rights = router.rights(&Arc::new(subject));
        let Claim::New(handle) = router.claim(&rights, false, 60, Instant::now()) else {
            panic!("row {row}: it is new");
        };
        let permit = rights
            .permit_subscribe(&subscription(filter), QoS::AtLeastOnce)
            .unwrap();
        change(&router, &handle);
        let options = SubscriptionOptions::default();
        let made = router.subscribe(&handle, permit, options, None);
        let kept = handle.subscriptions().first().map(|kept| kept.1.checked);
        assert_eq!(kept, left, "row {row}: {filter}");
        match made {
            Ok(made) => assert_eq!(made.permit.generation(), handle.rights().generation()),
            Err(error) => {
                assert!(matches!(error, SubscribeError::Denied(_)), "row {row}");
                assert!(left.is_none(), "row {row}: {error}");
            }
        }
        let matched = publish_to(&router, filter);
        assert_eq!(matched, left.is_some(), "row {row}: {filter}");
    }
}

/// Whether somebody subscribed to it.
fn publish_to(router: &Router, filter: &str) -> bool {
    let topic = TopicName::new(text(&filter.replace('#', "x")), TopicLimits::default()).unwrap();
    let route = super::super::route::Route::find(&router.index.read(), &topic, SessionId(0));
    !route.is_empty()
}

/// What a step of a replay brings, whichever way it goes.
fn step(
    router: &Router,
    handle: &Arc<SessionHandle>,
    replay: &mut Replay,
    room: usize,
) -> (bool, Vec<String>) {
    let mut taken = Vec::new();
    let goes_on = router.replay(
        handle,
        replay,
        (room, Reach::default()),
        Instant::now(),
        &mut taken,
    );
    taken.extend(take(handle));
    let topics = taken
        .iter()
        .map(|delivery| delivery.message.topic().as_str().to_owned());
    (goes_on, topics.collect())
}

/// Retained messages of which the second is a secret.
fn retain_three(router: &Router) {
    for topic in ["a", "secret/x", "z"] {
        publish(router, topic, QoS::AtLeastOnce, true, "x");
    }
}

/// Nobody may read secrets from here on; who wrote them may go on.
fn reload(router: &Router) {
    let deny = "    deny:\n      - subscribe: \"secret/#\"\n";
    router.replace(policies(&format!("{ALLOW}{deny}")), MqttConfig::default());
}

#[test]
fn pol_06_a_replay_under_way_brings_nothing_that_a_reload_forbids() {
    // With a session expiry interval, and whether the client is away during the reload.
    for (filter, expiry, away) in [
        ("#", 0, false),
        ("#", 60, false),
        ("#", 60, true),
        ("secret/#", 60, false),
        ("secret/#", 60, true),
    ] {
        let row = format!("{filter}, expiry {expiry}, away {away}");
        let router = router_over(MqttConfig::default(), &Arc::new(Paper::default()));
        retain_three(&router);
        let handle = open(&router, "late", expiry);
        let mut replay = subscribe(&router, &handle, filter, QoS::AtLeastOnce, 1).unwrap();
        if filter == "#" {
            assert_eq!(
                step(&router, &handle, &mut replay, 1),
                (true, vec!["a".to_owned()])
            );
        }
        if away {
            let departure = Departure {
                parked: Parked::new(crate::session::Carried::default(), vec![replay]),
                session_expiry_interval: expiry,
                will: None,
            };
            router.depart(&handle, departure, Instant::now());
            reload(&router);
            let rights = Arc::clone(&handle.rights());
            let Claim::Resumed(_, mut parked) =
                router.claim(&rights, false, expiry, Instant::now())
            else {
                panic!("{row}: it was kept")
            };
            let Some(kept) = parked.replays.pop() else {
                assert_eq!(filter, "secret/#", "{row}");
                continue;
            };
            replay = kept;
        } else {
            reload(&router);
        }
        let left: &[&str] = if filter == "#" { &["z"] } else { &[] };
        let (goes_on, topics) = step(&router, &handle, &mut replay, 64);
        assert_eq!(
            (goes_on, topics),
            (
                false,
                left.iter().map(|topic| (*topic).to_owned()).collect()
            ),
            "{row}"
        );
    }
}

#[test]
fn pol_06_a_reload_in_the_middle_of_a_step_is_in_time_for_what_the_step_found() {
    let store = Arc::new(Paper::default());
    let router = Arc::new(router_over(MqttConfig::default(), &store));
    retain_three(&router);
    let handle = open(&router, "durable", 60);
    let mut replay = subscribe(&router, &handle, "#", QoS::AtLeastOnce, 1).unwrap();
    let others = Arc::clone(&router);
    store.meanwhile("publish", move || reload(&others));
    let (goes_on, topics) = step(&router, &handle, &mut replay, 64);
    assert_eq!((goes_on, topics.join(" ")), (false, "a z".to_owned()));
    assert_eq!(store.rows(&handle), [1, 3], "nor after a restart");
}

#[test]
fn pol_06_a_replay_goes_on_with_the_quality_that_is_left() {
    const NARROW: &str = "version: 1\npolicies:\n  - id: narrow\n    who: { any: true }\n    allow:\n      - publish: \"#\"\n      - subscribe: \"#\"\n        qos: [0]\n";
    let router = router(MqttConfig::default());
    retain_three(&router);
    let handle = open(&router, "late", 0);
    let mut replay = subscribe(&router, &handle, "#", QoS::AtLeastOnce, 1).unwrap();
    let mut qualities = Vec::new();
    for _ in 0..3 {
        let mut taken = Vec::new();
        router.replay(
            &handle,
            &mut replay,
            (1, Reach::default()),
            Instant::now(),
            &mut taken,
        );
        qualities.extend(taken.iter().map(|delivery| delivery.qos));
        router.replace(policies(NARROW), MqttConfig::default());
    }
    assert_eq!(
        qualities,
        [QoS::AtLeastOnce, QoS::AtMostOnce, QoS::AtMostOnce]
    );
}

#[test]
fn pol_06_a_verdict_of_before_a_reload_passes_nothing_behind_it() {
    let router = router(MqttConfig::default());
    let handle = open(&router, "publisher", 0);
    let mut rights = Rights::of(&handle);
    let topic = TopicName::new(text("secret/x"), TopicLimits::default()).unwrap();
    let mut publish = || rights.permit_publish(&handle, &topic, QoS::AtLeastOnce, false);
    let judged_now =
        |permitted: Result<Judged, _>| permitted.map(|permit| matches!(permit, Judged::Now(_)));
    assert_eq!(judged_now(publish()), Ok(true));
    assert_eq!(judged_now(publish()), Ok(false), "remembered");
    // The connection was asked to judge itself, and has not looked yet.
    router.replace(policies(&format!("{ALLOW}{DENY}")), MqttConfig::default());
    assert!(publish().is_err());
    router.replace(policies(ALLOW), MqttConfig::default());
    assert_eq!(judged_now(publish()), Ok(true));
    // The same policies for other groups.
    router.replace(
        policies(&GROUPED.replace("subscribe", "publish")),
        MqttConfig::default(),
    );
    assert!(publish().is_err());
    let group = |groups: &[&str]| {
        let groups: Vec<Arc<str>> = groups.iter().map(|group| Arc::from(*group)).collect();
        router.regroup(&handle, |identity| {
            let mut regrouped = identity.clone();
            regrouped.groups.clone_from(&groups);
            Some(regrouped)
        });
    };
    group(&["readers"]);
    assert_eq!(judged_now(publish()), Ok(true));
    group(&[]);
    assert!(publish().is_err());
}

#[test]
fn what_is_withheld_is_told_once_for_each_session_between_two_looks() {
    let router = router(MqttConfig::default());
    let handle = open(&router, "reader", 0);
    let deny = "    deny:\n      - subscribe: \"secret/#\"\n      - publish: \"will\"\n";
    router.replace(policies(&format!("{ALLOW}{deny}")), MqttConfig::default());
    subscribe(&router, &handle, "#", QoS::AtLeastOnce, 1);
    for _ in 0..2 {
        for number in 0..3 {
            publish(
                &router,
                "secret/x",
                QoS::AtMostOnce,
                false,
                &number.to_string(),
            );
        }
        let told = router.take_withheld();
        let [one] = told.as_slice() else {
            panic!("{told:?}");
        };
        assert_eq!(one.of, WithheldKind::Delivery);
        assert_eq!((one.topic.as_str(), one.qos), ("secret/x", QoS::AtMostOnce));
        assert_eq!(&*one.subject.client_id, "reader");
        assert!(one.denial.rule().is_some(), "{}", one.denial);
    }
    assert_eq!(router.counters().withheld.value(), 6);
    assert!(router.take_withheld().is_empty());
    // Permitted when its client came, and no more when it fell due.
    let will = Will {
        qos: QoS::AtMostOnce,
        retain: false,
        topic: TopicName::new(text("will"), TopicLimits::default()).unwrap(),
        payload: Bytes::from_static(b"gone"),
        will_delay_interval: None,
        properties: None,
    };
    depart(&router, &handle, 0, Some(will));
    let told = router.take_withheld();
    let [one] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!((one.of, one.topic.as_str()), (WithheldKind::Will, "will"));
}
