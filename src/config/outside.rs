//! What comes into the configuration from outside the file: environment overrides, `${env:NAME}` and `${file:PATH}`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::problem::Problem;
use crate::yaml;
use crate::yaml::tree::{self, Entry, Node, Place, Style, Value};

/// The environment as far as it is text.
pub(super) struct Environment(BTreeMap<String, String>);

impl Environment {
    pub(super) fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let text = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(variables.into_iter().filter_map(text).collect())
    }

    /// `WARDGATE_LISTENERS__MQTTS__BIND` stands for `listeners: {mqtts: {bind: …}}`. A variable without `__` counts only when it names a setting of the
    /// top level, for orchestrators make variables of their own from a service's name.
    pub(super) fn apply(&self, root: &mut Node) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, value) in &self.0 {
            let Some(path) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let path: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
            if let [only] = path.as_slice()
                && !TOP.contains(&only.as_str())
            {
                continue;
            }
            let place = Place {
                source: Arc::from(Path::new(&format!("environment:{name}"))),
                line: 1,
                column: 1,
            };
            match given(value, &place) {
                Ok(node) => problems.extend(put(root, &path, node).err()),
                Err(wrong) => problems.extend(wrong),
            }
        }
        problems
    }

    /// Fills in all references. `base` is what paths are relative to.
    pub(super) fn fill(&self, node: &mut Node, base: &Path) -> Vec<Problem> {
        match &mut node.value {
            Value::Sequence(items) => items
                .iter_mut()
                .flat_map(|item| self.fill(item, base))
                .collect(),
            Value::Mapping(entries) => entries
                .iter_mut()
                .flat_map(|entry| self.fill(&mut entry.node, base))
                .collect(),
            Value::Scalar(text, style) => match self.filled(text, base) {
                Ok(None) => Vec::new(),
                Ok(Some(filled)) => {
                    (*text, *style) = (filled, Style::Outside);
                    Vec::new()
                }
                Err(message) => vec![node.place.problem(message)],
            },
        }
    }

    fn filled(&self, text: &str, base: &Path) -> Result<Option<String>, String> {
        if !text.contains("${") {
            return Ok(None);
        }
        let (mut out, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                // `$${` stands for itself.
                out.push_str(before);
                out.push_str("${");
                rest = after;
                continue;
            }
            out.push_str(before);
            let (reference, after) = after.split_once('}').ok_or("`${` without its `}`")?;
            out.push_str(&self.referred(reference, base)?);
            rest = after;
        }
        out.push_str(rest);
        Ok(Some(out))
    }

    fn referred(&self, reference: &str, base: &Path) -> Result<String, String> {
        let value = match reference.split_once(':') {
            Some(("env", name)) => self
                .0
                .get(name)
                .cloned()
                .ok_or_else(|| format!("the environment variable {name} is not set"))?,
            Some(("file", path)) => secret_file(&base.join(path))?,
            Some(_) | None => {
                return Err(format!(
                    "${{{reference}}} is neither ${{env:NAME}} nor ${{file:PATH}}; write $${{ for the characters themselves"
                ));
            }
        };
        if value.is_empty() {
            Err(format!("${{{reference}}} is empty"))
        } else {
            Ok(value)
        }
    }
}

/// The text of a file less one line end.
fn secret_file(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(SECRET_MAX.saturating_add(1))
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > SECRET_MAX {
        return Err(format!(
            "{}: longer than {SECRET_MAX} bytes",
            path.display()
        ));
    }
    if let Some(line) = text.strip_suffix('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        text.truncate(line.len());
    }
    Ok(text)
}

/// A value from the environment: a list or mapping when it looks like one, else a scalar of whatever type is wanted.
fn given(value: &str, place: &Place) -> Result<Node, Vec<Problem>> {
    if value.starts_with(['[', '{']) {
        return tree::parse(&place.source, value, yaml::MAX_BYTES);
    }
    let value = Value::Scalar(value.to_owned(), Style::Outside);
    Ok(Node {
        place: place.clone(),
        value,
    })
}

/// Replaces or adds the value at a path, whose names are compared without case and with `_` for `-`.
fn put(node: &mut Node, path: &[String], given: Node) -> Result<(), Problem> {
    let Some((step, rest)) = path.split_first() else {
        *node = given;
        return Ok(());
    };
    if node.is_nothing() {
        *node = Node::empty_mapping(given.place.clone());
    }
    match &mut node.value {
        Value::Mapping(entries) => {
            let same =
                |entry: &&mut Entry| entry.key.to_ascii_lowercase().replace('-', "_") == *step;
            if let Some(entry) = entries.iter_mut().find(same) {
                return put(&mut entry.node, rest, given);
            }
            let place = given.place.clone();
            let mut node = Node::empty_mapping(place.clone());
            put(&mut node, rest, given)?;
            entries.push(Entry {
                key: step.clone(),
                place,
                node,
            });
            Ok(())
        }
        Value::Sequence(items) => match step
            .parse::<usize>()
            .ok()
            .and_then(|index| items.get_mut(index))
        {
            Some(item) => put(item, rest, given),
            None => Err(given.place.problem(format!("the list has no item {step}"))),
        },
        Value::Scalar(..) => Err(given
            .place
            .problem(format!("there is no {step} inside a single value"))),
    }
}

const PREFIX: &str = "WARDGATE_";
/// Settings of the top level that are no sections.
const TOP: [&str; 3] = ["node", "data_dir", "policies"];
const SECRET_MAX: u64 = 64 * 1024;
