//! `wardgate policy test`: assertions, and why one does not hold.

use super::{REFUSED, complain, refuse, say, source};
use crate::policy::Policies;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  wardgate policy test policies/ more-tests.yaml\n\nPolicies and assertions may stand in the same files or in different ones; all files given are one set."
)]
pub(super) struct TestArgs {
    /// Files with policies, assertions or both, or folders of *.yaml
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print failures as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &TestArgs) -> ExitCode {
    let read = source::read(&args.files).and_then(|files| Policies::parse_untested(&files));
    let (policies, assertions) = match read {
        Ok((policies, assertions)) => (Arc::new(policies), assertions),
        Err(problems) => return refuse(&problems),
    };
    let attempts: usize = assertions.iter().map(|one| one.attempts()).sum();
    if attempts == 0 {
        complain("no assertions in these files");
        return ExitCode::from(REFUSED);
    }
    let mut failing = 0_usize;
    for failure in policies.failures(&assertions) {
        failing = failing.saturating_add(1);
        let explanation = policies.compile(&failure.subject).explain(&failure.attempt);
        if args.json {
            say(serde_json::json!({
                "file": failure.file,
                "line": failure.line,
                "column": failure.column,
                "expected": if failure.expected_allow { "allow" } else { "deny" },
                "explanation": explanation,
            }));
        } else {
            say(format_args!("{failure}\n{explanation}"));
        }
    }
    if failing > 0 {
        complain(format_args!(
            "{failing} of {attempts} assertions do not hold"
        ));
        return ExitCode::from(REFUSED);
    }
    if !args.json {
        say(format_args!("{attempts} assertions hold"));
    }
    ExitCode::SUCCESS
}
