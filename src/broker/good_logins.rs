//! The memory of good logins outlives the process: who logged in well before a restart is known after it. Contract section 6.
//!
//! It is a help, not a guard: what cannot be read is told and begun anew, and never keeps a node from starting.

use super::kept::Kept;
use crate::limits::{Limits, LimitsConfig, RECORDS_KEY_LENGTH};
use crate::pki::files::{self, PRIVATE};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};
use zeroize::Zeroizing;

/// A crash loses the newest of them.
const INTERVAL: Duration = Duration::from_secs(5);
/// All that the table can hold, with room.
const LONGEST: u64 = 4 * 1024 * 1024;
const TABLE: &str = "good-logins";
const KEY: &str = "good-logins.key";

type Key = Zeroizing<[u8; RECORDS_KEY_LENGTH]>;

/// The limits of a node that knows whom the last process knew.
pub(super) fn limits(
    config: &LimitsConfig,
    data_dir: &Path,
    now: Instant,
) -> (Limits, Option<Kept>) {
    let file = data_dir.join(KEY);
    let there = read_key(data_dir).unwrap_or_else(|error| {
        tracing::warn!(file = %file.display(), %error, "good logins of earlier are forgotten: a new key is made");
        None
    });
    let key = match there.map_or_else(|| new_key(data_dir), Ok) {
        Ok(key) => key,
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "good logins will not be known after a restart");
            return (Limits::new(config.clone(), rand::random(), now), None);
        }
    };
    let limits = Limits::remembering(config.clone(), rand::random(), &key, now);
    restore(&limits, data_dir, now);
    let kept = Kept::new(
        ("good logins", data_dir.join(TABLE)),
        INTERVAL,
        &limits,
        Limits::records_generation,
        |limits| Ok(limits.records(Instant::now(), SystemTime::now())),
    );
    (limits, Some(kept))
}

/// The same for somebody who only looks: nothing is made, and without the node's key nothing is known.
pub fn limits_as_kept(config: &LimitsConfig, data_dir: &Path, now: Instant) -> Limits {
    match read_key(data_dir) {
        Ok(Some(key)) => {
            let limits = Limits::remembering(config.clone(), rand::random(), &key, now);
            restore(&limits, data_dir, now);
            limits
        }
        Ok(None) | Err(_) => Limits::new(config.clone(), rand::random(), now),
    }
}

fn restore(limits: &Limits, data_dir: &Path, now: Instant) {
    let path = data_dir.join(TABLE);
    let restored = match read(&path, LONGEST) {
        Ok(None) => return,
        Ok(Some(bytes)) => limits
            .restore_records(&bytes, now, SystemTime::now())
            .map_err(io::Error::other),
        Err(error) => Err(error),
    };
    if let Err(error) = restored {
        tracing::warn!(file = %path.display(), %error, "good logins of earlier are forgotten");
    }
}

/// `None`: there is none yet.
fn read_key(data_dir: &Path) -> io::Result<Option<Key>> {
    let path = data_dir.join(KEY);
    let Some(bytes) = read(&path, LONGEST)?.map(Zeroizing::new) else {
        return Ok(None);
    };
    let others = fs::metadata(&path)?.permissions().mode() & 0o077;
    if others != 0 {
        return Err(io::Error::other("others can read it"));
    }
    let wrong = |_| io::Error::other(format!("a key has {RECORDS_KEY_LENGTH} bytes"));
    let key = <[u8; RECORDS_KEY_LENGTH]>::try_from(bytes.as_slice()).map_err(wrong)?;
    Ok(Some(Zeroizing::new(key)))
}

fn new_key(data_dir: &Path) -> io::Result<Key> {
    files::create_folder(data_dir)?;
    let key: Key = Zeroizing::new(rand::random());
    files::replace(&data_dir.join(KEY), key.as_slice(), PRIVATE)?;
    Ok(key)
}

fn read(path: &Path, longest: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    let length = file
        .take(longest.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > longest {
        return Err(io::Error::other("the file is too long"));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::identity::{Method, Repute};
    use crate::limits::Attempt;

    #[test]
    fn idn_13_good_logins_are_known_after_a_restart_and_damage_only_forgets_them() {
        let folder =
            std::env::temp_dir().join(format!("wardgate-good-{:x}", rand::random::<u64>()));
        let data = folder.join("data");
        let now = Instant::now();
        let alice = Attempt {
            ip: "198.51.100.1".parse().unwrap(),
            method: Method::PASSWORD,
            username: Some("alice"),
        };
        let start = || {
            let (limits, kept) = limits(&LimitsConfig::default(), &data, now);
            (limits, kept.unwrap())
        };
        let mode = |name: &str| fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o777;
        let (first, kept) = start();
        assert_eq!(first.attempt(&alice, now), Ok(Repute::Stranger));
        kept.write(&first);
        assert!(!data.join(TABLE).exists(), "nothing to write");
        first.succeeded(&alice, now);
        kept.write(&first);
        assert_eq!((mode(TABLE), mode(KEY)), (0o600, 0o600));
        assert_eq!(start().0.attempt(&alice, now), Ok(Repute::Known));
        let seen = limits_as_kept(&LimitsConfig::default(), &data, now);
        assert_eq!(seen.attempt(&alice, now), Ok(Repute::Known));
        let (table, key) = (
            fs::read(data.join(TABLE)).unwrap(),
            fs::read(data.join(KEY)).unwrap(),
        );
        let rows: [(&str, &str, &[u8]); 5] = [
            ("cut", TABLE, table.get(..60).unwrap()),
            ("empty", TABLE, b""),
            ("nonsense", TABLE, b"[]"),
            ("a short key", KEY, b"short"),
            ("another key", KEY, &[3; RECORDS_KEY_LENGTH]),
        ];
        for (what, name, bytes) in rows {
            fs::write(data.join(TABLE), &table).unwrap();
            fs::write(data.join(KEY), &key).unwrap();
            assert_eq!(start().0.attempt(&alice, now), Ok(Repute::Known), "{what}");
            fs::write(data.join(name), bytes).unwrap();
            assert_eq!(
                start().0.attempt(&alice, now),
                Ok(Repute::Stranger),
                "{what}"
            );
        }
        fs::write(data.join(TABLE), &table).unwrap();
        fs::write(data.join(KEY), &key).unwrap();
        fs::set_permissions(data.join(KEY), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(start().0.attempt(&alice, now), Ok(Repute::Stranger));
        assert_eq!(mode(KEY), 0o600, "a new one");
        fs::remove_dir_all(&folder).unwrap();
    }
}
