//! What `pub`, `sub` and `bench` are told about the server and about themselves.

use crate::client::io::{
    Connection, ConnectionError, DialError, Target, TlsFiles, TlsSetupError, dial,
};
use crate::client::{Client, Options};
use crate::mqtt::{
    ConnAck, Connect, ConnectProperties, InvalidText, ProtocolVersion, QoS, ReasonCode, Text,
    UserProperties,
};
use crate::units::Period;
use bytes::Bytes;
use clap::Args;
use std::fmt;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

#[derive(Args, Clone, Debug)]
pub(super) struct ClientArguments {
    /// Where to connect: mqtt://, mqtts://, ws:// or wss://, host, and port and path where they differ from the usual ones
    #[arg(long, default_value = "mqtts://localhost:8883")]
    pub(super) url: Target,
    /// Client identifier; without one the server chooses
    #[arg(long, default_value = "", value_parser = text)]
    pub(super) client_id: Text,
    #[arg(long, value_parser = text)]
    pub(super) username: Option<Text>,
    /// Read the password from the first line of standard input
    #[arg(long, requires = "username")]
    pub(super) password_stdin: bool,
    /// Certificate authorities that may have signed the server's certificate, PEM [default: those the system trusts]
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// Own certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(super) cert: Option<PathBuf>,
    /// Private key of the certificate, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(super) key: Option<PathBuf>,
    /// 3.1, 3.1.1 or 5
    #[arg(long, value_name = "VERSION", default_value = "5", value_parser = version)]
    pub(super) mqtt_version: ProtocolVersion,
    /// How often to say something when there is nothing to say, such as 60s
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub(super) keep_alive: Period,
    /// How long to wait for the connection and for each answer
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub(super) connect_timeout: Period,
}

/// Why a command could not do what it was asked: one line for the terminal.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Dial(#[from] DialError),
    #[error("no connection to {0} in time")]
    DialTimeout(String),
    #[error("{0}")]
    Tls(#[from] TlsSetupError),
    #[error("{0}")]
    Connection(#[from] ConnectionError),
    #[error("standard input: {0}")]
    Input(#[source] std::io::Error),
    #[error("standard output: {0}")]
    Output(#[source] std::io::Error),
    #[error("the server refused {what}: {reason}")]
    Refused { what: String, reason: Reason },
    #[error("{0}")]
    Other(String),
}

/// A reason code as people read it: `Not authorized (0x87)`, and what the server added.
#[derive(Debug)]
pub(super) struct Reason {
    pub(super) code: ReasonCode,
    pub(super) text: Option<Text>,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02X})", self.code.name(), self.code.byte())?;
        match &self.text {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

impl ClientArguments {
    /// The first line of standard input, when that is where the password comes from.
    pub(super) fn password(&self) -> Result<Option<Bytes>, Failure> {
        if !self.password_stdin {
            return Ok(None);
        }
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        if read.map_err(Failure::Input)? == 0 {
            return Err(Failure::Other("no password on standard input".to_owned()));
        }
        Ok(Some(Bytes::from(
            line.trim_end_matches(['\r', '\n']).to_owned(),
        )))
    }

    pub(super) fn tls_files(&self) -> TlsFiles {
        TlsFiles {
            ca: self.ca.clone(),
            certificate: self.cert.clone(),
            private_key: self.key.clone(),
        }
    }

    pub(super) fn connect(&self, password: Option<Bytes>) -> Connect {
        Connect {
            protocol_version: self.mqtt_version,
            bridge: false,
            clean_start: true,
            keep_alive: u16::try_from(self.keep_alive.as_secs_u32()).unwrap_or(u16::MAX),
            client_identifier: self.client_id.clone(),
            will: None,
            username: self.username.clone(),
            password,
            properties: ConnectProperties::default(),
        }
    }

    /// Dials and connects.
    pub(super) async fn open(&self, connect: Connect) -> Result<(Connection, ConnAck), Failure> {
        let tls = match self.url.scheme.is_secure() {
            true => Some(self.tls_files().build()?),
            false => None,
        };
        let timeout = self.connect_timeout.get();
        let dialled = tokio::time::timeout(timeout, dial(&self.url, tls.as_ref())).await;
        let stream = dialled.map_err(|_| Failure::DialTimeout(self.url.to_string()))??;
        let options = Options {
            response_timeout: timeout,
            ..Options::default()
        };
        let client = Client::new(connect, options, Instant::now());
        Ok(Connection::open(client, stream).await?)
    }
}

pub(super) fn text(value: &str) -> Result<Text, InvalidText> {
    Text::try_from(value)
}

pub(super) fn qos(value: &str) -> Result<QoS, String> {
    let bits = value.parse().ok().and_then(QoS::from_bits);
    bits.ok_or_else(|| "QoS is 0, 1 or 2".to_owned())
}

pub(super) fn version(value: &str) -> Result<ProtocolVersion, String> {
    match value {
        "3.1" | "31" | "3" => Ok(ProtocolVersion::V3_1),
        "3.1.1" | "311" | "4" => Ok(ProtocolVersion::V3_1_1),
        "5" | "5.0" => Ok(ProtocolVersion::V5_0),
        _ => Err("the versions are 3.1, 3.1.1 and 5".to_owned()),
    }
}

/// `NAME=VALUE`
pub(super) fn user_property(value: &str) -> Result<(Text, Text), String> {
    let (name, value) = value
        .split_once('=')
        .ok_or("a user property is NAME=VALUE")?;
    let text = |part: &str| Text::try_from(part).map_err(|error| error.to_string());
    Ok((text(name)?, text(value)?))
}

/// MQTT 3 has no properties to carry them.
pub(super) fn only_in_v5(version: ProtocolVersion, given: &[(&str, bool)]) -> Result<(), Failure> {
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) if !version.is_v5() => {
            Err(Failure::Other(format!("{name} needs --mqtt-version 5")))
        }
        Some(_) | None => Ok(()),
    }
}

pub(super) fn user_properties_json(properties: &UserProperties) -> serde_json::Value {
    let pairs = properties
        .iter()
        .map(|(name, value)| [name.as_str(), value.as_str()].into());
    serde_json::Value::Array(pairs.collect())
}

pub(super) fn print_line(line: &serde_json::Value) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{line}").and_then(|()| out.flush());
    written.map_err(Failure::Output)
}

/// Runs a client command on this thread and tells the terminal how it ended.
pub(super) fn run(command: &str, work: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = runtime
        .map_err(Failure::Input)
        .and_then(|runtime| runtime.block_on(work));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("wardgate {command}: {failure}");
            ExitCode::FAILURE
        }
    }
}
