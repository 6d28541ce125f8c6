//! The file that logins outlive the process in.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Login;
use super::envelope::Keys;
use crate::identity::io::watched::read_file;
use crate::identity::{Identity, Method};

/// All logins there can be, with room.
const LENGTH_MAX: u64 = 64 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    keys: Keys,
    logins: Vec<Entry>,
}

#[derive(Serialize)]
struct Written<'a> {
    keys: &'a Keys,
    logins: Vec<Entry>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Arc<str>,
    namespace: Arc<str>,
    username: Arc<str>,
    method: String,
    groups: Vec<Arc<str>>,
    ip: IpAddr,
    begun: SystemTime,
    used: SystemTime,
    ends_at: SystemTime,
}

/// Nothing there is nobody logged in.
pub(super) fn read(path: &Path) -> io::Result<(Keys, HashMap<Arc<str>, Login>)> {
    let bytes = match read_file(path, LENGTH_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
        Err(error) => return Err(error),
    };
    let record: Record = serde_json::from_slice(&bytes)?;
    let mut kept = HashMap::new();
    for entry in record.logins {
        let method = Method::listed(&entry.method)
            .ok_or_else(|| io::Error::other(format!("no method is called {:?}", entry.method)))?;
        let identity = Identity {
            groups: entry.groups,
            ..Identity::new(method, entry.namespace, entry.username)
        };
        let login = Login {
            name: entry.name,
            identity: Arc::new(identity),
            csrf_token: "".into(),
            ip: entry.ip,
            begun: entry.begun,
            used: entry.used,
            ends_at: entry.ends_at,
        };
        kept.insert(Arc::clone(&login.name), login);
    }
    Ok((record.keys, kept))
}

pub(super) fn text(keys: &Keys, kept: &HashMap<Arc<str>, Login>) -> io::Result<Vec<u8>> {
    let entry = |login: &Login| Entry {
        name: Arc::clone(&login.name),
        namespace: Arc::clone(&login.identity.namespace),
        username: Arc::clone(&login.identity.username),
        method: login.identity.method.0.to_owned(),
        groups: login.identity.groups.clone(),
        ip: login.ip,
        begun: login.begun,
        used: login.used,
        ends_at: login.ends_at,
    };
    let written = Written {
        keys,
        logins: kept.values().map(entry).collect(),
    };
    serde_json::to_vec(&written).map_err(io::Error::other)
}
