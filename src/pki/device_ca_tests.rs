//! What is promised of device ca, as tables.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use super::*;
use crate::secret::Secret;
use rcgen::{BasicConstraints, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa};
use rustls_pki_types::CertificateRevocationListDer;
use std::time::Duration;
use time::OffsetDateTime;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// A CA in a folder that is gone when the test ends.
struct Lab {
    folder: PathBuf,
    ca: DeviceCa,
    now: SystemTime,
}

impl Lab {
    fn new() -> Self {
        let folder =
            std::env::temp_dir().join(format!("wardgate-ca-{:032x}", rand::random::<u128>()));
        let now = SystemTime::now();
        let ca = DeviceCa::create(&folder.join("ca"), now).unwrap();
        Self { folder, ca, now }
    }

    fn issue(&self, name: &str) -> Issued {
        let names = DeviceNames::named(name).unwrap();
        self.ca
            .issue(&names, Validity::starting(self.now), "test")
            .unwrap()
    }

    fn revoked_serials(&self) -> Vec<String> {
        let pem = std::fs::read(self.ca.crl_path()).unwrap();
        let der = CertificateRevocationListDer::from_pem_slice(&pem).unwrap();
        let (_, list) = CertificateRevocationList::from_der(&der).unwrap();
        let authority =
            CertificateDer::from_pem_slice(self.ca.certificate_pem().as_bytes()).unwrap();
        let (_, authority) = X509Certificate::from_der(&authority).unwrap();
        list.verify_signature(authority.public_key()).unwrap();
        list.iter_revoked_certificates()
            .map(|entry| format!("{:032x}", entry.user_certificate))
            .collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn request(change: impl FnOnce(&mut CertificateParams)) -> rcgen::CertificateSigningRequest {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "pump-7");
    change(&mut params);
    params
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap()
}

#[test]
fn idn_15_an_issued_certificate_passes_a_lint_of_rfc_5280() {
    let lab = Lab::new();
    let names = DeviceNames::new(
        "pump-7",
        Some("sensors"),
        &["pump-7.example".into()],
        &["urn:dev:7".into()],
    )
    .unwrap();
    let issued = lab
        .ca
        .issue(&names, Validity::starting(lab.now), "test")
        .unwrap();
    let der = issued.certificate_der().unwrap();
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    let authority = CertificateDer::from_pem_slice(lab.ca.certificate_pem().as_bytes()).unwrap();
    let (_, authority) = X509Certificate::from_der(&authority).unwrap();
    leaf.verify_signature(Some(authority.public_key())).unwrap();
    assert_eq!(leaf.issuer(), authority.subject());
    assert_eq!(leaf.version().0, 2);
    assert!(
        leaf.raw_serial().len() >= 14
            && leaf.raw_serial().len() <= 20
            && leaf.raw_serial()[0] < 0x80
    );
    let constraints = leaf.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && !constraints.value.ca);
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(
        usage.critical
            && usage.value.digital_signature()
            && !usage.value.key_cert_sign()
            && !usage.value.crl_sign()
    );
    let purposes = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(purposes.client_auth && !purposes.server_auth && !purposes.any);
    let days = (leaf.validity().not_after.timestamp()
        - OffsetDateTime::from(lab.now).unix_timestamp())
        / 86_400;
    assert_eq!(days, 90);
    let facts = CertificateFacts::from_der(&der).unwrap();
    assert_eq!(facts.names.subject_dn, "CN=pump-7,OU=sensors");
    assert_eq!(facts.names.san_uri, ["urn:dev:7"]);
    assert!(authority.is_ca() && authority.key_usage().unwrap().unwrap().value.crl_sign());
    // The authority itself logs nobody in.
    assert!(CertificateFacts::from_der(authority.as_raw()).is_err());
}

#[test]
fn idn_15_a_request_gives_its_key_and_nothing_else() {
    let lab = Lab::new();
    let greedy = request(|params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.subject_alt_names = vec![SanType::DnsName("*.example".try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let greedy = SigningRequest::from_pem(greedy.pem().unwrap().as_bytes()).unwrap();
    assert_eq!(greedy.common_name(), Some("pump-7"));
    let names = DeviceNames::named("pump-8").unwrap();
    let issued = lab
        .ca
        .sign(&greedy, &names, Validity::starting(lab.now), "test")
        .unwrap();
    assert!(issued.key_pem.is_none());
    let der = issued.certificate_der().unwrap();
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    assert!(!leaf.is_ca() && leaf.subject_alternative_name().unwrap().is_none());
    assert!(
        !leaf
            .extended_key_usage()
            .unwrap()
            .unwrap()
            .value
            .server_auth
    );
    assert_eq!(
        CertificateFacts::from_der(&der).unwrap().names.common_name,
        ["pump-8"]
    );
}

#[test]
fn idn_15_the_rules_beside_the_ca_bind_every_way_to_a_certificate() {
    let lab = Lab::new();
    let (good, bad) = (
        DeviceNames::named("pump-7").unwrap(),
        DeviceNames::named("admin").unwrap(),
    );
    let validity = Validity::starting(lab.now);
    let asked = request(|_| {});
    let asked = SigningRequest::from_pem(asked.pem().unwrap().as_bytes()).unwrap();
    lab.ca.issue(&bad, validity, "before the rules").unwrap();
    let rules = lab.folder.join("ca/rules.yaml");
    std::fs::write(&rules, "common_name: [pump-*]\n").unwrap();
    assert!(lab.ca.issue(&good, validity, "test").is_ok());
    assert!(lab.ca.sign(&asked, &good, validity, "test").is_ok());
    let refused = [
        lab.ca.issue(&bad, validity, "test"),
        lab.ca.sign(&asked, &bad, validity, "test"),
        lab.ca.renew("admin", None, validity, "test"),
        lab.ca.renew("admin", Some(&asked), validity, "test"),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(PkiError::NotPermitted { .. })));
    }
    assert_eq!(lab.ca.list().unwrap().len(), 3);
    std::fs::write(&rules, "common_name: pump-*\n").unwrap();
    let refused = lab.ca.issue(&good, validity, "test");
    assert!(matches!(refused, Err(PkiError::Rules(_))), "a broken file");
}

#[test]
fn what_a_request_asks_for_beyond_its_names_is_told() {
    let asked = request(|params| {
        params
            .distinguished_name
            .push(DnType::OrganizationalUnitName, "sensors");
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Example");
        params.subject_alt_names = vec![
            SanType::DnsName("a.example".try_into().unwrap()),
            SanType::URI("urn:dev:7".try_into().unwrap()),
            SanType::IpAddress([192, 0, 2, 7].into()),
        ];
    });
    let asked = SigningRequest::from_pem(asked.pem().unwrap().as_bytes()).unwrap();
    let owned = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
    };
    type Row<'a> = (
        &'a str,
        Option<&'a str>,
        &'a [&'a str],
        &'a [&'a str],
        &'a [&'a str],
    );
    // The organization and the address are in no certificate of ours.
    let rows: [Row<'_>; 3] = [
        (
            "pump-7",
            Some("sensors"),
            &["a.example"],
            &["urn:dev:7"],
            &[],
        ),
        (
            "pump-7",
            None,
            &["b.example"],
            &["urn:dev:7"],
            &["OU=sensors", "DNS:a.example"],
        ),
        (
            "pump-8",
            Some("sensors"),
            &[],
            &[],
            &["CN=pump-7", "DNS:a.example", "URI:urn:dev:7"],
        ),
    ];
    for (name, unit, dns, uri, expected) in rows {
        let names = DeviceNames::new(name, unit, &owned(dns), &owned(uri)).unwrap();
        let beyond = asked.beyond(&names);
        let ours: Vec<&str> = beyond
            .iter()
            .map(String::as_str)
            .filter(|item| {
                item.starts_with("CN=")
                    || item.starts_with("OU=")
                    || item.starts_with("DNS:")
                    || item.starts_with("URI:")
            })
            .collect();
        assert_eq!(ours, expected, "{name}");
        assert_eq!(beyond.len(), expected.len() + 2, "{beyond:?}");
        for other in ["O=Example", "IP:192.0.2.7"] {
            assert!(beyond.iter().any(|item| item == other), "{beyond:?}");
        }
    }
    let unreadable = request(|params| {
        let names = CustomExtension::from_oid_content(&[2, 5, 29, 17], b"names".to_vec());
        params.custom_extensions = vec![names];
    });
    let unreadable = SigningRequest::from_pem(unreadable.pem().unwrap().as_bytes()).unwrap();
    assert_eq!(
        unreadable.beyond(&DeviceNames::named("pump-7").unwrap()),
        ["alternative names that cannot be read"]
    );
    let plain = request(|_| {});
    let plain = SigningRequest::from_pem(plain.pem().unwrap().as_bytes()).unwrap();
    assert!(
        plain
            .beyond(&DeviceNames::named("pump-7").unwrap())
            .is_empty()
    );
}

#[test]
fn idn_15_a_request_without_proof_of_possession_is_refused() {
    let der = request(|_| {}).der().to_vec();
    assert!(SigningRequest::from_der(&der).is_ok());
    // Up to the signature's own algorithm identifier, which nobody signs.
    let signed = der
        .windows(8)
        .position(|bytes| bytes == b"\x2a\x86\x48\xce\x3d\x04\x03\x02")
        .unwrap()
        - 4;
    for index in 0..signed {
        let mut broken = der.clone();
        broken[index] ^= 1;
        assert!(SigningRequest::from_der(&broken).is_err(), "byte {index}");
    }
    let mut longer = der.clone();
    longer.push(0);
    for bad in [
        &longer[..],
        &der[..10],
        b"",
        b"-----BEGIN CERTIFICATE REQUEST-----",
    ] {
        assert!(SigningRequest::from_der(bad).is_err());
        assert!(SigningRequest::from_pem(bad).is_err());
    }
}

#[test]
fn what_is_revoked_is_on_the_list_and_stays_so() {
    let lab = Lab::new();
    assert!(
        lab.revoked_serials().is_empty(),
        "a list is there from the first day"
    );
    let (one, two, other) = (
        lab.issue("pump-7"),
        lab.issue("pump-7"),
        lab.issue("pump-8"),
    );
    let revoked = lab
        .ca
        .revoke(
            &one.record.serial.to_uppercase(),
            RevocationReason::KeyCompromise,
            lab.now,
        )
        .unwrap();
    assert_eq!(revoked.certificates.len(), 1);
    assert_eq!(
        lab.revoked_serials(),
        [format!("{:0>32}", one.record.serial)]
    );
    let rest = lab
        .ca
        .revoke("pump-7", RevocationReason::Unspecified, lab.now)
        .unwrap();
    assert_eq!(
        rest.certificates[0].serial, two.record.serial,
        "a name stands for all that is still good"
    );
    lab.ca
        .revoke(
            &other.record.fingerprint,
            RevocationReason::Superseded,
            lab.now,
        )
        .unwrap();
    assert_eq!(lab.revoked_serials().len(), 3);
    assert!(matches!(
        lab.ca
            .revoke("pump-7", RevocationReason::Unspecified, lab.now),
        Err(PkiError::AlreadyRevoked(_))
    ));
    assert!(matches!(
        lab.ca
            .revoke("pump-9", RevocationReason::Unspecified, lab.now),
        Err(PkiError::Unknown(_))
    ));
    assert!(matches!(
        lab.ca
            .renew("pump-7", None, Validity::starting(lab.now), "test"),
        Err(PkiError::Revoked(_))
    ));
    let again = DeviceCa::open(&lab.folder.join("ca")).unwrap();
    assert_eq!(
        again
            .list()
            .unwrap()
            .iter()
            .filter(|record| record.revoked.is_some())
            .count(),
        3
    );
    let later = lab.now + Duration::from_secs(92 * 86_400);
    again.write_crl(7, later).unwrap();
    assert!(
        lab.revoked_serials().is_empty(),
        "expired certificates leave the list"
    );
}

/// As a full disk leaves it: the ledger says revoked, and the list does not.
#[test]
fn asking_again_writes_the_list_that_could_not_be_written() {
    let lab = Lab::new();
    lab.issue("pump-7");
    let list = lab.ca.crl_path();
    std::fs::remove_file(&list).unwrap();
    std::fs::create_dir(&list).unwrap();
    let revoke = || {
        lab.ca
            .revoke("pump-7", RevocationReason::KeyCompromise, lab.now)
    };
    assert!(matches!(revoke(), Err(PkiError::File { .. })));
    std::fs::remove_dir(&list).unwrap();
    assert!(matches!(revoke(), Err(PkiError::AlreadyRevoked(_))));
    assert_eq!(lab.revoked_serials().len(), 1);
}

#[test]
fn a_renewed_certificate_has_the_same_names_and_another_serial() {
    let lab = Lab::new();
    let names = DeviceNames::new("pump-7", Some("sensors"), &[], &["urn:dev:7".into()]).unwrap();
    let first = lab
        .ca
        .issue(&names, Validity::starting(lab.now), "test")
        .unwrap()
        .record;
    let second = lab
        .ca
        .renew(
            "pump-7",
            None,
            Validity {
                days: 30,
                now: lab.now,
            },
            "test",
        )
        .unwrap()
        .record;
    assert_ne!(first.serial, second.serial);
    assert_eq!(
        (&first.name, &first.organizational_unit, &first.san_uri),
        (&second.name, &second.organizational_unit, &second.san_uri)
    );
    assert_eq!(lab.ca.find("pump-7").unwrap().len(), 2);
}

/// As it is when the revocation comes between the look and the ledger's lock.
#[test]
fn what_was_revoked_meanwhile_is_not_renewed() {
    let lab = Lab::new();
    let earlier = lab.issue("pump-7").record;
    lab.ca
        .revoke("pump-7", RevocationReason::KeyCompromise, lab.now)
        .unwrap();
    let names = DeviceNames::named("pump-7").unwrap();
    let renewed = lab
        .ca
        .generate(&names, Validity::starting(lab.now), "test", Some(&earlier));
    assert!(matches!(renewed, Err(PkiError::Revoked(name)) if name == "pump-7"));
    assert_eq!(lab.ca.list().unwrap().len(), 1);
}

#[test]
fn files_are_private_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let ca = lab.folder.join("ca");
    assert_eq!(mode(&ca), 0o700);
    assert_eq!(mode(&ca.join("device-ca.key")), 0o600);
    assert!(matches!(
        DeviceCa::create(&ca, lab.now),
        Err(PkiError::Exists(_))
    ));
    let out = lab.folder.join("out");
    let issued = lab.issue("pump-7");
    issued.write_to(&out, false).unwrap();
    assert_eq!(
        (mode(&out.join("pump-7.key")), mode(&out.join("pump-7.pem"))),
        (0o600, 0o644)
    );
    assert!(matches!(
        issued.write_to(&out, false),
        Err(PkiError::Exists(_))
    ));
    assert!(issued.write_to(&out, true).is_ok());
}

/// An operator works as root for a service that is another user. Only root can give files away; who is not owns them all as it is.
#[test]
fn what_the_ca_keeps_is_for_the_owner_of_its_folder() {
    use std::os::unix::fs::{MetadataExt, chown};
    let folder = std::env::temp_dir().join(format!("wardgate-ca-{:032x}", rand::random::<u128>()));
    std::fs::create_dir(&folder).unwrap();
    let _ = chown(&folder, Some(12_345), Some(12_346));
    let owner = |path: &Path| {
        let metadata = std::fs::symlink_metadata(path).unwrap();
        (metadata.uid(), metadata.gid())
    };
    let expected = owner(&folder);
    let (home, now) = (folder.join("ca"), SystemTime::now());
    let ca = DeviceCa::create(&home, now).unwrap();
    crate::pki::ServerCa::create(&home, now).unwrap();
    let names = DeviceNames::named("pump-7").unwrap();
    for _ in 0..2 {
        ca.issue(&names, Validity::starting(now), "test").unwrap();
        let valid = Duration::from_secs(60);
        crate::pki::Enrolment::token(&home, &names, valid, now).unwrap();
        ca.write_crl(7, now).unwrap();
    }
    let mut found = Vec::new();
    let mut folders = vec![folder.clone()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(owner(&path), expected, "{}", path.display());
            folders.extend(path.is_dir().then(|| path.clone()));
            found.push(path);
        }
    }
    assert!(found.len() >= 12, "{found:?}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_damaged_ca_is_refused() {
    let lab = Lab::new();
    let ca = lab.folder.join("ca");
    let key = std::fs::read(ca.join("device-ca.key")).unwrap();
    std::fs::write(
        ca.join("device-ca.key"),
        KeyPair::generate().unwrap().serialize_pem(),
    )
    .unwrap();
    assert!(
        matches!(DeviceCa::open(&ca), Err(PkiError::Damaged { .. })),
        "another key"
    );
    for bad in [&b""[..], b"\n", b"garbage", &key[..20]] {
        std::fs::write(ca.join("device-ca.key"), bad).unwrap();
        assert!(DeviceCa::open(&ca).is_err());
    }
    std::fs::write(ca.join("device-ca.key"), &key).unwrap();
    std::fs::write(ca.join("issued.json"), "{").unwrap();
    let names = DeviceNames::named("pump-7").unwrap();
    let refused = DeviceCa::open(&ca)
        .unwrap()
        .issue(&names, Validity::starting(lab.now), "test");
    assert!(
        matches!(refused, Err(PkiError::Damaged { .. })),
        "nothing is issued that cannot be recorded"
    );
    assert!(matches!(
        DeviceCa::open(&lab.folder),
        Err(PkiError::NoAuthority(_))
    ));
}

#[test]
fn validity_is_bounded_and_ends_with_the_ca() {
    let lab = Lab::new();
    let names = DeviceNames::named("pump-7").unwrap();
    for days in [0, 3651, u32::MAX] {
        let refused = lab
            .ca
            .issue(&names, Validity { days, now: lab.now }, "test");
        assert!(matches!(refused, Err(PkiError::Days { .. })), "{days}");
    }
    let nine_years = lab.now + Duration::from_secs(9 * 365 * 86_400);
    let long = lab
        .ca
        .issue(
            &names,
            Validity {
                days: 3650,
                now: nine_years,
            },
            "test",
        )
        .unwrap();
    assert!(
        long.record.not_after < OffsetDateTime::from(lab.now) + Duration::from_secs(3654 * 86_400)
    );
    let too_late = lab.now + Duration::from_secs(11 * 365 * 86_400);
    let refused = lab.ca.issue(
        &names,
        Validity {
            days: 1,
            now: too_late,
        },
        "test",
    );
    assert!(matches!(refused, Err(PkiError::AuthorityExpired)));
}

#[test]
fn a_server_certificate_serves_and_never_logs_in() {
    let lab = Lab::new();
    let ca = super::super::ServerCa::create(&lab.folder.join("ca"), lab.now).unwrap();
    let hosts = [
        "gate-1.example".to_owned(),
        "192.0.2.1".to_owned(),
        "not a host".to_owned(),
        "localhost".to_owned(),
    ];
    let made = ca.issue(&hosts, lab.now).unwrap();
    let der = CertificateDer::from_pem_slice(made.certificate_pem.as_bytes()).unwrap();
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    let names = leaf
        .subject_alternative_name()
        .unwrap()
        .unwrap()
        .value
        .general_names
        .len();
    assert_eq!(names, 5);
    assert!(
        leaf.extended_key_usage()
            .unwrap()
            .unwrap()
            .value
            .server_auth
    );
    assert_eq!(
        CertificateFacts::from_der(&der),
        Err(crate::identity::CertificateError::NotForClients)
    );
    assert!(lab.ca.certificate_pem() != ca.certificate_pem());
}

#[test]
fn a_pkcs_12_file_opens_with_its_password_alone() {
    let lab = Lab::new();
    let issued = lab.issue("pump-7");
    let bundle = issued
        .pkcs12(lab.ca.certificate_pem(), "p12-secret")
        .unwrap();
    let policy = p12_keystore::Pkcs12ImportPolicy::Strict;
    let store = p12_keystore::KeyStore::from_pkcs12(&bundle, "p12-secret", policy).unwrap();
    let (_, chain) = store.private_key_chain().unwrap();
    assert_eq!(chain.certs().len(), 2);
    assert_eq!(
        chain.certs()[0].as_der(),
        issued.certificate_der().unwrap().as_ref()
    );
    assert!(p12_keystore::KeyStore::from_pkcs12(&bundle, "other", policy).is_err());
    let signed = Issued {
        key_pem: None,
        ..issued
    };
    assert!(matches!(
        signed.pkcs12(lab.ca.certificate_pem(), "x"),
        Err(PkiError::NoKey)
    ));
}

#[test]
fn sto_04_a_key_under_a_passphrase_opens_by_it_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = std::env::temp_dir().join(format!("wardgate-ca-{:032x}", rand::random::<u128>()));
    let now = SystemTime::now();
    let passphrase = Secret::new(b"correct horse".to_vec());
    let protection = Protection {
        passphrase: Some(&passphrase),
        permit_dns: &[],
    };
    DeviceCa::create_with(&folder, &protection, now).unwrap();
    let path = folder.join("device-ca.key");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("-----BEGIN ENCRYPTED "), "{text}");
    let with = |given: &[u8]| {
        let given = given.to_vec();
        DeviceCa::open_with(&folder, &|| Ok(Secret::new(given.clone())))
    };
    assert!(matches!(
        DeviceCa::open(&folder),
        Err(PkiError::PassphraseNeeded)
    ));
    for wrong in [
        &b""[..],
        b"correct hors",
        b"correct horse\n",
        b"Correct horse",
    ] {
        assert!(
            matches!(with(wrong), Err(PkiError::WrongPassphrase(_))),
            "{wrong:?}"
        );
    }
    let ca = with(passphrase.expose()).unwrap();
    let names = DeviceNames::named("pump-7").unwrap();
    ca.issue(&names, Validity::starting(now), "test").unwrap();
    // To look needs no key.
    assert_eq!(Records::open(&folder).unwrap().list().unwrap().len(), 1);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(
        with(passphrase.expose()),
        Err(PkiError::Damaged { .. })
    ));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn idn_15_names_outside_the_constraints_of_the_ca_are_not_certified() {
    let folder = std::env::temp_dir().join(format!("wardgate-ca-{:032x}", rand::random::<u128>()));
    let now = SystemTime::now();
    let create = |domains: &[&str]| {
        let permit_dns: Vec<String> = domains.iter().map(|&domain| domain.to_owned()).collect();
        let protection = Protection {
            passphrase: None,
            permit_dns: &permit_dns,
        };
        DeviceCa::create_with(&folder, &protection, now)
    };
    for bad in ["", "*.example", "a b", ".example"] {
        assert!(
            matches!(create(&[bad]), Err(PkiError::Domain { .. })),
            "{bad:?}"
        );
    }
    let ca = create(&["devices.example", "lab.example"]).unwrap();
    let rows: [(&[&str], bool); 8] = [
        (&[], true),
        (&["pump-7.devices.example"], true),
        (&["devices.example"], true),
        (&["a.b.lab.example", "pump-7.devices.example"], true),
        (&["pump-7.example"], false),
        (&["evildevices.example"], false),
        (&["devices.example.evil"], false),
        (&["pump-7.devices.example", "evil.example"], false),
    ];
    for (dns, permitted) in rows {
        let dns: Vec<String> = dns.iter().map(|&name| name.to_owned()).collect();
        let names = DeviceNames::new("pump-7", None, &dns, &["urn:dev:7".to_owned()]).unwrap();
        let before = ca.list().unwrap().len();
        let issued = ca.issue(&names, Validity::starting(now), "test");
        assert_eq!(issued.is_ok(), permitted, "{dns:?}");
        assert_eq!(ca.list().unwrap().len() - before, usize::from(permitted));
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_request_with_a_weak_key_is_called_weak() {
    let refused = SigningRequest::from_pem(RSA_1024.as_bytes()).unwrap_err();
    assert!(matches!(refused, PkiError::WeakKey(1024)), "{refused}");
}

/// Signed by its own key, as it should be.
const RSA_1024: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIIBUDCBugIBADARMQ8wDQYDVQQDDAZwdW1wLTcwgZ8wDQYJKoZIhvcNAQEBBQAD
gY0AMIGJAoGBAN30s6GfCI2Q9zQ9QoGBo95SwRaWtnXNn9kcUbw5yRitftNWY1mZ
Q+K/wner65w9buQA9IAifonkzneBeMOkEltDcyoY/GfeeLcQD0ByBHZuN8cnADge
wHdC35V9ZMLeaIj0wrgC1ara1uI4De5DTpwbl9U2jEbsNJ8eOqxV5ZAbAgMBAAGg
ADANBgkqhkiG9w0BAQsFAAOBgQBsLyDPwXuaYo8Xqv28Kyiv9O0yS8mAYPnUyRHg
C+5upNags2yQAjbzZUvyYqu5c7/bnMHIcGiiJF/KRi8ETe4hIur12RVrJlrB2bwo
TD0l5WXyhJntd6i731cxwi/PpGDSdUdsUXX0MHSIS2ac4BJjGuSLAGpdvNYyjsoP
MgakBA==
-----END CERTIFICATE REQUEST-----
";
