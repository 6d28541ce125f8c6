//! The filter algebra against a naive twin, on any two filters and any name (POL-12).

use wardgate::mqtt::{Text, TopicFilter, TopicLimits, TopicName};

/// Two filters and a name, apart by line feeds.
pub fn check(bytes: &[u8]) {
    let mut texts = bytes.split(|byte| *byte == b'\n').filter_map(|bytes| {
        let text = std::str::from_utf8(bytes).ok()?;
        Text::try_from(text).ok()
    });
    let limits = TopicLimits::default();
    let mut filter = || TopicFilter::new(texts.next()?, limits).ok();
    let (Some(first), Some(second)) = (filter(), filter()) else {
        return;
    };
    let Some(name) = texts
        .next()
        .and_then(|text| TopicName::new(text, limits).ok())
    else {
        return;
    };
    let by_first = agreed(&first, &name);
    let by_second = agreed(&second, &name);
    if first.covers(&second) {
        assert!(by_first || !by_second, "{first} covers {second}, {name}");
        assert!(first.overlaps(&second), "{first} covers {second}");
    }
    if second.covers(&first) {
        assert!(by_second || !by_first, "{second} covers {first}, {name}");
    }
    if by_first && by_second {
        assert!(first.overlaps(&second), "{first} and {second} at {name}");
    }
    assert_eq!(first.overlaps(&second), second.overlaps(&first));
    assert!(first.covers(&first) && first.overlaps(&first));
    // A name is the filter that asks for it alone.
    if let Ok(exact) = Text::try_from(name.as_str()).map(|text| TopicFilter::new(text, limits)) {
        for filter in [&first, &second] {
            if let Ok(exact) = &exact {
                assert_eq!(
                    filter.covers(exact),
                    filter.matches(&name),
                    "{filter} {name}"
                );
                assert_eq!(
                    filter.overlaps(exact),
                    filter.matches(&name),
                    "{filter} {name}"
                );
            }
        }
    }
}

fn agreed(filter: &TopicFilter, name: &TopicName) -> bool {
    let ours = filter.matches(name);
    let hidden = name.as_str().starts_with('$') && filter.as_str().starts_with(['+', '#']);
    let filter_levels: Vec<_> = filter.as_str().split('/').collect();
    let name_levels: Vec<_> = name.as_str().split('/').collect();
    let theirs = !hidden && naive(&filter_levels, &name_levels);
    assert_eq!(ours, theirs, "{filter} {name}");
    ours
}

fn naive(filter: &[&str], name: &[&str]) -> bool {
    match (filter, name) {
        (["#"], _) | ([], []) => true,
        (["+", filter @ ..], [_, name @ ..]) => naive(filter, name),
        ([level, filter @ ..], [other, name @ ..]) => level == other && naive(filter, name),
        _ => false,
    }
}
