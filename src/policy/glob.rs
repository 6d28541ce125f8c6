//! Text patterns in `who`, and in the rules of the device CA: a literal in which `*` stands for any run of characters.

use std::fmt;

/// Compared byte by byte, without case folding or normalisation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Glob {
    text: Box<str>,
    exact: bool,
}

impl Glob {
    pub(crate) fn new(text: &str) -> Self {
        Self {
            text: text.into(),
            exact: !text.contains('*'),
        }
    }

    /// The one text that matches, when there is no `*`.
    pub(super) fn exact(&self) -> Option<&str> {
        self.exact.then_some(&*self.text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        if self.exact {
            return *self.text == *text;
        }
        let mut parts = self.text.split('*');
        let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return false;
        };
        // The leftmost place for each middle part leaves the most room for the others, so there is nothing to come back to.
        for part in parts {
            match rest.split_once(part) {
                Some((_, behind)) => rest = behind,
                None => return false,
            }
        }
        rest.ends_with(last)
    }

    /// Whether every text that `other` matches is matched here; `false` when in doubt.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match other.exact() {
            Some(text) => self.matches(text),
            None => self == other || &*self.text == "*",
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_run() {
        let rows = [
            ("a", "a", true),
            ("a", "A", false),
            ("a", "ab", false),
            ("", "", true),
            ("*", "", true),
            ("*", "anything/at all", true),
            ("a*", "a", true),
            ("a*", "ab", true),
            ("a*", "ba", false),
            ("*a", "ba", true),
            ("*a", "ab", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "abcbc", true),
            ("a*b*c", "acb", false),
            ("*b*", "abc", true),
            ("**", "x", true),
            ("a**b", "ab", true),
        ];
        for (glob, text, expected) in rows {
            assert_eq!(Glob::new(glob).matches(text), expected, "{glob} {text}");
        }
    }
}
