//! Certificates, keys and revocation lists from files, PEM or DER.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::problem::Problem;

const CERTIFICATES_MAX: u64 = 1024 * 1024;
const KEY_MAX: u64 = 64 * 1024;
/// A hundred thousand entries take 4 MiB.
const REVOCATION_LIST_MAX: u64 = 64 * 1024 * 1024;

/// At least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let bytes = read(path, CERTIFICATES_MAX)?;
    sections(path, &bytes, "certificate", CertificateDer::from)
}

/// At least one.
pub(super) fn revocation_lists(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, Problem> {
    let bytes = read(path, REVOCATION_LIST_MAX)?;
    sections(path, &bytes, "revocation list", |der| der.into())
}

/// Refused when others than the owner may read or replace it (STO-3).
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Problem> {
    let (bytes, mode) = read_with_mode(path, KEY_MAX)?;
    if mode & 0o077 != 0 {
        return Err(Problem::whole(
            path,
            format!(
                "private key with mode {:04o}: others can read it; chmod 600",
                mode & 0o7777
            ),
        ));
    }
    let key = if is_pem(&bytes) {
        PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
            let message = if matches!(error, pem::Error::NoItemsFound) {
                "no private key in it (PKCS#8, SEC1 or PKCS#1, not encrypted)".to_owned()
            } else {
                format!("not a PEM file: {error}")
            };
            Problem::whole(path, message)
        })
    } else {
        PrivateKeyDer::try_from(bytes.as_slice())
            .map(|key| key.clone_key())
            .map_err(|error| Problem::whole(path, format!("not a private key: {error}")))
    }?;
    Ok(key)
}

/// All sections of one kind of a PEM file, or the whole of a DER file.
fn sections<T: PemObject>(
    path: &Path,
    bytes: &[u8],
    kind: &str,
    from_der: impl Fn(Vec<u8>) -> T,
) -> Result<Vec<T>, Problem> {
    let sections = if is_pem(bytes) {
        let mut sections = Vec::new();
        for (line, section) in each_section(bytes) {
            for item in T::pem_slice_iter(section) {
                let damaged =
                    |error| Problem::new(path, line, 1, format!("not a PEM file: {error}"));
                sections.push(item.map_err(damaged)?);
            }
        }
        sections
    } else if bytes.is_empty() {
        Vec::new()
    } else {
        vec![from_der(bytes.to_vec())]
    };
    if sections.is_empty() {
        return Err(Problem::whole(path, format!("no {kind} in it")));
    }
    Ok(sections)
}

/// Each from its `BEGIN` to the next, with the line that it begins in.
fn each_section(bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut starts = Vec::new();
    let mut offset = 0_usize;
    for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        if line.starts_with(BEGIN) {
            starts.push((number, offset));
        }
        offset = offset.saturating_add(line.len());
    }
    let ends = starts.iter().skip(1).map(|(_, start)| *start);
    let ends = ends.chain([bytes.len()]);
    let sections = starts.iter().zip(ends);
    sections
        .filter_map(|((line, start), end)| Some((*line, bytes.get(*start..end)?)))
        .collect()
}

const BEGIN: &[u8] = b"-----BEGIN ";

fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(BEGIN.len()).any(|window| window == BEGIN)
}

fn read(path: &Path, max: u64) -> Result<Zeroizing<Vec<u8>>, Problem> {
    read_with_mode(path, max).map(|(bytes, _)| bytes)
}

/// The mode is that of the file opened, not of a name that may be another file by now.
fn read_with_mode(path: &Path, max: u64) -> Result<(Zeroizing<Vec<u8>>, u32), Problem> {
    let unreadable = |error| Problem::whole(path, format!("cannot be read: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Problem::whole(path, "not a file"));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > max {
        return Err(Problem::whole(path, format!("larger than {max} bytes")));
    }
    Ok((bytes, mode(&metadata)))
}

#[cfg(unix)]
fn mode(metadata: &std::fs::Metadata) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions())
}

#[cfg(not(unix))]
fn mode(_: &std::fs::Metadata) -> u32 {
    0
}
