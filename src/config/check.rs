//! What `wardgate check` does beyond reading the file: opens all that the settings name.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
        // The files that it names have mistakes of their own, and nobody wants to hear of them one by one.
        let files = config.open_files();
        if problems.is_empty() {
            warnings = once_each(config.warnings(path, &files, now));
            problems = config.chain_problems(path, &files);
        }
        let placed = |problem| at_its_place(problem, &config.base, path);
        problems.extend(files.problems.into_iter().map(placed));
        problems.extend(config.out_of_date(now));
    }
    Checked {
        problems: once_each(problems),
        warnings,
    }
}

/// What the settings name, each file opened once, whatever the settings mean together.
struct Files {
    problems: Vec<Problem>,
    /// The sections `tls` that can be served with.
    tls: Vec<(TlsConfig, Vec<RevocationList>)>,
    back_ends: Option<Arc<BackEnds>>,
    policies: Option<Policies>,
}

impl Config {
    fn open_files(&self) -> Files {
        let mut problems = Vec::new();
        let mut tls = Vec::new();
        for (section, transport) in self.tls_sections() {
            match ServerTls::build(&section, &self.base, transport) {
                Ok(built) => tls.push((section, built.revocation_lists())),
                Err(found) => problems.extend(found),
            }
        }
        let admin = self.admin.iter();
        problems.extend(admin.filter_map(|admin| admin.check_est(&self.base).err()));
        let mut noted = |found: Vec<Problem>| problems.extend(found);
        let back_ends = BackEnds::open(&self.authentication, &self.base);
        let back_ends = back_ends.map_err(&mut noted).ok();
        let policies = self.load_policies().map_err(&mut noted).ok();
        Files {
            problems,
            tls,
            back_ends,
            policies,
        }
    }

    /// Every section `tls` there is, with the one by which the devices of `admin.est` are judged.
    pub(super) fn tls_sections(&self) -> Vec<(TlsConfig, Transport)> {
        let listeners = self.listeners.values();
        let listeners =
            listeners.filter_map(|listener| Some((listener.tls.clone()?, listener.transport)));
        let admin = self.admin.iter();
        let admin = admin.flat_map(|admin| [Some(admin.tls.clone()), admin.device_tls()]);
        let admin = admin.flatten().map(|tls| (tls, Transport::Websocket));
        listeners.chain(admin).collect()
    }

    /// Reads certificates, keys, revocation lists, users and policies, as a start would.
    pub fn check_files(&self, path: &Path) -> Vec<Problem> {
        let files = self.open_files();
        let chains = self.chain_problems(path, &files);
        once_each(files.problems.into_iter().chain(chains).collect())
    }

    fn chain_problems(&self, path: &Path, files: &Files) -> Vec<Problem> {
        let Some(back_ends) = &files.back_ends else {
            return Vec::new();
        };
        let listeners = self.listeners.iter();
        let told = listeners.filter_map(|(name, listener)| {
            let error = Chain::build(&listener.authenticate, back_ends).err()?;
            let place = ["listeners", name.as_str(), "authenticate"];
            Some(problem_at(path, &place, error.to_string()))
        });
        told.collect()
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
    fn warnings(&self, path: &Path, files: &Files, now: SystemTime) -> Vec<Problem> {
        let mut warnings = Vec::new();
        if let Some(policies) = &files.policies {
            if policies.is_empty() {
                warnings.push(Problem::whole(path, NO_POLICY));
            }
            warnings.extend_from_slice(policies.warnings());
        }
        for (tls, lists) in &files.tls {
            warnings.extend(net::tls::foreign_lists(tls, &self.base));
            warnings.extend(stale_lists(tls, lists, now));
        }
        warnings
    }

    /// All policy files as one set. A folder stands for the `*.yaml` files in it.
    pub fn load_policies(&self) -> Result<Policies, Vec<Problem>> {
        let files = policy_files(&self.base, &self.policies)?;
        Policies::parse(&files)
    }
}

/// A setting that was found wrong where files are opened, which knows its name and not its line.
fn at_its_place(problem: Problem, base: &Path, path: &Path) -> Problem {
    let named = problem.message.split_once(": ");
    let named = named.filter(|(setting, _)| setting.starts_with("authentication."));
    match named {
        Some((setting, reason)) if problem.file == base => {
            let steps: Vec<&str> = setting.split('.').collect();
            problem_at(path, &steps, format!("{setting}: {reason}"))
        }
        Some(_) | None => problem,
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

fn stale_lists(tls: &TlsConfig, lists: &[RevocationList], now: SystemTime) -> Vec<Problem> {
    let denies = |list: &&RevocationList| tls.crl_stale == Doubt::Deny && list.is_stale(now);
    let told = |list: &RevocationList| {
        let message = format!(
            "its next update was due: no device with a certificate of {} gets in (crl_stale: deny); `wardgate ca crl` writes a new one",
            list.issuer
        );
        Problem::whole(&list.file, message)
    };
    lists.iter().filter(denies).map(told).collect()
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
