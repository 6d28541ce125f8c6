//! What a replay of retained messages costs those who have nothing to do with it.

use super::*;
use std::sync::mpsc;

/// A message that the author's own connection retains.
fn retain(router: &Router, author: &str, topic: &str) {
    let rights = router.rights(&subject("password", author));
    let topic = TopicName::new(text(topic), TopicLimits::default()).unwrap();
    let permit = rights.permit_publish(topic, QoS::AtMostOnce, true).unwrap();
    let content = Content::from_session(SessionId(0), Bytes::from_static(b"x"), None);
    let (mut cache, mut wakes) = (RouteCache::default(), Wakes::default());
    router
        .publish(&permit, content, &mut cache, Instant::now(), &mut wakes)
        .unwrap();
}

#[test]
fn who_retains_does_not_wait_for_a_replay_that_judges() {
    let router = Arc::new(router(MqttConfig::default()));
    retain(&router, "a", "t/a");
    let handle = open(&router, "late", 0);
    let mut replay = subscribe(&router, &handle, "#", QoS::AtMostOnce, 1).unwrap();
    let mut taken = 0;
    let policies = router.policies();
    let window = (64, QoS::AtMostOnce);
    let now = Instant::now();
    router
        .retained
        .resume(&mut replay, window, Some(&policies), now, |_| {
            taken += 1;
            let (others, (done, waits)) = (Arc::clone(&router), mpsc::sync_channel(1));
            std::thread::spawn(move || {
                retain(&others, "b", "t/b");
                done.send(()).unwrap();
            });
            let retained = waits.recv_timeout(Duration::from_secs(60));
            assert!(retained.is_ok(), "it waits for the replay");
            true
        });
    assert_eq!(taken, 1);
}

#[test]
fn pol_07_a_step_judges_a_few_authors_and_every_message_is_judged_once() {
    const AUTHORS: usize = 500;
    let router = router(MqttConfig::default());
    for number in 0..AUTHORS {
        let author = format!("author-{number:03}");
        for part in ["a", "b"] {
            retain(&router, &author, &format!("t/{number:03}/{part}"));
        }
    }
    let handle = open(&router, "late", 0);
    // Every second author loses its right.
    let odd = "  - id: odd\n    who: { client_id: [\"author-*1\", \"author-*3\", \"author-*5\", \"author-*7\", \"author-*9\"] }\n    deny:\n      - publish: \"t/#\"\n";
    router.replace(policies(&format!("{ALLOW}{odd}")), MqttConfig::default());
    for (round, steps) in [("judged now", 7..20), ("remembered", 1..2)] {
        let mut replay = subscribe(&router, &handle, "t/#", QoS::AtMostOnce, 1).unwrap();
        let (mut taken, mut done) = (Vec::new(), 1);
        while router.replay(
            &handle,
            &mut replay,
            (usize::MAX, Reach::default()),
            Instant::now(),
            &mut taken,
        ) {
            done += 1;
        }
        assert!(steps.contains(&done), "{round}: {done}");
        let topics: Vec<_> = taken
            .iter()
            .map(|delivery| delivery.message.topic().as_str().to_owned())
            .collect();
        let expected: Vec<_> = (0..AUTHORS)
            .step_by(2)
            .flat_map(|number| ["a", "b"].map(|part| format!("t/{number:03}/{part}")))
            .collect();
        assert_eq!(topics, expected, "{round}");
    }
}
