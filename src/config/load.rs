//! From a path and an environment to settings, or to everything that is wrong with them.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::outside::Environment;
use super::sections::Config;
use super::{cross_checks, ranges};
use crate::problem::Problem;
use crate::yaml::tree::{self, Node};
use crate::yaml::{self, reader};

impl Config {
    /// Reads the file, lays the environment over it, fills in secrets, and checks what can be checked without opening anything else.
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Vec<Problem>> {
        let text = read_text(path).map_err(|problem| vec![problem])?;
        Self::parse(path, &text, environment)
    }

    /// The same from a text. `path` is for messages and relative paths.
    pub fn parse(
        path: &Path,
        text: &str,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Vec<Problem>> {
        match Self::read(path, text, environment) {
            (Some(config), problems) if problems.is_empty() => Ok(config),
            (_, problems) => Err(problems),
        }
    }

    /// What could be read, and everything that is wrong with the file. Where anything is, the settings are good for a look at the files they name, and for nothing more.
    pub(super) fn read(
        path: &Path,
        text: &str,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> (Option<Self>, Vec<Problem>) {
        let base = path.parent().unwrap_or(Path::new("")).to_path_buf();
        let environment = Environment::new(environment);
        let mut root = match tree::parse(path, text, yaml::MAX_BYTES) {
            Ok(root) => root,
            Err(problems) => return (None, problems),
        };
        let mut problems = environment.apply(&mut root);
        problems.extend(environment.fill(&mut root, &base));
        let (config, shape) = reader::read::<Self>(&root);
        let is_whole = shape.is_empty();
        problems.extend(shape);
        let Some(mut config) = config else {
            return (None, problems);
        };
        config.resolve(base, &root);
        problems.extend(ranges::problems(&config.effective_json(), &root));
        // One setting against another: of one that was taken out nothing can be said.
        if is_whole {
            problems.extend(cross_checks::problems(&config, &root));
        }
        (Some(config), problems)
    }

    /// The settings in force, with every default said and no secret: secret types cannot be serialised.
    pub fn effective_json(&self) -> serde_json::Value {
        // Our own types have text keys only, so that this cannot fail.
        serde_json::to_value(self).unwrap_or_default()
    }

    pub fn audit_folder(&self) -> PathBuf {
        let inside = || self.data_dir.join("audit");
        self.audit.path.clone().unwrap_or_else(inside)
    }

    fn resolve(&mut self, base: PathBuf, root: &Node) {
        self.data_dir = plain_join(&base, &self.data_dir);
        let says_path = root
            .get("store")
            .is_some_and(|store| store.node.get("path").is_some());
        self.store.path = if says_path {
            plain_join(&base, &self.store.path)
        } else {
            self.data_dir.join("store")
        };
        let audit = self.audit.path.as_ref().map(|path| plain_join(&base, path));
        self.audit.path = Some(audit.unwrap_or_else(|| self.data_dir.join("audit")));
        self.base = base;
    }
}

/// A problem with a setting that was read well, at the place where `file` names it, or the file as a whole.
pub fn problem_at(file: &Path, path: &[&str], message: String) -> Problem {
    let text = read_text(file).ok();
    let root = text.and_then(|text| tree::parse(file, &text, yaml::MAX_BYTES).ok());
    match root {
        Some(root) => root.place_of(path.iter().copied()).problem(message),
        None => Problem::whole(file, message),
    }
}

/// Joined, without a `./` in the middle.
fn plain_join(base: &Path, path: &Path) -> PathBuf {
    base.join(path.strip_prefix("./").unwrap_or(path))
}

/// A file that a person wrote, as far as such files go.
pub(super) fn read_text(path: &Path) -> Result<String, Problem> {
    let failed = |error: std::io::Error| Problem::whole(path, format!("cannot be read: {error}"));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    let limit = (yaml::MAX_BYTES as u64).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    String::from_utf8(bytes).map_err(|error| not_utf8(path, &error))
}

fn not_utf8(path: &Path, error: &std::string::FromUtf8Error) -> Problem {
    let good = error.utf8_error().valid_up_to();
    let before = error.as_bytes().get(..good).unwrap_or_default();
    let line = before
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        .saturating_add(1);
    let start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end.saturating_add(1));
    let column = String::from_utf8_lossy(before.get(start..).unwrap_or_default())
        .chars()
        .count()
        .saturating_add(1);
    Problem::new(path, line as u64, column as u64, "not UTF-8 text")
}
