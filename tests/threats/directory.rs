//! A real directory behind a real broker: what changes there reaches those who are in.

use super::login;
use super::support::{Setup, Wire};
use std::time::{Duration, Instant};

#[path = "../../src/identity/io/directory/slapd.rs"]
mod slapd;

const POLICY: &str = "
version: 1
policies:
  - id: staff
    who: { auth: ldap, group: staff }
    allow: [{ subscribe: 'staff/#' }]
";

fn setup(slapd: &slapd::Slapd) -> Setup {
    let section = format!(
        "
listeners: {{ lab: {{ bind: '127.0.0.1:0', transport: tcp, authenticate: [ldap] }} }}
authentication:
  ldap:
    url: 'ldaps://localhost:{}'
    ca: '{}'
    mode: search_bind
    search: {{ base: 'dc=example,dc=org', filter: '(&(objectClass=person)(uid={{username}}))', bind_dn: 'cn=finder,dc=example,dc=org', bind_password: finder-secret }}
    groups: {{ base: 'ou=groups,dc=example,dc=org', filter: '(member={{dn}})' }}
    cache: 1s
",
        slapd.tls,
        slapd.folder.join("ca.pem").display()
    );
    Setup::new(&section).policy(POLICY)
}

#[tokio::test]
async fn idn_11_who_leaves_the_directory_or_a_group_loses_what_it_gave() {
    let mut slapd = slapd::Slapd::start().await;
    let broker = setup(&slapd).start();
    let mut alice = broker.dial("lab");
    login(&mut alice, "desk", true, "Alice", "secret");
    alice.expect_connack(0);
    alice.send("82 .. 0001 00 s'staff/news' 00");
    alice.expect("90 .. 0001 00 00");
    let mut bob = broker.dial("lab");
    login(&mut bob, "phone", true, "bob", "bob-secret");
    bob.expect_connack(0);
    slapd.modify(
        "dn: cn=staff,ou=groups,dc=example,dc=org\nchangetype: modify\ndelete: member\nmember: uid=Alice,ou=people,dc=example,dc=org\n",
    );
    await_withdrawn(&mut alice);
    slapd.modify("dn: uid=Alice,ou=people,dc=example,dc=org\nchangetype: delete\n");
    alice.expect_then_closed("e0 .. 87 *");
    // A directory that does not answer puts nobody out.
    slapd.stop();
    std::thread::sleep(Duration::from_millis(2500));
    bob.expect_quiet();
    slapd.resume().await;
    bob.expect_quiet();
}

/// Asks for the subscription again until it is refused.
fn await_withdrawn(wire: &mut Wire) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        wire.send("82 .. 0002 00 s'staff/news' 00");
        let answer = wire.expect("90 .. 0002 00 ??");
        if answer.last() == Some(&0x87) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "the group is gone and its rights are not"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
