//! What is promised of certificate, as tables.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};

fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    change(&mut params);
    params
        .self_signed(&KeyPair::generate().unwrap())
        .unwrap()
        .der()
        .to_vec()
}

fn named(common_name: &str) -> Vec<u8> {
    made(|params| {
        params
            .distinguished_name
            .push(DnType::CommonName, common_name)
    })
}

#[test]
fn names_are_read_as_the_certificate_has_them() {
    let der = made(|params| {
        let subject = &mut params.distinguished_name;
        subject.push(DnType::OrganizationName, "Example, Inc.");
        subject.push(DnType::OrganizationalUnitName, "sensors");
        subject.push(DnType::CommonName, "pump-7");
        params.serial_number = Some(vec![0xab, 0x01].into());
        params.subject_alt_names = vec![
            SanType::DnsName("pump-7.example".try_into().unwrap()),
            SanType::URI("urn:dev:pump-7".try_into().unwrap()),
            SanType::Rfc822Name("pump@example.org".try_into().unwrap()),
            SanType::IpAddress("192.0.2.7".parse().unwrap()),
        ];
    });
    let names = CertificateNames::from_der(&der).unwrap();
    assert_eq!(names.common_name, ["pump-7"]);
    assert_eq!(names.organizational_unit, ["sensors"]);
    assert_eq!(names.organization, ["Example, Inc."]);
    assert_eq!(names.san_dns, ["pump-7.example"]);
    assert_eq!(names.san_uri, ["urn:dev:pump-7"]);
    assert_eq!(names.san_email, ["pump@example.org"]);
    assert_eq!(names.subject_dn, "CN=pump-7,OU=sensors,O=Example\\, Inc.");
    assert_eq!(names.issuer, names.subject_dn);
    assert_eq!(names.serial, "ab01");
    assert_eq!(names.fingerprint.len(), 64);
}

#[test]
fn trn_03_text_that_later_code_cannot_carry_is_refused() {
    let hostile = [
        "a\0b",
        "a\nb",
        "\u{1b}[31m",
        "\u{7f}",
        "a\u{85}b",
        "\u{fdd0}",
        "\u{ffff}",
    ];
    for value in hostile {
        for kind in [
            DnType::CommonName,
            DnType::OrganizationalUnitName,
            DnType::LocalityName,
        ] {
            let der = made(|params| params.distinguished_name.push(kind.clone(), value));
            let error = CertificateNames::from_der(&der).unwrap_err();
            assert!(
                matches!(error, CertificateError::Text { .. }),
                "{value:?} {error}"
            );
        }
        if value.is_ascii() {
            let der = made(|params| {
                params.subject_alt_names = vec![SanType::URI(value.try_into().unwrap())];
            });
            let error = CertificateNames::from_der(&der).unwrap_err();
            assert!(
                matches!(error, CertificateError::Text { field: "URI", .. }),
                "{value:?} {error}"
            );
        }
    }
    for value in ["pump-7", "a/b+#,$", "Ünïcödé \u{1f600}", "a\"b\\c"] {
        assert_eq!(
            CertificateNames::from_der(&named(value))
                .unwrap()
                .common_name,
            [value]
        );
    }
}

#[test]
fn trn_03_ill_formed_utf_8_is_refused() {
    let der = named("PLACEHOLDER");
    let at = der
        .windows(11)
        .rposition(|window| window == b"PLACEHOLDER")
        .unwrap();
    for bytes in [b"\xff", b"\xc0"] {
        let mut der = der.clone();
        der[at..=at].copy_from_slice(bytes);
        assert!(CertificateNames::from_der(&der).is_err());
    }
}

#[test]
fn other_string_types_are_read_strictly() {
    let bmp = made(|params| {
        let value = DnValue::BmpString("pump-é".try_into().unwrap());
        params.distinguished_name.push(DnType::CommonName, value);
    });
    assert_eq!(
        CertificateNames::from_der(&bmp).unwrap().common_name,
        ["pump-é"]
    );
    let universal = made(|params| {
        let value = DnValue::UniversalString("pump".try_into().unwrap());
        params.distinguished_name.push(DnType::CommonName, value);
    });
    assert!(matches!(
        CertificateNames::from_der(&universal),
        Err(CertificateError::NotAString(_))
    ));
}

#[test]
fn only_a_client_certificate_logs_in() {
    let usage = |purposes: &[ExtendedKeyUsagePurpose]| {
        made(|params| params.extended_key_usages = purposes.to_vec())
    };
    use ExtendedKeyUsagePurpose as Purpose;
    let rows = [
        (usage(&[]), Ok(())),
        (usage(&[Purpose::ClientAuth]), Ok(())),
        (usage(&[Purpose::ServerAuth, Purpose::ClientAuth]), Ok(())),
        (
            usage(&[Purpose::ServerAuth]),
            Err(CertificateError::NotForClients),
        ),
        (usage(&[Purpose::Any]), Err(CertificateError::NotForClients)),
        (
            made(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            Err(CertificateError::IsAuthority),
        ),
    ];
    for (index, (der, expected)) in rows.into_iter().enumerate() {
        assert_eq!(
            CertificateFacts::from_der(&der).map(drop),
            expected,
            "row {index}"
        );
    }
}

#[test]
fn a_certificate_is_valid_from_its_first_second_until_its_last() {
    let facts = CertificateFacts::from_der(&made(|params| {
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 1);
    }))
    .unwrap();
    let second = Duration::from_secs(1);
    let rows = [
        (
            facts.not_before - second,
            Err(CertificateError::NotYetValid),
        ),
        (facts.not_before, Ok(())),
        (facts.not_after - second, Ok(())),
        (facts.not_after, Err(CertificateError::Expired)),
    ];
    for (now, expected) in rows {
        assert_eq!(facts.check_validity(now), expected, "{now:?}");
    }
}

#[test]
fn rsa_length_counts_bits_not_bytes() {
    let rows: [(&[u8], usize); 5] = [
        (&[], 0),
        (&[0, 0], 0),
        (&[0, 0x80], 8),
        (&[1, 0], 9),
        (&[0, 0x7f, 0xff], 15),
    ];
    for (number, bits) in rows {
        assert_eq!(bit_length(number), bits, "{number:?}");
    }
}

#[test]
fn bytes_that_are_no_certificate_are_refused() {
    let der = named("pump-7");
    let mut longer = der.clone();
    longer.push(0);
    assert_eq!(
        CertificateNames::from_der(&longer),
        Err(CertificateError::TrailingBytes)
    );
    for length in 0..der.len() {
        assert_eq!(
            CertificateNames::from_der(&der[..length]),
            Err(CertificateError::Malformed)
        );
    }
    // A flipped bit may give another certificate, but never a panic.
    for index in 0..der.len() {
        for bit in 0..8 {
            let mut der = der.clone();
            der[index] ^= 1 << bit;
            let _ = CertificateNames::from_der(&der);
        }
    }
}
