//! What `wardgate check` does beyond reading the file: opens all that the settings name.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::load::read_text;
use super::sections::Config;
use crate::identity::io::{BackEnds, Chain};
use crate::net::{ServerTls, TlsConfig, Transport};
use crate::policy::Policies;
use crate::problem::Problem;

/// Everything that would stop a start, without starting.
pub fn check(
    path: &Path,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<Problem> {
    match Config::load(path, environment) {
        Ok(config) => config.check_files(path),
        Err(problems) => problems,
    }
}

impl Config {
    /// Reads certificates, keys, revocation lists, users and policies, as a start would.
    pub fn check_files(&self, path: &Path) -> Vec<Problem> {
        let mut problems = Vec::new();
        for listener in self.listeners.values() {
            problems.extend(
                listener
                    .tls
                    .iter()
                    .flat_map(|tls| tls_problems(tls, &self.base, listener.transport)),
            );
        }
        if let Some(admin) = &self.admin {
            problems.extend(admin.server_tls(&self.base).err().unwrap_or_default());
            problems.extend(admin.check_est(&self.base).err());
        }
        match BackEnds::open(&self.authentication, &self.base) {
            Err(found) => problems.extend(found),
            Ok(back_ends) => {
                for (name, listener) in &self.listeners {
                    if let Err(error) = Chain::build(&listener.authenticate, &back_ends) {
                        problems.push(Problem::whole(path, format!("listeners.{name}: {error}")));
                    }
                }
            }
        }
        problems.extend(self.load_policies().err().unwrap_or_default());
        let mut once = Vec::new();
        // Listeners share files; one fault is told once.
        for problem in problems {
            if !once.contains(&problem) {
                once.push(problem);
            }
        }
        once
    }

    /// All policy files as one set. A folder stands for the `*.yaml` files in it.
    pub fn load_policies(&self) -> Result<Policies, Vec<Problem>> {
        let files = policy_files(&self.base, &self.policies)?;
        Policies::parse(&files)
    }
}

fn tls_problems(tls: &TlsConfig, base: &Path, transport: Transport) -> Vec<Problem> {
    ServerTls::build(tls, base, transport)
        .err()
        .unwrap_or_default()
}

/// The text of each file, in order of path.
pub fn policy_files(
    base: &Path,
    paths: &[PathBuf],
) -> Result<Vec<(PathBuf, String)>, Vec<Problem>> {
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        match expand(&base.join(path)) {
            Ok(found) => files.extend(found),
            Err(problem) => problems.push(problem),
        }
    }
    files.sort();
    files.dedup();
    let mut texts = Vec::new();
    for file in files {
        match read_text(&file) {
            Ok(text) => texts.push((file, text)),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        Ok(texts)
    } else {
        Err(problems)
    }
}

fn expand(path: &Path) -> Result<Vec<PathBuf>, Problem> {
    let failed = |error: std::io::Error| Problem::whole(path, format!("cannot be read: {error}"));
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let yaml = file
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        let hidden = file
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if yaml && !hidden && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(Problem::whole(path, "the folder holds no *.yaml file"));
    }
    Ok(files)
}
