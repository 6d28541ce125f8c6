//! `wardgate policy import`: other brokers' access control lists as policies.

use super::{REFUSED, complain, refuse, say, source};
use crate::policy::{from_mosquitto, method};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  wardgate policy import --from-mosquitto /etc/mosquitto/acl > policies/imported.yaml\n\nBoth are then asked the same questions; where they answer differently the policy is the stricter one, the difference is told, and the exit code is 1."
)]
pub(super) struct ImportArgs {
    /// The file named by Mosquitto's `acl_file`
    #[arg(long, value_name = "ACLFILE", required = true)]
    from_mosquitto: PathBuf,
    /// How the users of the list prove their names here
    #[arg(long, value_name = "METHOD", default_value = "password")]
    auth: Vec<String>,
}

pub(super) fn run(args: &ImportArgs) -> ExitCode {
    let methods: Option<Vec<_>> = args.auth.iter().map(|name| method(name)).collect();
    let Some(methods) = methods else {
        complain(format_args!("unknown method among {:?}", args.auth));
        return ExitCode::from(REFUSED);
    };
    let file = &args.from_mosquitto;
    let imported = source::read_file(file)
        .map_err(|problem| vec![problem])
        .and_then(|text| from_mosquitto(file, &text, &methods));
    match imported {
        Ok(imported) => {
            say(imported.yaml.trim_end());
            for difference in &imported.differences {
                complain(difference);
            }
            match imported.differences.is_empty() {
                true => {
                    complain(format_args!(
                        "both answer alike to {} questions",
                        imported.probes
                    ));
                    ExitCode::SUCCESS
                }
                false => ExitCode::from(REFUSED),
            }
        }
        Err(problems) => refuse(&problems),
    }
}
