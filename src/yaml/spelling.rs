//! What a misspelt key was perhaps meant to be.

/// `, did you mean "bind"?` or nothing.
pub(crate) fn suggestion(written: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|word| (distance(written, word), word))
        .filter(|(distance, word)| *distance <= 2 && *distance < word.chars().count())
        .min();
    near.map(|(_, word)| format!(", did you mean {word:?}?"))
        .unwrap_or_default()
}

/// Insertions, deletions and replacements from one word to the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(WORD).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, from) in a.chars().take(WORD).enumerate() {
        let mut diagonal = index;
        let mut left = index.saturating_add(1);
        let mut next = vec![left];
        for (to, above) in b.iter().zip(row.iter().skip(1)) {
            let replaced = diagonal.saturating_add(usize::from(from != *to));
            left = replaced
                .min(above.saturating_add(1))
                .min(left.saturating_add(1));
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

const WORD: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_named_and_a_far_one_is_not() {
        let known = ["bind", "transport", "tls", "authenticate"];
        let rows = [
            ("bnid", ", did you mean \"bind\"?"),
            ("transprot", ", did you mean \"transport\"?"),
            ("tsl", ", did you mean \"tls\"?"),
            ("authenticat", ", did you mean \"authenticate\"?"),
            ("surprise", ""),
            ("", ""),
        ];
        for (written, expected) in rows {
            assert_eq!(suggestion(written, &known), expected, "{written:?}");
        }
    }
}
