//! Whose turn it is to be looked for in the directory: nobody is passed over for ever because of others that it cannot tell of.

use std::collections::BTreeSet;
use std::sync::Arc;

/// So many in a row without an answer: the others would wait for the same.
const SILENCES_MAX: usize = 4;

/// Where the last round stopped, and how long nothing was answered.
#[derive(Default)]
pub(super) struct Rounds {
    stopped_at: Option<Arc<str>>,
    silences: usize,
}

impl Rounds {
    /// All names, those behind where the last round stopped first.
    pub(super) fn begin(&mut self, names: BTreeSet<Arc<str>>) -> Vec<Arc<str>> {
        self.silences = 0;
        let mut names: Vec<_> = names.into_iter().collect();
        if let Some(stopped_at) = self.stopped_at.take() {
            let behind = names.partition_point(|name| *name <= stopped_at);
            names.rotate_left(behind);
        }
        names
    }

    pub(super) fn answered(&mut self) {
        self.silences = 0;
    }

    /// Whether this round ends here.
    pub(super) fn unanswered(&mut self, name: &Arc<str>) -> bool {
        self.silences += 1;
        let ends = self.silences >= SILENCES_MAX;
        if ends {
            self.stopped_at = Some(Arc::clone(name));
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who is asked, in order, when the directory tells of all but `unreadable`.
    fn round(rounds: &mut Rounds, names: &[&str], unreadable: &[&str]) -> Vec<String> {
        let mut asked = Vec::new();
        for name in rounds.begin(names.iter().map(|name| Arc::from(*name)).collect()) {
            asked.push(name.to_string());
            if !unreadable.contains(&&*name) {
                rounds.answered();
            } else if rounds.unanswered(&name) {
                break;
            }
        }
        asked
    }

    #[test]
    fn an_entry_that_cannot_be_read_hides_nobody_behind_it() {
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        let rows: [(&[&str], &[&str]); 4] = [
            (&[], &["a b c d e f g", "a b c d e f g"]),
            (&["a"], &["a b c d e f g"]),
            // Few enough to go on at once.
            (&["a", "b", "c", "e", "f", "g"], &["a b c d e f g"]),
            // Too many in a row: the next round begins behind them.
            (
                &["a", "b", "c", "d"],
                &["a b c d", "e f g a b c d", "e f g a b c d"],
            ),
        ];
        for (unreadable, expected) in rows {
            let mut rounds = Rounds::default();
            for expected in expected {
                assert_eq!(round(&mut rounds, &names, unreadable).join(" "), *expected);
            }
        }
    }

    #[test]
    fn a_directory_that_is_down_is_asked_little_and_every_name_has_its_turn() {
        let names: Vec<String> = (10..40).map(|number| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut rounds = Rounds::default();
        let mut asked = BTreeSet::new();
        for _ in 0..8 {
            let round = round(&mut rounds, &names, &names);
            assert_eq!(round.len(), SILENCES_MAX);
            asked.extend(round);
        }
        assert_eq!(asked.len(), names.len());
    }
}
