//! The folder on a real disk.

use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Removed when it goes out of scope.
pub struct Place(pub PathBuf);

impl Place {
    pub fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("wardgate-store-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn open_folder(path: &Path) -> Result<(Arc<Embedded>, Restored), OpenError> {
    Embedded::open(path.to_owned(), OPTIONS, Instant::now(), SystemTime::now())
}

#[test]
fn sto_03_folder_and_files_are_private_whatever_they_were() {
    let place = Place::new("private");
    let path = place.0.join("a/store");
    std::fs::create_dir_all(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
    std::fs::write(path.join("lock"), "").unwrap();
    std::fs::set_permissions(path.join("lock"), PermissionsExt::from_mode(0o666)).unwrap();
    let (store, _) = open_folder(&path).unwrap();
    settle_down(&store, store.save(record(1)));
    store.close();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let mut files = 0;
    for entry in std::fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{entry:?}"
        );
        files += 1;
    }
    assert_eq!(files, 3);
    drop(store);
    assert_eq!(open_folder(&path).unwrap().1.sessions.len(), 1);
}

#[test]
fn sto_03_a_link_in_the_place_of_folder_or_file_is_refused() {
    let place = Place::new("links");
    let (real, link) = (place.0.join("real"), place.0.join("link"));
    std::fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    let error = open_folder(&link).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::NotAFolder { .. }), "{error}");
    let target = place.0.join("target");
    std::fs::write(&target, "mine").unwrap();
    symlink(&target, real.join("store.redb")).unwrap();
    let error = open_folder(&real).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    assert_eq!(std::fs::read(&target).unwrap(), b"mine");
}

#[test]
fn a_store_is_used_by_one_process_at_a_time() {
    let place = Place::new("lock");
    let path = place.0.join("store");
    let (store, _) = open_folder(&path).unwrap();
    let error = open_folder(&path).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    drop(store);
    assert!(open_folder(&path).is_ok());
}
