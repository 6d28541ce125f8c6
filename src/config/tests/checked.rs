//! What `check` tells of the files that the settings name: problems, and warnings of what starts and is hardly meant.

use std::path::Path;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

use crate::config::{Checked, check};
use crate::net::config::ClientAuth;
use crate::net::tls::fixtures::{Authority, Folder, days, server_files};
use crate::pki::DeviceCa;
use crate::problem::Problem;

const POLICY: &str = "version: 1\npolicies:\n  - id: x\n    who: { auth: certificate }\n    allow: [{ publish: \"telemetry/#\" }]\n";

/// One TLS listener that asks for certificates, with the files of `server_files`.
fn settings(tls: &str, more: &str) -> String {
    format!(
        "listeners: {{ mqtts: {{ bind: \"127.0.0.1:8883\", authenticate: [certificate], tls: {{ certificate: server.pem, private_key: server.key, client_auth: required, client_ca: [ca.pem]{tls} }} }} }}\n{more}"
    )
}

fn checked(folder: &Folder, text: &str) -> Checked {
    let file = folder.write("wardgate.yaml", text);
    check(&file, std::iter::empty(), SystemTime::now())
}

/// Each as `file: message`.
fn told(problems: &[Problem], folder: &Path) -> Vec<String> {
    let one = |problem: &Problem| {
        let file = problem.file.strip_prefix(folder).unwrap().display();
        format!("{file}: {}", problem.message)
    };
    problems.iter().map(one).collect()
}

fn assert_told(found: &[String], expected: &[&str], what: &str) {
    let fits = |(found, expected): (&String, &&str)| found.contains(expected);
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(fits),
        "{what}: {found:#?} is not {expected:#?}"
    );
}

#[test]
fn a_server_certificate_out_of_its_time_is_a_problem() {
    let rows: [(OffsetDateTime, OffsetDateTime, &[&str]); 4] = [
        (days(-2), days(2), &[]),
        (
            days(-9),
            days(-1),
            &["server.pem: the certificate ended on"],
        ),
        (
            days(1),
            days(9),
            &["server.pem: the certificate is not valid before"],
        ),
        (days(-9999), days(9999), &[]),
    ];
    let ca = Authority::root("ca");
    let (folder, _) = server_files(&ca, ClientAuth::Required);
    folder.write("policy.yaml", POLICY);
    for (from, until, expected) in rows {
        let server = ca.device_with(7, |params| {
            params.not_before = from;
            params.not_after = until;
        });
        folder.write("server.pem", server.chain.first().unwrap());
        folder.write("server.key", server.key.serialize_pem());
        let found = checked(&folder, &settings("", "policies: [policy.yaml]\n"));
        let problems = told(&found.problems, folder.path());
        assert_told(&problems, expected, &format!("{from} to {until}"));
    }
}

#[test]
fn a_method_that_lacks_something_is_told_at_its_listener() {
    let rows = [
        ("[jwt]", "jwt needs the section `authentication.jwt`"),
        (
            "[certificate, ldap]",
            "ldap needs the section `authentication.ldap`",
        ),
        (
            "[password]",
            "password needs the section authentication.password",
        ),
    ];
    let ca = Authority::root("ca");
    let (folder, _) = server_files(&ca, ClientAuth::Required);
    folder.write("policy.yaml", POLICY);
    for (methods, expected) in rows {
        let text = settings("", "policies: [policy.yaml]\n").replace("[certificate]", methods);
        let found = checked(&folder, &text);
        let column = text.find("authenticate: ").unwrap() as u64 + 15;
        let [problem] = found.problems.as_slice() else {
            panic!("{methods}: {found:?}");
        };
        assert!(
            (problem.line, problem.column) == (1, column) && problem.message.contains(expected),
            "{methods}: {problem}"
        );
    }
}

#[test]
fn what_is_found_where_keys_are_opened_is_told_at_its_line() {
    let rows = [
        (
            "jwt: {}",
            "  jwt:",
            "authentication.jwt: neither `keys` nor `jwks` is given",
        ),
        (
            "jwt: { jwks: { url: \"http://x\" } }",
            "http",
            "authentication.jwt.jwks.url: only https",
        ),
        (
            "jwt: { jwks: { file: k.json }, leeway: 2m }",
            "2m",
            "authentication.jwt.leeway: at most 1m",
        ),
    ];
    let ca = Authority::root("ca");
    let (folder, _) = server_files(&ca, ClientAuth::Required);
    folder.write("policy.yaml", POLICY);
    folder.write("k.json", "{\"keys\": []}");
    for (section, place, expected) in rows {
        let text = settings("", "policies: [policy.yaml]\nauthentication:\n");
        let text = format!("{text}  {section}\n");
        let found = checked(&folder, &text);
        let problem = found
            .problems
            .iter()
            .find(|one| one.message.starts_with(expected));
        let problem = problem.unwrap_or_else(|| panic!("{section}: {:?}", found.problems));
        let line = text.lines().position(|line| line.contains(place)).unwrap() as u64 + 1;
        assert_eq!(problem.line, line, "{section}: {problem}");
        assert!(problem.file.ends_with("wardgate.yaml"), "{problem}");
    }
}

/// Whatever is wrong with the settings themselves, the files that they name are looked at too.
#[test]
fn one_look_shows_what_is_wrong_with_every_file() {
    let ca = Authority::root("ca");
    let (folder, _) = server_files(&ca, ClientAuth::Required);
    folder.write("policy.yaml", "version: 1\npolicies: [{ id: x, who: 7 }]\n");
    folder.write("users.yaml", "users: 7\n");
    folder.write("server.pem", "");
    let more = "policies: [policy.yaml]\nauthentication: { password: { file: users.yaml } }\n";
    let files = ["policy.yaml: ", "server.pem: ", "users.yaml: "];
    let rows: [(&str, &[&str]); 5] = [
        ("", &[]),
        (
            "surprise: 1\n",
            &["wardgate.yaml: unknown key \"surprise\""],
        ),
        (
            "mqtt: { max_qos: 7, max_topic_levels: 0 }\n",
            &["wardgate.yaml: ", "wardgate.yaml: max_topic_levels: "],
        ),
        (
            "limits: { connections: { per_ip: { max: 1x } } }\nmqtt: { max_topic_levels: 0 }\n",
            &["wardgate.yaml: ", "wardgate.yaml: max_topic_levels: "],
        ),
        (
            "mqtt: { max_topic_levels: 0 }\n",
            &["wardgate.yaml: max_topic_levels: "],
        ),
    ];
    for (wrong, expected) in rows {
        let found = checked(&folder, &settings("", &format!("{more}{wrong}")));
        let mut problems = told(&found.problems, folder.path());
        problems.sort();
        let expected = [&files[..], expected].concat();
        assert_told(&problems, &expected, wrong);
    }
}

/// What it shows, the lists, more of the section `tls`, and the warnings.
type Lists<'a> = (&'a str, &'a [&'a [u8]], &'a str, &'a [&'a str]);

#[test]
fn revocation_lists_that_keep_devices_out_are_warned_of() {
    let (ca, other, namesake) = (
        Authority::root("ca"),
        Authority::root("other"),
        Authority::root("ca"),
    );
    let below = ca.intermediate("below", 2);
    let stale = ca.crl_with(&[], |crl| {
        crl.this_update = days(-9);
        crl.next_update = days(-1);
    });
    let rows: [Lists<'_>; 8] = [
        ("good", &[&ca.crl(&[])], "", &[]),
        (
            "stale",
            &[&stale],
            "",
            &["0.crl: its next update was due: no device with a certificate of CN=ca gets in"],
        ),
        ("stale and allowed", &[&stale], ", crl_stale: allow", &[]),
        ("replaced", &[&stale, &ca.crl(&[])], "", &[]),
        (
            "of another",
            &[&other.crl(&[])],
            "",
            &[
                "0.crl: issued by CN=other, which is none of client_ca: no device gets in with a certificate of CN=ca",
            ],
        ),
        (
            "of another, and none needed",
            &[&other.crl(&[])],
            ", crl_missing: allow",
            &["0.crl: issued by CN=other, which is none of client_ca: it counts for nothing"],
        ),
        (
            "of a namesake",
            &[&namesake.crl(&[])],
            "",
            &["0.crl: signed by another key than the CN=ca of client_ca has: no device"],
        ),
        (
            "of an intermediate too",
            &[&ca.crl(&[]), &below.crl(&[])],
            "",
            &[
                "1.crl: issued by CN=below, which is none of client_ca: it counts for nothing but an intermediate",
            ],
        ),
    ];
    for (what, lists, more, expected) in rows {
        let (folder, _) = server_files(&ca, ClientAuth::Required);
        folder.write("policy.yaml", POLICY);
        let names: Vec<String> = (0..lists.len())
            .map(|index| format!("{index}.crl"))
            .collect();
        for (name, list) in names.iter().zip(lists) {
            folder.write(name, list);
        }
        let tls = format!(", crl: [{}]{more}", names.join(", "));
        let found = checked(&folder, &settings(&tls, "policies: [policy.yaml]\n"));
        assert_told(&told(&found.problems, folder.path()), &[], what);
        assert_told(&told(&found.warnings, folder.path()), expected, what);
    }
}

/// The lists of the admin port, and those that the devices of `admin.est` are held against.
#[test]
fn lists_that_shut_the_admin_port_are_warned_of() {
    let (ca, other) = (Authority::root("ca"), Authority::root("other"));
    let stale = ca.crl_with(&[], |crl| {
        crl.this_update = days(-9);
        crl.next_update = days(-1);
    });
    let (lately, long_ago) = (Duration::from_secs(60), Duration::from_secs(400 * 86_400));
    let rows: [(&str, &[u8], Duration, &[&str]); 4] = [
        ("good", &ca.crl(&[]), lately, &[]),
        (
            "stale",
            &stale,
            lately,
            &["admin.crl: its next update was due"],
        ),
        (
            "of another",
            &other.crl(&[]),
            lately,
            &["admin.crl: issued by CN=other"],
        ),
        (
            "stale for devices",
            &ca.crl(&[]),
            long_ago,
            &["ca/device-ca.crl: its next update was due"],
        ),
    ];
    for (what, list, age, expected) in rows {
        let (folder, _) = server_files(&ca, ClientAuth::Required);
        folder.write("policy.yaml", POLICY);
        folder.write("admin.crl", list);
        DeviceCa::create(&folder.path().join("ca"), SystemTime::now() - age).unwrap();
        let admin = "policies: [policy.yaml]\nadmin: { tls: { certificate: server.pem, private_key: server.key, client_auth: optional, client_ca: [ca.pem], crl: [admin.crl] }, est: { ca: ca } }\n";
        let found = checked(&folder, &settings("", admin));
        assert_told(&told(&found.problems, folder.path()), &[], what);
        assert_told(&told(&found.warnings, folder.path()), expected, what);
    }
}

#[test]
fn policies_that_permit_nothing_or_more_than_meant_are_warned_of() {
    let careless = POLICY.replace("auth: certificate", "username: admin");
    let rows: [(&str, &str, &[&str]); 5] = [
        (
            "",
            POLICY,
            &["wardgate.yaml: there is no policy: nobody may publish or subscribe"],
        ),
        (
            "policies: []\n",
            POLICY,
            &["wardgate.yaml: there is no policy"],
        ),
        ("policies: [policy.yaml]\n", POLICY, &[]),
        (
            "policies: [policy.yaml]\n",
            "version: 1\ntests:\n  - given: { username: a }\n    deny: [{ publish: x }]\n",
            &["wardgate.yaml: there is no policy"],
        ),
        (
            "policies: [policy.yaml]\n",
            &careless,
            &["policy.yaml: policy x asks for a username but not for auth"],
        ),
    ];
    let ca = Authority::root("ca");
    let (folder, _) = server_files(&ca, ClientAuth::Required);
    for (policies, text, expected) in rows {
        folder.write("policy.yaml", text);
        let found = checked(&folder, &settings("", policies));
        let what = format!("{policies}{text}");
        assert_told(&told(&found.problems, folder.path()), &[], &what);
        assert_told(&told(&found.warnings, folder.path()), expected, &what);
    }
}
