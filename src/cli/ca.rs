//! `wardgate ca`: the device CA at the command line.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::password::{
    PasswordError, PasswordSource, known_passphrase, new_passphrase, new_password,
};
use crate::pki::{
    DeviceCa, DeviceNames, Enrolment, Issued, PkiError, Protection, Record, Records,
    RevocationReason, ServerCa, SigningRequest, Validity, files, read_passphrase,
};
use crate::secret::Secret;
use crate::units::Period;

/// Issue, sign, renew and revoke device certificates.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  wardgate ca issue pump-7 --out certs\n  wardgate ca revoke pump-7 --reason key-compromise"
)]
pub struct CaArgs {
    /// The folder that `wardgate init` made; its CA is in `ca/`
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "wardgate-data"
    )]
    dir: PathBuf,
    /// Holds the passphrase of the CA's keys; without it a terminal is asked, where they have one
    #[arg(long, global = true, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the device CA and the server CA
    #[command(after_help = "Example:\n  wardgate ca init --passphrase")]
    Init {
        /// Ask for a passphrase that their keys are kept under; --passphrase-file does so too
        #[arg(long)]
        passphrase: bool,
        /// A domain that DNS names of devices have to lie in, written into the CA's certificate; may be repeated
        #[arg(long, value_name = "DOMAIN")]
        permit_dns: Vec<String>,
    },
    /// Make a key and a client certificate: NAME.pem, NAME.key and ca.pem
    #[command(after_help = "Example:\n  wardgate ca issue pump-7 --out certs --ou sensors")]
    Issue {
        name: String,
        #[command(flatten)]
        names: Names,
        #[command(flatten)]
        output: Output,
        /// Certificate and key in one PKCS #12 file too, under a password that is asked for
        #[arg(long, value_name = "FILE")]
        p12: Option<PathBuf>,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Sign a request; the key never leaves the device
    #[command(after_help = "Example:\n  wardgate ca sign pump-7.csr --name pump-7 --out certs")]
    Sign {
        /// A PKCS #10 request in PEM; only its key is taken over
        #[arg(value_name = "CSR.pem")]
        request: PathBuf,
        /// The name to certify; without it the one common name of the request
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        names: Names,
        #[command(flatten)]
        output: Output,
    },
    /// Make a new certificate with the names of an earlier one, and a new key for it
    #[command(after_help = "Example:\n  wardgate ca renew pump-7 --out certs")]
    Renew {
        #[arg(value_name = "NAME|SERIAL|FINGERPRINT")]
        which: String,
        /// Certify the key of this request instead of making one
        #[arg(long, value_name = "CSR.pem")]
        csr: Option<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
    /// Make a one-time token with which a device fetches its first certificate by EST, and print it
    #[command(
        after_help = "Example:\n  wardgate ca token pump-7 --valid 1h\n\nThe device then asks https://HOST:18083/.well-known/est/simpleenroll as user pump-7 with the token as password. The node needs `admin.est`."
    )]
    Token {
        name: String,
        #[command(flatten)]
        names: Names,
        /// How long it can be used; a new token of a name ends the one before
        #[arg(long, value_name = "TIME", default_value = "1h")]
        valid: Period,
    },
    /// Revoke a certificate, or all of a name with its enrolment token, and write the revocation list
    #[command(after_help = "Example:\n  wardgate ca revoke pump-7 --reason key-compromise")]
    Revoke {
        #[arg(value_name = "NAME|SERIAL|FINGERPRINT")]
        which: String,
        #[arg(long, value_enum, default_value_t)]
        reason: RevocationReason,
    },
    /// Show what was issued: name, serial, expiry, state
    #[command(after_help = "Example:\n  wardgate ca list --json")]
    List {
        #[arg(long)]
        json: bool,
    },
    /// Show one certificate, or all of a name
    #[command(after_help = "Example:\n  wardgate ca show pump-7")]
    Show {
        #[arg(value_name = "NAME|SERIAL|FINGERPRINT")]
        which: String,
        #[arg(long)]
        json: bool,
    },
    /// Write the revocation list
    #[command(after_help = "Example:\n  wardgate ca crl --days 30 --out device-ca.crl")]
    Crl {
        /// A copy beside the one in the CA's folder
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Until the next list is due
        #[arg(long, default_value_t = 365)]
        days: u32,
    },
    /// Make a server certificate: server.pem and server.key
    #[command(
        after_help = "Example:\n  wardgate ca server --host gate.example.com --out certs --replace"
    )]
    Server {
        /// Names and addresses beside localhost, 127.0.0.1 and ::1
        #[arg(long = "host", value_name = "NAME")]
        hosts: Vec<String>,
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
        /// Put them in the place of those that are there
        #[arg(long)]
        replace: bool,
    },
}

#[derive(Debug, Args)]
struct Names {
    /// A DNS name beside the common name
    #[arg(long, value_name = "NAME")]
    san_dns: Vec<String>,
    /// A URI beside the common name
    #[arg(long, value_name = "URI")]
    san_uri: Vec<String>,
    /// The organizational unit, which policies ask for as cert.organizational_unit
    #[arg(long, value_name = "UNIT")]
    ou: Option<String>,
}

#[derive(Debug, Args)]
struct Output {
    /// Where the files go
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// How long the certificate is valid
    #[arg(long, default_value_t = Validity::DAYS)]
    days: u32,
}

pub fn run(args: &CaArgs) -> ExitCode {
    match execute(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wardgate ca: {error}");
            ExitCode::FAILURE
        }
    }
}

fn execute(args: &CaArgs) -> Result<(), PkiError> {
    let folder = args.dir.join("ca");
    let now = SystemTime::now();
    let open = || DeviceCa::open_with(&folder, &|| passphrase(args));
    match &args.command {
        Command::Init {
            passphrase: ask,
            permit_dns,
        } => {
            let passphrase = match (&args.passphrase_file, ask) {
                (Some(file), _) => Some(read_passphrase(file)?),
                (None, true) => Some(new_passphrase().map_err(told)?),
                (None, false) => None,
            };
            init(&folder, passphrase.as_ref(), permit_dns, now)
        }
        Command::Issue {
            name,
            names,
            output,
            p12,
            password,
        } => {
            let names = device_names(name, names)?;
            let ca = open()?;
            let new = [output.file(name, "pem"), output.file(name, "key")];
            check_places(&folder, output, new.iter().chain(p12))?;
            // Asked for before anything is issued.
            let password = match p12 {
                Some(_) => Some(
                    new_password(password).map_err(|error| PkiError::Bundle(error.to_string()))?,
                ),
                None => None,
            };
            let issued = ca.issue(&names, output.validity(now), "ca issue")?;
            hand_over(&issued, &folder, output, false)?;
            if let (Some(path), Some(password)) = (p12, password) {
                write_pkcs12(&issued, &ca, path, &password)?;
            }
            Ok(())
        }
        Command::Sign {
            request,
            name,
            names,
            output,
        } => {
            let request = SigningRequest::from_pem(&read(request)?)?;
            let name = name
                .as_deref()
                .or(request.common_name())
                .unwrap_or_default();
            let names = device_names(name, names)?;
            let ca = open()?;
            check_places(&folder, output, &[output.file(names.common_name(), "pem")])?;
            for left_out in request.beyond(&names) {
                warn(&format!(
                    "the request asks for {left_out}, which is not taken over"
                ));
            }
            let issued = ca.sign(&request, &names, output.validity(now), "ca sign")?;
            hand_over(&issued, &folder, output, false)
        }
        Command::Renew { which, csr, output } => {
            let request = match csr {
                Some(path) => Some(SigningRequest::from_pem(&read(path)?)?),
                None => None,
            };
            let ca = open()?;
            check_places(&folder, output, [])?;
            let issued = ca.renew(which, request.as_ref(), output.validity(now), "ca renew")?;
            hand_over(&issued, &folder, output, true)
        }
        Command::Token { name, names, valid } => {
            let names = device_names(name, names)?;
            say(&Enrolment::token(&folder, &names, valid.get(), now)?);
            Ok(())
        }
        Command::Revoke { which, reason } => {
            let ca = open()?;
            let revoked = ca.revoke(which, *reason, now)?;
            for record in &revoked.certificates {
                say(&format!("revoked {} {}", record.name, record.serial));
            }
            if revoked.token {
                say(&format!("ended the enrolment token of {which}"));
            }
            say(&format!("wrote {}", ca.crl_path().display()));
            Ok(())
        }
        Command::List { json } => list(&Records::open(&folder)?.list()?, *json, now),
        Command::Show { which, json } => show(&Records::open(&folder)?, which, *json, now),
        Command::Crl { out, days } => {
            let ca = open()?;
            let pem = ca.write_crl(*days, now)?;
            say(&format!("wrote {}", ca.crl_path().display()));
            if let Some(path) = out {
                replace(path, pem.as_bytes())?;
                say(&format!("wrote {}", path.display()));
            }
            Ok(())
        }
        Command::Server {
            hosts,
            out,
            replace,
        } => {
            let ca = ServerCa::open(&folder, &|| passphrase(args))?;
            server(&ca, hosts, out, *replace, now)
        }
    }
}

/// Of keys that are there already.
fn passphrase(args: &CaArgs) -> Result<Secret, PkiError> {
    match &args.passphrase_file {
        Some(file) => read_passphrase(file),
        None => known_passphrase().map_err(told),
    }
}

fn told(error: PasswordError) -> PkiError {
    PkiError::Passphrase(error.to_string())
}

fn init(
    folder: &Path,
    passphrase: Option<&Secret>,
    permit_dns: &[String],
    now: SystemTime,
) -> Result<(), PkiError> {
    let protection = Protection {
        passphrase,
        permit_dns,
    };
    let device = DeviceCa::create_with(folder, &protection, now)?;
    let protection = Protection {
        passphrase,
        permit_dns: &[],
    };
    let server = ServerCa::create_with(folder, &protection, now)?;
    say(&format!(
        "wrote {} (listeners trust it: client_ca)",
        device.certificate_path().display()
    ));
    say(&format!(
        "wrote {} (revocation list: crl)",
        device.crl_path().display()
    ));
    say(&format!(
        "wrote {} (clients trust it: --ca)",
        server.certificate_path().display()
    ));
    Ok(())
}

fn server(
    ca: &ServerCa,
    hosts: &[String],
    out: &Path,
    replace: bool,
    now: SystemTime,
) -> Result<(), PkiError> {
    let made = ca.issue(hosts, now)?;
    let (certificate, key) = (out.join("server.pem"), out.join("server.key"));
    made.write_to(&certificate, &key, replace)?;
    say(&format!(
        "wrote {} and {}",
        certificate.display(),
        key.display()
    ));
    Ok(())
}

fn device_names(name: &str, names: &Names) -> Result<DeviceNames, PkiError> {
    Ok(DeviceNames::new(
        name,
        names.ou.as_deref(),
        &names.san_dns,
        &names.san_uri,
    )?)
}

impl Output {
    fn file(&self, name: &str, extension: &str) -> PathBuf {
        self.out.join(format!("{name}.{extension}"))
    }

    fn validity(&self, now: SystemTime) -> Validity {
        Validity {
            days: self.days,
            now,
        }
    }
}

fn write_pkcs12(
    issued: &Issued,
    ca: &DeviceCa,
    path: &Path,
    password: &Secret,
) -> Result<(), PkiError> {
    let password = std::str::from_utf8(password.expose())
        .map_err(|_| PkiError::Bundle("the password is not UTF-8".to_owned()))?;
    let bundle = issued.pkcs12(ca.certificate_pem(), password)?;
    files::create_new(path, &bundle, files::PRIVATE).map_err(|source| PkiError::File {
        path: path.to_owned(),
        source,
    })?;
    say(&format!("wrote {}", path.display()));
    Ok(())
}

/// Asked before anything is issued: what could not be handed over would be on record, and good, all the same.
fn check_places<'a>(
    folder: &Path,
    output: &Output,
    new: impl IntoIterator<Item = &'a PathBuf>,
) -> Result<(), PkiError> {
    files::create_folder(&output.out).map_err(|source| PkiError::File {
        path: output.out.clone(),
        source,
    })?;
    let mut taken = new
        .into_iter()
        .filter(|path| path.symlink_metadata().is_ok());
    if let Some(path) = taken.next() {
        return Err(PkiError::Exists(path.clone()));
    }
    trusted(folder, output).map(drop)
}

/// The server CA's certificate; what is in its place already is the same, or not ours to overwrite.
fn trusted(folder: &Path, output: &Output) -> Result<(PathBuf, String, bool), PkiError> {
    let trusted = ServerCa::certificate(folder)?;
    let path = output.out.join("ca.pem");
    match std::fs::read_to_string(&path) {
        Ok(there) if there == trusted => Ok((path, trusted, true)),
        Ok(_) => Err(PkiError::Exists(path)),
        Err(_) => Ok((path, trusted, false)),
    }
}

/// Writes certificate, key and `ca.pem`: what the device needs to trust the server.
fn hand_over(
    issued: &Issued,
    folder: &Path,
    output: &Output,
    renewed: bool,
) -> Result<(), PkiError> {
    for path in issued.write_to(&output.out, renewed)? {
        say(&format!("wrote {}", path.display()));
    }
    let (path, trusted, is_there) = trusted(folder, output)?;
    if !is_there {
        replace(&path, trusted.as_bytes())?;
        say(&format!("wrote {}", path.display()));
    }
    let record = &issued.record;
    say(&format!(
        "{} valid until {}, serial {}",
        record.name,
        date(record.not_after),
        record.serial
    ));
    Ok(())
}

fn list(records: &[Record], json: bool, now: SystemTime) -> Result<(), PkiError> {
    if json {
        let rows: Vec<_> = records.iter().map(|record| as_json(record, now)).collect();
        say(&format!("{:#}", serde_json::Value::Array(rows)));
        return Ok(());
    }
    let width = records
        .iter()
        .map(|record| record.name.chars().count())
        .max()
        .unwrap_or(0)
        .max(4);
    say(&format!(
        "{:width$}  {:32}  {:20}  STATE",
        "NAME", "SERIAL", "EXPIRY"
    ));
    for record in records {
        let state = record.state(now.into()).name();
        let expiry = date(record.not_after);
        say(&format!(
            "{:width$}  {:32}  {expiry:20}  {state}",
            record.name, record.serial
        ));
    }
    Ok(())
}

fn show(ca: &Records, which: &str, json: bool, now: SystemTime) -> Result<(), PkiError> {
    let records = ca.find(which)?;
    if json {
        let rows: Vec<_> = records.iter().map(|record| as_json(record, now)).collect();
        say(&format!("{:#}", serde_json::Value::Array(rows)));
        return Ok(());
    }
    for record in records {
        let serde_json::Value::Object(fields) = as_json(&record, now) else {
            continue;
        };
        for (name, value) in fields {
            if let Some(value) = as_text(&value) {
                say(&format!("{name:20} {value}"));
            }
        }
        say(ca.certificate_of(&record)?.trim_end());
    }
    Ok(())
}

/// For people: nothing where there is nothing.
fn as_text(value: &serde_json::Value) -> Option<String> {
    match value.as_array() {
        Some(values) => {
            let values: Vec<_> = values.iter().filter_map(as_text).collect();
            (!values.is_empty()).then(|| values.join(", "))
        }
        None => value.as_str().map(str::to_owned),
    }
}

fn as_json(record: &Record, now: SystemTime) -> serde_json::Value {
    let mut row = serde_json::json!({
        "name": record.name,
        "serial": record.serial,
        "expiry": date(record.not_after),
        "state": record.state(now.into()).name(),
        "fingerprint": record.fingerprint,
        "not_before": date(record.not_before),
        "issued": date(record.issued),
        "issued_by": record.issued_by,
        "organizational_unit": record.organizational_unit,
        "san_dns": record.san_dns,
        "san_uri": record.san_uri,
    });
    if let (Some(revoked), Some(row)) = (&record.revoked, row.as_object_mut()) {
        row.insert("revoked".to_owned(), date(revoked.at).into());
        row.insert("reason".to_owned(), serde_json::json!(revoked.reason));
    }
    row
}

fn date(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}

fn read(path: &Path) -> Result<Vec<u8>, PkiError> {
    std::fs::read(path).map_err(|source| PkiError::File {
        path: path.to_owned(),
        source,
    })
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), PkiError> {
    files::replace(path, bytes, files::PUBLIC).map_err(|source| PkiError::File {
        path: path.to_owned(),
        source,
    })
}

/// What a request says is the sender's text: one line, whatever it holds.
fn warn(line: &str) {
    let line: String = line
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    eprintln!("wardgate ca: {line}");
}

/// A reader that went away is no error of ours.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
#[path = "ca_tests.rs"]
mod tests;
