//! What is promised of enrolment, as tables.

#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::pki::RevocationReason;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use rustls_pki_types::CertificateDer;
use std::sync::atomic::{AtomicUsize, Ordering};

const HOUR: Duration = Duration::from_secs(3600);

/// A CA in a folder that is gone when the test ends.
struct Lab {
    folder: PathBuf,
    enrolment: Enrolment,
    now: SystemTime,
}

impl Lab {
    fn new() -> Self {
        let folder =
            std::env::temp_dir().join(format!("wardgate-enrol-{:032x}", rand::random::<u128>()));
        let now = SystemTime::now();
        DeviceCa::create(&folder, now).unwrap();
        let enrolment = Enrolment::new(&folder, 90, 3);
        Self {
            folder,
            enrolment,
            now,
        }
    }

    fn token(&self, names: &DeviceNames) -> String {
        Enrolment::token(&self.folder, names, HOUR, self.now).unwrap()
    }

    fn by_token(&self, name: &str, token: &str) -> Result<Applicant, EnrolmentError> {
        self.enrolment.by_token(name, token.as_bytes(), self.now)
    }

    /// The certificate of the ledger's last entry.
    fn last(&self) -> CertificateDer<'static> {
        let ca = DeviceCa::open(&self.folder).unwrap();
        let record = ca.list().unwrap().pop().unwrap();
        let pem = ca.certificate_of(&record).unwrap();
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }

    fn count(&self) -> usize {
        DeviceCa::open(&self.folder).unwrap().list().unwrap().len()
    }

    /// `Err`: the operator's reason.
    fn ask(
        &self,
        applicant: &Applicant,
        wish: Wish,
        request: &SigningRequest,
    ) -> Result<(), String> {
        let before = self.count();
        let made = self
            .enrolment
            .enrol(applicant, wish, request, self.now, |_| true);
        let added = self.count() - before;
        assert_eq!(added, usize::from(made.is_ok()), "{made:?}");
        made.map(drop).map_err(|error| error.to_string())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A request for these: `CN`, `OU`, `O`, `DNS`, `URI`.
fn request(wanted: &[(&str, &str)]) -> SigningRequest {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, value) in wanted {
        let value = (*value).to_owned();
        let kind = match *kind {
            "DNS" => {
                let name = SanType::DnsName(value.try_into().unwrap());
                params.subject_alt_names.push(name);
                continue;
            }
            "URI" => {
                let uri = SanType::URI(value.try_into().unwrap());
                params.subject_alt_names.push(uri);
                continue;
            }
            "CN" => DnType::CommonName,
            "OU" => DnType::OrganizationalUnitName,
            _ => DnType::OrganizationName,
        };
        params.distinguished_name.push(kind, value);
    }
    let made = params
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap();
    SigningRequest::from_der(made.der()).unwrap()
}

fn full_names() -> DeviceNames {
    let (dns, uri) = (["p7.example".to_owned()], ["urn:dev:7".to_owned()]);
    DeviceNames::new("pump-7", Some("sensors"), &dns, &uri).unwrap()
}

#[test]
fn idn_15_a_token_is_for_one_certificate_of_its_own_name() {
    let lab = Lab::new();
    let token = lab.token(&DeviceNames::named("pump-7").unwrap());
    let stored = std::fs::read_to_string(lab.folder.join("enrolment.json")).unwrap();
    assert!(!stored.contains(&token), "the file gives no token away");
    let cut = token.get(..token.len() - 1).unwrap();
    let rows = [
        ("pump-8", token.as_str(), "the name has no enrolment token"),
        ("", &token, "not the name"),
        ("pump-7\0", &token, "not the name"),
        ("pump-7", cut, "not the enrolment token"),
        ("pump-7", "", "not the enrolment token"),
    ];
    for (name, token, reason) in rows {
        let error = lab.by_token(name, token).unwrap_err();
        assert_eq!(error.fault(), Fault::Credential, "{name:?}: {error}");
        assert!(error.to_string().starts_with(reason), "{name:?}: {error}");
    }
    let late = lab.now + HOUR;
    assert!(matches!(
        lab.enrolment.by_token("pump-7", token.as_bytes(), late),
        Err(EnrolmentError::TokenExpired)
    ));
    let applicant = lab.by_token("pump-7", &token).unwrap();
    let other = lab.ask(&applicant, Wish::First, &request(&[("CN", "pump-8")]));
    assert_eq!(
        other,
        Err("the request is for \"pump-8\", not for \"pump-7\"".into())
    );
    let renewal = lab.ask(&applicant, Wish::Renewal, &request(&[("CN", "pump-7")]));
    assert!(renewal.is_err(), "a token does not renew");
    // What was refused has not used it up, what was granted has.
    let wanted = request(&[("CN", "pump-7")]);
    lab.ask(&applicant, Wish::First, &wanted).unwrap();
    let again = lab.ask(&applicant, Wish::First, &wanted).unwrap_err();
    assert!(again.contains("it was used"), "{again}");
    assert!(lab.by_token("pump-7", &token).is_err());
}

#[test]
fn a_new_token_ends_the_one_before() {
    let lab = Lab::new();
    let names = DeviceNames::named("pump-7").unwrap();
    let (first, second) = (lab.token(&names), lab.token(&names));
    assert!(matches!(
        lab.by_token("pump-7", &first),
        Err(EnrolmentError::WrongToken)
    ));
    let applicant = lab.by_token("pump-7", &second).unwrap();
    let third = lab.token(&names);
    let wanted = request(&[("CN", "pump-7")]);
    assert!(lab.ask(&applicant, Wish::First, &wanted).is_err());
    let applicant = lab.by_token("pump-7", &third).unwrap();
    lab.ask(&applicant, Wish::First, &wanted).unwrap();
}

#[test]
fn idn_15_a_raced_token_is_used_once() {
    let lab = Lab::new();
    let token = lab.token(&DeviceNames::named("pump-7").unwrap());
    let wanted = request(&[("CN", "pump-7")]);
    // Everybody is past the first look before anybody asks.
    let applicants: Vec<Applicant> = (0..8)
        .map(|_| lab.by_token("pump-7", &token).unwrap())
        .collect();
    let made = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for applicant in &applicants {
            let (lab, wanted, made) = (&lab, &wanted, &made);
            scope.spawn(move || {
                let agree = |_: &Record| true;
                let enrolled = lab
                    .enrolment
                    .enrol(applicant, Wish::First, wanted, lab.now, agree);
                match enrolled {
                    Ok(_) => made.fetch_add(1, Ordering::Relaxed),
                    Err(error) => {
                        assert_eq!(error.fault(), Fault::Credential, "{error}");
                        0
                    }
                }
            });
        }
    });
    assert_eq!((made.into_inner(), lab.count()), (1, 1));
}

#[test]
fn idn_15_a_renewal_asks_for_the_same_names() {
    let lab = Lab::new();
    let token = lab.token(&full_names());
    let applicant = lab.by_token("pump-7", &token).unwrap();
    // The operator has said which names: the device need not repeat them.
    lab.ask(&applicant, Wish::First, &request(&[("CN", "pump-7")]))
        .unwrap();
    let device = Applicant::by_certificate(&lab.last()).unwrap();
    assert_eq!(device.name(), "pump-7");
    let (cn, ou) = (("CN", "pump-7"), ("OU", "sensors"));
    let (dns, uri) = (("DNS", "p7.example"), ("URI", "urn:dev:7"));
    type Names<'a> = &'a [(&'a str, &'a str)];
    let rows: [(Names<'_>, bool, bool); 10] = [
        (&[cn, ou, dns, uri], true, true),
        (&[ou, cn, uri, dns], true, true),
        (&[cn], true, false),
        (&[cn, ou, dns], true, false),
        (&[cn, dns, uri], true, false),
        (&[("CN", "pump-8"), ou, dns, uri], false, false),
        (&[ou, dns, uri], false, false),
        (&[cn, ("OU", "admins"), dns, uri], false, false),
        (&[cn, ou, dns, uri, ("DNS", "p8.example")], false, false),
        (&[cn, ou, dns, uri, ("O", "else")], false, false),
    ];
    for (wanted, first, renewal) in rows {
        for (wish, expected) in [(Wish::First, first), (Wish::Renewal, renewal)] {
            // Room for as many as there are rows.
            let enrolment = Enrolment::new(&lab.folder, 90, 100);
            let made = enrolment.enrol(&device, wish, &request(wanted), lab.now, |_| true);
            assert_eq!(made.is_ok(), expected, "{wish:?} {wanted:?}: {made:?}");
            let Err(error) = made else { continue };
            assert_eq!(
                error.fault(),
                Fault::Request,
                "{wish:?} {wanted:?}: {error}"
            );
        }
    }
}

#[test]
fn idn_11_what_is_revoked_expired_or_not_on_record_renews_nothing() {
    let lab = Lab::new();
    let stranger = Lab::new();
    for lab in [&lab, &stranger] {
        let token = lab.token(&DeviceNames::named("pump-7").unwrap());
        let applicant = lab.by_token("pump-7", &token).unwrap();
        lab.ask(&applicant, Wish::First, &request(&[("CN", "pump-7")]))
            .unwrap();
    }
    let wanted = request(&[("CN", "pump-7")]);
    let credential = |applicant: &Applicant, now| {
        let made = lab
            .enrolment
            .enrol(applicant, Wish::Renewal, &wanted, now, |_| true);
        matches!(made, Err(error) if error.fault() == Fault::Credential)
    };
    let foreign = Applicant::by_certificate(&stranger.last()).unwrap();
    assert!(credential(&foreign, lab.now));
    let device = Applicant::by_certificate(&lab.last()).unwrap();
    lab.ask(&device, Wish::Renewal, &wanted).unwrap();
    assert!(credential(
        &device,
        lab.now + Duration::from_secs(90 * 86_400)
    ));
    // The name is revoked with all its certificates, the renewed one too.
    let renewed = Applicant::by_certificate(&lab.last()).unwrap();
    let ca = DeviceCa::open(&lab.folder).unwrap();
    ca.revoke("pump-7", RevocationReason::KeyCompromise, lab.now)
        .unwrap();
    assert!(credential(&device, lab.now) && credential(&renewed, lab.now));
}

#[test]
fn idn_11_a_name_that_is_revoked_cannot_enrol_with_the_token_that_it_had() {
    let lab = Lab::new();
    let ca = DeviceCa::open(&lab.folder).unwrap();
    let names = DeviceNames::named("pump-7").unwrap();
    let wanted = request(&[("CN", "pump-7")]);
    let revoke = |key: &str| {
        let revoked = ca.revoke(key, RevocationReason::KeyCompromise, lab.now);
        revoked.map(|revoked| (revoked.certificates.len(), revoked.token))
    };
    // Of a device that has fetched nothing yet.
    let token = lab.token(&names);
    let other = lab.token(&DeviceNames::named("pump-8").unwrap());
    let applicant = lab.by_token("pump-7", &token).unwrap();
    assert_eq!(revoke("pump-7").unwrap(), (0, true));
    assert!(lab.by_token("pump-7", &token).is_err());
    let late = lab.ask(&applicant, Wish::First, &wanted).unwrap_err();
    assert!(
        late.starts_with("the name has no enrolment token"),
        "{late}"
    );
    assert!(matches!(revoke("pump-7"), Err(PkiError::Unknown(_))));
    assert!(lab.by_token("pump-8", &other).is_ok(), "another's");
    // Of one that has a certificate, and a token for the next.
    let applicant = lab.by_token("pump-7", &lab.token(&names)).unwrap();
    lab.ask(&applicant, Wish::First, &wanted).unwrap();
    let serial = ca.list().unwrap().pop().unwrap().serial;
    let token = lab.token(&names);
    // One certificate is not the name: what takes its place may be under way.
    assert_eq!(revoke(&serial).unwrap(), (1, false));
    let applicant = lab.by_token("pump-7", &token).unwrap();
    lab.ask(&applicant, Wish::First, &wanted).unwrap();
    let token = lab.token(&names);
    assert_eq!(revoke("pump-7").unwrap(), (1, true));
    assert!(lab.by_token("pump-7", &token).is_err());
    assert!(matches!(revoke("pump-7"), Err(PkiError::AlreadyRevoked(_))));
    // Whom the operator invites again may come again.
    let token = lab.token(&names);
    assert!(lab.by_token("pump-7", &token).is_ok());
}

#[test]
fn a_name_has_no_more_valid_certificates_than_it_may() {
    let lab = Lab::new();
    let wanted = request(&[("CN", "pump-7")]);
    let token = lab.token(&DeviceNames::named("pump-7").unwrap());
    let applicant = lab.by_token("pump-7", &token).unwrap();
    lab.ask(&applicant, Wish::First, &wanted).unwrap();
    let device = Applicant::by_certificate(&lab.last()).unwrap();
    lab.ask(&device, Wish::Renewal, &wanted).unwrap();
    lab.ask(&device, Wish::First, &wanted).unwrap();
    let full = lab.ask(&device, Wish::Renewal, &wanted).unwrap_err();
    assert!(
        full.starts_with("the name has 3 valid certificates"),
        "{full}"
    );
    let ca = DeviceCa::open(&lab.folder).unwrap();
    let last = ca.list().unwrap().pop().unwrap();
    ca.revoke(&last.serial, RevocationReason::Superseded, lab.now)
        .unwrap();
    lab.ask(&device, Wish::Renewal, &wanted).unwrap();
}

#[test]
fn log_03_what_cannot_be_audited_is_not_issued() {
    let lab = Lab::new();
    let token = lab.token(&DeviceNames::named("pump-7").unwrap());
    let applicant = lab.by_token("pump-7", &token).unwrap();
    let wanted = request(&[("CN", "pump-7")]);
    let refused = lab
        .enrolment
        .enrol(&applicant, Wish::First, &wanted, lab.now, |_| false);
    assert!(matches!(refused, Err(EnrolmentError::Unauditable)));
    assert_eq!(lab.count(), 0);
    lab.ask(&applicant, Wish::First, &wanted).unwrap();
}

#[test]
fn idn_15_the_rules_hold_for_tokens_and_for_what_they_fetch() {
    let lab = Lab::new();
    let token = lab.token(&DeviceNames::named("pump-7").unwrap());
    std::fs::write(lab.folder.join("rules.yaml"), "common_name: [meter-*]\n").unwrap();
    let applicant = lab.by_token("pump-7", &token).unwrap();
    let refused = lab
        .ask(&applicant, Wish::First, &request(&[("CN", "pump-7")]))
        .unwrap_err();
    assert!(refused.contains("rules.yaml"), "{refused}");
    let made = |name: &str, valid| {
        let names = DeviceNames::named(name).unwrap();
        Enrolment::token(&lab.folder, &names, valid, lab.now).is_ok()
    };
    let rows = [
        ("pump-8", HOUR, false),
        ("meter-1", HOUR, true),
        ("meter-1", Duration::ZERO, false),
        ("meter-1", HOUR * 24 * 31, false),
        ("meter-1:a", HOUR, false),
    ];
    for (name, valid, expected) in rows {
        assert_eq!(made(name, valid), expected, "{name} {valid:?}");
    }
}

#[test]
fn idn_02_damaged_tokens_admit_nobody_and_stop_the_start() {
    let lab = Lab::new();
    let token = lab.token(&DeviceNames::named("pump-7").unwrap());
    lab.enrolment.check().unwrap();
    std::fs::write(lab.folder.join("enrolment.json"), "{").unwrap();
    assert!(lab.by_token("pump-7", &token).is_err());
    assert!(lab.enrolment.check().is_err());
    std::fs::remove_file(lab.folder.join("enrolment.json")).unwrap();
    lab.enrolment.check().unwrap();
    // A link to nothing is no absence: what it led to may have forbidden something.
    for name in ["enrolment.json", "issued.json", "rules.yaml"] {
        let link = lab.folder.join(name);
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(lab.folder.join("elsewhere"), &link).unwrap();
        assert!(lab.enrolment.check().is_err(), "{name}");
        std::fs::remove_file(link).unwrap();
        lab.enrolment.check().unwrap();
    }
    std::fs::remove_file(lab.folder.join("device-ca.key")).unwrap();
    assert!(lab.enrolment.check().is_err());
}

#[test]
fn a_lifetime_that_the_rules_refuse_is_told_before_a_device_asks() {
    let lab = Lab::new();
    let rows = [
        ("common_name: [\"*\"]\n", true),
        ("common_name: [\"*\"]\ndays_max: 90\n", true),
        ("common_name: [\"*\"]\ndays_max: 30\n", false),
        ("common_name: []\n", false),
        ("common_name: *\n", false),
    ];
    for (rules, expected) in rows {
        std::fs::write(lab.folder.join("rules.yaml"), rules).unwrap();
        let checked = lab.enrolment.check();
        assert_eq!(checked.is_ok(), expected, "{rules}: {checked:?}");
    }
    std::fs::remove_file(lab.folder.join("rules.yaml")).unwrap();
    // Root writes everywhere, so that what stands in the way is no folder.
    std::fs::write(lab.folder.join("issued"), "").unwrap();
    assert!(lab.enrolment.check().is_err());
}
