//! What a certificate says of its owner: any DER is read or refused, and every name that comes out is clean text (TRN-3).

use wardgate::identity::CertificateNames;

pub fn check(bytes: &[u8]) {
    let Ok(names) = CertificateNames::from_der(bytes) else {
        return;
    };
    let lists = [
        &names.common_name,
        &names.organizational_unit,
        &names.organization,
        &names.san_dns,
        &names.san_uri,
        &names.san_email,
    ];
    for name in lists.into_iter().flatten() {
        assert!(!name.chars().any(char::is_control), "{name:?}");
    }
    for hexadecimal in [&names.serial, &names.fingerprint] {
        let clean = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        assert!(hexadecimal.bytes().all(clean), "{hexadecimal}");
    }
    assert_eq!(names.fingerprint.len(), 64);
}
