//! Where policies are read from: files, folders of `*.yaml`, or what a configuration names.

use crate::policy::Policies;
use crate::problem::Problem;
use crate::yaml;
use clap::Args;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Source {
    /// Use the policies that this configuration names
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Use these policy files, or folders of *.yaml
    #[arg(long, value_name = "PATH", num_args = 1..)]
    policies: Vec<PathBuf>,
}

/// `policies:` of a configuration; the other sections are not looked at.
#[derive(serde::Deserialize)]
struct Named {
    #[serde(default)]
    policies: Vec<PathBuf>,
}

impl Source {
    /// The configuration, where one was named.
    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    pub(super) fn load(&self) -> Result<Arc<Policies>, Vec<Problem>> {
        let files = match &self.config {
            Some(config) => read(&named_by(config).map_err(|problem| vec![problem])?)?,
            None => read(&self.policies)?,
        };
        Policies::parse(&files).map(Arc::new)
    }
}

fn named_by(config: &Path) -> Result<Vec<PathBuf>, Problem> {
    let named: Named = yaml::read(config, &read_file(config)?)?;
    let folder = config.parent().unwrap_or(Path::new(""));
    Ok(named
        .policies
        .into_iter()
        .map(|path| folder.join(path))
        .collect())
}

/// All files in the order of their names. A folder without any is a mistake (IDN-2).
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<(PathBuf, String)>, Vec<Problem>> {
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        match list(path) {
            Ok(found) => files.extend(found),
            Err(problem) => problems.push(problem),
        }
    }
    let mut read = Vec::new();
    for file in files {
        match read_file(&file) {
            Ok(text) => read.push((file, text)),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        Ok(read)
    } else {
        Err(problems)
    }
}

fn list(path: &Path) -> Result<Vec<PathBuf>, Problem> {
    let unreadable = |error: std::io::Error| Problem::whole(path, error.to_string());
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let extension = file.extension().and_then(|extension| extension.to_str());
        match extension {
            Some("yaml") => found.push(file),
            Some("yml") => {
                let message = "only *.yaml is read from a folder: rename it, or move it away";
                return Err(Problem::whole(file, message));
            }
            Some(_) | None => {}
        }
    }
    if found.is_empty() {
        return Err(Problem::whole(path, "no *.yaml in this folder"));
    }
    found.sort();
    Ok(found)
}

/// Reads no more than a policy file may have, so that a wrong path cannot fill the memory.
pub(super) fn read_file(file: &Path) -> Result<String, Problem> {
    let unreadable = |error: std::io::Error| Problem::whole(file, error.to_string());
    let mut text = String::new();
    let most = u64::try_from(yaml::MAX_BYTES).unwrap_or(u64::MAX);
    fs::File::open(file)
        .map_err(unreadable)?
        .take(most.saturating_add(1))
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    Ok(text)
}
