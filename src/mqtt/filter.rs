//! The algebra of topic filters: which names one matches, which filters it covers, which it overlaps. The one matcher for routing, policy and API (POL-12). MQTT 5.0 section 4.7

use super::{TopicFilter, TopicName};

/// A filter means a set of topic names. All three questions walk both texts once, without recursion or allocation; levels are compared byte by byte, empty ones included.
/// [MQTT-4.7.3-4]
impl TopicFilter {
    /// Whether the name is in this filter's set.
    pub fn matches(&self, name: &TopicName) -> bool {
        // A filter that begins with a wildcard matches no name that begins with `$`. [MQTT-4.7.2-1]
        if name.is_reserved() && self.begins_with_wildcard() {
            return false;
        }
        let mut rest = name.as_str().as_bytes();
        let mut pattern = self.as_str().bytes();
        // A valid filter's wildcards fill their level, so bytes can be walked without looking for levels first.
        while let Some(byte) = pattern.next() {
            match (byte, rest.split_first()) {
                (b'#', _) => return true,
                (b'+', _) => {
                    let level = rest.iter().position(|byte| *byte == b'/');
                    rest = level.and_then(|end| rest.get(end..)).unwrap_or_default();
                }
                (_, Some((first, others))) if *first == byte => rest = others,
                // `#` also stands for no level at all: `a/#` matches `a`. MQTT 5.0 section 4.7.1.2
                (b'/', None) => return pattern.next() == Some(b'#'),
                _ => return false,
            }
        }
        rest.is_empty()
    }

    /// Whether every name that `other` matches is matched by this filter too.
    pub fn covers(&self, other: &TopicFilter) -> bool {
        if !self.reaches_reserved_names_of(other) {
            return false;
        }
        let mut others = other.spelled_out();
        for pattern in self.levels() {
            if pattern == "#" {
                return true;
            }
            match others.next() {
                Some(level) if pattern == level => {}
                Some(level) if pattern == "+" && level != "#" => {}
                _ => return false,
            }
        }
        others.next().is_none()
    }

    /// Whether some name is matched by both.
    pub fn overlaps(&self, other: &TopicFilter) -> bool {
        if self.begins_with_wildcard() && other.begins_with_reserved_level()
            || other.begins_with_wildcard() && self.begins_with_reserved_level()
        {
            return false;
        }
        let (mut ours, mut theirs) = (self.spelled_out(), other.spelled_out());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) | (Some("#"), _) | (_, Some("#")) => return true,
                (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
                (Some(our), Some(their)) if our == their => {}
                _ => return false,
            }
        }
    }

    /// The levels, in other words where a name's having at least one character says more than `#` does. [MQTT-4.7.3-1]
    fn spelled_out(&self) -> std::str::Split<'_, char> {
        let text = match self.as_str() {
            "#" => "+/#",
            "/#" => "/+/#",
            text => text,
        };
        text.split('/')
    }

    fn begins_with_wildcard(&self) -> bool {
        self.as_str().starts_with(['+', '#'])
    }

    fn begins_with_reserved_level(&self) -> bool {
        self.as_str().starts_with('$')
    }

    /// A wildcard in front leaves out the names that begin with `$`, so it covers nothing that asks for them by name. [MQTT-4.7.2-1]
    fn reaches_reserved_names_of(&self, other: &TopicFilter) -> bool {
        !(self.begins_with_wildcard() && other.begins_with_reserved_level())
    }
}
