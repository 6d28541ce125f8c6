//! What is promised of claims, as tables.

#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;

const NOW: u64 = 1_800_000_000;

fn rules() -> Rules {
    Rules {
        issuers: Vec::new(),
        audiences: Vec::new(),
        leeway: Duration::ZERO,
        lifetime_max: Duration::from_secs(86_400),
        username_claim: "sub".to_owned(),
        client_id_claim: None,
        groups_claim: None,
        acl: None,
    }
}

fn judged(rules: &Rules, claims: &str) -> Result<Claims, InvalidToken> {
    let claims = crate::identity::jwt::json::object(claims.as_bytes())
        .ok_or(InvalidToken::Malformed("payload"))?;
    rules.judge(
        &claims,
        "pump-7",
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW),
    )
}

fn with(name: &str, value: &str) -> String {
    let mut claims = format!(r#"{{"sub":"alice","exp":{}"#, NOW + 60);
    if !value.is_empty() {
        claims = claims.replace(&format!("\"{name}\":"), "\"_\":");
        claims.push_str(&format!(r#","{name}":{value}"#));
    }
    claims + "}"
}

#[test]
fn idn_09_each_claim_has_its_exact_type() {
    let wrong = [
        "\"1\"",
        "null",
        "[]",
        "[1]",
        "{}",
        "true",
        "-1",
        "-0.5",
        "1e400",
        "1e300",
        "99999999999999999999",
    ];
    for claim in ["exp", "nbf", "iat"] {
        for value in wrong {
            assert!(
                judged(&rules(), &with(claim, value)).is_err(),
                "{claim} {value}"
            );
        }
    }
    for claim in ["iss", "sub"] {
        for value in [
            "1",
            "null",
            "[]",
            "[\"a\"]",
            "{}",
            "true",
            "\"a\\u0000\"",
            "\"a\\nb\"",
        ] {
            assert!(
                judged(&rules(), &with(claim, value)).is_err(),
                "{claim} {value}"
            );
        }
    }
    for value in [
        "1",
        "null",
        "{}",
        "[1]",
        "[null]",
        "[[\"a\"]]",
        "\"us\\u0000\"",
    ] {
        let rules = Rules {
            audiences: vec!["us".into()],
            ..rules()
        };
        assert!(judged(&rules, &with("aud", value)).is_err(), "aud {value}");
    }
    assert!(judged(&rules(), &with("sub", "\"\"")).is_err());
    assert!(
        judged(
            &rules(),
            &format!(r#"{{"sub":"a","exp":{NOW},"exp":{}}}"#, NOW + 60)
        )
        .is_err(),
        "twice"
    );
    assert!(
        judged(&rules(), r#"{"sub":"a"}"#).is_err(),
        "exp is required"
    );
}

#[test]
fn idn_09_times_are_judged_to_the_second() {
    let leeway = Rules {
        leeway: Duration::from_secs(30),
        ..rules()
    };
    let at = |offset: f64| format!("{:.1}", NOW as f64 + offset);
    let rows = [
        (&rules(), "exp", at(1.0), true),
        (&rules(), "exp", at(0.0), false),
        (&rules(), "exp", at(0.5), false),
        (&rules(), "exp", at(-1.5), false),
        (&leeway, "exp", at(-29.0), true),
        (&leeway, "exp", at(-30.0), false),
        (&rules(), "nbf", at(0.0), true),
        (&rules(), "nbf", at(0.5), false),
        (&rules(), "nbf", at(100.0), false),
        (&leeway, "nbf", at(30.0), true),
        (&rules(), "iat", at(-5.0), true),
        (&rules(), "iat", at(5.0), false),
        (&rules(), "exp", at(86_400.0), true),
        (&rules(), "exp", at(86_401.0), false),
    ];
    for (rules, claim, value, good) in rows {
        let verdict = judged(rules, &with(claim, &value));
        assert_eq!(verdict.is_ok(), good, "{claim} {value} {verdict:?}");
    }
    let end = |offset: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(NOW + offset);
    assert_eq!(
        judged(&leeway, &with("exp", &at(10.0)))
            .unwrap()
            .valid_until,
        end(10)
    );
    assert_eq!(
        judged(&leeway, &with("exp", &at(-10.0)))
            .unwrap()
            .valid_until,
        end(20)
    );
}

#[test]
fn idn_09_issuer_and_audience_must_be_ours() {
    let ours = Rules {
        issuers: vec!["https://id.example".into()],
        audiences: vec!["mqtt".into()],
        ..rules()
    };
    let claims = |issuer: &str, audience: &str| {
        format!(r#"{{"sub":"a","exp":{}{issuer}{audience}}}"#, NOW + 60)
    };
    let issuer = r#","iss":"https://id.example""#;
    let rows = [
        (&ours, issuer, r#","aud":"mqtt""#, true),
        (&ours, issuer, r#","aud":["other","mqtt"]"#, true),
        (&ours, issuer, r#","aud":["other"]"#, false),
        (&ours, issuer, r#","aud":[]"#, false),
        (&ours, issuer, "", false),
        (&ours, "", r#","aud":"mqtt""#, false),
        (
            &ours,
            r#","iss":"https://id.example/""#,
            r#","aud":"mqtt""#,
            false,
        ),
        (&rules(), "", "", true),
        (&rules(), issuer, "", true),
        // A token for somebody else is not for a server that has no name.
        (&rules(), "", r#","aud":"other""#, false),
    ];
    for (rules, issuer, audience, good) in rows {
        let verdict = judged(rules, &claims(issuer, audience));
        assert_eq!(verdict.is_ok(), good, "{issuer} {audience} {verdict:?}");
    }
}

#[test]
fn claims_become_names_groups_and_values() {
    let rules = Rules {
        groups_claim: Some("roles".into()),
        client_id_claim: Some("device".into()),
        ..rules()
    };
    let claims = format!(
        r#"{{"sub":"alice","exp":{},"roles":["staff","night"],"device":"pump-7","tenant":7,"beta":true,"extra":{{"a":1}},"none":null}}"#,
        NOW + 60
    );
    let claims = judged(&rules, &claims).unwrap();
    assert_eq!(&*claims.username, "alice");
    assert_eq!(claims.groups, [Arc::from("staff"), Arc::from("night")]);
    let value = |name: &str| claims.values.get(name).map(|values| values.join(","));
    assert_eq!(value("tenant").as_deref(), Some("7"));
    assert_eq!(value("roles").as_deref(), Some("staff,night"));
    assert_eq!(value("beta").as_deref(), Some("true"));
    assert_eq!((value("extra"), value("none")), (None, None));
    for (claim, value) in [
        ("device", "\"pump-8\""),
        ("device", "null"),
        ("roles", "[1]"),
        ("roles", "7"),
        ("roles", "[\"\"]"),
        ("x", "\"\\u0001\""),
        ("x", "[\"\\u0001\"]"),
    ] {
        let claims = with("device", "\"pump-7\"").replace(
            "\"pump-7\"",
            if claim == "device" {
                value
            } else {
                "\"pump-7\""
            },
        );
        let claims = if claim == "device" {
            claims
        } else {
            format!("{},\"{claim}\":{value}}}", claims.trim_end_matches('}'))
        };
        assert!(judged(&rules, &claims).is_err(), "{claims}");
    }
    let many: Vec<_> = (0..70).map(|n| format!(r#""c{n}":1"#)).collect();
    assert!(judged(&rules, &format!("{{{}}}", many.join(","))).is_err());
}
