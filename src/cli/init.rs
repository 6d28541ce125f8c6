//! `wardgate init`: the files of a first run, without serving.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::first_run::{self, ACCOUNT, CONFIGURATION, DEVICE};

/// Make a folder with certificates, an account, policies and a configuration
///
/// Refuses to overwrite anything.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  wardgate init --dir wardgate-data\n  wardgate serve --config wardgate-data/wardgate.yaml"
)]
pub struct InitArgs {
    /// The folder
    #[arg(long, value_name = "DIR", default_value = "wardgate-data")]
    pub dir: PathBuf,
    /// The address that the listeners bind to
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub bind: IpAddr,
    /// Add a plaintext listener with passwords on 127.0.0.1:1883
    #[arg(long)]
    pub plain: bool,
}

pub fn run(arguments: &InitArgs) -> ExitCode {
    match first_run::make(&arguments.dir, arguments.bind, arguments.plain) {
        Ok(made) => {
            print!("{}", told(&arguments.dir, &made.password));
            let configuration = arguments.dir.join(CONFIGURATION);
            println!(
                "\nNext: wardgate serve --config {}",
                configuration.display()
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("wardgate init: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What was made, and the password that is shown this once.
pub(super) fn told(dir: &Path, password: &str) -> String {
    let dir = dir.display();
    format!(
        "Made {dir}:\n  {CONFIGURATION}          listeners, identity, policies, all commented\n  policies/              who may do what\n  ca/                    the device CA: wardgate ca issue NAME --dir {dir}\n  \
         devices/{DEVICE}.*  a certificate to try with\n  users.yaml             accounts, as argon2id hashes\n\n\
         Account {ACCOUNT}, password {password}\n(shown only now; `wardgate user passwd --file {dir}/users.yaml {ACCOUNT}` sets another)\n"
    )
}
