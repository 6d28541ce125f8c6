//! What a policy says besides allow and deny: audit mode, `on_deny`, limits; and what a permit carries.

use super::tables::{policies, somebody};
use crate::mqtt::QoS;
use crate::policy::{Attempt, Compiled, Policies};
use std::sync::Arc;

fn compiled(text: &str) -> Compiled {
    policies(text).compile(&Arc::new(somebody("pump-7")))
}

fn audited(compiled: &Compiled, topic: &str) -> (bool, Option<String>) {
    let topic = Attempt::topic(topic).unwrap();
    match compiled.permit_publish(topic, QoS::AtMostOnce, false) {
        Ok(permit) => (true, permit.audited().map(ToString::to_string)),
        Err(denial) => (false, denial.audited().map(ToString::to_string)),
    }
}

#[test]
fn audit_mode_tells_and_does_not_decide() {
    let compiled = compiled(
        "  - id: base\n    who: {any: true}\n    allow: [{publish: \"a/#\"}, {subscribe: \"a/#\"}]\n    deny: [{publish: a/never}]\n  - id: new-deny\n    who: {any: true}\n    mode: audit\n    deny: [{publish: a/x}, {subscribe: \"a/#\", qos: [2]}]\n  - id: new-allow\n    who: {any: true}\n    mode: audit\n    allow: [{publish: \"b/#\"}, {publish: a/never}, {subscribe: \"b/#\"}]\n    deny: [{publish: b/not}]\n",
    );
    let rows = [
        ("a/y", (true, None)),
        ("a/x", (true, Some("p.yaml:10 new-deny"))),
        ("b/y", (false, Some("p.yaml:14 new-allow"))),
        ("b/not", (false, None)),
        ("a/never", (false, None)),
        ("c", (false, None)),
    ];
    for (topic, (allowed, told)) in rows {
        assert_eq!(
            audited(&compiled, topic),
            (allowed, told.map(str::to_owned)),
            "{topic}"
        );
    }
    let subscription = Attempt::subscription("a/#").unwrap();
    let permit = compiled
        .permit_subscribe(&subscription, QoS::ExactlyOnce)
        .unwrap();
    assert_eq!(permit.maximum_qos(), QoS::ExactlyOnce);
    assert_eq!(permit.audited().unwrap().as_str(), "p.yaml:10 new-deny");
    let subscription = Attempt::subscription("b/c").unwrap();
    let denial = compiled
        .permit_subscribe(&subscription, QoS::AtMostOnce)
        .unwrap_err();
    assert_eq!(denial.audited().unwrap().as_str(), "p.yaml:14 new-allow");
    let topic = Attempt::topic("b/c").unwrap();
    assert!(!compiled.permits_delivery(&topic, QoS::AtMostOnce, false, None));
}

#[test]
fn on_deny_disconnect_closes_where_its_policy_speaks() {
    let strict = "  - id: own\n    who: {any: true}\n    on_deny: disconnect\n    allow: [{publish: \"a/#\"}]\n";
    let secret = "  - id: own\n    who: {any: true}\n    allow: [{publish: \"a/#\"}]\n  - id: secret\n    who: {any: true}\n    on_deny: disconnect\n    deny: [{publish: a/secret}]\n";
    let watched = "  - id: own\n    who: {any: true}\n    mode: audit\n    on_deny: disconnect\n    allow: [{publish: \"a/#\"}]\n";
    let rows = [
        (strict, "b", true),
        (secret, "a/secret", true),
        (secret, "b", false),
        (watched, "b", false),
    ];
    for (text, topic, closes) in rows {
        let denial = compiled(text)
            .permit_publish(Attempt::topic(topic).unwrap(), QoS::AtMostOnce, false)
            .unwrap_err();
        assert_eq!(denial.disconnects(), closes, "{topic}\n{text}");
    }
}

#[test]
fn limits_of_every_policy_that_concerns_a_client() {
    let compiled = compiled(
        "  - id: a\n    who: {auth: certificate}\n    limits: { messages: { rate: 50/s, burst: 100 } }\n  - id: b\n    who: {not: {claim.site: x}}\n    limits: { messages: { rate: 600/min } }\n  - id: c\n    who: {auth: jwt}\n    limits: { messages: { rate: 1/s } }\n  - id: d\n    who: {any: true}\n    mode: audit\n    limits: { messages: { rate: 1/s } }\n",
    );
    let limits: Vec<_> = compiled
        .limits()
        .map(|limit| (limit.policy.to_string(), limit.rate.amount(), limit.burst))
        .collect();
    let expected = [
        ("p.yaml:3 a".to_owned(), 50, 100),
        ("p.yaml:6 b".to_owned(), 600, 600),
    ];
    assert_eq!(limits, expected);
}

/// A permit belongs to the policies that gave it.
#[test]
fn pol_06_every_set_has_a_generation_of_its_own() {
    let text = "  - id: a\n    who: {any: true}\n    allow: [{publish: x}]\n";
    let (one, two) = (policies(text), policies(text));
    assert_ne!(one.generation(), two.generation());
    let subject = Arc::new(somebody("pump-7"));
    let permit = one
        .compile(&subject)
        .permit_publish(Attempt::topic("x").unwrap(), QoS::AtLeastOnce, true)
        .unwrap();
    assert_eq!(permit.generation(), one.generation());
    assert!(Arc::ptr_eq(permit.author(), &subject));
    assert_eq!(
        (permit.qos(), permit.retain(), permit.topic().as_str()),
        (QoS::AtLeastOnce, true, "x")
    );
    assert_eq!(permit.rule().as_str(), "p.yaml:5 a");
}

/// The author of a retained message is asked again under the policies of the day.
#[test]
fn pol_07_a_withdrawn_right_is_gone_for_the_same_subject() {
    let subject = Arc::new(somebody("pump-7"));
    let topic = Attempt::topic("x").unwrap();
    let before = policies("  - id: a\n    who: {any: true}\n    allow: [{publish: x}]\n");
    assert!(
        before
            .compile(&subject)
            .permit_publish(topic.clone(), QoS::AtMostOnce, true)
            .is_ok()
    );
    let after =
        policies("  - id: a\n    who: {any: true}\n    allow: [{publish: x, retain: false}]\n");
    assert!(
        after
            .compile(&subject)
            .permit_publish(topic.clone(), QoS::AtMostOnce, true)
            .is_err()
    );
    assert!(
        Arc::new(Policies::none())
            .compile(&subject)
            .permit_publish(topic, QoS::AtMostOnce, false)
            .is_err()
    );
}

#[test]
fn connections_that_are_alike_share_their_rules() {
    let set = policies(
        "  - id: a\n    who: {auth: certificate}\n    allow: [{publish: \"t/${username}\"}]\n",
    );
    let first = set.compile(&Arc::new(somebody("a")));
    for number in 0..3_000 {
        let other = set.compile(&Arc::new(somebody(&format!("device-{number}"))));
        assert!(first.shares_rules_with(&other));
    }
    assert!(size_of::<Compiled>() <= 64);
}

#[test]
fn idn_04_a_username_without_its_source_is_warned_of() {
    for (who, warnings) in [
        ("{username: admin}", 1),
        ("{username: admin, auth: password}", 0),
        ("{username: admin, namespace: staff}", 0),
        ("{client_id: admin}", 0),
    ] {
        let set = policies(&format!(
            "  - {{id: a, who: {who}, allow: [{{publish: x}}]}}\n"
        ));
        assert_eq!(set.warnings().len(), warnings, "{who}");
    }
}

#[test]
fn a_name_that_no_connection_can_have_is_a_problem_at_its_place() {
    for (who, problem) in [
        (
            "{auth: certifikate}",
            Some(
                "no method is called \"certifikate\": one of anonymous, certificate, password, ldap, jwt, cookie, scram, token",
            ),
        ),
        (
            "{auth: [jwt, pasword]}",
            Some("no method is called \"pasword\""),
        ),
        (
            "{not: {auth: Password}}",
            Some("no method is called \"Password\""),
        ),
        ("{auth: \"cert*\"}", None),
        ("{auth: [cookie, ldap]}", None),
        ("{auth: system}", None),
        (
            "{protocol: mtqq}",
            Some("no protocol is called \"mtqq\": one of mqtt, websocket, http"),
        ),
        ("{protocol: \"*sock*\"}", None),
        ("{protocol: [mqtt, websocket, http]}", None),
    ] {
        let text =
            format!("version: 1\npolicies:\n  - {{id: a, who: {who}, deny: [{{publish: x}}]}}\n");
        let found = Policies::parse(&[("p.yaml".into(), text)]);
        let told: Vec<String> = found
            .err()
            .into_iter()
            .flatten()
            .map(|found| found.to_string())
            .collect();
        match problem {
            None => assert!(told.is_empty(), "{who}: {told:?}"),
            Some(problem) => {
                let [only] = told.as_slice() else {
                    panic!("{who}: {told:?}")
                };
                assert!(
                    only.starts_with("p.yaml:3:") && only.contains(problem),
                    "{who}: {only}"
                );
            }
        }
    }
}
