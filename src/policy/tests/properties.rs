//! What must hold for all policies: tried on random ones, against the naive twin. A failure names its seed.

use super::random::{self, Random};
use crate::mqtt::QoS;
use crate::policy::naive::judge_twice;
use crate::policy::{Attempt, Compiled, Delivery, diff};
use std::sync::Arc;

const LEVELS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// Enough in a debug build to notice; in a release build what THREATS.md asks for.
const SEEDS: u64 = if cfg!(debug_assertions) {
    1_500
} else {
    25_000
};
const PROBES: usize = 40;

struct World {
    random: Random,
    policies: Vec<String>,
    compiled: Compiled,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        // Some sets are large enough for the index.
        let count = if seed.is_multiple_of(8) {
            30
        } else {
            1 + random.below(5)
        };
        let policies: Vec<_> = (0..count)
            .map(|id| random::policy(&mut random, id))
            .collect();
        let subject = Arc::new(random::subject(&mut random));
        Self {
            compiled: random::parse(&policies).compile(&subject),
            random,
            policies,
        }
    }

    fn with(&self, policies: &[String]) -> Compiled {
        random::parse(policies).compile(self.compiled.subject())
    }

    fn attempt(&mut self) -> Attempt {
        let qos = LEVELS[self.random.below(3)];
        if self.random.chance(50) {
            let topic = random::topic(&mut self.random, false);
            Attempt::Publish {
                topic: Attempt::topic(&topic).unwrap(),
                qos,
                retain: self.random.chance(50),
            }
        } else {
            let filter = random::topic(&mut self.random, true);
            let share = match self.random.below(4) {
                0 => self
                    .random
                    .one(&["$share/g/", "$share/gg/", "$share/h/", "$share/x/"]),
                _ => "",
            };
            Attempt::Subscribe {
                subscription: Attempt::subscription(&format!("{share}{filter}")).unwrap(),
                qos,
            }
        }
    }

    fn attempts(&mut self) -> Vec<Attempt> {
        (0..PROBES).map(|_| self.attempt()).collect()
    }
}

#[test]
fn pol_01_the_judge_agrees_with_its_naive_twin() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for attempt in world.attempts() {
            if let Err(difference) = judge_twice(&world.compiled, &attempt) {
                panic!("seed {seed}: {difference}\n{:#?}", world.policies);
            }
        }
    }
}

#[test]
fn pol_01_a_granted_subscription_delivers_no_denied_topic() {
    let topics = all_topics();
    for seed in 0..SEEDS / 10 {
        let mut world = World::new(seed);
        for attempt in world.attempts() {
            let Attempt::Subscribe { subscription, qos } = attempt else {
                continue;
            };
            let Ok(permit) = world.compiled.permit_subscribe(&subscription, qos) else {
                continue;
            };
            let share = subscription.share.as_ref().map(|share| share.as_str());
            for topic in topics
                .iter()
                .filter(|topic| subscription.filter.matches(topic))
            {
                let prefix = share.map(|share| format!("$share/{share}/"));
                let exact = format!("{}{topic}", prefix.unwrap_or_default());
                let exact = Attempt::subscription(&exact).unwrap();
                for retain in [false, true] {
                    let granted = permit.maximum_qos();
                    let delivered = world
                        .compiled
                        .permits_delivery(topic, granted, retain, share);
                    let context = || {
                        format!(
                            "seed {seed}: {subscription} {topic} {retain}\n{:#?}\n{:?}",
                            world.policies,
                            world.compiled.subject()
                        )
                    };
                    let asked = world.compiled.permit_subscribe(&exact, granted);
                    if asked.is_err() {
                        assert!(!delivered, "{}", context());
                    }
                    for qos in LEVELS.into_iter().filter(|qos| *qos <= granted) {
                        if permit.delivery() == Delivery::Unconditional {
                            assert!(
                                world.compiled.permits_delivery(topic, qos, retain, share),
                                "{}",
                                context()
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn adding_a_deny_never_widens_nor_an_allow_narrows() {
    for seed in 0..SEEDS / 2 {
        let mut world = World::new(seed);
        let who = random::who(&mut world.random);
        let statement = random::statement(&mut world.random);
        for (effect, forbidden) in [("deny", (false, true)), ("allow", (true, false))] {
            let mut more = world.policies.clone();
            more.push(format!("{{id: more, who: {who}, {effect}: [{statement}]}}"));
            let more = world.with(&more);
            for attempt in world.attempts() {
                let change = (world.compiled.allows(&attempt), more.allows(&attempt));
                assert_ne!(
                    change, forbidden,
                    "seed {seed}: {effect} {attempt} {who} {statement}\n{:#?}",
                    world.policies
                );
                if let Attempt::Subscribe { subscription, .. } = &attempt
                    && let Ok(topic) = Attempt::topic(subscription.filter.as_str())
                {
                    let share = subscription.share.as_ref().map(|share| share.as_str());
                    let delivered = |compiled: &Compiled| {
                        compiled.permits_delivery(&topic, QoS::AtLeastOnce, true, share)
                    };
                    assert_ne!(
                        (delivered(&world.compiled), delivered(&more)),
                        forbidden,
                        "seed {seed}: {attempt}"
                    );
                }
            }
        }
    }
}

#[test]
fn pol_13_the_order_of_files_never_matters() {
    for seed in 0..SEEDS / 4 {
        let mut world = World::new(seed);
        let mut shuffled = world.policies.clone();
        for end in (1..shuffled.len()).rev() {
            let other = world.random.below(end + 1);
            shuffled.swap(end, other);
        }
        let shuffled = world.with(&shuffled);
        for attempt in world.attempts() {
            assert_eq!(
                world.compiled.allows(&attempt),
                shuffled.allows(&attempt),
                "seed {seed}: {attempt}\n{:#?}",
                world.policies
            );
        }
    }
}

/// Unless a statement says `share:`, the group changes nothing.
#[test]
fn pol_02_a_shared_subscription_is_judged_as_its_filter() {
    for seed in 0..SEEDS / 4 {
        let mut world = World::new(seed);
        let unshared: Vec<_> = world
            .policies
            .iter()
            .map(|policy| {
                policy
                    .replace(", share: [g]", "")
                    .replace(", share: [\"g*\", h]", "")
            })
            .collect();
        let compiled = world.with(&unshared);
        for _ in 0..PROBES {
            let filter = random::topic(&mut world.random, true);
            let grants = ["", "$share/g/", "$share/other/"].map(|share| {
                let subscription = Attempt::subscription(&format!("{share}{filter}")).unwrap();
                let permit = compiled.permit_subscribe(&subscription, QoS::ExactlyOnce);
                permit
                    .map(|permit| {
                        (
                            permit.maximum_qos(),
                            permit.delivery(),
                            permit.rule().clone(),
                        )
                    })
                    .map_err(|denial| denial.rule().cloned())
            });
            assert_eq!(grants[0], grants[1], "seed {seed}: {filter}");
            assert_eq!(grants[0], grants[2], "seed {seed}: {filter}");
        }
    }
}

#[test]
fn pol_12_patterns_agree_with_the_algebra_of_filters() {
    let topics = all_topics();
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let own = random::topic(&mut random, true);
        let asked = random::topic(&mut random, true);
        let compiled = random::parse(&[format!(
            "{{id: a, who: {{any: true}}, allow: [{{publish: {own:?}}}, {{subscribe: {own:?}}}]}}"
        )])
        .compile(&Arc::new(random::subject(&mut random)));
        let own = Attempt::subscription(&own).unwrap().filter;
        let asked = Attempt::subscription(&asked).unwrap();
        assert_eq!(
            compiled.permit_subscribe(&asked, QoS::AtMostOnce).is_ok(),
            own.covers(&asked.filter),
            "{own} covers {asked}"
        );
        for topic in &topics {
            assert_eq!(
                compiled
                    .permit_publish(topic.clone(), QoS::AtMostOnce, false)
                    .is_ok(),
                own.matches(topic),
                "{own} matches {topic}"
            );
        }
    }
}

fn all_topics() -> Vec<crate::mqtt::TopicName> {
    let letters = ["a", "b", "xa", "", "$SYS"];
    let mut topics = Vec::new();
    for first in letters {
        topics.push(first.to_owned());
        for second in letters {
            topics.push(format!("{first}/{second}"));
            for third in ["a", "c"] {
                topics.push(format!("{first}/{second}/{third}"));
            }
        }
    }
    topics
        .iter()
        .filter_map(|topic| Attempt::topic(topic).ok())
        .collect()
}

/// What trying at random finds, `diff` must have told; what `diff` tells with an example it has tried itself.
#[test]
fn diff_misses_nothing_that_brute_force_finds() {
    let (mut without_example, mut found) = (0, 0);
    for seed in 0..SEEDS * 24 / 250 {
        let mut random = Random(seed);
        let count = 1 + random.below(4);
        let old: Vec<_> = (0..count)
            .map(|id| random::policy(&mut random, id))
            .collect();
        let mut new = old.clone();
        let touched = random.below(count);
        match random.below(3) {
            0 => new[touched] = random::policy(&mut random, touched),
            1 => new.push(random::policy(&mut random, count)),
            _ => drop(new.remove(touched)),
        }
        let (before, after) = (random::parse(&old), random::parse(&new));
        let changes = diff(&before, &after);
        without_example += changes
            .iter()
            .filter(|change| change.example.is_none())
            .count();
        found += changes.len();
        let told = |widens| changes.iter().any(|change| change.cause.widens() == widens);
        for _ in 0..40 {
            let subject = Arc::new(random::subject(&mut random));
            let (before, after) = (before.compile(&subject), after.compile(&subject));
            let mut world = World {
                random: Random(random.next()),
                policies: Vec::new(),
                compiled: before,
            };
            for attempt in world.attempts() {
                let change = (world.compiled.allows(&attempt), after.allows(&attempt));
                let missed = match change {
                    (false, true) => !told(true),
                    (true, false) => !told(false),
                    (true, true) | (false, false) => false,
                };
                assert!(
                    !missed,
                    "seed {seed}: {attempt} {change:?} {subject:?}\n{old:#?}\n{new:#?}\n{changes:#?}"
                );
            }
        }
    }
    assert!(
        found > 3 && without_example * 10 < found,
        "{without_example} of {found}"
    );
}
