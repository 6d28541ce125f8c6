//! What is promised of users, as tables.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use super::*;

const HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$c2FsdHNhbHRzYWx0c2FsdHNhbHRzYWx0";

fn parse(text: &str) -> Result<Users, Vec<String>> {
    Users::parse(Path::new("users.yaml"), text)
        .map_err(|problems| problems.iter().map(Problem::to_string).collect())
}

#[test]
fn a_user_has_a_hash_groups_a_role_and_may_be_disabled() {
    let users = parse(&format!(
        "users:\n  alice:\n    hash: {HASH}\n    groups: [staff, night shift]\n    role: operator\n  bob: {{hash: \"{HASH}\", disabled: true}}\n"
    ))
    .unwrap();
    let alice = users.get("alice").unwrap();
    assert_eq!(alice.groups, [Arc::from("staff"), Arc::from("night shift")]);
    assert_eq!((alice.role, alice.disabled), (Some(Role::Operator), false));
    assert!(users.get("bob").unwrap().disabled);
    assert!(users.get("Alice").is_none());
}

#[test]
fn idn_02_a_broken_or_empty_file_is_refused_with_its_place() {
    let rows: [(&str, &str); 14] = [
        ("", "users.yaml:1:1"),
        ("\n\n  \n", "users.yaml:"),
        ("# nobody\n", "users.yaml:"),
        ("users:\n", "users.yaml:"),
        ("users: []\n", "users.yaml:1:"),
        ("garbage", "users.yaml:1:1"),
        ("users: {}\nothers: {}\n", "users.yaml:2:1"),
        (
            "users:\n  alice: {hash: HASH}\n  alice: {hash: HASH}\n",
            "users.yaml:3:3",
        ),
        ("users:\n  alice: {}\n", "users.yaml:2:"),
        ("users:\n  alice: {hash: secret}\n", "users.yaml:2:17"),
        (
            "users:\n  alice: {hash: HASH, admin: true}\n",
            "users.yaml:2:",
        ),
        (
            "users:\n  alice: {hash: HASH}\n  \" bob\": {hash: HASH}\n",
            "users.yaml:3:3",
        ),
        ("users:\n  \"a\\nb\": {hash: HASH}\n", "users.yaml:2:3"),
        (
            "users:\n  alice: {hash: HASH, groups: [\"\"]}\n",
            "users.yaml:2:",
        ),
    ];
    for (text, place) in rows {
        let problems = parse(&text.replace("HASH", &format!("\"{HASH}\"")))
            .err()
            .unwrap_or_default();
        assert!(
            problems
                .first()
                .is_some_and(|first| first.starts_with(place)),
            "{text:?}: {problems:?}"
        );
    }
    let cut = format!("users:\n  alice: {{hash: \"{HASH}");
    assert!(parse(&cut).is_err(), "half a file");
    assert!(parse("users: {}\n").is_ok(), "nobody on purpose");
}

#[test]
fn every_problem_of_a_file_is_told_at_once() {
    let problems = parse("users:\n  alice: {hash: x}\n  bob: {hash: y}\n").unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(!problems[0].contains("\"x\""), "a hash is not repeated");
}

#[test]
fn every_wrong_shape_is_told_at_once_and_no_password_repeated() {
    let text = "\
users:
  alice: hunter2
  bob: { hash: 12345, rol: admin }
  carol: { hash: HASH, groups: hunter2, disabled: maybe }
  dave: { hash: HASH, role: king }
  erin: [hunter2]
  frank: { hash: HASH, groups: [1] }
scram_secret: [x]
other: 1
";
    let text = text.replace("HASH", &format!("\"{HASH}\""));
    let found = parse(&text).unwrap_err();
    let expected = [
        "8:15: expected a text, found a list",
        "9:1: unknown key \"other\"",
        "2:10: user \"alice\": expected a mapping, such as {key: value}, found a text",
        "3:16: user \"bob\": expected a text: put quotes around it",
        "3:23: user \"bob\": unknown key \"rol\", did you mean \"role\"",
        "4:",
        "4:",
        "5:",
        "6:9: user \"erin\": expected a mapping, such as {key: value}, found a list",
        "7:",
    ];
    let fits =
        |(found, expected): (&String, &str)| found.starts_with(&format!("users.yaml:{expected}"));
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(fits),
        "{found:#?}"
    );
    let told = found.join("\n");
    assert!(
        !told.contains("hunter2") && !told.contains("12345"),
        "{told}"
    );
}

#[test]
fn idn_12_the_stand_in_costs_what_most_users_cost() {
    let other = HASH.replace("t=2", "t=3");
    let users = parse(&format!(
        "users:\n  a: {{hash: \"{other}\"}}\n  b: {{hash: \"{HASH}\"}}\n  c: {{hash: \"{HASH}\"}}\n"
    ))
    .unwrap();
    assert_eq!(users.stand_in().cost().passes, 2);
    assert_eq!(parse("users: {}").unwrap().stand_in().cost().passes, 2);
}
