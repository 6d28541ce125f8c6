//! What a restart gives back.

use super::*;
use crate::mqtt::{PacketIdentifier, PublishProperties, SubscriptionIdentifier, Will};
use std::sync::atomic::Ordering;

#[test]
fn a_session_comes_back_as_it_was() {
    let disk = Disk::default();
    let (store, restored) = open(&disk);
    assert!(restored.sessions.is_empty());
    assert_eq!(restored.next_session, 1);
    let at = Instant::now() + Duration::from_secs(600);
    let mut saved = record(7);
    saved.connected = false;
    saved.expires_at = Some(at);
    saved.will_at = Some(at);
    saved.will = Some(Box::new(Will {
        qos: QoS::ExactlyOnce,
        retain: true,
        topic: topic("wills/7"),
        payload: "gone".into(),
        will_delay_interval: Some(30),
        properties: Some(Box::new(PublishProperties {
            message_expiry_interval: Some(60),
            content_type: Some(Text::try_from("text/plain").unwrap()),
            user_properties: vec![(Text::try_from("k").unwrap(), Text::try_from("v").unwrap())],
            ..PublishProperties::default()
        })),
    }));
    store.save(record(7));
    store.save(saved.clone());
    let wild = Subscribed {
        options: SubscriptionOptions {
            maximum_qos: QoS::ExactlyOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: crate::mqtt::RetainHandling::DoNotSend,
        },
        identifier: SubscriptionIdentifier::new(268_435_455),
        checked: true,
    };
    store.subscribe(SessionId(7), &filter("a/#"), wild);
    store.subscribe(
        SessionId(7),
        &filter("$share/g/b/+"),
        subscribed(QoS::AtLeastOnce),
    );
    store.subscribe(SessionId(7), &filter("c"), wild);
    store.unsubscribe(SessionId(7), &filter("c"));
    let identifier = |number| PacketIdentifier::new(number).unwrap();
    let held = message("held");
    store.publish(Accepted {
        message: &held,
        retain: None,
        deliveries: Vec::new(),
        received: Some((SessionId(7), identifier(65_535))),
    });
    store.publish(Accepted {
        message: &held,
        retain: None,
        deliveries: Vec::new(),
        received: Some((SessionId(7), identifier(3))),
    });
    settle_down(&store, store.release(SessionId(7), identifier(3)));
    store.sent(SessionId(7), 41);
    store.sent(SessionId(7), 40);
    store.close();

    let (_store, restored) = open(&disk);
    assert_eq!(restored.next_session, 8);
    let session = find(&restored, 7);
    let record = &session.record;
    assert_eq!(
        format!("{:?}", record.subject),
        format!("{:?}", saved.subject)
    );
    assert_eq!(record.session_expiry_interval, 3_600);
    assert!(!record.connected);
    assert_eq!(record.will, saved.will);
    for read in [record.expires_at, record.will_at] {
        let off = read
            .unwrap()
            .saturating_duration_since(at)
            .max(at.saturating_duration_since(read.unwrap()));
        assert!(off < Duration::from_secs(5), "{off:?}");
    }
    assert_eq!(session.sent, 41);
    assert_eq!(session.last_sequence, 41);
    assert_eq!(session.received, [identifier(65_535)]);
    let subscriptions: Vec<_> = session
        .subscriptions
        .iter()
        .map(|(subscription, subscribed)| (subscription.to_string(), format!("{subscribed:?}")))
        .collect();
    assert_eq!(
        subscriptions,
        [
            (
                "$share/g/b/+".to_owned(),
                format!("{:?}", subscribed(QoS::AtLeastOnce))
            ),
            ("a/#".to_owned(), format!("{wild:?}")),
        ]
    );
}

#[test]
fn a_replay_of_retained_messages_goes_on_where_it_was_until_it_is_over() {
    let disk = Disk::default();
    let (store, _) = open(&disk);
    store.save(record(7));
    let wanted = subscribed(QoS::AtLeastOnce);
    let tell = |subscription, as_of, after: Option<&str>| {
        let after = after.map(topic);
        let replaying = Replaying { as_of, after };
        store.subscribe_replaying(SessionId(7), &filter(subscription), wanted, replaying)
    };
    tell("begun/#", 5, None);
    tell("over", 6, None);
    tell("half/+/#", 7, None);
    tell("half/+/#", 7, Some("half/ü/1"));
    store.subscribe(SessionId(7), &filter("over"), wanted);
    retain_version(&store, &message_to("half/x", "old", None), 7);
    retain_version(&store, &message_to("half/y", "new", None), 8);
    flush(&store);
    let (_store, restored) = open(&disk.after_kill());
    let session = find(&restored, 7);
    assert_eq!(session.subscriptions.len(), 3);
    let expected = [(5, "begun/#", None), (7, "half/+/#", Some("half/ü/1"))];
    let expected = expected.map(|(as_of, subscription, after)| {
        let after = after.map(topic);
        (filter(subscription), Replaying { as_of, after })
    });
    assert_eq!(session.replaying, expected);
    let versions: Vec<_> = restored
        .retained
        .iter()
        .map(|(_, version)| *version)
        .collect();
    assert_eq!(versions, [7, 8]);
}

#[test]
fn a_message_comes_back_as_it_was() {
    let disk = Disk::default();
    let (store, _) = open(&disk);
    store.save(record(1));
    let text = |text: &str| Text::try_from(text).unwrap();
    let published = Arc::new(Message::restore(StoredMessage {
        topic: topic("a/ü"),
        qos: QoS::ExactlyOnce,
        retain: true,
        payload: vec![0, 159, 146, 150].into(),
        properties: Some(Box::new(PublishProperties {
            message_expiry_interval: Some(900),
            response_topic: Some(topic("reply")),
            correlation_data: Some(vec![1, 2, 3].into()),
            user_properties: vec![(text("k"), text("1")), (text("k"), text("2"))],
            ..PublishProperties::default()
        })),
        author: subject("author"),
        publisher: SessionId(9),
        expires_at: Some(Instant::now() + Duration::from_secs(900)),
    }));
    let mut first = delivery(&published, 1, 1);
    first.qos = QoS::ExactlyOnce;
    first.retain = true;
    first.subscription_identifiers = Some(
        vec![
            SubscriptionIdentifier::MIN,
            SubscriptionIdentifier::new(300).unwrap(),
        ]
        .into(),
    );
    first.share = Some(Arc::new(filter("$share/g/a/#")));
    let position = store.publish(Accepted {
        message: &published,
        retain: Some(1),
        deliveries: vec![first.clone()],
        received: None,
    });
    settle_down(&store, position);
    drop(store);

    let (_store, restored) = open(&disk);
    let owner = &find(&restored, 1).record.subject.identity;
    assert_eq!(owner.acl, subject("client-1").identity.acl);
    let read = &find(&restored, 1).window[0];
    assert_eq!(
        (
            read.qos,
            read.retain,
            read.sequence,
            &read.share,
            &read.subscription_identifiers
        ),
        (
            first.qos,
            first.retain,
            1,
            &first.share,
            &first.subscription_identifiers
        )
    );
    for (read, groups) in [(&read.message, 0), (&restored.retained[0].0, 2)] {
        assert_eq!(read.topic(), published.topic());
        assert_eq!((read.qos(), read.retain()), (QoS::ExactlyOnce, true));
        assert_eq!(read.payload(), published.payload());
        assert_eq!(read.properties(), published.properties());
        assert_eq!(read.publisher(), SessionId(9));
        assert_eq!(
            read.author().identity.username,
            published.author().identity.username
        );
        assert_eq!(
            read.author().identity.groups.len(),
            groups,
            "a retained message keeps its whole author"
        );
        if groups > 0 {
            let list = &published.author().identity.acl;
            assert!(list.is_some());
            assert_eq!(&read.author().identity.acl, list, "and his token's list");
        }
        let left = read.remaining_expiry(Instant::now()).unwrap();
        assert!((800..=900).contains(&left), "{left}");
    }
}

#[test]
fn retained_messages_are_replaced_cleared_and_expire() {
    let disk = Disk::default();
    let (store, _) = open(&disk);
    let soon = Instant::now() + Duration::from_millis(1);
    retain(&store, &message_to("replaced", "old", None));
    retain(&store, &message_to("cleared", "old", None));
    retain(&store, &message_to("expired", "old", Some(soon)));
    retain(&store, &message_to("renewed", "old", Some(soon)));
    flush(&store);
    retain(&store, &message_to("replaced", "new", None));
    retain(&store, &message_to("cleared", "", None));
    // Told late, of a message that has been replaced meanwhile; and of two in one commit the later one first.
    let gate = store.gate();
    retain_version(&store, &message_to("renewed", "new", None), 3);
    retain_version(&store, &message_to("renewed", "older", None), 2);
    store.forget_retained(&topic("renewed"), 1);
    retain_version(
        &store,
        &message_to("brief", "expired before it was written", Some(soon)),
        4,
    );
    store.forget_retained(&topic("brief"), 4);
    drop(gate);
    flush(&store);
    std::thread::sleep(Duration::from_millis(5));
    store.forget_retained(&topic("renewed"), 1);
    store.close();

    let (_store, restored) = open(&disk);
    let kept: Vec<_> = restored
        .retained
        .iter()
        .map(|(message, _)| (message.topic().as_str(), message.payload().as_ref()))
        .collect();
    assert_eq!(kept, [("renewed", &b"new"[..]), ("replaced", b"new")]);
}

#[test]
fn what_has_expired_is_dropped_and_a_will_is_not() {
    let disk = Disk::default();
    let (store, _) = open(&disk);
    let soon = Instant::now() + Duration::from_millis(1);
    for id in 1..=3 {
        let mut session = record(id);
        session.connected = false;
        session.expires_at = (id != 1).then_some(soon);
        session.will = (id == 3).then(|| {
            Box::new(Will {
                qos: QoS::AtMostOnce,
                retain: false,
                topic: topic("will"),
                payload: "x".into(),
                will_delay_interval: None,
                properties: None,
            })
        });
        store.save(session);
        store.subscribe(SessionId(id), &filter("a"), subscribed(QoS::AtLeastOnce));
        publish(&store, "kept", id, 1);
        let brief = message_to("a/b", "brief", Some(soon));
        accept(&store, &brief, vec![delivery(&brief, id, 2)]);
    }
    flush(&store);
    store.close();
    std::thread::sleep(Duration::from_millis(5));

    let (store, restored) = open(&disk);
    let ids: Vec<_> = restored
        .sessions
        .iter()
        .map(|session| session.record.id.0)
        .collect();
    assert_eq!(ids, [1, 3], "one with a will is kept until it is published");
    let session = find(&restored, 1);
    assert_eq!(payloads(&session.window), ["kept"]);
    assert_eq!(session.last_sequence, 2);
    flush(&store);
    store.close();
    let (_store, restored) = open(&disk);
    assert_eq!(restored.sessions.len(), 2);
    assert_eq!(
        restored.next_session, 4,
        "no session identifier is given twice"
    );
}

#[test]
fn what_is_told_after_the_end_is_not_kept_and_nobody_is_told_that_it_is() {
    let disk = Disk::default();
    let (store, _) = open(&disk);
    settle_down(&store, store.save(record(1)));
    let (kept, position) = publish(&store, "kept", 1, 1);
    settle_down(&store, position);
    // The moment between the word that it ends and the last commit.
    store.shared.stopping.store(true, Ordering::Release);
    store.settle(&kept);
    let (late, never) = publish(&store, "late", 1, 2);
    let gone = store.remove(SessionId(1));
    store.close();
    for position in [never, gone] {
        assert!(position > store.committed());
    }
    assert!(late.awaits(store.committed()).is_some());
    drop(store);
    let (_store, restored) = open(&disk);
    assert_eq!(payloads(&find(&restored, 1).window), ["kept"]);
}
