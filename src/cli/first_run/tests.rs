//! A first run makes what `check` accepts, keeps it private, and shares no secret with another.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// A folder of this test's own, gone at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("wardgate-first-run-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn first_run(dir: &Path, plain: bool) -> FirstRun {
    make(dir, Ipv4Addr::LOCALHOST.into(), plain).unwrap()
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        }
        found.push(path);
    }
    found
}

#[test]
fn what_it_makes_is_accepted_by_check() {
    for plain in [false, true] {
        let scratch = Scratch::new(&format!("check-{plain}"));
        first_run(&scratch.0, plain);
        let configuration = scratch.0.join(CONFIGURATION);
        let now = std::time::SystemTime::now();
        let checked = crate::config::check(&configuration, std::iter::empty(), now);
        let told = [&checked.problems[..], &checked.warnings[..]].concat();
        assert!(told.is_empty(), "plain {plain}: {told:#?}");
        let config = crate::config::Config::load(&configuration, std::iter::empty()).unwrap();
        let findings = config.examine(&configuration, std::time::SystemTime::now());
        let worse = |finding: &&crate::config::doctor::Finding| {
            finding.grade != crate::config::doctor::Grade::Note
        };
        let worse: Vec<_> = findings.iter().filter(worse).collect();
        assert!(worse.is_empty(), "plain {plain}: {worse:#?}");
        assert_eq!(config.listeners.contains_key("mqtt"), plain);
        assert!(
            config
                .listeners
                .values()
                .all(|listener| listener.bind.ip().is_loopback())
        );
    }
}

#[test]
fn sto_03_what_it_makes_is_private() {
    let scratch = Scratch::new("modes");
    first_run(&scratch.0, false);
    for path in files_below(&scratch.0) {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let public = path
            .extension()
            .is_some_and(|extension| extension == "pem" || extension == "crl");
        let most = if path.is_dir() {
            0o700
        } else if public {
            0o644
        } else {
            0o600
        };
        assert_eq!(mode & !most, 0, "{} has {mode:o}", path.display());
    }
}

#[test]
fn sto_04_two_first_runs_share_no_secret() {
    let (one, two) = (Scratch::new("one"), Scratch::new("two"));
    let passwords = (
        first_run(&one.0, false).password,
        first_run(&two.0, false).password,
    );
    assert_ne!(*passwords.0, *passwords.1);
    let mut compared = 0;
    for path in files_below(&one.0) {
        let name = path.strip_prefix(&one.0).unwrap();
        let secret = path
            .extension()
            .is_some_and(|extension| extension == "key" || extension == "pem")
            || name == Path::new("users.yaml");
        if secret && two.0.join(name).is_file() {
            assert_ne!(
                fs::read(&path).unwrap(),
                fs::read(two.0.join(name)).unwrap(),
                "{}",
                name.display()
            );
            compared += 1;
        }
        // The password is printed once and stored nowhere.
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            assert!(
                !bytes
                    .windows(passwords.0.len())
                    .any(|window| window == passwords.0.as_bytes()),
                "{}",
                name.display()
            );
        }
    }
    assert!(compared >= 8, "{compared} files");
}

#[test]
fn it_overwrites_nothing() {
    let scratch = Scratch::new("again");
    first_run(&scratch.0, false);
    let before = fs::read(scratch.0.join("users.yaml")).unwrap();
    let again = make(&scratch.0, Ipv4Addr::LOCALHOST.into(), false);
    assert!(matches!(again, Err(FirstRunError::Exists(_))));
    assert_eq!(fs::read(scratch.0.join("users.yaml")).unwrap(), before);
}
