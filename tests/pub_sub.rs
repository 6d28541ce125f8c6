//! `wardgate pub` and `wardgate sub` against a server that plays a part: what they print, and how they end. Contract section 1.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

/// For each packet of the client one answer, in hexadecimal; then the connection ends.
fn play(answers: &'static [&'static str]) -> (u16, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = Vec::new();
        for answer in answers {
            heard.extend(packet(&mut stream));
            stream.write_all(&bytes(answer)).unwrap();
        }
        // What comes after the last answer is the goodbye.
        let _closed = stream.read_to_end(&mut heard);
        heard
    });
    (port, server)
}

/// One packet shorter than 128 bytes.
fn packet(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    assert!(head[1] < 128, "a short packet");
    let mut body = vec![0; head[1].into()];
    stream.read_exact(&mut body).unwrap();
    [head.to_vec(), body].concat()
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: String = hexadecimal.split_whitespace().collect();
    let pairs = (0..digits.len()).step_by(2).map(|at| &digits[at..at + 2]);
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

fn wardgate(arguments: &str, input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wardgate"))
        .args(arguments.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input has closed it.
    let _unread = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

const CONNACK: &str = "20 03 00 00 00";

#[test]
fn refusals_are_named_and_end_with_1() {
    let rows: [(&[&str], &str, i32, &str); 14] = [
        (
            &["20 03 00 87 00"],
            "pub --message m",
            1,
            "Not authorized (0x87)",
        ),
        (
            &["20 03 00 86 00"],
            "pub --message m",
            1,
            "Bad User Name or Password (0x86)",
        ),
        (
            &["20 02 00 05"],
            "pub --message m --mqtt-version 3.1.1",
            1,
            "Not authorized (0x87)",
        ),
        (
            &["20 02 00 04"],
            "sub --mqtt-version 3.1",
            1,
            "Bad User Name or Password (0x86)",
        ),
        (
            &["20 07 00 87 04 1f 00 01 78"],
            "sub",
            1,
            "Not authorized (0x87): x",
        ),
        (
            &[CONNACK, "40 03 00 01 87"],
            "pub --message m --qos 1",
            1,
            "refused the message to t: Not authorized (0x87)",
        ),
        (
            &[CONNACK, "50 03 00 01 97"],
            "pub --message m --qos 2",
            1,
            "Quota exceeded (0x97)",
        ),
        (
            &[CONNACK, "e0 01 98"],
            "pub --message m --qos 1",
            1,
            "Administrative action (0x98)",
        ),
        (
            &[CONNACK, "90 04 00 01 00 87"],
            "sub",
            1,
            "refused the subscription to t: Not authorized (0x87)",
        ),
        (
            &[CONNACK, "90 04 00 01 00 00 e0 01 8e"],
            "sub",
            1,
            "Session taken over (0x8E)",
        ),
        // Answers that come together are told one by one.
        (
            &[CONNACK, "", "40 02 00 01 40 03 00 02 97"],
            "pub --message m --qos 1 --count 2",
            1,
            "refused the message to t: Quota exceeded (0x97)",
        ),
        (
            &[CONNACK, "", "40 02 00 01 40 02 00 02"],
            "pub --message m --qos 1 --count 2",
            0,
            "",
        ),
        (&[CONNACK, "40 02 00 01"], "pub --message m --qos 1", 0, ""),
        (
            &[CONNACK, "40 03 00 01 10"],
            "pub --message m --qos 1",
            0,
            "",
        ),
    ];
    for (answers, arguments, code, message) in rows {
        let (port, server) = play(answers);
        let url = format!("mqtt://127.0.0.1:{port}");
        let output = wardgate(
            &format!("{arguments} --topic t --url {url} --connect-timeout 5s"),
            "",
        );
        server.join().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {errors}");
        assert!(
            errors.contains(message),
            "{arguments}: {errors:?} lacks {message:?}"
        );
        assert_eq!(errors.is_empty(), code == 0, "{arguments}: {errors:?}");
    }
}

#[test]
fn wrong_usage_ends_with_2_and_a_silent_port_with_1() {
    let rows = [
        ("pub --topic t", 2),
        ("pub --message m", 2),
        ("pub --topic t/# --message m", 2),
        ("pub --topic t --message m --qos 3", 2),
        ("pub --topic t --message m --stdin", 2),
        ("pub --topic t --message m --url http://h", 2),
        ("pub --topic t --message m --url mqtt://u:p@h", 2),
        ("pub --topic t --message m --cert c.pem", 2),
        ("pub --topic t --message m --password-stdin", 2),
        ("sub --topic a/#/b", 2),
        ("sub", 2),
        ("pub --topic t --message m --url mqtt://127.0.0.1:1", 1),
        (
            "pub --topic t --message m --url mqtts://127.0.0.1:1 --ca does-not-exist.pem",
            1,
        ),
        (
            "pub --topic t --message m --mqtt-version 3.1.1 --user-property a=b --url mqtt://127.0.0.1:1",
            1,
        ),
    ];
    for (arguments, code) in rows {
        let output = wardgate(arguments, "");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {errors}");
        assert!(!errors.is_empty(), "{arguments}");
    }
}

#[test]
fn messages_are_printed_as_asked() {
    // QoS 1, topic a/b, payload hi; QoS 0, retained, with a user property and a payload that is no text.
    const TWO: &str = "90 04 00 01 00 01 32 0a 0003 612f62 0007 00 6869 31 10 0003 612f63 08 26 0001 6b 0002 7676 ff00";
    let one = r#"{"topic":"a/b","qos":1,"retain":false,"dup":false,"payload":"hi"}"#;
    let two = r#"{"topic":"a/c","qos":0,"retain":true,"dup":false,"payload_base64":"/wA=","user_properties":[["k","vv"]]}"#;
    let rows = [
        ("--json", [one, two, ""].join("\n").into_bytes()),
        ("", b"hi\n\xff\0\n".to_vec()),
        ("--verbose", b"a/b hi\na/c \xff\0\n".to_vec()),
    ];
    for (arguments, expected) in rows {
        let (port, server) = play(&[CONNACK, TWO]);
        let url = format!("mqtt://127.0.0.1:{port}");
        let output = wardgate(
            &format!("sub --topic a/+ --qos 1 --count 2 --url {url} {arguments}"),
            "",
        );
        let heard = server.join().unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{arguments}: {:?}",
            output.stderr
        );
        assert_eq!(
            output.stdout,
            expected,
            "{arguments}: {:?}",
            String::from_utf8_lossy(&output.stdout)
        );
        // PUBACK, then DISCONNECT.
        assert!(
            heard.ends_with(&bytes("40 02 00 07 e0 00")),
            "{arguments}: {heard:02x?}"
        );
    }
}

#[test]
fn the_password_is_the_first_line_of_standard_input_and_the_message_the_rest() {
    let (port, server) = play(&[CONNACK]);
    let url = format!("mqtt://127.0.0.1:{port}");
    let output = wardgate(
        &format!("pub --topic t --stdin --username u --password-stdin --client-id c --url {url}"),
        "secret\nline 1\nline 2\n",
    );
    let heard = server.join().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{:?}",
        String::from_utf8_lossy(&output.stderr)
    );
    let password = bytes("0001 63 0001 75 0006 736563726574");
    assert!(
        heard
            .windows(password.len())
            .any(|window| window == password),
        "{heard:02x?}"
    );
    let publish = [
        bytes("30 12 0001 74 00"),
        b"line 1\nline 2\n".to_vec(),
        bytes("e0 00"),
    ]
    .concat();
    assert!(heard.ends_with(&publish), "{heard:02x?}");
}
