//! Rights that change while something they permitted is under way (POL-6).

use super::*;
use crate::router::SubscribeError;

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
