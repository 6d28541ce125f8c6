//! A device that has nothing but curl and openssl, as the README shows it: it enrols with a token, connects, and renews. RFC 7030

use super::support::broker::wardgate;
use super::support::{Broker, Setup};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const LISTENERS: &str = "
listeners:
  mqtts:
    bind: '127.0.0.1:0'
    tls: { certificate: server.pem, private_key: server.key, client_auth: required, client_ca: [ca/device-ca.pem], crl: [ca/device-ca.crl] }
    authenticate: [certificate]
admin:
  bind: '127.0.0.1:0'
  tls: { certificate: server.pem, private_key: server.key }
  est: { ca: ca }
";

const REQUEST: &str = "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
    -keyout $NAME.key -subj /CN=$NAME -outform DER 2>errors | openssl base64 -out $NAME.csr";
const AUTHORITIES: &str = "curl -sS --fail --max-time 60 --cacert server-ca.pem -u $NAME:$TOKEN $EST/cacerts \
    | openssl base64 -d | openssl pkcs7 -inform DER -print_certs -out ca.pem";
const ENROL: &str = "curl -sS --fail --max-time 60 --cacert ca.pem -u $NAME:$TOKEN \
    -H 'Content-Type: application/pkcs10' --data-binary @$NAME.csr $EST/simpleenroll \
    | openssl base64 -d | openssl pkcs7 -inform DER -print_certs -out $NAME.pem";
const PUBLISH: &str = "mosquitto_pub -V mqttv5 -h localhost -p $MQTTS --cafile ca.pem \
    --cert $NAME.pem --key $NAME.key -i $NAME -t telemetry/$NAME -m on -q 1";
const RENEW: &str = "curl -sS --fail --max-time 60 --cacert ca.pem --cert $NAME.pem --key $NAME.key \
    -H 'Content-Type: application/pkcs10' --data-binary @$NAME.csr $EST/simplereenroll \
    | openssl base64 -d | openssl pkcs7 -inform DER -print_certs -out new.pem";

struct Device<'a> {
    broker: &'a Broker,
    name: &'static str,
    token: String,
    folder: PathBuf,
}

impl<'a> Device<'a> {
    fn new(broker: &'a Broker, name: &'static str) -> Self {
        let folder = broker.path().join(name);
        fs::create_dir(&folder).unwrap();
        // The one thing that a device has to be given beside its token.
        fs::copy(
            broker.path().join("ca/server-ca.pem"),
            folder.join("server-ca.pem"),
        )
        .unwrap();
        Self {
            broker,
            name,
            token: ca(broker.path(), &["token", name]).trim().to_owned(),
            folder,
        }
    }

    fn command(&self, script: &str) -> Command {
        let est = format!(
            "https://localhost:{}/.well-known/est",
            self.broker.port("admin")
        );
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(&self.folder)
            .env("NAME", self.name)
            .env("TOKEN", &self.token)
            .env("EST", est)
            .env("MQTTS", self.broker.port("mqtts").to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, script: &str) -> Output {
        self.command(script).output().unwrap()
    }

    fn succeeds(&self, script: &str) -> String {
        let output = self.run(script);
        assert!(
            output.status.success(),
            "{script}: {output:?} (tests/run installs what is missing)"
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// What HTTP answers, or 000 where TLS ends it.
    fn status(&self, curl: &str) -> String {
        let script = format!("curl -s --max-time 60 -o answer -w '%{{http_code}}' {curl}");
        String::from_utf8(self.run(&script).stdout).unwrap()
    }

    fn fingerprint(&self, file: &str) -> String {
        self.succeeds(&format!(
            "openssl x509 -in {file} -noout -fingerprint -sha256"
        ))
    }
}

fn ca(folder: &Path, arguments: &[&str]) -> String {
    let output = wardgate()
        .arg("ca")
        .args(arguments)
        .arg("--dir")
        .arg(folder)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "ca {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A broker whose certificate comes from its own server CA, as after `wardgate init`.
fn broker() -> Broker {
    let setup = Setup::new(LISTENERS);
    ca(setup.path(), &["init"]);
    ca(setup.path(), &["server", "--out", ".", "--replace"]);
    setup.start()
}

#[test]
fn idn_15_a_device_with_curl_and_openssl_enrols_connects_and_renews() {
    let broker = broker();
    let device = Device::new(&broker, "pump-7");
    for step in [REQUEST, AUTHORITIES, ENROL, PUBLISH] {
        device.succeeds(step);
    }
    let text = device.succeeds("openssl x509 -in pump-7.pem -noout -subject -ext extendedKeyUsage");
    assert!(text.contains("CN = pump-7"), "{text}");
    assert!(text.contains("TLS Web Client Authentication"), "{text}");
    device.succeeds("openssl verify -CAfile ca.pem pump-7.pem");
    // Renewal with a new key.
    let old = device.fingerprint("pump-7.pem");
    device.succeeds("cp pump-7.key old.key && cp pump-7.pem old.pem");
    device.succeeds(&format!(
        "{} && {}",
        REQUEST.replace("-keyout $NAME.key", "-keyout new.key"),
        RENEW
    ));
    assert_ne!(device.fingerprint("new.pem"), old);
    device.succeeds("mv new.key pump-7.key && mv new.pem pump-7.pem");
    device.succeeds(PUBLISH);
    for (issued_by, fingerprints) in [("est by token", 1), ("est renewal", 1)] {
        let list = ca(broker.path(), &["list", "--json"]);
        assert_eq!(list.matches(issued_by).count(), fingerprints, "{list}");
    }
    broker.await_audit("the renewal", |line| {
        line["event"] == "certificate"
            && line["outcome"] == "permitted"
            && line["username"] == "pump-7"
            && line["reason"]
                .as_str()
                .is_some_and(|reason| reason.starts_with("est renewal"))
    });
}

#[test]
fn idn_15_what_does_not_fit_is_refused_and_the_reason_is_told_to_the_operator_alone() {
    let broker = broker();
    let (device, other) = (
        Device::new(&broker, "pump-7"),
        Device::new(&broker, "pump-8"),
    );
    for device in [&device, &other] {
        device.succeeds(REQUEST);
        device.succeeds(AUTHORITIES);
    }
    const POST: &str = "-H 'Content-Type: application/pkcs10' --cacert ca.pem";
    let by_token = format!("{POST} -u $NAME:$TOKEN");
    let by_certificate = format!("{POST} --cert $NAME.pem --key $NAME.key");
    // Another's name: in the request, as the user, with a token of its own.
    let for_other = format!("{by_token} --data-binary @../pump-8/pump-8.csr $EST/simpleenroll");
    assert_eq!(device.status(&for_other), "400");
    let as_other = format!("{POST} -u pump-8:$TOKEN --data-binary @../pump-8/pump-8.csr");
    assert_eq!(
        device.status(&format!("{as_other} $EST/simpleenroll")),
        "401"
    );
    // Its last bit is one of the signature.
    device.succeeds("openssl base64 -d -in pump-7.csr -out der");
    let mut der = fs::read(device.folder.join("der")).unwrap();
    *der.last_mut().unwrap() ^= 1;
    fs::write(device.folder.join("der"), der).unwrap();
    device.succeeds("openssl base64 -in der -out forged.csr");
    let forged = format!("{by_token} --data-binary @forged.csr $EST/simpleenroll");
    assert_eq!(device.status(&forged), "400");
    device.succeeds(ENROL);
    // The token again.
    let again = format!("{by_token} --data-binary @pump-7.csr $EST/simpleenroll");
    assert_eq!(device.status(&again), "401");
    let answer = fs::read_to_string(device.folder.join("answer")).unwrap();
    assert!(!answer.contains("used"), "{answer}");
    // Its certificate is for itself, and for nothing else here.
    let status = device.status(
        "--cacert ca.pem --cert pump-7.pem --key pump-7.key ${EST%/.well-known/est}/api/v1/status",
    );
    assert_eq!(status, "401");
    let for_other = format!("{by_certificate} --data-binary @../pump-8/pump-8.csr");
    assert_eq!(
        device.status(&format!("{for_other} $EST/simplereenroll")),
        "400"
    );
    let renewal = format!("{by_certificate} --data-binary @pump-7.csr $EST/simplereenroll");
    assert_eq!(device.status(&renewal), "200");
    ca(broker.path(), &["revoke", "pump-7"]);
    let status = device.status(&renewal);
    assert!(status == "401" || status == "000", "{status}");
    for reason in [
        "the request is for \"pump-8\", not for \"pump-7\"",
        "not the enrolment token of this name",
        "not signed by its own key",
        "it was used",
    ] {
        broker.await_audit(reason, |line| {
            line["reason"]
                .as_str()
                .is_some_and(|told| told.contains(reason))
        });
    }
}

#[test]
fn sto_04_the_key_of_the_ca_is_kept_under_a_passphrase_that_openssl_knows() {
    let passphrase = "--passphrase-file=passphrase";
    let setup = || {
        let setup = Setup::new(LISTENERS).file("passphrase", "correct horse\n");
        ca(setup.path(), &["init", passphrase]);
        ca(
            setup.path(),
            &["server", "--out", ".", "--replace", passphrase],
        );
        // openssl takes the second line where one file is to say both.
        let setup = setup.file("same", "correct horse\n");
        setup.file("wrong", "correct hors\n")
    };
    let refused = Broker::try_start(setup()).err().unwrap();
    assert!(
        refused.contains("admin.est: the CA's key has a passphrase"),
        "{refused}"
    );
    let setup = setup();
    let folder = setup.path().to_owned();
    let run = |program: &mut Command| {
        program.current_dir(&folder).stdin(Stdio::null());
        let output = program.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let issue = |more: &[&str]| {
        let mut command = wardgate();
        command.args(["ca", "issue", "first", "--dir", ".", "--out", "out"]);
        run(command.args(more))
    };
    for (more, reason) in [
        (&[][..], "no terminal to ask on: use --passphrase-file"),
        (&["--passphrase-file=wrong"], "does not open it"),
        (&["--passphrase-file=none"], "none"),
    ] {
        let (issued, text) = issue(more);
        assert!(!issued && text.contains(reason), "{more:?}: {text}");
    }
    assert!(issue(&[passphrase]).0);
    assert!(ca(&folder, &["list"]).contains("first"));
    // openssl reads ours, and we read openssl's.
    let openssl = |script: &str| {
        let (done, text) = run(Command::new("bash").args(["-euo", "pipefail", "-c", script]));
        assert!(done, "{script}: {text}");
        text
    };
    let own = openssl("openssl pkey -in ca/device-ca.key -passin file:passphrase -pubout");
    assert_eq!(
        own,
        openssl("openssl x509 -in ca/device-ca.pem -noout -pubkey")
    );
    for (number, form) in [
        "-v2 aes-256-cbc -v2prf hmacWithSHA256",
        "-v2 aes-128-cbc",
        "-scrypt",
    ]
    .iter()
    .enumerate()
    {
        openssl(&format!(
            "umask 077; openssl pkcs8 -topk8 -in ca/device-ca.key -passin file:passphrase {form} \
             -passout file:same -out again && mv again ca/device-ca.key"
        ));
        ca(
            &folder,
            &["issue", &format!("pump-{number}"), "--out=out", passphrase],
        );
    }
    let broker = setup
        .replacing(
            "est: { ca: ca }",
            "est: { ca: ca, passphrase_file: passphrase }",
        )
        .start();
    let device = Device::new(&broker, "pump-7");
    for step in [REQUEST, AUTHORITIES, ENROL, PUBLISH] {
        device.succeeds(step);
    }
}

/// Even somebody who has stolen the key cannot make a name outside, for whoever verifies.
#[test]
fn idn_15_the_constraints_of_the_ca_are_known_to_openssl_and_to_the_listeners() {
    let setup = Setup::new(LISTENERS);
    ca(setup.path(), &["init", "--permit-dns", "devices.example"]);
    ca(setup.path(), &["server", "--out", ".", "--replace"]);
    let broker = setup.start();
    let device = Device::new(&broker, "pump-7");
    let issue = "issue pump-7 --out pump-7 --san-dns pump-7.devices.example";
    ca(broker.path(), &issue.split(' ').collect::<Vec<_>>());
    let outside = wardgate()
        .args([
            "ca",
            "issue",
            "pump-8",
            "--san-dns",
            "evil.example",
            "--dir",
        ])
        .arg(broker.path())
        .output()
        .unwrap();
    let told = String::from_utf8(outside.stderr).unwrap();
    assert!(
        !outside.status.success() && told.contains("does not permit"),
        "{told}"
    );
    device.succeeds("openssl verify -CAfile ../ca/device-ca.pem pump-7.pem");
    device.succeeds(PUBLISH);
    device.succeeds(
        "openssl req -new -key pump-7.key -subj /CN=pump-7 -out forged.csr && printf \
         'subjectAltName=DNS:evil.example\\nextendedKeyUsage=clientAuth\\nbasicConstraints=critical,CA:FALSE\\n\
authorityKeyIdentifier=keyid\\n' > extensions && openssl x509 -req -in forged.csr -CA ../ca/device-ca.pem \
         -CAkey ../ca/device-ca.key -CAcreateserial -extfile extensions -days 1 -out forged.pem",
    );
    let verified = device.run("openssl verify -CAfile ../ca/device-ca.pem forged.pem 2>&1");
    let told = String::from_utf8(verified.stdout).unwrap();
    assert!(told.contains("permitted subtree violation"), "{told}");
    let let_in = device.run(&PUBLISH.replace("--cert $NAME.pem", "--cert forged.pem"));
    assert!(!let_in.status.success(), "{let_in:?}");
    broker.await_audit("the refusal", |line| {
        line["outcome"] == "refused"
            && line["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains("TLS"))
    });
}

#[test]
fn idn_15_a_token_that_many_race_for_is_used_once() {
    let broker = broker();
    let device = Device::new(&broker, "pump-7");
    device.succeeds(REQUEST);
    device.succeeds(AUTHORITIES);
    let script = "curl -s --max-time 60 -o /dev/null -w '%{http_code}' --cacert ca.pem -u $NAME:$TOKEN \
        -H 'Content-Type: application/pkcs10' --data-binary @$NAME.csr $EST/simpleenroll";
    let racers: Vec<Child> = (0..6)
        .map(|_| device.command(script).spawn().unwrap())
        .collect();
    let mut answers: Vec<String> = racers
        .into_iter()
        .map(|racer| String::from_utf8(racer.wait_with_output().unwrap().stdout).unwrap())
        .collect();
    answers.sort();
    assert_eq!(answers, ["200", "401", "401", "401", "401", "401"]);
    let list = ca(broker.path(), &["list", "--json"]);
    assert_eq!(list.matches("\"serial\"").count(), 1, "{list}");
}
