//! The files that a first run makes: two authorities, certificates, an account, policies, and a configuration that says what it means.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use zeroize::Zeroizing;

use crate::identity::io::stored_password::NewPassword;
use crate::identity::{Role, UserEntry, UsersDocument};
use crate::pki::{DeviceCa, DeviceNames, PkiError, ServerCa, Validity, files};
use crate::secret::Secret;

/// What only the first run knows.
pub(super) struct FirstRun {
    /// Of the account `admin`. Printed once; the folder holds nothing but its hash.
    pub(super) password: Zeroizing<String>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum FirstRunError {
    #[error("{} exists already; nothing was changed", .0.display())]
    Exists(PathBuf),
    #[error("{}: {source}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0}")]
    Pki(#[from] PkiError),
    #[error("{0}")]
    Other(String),
}

pub(super) const CONFIGURATION: &str = "wardgate.yaml";
pub(super) const DEVICE: &str = "sample-device";
pub(super) const ACCOUNT: &str = "admin";

/// Makes everything, or refuses when anything of it is there. The configuration comes last: a folder without one was not finished.
pub(super) fn make(dir: &Path, bind: IpAddr, plain: bool) -> Result<FirstRun, FirstRunError> {
    let parts = [
        CONFIGURATION,
        "users.yaml",
        "policies",
        "ca",
        "certs",
        "devices",
        "data",
    ];
    if let Some(there) = parts
        .iter()
        .map(|part| dir.join(part))
        .find(|path| fs::symlink_metadata(path).is_ok())
    {
        return Err(FirstRunError::Exists(there));
    }
    for folder in ["", "policies", "ca", "certs", "devices", "data"] {
        folder_at(&dir.join(folder))?;
    }
    let now = SystemTime::now();
    certificates(dir, bind, now)?;
    let password = account(dir)?;
    file(
        &dir.join("policies").join("quickstart.yaml"),
        POLICIES.as_bytes(),
        files::PRIVATE,
    )?;
    file(
        &dir.join(CONFIGURATION),
        configuration(bind, plain).as_bytes(),
        files::PRIVATE,
    )?;
    Ok(FirstRun { password })
}

fn certificates(dir: &Path, bind: IpAddr, now: SystemTime) -> Result<(), FirstRunError> {
    let ca = dir.join("ca");
    let device_ca = DeviceCa::create(&ca, now)?;
    let server_ca = ServerCa::create(&ca, now)?;
    let certs = dir.join("certs");
    let server = server_ca.issue(&hosts(bind), now)?;
    server.write_to(&certs.join("server.pem"), &certs.join("server.key"), false)?;
    let devices = dir.join("devices");
    for folder in [&certs, &devices] {
        file(
            &folder.join("ca.pem"),
            server_ca.certificate_pem().as_bytes(),
            files::PUBLIC,
        )?;
    }
    let names =
        DeviceNames::named(DEVICE).map_err(|error| FirstRunError::Other(error.to_string()))?;
    let issued = device_ca.issue(&names, Validity::starting(now), "quickstart")?;
    issued.write_to(&devices, false)?;
    Ok(())
}

/// The machine's name and the address bound to, besides `localhost`, 127.0.0.1 and ::1.
fn hosts(bind: IpAddr) -> Vec<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut hosts = vec![name.trim().to_owned()];
    hosts.retain(|host| !host.is_empty() && host != "localhost" && host != "(none)");
    if !bind.is_loopback() && !bind.is_unspecified() {
        hosts.push(bind.to_string());
    }
    hosts
}

fn account(dir: &Path) -> Result<Zeroizing<String>, FirstRunError> {
    let other = |error: &dyn std::fmt::Display| FirstRunError::Other(error.to_string());
    let password = password()?;
    let mut entry = UserEntry {
        groups: vec!["admins".into()],
        role: Some(Role::Admin),
        ..UserEntry::default()
    };
    // An administrator logs in over HTTPS, where nothing is gained by SCRAM.
    NewPassword::derive(&Secret::new(password.as_bytes().to_vec()), false)
        .map_err(|error| other(&error))?
        .set(&mut entry);
    let path = dir.join("users.yaml");
    let mut document = UsersDocument::default();
    document.users.insert(ACCOUNT.into(), entry);
    let text = document.to_text(&path).map_err(|problems| {
        FirstRunError::Other(
            problems
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n"),
        )
    })?;
    file(&path, text.as_bytes(), files::PRIVATE)?;
    Ok(password)
}

/// 24 letters and digits that are not mistaken for one another: 120 random bits (STO-4).
fn password() -> Result<Zeroizing<String>, FirstRunError> {
    let mut bytes = Zeroizing::new([0u8; 24]);
    aws_lc_rs::rand::fill(bytes.as_mut())
        .map_err(|_| FirstRunError::Other(NO_RANDOMNESS.into()))?;
    let mut password = Zeroizing::new(String::with_capacity(29));
    for (position, byte) in bytes.iter().enumerate() {
        if position % 4 == 0 && position > 0 {
            password.push('-');
        }
        let letter = ALPHABET
            .get(usize::from(*byte % 32))
            .copied()
            .unwrap_or(b'x');
        password.push(char::from(letter));
    }
    Ok(password)
}

fn folder_at(path: &Path) -> Result<(), FirstRunError> {
    files::create_folder(path).map_err(|source| FirstRunError::File {
        path: path.into(),
        source,
    })
}

fn file(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FirstRunError> {
    files::create_new(path, bytes, mode).map_err(|source| FirstRunError::File {
        path: path.into(),
        source,
    })
}

fn configuration(bind: IpAddr, plain: bool) -> String {
    let listener = if plain { PLAIN } else { "" };
    let socket = |port| std::net::SocketAddr::new(bind, port).to_string();
    CONFIGURATION_TEXT
        .replace("@mqtts", &socket(8883))
        .replace("@wss", &socket(8084))
        .replace("@admin", &socket(18083))
        .replace("@plain\n", listener)
}

/// Crockford's base 32 without upper case.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const NO_RANDOMNESS: &str = "no randomness from the operating system";
const POLICIES: &str = include_str!("../../policies/quickstart.yaml");
const CONFIGURATION_TEXT: &str = include_str!("first_run/wardgate.yaml");
const PLAIN: &str = include_str!("first_run/plain.yaml");

#[cfg(test)]
mod tests;
