//! Whom a policy concerns: conditions on a subject, judged with three values so that what is missing never helps (POL-5).

use super::attribute::{Attribute, Values};
use super::glob::Glob;
use crate::address::Cidr;
use std::fmt;

/// All conditions must hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Who(pub(super) Box<[Condition]>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Condition {
    /// `any: true`
    Any,
    /// One value of the attribute matches one of the patterns.
    Text(Attribute, Box<[Glob]>),
    Network(Box<[Cidr]>),
    Not(Who),
}

/// `Unknown`: a `not` asks for something that the subject does not have. An allow takes it for a no, a deny for a yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Yes,
    No,
    Unknown,
}

impl Who {
    /// A condition over a missing attribute does not hold. `not` over a missing attribute is unknown, whatever else stands in it.
    pub(super) fn holds(&self, of: Values<'_>) -> Holds {
        let mut all = Holds::Yes;
        for condition in &self.0 {
            match condition.holds(of) {
                Holds::No => return Holds::No,
                Holds::Unknown => all = Holds::Unknown,
                Holds::Yes => {}
            }
        }
        all
    }

    /// The same with what is missing told apart from what differs, as a surrounding `not` needs it.
    fn holds_strictly(&self, of: Values<'_>) -> Holds {
        let mut all = Holds::Yes;
        for condition in &self.0 {
            let missing = matches!(condition, Condition::Text(attribute, _) if attribute.values(of).next().is_none());
            match condition.holds(of) {
                _ if missing => return Holds::Unknown,
                Holds::Unknown => return Holds::Unknown,
                Holds::No => all = Holds::No,
                Holds::Yes => {}
            }
        }
        all
    }

    /// Whether everybody whom this concerns is concerned by the other too; `false` when in doubt.
    pub(super) fn implies(&self, other: &Self) -> bool {
        other.0.iter().all(|wanted| {
            self.0.iter().any(|given| given.implies(wanted)) || *wanted == Condition::Any
        })
    }
}

impl Condition {
    pub(super) fn holds(&self, of: Values<'_>) -> Holds {
        let holds = match self {
            Self::Any => true,
            Self::Text(attribute, globs) => attribute
                .values(of)
                .any(|value| globs.iter().any(|glob| glob.matches(value))),
            Self::Network(blocks) => blocks.iter().any(|block| block.contains(of.subject.ip)),
            Self::Not(who) => {
                return match who.holds_strictly(of) {
                    Holds::Yes => Holds::No,
                    Holds::No => Holds::Yes,
                    Holds::Unknown => Holds::Unknown,
                };
            }
        };
        if holds { Holds::Yes } else { Holds::No }
    }

    /// What must be, without the key.
    pub(super) fn wanted(&self) -> String {
        match self {
            Self::Any => "anybody".to_owned(),
            Self::Text(_, globs) => list(globs),
            Self::Network(blocks) => list(blocks),
            Self::Not(who) => format!("not {who}"),
        }
    }

    fn implies(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Any) => true,
            (Self::Text(one, narrow), Self::Text(two, wide)) => {
                one == two
                    && narrow
                        .iter()
                        .all(|glob| wide.iter().any(|wide| wide.covers(glob)))
            }
            (Self::Network(narrow), Self::Network(wide)) => narrow
                .iter()
                .all(|block| wide.iter().any(|wide| covers(wide, block))),
            (Self::Not(one), Self::Not(two)) => one == two,
            (
                Self::Any | Self::Text(..) | Self::Network(_) | Self::Not(_),
                Self::Text(..) | Self::Network(_) | Self::Not(_),
            ) => false,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, condition) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{condition}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any: true"),
            Self::Text(attribute, globs) => write!(f, "{attribute}: {}", list(globs)),
            Self::Network(blocks) => write!(f, "ip: {}", list(blocks)),
            Self::Not(who) => write!(f, "not: {who}"),
        }
    }
}

fn covers(wide: &Cidr, narrow: &Cidr) -> bool {
    wide.length() <= narrow.length() && wide.contains(narrow.network())
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    match items {
        [one] => one.to_string(),
        several => {
            let several: Vec<_> = several.iter().map(T::to_string).collect();
            format!("[{}]", several.join(", "))
        }
    }
}
