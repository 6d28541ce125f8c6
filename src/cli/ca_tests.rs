//! What is on record was handed over.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use clap::Parser;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    ca: CaArgs,
}

fn ca(folder: &Path, arguments: &str) -> Result<(), PkiError> {
    let folder = folder.display().to_string();
    let arguments = arguments.replace("OUT", &format!("{folder}/out"));
    let arguments = ["ca", "--dir", &folder]
        .into_iter()
        .chain(arguments.split_whitespace());
    execute(&Program::try_parse_from(arguments).unwrap().ca)
}

#[test]
fn what_cannot_be_handed_over_is_not_issued() {
    let name = format!("wardgate-cli-ca-{:032x}", rand::random::<u128>());
    let folder = std::env::temp_dir().join(name);
    ca(&folder, "init").unwrap();
    let out = folder.join("out");
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    let wanted = (rcgen::DnType::CommonName, "b");
    params.distinguished_name.push(wanted.0, wanted.1);
    let request = params.serialize_request(&key).unwrap();
    let csr = folder.join("b.csr");
    std::fs::write(&csr, request.pem().unwrap()).unwrap();
    let csr = csr.display().to_string();
    let sign = format!("sign {csr} --out OUT");
    let count = || {
        Records::open(&folder.join("ca"))
            .unwrap()
            .list()
            .unwrap()
            .len()
    };
    // What stands in the way, the command, and whether it does.
    let rows: [(&str, &str, bool); 9] = [
        ("", "issue a --out OUT", true),
        ("", "issue a --out OUT", false),
        ("", "renew a --out OUT", true),
        ("c.key", "issue c --out OUT", false),
        ("d.p12", "issue d --out OUT --p12 OUT/d.p12", false),
        ("", &sign, true),
        ("", &sign, false),
        ("ca.pem", "issue e --out OUT", false),
        ("ca.pem", "renew a --out OUT", false),
    ];
    for (obstacle, command, expected) in rows {
        let before = count();
        if !obstacle.is_empty() {
            std::fs::write(out.join(obstacle), "another").unwrap();
        }
        let done = ca(&folder, command);
        assert_eq!(done.is_ok(), expected, "{command}: {done:?}");
        if !expected {
            assert!(
                matches!(done, Err(PkiError::Exists(_))),
                "{command}: {done:?}"
            );
        }
        assert_eq!(count(), before + usize::from(expected), "{command}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}
