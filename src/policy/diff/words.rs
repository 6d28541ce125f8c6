//! Topics as words over levels: a search for one that some filters match and others do not, exact over all topics.

use ahash::AHashSet;

/// Levels of a filter; `+` and a last `#` are wildcards. `#` alone is written `+`, `#`.
pub(super) type Filter = Vec<String>;

/// What is looked for, among the words that a seed matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// No new deny, and no old allow or an old deny.
    NewAllow,
    /// A new allow and no new deny.
    LostDeny,
}

/// The filters of both sets that concern one subject on the same terms.
pub(super) struct Words {
    pub(super) goal: Goal,
    /// Words are topic filters: `+` is a letter that only `+` matches, and a word may end with `#`, which only `#` matches.
    pub(super) with_wildcards: bool,
    pub(super) new_allow: Vec<Filter>,
    pub(super) new_deny: Vec<Filter>,
    pub(super) old_allow: Vec<Filter>,
    pub(super) old_deny: Vec<Filter>,
}

/// How far the filters have come with the letters so far: those still alive, by group and number.
#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    level: usize,
    alive: Vec<(Group, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Group {
    Seed,
    NewAllow,
    NewDeny,
    OldAllow,
    OldDeny,
}

/// How a word ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Plain,
    Multi,
}

impl Words {
    /// Depth first, each state once. Letters that no filter names are all alike, so that one stands for them.
    pub(super) fn search(&self, seed: &Filter) -> Option<String> {
        let mut alive = vec![(Group::Seed, 0)];
        for (group, filters) in self.groups() {
            alive.extend((0..filters.len()).map(|number| (group, number)));
        }
        let fresh = self.fresh(seed);
        let mut seen = AHashSet::new();
        let mut open = vec![(State { level: 0, alive }, Vec::<String>::new())];
        while let Some((state, word)) = open.pop() {
            if self.is_hopeless(&state, seed) || !seen.insert(state.clone()) {
                continue;
            }
            if let Some(end) = self.end(&state, seed) {
                let mut word = word;
                if end == End::Multi {
                    word.push("#".to_owned());
                }
                return Some(match word.as_slice() {
                    [one, last] if one == "+" && last == "#" => "#".to_owned(),
                    levels => levels.join("/"),
                });
            }
            for letter in self.letters(&state, seed, &fresh) {
                let next = self.step(&state, seed, &letter);
                let mut longer = word.clone();
                longer.push(letter);
                open.push((next, longer));
            }
        }
        None
    }

    fn groups(&self) -> [(Group, &[Filter]); 4] {
        [
            (Group::NewAllow, &self.new_allow),
            (Group::NewDeny, &self.new_deny),
            (Group::OldAllow, &self.old_allow),
            (Group::OldDeny, &self.old_deny),
        ]
    }

    fn filter<'a>(&'a self, of: (Group, usize), seed: &'a Filter) -> &'a [String] {
        let (group, number) = of;
        let filters = match group {
            Group::Seed => return seed,
            Group::NewAllow => &self.new_allow,
            Group::NewDeny => &self.new_deny,
            Group::OldAllow => &self.old_allow,
            Group::OldDeny => &self.old_deny,
        };
        filters.get(number).map_or(&[], Vec::as_slice)
    }

    /// The seed is dead, or a new deny matches whatever follows.
    fn is_hopeless(&self, state: &State, seed: &Filter) -> bool {
        let denied = |one: &(Group, usize)| {
            one.0 == Group::NewDeny && absorbs(self.filter(*one, seed), state.level)
        };
        let seed_alive = state.alive.first().is_some_and(|one| one.0 == Group::Seed);
        !seed_alive || state.alive.iter().any(denied)
    }

    fn end(&self, state: &State, seed: &Filter) -> Option<End> {
        let ends: &[End] = match (state.level, self.with_wildcards) {
            (0, _) => &[],
            (_, false) => &[End::Plain],
            (_, true) => &[End::Plain, End::Multi],
        };
        ends.iter().copied().find(|end| {
            let matched = |group: Group| {
                let of_group = state.alive.iter().filter(|one| one.0 == group);
                of_group
                    .map(|one| self.filter(*one, seed))
                    .any(|filter| accepts(filter, state.level, *end))
            };
            let goal = match self.goal {
                Goal::NewAllow => !matched(Group::OldAllow) || matched(Group::OldDeny),
                Goal::LostDeny => matched(Group::NewAllow),
            };
            matched(Group::Seed) && !matched(Group::NewDeny) && goal
        })
    }

    fn letters(&self, state: &State, seed: &Filter, fresh: &str) -> Vec<String> {
        match seed.get(state.level).map(String::as_str) {
            Some("+" | "#") => {}
            Some(literal) => return vec![literal.to_owned()],
            None if absorbs(seed, state.level) => {}
            None => return Vec::new(),
        }
        let longest = state
            .alive
            .iter()
            .map(|one| self.filter(*one, seed).len())
            .max();
        // Behind the last level of every filter nothing changes any more.
        if state.level > longest.unwrap_or(0) {
            return Vec::new();
        }
        let mut letters: Vec<_> = state
            .alive
            .iter()
            .filter_map(|one| self.filter(*one, seed).get(state.level))
            .filter(|letter| !matches!(letter.as_str(), "+" | "#"))
            .cloned()
            .collect();
        letters.sort_unstable();
        letters.dedup();
        if self.with_wildcards {
            letters.push("+".to_owned());
        }
        // Taken from the end: the plainest example comes first.
        letters.push(fresh.to_owned());
        letters
    }

    fn step(&self, state: &State, seed: &Filter, letter: &str) -> State {
        let reserved = state.level == 0 && letter.starts_with('$');
        let lives = |one: &&(Group, usize)| {
            let filter = self.filter(**one, seed);
            match filter.get(state.level).map(String::as_str) {
                Some("#") => true,
                Some("+") => !reserved,
                Some(literal) => literal == letter,
                None => absorbs(filter, state.level),
            }
        };
        State {
            level: state.level.saturating_add(1),
            alive: state.alive.iter().filter(lives).copied().collect(),
        }
    }

    /// A level that no filter names.
    fn fresh(&self, seed: &Filter) -> String {
        let all = self.groups();
        let mut named = all
            .iter()
            .flat_map(|(_, filters)| filters.iter())
            .chain([seed]);
        let mut fresh = "any".to_owned();
        while named.any(|filter| filter.contains(&fresh)) {
            fresh.push('x');
        }
        fresh
    }
}

/// Has come to its `#`: everything below is matched.
fn absorbs(filter: &[String], level: usize) -> bool {
    filter.last().is_some_and(|last| last == "#") && level >= filter.len().saturating_sub(1)
}

fn accepts(filter: &[String], level: usize, end: End) -> bool {
    match end {
        End::Plain => absorbs(filter, level) || filter.len() == level,
        End::Multi => absorbs(filter, level),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(texts: &[&str]) -> Vec<Filter> {
        texts.iter().map(|text| filter(text)).collect()
    }

    fn filter(text: &str) -> Filter {
        let text = if text == "#" { "+/#" } else { text };
        text.split('/').map(str::to_owned).collect()
    }

    #[test]
    fn several_filters_together_cover_one() {
        type Row<'a> = (&'a str, &'a [&'a str], &'a [&'a str], bool, Option<&'a str>);
        let rows: [Row<'_>; 10] = [
            ("a/#", &["a", "a/+", "a/+/#"], &[], false, None),
            ("a/#", &["a", "a/+"], &[], false, Some("a/any/any")),
            ("a/#", &["a", "a/+", "a/+/#"], &[], true, Some("a/#")),
            ("#", &["+/#"], &[], true, None),
            ("#", &["+", "+/+/#"], &[], false, None),
            ("+/b", &["a/+"], &["any/b"], false, Some("anyx/b")),
            ("a/+", &["a/b"], &["a/+"], false, None),
            ("a/+", &[], &["+/b", "a/c"], false, Some("a/any")),
            ("$SYS/#", &["#"], &["+/#"], false, Some("$SYS")),
            ("a/+", &["a/b", "a/c"], &[], true, Some("a/any")),
        ];
        for (seed, old_allow, new_deny, with_wildcards, expected) in rows {
            let words = Words {
                goal: Goal::NewAllow,
                with_wildcards,
                new_allow: filters(&[seed]),
                new_deny: filters(new_deny),
                old_allow: filters(old_allow),
                old_deny: Vec::new(),
            };
            let found = words.search(&filter(seed));
            assert_eq!(
                found.as_deref(),
                expected,
                "{seed} {old_allow:?} {new_deny:?}"
            );
        }
    }
}
