//! What is promised of a key set behind a URL, against an issuer that answers as a test says.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use super::*;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// An issuer of keys on loopback that answers as a test says.
struct Issuer {
    folder: PathBuf,
    port: u16,
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<AtomicUsize>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Issuer {
    async fn start() -> Self {
        let folder =
            std::env::temp_dir().join(format!("wardgate-jwks-{:032x}", rand::random::<u128>()));
        std::fs::create_dir(&folder).unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(folder.join("ca.pem"), made.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let certificate: CertificateDer<'static> = made.cert.der().clone();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answer, asked) = (
            Arc::new(Mutex::new(Vec::new())),
            Arc::new(AtomicUsize::new(0)),
        );
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let (to_send, count) = (answer.clone(), asked.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(socket).await else {
                    continue;
                };
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                count.fetch_add(1, Ordering::SeqCst);
                let answer = to_send.lock().clone();
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            }
        });
        Self {
            folder,
            port,
            answer,
            asked,
        }
    }

    fn answer(&self, status: &str, body: &str) {
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nlocation: http://localhost/\r\n\r\n",
            body.len()
        );
        *self.answer.lock() = format!("{head}{body}").into_bytes();
    }

    fn remote(&self, more: &str) -> Remote {
        let port = self.port;
        let section = format!(
            "{{url: 'https://localhost:{port}/keys', ca: ca.pem, allow_addresses: [127.0.0.0/8, '::1'], timeout: 1s{more}}}"
        );
        let config: JwksConfig = serde_saphyr::from_str(&section).unwrap();
        Remote::open(&config, &self.folder).unwrap().unwrap()
    }
}

fn key_set_of(key: &Ed25519KeyPair, kid: &str) -> String {
    let x = URL_SAFE_NO_PAD.encode(key.public_key());
    serde_json::json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x}]}).to_string()
}

fn token(key: &Ed25519KeyPair, kid: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#));
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode("{}"));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

async fn passes(remote: &Arc<Remote>, token: &str) -> Result<bool, String> {
    let token = Unverified::parse(token.as_bytes()).unwrap();
    let keys = remote.for_token(&token).await?;
    Ok(token.verify(&[&keys]).is_ok())
}

impl Remote {
    /// As if time had passed.
    fn forget_the_attempt(&self) {
        self.state.lock().attempted = None;
    }
}

#[tokio::test]
async fn idn_10_a_bad_answer_keeps_the_good_keys() {
    let issuer = Issuer::start().await;
    let (good, forged) = (
        Ed25519KeyPair::generate().unwrap(),
        Ed25519KeyPair::generate().unwrap(),
    );
    let remote = Arc::new(issuer.remote(", refresh: 0s"));
    issuer.answer("200 OK", &key_set_of(&good, "a"));
    assert_eq!(passes(&remote, &token(&good, "a")).await, Ok(true));
    let big = format!("{{\"keys\":[],\"pad\":\"{}\"}}", "x".repeat(300 << 10));
    let evil = key_set_of(&forged, "a");
    let answers = [
        ("500 Internal Server Error", "{}"),
        ("404 Not Found", evil.as_str()),
        ("302 Found", evil.as_str()),
        ("200 OK", r#"{"keys":[]}"#),
        ("200 OK", "<html>"),
        ("200 OK", &big),
        ("204 No Content", ""),
    ];
    for (status, body) in answers {
        issuer.answer(status, body);
        remote.forget_the_attempt();
        remote.fetch().await;
        assert!(remote.state.lock().failure.is_some(), "{status}");
        assert_eq!(
            passes(&remote, &token(&good, "a")).await,
            Ok(true),
            "{status}"
        );
        assert_eq!(
            passes(&remote, &token(&forged, "a")).await,
            Ok(false),
            "{status}"
        );
    }
    *issuer.answer.lock() = b"garbage".to_vec();
    remote.forget_the_attempt();
    remote.fetch().await;
    assert_eq!(passes(&remote, &token(&good, "a")).await, Ok(true));
    // The issuer changes its keys: the old ones are gone with the next good answer.
    issuer.answer("200 OK", &evil);
    remote.forget_the_attempt();
    remote.fetch().await;
    assert_eq!(passes(&remote, &token(&good, "a")).await, Ok(false));
}

#[tokio::test]
async fn idn_10_an_unknown_key_asks_once_a_minute() {
    let issuer = Issuer::start().await;
    let key = Ed25519KeyPair::generate().unwrap();
    let remote = Arc::new(issuer.remote(""));
    issuer.answer("200 OK", &key_set_of(&key, "a"));
    assert_eq!(passes(&remote, &token(&key, "a")).await, Ok(true));
    for number in 0..20 {
        assert_eq!(
            passes(&remote, &token(&key, &format!("b{number}"))).await,
            Ok(false)
        );
    }
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn idn_01_an_issuer_that_is_not_there_is_a_refusal() {
    let issuer = Issuer::start().await;
    let key = Ed25519KeyPair::generate().unwrap();
    issuer.answer("200 OK", &key_set_of(&key, "a"));
    let expired = Arc::new(issuer.remote(", keep: 0s"));
    let forbidden = format!(
        "{{url: 'https://localhost:{}/keys', ca: ca.pem}}",
        issuer.port
    );
    let forbidden: JwksConfig = serde_saphyr::from_str(&forbidden).unwrap();
    let forbidden = Arc::new(Remote::open(&forbidden, &issuer.folder).unwrap().unwrap());
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(issuer.folder.join("ca.pem"), other.cert.pem()).unwrap();
    let untrusted = Arc::new(issuer.remote(""));
    for (name, remote) in [
        ("expired", expired),
        ("forbidden", forbidden),
        ("untrusted", untrusted),
    ] {
        let answer = passes(&remote, &token(&key, "a")).await;
        assert!(answer.is_err(), "{name} {answer:?}");
    }
}

#[tokio::test]
async fn idn_11_a_key_that_its_issuer_withdraws_is_missed_and_an_outage_is_none() {
    let issuer = Issuer::start().await;
    let (first, second) = (
        Ed25519KeyPair::generate().unwrap(),
        Ed25519KeyPair::generate().unwrap(),
    );
    let remote = Arc::new(issuer.remote(", refresh: 10m, keep: 1h"));
    let start = Instant::now();
    // Whatever is fetched here is fetched at the start.
    let after = |minutes: u64| start + Duration::from_secs(60 * minutes);
    assert!(!remote.went(start), "nothing was there");
    issuer.answer("200 OK", &key_set_of(&first, "a"));
    let by_first = token(&first, "a");
    let parsed = Unverified::parse(by_first.as_bytes()).unwrap();
    let keys = remote.for_token(&parsed).await.unwrap();
    let (_, print) = parsed.verify(&[&keys]).unwrap();
    assert_eq!(remote.standing(&print, after(1)), Ok(()));
    assert!(
        remote.went(after(1)),
        "somebody may have come by another place's keys"
    );
    assert!(!remote.went(after(1)));
    assert!(!remote.is_due(after(9)), "fetched lately");
    // The same key under another name, and another beside it: nothing has gone.
    let both = [key_set_of(&first, "b"), key_set_of(&second, "c")].map(|set| {
        let mut set: serde_json::Value = serde_json::from_str(&set).unwrap();
        set["keys"][0].take()
    });
    issuer.answer("200 OK", &serde_json::json!({ "keys": both }).to_string());
    assert!(remote.is_due(after(11)));
    assert!(!remote.is_due(after(11)), "asked a moment ago");
    remote.fetch().await;
    assert!(!remote.went(after(12)));
    assert_eq!(remote.standing(&print, after(12)), Ok(()));
    // An issuer that is not there takes nothing away until the stated time.
    issuer.answer("503 Service Unavailable", "");
    remote.fetch().await;
    assert!(remote.state.lock().failure.is_some());
    assert!(!remote.went(after(59)));
    assert_eq!(remote.standing(&print, after(59)), Ok(()));
    assert!(remote.went(after(62)));
    assert!(!remote.went(after(62)), "told once");
    let forgotten = Err(Rejection::KeyForgotten(Duration::from_secs(3600)));
    assert_eq!(remote.standing(&print, after(62)), forgotten);
    // It is back, and the key with it; then the key is gone.
    issuer.answer("200 OK", &key_set_of(&first, "a"));
    remote.fetch().await;
    remote.went(after(1));
    assert_eq!(remote.standing(&print, after(1)), Ok(()));
    issuer.answer("200 OK", &key_set_of(&second, "a"));
    remote.fetch().await;
    assert!(remote.went(after(1)));
    assert_eq!(remote.standing(&print, after(1)), Err(Rejection::KeyGone));
    // A reload goes on with what was fetched; another place is given its time.
    let same = issuer.remote(", refresh: 10m, keep: 1h");
    same.take_over(&remote);
    assert_eq!(same.standing(&print, after(1)), Err(Rejection::KeyGone));
    let other = issuer.remote(", refresh: 10m, keep: 1h, algorithms: [ES256]");
    other.take_over(&remote);
    assert_eq!(other.standing(&print, after(1)), Ok(()));
    assert!(other.is_due(after(1)));
}
