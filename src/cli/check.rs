//! `wardgate check`: everything that serving would need, judged without serving.

use super::serve::refuse;
use std::path::PathBuf;
use std::process::ExitCode;

/// Check configuration, certificates, policies and users without serving
///
/// Prints every problem as file:line:column: message. Warnings tell what starts and is hardly meant; they leave the exit code 0.
///
/// Example: wardgate check --config wardgate.yaml
#[derive(clap::Args)]
pub struct CheckArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "wardgate.yaml")]
    pub config: PathBuf,
}

pub fn run(arguments: &CheckArgs) -> ExitCode {
    let now = std::time::SystemTime::now();
    let checked = crate::config::check(&arguments.config, std::env::vars_os(), now);
    for warning in &checked.warnings {
        eprintln!("warning: {warning}");
    }
    if checked.problems.is_empty() {
        println!("{}: no problems", arguments.config.display());
        return ExitCode::SUCCESS;
    }
    refuse(&checked.problems)
}
