//! Who on this machine can read the keys or change the rules.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::Findings;
use crate::config::Config;
use crate::net::TlsConfig;

pub(super) fn examine(config: &Config, file: &Path, findings: &mut Findings) {
    for secret in secrets(config) {
        judge_secret(&secret, findings);
    }
    for rules in rules(config, file) {
        judge_rules(&rules, findings);
    }
    for folder in [
        config.data_dir.clone(),
        config.audit_folder(),
        config.store.path.clone(),
    ] {
        judge_folder(&folder, findings);
    }
}

/// Whoever reads one of these is somebody else.
fn secrets(config: &Config) -> Vec<PathBuf> {
    let keys = |tls: &TlsConfig| {
        let own = std::iter::once(tls.private_key.clone());
        own.chain(tls.sni.values().map(|files| files.private_key.clone()))
            .collect::<Vec<_>>()
    };
    let mut secrets: Vec<PathBuf> = config
        .listeners
        .values()
        .filter_map(|listener| listener.tls.as_ref())
        .chain(config.admin.as_ref().map(|admin| &admin.tls))
        .flat_map(keys)
        .collect();
    let authentication = &config.authentication;
    secrets.extend(
        authentication
            .password
            .as_ref()
            .map(|password| password.file.clone()),
    );
    if let Some(jwt) = &authentication.jwt {
        secrets.extend(jwt.keys.iter().filter_map(|key| key.secret_file.clone()));
    }
    let mut secrets: Vec<PathBuf> = secrets
        .into_iter()
        .map(|path| config.base.join(path))
        .collect();
    let ca = config.base.join("ca");
    if let Ok(entries) = std::fs::read_dir(ca) {
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        secrets.extend(paths.filter(|path| path.extension().is_some_and(|ending| ending == "key")));
    }
    secrets.sort();
    secrets.dedup();
    secrets
}

/// Whoever writes one of these decides who may do what.
fn rules(config: &Config, file: &Path) -> Vec<PathBuf> {
    let mut rules = vec![file.to_path_buf()];
    for policies in &config.policies {
        let path = config.base.join(policies);
        if let Ok(entries) = std::fs::read_dir(&path) {
            rules.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
        }
        rules.push(path);
    }
    for listener in config.listeners.values() {
        let trust = listener.tls.iter().flat_map(|tls| &tls.client_ca);
        rules.extend(trust.map(|path| config.base.join(path)));
    }
    rules.sort();
    rules.dedup();
    rules
}

fn judge_secret(path: &Path, findings: &mut Findings) {
    // What cannot be looked at cannot be used either: that is a finding of `check`.
    let Some((mode, _)) = mode(path) else { return };
    if mode & 0o077 != 0 {
        findings.serious(
            "file-mode",
            path.display().to_string(),
            format!("mode {mode:04o}: others than its owner can read or change this secret"),
            "chmod 600, and a new key if anybody else has an account here",
        );
    }
}

fn judge_rules(path: &Path, findings: &mut Findings) {
    let Some((mode, metadata)) = mode(path) else {
        return;
    };
    if mode & 0o002 != 0 {
        findings.serious(
            "file-mode",
            path.display().to_string(),
            format!("mode {mode:04o}: every user of this machine can change it"),
            "chmod o-w",
        );
    } else if mode & 0o020 != 0 && metadata.gid() != 0 {
        findings.warning(
            "file-mode",
            path.display().to_string(),
            format!("mode {mode:04o}: its group can change it"),
            "chmod g-w, unless the group is the operators'",
        );
    }
}

fn judge_folder(path: &Path, findings: &mut Findings) {
    let Some((mode, _)) = mode(path) else { return };
    if mode & 0o077 != 0 {
        findings.warning(
            "file-mode",
            path.display().to_string(),
            format!("mode {mode:04o}: others can look into what the broker writes"),
            "chmod 700",
        );
    }
}

fn mode(path: &Path) -> Option<(u32, Metadata)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.permissions().mode() & 0o7777, metadata))
}
