//! What the routes answer, and what they refuse to read.

use super::*;

#[tokio::test]
async fn adm_05_strangers_see_two_states_and_a_login() {
    let office = Office::open("{}").await;
    let rows = [
        ("GET", "/healthz", 200, "ok\n"),
        ("GET", "/readyz", 200, "ready\n"),
        ("GET", "/", 401, ""),
        ("GET", "/api/v1/nothing", 401, ""),
        ("POST", "/healthz", 401, ""),
        ("GET", "/login", 401, ""),
    ];
    for (method, path, status, body) in rows {
        let reply = office.ask(method, path, &[], "").await;
        assert_eq!(reply.status, status, "{method} {path}");
        assert!(body.is_empty() || reply.body == body, "{reply:?}");
        let all = format!("{}{}", reply.head, reply.body).to_lowercase();
        assert!(
            !all.contains(env!("CARGO_PKG_VERSION")) && !all.contains("server:"),
            "{all}"
        );
    }
    office.desk.is_ready.store(false, Ordering::Relaxed);
    let reply = office.ask("GET", "/readyz", &[], "").await;
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (503, "not ready\n"),
        "why is not for strangers"
    );
    let status = office
        .with_token(&office.token(Role::Viewer), "GET", "/api/v1/status", "")
        .await
        .json();
    assert_eq!(
        status.get("not_ready_because"),
        Some(&json!("the store is full"))
    );
}

#[tokio::test]
async fn adm_02_no_answer_can_become_a_page() {
    let office = Office::open("{}").await;
    let token = office.token(Role::Viewer);
    let clients = office
        .with_token(&token, "GET", "/api/v1/clients", "")
        .await;
    let missing = office
        .with_token(&token, "GET", "/api/v1/clients/%3Cscript%3E", "")
        .await;
    assert!(clients.body.contains("<script>"), "it is data");
    for reply in [
        clients,
        missing,
        office.ask("GET", "/healthz", &[], "").await,
    ] {
        let content_type = reply.header("content-type").unwrap();
        assert!(!content_type.contains("html"), "{content_type}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("x-frame-options"), Some("DENY"));
        assert!(
            reply
                .header("content-security-policy")
                .unwrap()
                .starts_with("default-src 'none'")
        );
    }
}

#[tokio::test]
async fn adm_04_heads_and_bodies_are_bounded_however_they_come() {
    let office = Office::open("{}").await;
    let token = office.token(Role::Operator);
    let bearer = format!("Bearer {token}");
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let chunked = format!(
        "POST /api/v1/bans HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        chunk.repeat(17)
    );
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let auth = [("Authorization", bearer.as_str())];
    let long = "x".repeat(20_000);
    let many: String = (0..70).map(|n| format!("X-{n}: y\r\n")).collect();
    let rows = [
        ("chunked", chunked, 413),
        (
            "1 MiB and more",
            written("POST", "/api/v1/bans", &auth, &" ".repeat(1024 * 1024 + 1)),
            413,
        ),
        ("deep", written("POST", "/api/v1/bans", &auth, &deep), 400),
        (
            "a head of 20,000",
            written("GET", "/metrics", &[("X-Long", &long)], ""),
            431,
        ),
        (
            "a path of 20,000",
            written("GET", &format!("/{long}"), &[], ""),
            431,
        ),
        (
            "70 headers",
            format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"),
            431,
        ),
        (
            "no JSON",
            written(
                "POST",
                "/api/v1/bans",
                &[auth[0], ("Content-Type", "text/plain")],
                "{}",
            ),
            415,
        ),
        (
            "a large body by nobody",
            written("POST", "/api/v1/bans", &[], &" ".repeat(1024 * 1024 + 1)),
            401,
        ),
    ];
    for (name, request, expected) in rows {
        let reply = office.send(None, &request).await;
        assert!(
            [expected, 414].contains(&reply.status) && (reply.status != 414 || expected == 431),
            "{name}: {}",
            reply.status
        );
    }
}

#[tokio::test]
async fn adm_06_there_are_no_files_behind_paths() {
    let office = Office::open("{}").await;
    let token = office.token(Role::Admin);
    let rows = [
        "/../tokens.json",
        "/%2e%2e/tokens.json",
        "//healthz",
        "/healthz%00",
        "/HEALTHZ",
        "/healthz/",
        "/api/v1/clients/..%2f..%2ftokens.json",
        "/tokens.json",
    ];
    for path in rows {
        assert_eq!(
            office.with_token(&token, "GET", path, "").await.status,
            404,
            "{path}"
        );
    }
}

#[tokio::test]
async fn clients_are_listed_by_pages_shown_and_disconnected() {
    let office = Office::open("{}").await;
    let token = office.token(Role::Operator);
    let ids = |reply: &Reply| -> Vec<String> {
        let clients = reply
            .json()
            .get("clients")
            .and_then(Value::as_array)
            .cloned()
            .unwrap();
        clients
            .iter()
            .filter_map(|client| Some(client.get("client_id")?.as_str()?.to_owned()))
            .collect()
    };
    let page = office
        .with_token(&token, "GET", "/api/v1/clients?prefix=pump&limit=1", "")
        .await;
    assert_eq!(
        (ids(&page), page.json().get("next").cloned()),
        (vec!["pump-7".to_owned()], Some(json!("pump-7")))
    );
    let page = office
        .with_token(
            &token,
            "GET",
            "/api/v1/clients?prefix=pump&limit=5&after=pump-7",
            "",
        )
        .await;
    assert_eq!(
        (ids(&page), page.json().get("next").cloned()),
        (vec!["pump-8".to_owned()], Some(json!(null)))
    );
    let shown = office
        .with_token(&token, "GET", "/api/v1/clients/pump-7", "")
        .await
        .json();
    assert_eq!(
        (
            shown.pointer("/filters/0/filter"),
            shown.pointer("/client_id")
        ),
        (Some(&json!("a/#")), Some(&json!("pump-7")))
    );
    for (method, id, status) in [
        ("GET", "nobody", 404),
        ("DELETE", "nobody", 404),
        ("DELETE", "pump-7", 204),
        ("PUT", "pump-7", 405),
    ] {
        assert_eq!(
            office
                .with_token(&token, method, &format!("/api/v1/clients/{id}"), "")
                .await
                .status,
            status,
            "{method} {id}"
        );
    }
    for query in [
        "limit=0",
        "limit=9223372036854775808",
        "page=2",
        "limit=1&limit=2",
    ] {
        let reply = office
            .with_token(&token, "GET", &format!("/api/v1/clients?{query}"), "")
            .await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (400, Some("application/problem+json")),
            "{query}"
        );
    }
}

#[tokio::test]
async fn bans_are_placed_listed_and_lifted() {
    let office = Office::open("{}").await;
    let token = office.token(Role::Operator);
    let place = async |body: Value| {
        office
            .with_token(&token, "POST", "/api/v1/bans", &body.to_string())
            .await
    };
    let placed = place(json!({ "ip": "192.0.2.0/24", "duration": "1h", "reason": "abuse" })).await;
    assert_eq!(
        (placed.status, placed.json().get("disconnected").cloned()),
        (201, Some(json!(1)))
    );
    let rows = [
        (json!({ "username": "mallory" }), 201),
        (json!({}), 400),
        (json!({ "username": "a", "client_id": "b" }), 400),
        (json!({ "ip": "10.0.0.1/8" }), 400),
        (json!({ "username": "" }), 400),
        (json!({ "username": "a", "duration": "soon" }), 400),
        (json!({ "username": "a", "until": 7 }), 400),
        // Whoever calls cannot shut himself out.
        (json!({ "ip": "127.0.0.0/8" }), 409),
    ];
    for (body, status) in rows {
        assert_eq!(place(body.clone()).await.status, status, "{body}");
    }
    let bans = office
        .with_token(&token, "GET", "/api/v1/bans", "")
        .await
        .json();
    assert_eq!(bans.pointer("/bans/1/ip"), Some(&json!("192.0.2.0/24")));
    assert!(
        bans.pointer("/bans/1/by")
            .and_then(Value::as_str)
            .unwrap()
            .starts_with("token:")
    );
    for (subject, status) in [
        ("ip:192.0.2.0%2F24", 204),
        ("ip:192.0.2.0%2F24", 404),
        ("host:x", 400),
    ] {
        assert_eq!(
            office
                .with_token(&token, "DELETE", &format!("/api/v1/bans/{subject}"), "")
                .await
                .status,
            status,
            "{subject}"
        );
    }
    // What could not be written holds, and is not called done.
    office.desk.keeps_no_bans.store(true, Ordering::Relaxed);
    let unwritten = place(json!({ "username": "mallory" })).await;
    assert_eq!(unwritten.status, 503, "{unwritten:?}");
    let subject = "/api/v1/bans/username:mallory";
    let lifted = office.with_token(&token, "DELETE", subject, "").await;
    assert_eq!(lifted.status, 503, "{lifted:?}");
}

#[tokio::test]
async fn a_denial_leads_to_its_explanation() {
    let office = Office::open("{}").await;
    let token = office.token(Role::Viewer);
    office
        .desk
        .denials
        .record(denial(1, "secret/x", Some("deny.yaml:3 no")));
    office
        .desk
        .denials
        .record(denial(2, "tele/pump-7/temp", None));
    let denials = office
        .with_token(&token, "GET", "/api/v1/denials", "")
        .await
        .json();
    assert_eq!(
        denials.pointer("/denials/0/decision"),
        Some(&json!("0000000000000002"))
    );
    assert_eq!(
        denials.pointer("/denials/0/suggestion"),
        Some(&json!("allow:\n  - publish: \"tele/${client_id}/temp\""))
    );
    assert_eq!(denials.pointer("/denials/1/suggestion"), Some(&json!(null)));
    let explain = async |body: Value| {
        office
            .with_token(&token, "POST", "/api/v1/policy/explain", &body.to_string())
            .await
    };
    let by_decision = explain(json!({ "decision": "0000000000000002" }))
        .await
        .json();
    assert_eq!(
        (
            by_decision.get("allowed"),
            by_decision.pointer("/decided/topic")
        ),
        (Some(&json!(false)), Some(&json!("tele/pump-7/temp")))
    );
    let rows = [
        (
            json!({ "client": "pump-7", "action": "publish", "topic": "own/pump-7" }),
            200,
            Some(true),
        ),
        (
            json!({ "username": "x", "client_id": "x", "action": "publish", "topic": "own/pump-7" }),
            200,
            Some(false),
        ),
        (
            json!({ "username": "x", "client_id": "x", "action": "publish", "topic": "own/x", "qos": 2, "retain": true }),
            200,
            Some(true),
        ),
        (
            json!({ "claims": { "sub": "x", "acl": [{ "publish": "b" }, { "publish": "a/#" }] }, "action": "publish", "topic": "a" }),
            200,
            Some(true),
        ),
        (
            json!({ "claims": { "sub": "x", "acl": [{ "publish": "b" }] }, "action": "publish", "topic": "a" }),
            200,
            Some(false),
        ),
        (
            json!({ "claims": { "sub": "x", "acl": [{ "publish": "b/#/c" }] }, "action": "publish", "topic": "a" }),
            400,
            None,
        ),
        (
            json!({ "client": "nobody", "action": "publish", "topic": "a" }),
            404,
            None,
        ),
        (json!({ "decision": "ffffffffffffffff" }), 404, None),
        (json!({ "username": "x", "action": "publish" }), 400, None),
        (
            json!({ "username": "x", "action": "publish", "topic": "a/#" }),
            400,
            None,
        ),
        (
            json!({ "username": "x", "action": "publish", "topic": "a", "qos": 3 }),
            400,
            None,
        ),
        // A user without named groups has those of the users file.
        (
            json!({ "username": "carol", "action": "publish", "topic": "staff/x" }),
            200,
            Some(true),
        ),
        (
            json!({ "username": "carol", "group": ["guests"], "action": "publish", "topic": "staff/x" }),
            200,
            Some(false),
        ),
        (
            json!({ "username": "x", "auth": "magic", "action": "publish", "topic": "a" }),
            400,
            None,
        ),
    ];
    for (question, status, allowed) in rows {
        let reply = explain(question.clone()).await;
        assert_eq!(reply.status, status, "{question}: {reply:?}");
        if let Some(allowed) = allowed {
            assert_eq!(
                reply.json().get("allowed"),
                Some(&json!(allowed)),
                "{question}"
            );
            assert!(reply.json().get("limits").is_some_and(Value::is_array));
        }
    }
}

#[tokio::test]
async fn a_reload_that_fails_tells_what_is_wrong_where() {
    let office = Office::open("{}").await;
    let token = office.token(Role::Operator);
    assert_eq!(
        office
            .with_token(&token, "POST", "/api/v1/reload", "")
            .await
            .status,
        200
    );
    office.desk.reload_fails.store(true, Ordering::Relaxed);
    let reply = office
        .with_token(&token, "POST", "/api/v1/reload", "")
        .await;
    assert_eq!(
        (reply.status, reply.json().pointer("/problems/0").cloned()),
        (422, Some(json!("policies/a.yaml:3:5: no such key")))
    );
}

#[tokio::test]
async fn the_audit_trail_is_searched_and_followed() {
    let office = Office::open("{}").await;
    let token = office.token(Role::Viewer);
    let file = office.desk.audit_trail.join("audit-0000000000000001.jsonl");
    let line = |sequence: u32, event: &str| {
        format!(
            "{{\"time\":\"x\",\"sequence\":{sequence},\"event\":\"{event}\",\"previous\":\"\"}}\n"
        )
    };
    std::fs::write(
        &file,
        line(1, "ban") + &line(2, "publish") + &line(3, "ban"),
    )
    .unwrap();
    let rows: [(&str, &[u64]); 4] = [
        ("", &[3, 2, 1]),
        ("?event=ban", &[3, 1]),
        ("?event=ban&limit=1", &[3]),
        ("?username=x", &[]),
    ];
    for (query, expected) in rows {
        let reply = office
            .with_token(&token, "GET", &format!("/api/v1/audit{query}"), "")
            .await
            .json();
        let records = reply
            .get("records")
            .and_then(Value::as_array)
            .cloned()
            .unwrap();
        let sequences: Vec<u64> = records
            .iter()
            .filter_map(|record| record.get("sequence")?.as_u64())
            .collect();
        assert_eq!(sequences, expected, "{query}");
    }
    let config = client(&office.authority, None, &[&rustls::version::TLS13]);
    let stream = TcpStream::connect(office.address).await.unwrap();
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("localhost").unwrap(), stream)
        .await
        .unwrap();
    let request = written(
        "GET",
        "/api/v1/audit?follow=true&event=ban",
        &[("Authorization", &format!("Bearer {token}"))],
        "",
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = String::new();
    read_until(&mut stream, &mut seen, "\r\n\r\n").await;
    let appended = line(4, "publish") + &line(5, "ban");
    std::io::Write::write_all(
        &mut std::fs::File::options().append(true).open(&file).unwrap(),
        appended.as_bytes(),
    )
    .unwrap();
    read_until(&mut stream, &mut seen, "\"sequence\":5").await;
    assert!(
        seen.contains("text/event-stream")
            && !seen.contains("\"sequence\":4")
            && !seen.contains("\"sequence\":3"),
        "{seen}"
    );
}

/// Until `wanted` is among what was read.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), seen: &mut String, wanted: &str) {
    let mut more = vec![0; 4096];
    while !seen.contains(wanted) {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut more)).await;
        assert!(read.is_ok(), "no {wanted:?} within {PATIENCE:?} in {seen}");
        let length = read.unwrap().unwrap();
        assert_ne!(length, 0, "no {wanted:?} in {seen}");
        seen.push_str(std::str::from_utf8(more.get(..length).unwrap()).unwrap());
    }
}

#[tokio::test]
async fn tokens_are_made_and_removed_by_persons() {
    let office = Office::open("{}").await;
    let (cookie, csrf_token) = office.log_in("alice").await;
    let headers = [
        ("Cookie", cookie.as_str()),
        ("X-CSRF-Token", csrf_token.as_str()),
    ];
    let reply = office
        .ask(
            "POST",
            "/api/v1/tokens",
            &headers,
            r#"{"scope":"viewer","days":1}"#,
        )
        .await;
    assert_eq!(reply.status, 201);
    let token = reply
        .json()
        .get("token")
        .and_then(Value::as_str)
        .unwrap()
        .to_owned();
    assert_eq!(
        office.with_token(&token, "GET", "/metrics", "").await.body,
        "wardgate_connections 2\n"
    );
    let listed = office.ask("GET", "/api/v1/tokens", &headers, "").await;
    assert!(
        !listed.body.contains(&token) && !listed.body.contains("sha256"),
        "{}",
        listed.body
    );
    let id = listed
        .json()
        .pointer("/tokens/0/id")
        .and_then(Value::as_str)
        .unwrap()
        .to_owned();
    assert_eq!(
        office
            .ask("DELETE", &format!("/api/v1/tokens/{id}"), &headers, "")
            .await
            .status,
        204
    );
    assert_eq!(
        office
            .with_token(&token, "GET", "/metrics", "")
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn an_export_is_a_download_that_is_whole_or_breaks_off() {
    let office = Office::open("{}").await;
    let (path, admin) = ("/api/v1/store/export", office.token(Role::Admin));
    for role in [Role::Viewer, Role::Operator] {
        let reply = office
            .with_token(&office.token(role), "GET", path, "")
            .await;
        assert_eq!(reply.status, 403, "{role:?}");
    }
    let reply = office.with_token(&admin, "GET", path, "").await;
    assert_eq!(reply.status, 409, "nothing is kept: {reply:?}");
    for (parts, is_whole) in [(0, true), (500, true), (13, false)] {
        *office.desk.export.lock() = Some(parts);
        let reply = office.with_token(&admin, "GET", path, "").await;
        assert_eq!(reply.status, 200, "{}", reply.head);
        let disposition = reply.header("content-disposition").unwrap();
        assert!(disposition.starts_with("attachment"), "{disposition}");
        let sent = reply.body.matches('x').count();
        assert!(!is_whole || sent == usize::try_from(parts).unwrap() * 1000);
        // The last chunk says that the body is over. RFC 9112 section 7.1
        assert_eq!(reply.body.ends_with("0\r\n\r\n"), is_whole, "{parts}");
    }
    let audited = |desk: &Desk| {
        let events = desk.events.lock();
        let exports = events
            .iter()
            .filter(|event| event.reason.contains("export"));
        exports.count()
    };
    assert_eq!(audited(&office.desk), 3);
    office.desk.is_auditable.store(false, Ordering::Relaxed);
    let reply = office.with_token(&admin, "GET", path, "").await;
    assert_eq!(reply.status, 503, "what cannot be audited is refused");
}
