//! TRN-6 and TRN-7: revocation lists that apply, and those that do not.

use super::certificates::peer;
use super::*;
use crate::net::config::{ClientAuth, Doubt};
use crate::net::tls::CertificateRefused as R;
use crate::net::tls::fixtures::{
    Authority, Device, Folder, days, distribution_point, issuing_distribution_point, server_files,
};
use rcgen::SerialNumber;
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use std::time::{Instant, SystemTime};

struct Case<'a> {
    authorities: &'a [&'a Authority],
    lists: &'a [Vec<u8>],
    stale: Doubt,
    missing: Doubt,
}

impl Case<'_> {
    fn server(&self) -> (Folder, ServerTls) {
        let own = Authority::root("server's own");
        let (folder, mut config) = server_files(&own, ClientAuth::Required);
        config.client_ca = Vec::new();
        for (n, authority) in self.authorities.iter().enumerate() {
            let name = format!("ca{n}.pem");
            folder.write(&name, authority.certificate.der());
            config.client_ca.push(name.into());
        }
        for (n, list) in self.lists.iter().enumerate() {
            let name = format!("{n}.crl");
            folder.write(&name, list);
            config.crl.push(name.into());
        }
        config.crl_stale = self.stale;
        config.crl_missing = self.missing;
        let server = build(&config, &folder);
        (folder, server)
    }
}

/// The first time webpki judges, then what was learned from it: both must say the same.
#[track_caller]
fn judge_thrice(server: &ServerTls, device: &Device) -> Result<(), R> {
    let peer = peer(device.chain.clone());
    let judge = || match server.judge(&peer, SystemTime::now()) {
        Ok(()) => Ok(()),
        Err(TlsError::Certificate(reason)) => Err(reason),
        Err(error) => panic!("{error}"),
    };
    let verdict = judge();
    assert_eq!(judge(), verdict);
    assert_eq!(judge(), verdict);
    verdict
}

#[test]
fn trn_06_a_list_that_does_not_apply_is_not_a_clean_one() {
    use Doubt::{Allow, Deny};
    let ca = Authority::root("ca");
    let other = Authority::root("other");
    let namesake = Authority::root("ca");
    let device = ca.device(5);
    let stale = |revoked: &[u64]| {
        ca.crl_with(revoked, |crl| {
            crl.this_update = days(-9);
            crl.next_update = days(-1);
        })
    };
    let rows: Vec<(&str, Vec<Vec<u8>>, Doubt, Doubt, Result<(), R>)> = vec![
        ("none configured", vec![], Deny, Deny, Ok(())),
        ("clean", vec![ca.crl(&[4, 6])], Deny, Deny, Ok(())),
        (
            "revoked",
            vec![ca.crl(&[4, 5])],
            Deny,
            Deny,
            Err(R::Revoked),
        ),
        (
            "revoked, all allowed",
            vec![ca.crl(&[5])],
            Allow,
            Allow,
            Err(R::Revoked),
        ),
        (
            "by another issuer",
            vec![other.crl(&[5])],
            Deny,
            Deny,
            Err(R::RevocationUnknown),
        ),
        (
            "by another issuer, allowed",
            vec![other.crl(&[5])],
            Deny,
            Allow,
            Ok(()),
        ),
        (
            "by a namesake",
            vec![namesake.crl(&[5])],
            Deny,
            Deny,
            Err(R::RevocationListUntrusted),
        ),
        (
            "by a namesake, allowed",
            vec![namesake.crl(&[])],
            Allow,
            Allow,
            Err(R::RevocationListUntrusted),
        ),
        (
            "stale",
            vec![stale(&[])],
            Deny,
            Deny,
            Err(R::RevocationListStale),
        ),
        ("stale, allowed", vec![stale(&[])], Allow, Deny, Ok(())),
        (
            "stale, allowed, revoked",
            vec![stale(&[5])],
            Allow,
            Deny,
            Err(R::Revoked),
        ),
        (
            "stale edition beside the new",
            vec![stale(&[5]), ca.crl(&[])],
            Deny,
            Deny,
            Ok(()),
        ),
        (
            "new edition beside the stale",
            vec![ca.crl(&[5]), stale(&[])],
            Deny,
            Deny,
            Err(R::Revoked),
        ),
    ];
    for (name, lists, stale, missing, expected) in rows {
        let case = Case {
            authorities: &[&ca],
            lists: &lists,
            stale,
            missing,
        };
        let (_folder, server) = case.server();
        assert_eq!(judge_thrice(&server, &device), expected, "{name}");
    }
}

#[test]
fn trn_06_distribution_points_must_meet() {
    let ca = Authority::root("ca");
    let (a, b, c) = ("http://a/crl", "http://b/crl", "http://c/crl");
    let at = |uris: &[&str]| {
        let points = vec![distribution_point(uris)];
        ca.device_with(5, move |params| params.crl_distribution_points = points)
    };
    let list = |revoked: &[u64], uris: &[&str]| {
        let point = issuing_distribution_point(uris);
        ca.crl_with(revoked, |crl| crl.issuing_distribution_point = point)
    };
    let rows: Vec<(&str, Device, Vec<Vec<u8>>, Result<(), R>)> = vec![
        (
            "second of two, clean",
            at(&[a, b]),
            vec![list(&[], &[b, c])],
            Ok(()),
        ),
        (
            "second of two, revoked",
            at(&[a, b]),
            vec![list(&[5], &[b, c])],
            Err(R::Revoked),
        ),
        (
            "last of three, revoked",
            at(&[a, b, c]),
            vec![list(&[5], &[c])],
            Err(R::Revoked),
        ),
        (
            "none in common",
            at(&[a]),
            vec![list(&[], &[b, c])],
            Err(R::RevocationUnknown),
        ),
        (
            "two partitions, first",
            at(&[a]),
            vec![list(&[5], &[a]), list(&[], &[b])],
            Err(R::Revoked),
        ),
        (
            "two partitions, second",
            at(&[b]),
            vec![list(&[], &[a]), list(&[5], &[b])],
            Err(R::Revoked),
        ),
        (
            "two partitions, clean",
            at(&[b]),
            vec![list(&[5], &[a]), list(&[], &[b])],
            Ok(()),
        ),
        (
            "list for all, revoked",
            at(&[a]),
            vec![ca.crl(&[5])],
            Err(R::Revoked),
        ),
        (
            "no point in certificate",
            ca.device(5),
            vec![list(&[5], &[a])],
            Err(R::Revoked),
        ),
    ];
    for (name, device, lists, expected) in rows {
        let case = Case {
            authorities: &[&ca],
            lists: &lists,
            stale: Doubt::Deny,
            missing: Doubt::Deny,
        };
        let (_folder, server) = case.server();
        assert_eq!(judge_thrice(&server, &device), expected, "{name}");
    }
}

#[test]
fn trn_06_intermediates_are_checked_too() {
    let ca = Authority::root("ca");
    let sub = ca.intermediate("sub", 7);
    let device = sub.device(5);
    let rows: Vec<(&str, Vec<Vec<u8>>, Doubt, Result<(), R>)> = vec![
        (
            "both clean",
            vec![ca.crl(&[5]), sub.crl(&[7])],
            Doubt::Deny,
            Ok(()),
        ),
        (
            "intermediate revoked",
            vec![ca.crl(&[7]), sub.crl(&[])],
            Doubt::Deny,
            Err(R::Revoked),
        ),
        (
            "leaf revoked",
            vec![ca.crl(&[]), sub.crl(&[5])],
            Doubt::Deny,
            Err(R::Revoked),
        ),
        (
            "intermediate without a list",
            vec![ca.crl(&[])],
            Doubt::Deny,
            Err(R::RevocationUnknown),
        ),
        (
            "root without a list",
            vec![sub.crl(&[])],
            Doubt::Deny,
            Err(R::RevocationUnknown),
        ),
        (
            "root without a list, allowed",
            vec![sub.crl(&[])],
            Doubt::Allow,
            Ok(()),
        ),
        (
            "allowed, leaf revoked",
            vec![sub.crl(&[5])],
            Doubt::Allow,
            Err(R::Revoked),
        ),
        (
            "allowed, intermediate revoked",
            vec![ca.crl(&[7])],
            Doubt::Allow,
            Err(R::Revoked),
        ),
    ];
    for (name, lists, missing, expected) in rows {
        let case = Case {
            authorities: &[&ca],
            lists: &lists,
            stale: Doubt::Deny,
            missing,
        };
        let (_folder, server) = case.server();
        assert_eq!(judge_thrice(&server, &device), expected, "{name}");
    }
}

#[test]
fn trn_07_revocation_is_by_issuer_key_and_serial() {
    let old = Authority::root("ca");
    let new = Authority::root("ca");
    let (old_device, new_device) = (old.device(5), new.device(5));
    let lists = [old.crl(&[5]), new.crl(&[])];
    for lists in [lists.to_vec(), lists.iter().rev().cloned().collect()] {
        let case = Case {
            authorities: &[&old, &new],
            lists: &lists,
            stale: Doubt::Deny,
            missing: Doubt::Deny,
        };
        let (_folder, server) = case.server();
        assert_eq!(judge_thrice(&server, &old_device), Err(R::Revoked));
        assert_eq!(judge_thrice(&server, &new_device), Ok(()));
    }
}

#[test]
fn trn_06_a_list_we_do_not_understand_stops_the_start() {
    let ca = Authority::root("ca");
    let (folder, mut config) = server_files(&ca, ClientAuth::Required);
    config.crl = vec!["ca.crl".into()];
    let point = issuing_distribution_point(&["http://a/crl"]);
    let good = ca.crl_with(&[5], |crl| crl.issuing_distribution_point = point);
    // The same list with a critical extension that nobody knows: 2.5.29.28 becomes 2.5.29.127.
    let mut unknown = good.clone();
    let oid = [0x06, 0x03, 0x55, 0x1D, 28];
    let at = unknown.windows(5).position(|window| window == oid).unwrap();
    *unknown.get_mut(at + 4).unwrap() = 127;
    let mut trailing = good.clone();
    trailing.push(0);
    let cut = good.get(..good.len() / 2).unwrap().to_vec();
    let rows = [
        ("good", good, true),
        ("unknown", unknown, false),
        ("trailing", trailing, false),
        ("cut", cut, false),
        ("empty", vec![], false),
    ];
    for (name, list, fine) in rows {
        folder.write("ca.crl", list);
        let built = ServerTls::build(&config, folder.path(), Transport::Tcp);
        assert_eq!(built.is_ok(), fine, "{name}: {built:?}");
    }
}

#[test]
fn trn_06_a_hundred_thousand_entries_in_pem_or_der_are_quick() {
    let ca = Authority::root("ca");
    let serials: Vec<u64> = (10_000..110_000).collect();
    let der = ca.crl(&serials);
    let pem = {
        use base64::Engine;
        let text = base64::prelude::BASE64_STANDARD.encode(&der);
        format!("-----BEGIN X509 CRL-----\n{text}\n-----END X509 CRL-----\n").into_bytes()
    };
    assert_eq!(
        CertificateRevocationListDer::from_pem_slice(&pem)
            .unwrap()
            .as_ref(),
        der
    );
    // The least of many: a loaded machine may take its time over any one.
    let least_of = |server: &ServerTls, good: &PeerTls| {
        let once = || {
            let began = Instant::now();
            server.judge(good, SystemTime::now()).unwrap();
            began.elapsed()
        };
        (0..100).map(|_| once()).min().unwrap()
    };
    let good = peer(ca.device(6).chain);
    let short = ca.crl(&[10_000]);
    let (_folder, server) = Case {
        authorities: &[&ca],
        lists: &[short],
        stale: Doubt::Deny,
        missing: Doubt::Deny,
    }
    .server();
    let with_one = least_of(&server, &good);
    for list in [der, pem] {
        let began = Instant::now();
        let case = Case {
            authorities: &[&ca],
            lists: &[list],
            stale: Doubt::Deny,
            missing: Doubt::Deny,
        };
        let (_folder, server) = case.server();
        assert!(
            began.elapsed().as_secs() < 60,
            "loaded in {:?}",
            began.elapsed()
        );
        assert_eq!(judge_thrice(&server, &ca.device(5)), Ok(()));
        assert_eq!(judge_thrice(&server, &ca.device(109_999)), Err(R::Revoked));
        // Two signatures and a look-up. Hashing four megabytes each time would take 100 times as long.
        let least = least_of(&server, &good);
        assert!(
            least < 20 * with_one,
            "judged in {least:?}, with one entry in {with_one:?}"
        );
        let [about] = server.revocation_lists().try_into().unwrap();
        assert_eq!((about.entries, about.issuer.as_str()), (100_000, "CN=ca"));
        assert!(!about.is_stale(SystemTime::now()));
    }
}

#[test]
fn a_later_crl_number_is_newer_at_the_same_time() {
    let ca = Authority::root("ca");
    let numbered = |number: u64, revoked: &[u64]| {
        ca.crl_with(revoked, |crl| {
            crl.this_update = days(-2).replace_nanosecond(0).unwrap();
            crl.crl_number = SerialNumber::from(number);
        })
    };
    let lists = [numbered(255, &[]), numbered(256, &[5]), numbered(9, &[])];
    let case = Case {
        authorities: &[&ca],
        lists: &lists,
        stale: Doubt::Deny,
        missing: Doubt::Deny,
    };
    let (_folder, server) = case.server();
    assert_eq!(server.revocation_lists().len(), 1);
    assert_eq!(judge_thrice(&server, &ca.device(5)), Err(R::Revoked));
}
