//! What is promised of password hash, as tables.

#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;

const MOSQUITTO_7: &str = "$7$101$WtsD1TN4AEcR7X9L$";

fn pbkdf2_string(password: &[u8]) -> String {
    let salt = STANDARD.decode("WtsD1TN4AEcR7X9L").unwrap();
    let mut out = [0u8; 64];
    let rounds = NonZeroU32::new(101).unwrap();
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA512,
        rounds,
        &salt,
        password,
        &mut out,
    );
    format!("{MOSQUITTO_7}{}", STANDARD.encode(out))
}

fn sha512_string(password: &[u8]) -> String {
    let mut context = digest::Context::new(&digest::SHA512);
    context.update(password);
    context.update(b"twelve bytes");
    format!(
        "$6${}${}",
        STANDARD.encode("twelve bytes"),
        STANDARD.encode(context.finish())
    )
}

#[test]
fn every_format_knows_its_password_and_no_other() {
    let rows = [
        hash(b"secret", &[7; 16]).unwrap(),
        pbkdf2_string(b"secret"),
        sha512_string(b"secret"),
        bcrypt::hash("secret", 4).unwrap(),
        bcrypt::hash("secret", 4)
            .unwrap()
            .replacen("$2b$", "$2y$", 1),
    ];
    for row in rows {
        let stored = StoredHash::parse(&row).unwrap();
        assert!(stored.verify(b"secret"), "{row}");
        for wrong in ["Secret", "secret\0", "", "secretsecret"] {
            assert!(!stored.verify(wrong.as_bytes()), "{row} {wrong:?}");
        }
        assert_eq!(
            stored.is_outdated(),
            !row.starts_with("$argon2id$"),
            "{row}"
        );
        assert!(!format!("{stored:?}").contains(&row[10..]), "{row}");
    }
}

#[test]
fn a_hash_that_is_weak_costly_or_broken_is_refused() {
    let argon2 = |params: &str| {
        format!("$argon2id$v=19${params}$c2FsdHNhbHRzYWx0$c2FsdHNhbHRzYWx0c2FsdHNhbHRzYWx0")
    };
    let salt = "c2FsdHNhbHRzYWx0";
    let sixty_four = STANDARD.encode([1; 64]);
    let rows = [
        (argon2("m=19456,t=2,p=1"), None),
        (
            argon2("m=4194304,t=2,p=1"),
            Some(InvalidHash::TooCostly("argon2id")),
        ),
        (
            argon2("m=19456,t=1000,p=1"),
            Some(InvalidHash::TooCostly("argon2id")),
        ),
        (
            argon2("m=1,t=2,p=1"),
            Some(InvalidHash::Malformed("argon2id")),
        ),
        (
            "$argon2id$v=16$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$c2FsdHNhbHRzYWx0c2FsdHNhbHRzYWx0"
                .into(),
            Some(InvalidHash::OtherArgon2),
        ),
        (
            "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$c2FsdHNhbHRzYWx0c2FsdHNhbHRzYWx0"
                .into(),
            Some(InvalidHash::OtherArgon2),
        ),
        (
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0".into(),
            Some(InvalidHash::Malformed("argon2id")),
        ),
        (format!("$7$101${salt}${sixty_four}"), None),
        (
            format!("$7$0${salt}${sixty_four}"),
            Some(InvalidHash::Malformed("$7$")),
        ),
        (
            format!("$7$-1${salt}${sixty_four}"),
            Some(InvalidHash::Malformed("$7$")),
        ),
        (
            format!("$7$4000000000${salt}${sixty_four}"),
            Some(InvalidHash::TooCostly("$7$")),
        ),
        (
            format!("$7$101${salt}${sixty_four}$x"),
            Some(InvalidHash::Malformed("$7$")),
        ),
        (
            format!("$7$101$$${sixty_four}"),
            Some(InvalidHash::Malformed("$7$")),
        ),
        (
            format!("$6${salt}$AAAA"),
            Some(InvalidHash::Malformed("$6$")),
        ),
        (format!("$6${salt}${sixty_four}"), None),
        (
            "$2b$20$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01232".into(),
            Some(InvalidHash::TooCostly("bcrypt")),
        ),
        (
            "$2b$12$short".into(),
            Some(InvalidHash::Malformed("bcrypt")),
        ),
        (
            format!("$2b$12${}é", "a".repeat(51)),
            Some(InvalidHash::Malformed("bcrypt")),
        ),
        ("secret".into(), Some(InvalidHash::Unknown)),
        ("$1$salt$hash".into(), Some(InvalidHash::Unknown)),
        ("".into(), Some(InvalidHash::Unknown)),
        ("$".into(), Some(InvalidHash::Unknown)),
    ];
    for (text, expected) in rows {
        assert_eq!(StoredHash::parse(&text).err(), expected, "{text}");
    }
}

#[test]
fn idn_12_the_placeholder_costs_what_a_new_hash_costs() {
    let stored = StoredHash::parse(&hash(b"secret", &[7; 16]).unwrap()).unwrap();
    assert_eq!(placeholder().unwrap().cost(), stored.cost());
    assert!(!placeholder().unwrap().verify(b""));
}

/// As mosquitto_passwd 2.0 wrote them for `geheim`.
#[test]
fn hashes_of_mosquitto_are_verified() {
    let rows = [
        "$7$101$P5S7RJVeTK2O0FhT$Y5sBSZmAAuk14j0zlk0freafdMPi2+Wx5NZYuk8mwatEg3abh/2IROHmm0cWAW5xGgmBHUm/5BsT+Ib0CWZelw==",
        "$6$Xjr7sJqk/IKZTEeC$G6kx8EE1qQ6mf3FTJ0tMzAU3HfLDkE2ZA+q+erb78RDWb6yFILJUN9I6oV+uY3nED+8LaW2p8yjwmztFobZt8g==",
    ];
    for row in rows {
        let stored = StoredHash::parse(row).unwrap();
        assert!(stored.verify(b"geheim"), "{row}");
        assert!(!stored.verify(b"Geheim"), "{row}");
    }
}
