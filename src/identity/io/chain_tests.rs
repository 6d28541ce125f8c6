//! What is promised of chain, as tables.

#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;

use crate::identity::password_hash::hash;
use crate::identity::{AuthenticationConfig, CertificateError, PresentedCertificate, Repute};
use crate::mqtt::{ReasonCode, Text};
use crate::secret::Secret;

/// A folder that is gone when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn with_users(users: &str) -> Self {
        let name = format!("wardgate-chain-{:032x}", rand::random::<u128>());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("users.yaml"), users).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn users() -> String {
    let hash = hash(b"secret", &[7; 16]).unwrap();
    format!(
        "users:\n  alice: {{hash: \"{hash}\", groups: [staff], role: admin}}\n  bob: {{hash: \"{hash}\", disabled: true}}\n"
    )
}

fn back_ends(folder: &Folder, section: &str) -> Arc<BackEnds> {
    let config: AuthenticationConfig = serde_saphyr::from_str(section).unwrap();
    BackEnds::open(&config, &folder.0).unwrap()
}

fn chain(authenticate: &str, back_ends: &BackEnds) -> Result<Chain, ChainError> {
    Chain::build(&serde_saphyr::from_str(authenticate).unwrap(), back_ends)
}

fn nothing() -> Credentials {
    Credentials {
        certificate: None,
        username: None,
        password: None,
        cookie: None,
        authorization: None,
        scram: None,
        demanded: None,
        client_id: Text::try_from("c").unwrap(),
        ip: "192.0.2.1".parse().unwrap(),
        repute: Repute::default(),
        listener: Arc::from("mqtts"),
        protocol: "mqtt",
        now: SystemTime::now(),
    }
}

fn login(username: &str, password: &str) -> Credentials {
    Credentials {
        username: Some(Text::try_from(username).unwrap()),
        password: Some(Arc::new(Secret::new(password.into()))),
        ..nothing()
    }
}

fn certificate(common_name: &str) -> Arc<PresentedCertificate> {
    let mut params = rcgen::CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, common_name);
    let key = rcgen::KeyPair::generate().unwrap();
    let der = params.self_signed(&key).unwrap().der().to_vec();
    Arc::new(PresentedCertificate {
        chain: vec![CertificateDer::from(der)],
    })
}

const PASSWORD: &str = "password: {file: users.yaml}";

#[tokio::test]
async fn a_password_names_its_user() {
    let folder = Folder::with_users(&users());
    let back_ends = back_ends(&folder, PASSWORD);
    let chain = chain("[password]", &back_ends).unwrap();
    let identity = chain.identify(login("alice", "secret")).await.unwrap();
    assert_eq!(
        (&*identity.namespace, &*identity.username),
        ("password", "alice")
    );
    assert_eq!(identity.groups, [Arc::from("staff")]);
    assert_eq!(
        back_ends.role(&identity),
        Some(crate::identity::Role::Admin)
    );
    let long = "x".repeat(1025);
    let rows = [
        (
            login("alice", "Secret"),
            Rejection::WrongPassword("alice".into()),
        ),
        (
            login("mallory", "secret"),
            Rejection::UnknownUser("mallory".into()),
        ),
        (
            login("bob", "secret"),
            Rejection::DisabledUser("bob".into()),
        ),
        (login("alice", ""), Rejection::EmptyPassword("alice".into())),
        (
            login("alice", &long),
            Rejection::LongPassword {
                username: "alice".into(),
                length: 1025,
                max: 1024,
            },
        ),
        (
            Credentials {
                password: None,
                ..login("alice", "")
            },
            Rejection::NobodyAnswered,
        ),
    ];
    for (credentials, expected) in rows {
        let rejection = chain.identify(credentials).await.unwrap_err();
        assert_eq!(rejection, expected);
        assert_eq!(
            rejection.reason_code(),
            ReasonCode::BadUserNameOrPassword,
            "{expected}"
        );
    }
    assert_eq!(
        chain.identify(nothing()).await.unwrap_err(),
        Rejection::NoCredentials
    );
}

#[tokio::test]
async fn a_certificate_names_its_user_and_no_other() {
    let folder = Folder::with_users(&users());
    let back_ends = back_ends(&folder, PASSWORD);
    let chain = chain("[certificate, password]", &back_ends).unwrap();
    let with = |username: Option<&str>| Credentials {
        certificate: Some(certificate("pump-7")),
        username: username.map(|name| Text::try_from(name).unwrap()),
        ..nothing()
    };
    for username in [None, Some("pump-7")] {
        let identity = chain.identify(with(username)).await.unwrap();
        assert_eq!(
            (&*identity.namespace, &*identity.username),
            ("certificate", "pump-7")
        );
        assert!(identity.valid_until.is_some() && identity.certificate.is_some());
    }
    // A certificate that names somebody else is never passed on to the password.
    let other = Credentials {
        certificate: Some(certificate("pump-7")),
        ..login("alice", "secret")
    };
    assert!(matches!(
        chain.identify(other).await,
        Err(Rejection::OtherUsername { .. })
    ));
    let late = SystemTime::now() + Duration::from_secs(3000 * 365 * 86_400);
    let expired = Credentials {
        now: late,
        ..with(None)
    };
    assert_eq!(
        chain.identify(expired).await.unwrap_err(),
        CertificateError::Expired.into()
    );
    assert!(chain.identify(login("alice", "secret")).await.is_ok());
}

#[tokio::test]
async fn all_asks_for_both_and_for_the_same_name() {
    let folder = Folder::with_users(&users());
    let joined = back_ends(&folder, PASSWORD);
    let chain_of_two = chain("[{all: [certificate, password]}]", &joined).unwrap();
    let both = |name: &str| Credentials {
        certificate: Some(certificate(name)),
        ..login("alice", "secret")
    };
    let identity = chain_of_two.identify(both("alice")).await.unwrap();
    assert_eq!(
        (identity.method, &*identity.username),
        (Method::CERTIFICATE, "alice")
    );
    assert_eq!(identity.groups, [Arc::from("staff")]);
    assert!(matches!(
        chain_of_two.identify(both("pump-7")).await,
        Err(Rejection::DifferentUsers { .. })
    ));
    let only_certificate = Credentials {
        certificate: Some(certificate("alice")),
        ..nothing()
    };
    for one in [only_certificate, login("alice", "secret")] {
        assert_eq!(
            chain_of_two.identify(one).await.unwrap_err(),
            Rejection::NobodyAnswered
        );
    }
    let unnamed = back_ends(
        &folder,
        "password: {file: users.yaml}\ncertificate: {username_from: none}",
    );
    let door = chain("[{all: [certificate, password]}]", &unnamed).unwrap();
    let identity = door.identify(both("pump-7")).await.unwrap();
    assert_eq!(
        (identity.method, &*identity.username),
        (Method::PASSWORD, "alice")
    );
    assert_eq!(
        chain("[certificate]", &unnamed).err(),
        Some(ChainError::NamesNobody)
    );
}

#[tokio::test]
async fn idn_03_anonymous_is_an_authenticator_like_the_others() {
    let folder = Folder::with_users(&users());
    let back_ends = back_ends(&folder, PASSWORD);
    let lab = chain("[anonymous]", &back_ends).unwrap();
    for credentials in [nothing(), login("admin", "x")] {
        let identity = lab.identify(credentials).await.unwrap();
        assert_eq!(
            (&*identity.namespace, &*identity.username),
            ("anonymous", "anonymous")
        );
        assert!(identity.groups.is_empty() && back_ends.role(&identity).is_none());
    }
    let mixed = chain("[password, anonymous]", &back_ends).unwrap();
    assert!(mixed.identify(nothing()).await.is_ok());
    for (name, password) in [("alice", "wrong"), ("mallory", "x")] {
        assert!(
            mixed.identify(login(name, password)).await.is_err(),
            "{name}"
        );
    }
    let no_password = Credentials {
        password: None,
        ..login("alice", "")
    };
    assert_eq!(
        mixed.identify(no_password).await.unwrap_err(),
        Rejection::NobodyAnswered
    );
}

#[tokio::test]
async fn idn_04_the_same_name_from_two_methods_is_two_people() {
    let folder = Folder::with_users(&users());
    let apart = back_ends(&folder, PASSWORD);
    let chain_apart = chain("[certificate, password]", &apart).unwrap();
    let device = Credentials {
        certificate: Some(certificate("alice")),
        ..nothing()
    };
    let one = chain_apart.identify(device.clone()).await.unwrap();
    let other = chain_apart
        .identify(login("alice", "secret"))
        .await
        .unwrap();
    assert_ne!(one.namespace, other.namespace);
    assert_eq!(
        apart.role(&one),
        None,
        "a device named alice is not the administrator alice"
    );
    let joined = back_ends(
        &folder,
        "password: {file: users.yaml, namespace: staff}\ncertificate: {namespace: staff}",
    );
    let chain_joined = chain("[certificate, password]", &joined).unwrap();
    let one = chain_joined.identify(device).await.unwrap();
    let other = chain_joined
        .identify(login("alice", "secret"))
        .await
        .unwrap();
    assert_eq!(one.namespace, other.namespace);
}

#[tokio::test]
async fn idn_02_a_bad_file_changes_nothing_and_a_good_one_everything() {
    let folder = Folder::with_users(&users());
    let file = folder.0.join("users.yaml");
    let back_ends = back_ends(&folder, PASSWORD);
    let chain = chain("[password]", &back_ends).unwrap();
    let alice = chain.identify(login("alice", "secret")).await.unwrap();
    for bad in [
        "",
        "\n\n",
        "# nobody\n",
        "garbage",
        "users:\n  alice: {hash: x}\n",
    ] {
        std::fs::write(&file, bad).unwrap();
        assert!(back_ends.have_changed(), "{bad:?}");
        assert!(back_ends.reload().is_err(), "{bad:?}");
        assert!(!back_ends.have_changed(), "a bad file is told once");
        assert!(
            chain.identify(login("alice", "secret")).await.is_ok(),
            "{bad:?}"
        );
        assert!(
            chain.identify(login("mallory", "secret")).await.is_err(),
            "{bad:?}"
        );
        assert_eq!(back_ends.recheck(&alice), Ok(()));
    }
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert!(back_ends.reload().is_err());
    std::fs::remove_dir(&file).unwrap();
    std::fs::write(&file, users().replace("role: admin", "disabled: true")).unwrap();
    assert_eq!(back_ends.reload(), Ok(true));
    // IDN-11: the live session of a disabled user ends.
    assert_eq!(
        back_ends.recheck(&alice),
        Err(Rejection::DisabledUser("alice".into()))
    );
    std::fs::write(&file, "users: {}").unwrap();
    assert_eq!(back_ends.reload(), Ok(true));
    assert_eq!(
        back_ends.recheck(&alice),
        Err(Rejection::UnknownUser("alice".into()))
    );
}

#[test]
fn a_chain_that_could_not_work_is_refused_at_start() {
    let folder = Folder::with_users(&users());
    let none = back_ends(&folder, "{}");
    let rows = [
        ("[]", ChainError::Empty),
        ("[password]", ChainError::NotConfigured(Method::PASSWORD)),
        (
            "[anonymous, anonymous]",
            ChainError::Twice(Method::ANONYMOUS),
        ),
    ];
    for (authenticate, expected) in rows {
        assert_eq!(
            chain(authenticate, &none).err(),
            Some(expected),
            "{authenticate}"
        );
    }
    let missing: AuthenticationConfig =
        serde_saphyr::from_str("password: {file: nobody.yaml}").unwrap();
    assert!(BackEnds::open(&missing, &folder.0).is_err());
    let small = "password: {file: users.yaml, hashing: {memory: 1MiB}}";
    let small: AuthenticationConfig = serde_saphyr::from_str(small).unwrap();
    assert!(
        BackEnds::open(&small, &folder.0).is_err(),
        "a hash larger than the pool"
    );
}

#[tokio::test]
async fn a_token_names_its_user_and_never_falls_through_to_the_password() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let folder = Folder::with_users(&users());
    let secret = b"0123456789abcdef0123456789abcdef";
    std::fs::write(folder.0.join("secret"), secret).unwrap();
    let section = "password: {file: users.yaml}\njwt: {keys: [{alg: HS256, secret_file: secret}], groups_claim: roles}";
    let back_ends = back_ends(&folder, section);
    let chain = chain("[jwt, password]", &back_ends).unwrap();
    let token = |claims: &str, secret: &[u8]| {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        let tag = aws_lc_rs::hmac::sign(&key, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let claims = format!(
        r#"{{"sub":"alice","iss":"id","roles":["ops"],"exp":{}}}"#,
        now + 60
    );
    let identity = chain
        .identify(login("", &token(&claims, secret)))
        .await
        .unwrap();
    assert_eq!(
        (&*identity.namespace, &*identity.username),
        ("jwt:id", "alice")
    );
    assert_eq!(identity.groups, [Arc::from("ops")]);
    assert_eq!(back_ends.role(&identity), None);
    assert!(identity.valid_until.is_some());
    let forged = token(&claims, b"another-another-another-another-");
    let old = token(
        &claims.replace(&(now + 60).to_string(), &(now - 60).to_string()),
        secret,
    );
    for bad in [forged, old] {
        let rejection = chain.identify(login("alice", &bad)).await.unwrap_err();
        assert!(matches!(rejection, Rejection::Token(_)), "{rejection}");
        assert!(!rejection.to_string().contains(&bad), "no token in a log");
    }
    assert!(chain.identify(login("alice", "secret")).await.is_ok());
}

#[tokio::test]
async fn an_old_hash_becomes_a_new_one_at_the_next_good_login() {
    let old = bcrypt::hash("secret", 4).unwrap();
    let folder = Folder::with_users(&format!(
        "users: {{alice: {{hash: \"{old}\", groups: [staff]}}}}"
    ));
    let file = folder.0.join("users.yaml");
    let back_ends = back_ends(&folder, PASSWORD);
    let chain = chain("[password]", &back_ends).unwrap();
    assert!(chain.identify(login("alice", "wrong")).await.is_err());
    assert!(std::fs::read_to_string(&file).unwrap().contains(&old));
    assert!(chain.identify(login("alice", "secret")).await.is_ok());
    for _ in 0..3_000 {
        if std::fs::read_to_string(&file)
            .unwrap()
            .contains("$argon2id$")
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.contains("$argon2id$") && text.contains("staff") && !text.contains(&old),
        "{text}"
    );
    // The server's own write is for the watch to see like any other (IDN-11).
    assert!(back_ends.have_changed());
    assert_eq!(back_ends.reload(), Ok(false));
    assert!(chain.identify(login("alice", "secret")).await.is_ok());
    assert!(chain.identify(login("alice", "wrong")).await.is_err());
}

#[tokio::test]
async fn idn_11_every_method_of_all_is_asked_again() {
    let folder = Folder::with_users(&users());
    let file = folder.0.join("users.yaml");
    let back_ends = back_ends(&folder, PASSWORD);
    let chain = chain(
        "[{all: [certificate, password]}, {all: [certificate, cookie]}]",
        &back_ends,
    )
    .unwrap();
    let both = Credentials {
        certificate: Some(certificate("alice")),
        ..login("alice", "secret")
    };
    let joined = chain.identify(both).await.unwrap();
    let of_file = Identity {
        groups: vec![Arc::from("staff")],
        ..Identity::new(Method::PASSWORD, "password".into(), "alice".into())
    };
    let now = SystemTime::now();
    let begun = back_ends.logins().begin(of_file, joined_ip(), now).unwrap();
    let by_cookie = Credentials {
        certificate: Some(certificate("alice")),
        cookie: Some(Arc::new(Secret::new(begun.cookie.into_bytes()))),
        ..nothing()
    };
    let by_cookie = chain.identify(by_cookie).await.unwrap();
    assert_eq!(by_cookie.method, Method::CERTIFICATE);
    assert!(by_cookie.login.is_some());
    for identity in [&joined, &by_cookie] {
        assert_eq!(back_ends.recheck(identity), Ok(()));
        assert!(back_ends.regrouped(identity).is_none());
    }
    // A claim of this name in a token is no login.
    let claims = [("login".to_owned(), vec!["x".to_owned()])].into();
    let token = Identity {
        claims,
        ..Identity::new(Method::JWT, "jwt".into(), "alice".into())
    };
    assert_eq!(back_ends.recheck(&token), Ok(()));
    std::fs::write(&file, users().replace("[staff]", "[guests]")).unwrap();
    assert_eq!(back_ends.reload(), Ok(true));
    for identity in [&joined, &by_cookie] {
        let now = back_ends.regrouped(identity).unwrap();
        assert_eq!(now.groups, [Arc::from("guests")]);
    }
    std::fs::write(&file, users().replace("role: admin", "disabled: true")).unwrap();
    assert_eq!(back_ends.reload(), Ok(true));
    for identity in [&joined, &by_cookie] {
        assert_eq!(
            back_ends.recheck(identity),
            Err(Rejection::DisabledUser("alice".into()))
        );
    }
    std::fs::write(&file, users()).unwrap();
    assert_eq!(back_ends.reload(), Ok(true));
    back_ends.logins().end(|_| true).unwrap();
    assert_eq!(back_ends.recheck(&joined), Ok(()));
    assert_eq!(back_ends.recheck(&by_cookie), Err(Rejection::NoLogin));
}

fn joined_ip() -> std::net::IpAddr {
    std::net::Ipv4Addr::LOCALHOST.into()
}

#[test]
fn idn_11_a_new_hash_hides_no_other_change_of_the_file() {
    let folder = Folder::with_users(&users());
    let file = folder.0.join("users.yaml");
    let back_ends = back_ends(&folder, PASSWORD);
    let other = hash(b"secret", &[8; 16]).unwrap();
    let old = hash(b"secret", &[7; 16]).unwrap();
    let rehashed = users().replacen(&old, &other, 1);
    std::fs::write(&file, &rehashed).unwrap();
    assert!(back_ends.have_changed());
    assert_eq!(back_ends.reload(), Ok(false), "nobody stands otherwise");
    std::fs::write(&file, rehashed.replace("role: admin", "disabled: true")).unwrap();
    assert!(back_ends.have_changed());
    assert_eq!(back_ends.reload(), Ok(true));
}
