//! `wardgate quickstart`: a broker with certificates, an account and policies in one command.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::first_run::{self, ACCOUNT, CONFIGURATION, DEVICE, FirstRun};
use super::{init, serve};
use crate::broker::Running;
use crate::config::Config;
use crate::net::Transport;

/// Make what is missing on the first run, then serve
///
/// Later runs serve what is there and change nothing.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  wardgate quickstart\n  wardgate quickstart --dir /srv/wardgate --bind 0.0.0.0"
)]
pub struct QuickstartArgs {
    /// The folder
    #[arg(long, value_name = "DIR", default_value = "wardgate-data")]
    pub dir: PathBuf,
    /// The address that the listeners bind to; counts on the first run
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub bind: IpAddr,
    /// Add a plaintext listener with passwords on 127.0.0.1:1883; counts on the first run
    #[arg(long)]
    pub plain: bool,
    /// Write {"listener-name": port, …} here once ready
    #[arg(long, value_name = "FILE")]
    pub port_file: Option<PathBuf>,
}

pub fn run(arguments: &QuickstartArgs) -> ExitCode {
    let file = arguments.dir.join(CONFIGURATION);
    let made = if file.exists() {
        None
    } else {
        match first_run::make(&arguments.dir, arguments.bind, arguments.plain) {
            Ok(made) => Some(made),
            Err(error) => {
                eprintln!("wardgate quickstart: {error}");
                return ExitCode::FAILURE;
            }
        }
    };
    // Told before anything can fail: nobody could find it out later.
    match &made {
        Some(FirstRun { password }) => print!("{}", init::told(&arguments.dir, password)),
        None => println!("Serving {} as it is.", file.display()),
    }
    let config = match Config::load(&file, std::env::vars_os()) {
        Ok(config) => config,
        Err(problems) => return serve::refuse(&problems),
    };
    if arguments.plain && made.is_none() && !config.listeners.contains_key("mqtt") {
        println!(
            "--plain counts on the first run only; add a listener to {} instead.",
            file.display()
        );
    }
    let password = made.as_ref().map(|made| made.password.as_str());
    let told = config.clone();
    serve::serve(config, &file, arguments.port_file.as_deref(), |running| {
        print!("{}", commands(&arguments.dir, &told, running, password));
    })
}

/// Commands to paste, for the listeners that are there.
fn commands(dir: &Path, config: &Config, running: &Running, password: Option<&str>) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let addresses = running.addresses();
    for (name, listener) in &config.listeners {
        let Some(address) = addresses.get(name) else {
            continue;
        };
        let place = Place {
            dir,
            address: *address,
            password: password.unwrap_or("YOUR-PASSWORD"),
        };
        let _ = match (listener.transport, &listener.tls) {
            (Transport::Tcp, Some(_)) if name == "mqtts" => write!(out, "{}", place.over_tls()),
            (Transport::Websocket, Some(_)) => write!(out, "{}", place.over_wss()),
            (Transport::Tcp, None) => write!(out, "{}", place.plain()),
            (Transport::Tcp, Some(_)) | (Transport::Websocket, None) => Ok(()),
        };
    }
    let _ = writeln!(out, "\nStop with Ctrl-C.");
    out
}

/// Where the commands go and whom they name.
struct Place<'a> {
    dir: &'a Path,
    address: SocketAddr,
    password: &'a str,
}

impl Place<'_> {
    /// The name in the server's certificate that leads here.
    fn host(&self) -> String {
        match self.address.ip() {
            ip if ip.is_loopback() || ip.is_unspecified() => "localhost".into(),
            ip => ip.to_string(),
        }
    }

    fn over_tls(&self) -> String {
        let (host, port) = (self.host(), self.address.port());
        let dir = quoted(&self.dir.display().to_string());
        let password = self.password;
        let device = format!(
            "--cafile {dir}/devices/ca.pem --cert {dir}/devices/{DEVICE}.pem --key {dir}/devices/{DEVICE}.key"
        );
        let ours = format!("--url mqtts://{host}:{port} --ca {dir}/devices/ca.pem");
        let own = format!("--cert {dir}/devices/{DEVICE}.pem --key {dir}/devices/{DEVICE}.key");
        format!(
            "\nTry it, each line in a terminal of its own. Watch as {ACCOUNT}:\n\
             mosquitto_sub -h {host} -p {port} --cafile {dir}/devices/ca.pem -u {ACCOUNT} -P '{password}' -i {ACCOUNT}:watch -t 'telemetry/#' -v\n\
             echo '{password}' | wardgate sub {ours} --username {ACCOUNT} --password-stdin --client-id {ACCOUNT}:look --topic 'telemetry/#'\n\
             \nPublish as the device, with its certificate and no password:\n\
             mosquitto_pub -h {host} -p {port} {device} -i {DEVICE} -q 1 -t telemetry/{DEVICE}/temperature -m 21.5\n\
             wardgate pub {ours} {own} --client-id {DEVICE} --qos 1 --topic telemetry/{DEVICE}/temperature --message 21.5\n"
        )
    }

    fn over_wss(&self) -> String {
        let (host, port) = (self.host(), self.address.port());
        let dir = quoted(&self.dir.display().to_string());
        let password = self.password;
        format!(
            "\nOver a WebSocket, as browsers do:\n\
             echo '{password}' | wardgate sub --url wss://{host}:{port}/mqtt --ca {dir}/devices/ca.pem --username {ACCOUNT} --password-stdin --client-id {ACCOUNT}:web --topic 'telemetry/#'\n"
        )
    }

    fn plain(&self) -> String {
        let (ip, port) = (self.address.ip(), self.address.port());
        let password = self.password;
        format!(
            "\nWithout TLS, on this machine only:\n\
             mosquitto_sub -h {ip} -p {port} -u {ACCOUNT} -P '{password}' -i {ACCOUNT}:plain -t 'telemetry/#' -v\n"
        )
    }
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.into();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
