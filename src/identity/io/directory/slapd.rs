//! A private slapd on loopback for tests: its own folder, its own ports, gone when the test ends.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(super) struct Slapd {
    pub(super) folder: PathBuf,
    pub(super) plain: u16,
    pub(super) tls: u16,
    process: Option<Child>,
}

const PROGRAM: &str = "/usr/sbin/slapd";

/// With the names of Active Directory that its users' filters ask for. Anonymous binds of every kind succeed, so that a client that makes one by mistake is let in (IDN-5).
const CONFIGURATION: &str = "
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
attributetype ( 1.2.840.113556.1.4.656 NAME 'userPrincipalName' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.221 NAME 'sAMAccountName' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.8 NAME 'userAccountControl' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
objectclass ( 1.2.840.113556.1.5.9 NAME 'user' SUP inetOrgPerson STRUCTURAL MAY ( userPrincipalName $ sAMAccountName $ userAccountControl ) )
objectclass ( 1.2.840.113556.1.5.8 NAME 'group' SUP groupOfNames STRUCTURAL )
allow bind_anon_cred bind_anon_dn
pidfile FOLDER/pid
TLSCACertificateFile FOLDER/ca.pem
TLSCertificateFile FOLDER/server.pem
TLSCertificateKeyFile FOLDER/server.key
database mdb
suffix dc=example,dc=org
rootdn cn=root,dc=example,dc=org
rootpw root-secret
directory FOLDER/db
maxsize 10485760
access to attrs=userPassword by anonymous auth by * none
access to * by * read
overlay memberof
";

const ENTRIES: &str = "
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=org
objectClass: organizationalUnit
ou: groups

dn: cn=finder,dc=example,dc=org
objectClass: person
cn: finder
sn: finder
userPassword: finder-secret

dn: uid=Alice,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: Alice
cn: Alice
sn: Twin
userPassword: secret

dn: uid=bob,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: Twin
userPassword: bob-secret

dn: uid=a\\2ab,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: a*b
cn: Star
sn: Star
userPassword: star-secret

dn: cn=staff,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: staff
member: uid=Alice,ou=people,dc=example,dc=org
member: uid=a\\2ab,ou=people,dc=example,dc=org

dn: cn=everybody,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: everybody
member: cn=staff,ou=groups,dc=example,dc=org

dn: ou=elsewhere,dc=example,dc=org
objectClass: referral
objectClass: extensibleObject
ou: elsewhere
ref: ldap://127.0.0.1:1/ou=elsewhere,dc=example,dc=org
";

impl Slapd {
    /// `None` where no slapd is installed; the caller says so.
    pub(super) async fn start() -> Self {
        // A test that cannot be made has not passed.
        assert!(
            Path::new(PROGRAM).exists(),
            "slapd is missing: run tests/run, which installs it"
        );
        let folder =
            std::env::temp_dir().join(format!("wardgate-slapd-{:032x}", rand::random::<u128>()));
        std::fs::create_dir_all(folder.join("db")).unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(folder.join("ca.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("server.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("server.key"), made.signing_key.serialize_pem()).unwrap();
        let configuration = CONFIGURATION.replace("FOLDER", folder.to_str().unwrap());
        std::fs::write(folder.join("slapd.conf"), configuration).unwrap();
        std::fs::write(folder.join("entries.ldif"), ENTRIES).unwrap();
        let added = Command::new(PROGRAM)
            .args(["-T", "add", "-f"])
            .arg(folder.join("slapd.conf"))
            .arg("-l")
            .arg(folder.join("entries.ldif"))
            .output()
            .unwrap();
        assert!(
            added.status.success(),
            "{}",
            String::from_utf8_lossy(&added.stderr)
        );
        let mut slapd = Self {
            folder,
            plain: free_port(),
            tls: free_port(),
            process: None,
        };
        // Whoever took one of its ports meanwhile keeps it.
        for _ in 0..20 {
            if slapd.begin().await {
                return slapd;
            }
            (slapd.plain, slapd.tls) = (free_port(), free_port());
        }
        unreachable!("slapd does not start");
    }

    pub(super) async fn resume(&mut self) {
        assert!(self.begin().await, "slapd does not start again");
    }

    /// False: it has ended at once.
    async fn begin(&mut self) -> bool {
        let urls = format!(
            "ldap://127.0.0.1:{} ldaps://127.0.0.1:{}",
            self.plain, self.tls
        );
        let mut process = Command::new(PROGRAM)
            .args(["-d", "0", "-h", &urls, "-f"])
            .arg(self.folder.join("slapd.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..1_200 {
            if process.try_wait().unwrap().is_some() {
                return false;
            }
            if std::net::TcpStream::connect(("127.0.0.1", self.tls)).is_ok() {
                self.process = Some(process);
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.process = Some(process);
        unreachable!("slapd does not listen");
    }

    pub(super) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Changes entries as the root of the directory.
    pub(super) fn modify(&self, ldif: &str) {
        std::fs::write(self.folder.join("change.ldif"), ldif).unwrap();
        let changed = Command::new("/usr/bin/ldapmodify")
            .args([
                "-x",
                "-D",
                "cn=root,dc=example,dc=org",
                "-w",
                "root-secret",
                "-H",
            ])
            .arg(format!("ldap://127.0.0.1:{}", self.plain))
            .arg("-f")
            .arg(self.folder.join("change.ldif"))
            .output()
            .unwrap();
        assert!(
            changed.status.success(),
            "{}",
            String::from_utf8_lossy(&changed.stderr)
        );
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Below the ports that the system gives to whoever asks for any: between this look and slapd's own nobody gets it by chance.
fn free_port() -> u16 {
    loop {
        let port = 20_000 + rand::random::<u16>() % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
