//! Settings that are not wise, each with the nearest that are.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use super::*;

/// A folder of this test's own with a policy and a users file, gone at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("wardgate-doctor-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        let scratch = Self(path);
        scratch.write("users.yaml", "version: 1\nusers: {}\n", 0o600);
        scratch.policy("username: alice, auth: password", "telemetry/#");
        scratch
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn policy(&self, who: &str, filter: &str) {
        let text = format!(
            "version: 1\npolicies:\n  - id: x\n    who: {{ {who} }}\n    allow: [{{ publish: \"{filter}\" }}]\n"
        );
        self.write("policy.yaml", text, 0o600);
    }

    /// `grade check` of all findings about the settings.
    fn examine(&self, text: &str) -> Vec<String> {
        let file = self.write("wardgate.yaml", text, 0o600);
        let config = Config::load(&file, std::iter::empty()).unwrap();
        shown(&config.examine(&file, SystemTime::now()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn shown(findings: &[Finding]) -> Vec<String> {
    let grade = |grade| match grade {
        Grade::Serious => "serious",
        Grade::Warning => "warning",
        Grade::Note => "note",
    };
    findings
        .iter()
        .map(|finding| format!("{} {}", grade(finding.grade), finding.check))
        .collect()
}

const PASSWORD: &str = "authentication: { password: { file: users.yaml }, client_id: { bind_to: username } }\npolicies: [policy.yaml]\n";

#[test]
fn each_setting_gets_its_grade_and_the_nearest_good_one_none() {
    let loopback = "listeners: { lab: { bind: 127.0.0.1:1883, authenticate: [password] } }\n";
    let outside = "listeners: { lab: { bind: 0.0.0.0:1883, authenticate: [password], allow_insecure: true } }\n";
    let anybody = "listeners: { lab: { bind: 0.0.0.0:1883, authenticate: [anonymous], allow_insecure: true } }\n";
    let rows = [
        (outside, "", "serious plaintext-credentials", true),
        (loopback, "", "serious plaintext-credentials", false),
        (anybody, "", "serious anonymous", true),
        (outside, "", "serious anonymous", false),
        (anybody, "", "warning plaintext", true),
        (loopback, "", "note loopback", true),
        (
            outside,
            "limits: { failures: { per_ip: off } }\n",
            "serious limit-off",
            true,
        ),
        (
            loopback,
            "limits: { failures: { per_ip: off } }\n",
            "warning limit-off",
            true,
        ),
        (
            loopback,
            "limits: { failures: { per_ip: 5 } }\n",
            "warning limit-off",
            false,
        ),
        (
            loopback,
            "limits: { state: { sessions: off } }\n",
            "warning limit-off",
            true,
        ),
        (
            loopback,
            "limits: { connections: { per_ip: { exempt: [0.0.0.0/0] } } }\n",
            "warning limit-off",
            true,
        ),
        (
            loopback,
            "limits: { connections: { per_ip: { exempt: [10.0.0.0/8] } } }\n",
            "warning limit-off",
            false,
        ),
        (
            loopback,
            "limits: { state: { memory: 1GiB } }\n",
            "note limit-unset",
            true,
        ),
        (
            loopback,
            "audit: { on_failure: continue }\n",
            "warning when-it-fails",
            true,
        ),
        (
            loopback,
            "audit: { on_failure: deny }\nstore: { kind: memory }\n",
            "warning when-it-fails",
            false,
        ),
        (loopback, "", "warning policy", false),
        (
            loopback,
            "store: { durability: none }\n",
            "warning when-it-fails",
            true,
        ),
    ];
    let scratch = Scratch::new("rows");
    for (listeners, more, finding, expected) in rows {
        let found = scratch.examine(&format!("{listeners}{PASSWORD}{more}"));
        let is_there = found.iter().any(|found| found == finding);
        assert_eq!(
            is_there, expected,
            "{listeners}{more}: {finding} in {found:?}"
        );
    }
}

#[test]
fn a_directory_that_cannot_be_asked_again_is_told() {
    let listener = "listeners: { lab: { bind: 127.0.0.1:1883, authenticate: [ldap] } }\n";
    let people = "ou=people,dc=example,dc=org";
    let bind = format!("mode: bind, bind_dn_template: \"uid={{username}},{people}\"");
    let search = "mode: search_bind, search: { base: dc=example, filter: \"(uid={username})\" }";
    let account = "search: { bind_dn: \"cn=reader\", bind_password: x }";
    let rows = [
        (bind.clone(), true),
        (format!("{bind}, {account}"), false),
        (search.to_owned(), false),
    ];
    let scratch = Scratch::new("directory");
    for (settings, expected) in rows {
        let found = scratch.examine(&format!(
            "{listener}authentication: {{ ldap: {{ url: \"ldaps://ldap.example\", {settings} }} }}\npolicies: [policy.yaml]\n"
        ));
        assert_eq!(
            found.contains(&"warning removal-unseen".into()),
            expected,
            "{settings}: {found:?}"
        );
    }
}

#[test]
fn a_proxy_that_is_everybody_is_serious() {
    let scratch = Scratch::new("proxy");
    for (trusted, expected) in [
        ("0.0.0.0/0", true),
        ("::/0", true),
        ("10.0.0.0/8", false),
        ("192.0.2.7", false),
    ] {
        let listener = format!(
            "listeners: {{ lab: {{ bind: 127.0.0.1:1883, authenticate: [password], proxy_protocol: {{ trusted: [\"{trusted}\"] }} }} }}\n"
        );
        let found = scratch.examine(&format!("{listener}{PASSWORD}"));
        assert_eq!(
            found.contains(&"serious trusted-proxies".into()),
            expected,
            "{trusted}: {found:?}"
        );
    }
}

#[test]
fn a_grant_of_everything_to_everybody_is_serious_and_to_somebody_a_note() {
    let listener = "listeners: { lab: { bind: 127.0.0.1:1883, authenticate: [password] } }\n";
    let rows = [
        ("any: true", "#", Some("serious wildcard-grant")),
        ("group: admins", "#", Some("note wildcard-grant")),
        ("any: true", "open/#", None),
    ];
    for (who, filter, expected) in rows {
        let scratch = Scratch::new("grants");
        scratch.policy(who, filter);
        let found = scratch.examine(&format!("{listener}{PASSWORD}"));
        let grants: Vec<_> = found
            .iter()
            .filter(|found| found.ends_with("wildcard-grant"))
            .collect();
        assert_eq!(
            grants.first().map(|found| found.as_str()),
            expected,
            "{who} {filter}"
        );
    }
}

#[test]
fn files_that_others_can_read_or_change_are_told() {
    let listener = "listeners: { lab: { bind: 127.0.0.1:1883, authenticate: [password] } }\n";
    let rows = [
        ("users.yaml", 0o600, None),
        ("users.yaml", 0o640, Some("serious file-mode")),
        ("users.yaml", 0o604, Some("serious file-mode")),
        ("policy.yaml", 0o644, None),
        ("policy.yaml", 0o646, Some("serious file-mode")),
    ];
    for (name, mode, expected) in rows {
        let scratch = Scratch::new("modes");
        let path = scratch.0.join(name);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let found = scratch.examine(&format!("{listener}{PASSWORD}"));
        let modes: Vec<_> = found
            .iter()
            .filter(|found| found.ends_with("file-mode"))
            .collect();
        assert_eq!(
            modes.first().map(|found| found.as_str()),
            expected,
            "{name} {mode:o}: {found:?}"
        );
    }
}

#[test]
fn certificates_and_lists_are_told_before_and_after_their_end() {
    const DAY: u64 = 24 * 60 * 60;
    let rows = [
        (0, &[] as &[&str]),
        (390, &["warning expiry"]),
        (400, &["serious expiry"]),
    ];
    for (days, expected) in rows {
        let scratch = Scratch::new("expiry");
        let now = SystemTime::now();
        let ca = crate::pki::ServerCa::create(&scratch.0, now).unwrap();
        let issued = ca.issue(&["localhost".into()], now).unwrap();
        issued
            .write_to(
                &scratch.0.join("server.pem"),
                &scratch.0.join("server.key"),
                false,
            )
            .unwrap();
        let text = format!(
            "listeners: {{ mqtts: {{ bind: 127.0.0.1:8883, authenticate: [password], tls: {{ certificate: server.pem, private_key: server.key }} }} }}\n{PASSWORD}"
        );
        let file = scratch.write("wardgate.yaml", text, 0o600);
        let config = Config::load(&file, std::iter::empty()).unwrap();
        let found = shown(&config.examine(&file, now + Duration::from_secs(days * DAY)));
        let found: Vec<_> = found
            .iter()
            .filter(|found| found.ends_with("expiry"))
            .map(String::as_str)
            .collect();
        assert_eq!(found, expected, "in {days} days");
    }
}

/// What the devices of `admin.est` are held against ends too.
#[test]
fn the_list_of_devices_that_enrol_is_told_before_and_after_its_next_update() {
    let scratch = Scratch::new("est");
    let now = SystemTime::now();
    crate::pki::DeviceCa::create(&scratch.0.join("ca"), now).unwrap();
    let ca = crate::pki::ServerCa::create(&scratch.0.join("ca"), now).unwrap();
    let (certificate, key) = (scratch.0.join("server.pem"), scratch.0.join("server.key"));
    let issued = ca.issue(&[], now).unwrap();
    issued.write_to(&certificate, &key, false).unwrap();
    let text = format!(
        "listeners: {{ lab: {{ bind: 127.0.0.1:1883, authenticate: [password] }} }}\nadmin: {{ tls: {{ certificate: server.pem, private_key: server.key }}, est: {{ ca: ca }} }}\n{PASSWORD}"
    );
    let file = scratch.write("wardgate.yaml", text, 0o600);
    let config = Config::load(&file, std::iter::empty()).unwrap();
    for (days, expected) in [
        (0, None),
        (300, Some("its next update is due in")),
        (370, Some("past its next update: no certificate")),
    ] {
        let found = config.examine(&file, now + Duration::from_secs(days * 24 * 60 * 60));
        let list = |finding: &&Finding| finding.at.contains("device-ca.crl");
        let told = found.iter().find(list);
        let told = told.map(|finding| (finding.check, finding.found.as_str()));
        match (told, expected) {
            (None, None) => {}
            (Some(("expiry", found)), Some(expected)) => {
                assert!(found.contains(expected), "in {days} days: {found}");
            }
            (told, _) => assert_eq!(told, None, "in {days} days"),
        }
    }
}

#[test]
fn what_stops_a_start_is_serious() {
    let scratch = Scratch::new("start");
    std::fs::remove_file(scratch.0.join("users.yaml")).unwrap();
    let listener = "listeners: { lab: { bind: 127.0.0.1:1883, authenticate: [password] } }\n";
    let found = scratch.examine(&format!("{listener}{PASSWORD}"));
    assert_eq!(
        found.first().map(String::as_str),
        Some("serious start"),
        "{found:?}"
    );
}

#[test]
fn a_broker_without_policies_is_warned_of() {
    let scratch = Scratch::new("no-policy");
    let listener = "listeners: { lab: { bind: 127.0.0.1:1883, authenticate: [password] } }\n";
    let found = scratch.examine(&format!(
        "{listener}{}",
        PASSWORD.replace("policies: [policy.yaml]", "policies: []")
    ));
    assert!(found.contains(&"warning policy".into()), "{found:?}");
}
