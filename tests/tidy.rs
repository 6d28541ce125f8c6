//! Rules of the house that no compiler checks: who imports whom, what pure modules may know, how long a file may be.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules whose code takes bytes, `now` and generators as arguments, and the files among them that may do more.
const PURE: [&str; 7] = [
    "mqtt", "identity", "audit", "policy", "limits", "session", "client",
];
const NOT_PURE: [&str; 2] = ["identity/io", "client/io"];

/// What a pure module never names.
const IMPURE: [&str; 11] = [
    "tokio",
    "socket2",
    "std::net::Tcp",
    "std::net::Udp",
    "std::net::ToSocketAddrs",
    "std::fs",
    "std::thread",
    "Instant::now",
    "SystemTime::now",
    "rand::",
    "env::var",
];

/// Anywhere in Rust code. Spelled in two halves where this file would find itself.
const NEVER: [(&str, &str); 7] = [
    (concat!("uns", "afe "), "forbidden"),
    (concat!("todo", "!("), "unfinished"),
    (concat!("unimpl", "emented!("), "unfinished"),
    (concat!("TO", "DO"), "unfinished"),
    (concat!("FIX", "ME"), "unfinished"),
    (concat!("unbounded", "_channel"), "every queue has a bound"),
    (concat!("mpsc::", "channel()"), "every queue has a bound"),
];

/// In no file at all.
const NOWHERE: [&str; 6] = [
    concat!("PRIVATE ", "KEY-----\n"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/main"),
    concat!("/wo", "rk/shared"),
    concat!("/tmp", "/wt/"),
    concat!("/tmp", "/bin/"),
];

const LINES_MAX: usize = 900;

#[test]
fn a_module_imports_only_from_lower_ranks() {
    let ranks = ranks();
    let mut wrong = Vec::new();
    for (path, text) in rust_files("src") {
        let Some(&rank) = ranks.get(module_of(&path)) else {
            continue;
        };
        for name in crate_paths(&code(&text)) {
            let other = *ranks
                .get(name.as_str())
                .unwrap_or_else(|| panic!("{path}: crate::{name} has no rank in lib.rs"));
            if other > rank {
                wrong.push(format!(
                    "{path} (rank {rank:?}) imports crate::{name} (rank {other:?})"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_pure_module_knows_no_sockets_files_clocks_or_randomness() {
    let mut wrong = Vec::new();
    for (path, text) in rust_files("src") {
        let inside = path.trim_start_matches("src/");
        if !PURE.contains(&module_of(&path))
            || inside.contains("/tests/")
            || NOT_PURE.iter().any(|io| inside.starts_with(io))
        {
            continue;
        }
        for (number, line) in without_tests(&path, &code(&text)).lines().enumerate() {
            for word in IMPURE {
                if line.contains(word) {
                    wrong.push(format!("{path}:{}: {word} in a pure module", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_says_one_thing() {
    for folder in ["src", "tests", "fuzz", "benches"] {
        for (path, text) in rust_files(folder) {
            let lines = text.lines().count();
            assert!(lines <= LINES_MAX, "{path} has {lines} lines");
            if path != "src/main.rs" {
                assert!(
                    text.starts_with("//! "),
                    "{path} does not begin with its idea (`//! …`)"
                );
            }
        }
    }
}

#[test]
fn nothing_unfinished_unsafe_or_unbounded() {
    for folder in ["src", "tests", "fuzz", "benches"] {
        for (path, text) in rust_files(folder) {
            for (number, line) in text.lines().enumerate() {
                for (word, why) in NEVER {
                    assert!(!line.contains(word), "{path}:{}: {word}: {why}", number + 1);
                }
            }
        }
    }
}

#[test]
fn no_private_key_and_no_machine_path_is_in_the_tree() {
    for path in files(Path::new(env!("CARGO_MANIFEST_DIR"))) {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        for word in NOWHERE {
            assert!(!text.contains(word), "{} holds {word:?}", path.display());
        }
    }
}

/// Each module's rank: the `// rank N` comment of lib.rs that it stands under, then its place there.
fn ranks() -> BTreeMap<String, (u32, usize)> {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut rank = None;
    let mut ranks = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.trim().strip_prefix("// rank ") {
            rank = rest
                .split(|c: char| !c.is_ascii_digit())
                .next()
                .unwrap()
                .parse()
                .ok();
        } else if let Some(name) = line.trim().trim_start_matches("pub ").strip_prefix("mod ") {
            let name = name.trim_end_matches(';').to_owned();
            ranks.insert(
                name,
                (rank.expect("a module stands under its rank"), ranks.len()),
            );
        }
    }
    assert!(ranks.len() > 10, "lib.rs was not understood");
    ranks
}

/// The first part of every `crate::…` path, groups (`crate::{a, b::c}`) included.
fn crate_paths(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, prefix) in code.match_indices("crate::") {
        let rest = &code[at + prefix.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.push(first_name(rest));
            continue;
        };
        let mut depth = 0_u32;
        let mut starts = true;
        for (index, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => starts = true,
                c if starts && c.is_ascii_lowercase() => {
                    names.push(first_name(&group[index..]));
                    starts = false;
                }
                _ => {}
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn first_name(path: &str) -> String {
    path.chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect()
}

/// Without comments.
fn code(text: &str) -> String {
    text.lines()
        .map(|line| match line.find("//") {
            Some(at) if !line[..at].ends_with(':') => &line[..at],
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Up to the test module, which stands last.
fn without_tests<'a>(path: &str, code: &'a str) -> &'a str {
    if path.ends_with("tests.rs") {
        return "";
    }
    // Tests stand last in a file; attributes may stand between this one and their module.
    code.split("\n#[cfg(test)]\n").next().unwrap_or(code)
}

fn module_of(path: &str) -> &str {
    let inside = path.trim_start_matches("src/");
    inside.split('/').next().unwrap().trim_end_matches(".rs")
}

fn rust_files(folder: &str) -> Vec<(String, String)> {
    files(&root().join(folder))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (
                path.strip_prefix(root())
                    .unwrap()
                    .to_string_lossy()
                    .into_owned(),
                text,
            )
        })
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    const SKIP: [&str; 8] = [
        "target",
        ".git",
        "node_modules",
        ".venv",
        "wardgate-data",
        "corpus",
        "artifacts",
        "proptest-regressions",
    ];
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if SKIP.contains(&entry.file_name().to_string_lossy().as_ref()) {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
