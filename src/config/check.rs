//! What `wardgate check` does beyond reading the file: opens all that the settings name.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::load::{problem_at, read_text};
use super::sections::Config;
use crate::identity::io::{BackEnds, Chain};
use crate::net::config::Doubt;
use crate::net::tls::RevocationList;
use crate::net::{self, ServerTls, TlsConfig, Transport};
use crate::policy::Policies;
use crate::problem::Problem;

/// What a look at the configuration tells.
#[derive(Debug, Default)]
pub struct Checked {
    /// Each of them stops a start.
    pub problems: Vec<Problem>,
    /// What starts, and hardly does what is meant.
    pub warnings: Vec<Problem>,
}

pub const NO_POLICY: &str =
    "there is no policy: nobody may publish or subscribe to anything until `policies` names some";

/// Everything that would stop a start, without starting.
pub fn check(
    path: &Path,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    now: SystemTime,
) -> Checked {
    let read = read_text(path).map(|text| Config::read(path, &text, environment));
    let (config, mut problems) = read.unwrap_or_else(|problem| (None, vec![problem]));
    let mut warnings = Vec::new();
    if let Some(config) = config {
        if problems.is_empty() {
            problems = config.check_files(path);
            warnings = once_each(config.warnings(path, now));
        } else {
            // The files that it names have mistakes of their own, and nobody wants to hear of them one by one.
            problems.extend(config.files_alone());
        }
        problems.extend(config.out_of_date(now));
    }
    Checked {
        problems: once_each(problems),
        warnings,
    }
}

impl Config {
    /// Each file for itself, whatever the settings mean together.
    fn files_alone(&self) -> Vec<Problem> {
        let mut problems = self.tls_problems();
        problems.extend(
            BackEnds::open(&self.authentication, &self.base)
                .err()
                .unwrap_or_default(),
        );
        problems.extend(self.load_policies().err().unwrap_or_default());
        problems
    }

    fn tls_problems(&self) -> Vec<Problem> {
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
        problems
    }

    /// Reads certificates, keys, revocation lists, users and policies, as a start would.
    pub fn check_files(&self, path: &Path) -> Vec<Problem> {
        let mut problems = self.tls_problems();
        match BackEnds::open(&self.authentication, &self.base) {
            Err(found) => problems.extend(found),
            Ok(back_ends) => {
                for (name, listener) in &self.listeners {
                    if let Err(error) = Chain::build(&listener.authenticate, &back_ends) {
                        let place = ["listeners", name.as_str(), "authenticate"];
                        problems.push(problem_at(path, &place, error.to_string()));
                    }
                }
            }
        }
        problems.extend(self.load_policies().err().unwrap_or_default());
        once_each(problems)
    }

    /// The certificates that we would show, and no client believe. They refuse a start, and are no reason to refuse a reload: the node that
    /// is asked to reload has shown them all along.
    pub fn out_of_date(&self, now: SystemTime) -> Vec<Problem> {
        let listeners = self.listeners.values();
        listeners
            .filter_map(|listener| listener.tls.as_ref())
            .chain(self.admin.iter().map(|admin| &admin.tls))
            .flat_map(|tls| net::tls::out_of_date(tls, &self.base, now))
            .collect()
    }

    /// What stops no start: policies and revocation lists that do other things than they seem to. `path` is where the settings were read from.
    fn warnings(&self, path: &Path, now: SystemTime) -> Vec<Problem> {
        let mut warnings = Vec::new();
        if let Ok(policies) = self.load_policies() {
            if policies.is_empty() {
                warnings.push(Problem::whole(path, NO_POLICY));
            }
            warnings.extend_from_slice(policies.warnings());
        }
        for listener in self.listeners.values() {
            let Some(tls) = &listener.tls else { continue };
            warnings.extend(net::tls::foreign_lists(tls, &self.base));
            warnings.extend(self.stale_lists(tls, listener.transport, now));
        }
        warnings
    }

    fn stale_lists(&self, tls: &TlsConfig, transport: Transport, now: SystemTime) -> Vec<Problem> {
        let built = ServerTls::build(tls, &self.base, transport);
        let lists = built.map(|built| built.revocation_lists());
        let denies = |list: &RevocationList| tls.crl_stale == Doubt::Deny && list.is_stale(now);
        lists
            .unwrap_or_default()
            .into_iter()
            .filter(denies)
            .map(|list| {
                let message = format!(
                    "its next update was due: no device with a certificate of {} gets in (crl_stale: deny); `wardgate ca crl` writes a new one",
                    list.issuer
                );
                Problem::whole(list.file, message)
            })
            .collect()
    }

    /// All policy files as one set. A folder stands for the `*.yaml` files in it.
    pub fn load_policies(&self) -> Result<Policies, Vec<Problem>> {
        let files = policy_files(&self.base, &self.policies)?;
        Policies::parse(&files)
    }
}

/// Listeners share files; one fault is told once.
fn once_each(problems: Vec<Problem>) -> Vec<Problem> {
    let mut once = Vec::new();
    for problem in problems {
        if !once.contains(&problem) {
            once.push(problem);
        }
    }
    once
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
