//! The API over HTTPS, with a double in the broker's place.

mod access;
mod enrolment;
mod verbs;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::*;
use crate::audit::{DecisionId, Event, Unauditable};
use crate::identity::io::logins::Logins;
use crate::identity::jwt::{AclMode, JwtConfig};
use crate::identity::{CertificateNames, Credentials, Identity, Method, Rejection, Role, Subject};
use crate::limits::{BanSubject, Limits, LimitsConfig};
use crate::net::config::ClientAuth;
use crate::net::tls::fixtures::{Authority, Device, Folder, client, server_files};
use crate::net::{ServerTls, Transport};
use crate::pki::DeviceCa;
use crate::policy::Policies;
use crate::problem::Problem;

/// Long enough for a loaded machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker of two clients and four users: alice may all, olga operates, victor views, and nobody has no role.
struct Desk {
    limits: Limits,
    denials: Denials,
    policies: Arc<Policies>,
    audit_trail: PathBuf,
    events: Mutex<Vec<Event>>,
    kicked: Mutex<Vec<String>>,
    is_ready: AtomicBool,
    is_auditable: AtomicBool,
    reload_fails: AtomicBool,
    keeps_no_bans: AtomicBool,
    /// Thousands of bytes that an export comes to; 13 fail at the end.
    export: Mutex<Option<u64>>,
}

impl Node for Desk {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.policies)
    }

    fn denials(&self) -> &Denials {
        &self.denials
    }

    fn record(&self, event: Event) -> Result<(), Unauditable> {
        self.events.lock().push(event);
        match self.is_auditable.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(Unauditable),
        }
    }

    fn regrouped(&self, identity: &Identity) -> Option<Identity> {
        (&*identity.username == "carol").then(|| Identity {
            groups: vec!["staff".into()],
            ..identity.clone()
        })
    }

    fn jwt(&self) -> JwtConfig {
        JwtConfig {
            groups_claim: Some("roles".into()),
            acl_claim: Some("acl".into()),
            acl_mode: Some(AclMode::Grant),
            ..JwtConfig::default()
        }
    }

    fn readiness(&self) -> Result<(), String> {
        match self.is_ready.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err("the store is full".into()),
        }
    }

    fn status(&self) -> Status {
        Status {
            node: "gate-1".into(),
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: 7,
            ready: true,
            listeners: BTreeMap::from([("mqtts".into(), SocketAddr::from(([127, 0, 0, 1], 8883)))]),
            connected_clients: 2,
            subscriptions: 1,
            policies: 1,
            policy_generation: 1,
            limits: self.limits.standing(Instant::now()),
        }
    }

    fn effective_configuration(&self) -> Value {
        json!({ "node": "gate-1" })
    }

    fn metrics(&self) -> String {
        "wardgate_connections 2\n".into()
    }

    fn clients(&self, query: &ClientQuery<'_>) -> Vec<ClientSummary> {
        let all = ["<script>alert(1)</script>", "pump-7", "pump-8"];
        let wanted = all
            .into_iter()
            .filter(|id| id.starts_with(query.prefix) && *id > query.after);
        wanted.take(query.limit).map(summary).collect()
    }

    fn client(&self, client_id: &str) -> Option<ClientDetail> {
        (client_id == "pump-7").then(|| ClientDetail {
            summary: summary(client_id),
            groups: vec!["pumps".into()],
            certificate: None,
            valid_until: None,
            filters: vec![SubscriptionSummary {
                filter: "a/#".into(),
                qos: 1,
            }],
            limits: Vec::new(),
        })
    }

    fn subject(&self, client_id: &str) -> Option<Arc<Subject>> {
        (client_id == "pump-7").then(|| subject("pump-7"))
    }

    fn kick(&self, client_id: &str, _: &str) -> bool {
        self.kicked.lock().push(client_id.into());
        client_id == "pump-7"
    }

    fn kick_banned(&self, subject: &BanSubject) -> u64 {
        u64::from(subject.concerns(IpAddr::from([192, 0, 2, 7]), "pump-7", "pump-7"))
    }

    fn keep_bans(&self) -> Pending<'_, std::io::Result<()>> {
        Box::pin(async {
            match self.keeps_no_bans.load(Ordering::Relaxed) {
                true => Err(std::io::ErrorKind::StorageFull.into()),
                false => Ok(()),
            }
        })
    }

    fn reload(&self) -> Pending<'_, Result<(), Vec<Problem>>> {
        Box::pin(async {
            match self.reload_fails.load(Ordering::Relaxed) {
                true => Err(vec![Problem::new("policies/a.yaml", 3, 5, "no such key")]),
                false => Ok(()),
            }
        })
    }

    fn export(&self) -> Option<Export> {
        let parts = *self.export.lock();
        let parts = parts?;
        Some(Box::new(move |out| {
            for _ in 0..parts {
                out.write_all(&[b'x'; 1000])?;
            }
            match parts {
                13 => Err(std::io::Error::other("the disk fails")),
                parts => Ok(parts),
            }
        }))
    }

    fn audit_trail(&self) -> PathBuf {
        self.audit_trail.clone()
    }

    fn identify(&self, credentials: Credentials) -> Pending<'_, Result<Identity, Rejection>> {
        Box::pin(async move {
            if let Some(leaf) = credentials
                .certificate
                .as_ref()
                .and_then(|certificate| certificate.leaf())
            {
                let names = CertificateNames::from_der(leaf)?;
                let name = names.common_name.first().cloned().unwrap_or_default();
                return match name.as_str() {
                    "stranger" => Err(Rejection::NamesNobody),
                    "late" => Err(Rejection::Late),
                    name => Ok(identity(name, Method::CERTIFICATE)),
                };
            }
            let name = credentials
                .username
                .map(|name| name.as_str().to_owned())
                .unwrap_or_default();
            match credentials.password {
                Some(password) if password.matches(b"right") => {
                    Ok(identity(&name, Method::PASSWORD))
                }
                Some(_) | None => Err(Rejection::WrongPassword(name)),
            }
        })
    }

    fn role(&self, identity: &Identity) -> Option<Role> {
        match &*identity.username {
            "alice" => Some(Role::Admin),
            "olga" => Some(Role::Operator),
            "victor" => Some(Role::Viewer),
            _ => None,
        }
    }

    fn recheck(&self, _: &Identity) -> Result<(), Rejection> {
        Ok(())
    }
}

fn summary(client_id: &str) -> ClientSummary {
    ClientSummary {
        client_id: client_id.into(),
        username: "pump".into(),
        namespace: "certificate".into(),
        auth: "certificate",
        ip: Some(IpAddr::from([192, 0, 2, 7])),
        listener: Some("mqtts".into()),
        protocol: "mqtt",
        connected: true,
        subscriptions: 1,
        queued_messages: 0,
        queued_bytes: 0,
    }
}

fn identity(name: &str, method: Method) -> Identity {
    Identity::new(method, method.0.into(), name.into())
}

fn subject(client_id: &str) -> Arc<Subject> {
    Arc::new(Subject {
        identity: identity(client_id, Method::CERTIFICATE),
        client_id: client_id.into(),
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        listener: "mqtts".into(),
        protocol: "mqtt",
    })
}

/// A listener that serves the desk.
struct Office {
    desk: Arc<Desk>,
    tokens: Tokens,
    address: SocketAddr,
    authority: Authority,
    tls: Arc<ArcSwap<ServerTls>>,
    tls_config: crate::net::TlsConfig,
    folder: Folder,
}

/// What came back.
#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic_with(&format!("{error}: {self:?}")))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &'_ str| {
            line.split_once(": ")
                .filter(|(known, _)| known.eq_ignore_ascii_case(name))
                .is_some()
        };
        self.head
            .lines()
            .find(|line| named(line))
            .and_then(|line| Some(line.split_once(": ")?.1))
    }
}

#[expect(clippy::panic, reason = "tests")]
fn panic_with(message: &str) -> ! {
    panic!("{message}")
}

impl Office {
    async fn open(limits: &str) -> Self {
        Self::open_with(limits, None).await
    }

    async fn open_with(limits: &str, est: Option<EstConfig>) -> Self {
        let authority = Authority::root("office");
        let (folder, tls_config) = server_files(&authority, ClientAuth::Optional);
        let roles = "certificate_roles: { device: operator }";
        let text = format!("tls: {{ certificate: server.pem, private_key: server.key }}\n{roles}");
        let mut config: AdminConfig = serde_saphyr::from_str(&text).unwrap();
        config.tls = tls_config.clone();
        if let Some(est) = est {
            DeviceCa::create(&folder.path().join(&est.ca), SystemTime::now()).unwrap();
            config.est = Some(est);
        }
        let tls = config.server_tls(folder.path()).unwrap();
        let tls = Arc::new(ArcSwap::from_pointee(tls));
        let limits: LimitsConfig = serde_saphyr::from_str(limits).unwrap();
        let file = "version: 1\npolicies:\n  - id: own\n    who: { any: true }\n    allow:\n      - publish: \"own/${client_id}\"\n  - id: staff\n    who: { group: staff, auth: password }\n    allow: [{ publish: \"staff/x\" }]\n";
        let desk = Arc::new(Desk {
            limits: Limits::new(limits, [1, 2, 3, 4], Instant::now()),
            denials: Denials::default(),
            policies: Arc::new(Policies::parse(&[("own.yaml".into(), file.into())]).unwrap()),
            audit_trail: folder.path().join("audit"),
            events: Mutex::default(),
            kicked: Mutex::default(),
            is_ready: AtomicBool::new(true),
            is_auditable: AtomicBool::new(true),
            reload_fails: AtomicBool::new(false),
            keeps_no_bans: AtomicBool::new(false),
            export: Mutex::default(),
        });
        std::fs::create_dir(folder.path().join("audit")).unwrap();
        let logins = Arc::new(Logins::in_memory());
        let node: Arc<dyn Node> = desk.clone();
        let server = Server::new(
            node,
            Arc::new(ArcSwap::from_pointee(config)),
            Tokens::in_folder(folder.path()),
            logins,
            Arc::clone(&tls),
            folder.path().to_owned(),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(server.serve(listener));
        let tokens = Tokens::in_folder(folder.path());
        Self {
            desk,
            tokens,
            address,
            authority,
            tls,
            tls_config,
            folder,
        }
    }

    fn token(&self, role: Role) -> String {
        self.tokens.create(role, None, SystemTime::now()).unwrap()
    }

    /// One request in a connection of its own, written as it goes over the wire but for its end.
    async fn send(&self, device: Option<&Device>, request: &str) -> Reply {
        let config = client(&self.authority, device, &[&rustls::version::TLS13]);
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap();
        // A server that has refused need not read to the end.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        Reply {
            status,
            head: head.into(),
            body: body.into(),
        }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        self.send(None, &written(method, path, headers, body)).await
    }

    async fn with_token(&self, token: &str, method: &str, path: &str, body: &str) -> Reply {
        let bearer = format!("Bearer {token}");
        self.ask(method, path, &[("Authorization", &bearer)], body)
            .await
    }

    /// The cookie and the CSRF token of a login.
    async fn log_in(&self, name: &str) -> (String, String) {
        let body = json!({ "username": name, "password": "right" }).to_string();
        let reply = self.ask("POST", "/login", &[], &body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let cookie = reply
            .header("set-cookie")
            .and_then(|cookie| cookie.split(';').next())
            .unwrap()
            .to_owned();
        (
            cookie,
            reply
                .json()
                .get("csrf_token")
                .and_then(Value::as_str)
                .unwrap()
                .to_owned(),
        )
    }
}

fn written(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
    {
        request.push_str("Content-Type: application/json\r\n");
    }
    headers
        .iter()
        .for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
    format!("{request}\r\n{body}")
}

fn denial(decision: u64, topic: &str, rule: Option<&str>) -> Denial {
    Denial {
        at: SystemTime::UNIX_EPOCH,
        decision: DecisionId(decision),
        subject: subject("pump-7"),
        action: "publish",
        topic: topic.into(),
        qos: 0,
        retain: false,
        rule: rule.map(str::to_owned),
        reason: "no statement allows it".into(),
    }
}
