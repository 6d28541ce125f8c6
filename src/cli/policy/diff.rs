//! `wardgate policy diff`: who may do more, and who less, after a change.

use super::{WIDENS, refuse, say, source};
use crate::policy::{Policies, diff};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  wardgate policy diff /etc/wardgate/policies candidate/\n\nExit code 0: nothing is newly allowed. 3: something is."
)]
pub(super) struct DiffArgs {
    /// A policy file, or a folder of *.yaml
    old: PathBuf,
    /// A policy file, or a folder of *.yaml
    new: PathBuf,
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DiffArgs) -> ExitCode {
    let (old, new) = match (load(&args.old), load(&args.new)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(problems), _) | (_, Err(problems)) => return refuse(&problems),
    };
    let changes = diff(&old, &new);
    let widens = changes.iter().any(|change| change.cause.widens());
    if args.json {
        say(serde_json::json!({ "widens": widens, "changes": changes }));
    } else if changes.is_empty() {
        say("the same rights");
    } else {
        for change in &changes {
            say(change);
        }
    }
    match widens {
        true => ExitCode::from(WIDENS),
        false => ExitCode::SUCCESS,
    }
}

/// Assertions are not run: rights are compared as they stand.
fn load(path: &Path) -> Result<Policies, Vec<crate::problem::Problem>> {
    let files = source::read(&[path.to_owned()])?;
    Policies::parse_untested(&files).map(|(policies, _)| policies)
}
