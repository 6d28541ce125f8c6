//! A file as a tree in which each value knows where it was written.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, Span};

use super::invisible;
use crate::problem::Problem;

/// Where something was written: in a file, or in the environment.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) source: Arc<Path>,
    pub(crate) line: u64,
    pub(crate) column: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar(String, Style),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) node: Node,
}

/// How a scalar was written, and so how far its type is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Without quotes: a number is a number, a word is a text.
    Plain,
    /// Always a text.
    Quoted,
    /// From outside the file: whatever is wanted in this place.
    Outside,
}

impl Place {
    pub(crate) fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::new(&*self.source, self.line, self.column, message)
    }
}

impl Node {
    pub(crate) fn empty_mapping(place: Place) -> Self {
        let value = Value::Mapping(Vec::new());
        Self { place, value }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            Value::Scalar(..) | Value::Sequence(_) => None,
        }
    }

    /// Of a list; of anything else none.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::Sequence(items) => items,
            Value::Scalar(..) | Value::Mapping(_) => &[],
        }
    }

    /// Of a mapping; of anything else none.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Mapping(entries) => entries,
            Value::Scalar(..) | Value::Sequence(_) => &[],
        }
    }

    /// `key:` with nothing behind it.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(&self.value, Value::Scalar(text, Style::Plain) if text.is_empty())
    }

    /// The value at a path of keys and positions, or else the nearest key above it that exists.
    pub(crate) fn place_of<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Place {
        let (mut node, mut place) = (self, self.place.clone());
        for step in path {
            let found = match &node.value {
                Value::Mapping(_) => node.get(step).map(|entry| (&entry.node, &entry.place)),
                Value::Sequence(items) => {
                    let index = step.parse::<usize>().ok();
                    index
                        .and_then(|index| items.get(index))
                        .map(|item| (item, &item.place))
                }
                Value::Scalar(..) => None,
            };
            let Some((found, key)) = found else {
                break;
            };
            place = match found.value {
                Value::Scalar(..) | Value::Sequence(_) => found.place.clone(),
                Value::Mapping(_) => key.clone(),
            };
            node = found;
        }
        place
    }
}

/// Reads one document of `most` bytes at most, and all that is wrong with its form: what cannot be told apart from something else by looking is refused (POL-13).
pub(crate) fn parse(source: &Path, text: &str, most: usize) -> Result<Node, Vec<Problem>> {
    if text.len() > most {
        let message = format!("longer than {most} bytes");
        return Err(vec![Problem::whole(source, message)]);
    }
    if let Some(problem) = invisible(source, text) {
        return Err(vec![problem]);
    }
    let mut options = granit_parser::Options::default();
    options.strict_indentation = true;
    options.disallow_directives = true;
    options.emit_unresolved_aliases = true;
    options.flow_nesting_limit = DEPTH;
    options.block_nesting_limit = DEPTH;
    options.set_emit_comments(false);
    let mut builder = Builder {
        source: source.into(),
        open: Vec::new(),
        root: None,
        documents: 0,
        problems: Vec::new(),
    };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => builder.take(event, &span),
            Err(error) => {
                let marker = error.marker();
                let place = builder.place(marker.line(), marker.col());
                builder.problems.push(place.problem(error.info()));
                break;
            }
        }
    }
    builder.finish()
}

/// Nothing that we read is nested deeper.
const DEPTH: usize = 32;

struct Builder {
    source: Arc<Path>,
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    problems: Vec<Problem>,
}

/// A collection whose end has not come yet.
struct Open {
    place: Place,
    items: Items,
}

enum Items {
    Sequence(Vec<Node>),
    Mapping {
        entries: Vec<Entry>,
        /// The line of each key: a file of users may have many.
        lines: HashMap<String, u64>,
        key: Option<(String, Place)>,
    },
}

impl Builder {
    fn place(&self, line: usize, column_before: usize) -> Place {
        let source = Arc::clone(&self.source);
        let column = (column_before as u64).saturating_add(1);
        Place {
            source,
            line: (line as u64).max(1),
            column,
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the parser's type is open to additions"
    )]
    fn take(&mut self, event: Event<'_>, span: &Span) {
        let place = self.place(span.start.line(), span.start.col());
        if event.anchor_id().is_some_and(|id| id != 0) {
            self.problems.push(place.problem("anchors are not allowed"));
        }
        if let Some(tag) = event.tag() {
            let message = format!("the tag {} is not allowed", tag.original());
            self.problems.push(place.problem(message));
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents = self.documents.saturating_add(1);
                if self.documents == 2 {
                    self.problems
                        .push(place.problem("only one document is allowed in a file"));
                }
            }
            Event::Scalar(text, style, ..) => {
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted
                    | ScalarStyle::DoubleQuoted
                    | ScalarStyle::Literal
                    | ScalarStyle::Folded => Style::Quoted,
                };
                // A value that is not there arrives as `~`.
                let text = if span.is_empty() {
                    String::new()
                } else {
                    text.into_owned()
                };
                self.scalar(place, text, style);
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.problems.push(place.problem("aliases are not allowed"));
                self.scalar(place, "alias".into(), Style::Outside);
            }
            Event::SequenceStart(..) => self.open.push(Open {
                place,
                items: Items::Sequence(Vec::new()),
            }),
            Event::MappingStart(..) => {
                let items = Items::Mapping {
                    entries: Vec::new(),
                    lines: HashMap::new(),
                    key: None,
                };
                self.open.push(Open { place, items });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            // The start and end of a stream or document, and what the options leave out.
            _ => {}
        }
    }

    fn close(&mut self) {
        let Some(Open { place, items }) = self.open.pop() else {
            return;
        };
        let value = match items {
            Items::Sequence(items) => Value::Sequence(items),
            Items::Mapping { entries, .. } => Value::Mapping(entries),
        };
        self.add(Node { place, value });
    }

    fn scalar(&mut self, place: Place, text: String, style: Style) {
        let value = Value::Scalar(text, style);
        self.add(Node { place, value });
    }

    /// Puts a whole value where the innermost open collection waits for one.
    fn add(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root.get_or_insert(node);
            return;
        };
        match &mut open.items {
            Items::Sequence(items) => items.push(node),
            Items::Mapping {
                entries,
                lines,
                key,
            } => match key.take() {
                Some((name, place)) => {
                    if let Some(earlier) = lines.get(&name) {
                        let message = format!("{name:?} is given twice, first in line {earlier}");
                        self.problems.push(place.problem(message));
                    } else {
                        lines.insert(name.clone(), place.line);
                        entries.push(Entry {
                            key: name,
                            place,
                            node,
                        });
                    }
                }
                None => *key = Some(self_key(node, &mut self.problems)),
            },
        }
    }

    fn finish(mut self) -> Result<Node, Vec<Problem>> {
        if !self.problems.is_empty() {
            self.problems
                .sort_by_key(|problem| (problem.line, problem.column));
            return Err(self.problems);
        }
        let empty = self.root.is_none() || self.root.as_ref().is_some_and(Node::is_nothing);
        match self.root {
            Some(root) if !empty => Ok(root),
            Some(_) | None => Err(vec![Problem::whole(&*self.source, "the file is empty")]),
        }
    }
}

/// The name that a value gives when it stands in the place of a key.
fn self_key(node: Node, problems: &mut Vec<Problem>) -> (String, Place) {
    let Node { place, value } = node;
    let (name, wrong) = match value {
        Value::Scalar(name, Style::Plain) if name == "<<" => {
            (name, Some("merge keys are not allowed"))
        }
        Value::Scalar(name, _) if name.is_empty() => (name, Some("a key is missing")),
        Value::Scalar(name, _) => (name, None),
        Value::Sequence(_) | Value::Mapping(_) => (String::new(), Some("a key must be a word")),
    };
    if let Some(wrong) = wrong {
        problems.push(place.problem(wrong));
    }
    (name, place)
}
