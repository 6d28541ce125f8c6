//! `wardgate policy check`: every problem as `file:line:column: message`.

use super::{complain, refuse, say, source};
use crate::policy::Policies;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wardgate policy check policies/")]
pub(super) struct CheckArgs {
    /// Policy files, or folders of *.yaml; all of them are one set
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let policies = source::read(&args.paths).and_then(|files| Policies::parse(&files));
    match policies {
        Ok(policies) => {
            for warning in policies.warnings() {
                complain(format_args!("warning: {warning}"));
            }
            say(format_args!("{} policies, no problem", policies.len()));
            ExitCode::SUCCESS
        }
        Err(problems) => refuse(&problems),
    }
}
