//! The filter algebra against a naive twin and against brute force (POL-12).

use crate::mqtt::{Text, TopicFilter, TopicLimits, TopicName};

/// The specification read aloud, recursively.
fn naive_matches(filter: &[&str], name: &[&str]) -> bool {
    match (filter, name) {
        (["#"], _) | ([], []) => true,
        (["+", filter @ ..], [_, name @ ..]) => naive_matches(filter, name),
        ([level, filter @ ..], [other, name @ ..]) => level == other && naive_matches(filter, name),
        _ => false,
    }
}

fn naive(filter: &str, name: &str) -> bool {
    let hidden = name.starts_with('$') && filter.starts_with(['+', '#']);
    !hidden
        && naive_matches(
            &filter.split('/').collect::<Vec<_>>(),
            &name.split('/').collect::<Vec<_>>(),
        )
}

fn text(text: &str) -> Text {
    Text::try_from(text).unwrap()
}

fn filter(of: &str) -> TopicFilter {
    TopicFilter::new(text(of), TopicLimits::default()).unwrap()
}

fn name(of: &str) -> TopicName {
    TopicName::new(text(of), TopicLimits::default()).unwrap()
}

/// All texts of one to `depth` of these levels.
fn texts(levels: &[&str], depth: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut longest: Vec<String> = levels.iter().map(|level| (*level).to_owned()).collect();
    for _ in 0..depth {
        all.extend(longest.iter().cloned());
        longest = longest
            .iter()
            .flat_map(|text| levels.iter().map(move |level| format!("{text}/{level}")))
            .collect();
    }
    all
}

fn every_filter(levels: &[&str], depth: usize) -> Vec<TopicFilter> {
    texts(levels, depth)
        .iter()
        .filter_map(|of| TopicFilter::new(text(of), TopicLimits::default()).ok())
        .collect()
}

fn every_name(levels: &[&str], depth: usize) -> Vec<TopicName> {
    texts(levels, depth)
        .iter()
        .filter_map(|of| TopicName::new(text(of), TopicLimits::default()).ok())
        .collect()
}

#[test]
fn pol_12_matches_is_what_the_specification_says() {
    let rows = [
        // MQTT 5.0 section 4.7.1.2
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        (
            "sport/tennis/player1/#",
            "sport/tennis/player1/ranking",
            true,
        ),
        (
            "sport/tennis/player1/#",
            "sport/tennis/player1/score/wimbledon",
            true,
        ),
        ("sport/#", "sport", true),
        ("sport/#", "sports", false),
        ("#", "sport", true),
        ("#", "/", true),
        // Section 4.7.1.3
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("+", "finance", true),
        ("+/tennis/#", "sport/tennis", true),
        ("+/tennis/#", "sport/golf", false),
        // Section 4.7.2 [MQTT-4.7.2-1]
        ("#", "$SYS/monitor", false),
        ("+/monitor/Clients", "$SYS/monitor/Clients", false),
        ("+", "$SYS", false),
        ("$SYS/#", "$SYS/monitor", true),
        ("$SYS/#", "$SYS", true),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
        ("a/+", "a/$b", true),
        ("a/#", "a/$b", true),
        // Section 4.7.3: exactly, empty levels included [MQTT-4.7.3-4]
        ("ACCOUNTS", "Accounts", false),
        ("finance", "/finance", false),
        ("finance", "finance/", false),
        ("a//b", "a//b", true),
        ("a/+/b", "a//b", true),
        ("a/b", "a//b", false),
        ("e\u{301}", "\u{e9}", false),
        ("\u{feff}a", "a", false),
    ];
    for (of, topic, expected) in rows {
        assert_eq!(filter(of).matches(&name(topic)), expected, "{of} {topic}");
        assert_eq!(naive(of, topic), expected, "naive {of} {topic}");
    }
}

#[test]
fn pol_12_matches_agrees_with_the_naive_twin() {
    let levels = ["", "a", "b", "$", "$a"];
    let names = every_name(&levels, 4);
    let mut pairs = 0u64;
    for filter in every_filter(&["", "a", "$", "+", "#"], 4) {
        for name in &names {
            let expected = naive(filter.as_str(), name.as_str());
            assert_eq!(filter.matches(name), expected, "{filter} {name}");
            pairs += 1;
        }
    }
    assert!(pairs > 250_000, "{pairs}");
}

/// A name as deep as the deeper filter plus one, over the filters' letters and one that is in neither, tells any two filters apart.
#[test]
fn pol_12_covers_and_overlaps_agree_with_brute_force() {
    let names = every_name(&["", "a", "$", "other"], 4);
    let filters = every_filter(&["", "a", "$", "+", "#"], 3);
    let matched: Vec<Vec<bool>> = filters
        .iter()
        .map(|filter| {
            names
                .iter()
                .map(|name| naive(filter.as_str(), name.as_str()))
                .collect()
        })
        .collect();
    for (wide, wide_names) in filters.iter().zip(&matched) {
        for (narrow, narrow_names) in filters.iter().zip(&matched) {
            let both = || wide_names.iter().zip(narrow_names);
            let covers = both().all(|(wide, narrow)| *wide || !*narrow);
            let overlaps = both().any(|(wide, narrow)| *wide && *narrow);
            assert_eq!(wide.covers(narrow), covers, "{wide} covers {narrow}");
            assert_eq!(wide.overlaps(narrow), overlaps, "{wide} overlaps {narrow}");
        }
    }
}

#[test]
fn lim_01_depth_costs_no_stack() {
    let limits = TopicLimits {
        levels: 1 << 16,
        length: 1 << 16,
    };
    let deep = "/".repeat(65_535);
    let filter = TopicFilter::new(text(&deep), limits).unwrap();
    let name = TopicName::new(text(&deep), limits).unwrap();
    // Far less stack than one frame a level would need.
    let small = std::thread::Builder::new().stack_size(64 << 10);
    let thread = small.spawn(move || {
        assert!(filter.matches(&name));
        assert!(filter.covers(&filter));
        assert!(filter.overlaps(&filter));
    });
    thread.unwrap().join().unwrap();
}
