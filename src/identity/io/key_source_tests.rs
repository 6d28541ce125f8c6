//! What is promised of key files, as a table.

#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;

#[test]
fn idn_02_keys_that_cannot_be_read_stop_the_start() {
    let folder =
        std::env::temp_dir().join(format!("wardgate-keys-{:032x}", rand::random::<u128>()));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("good"), "0123456789abcdef0123456789abcdef\n").unwrap();
    std::fs::write(folder.join("short"), "0123456789abcdef0123456789abcde\n").unwrap();
    std::fs::write(folder.join("empty"), "").unwrap();
    let rows = [
        ("{keys: [{alg: HS256, secret_file: good}]}", true),
        ("{keys: [{alg: HS256, secret_file: short}]}", false),
        ("{keys: [{alg: HS512, secret_file: good}]}", false),
        ("{keys: [{alg: HS256, secret_file: empty}]}", false),
        ("{keys: [{alg: HS256, secret_file: missing}]}", false),
        ("{keys: [{alg: HS256, secret_file: .}]}", false),
        ("{keys: [{alg: HS256, public_key_file: good}]}", false),
        ("{keys: [{alg: RS256, public_key_file: good}]}", false),
        ("{keys: [{alg: HS256}]}", false),
        ("{}", false),
        ("{jwks: {file: empty}}", false),
        ("{jwks: {}}", false),
        ("{jwks: {url: 'http://id.example/'}}", false),
        (
            "{keys: [{alg: HS256, secret_file: good}], leeway: 2m}",
            false,
        ),
    ];
    for (section, good) in rows {
        let config: JwtConfig = serde_saphyr::from_str(section).unwrap();
        assert_eq!(KeySource::open(&config, &folder).is_ok(), good, "{section}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
