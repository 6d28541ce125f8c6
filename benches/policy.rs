//! What a decision costs with 1, 100 and 10,000 policies: `cargo bench --bench policy`.

use std::hint::black_box;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wardgate::identity::{CertificateNames, Identity, Method, Subject};
use wardgate::mqtt::{QoS, Subscription, Text, TopicLimits, TopicName};
use wardgate::policy::Policies;
use wardgate::router::Recent;

fn main() {
    println!(
        "{:<34} {:>9} {:>12} {:>12} {:>12} {:>12} {:>12}",
        "policies", "count", "parse", "compile", "publish", "again", "deliver"
    );
    for count in [1, 100, 10_000] {
        for (name, policy) in SHAPES {
            measure(name, count, *policy);
        }
    }
    println!(
        "a compiled connection is {} bytes and shares its rules",
        size_of::<wardgate::policy::Compiled>()
    );
}

type Shape = fn(usize) -> String;

const SHAPES: &[(&str, Shape)] = &[
    ("one for each user", |number| {
        format!(
            "  - {{id: p{number}, who: {{auth: certificate, username: user-{number}}}, allow: [{{publish: \"site/${{cert.common_name}}/#\"}}, {{subscribe: \"site/+/{number}\"}}]}}\n"
        )
    }),
    ("one for each topic, for everybody", |number| {
        format!(
            "  - {{id: p{number}, who: {{any: true}}, allow: [{{publish: \"site/{number}/#\"}}, {{subscribe: \"site/{number}/#\"}}], deny: [{{publish: \"site/{number}/secret\"}}, {{subscribe: \"site/{number}/secret\"}}]}}\n"
        )
    }),
    ("patterns of names and placeholders", |number| {
        format!(
            "  - {{id: p{number}, who: {{username: \"user-{}*\"}}, allow: [{{publish: \"site/${{username}}/{number}/#\"}}, {{subscribe: \"site/+/{number}/${{client_id}}\"}}]}}\n",
            number % 10
        )
    }),
];

fn measure(name: &str, count: usize, policy: Shape) {
    // Every file stays below the limit of one mebibyte.
    let files: Vec<_> = (0..count)
        .collect::<Vec<_>>()
        .chunks(2_000)
        .enumerate()
        .map(|(file, numbers)| {
            let policies: String = numbers.iter().map(|number| policy(*number)).collect();
            (
                PathBuf::from(format!("{file}.yaml")),
                format!("version: 1\npolicies:\n{policies}"),
            )
        })
        .collect();
    let started = Instant::now();
    let policies = match Policies::parse(&files) {
        Ok(policies) => Arc::new(policies),
        Err(problems) => {
            eprintln!("{problems:?}");
            return;
        }
    };
    let parse = started.elapsed();
    let subject = Arc::new(subject(count / 2));
    let compile = time(|| drop(black_box(policies.compile(&subject))));
    let compiled = policies.compile(&subject);
    // Topics that differ, so that nothing but the decision is warm.
    let topics: Vec<_> = (0..4_096)
        .map(|number| {
            topic(&format!(
                "site/{}/{}/pressure",
                number % count.max(1),
                number
            ))
        })
        .collect();
    let mut next = topics.iter().cycle();
    let publish = time(|| {
        if let Some(topic) = next.next() {
            let _ = black_box(compiled.permit_publish(topic.clone(), QoS::AtLeastOnce, false));
        }
    });
    // As a connection keeps its verdicts: looked up, compared and cloned.
    let mut recent = Recent::default();
    let known: Vec<_> = topics
        .iter()
        .filter_map(|topic| {
            let permit = compiled.permit_publish(topic.clone(), QoS::AtLeastOnce, false);
            Some((topic, permit.ok()?))
        })
        .take(64)
        .collect();
    for (topic, permit) in &known {
        recent.remember(topic, || Arc::new(permit.clone().with_detached_topic()));
    }
    let mut next_known = known.iter().cycle();
    let again = (!known.is_empty()).then(|| {
        time(|| {
            if let Some((topic, _)) = next_known.next()
                && let Some(permit) = recent.find(topic)
            {
                black_box((permit.qos(), permit.retain(), Arc::clone(permit)));
            }
        })
    });
    let again = again.map_or_else(|| "refused".to_owned(), |took| format!("{took:.2?}"));
    let deliver = time(|| {
        if let Some(topic) = next.next() {
            black_box(compiled.permits_delivery(topic, QoS::AtLeastOnce, false, None));
        }
    });
    println!(
        "{name:<34} {count:>9} {parse:>12.2?} {compile:>12.2?} {publish:>12.2?} {again:>12} {deliver:>12.2?}"
    );
    if let Ok(everything) = Subscription::new(text("site/#"), TopicLimits::default()) {
        let subscribe = time(|| {
            let _ = black_box(compiled.permit_subscribe(&everything, QoS::AtLeastOnce));
        });
        println!(
            "{:<34} {:>9} subscribe to site/# {subscribe:>12.2?}",
            "", ""
        );
    }
}

fn time(mut work: impl FnMut()) -> Duration {
    let mut rounds: u32 = 1;
    loop {
        let started = Instant::now();
        for _ in 0..rounds {
            work();
        }
        let took = started.elapsed();
        if took > Duration::from_millis(200) || rounds > 1 << 24 {
            return took / rounds;
        }
        rounds = rounds.saturating_mul(4);
    }
}

fn text(text: &str) -> Text {
    Text::try_from(text).unwrap_or_default()
}

#[expect(clippy::expect_used, reason = "the topics above are valid")]
fn topic(name: &str) -> TopicName {
    TopicName::new(text(name), TopicLimits::default()).expect("a valid topic")
}

fn subject(number: usize) -> Subject {
    let name = format!("user-{number}");
    Subject {
        identity: Identity {
            groups: vec!["sensors".into()],
            certificate: Some(Arc::new(CertificateNames {
                common_name: vec![name.clone()],
                ..CertificateNames::default()
            })),
            ..Identity::new(
                Method::CERTIFICATE,
                "certificate".into(),
                name.as_str().into(),
            )
        },
        client_id: name.into(),
        ip: IpAddr::from([192, 0, 2, 7]),
        listener: "mqtts".into(),
        protocol: "mqtt",
    }
}
