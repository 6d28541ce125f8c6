//! Who may call what: every route by everybody.

use super::*;
use crate::audit::{Kind, Outcome};

/// Each route of the API and the least role it demands; `None`: nothing. A route without a row here fails.
const ROUTES: &[(&str, &str, Option<Role>)] = &[
    ("GET", "/healthz", None),
    ("GET", "/readyz", None),
    ("POST", "/login", None),
    ("POST", "/logout", None),
    ("GET", "/metrics", Some(Role::Viewer)),
    ("GET", "/api/v1/openapi.json", Some(Role::Viewer)),
    ("GET", "/api/v1/session", Some(Role::Viewer)),
    ("GET", "/api/v1/status", Some(Role::Viewer)),
    ("GET", "/api/v1/clients", Some(Role::Viewer)),
    ("GET", "/api/v1/clients/{id}", Some(Role::Viewer)),
    ("DELETE", "/api/v1/clients/{id}", Some(Role::Operator)),
    ("GET", "/api/v1/logins", Some(Role::Viewer)),
    ("DELETE", "/api/v1/logins/{name}", Some(Role::Operator)),
    ("GET", "/api/v1/bans", Some(Role::Viewer)),
    ("POST", "/api/v1/bans", Some(Role::Operator)),
    ("DELETE", "/api/v1/bans/{subject}", Some(Role::Operator)),
    ("GET", "/api/v1/denials", Some(Role::Viewer)),
    ("POST", "/api/v1/policy/explain", Some(Role::Viewer)),
    ("POST", "/api/v1/reload", Some(Role::Operator)),
    ("GET", "/api/v1/audit", Some(Role::Viewer)),
    ("GET", "/api/v1/store/export", Some(Role::Admin)),
    ("GET", "/api/v1/tokens", Some(Role::Admin)),
    ("POST", "/api/v1/tokens", Some(Role::Admin)),
    ("DELETE", "/api/v1/tokens/{id}", Some(Role::Admin)),
    // For devices: no role opens them, and they open nothing else. See `enrolment`.
    ("GET", "/.well-known/est/cacerts", None),
    ("POST", "/.well-known/est/simpleenroll", None),
    ("POST", "/.well-known/est/simplereenroll", None),
];
const NO_TOKEN: &str = "/api/v1/tokens";

fn documented() -> Vec<(String, String)> {
    let description = super::super::openapi::description();
    let paths = description
        .get("paths")
        .and_then(Value::as_object)
        .cloned()
        .unwrap();
    let operations = paths.iter().flat_map(|(path, operations)| {
        let methods = operations
            .as_object()
            .into_iter()
            .flat_map(|methods| methods.keys());
        methods
            .map(|method| (method.to_uppercase(), path.clone()))
            .collect::<Vec<_>>()
    });
    operations.collect()
}

#[test]
fn adm_01_every_route_has_a_row_and_every_row_a_route() {
    let mut rows: Vec<(String, String)> = ROUTES
        .iter()
        .map(|(method, path, _)| ((*method).into(), (*path).into()))
        .collect();
    let mut documented = documented();
    rows.sort();
    documented.sort();
    assert_eq!(documented, rows);
}

#[tokio::test]
async fn adm_01_every_route_by_everybody() {
    let office = Office::open("{ failures: { per_ip: off } }").await;
    let expired = office
        .tokens
        .create(
            Role::Admin,
            Some(std::time::Duration::ZERO),
            SystemTime::now(),
        )
        .unwrap();
    let roles = [Role::Viewer, Role::Operator, Role::Admin];
    let tokens = roles.map(|role| (role, office.token(role)));
    let logins = [
        ("victor", Role::Viewer),
        ("olga", Role::Operator),
        ("alice", Role::Admin),
    ];
    for (method, path, demanded) in ROUTES {
        let Some(demanded) = *demanded else { continue };
        let at = path
            .replace("{id}", "nobody")
            .replace("{subject}", "ip:198.51.100.1");
        let said = format!("{method} {path}");
        assert_eq!(
            office.ask(method, &at, &[], "").await.status,
            401,
            "{said} by nobody"
        );
        for bad in ["", "x", expired.as_str()] {
            assert_eq!(
                office.with_token(bad, method, &at, "").await.status,
                401,
                "{said} by {bad:?}"
            );
        }
        for (role, token) in &tokens {
            let status = office.with_token(token, method, &at, "{}").await.status;
            let expected = *role >= demanded && !path.starts_with(NO_TOKEN);
            assert_eq!(
                status != 403,
                expected,
                "{said} by a token of {role:?}: {status}"
            );
            assert_ne!(status, 401, "{said} by a token of {role:?}");
        }
        for (name, role) in logins {
            let (cookie, csrf_token) = office.log_in(name).await;
            let headers = [
                ("Cookie", cookie.as_str()),
                ("X-CSRF-Token", csrf_token.as_str()),
            ];
            let status = office.ask(method, &at, &headers, "{}").await.status;
            assert_eq!(
                status != 403,
                role >= demanded,
                "{said} by {name}: {status}"
            );
        }
        let (cookie, csrf_token) = office.log_in("nobody").await;
        let headers = [
            ("Cookie", cookie.as_str()),
            ("X-CSRF-Token", csrf_token.as_str()),
        ];
        assert_eq!(
            office.ask(method, &at, &headers, "{}").await.status,
            403,
            "{said} by a user without a role"
        );
    }
}

#[tokio::test]
async fn adm_01_a_refusal_for_want_of_a_role_is_audited_and_a_change_is_audited_first() {
    let office = Office::open("{}").await;
    let (viewer, operator) = (office.token(Role::Viewer), office.token(Role::Operator));
    office
        .with_token(&viewer, "DELETE", "/api/v1/clients/pump-7", "")
        .await;
    office
        .with_token(&operator, "DELETE", "/api/v1/clients/pump-7", "")
        .await;
    let seen: Vec<(Kind, Outcome)> = office
        .desk
        .events
        .lock()
        .iter()
        .map(|event| (event.kind, event.outcome))
        .collect();
    assert_eq!(
        seen,
        [
            (Kind::Admin, Outcome::Refused),
            (Kind::Admin, Outcome::Permitted)
        ]
    );
    office.desk.is_auditable.store(false, Ordering::Relaxed);
    let reply = office
        .with_token(&operator, "DELETE", "/api/v1/clients/pump-8", "")
        .await;
    assert_eq!(
        (reply.status, office.desk.kicked.lock().join(",").as_str()),
        (503, "pump-7")
    );
}

#[tokio::test]
async fn adm_03_a_change_by_cookie_needs_its_token_and_its_own_site() {
    let office = Office::open("{}").await;
    let (cookie, csrf_token) = office.log_in("olga").await;
    let (_, other) = office.log_in("alice").await;
    let rows: [(&[(&str, &str)], u16); 7] = [
        (&[], 403),
        (&[("X-CSRF-Token", "")], 403),
        (&[("X-CSRF-Token", &other)], 403),
        (&[("X-CSRF-Token", &csrf_token)], 204),
        (
            &[
                ("X-CSRF-Token", &csrf_token),
                ("Origin", "https://localhost"),
            ],
            204,
        ),
        (
            &[
                ("X-CSRF-Token", &csrf_token),
                ("Origin", "https://evil.example"),
            ],
            403,
        ),
        (&[("X-CSRF-Token", &csrf_token), ("Origin", "null")], 403),
    ];
    for (headers, expected) in rows {
        let headers: Vec<_> = headers
            .iter()
            .copied()
            .chain([("Cookie", cookie.as_str())])
            .collect();
        let reply = office
            .ask("DELETE", "/api/v1/clients/pump-7", &headers, "")
            .await;
        assert_eq!(reply.status, expected, "{headers:?}: {reply:?}");
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
    let read = office
        .ask("GET", "/api/v1/status", &[("Cookie", &cookie)], "")
        .await;
    assert_eq!(read.status, 200, "reading needs none");
    let login = json!({ "username": "olga", "password": "right" }).to_string();
    let foreign = office
        .ask(
            "POST",
            "/login",
            &[("Origin", "https://evil.example")],
            &login,
        )
        .await;
    assert_eq!(foreign.status, 403, "a login from another site");
    assert_eq!(
        office
            .ask(
                "OPTIONS",
                "/api/v1/bans",
                &[("Origin", "https://evil.example")],
                ""
            )
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn a_login_ends_with_its_logout() {
    let office = Office::open("{}").await;
    let (cookie, csrf_token) = office.log_in("olga").await;
    let whoever = [("Cookie", cookie.as_str())];
    let both = [
        ("Cookie", cookie.as_str()),
        ("X-CSRF-Token", csrf_token.as_str()),
    ];
    assert_eq!(office.ask("POST", "/logout", &[], "").await.status, 401);
    assert_eq!(
        office.ask("POST", "/logout", &whoever, "").await.status,
        403,
        "without its token"
    );
    assert_eq!(
        office
            .ask("GET", "/api/v1/session", &whoever, "")
            .await
            .json(),
        json!({ "name": "olga", "role": "operator", "auth": "password" })
    );
    assert_eq!(office.ask("POST", "/logout", &both, "").await.status, 204);
    assert_eq!(
        office
            .ask("GET", "/api/v1/session", &whoever, "")
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn a_login_by_form_is_sent_on_and_its_cookie_is_bound_to_the_host() {
    let office = Office::open("{}").await;
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let reply = office
        .ask("POST", "/login", &form, "username=olga&password=right")
        .await;
    assert_eq!((reply.status, reply.header("location")), (303, Some("/")));
    let cookie = reply.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-wardgate="), "{cookie}");
    for attribute in ["; Path=/", "; Secure", "; HttpOnly", "; SameSite=Strict"] {
        assert!(cookie.contains(attribute), "{cookie} lacks {attribute}");
    }
    assert!(!cookie.contains("Domain"));
}

#[tokio::test]
async fn adm_06_logins_are_limited_as_mqtt_logins_are() {
    let office = Office::open("{ failures: { per_ip: 3, per_user: 100 } }").await;
    let login = |password: &str| json!({ "username": "olga", "password": password }).to_string();
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(
            office
                .ask("POST", "/login", &[], &login("wrong"))
                .await
                .status,
        );
    }
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
    let reply = office.ask("POST", "/login", &[], &login("right")).await;
    assert_eq!(reply.status, 429);
    assert!(reply.header("retry-after").is_some());
    let bans = office
        .with_token(&office.token(Role::Viewer), "GET", "/api/v1/bans", "")
        .await
        .json();
    assert_eq!(bans.pointer("/bans/0/method"), Some(&json!("password")));
    // Guessing tokens leads there too, and yet a good one passes.
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(
            office
                .with_token("guess", "GET", "/metrics", "")
                .await
                .status,
        );
    }
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
    assert_eq!(
        office
            .with_token(&office.token(Role::Viewer), "GET", "/metrics", "")
            .await
            .status,
        200
    );
}

fn named(office: &Office, serial: u64, name: &str) -> Device {
    office.authority.device_with(serial, |params| {
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
    })
}

/// The trail holds why a certificate opened nothing; what is a guess counts as a failed login.
#[tokio::test]
async fn a_certificate_that_is_refused_leaves_its_reason_in_the_trail() {
    let office = Office::open("{ failures: { per_ip: 1 } }").await;
    let request = written("GET", "/metrics", &[], "");
    let late = named(&office, 7, "late");
    assert_eq!(office.send(Some(&late), &request).await.status, 401);
    let foreign = Authority::root("elsewhere").device(8);
    let config = client(
        &office.authority,
        Some(&foreign),
        &[&rustls::version::TLS12],
    );
    let stream = TcpStream::connect(office.address).await.unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("localhost").unwrap(), stream)
        .await
        .unwrap_err();
    let stranger = named(&office, 9, "stranger");
    assert_eq!(office.send(Some(&stranger), &request).await.status, 401);
    let until = Instant::now() + std::time::Duration::from_secs(60);
    let told = loop {
        let told: Vec<(Kind, Outcome, String)> = office
            .desk
            .events
            .lock()
            .iter()
            .map(|event| (event.kind, event.outcome, event.reason.clone()))
            .collect();
        if told.len() >= 4 {
            break told;
        }
        assert!(Instant::now() < until, "{told:?}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    let rows = [
        (
            Kind::Authenticate,
            Outcome::Failed,
            Rejection::Late.to_string(),
        ),
        (
            Kind::Screen,
            Outcome::Refused,
            "TLS: client certificate refused: unknown issuer".to_owned(),
        ),
        (
            Kind::Authenticate,
            Outcome::Refused,
            Rejection::NamesNobody.to_string(),
        ),
    ];
    for row in rows {
        assert!(told.contains(&row), "{row:?} is not in {told:?}");
    }
    assert!(
        told.iter().any(|(kind, _, _)| *kind == Kind::Ban),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_certificate_has_the_role_of_its_name_until_it_is_revoked() {
    let office = Office::open("{}").await;
    let device = office.authority.device(5);
    let other = named(&office, 6, "somebody");
    let kick = written("DELETE", "/api/v1/clients/pump-7", &[], "");
    let from_site = written(
        "DELETE",
        "/api/v1/clients/pump-7",
        &[("Origin", "https://evil.example")],
        "",
    );
    assert_eq!(office.send(Some(&device), &kick).await.status, 204);
    assert_eq!(
        office.send(Some(&device), &from_site).await.status,
        403,
        "a browser used by another site"
    );
    assert_eq!(
        office.send(Some(&other), &kick).await.status,
        403,
        "a name without a role"
    );
    assert_eq!(office.send(None, &kick).await.status, 401);
    let bad_token = written("GET", "/metrics", &[("Authorization", "Bearer x")], "");
    assert_eq!(
        office.send(Some(&device), &bad_token).await.status,
        401,
        "what is offered first decides"
    );
    // A connection that was there before the revocation is judged by it.
    let config = client(&office.authority, Some(&device), &[&rustls::version::TLS13]);
    let stream = TcpStream::connect(office.address).await.unwrap();
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("localhost").unwrap(), stream)
        .await
        .unwrap();
    let mut ask = async || {
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer).await.unwrap();
        String::from_utf8(answer.get(..length).unwrap().to_vec()).unwrap()
    };
    assert!(ask().await.starts_with("HTTP/1.1 200"));
    office.folder.write("ca.crl", office.authority.crl(&[5]));
    let mut tls_config = office.tls_config.clone();
    tls_config.crl = vec!["ca.crl".into()];
    office.tls.store(Arc::new(
        ServerTls::build(&tls_config, office.folder.path(), Transport::Websocket).unwrap(),
    ));
    assert!(ask().await.starts_with("HTTP/1.1 401"));
}
