//! Devices that fetch their certificates here, and what they cannot do here.

use super::*;
use crate::audit::{Kind, Outcome};
use crate::pki::{DeviceNames, Enrolment, RevocationReason, Validity};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::time::Duration;

const PATHS: [(&str, &str); 3] = [
    ("GET", "/.well-known/est/cacerts"),
    ("POST", "/.well-known/est/simpleenroll"),
    ("POST", "/.well-known/est/simplereenroll"),
];
const ENROL: &str = "/.well-known/est/simpleenroll";
const RENEW: &str = "/.well-known/est/simplereenroll";
const WIDE: &str = "{ failures: { per_ip: off } }";

async fn open(limits: &str) -> Office {
    Office::open_with(limits, Some(EstConfig::default())).await
}

impl Office {
    fn ca(&self) -> DeviceCa {
        DeviceCa::open(&self.folder.path().join("ca")).unwrap()
    }

    /// A device with a certificate of the device CA.
    fn issued(&self, name: &str) -> Device {
        let names = DeviceNames::named(name).unwrap();
        let validity = Validity::starting(SystemTime::now());
        let issued = self.ca().issue(&names, validity, "test").unwrap();
        Device {
            chain: vec![CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap()],
            key: KeyPair::from_pem(issued.key_pem.as_ref().unwrap()).unwrap(),
        }
    }

    /// What goes into `Authorization`.
    fn enrolment(&self, name: &str) -> String {
        let names = DeviceNames::named(name).unwrap();
        let folder = self.folder.path().join("ca");
        let hour = Duration::from_secs(3600);
        let token = Enrolment::token(&folder, &names, hour, SystemTime::now()).unwrap();
        basic(name, &token)
    }

    fn reasons(&self) -> Vec<(Kind, Outcome, String)> {
        let events = self.desk.events.lock();
        events
            .iter()
            .map(|event| (event.kind, event.outcome, event.reason.clone()))
            .collect()
    }
}

fn basic(name: &str, token: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{token}")))
}

fn request(name: &str) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let made = params
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap();
    STANDARD.encode(made.der())
}

fn with(authorization: &str, path: &str, body: &str) -> String {
    let headers = [
        ("Authorization", authorization),
        ("Content-Type", "application/pkcs10"),
    ];
    written("POST", path, &headers, body)
}

fn without(path: &str, body: &str) -> String {
    let headers = [("Content-Type", "application/pkcs10")];
    written("POST", path, &headers, body)
}

#[tokio::test]
async fn trn_04_without_its_section_there_is_no_enrolment() {
    let office = Office::open("{}").await;
    for (method, path) in PATHS {
        assert_eq!(
            office.ask(method, path, &[], "").await.status,
            401,
            "{path}"
        );
        let admin = office.token(Role::Admin);
        let reply = office.with_token(&admin, method, path, "").await;
        assert_eq!(reply.status, 404, "{path}");
    }
}

#[tokio::test]
async fn adm_05_enrolment_tells_nobody_anything_and_no_role_opens_it() {
    let office = open(WIDE).await;
    let (cookie, csrf_token) = office.log_in("alice").await;
    let admin = office.token(Role::Admin);
    let operator = office.authority.device(5);
    for (method, path) in PATHS {
        let nobody = office.ask(method, path, &[], "").await;
        assert_eq!(nobody.status, 401, "{path}");
        let challenge = nobody.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Basic "), "{challenge}");
        let reply = office.with_token(&admin, method, path, "").await;
        assert_eq!(reply.status, 401, "{path} by an API token");
        let headers = [
            ("Cookie", cookie.as_str()),
            ("X-CSRF-Token", csrf_token.as_str()),
        ];
        let reply = office.ask(method, path, &headers, "").await;
        assert_eq!(reply.status, 401, "{path} by a login");
        let asked = written(method, path, &[], "");
        let reply = office.send(Some(&operator), &asked).await;
        assert_eq!(reply.status, 401, "{path} by an operator's certificate");
    }
}

#[tokio::test]
async fn adm_01_a_device_certificate_opens_nothing_else() {
    let office = open(WIDE).await;
    // The name of a certificate that has a role here, but of another CA; and an administrator's.
    for name in ["device", "alice"] {
        let device = office.issued(name);
        let cacerts = written("GET", PATHS[0].1, &[], "");
        assert_eq!(office.send(Some(&device), &cacerts).await.status, 200);
        for (method, path) in [
            ("GET", "/metrics"),
            ("GET", "/api/v1/status"),
            ("GET", "/api/v1/session"),
            ("DELETE", "/api/v1/clients/pump-7"),
            ("POST", "/api/v1/tokens"),
            ("POST", "/api/v1/reload"),
            ("POST", "/logout"),
            ("GET", "/.well-known/est/csrattrs"),
            ("GET", "/.well-known/est/simpleenroll/"),
        ] {
            let reply = office
                .send(Some(&device), &written(method, path, &[], "{}"))
                .await;
            assert_eq!(reply.status, 401, "{method} {path} by {name}: {reply:?}");
        }
    }
    let operator = office.authority.device(5);
    let kick = written("DELETE", "/api/v1/clients/pump-7", &[], "");
    let reply = office.send(Some(&operator), &kick).await;
    assert_eq!(reply.status, 204, "whom the listener itself believes");
}

#[tokio::test]
async fn idn_15_a_token_fetches_one_certificate_and_that_one_renews_itself() {
    let office = open(WIDE).await;
    let token = office.enrolment("pump-7");
    let wanted = request("pump-7");
    let rows = [
        (with(&basic("pump-7", "guess"), ENROL, &wanted), 401),
        (with("Basic", ENROL, &wanted), 401),
        (with("Basic ???", ENROL, &wanted), 401),
        (with(&token, RENEW, &wanted), 401),
        (with(&token, ENROL, &request("pump-8")), 400),
        (with(&token, ENROL, "AAAA"), 400),
        (with(&token, ENROL, ""), 400),
        (
            written("POST", ENROL, &[("Authorization", &token)], &wanted),
            415,
        ),
    ];
    for (asked, expected) in &rows {
        let reply = office.send(None, asked).await;
        assert_eq!(reply.status, *expected, "{asked}: {reply:?}");
    }
    let reply = office.send(None, &with(&token, ENROL, &wanted)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let content_type = reply.header("content-type");
    assert_eq!(
        content_type,
        Some("application/pkcs7-mime; smime-type=certs-only")
    );
    assert_eq!(reply.header("content-transfer-encoding"), Some("base64"));
    let again = office.send(None, &with(&token, ENROL, &wanted)).await;
    assert_eq!(again.status, 401);
    let device = office.issued("pump-7");
    for path in [ENROL, RENEW] {
        let reply = office.send(Some(&device), &without(path, &wanted)).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        let other = office
            .send(Some(&device), &without(path, &request("pump-8")))
            .await;
        assert_eq!(other.status, 400, "{path}");
    }
    // A certificate that was revoked a moment ago: the list of this listener does not say so yet, the record does.
    let now = SystemTime::now();
    office
        .ca()
        .revoke("pump-7", RevocationReason::Unspecified, now)
        .unwrap();
    let reply = office.send(Some(&device), &without(RENEW, &wanted)).await;
    assert_eq!(reply.status, 401);
    let reasons = office.reasons();
    let told = |kind, outcome, part: &str| {
        reasons.iter().any(|(known, result, reason)| {
            *known == kind && *result == outcome && reason.contains(part)
        })
    };
    for (kind, outcome, part) in [
        (
            Kind::Authenticate,
            Outcome::Refused,
            "not the enrolment token",
        ),
        (Kind::Authenticate, Outcome::Refused, "it was used"),
        (Kind::Authenticate, Outcome::Refused, "is revoked"),
        (
            Kind::Authenticate,
            Outcome::Refused,
            "a token does not renew",
        ),
        (Kind::Certificate, Outcome::Refused, "\"pump-8\", not for"),
        (Kind::Certificate, Outcome::Refused, "signing request"),
        (Kind::Certificate, Outcome::Permitted, "est by token: "),
        (Kind::Certificate, Outcome::Permitted, "est renewal: "),
    ] {
        assert!(told(kind, outcome, part), "{kind:?} {part}: {reasons:#?}");
    }
}

#[tokio::test]
async fn idn_12_guessing_tokens_locks_the_address_out_of_tokens_and_of_nothing_else() {
    let office = open("{ failures: { per_ip: 3, per_user: 1 } }").await;
    let device = office.issued("pump-7");
    let token = office.enrolment("pump-8");
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let guess = with(&basic("olga", "guess"), ENROL, &request("olga"));
        statuses.push(office.send(None, &guess).await.status);
    }
    assert_eq!(statuses, [401, 401, 401, 429]);
    let reply = office
        .send(None, &with(&token, ENROL, &request("pump-8")))
        .await;
    assert_eq!(reply.status, 429, "a good token waits too");
    let renewal = without(RENEW, &request("pump-7"));
    assert_eq!(office.send(Some(&device), &renewal).await.status, 200);
    office.log_in("olga").await;
}

#[tokio::test]
async fn log_03_a_certificate_that_cannot_be_audited_is_not_made() {
    let office = open(WIDE).await;
    let token = office.enrolment("pump-7");
    let asked = with(&token, ENROL, &request("pump-7"));
    office.desk.is_auditable.store(false, Ordering::Relaxed);
    assert_eq!(office.send(None, &asked).await.status, 503);
    assert!(office.ca().list().unwrap().is_empty());
    office.desk.is_auditable.store(true, Ordering::Relaxed);
    assert_eq!(office.send(None, &asked).await.status, 200);
    assert_eq!(office.ca().list().unwrap().len(), 1);
}
