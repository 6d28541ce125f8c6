//! `wardgate policy learn` and `replay`: policies against what the audit log recorded.

use super::{REFUSED, WIDENS, complain, refuse, say, source};
use crate::policy::{Learner, Observation, Policies, Replay};
use crate::problem::Problem;
use clap::Args;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// An audit line is far shorter; a longer one is no audit line.
const LONGEST_LINE: u64 = 1 << 20;

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  wardgate policy learn --from data/audit > candidate.yaml\n\nThe log does not tell claims or certificate fields: the policy names users."
)]
pub(super) struct LearnArgs {
    /// Audit files, or folders of them
    #[arg(long, value_name = "AUDIT", num_args = 1.., required = true)]
    from: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  wardgate policy replay --from data/audit --policies candidate/\n\nExit code 0: every decision would be the same. 1: something would be refused that was permitted. 3: something would be permitted that was refused."
)]
pub(super) struct ReplayArgs {
    /// Audit files, or folders of them
    #[arg(long, value_name = "AUDIT", num_args = 1.., required = true)]
    from: Vec<PathBuf>,
    /// The policies to try: files, or folders of *.yaml
    #[arg(long, value_name = "CANDIDATE", num_args = 1.., required = true)]
    policies: Vec<PathBuf>,
    #[arg(long)]
    json: bool,
}

pub(super) fn learn(args: &LearnArgs) -> ExitCode {
    let mut learner = Learner::default();
    if let Err(problem) = observe(&args.from, |observation| learner.observe(&observation)) {
        return refuse(&[problem]);
    }
    if learner.is_empty() {
        complain("no decision about a topic in these files");
        return ExitCode::from(REFUSED);
    }
    let learned = learner.learn();
    say(learned.yaml.trim_end());
    for skipped in &learned.skipped {
        complain(format_args!("left out: {skipped}"));
    }
    ExitCode::SUCCESS
}

pub(super) fn replay(args: &ReplayArgs) -> ExitCode {
    let policies = match source::read(&args.policies).and_then(|files| Policies::parse(&files)) {
        Ok(policies) => Arc::new(policies),
        Err(problems) => return refuse(&problems),
    };
    let untold = policies.asks_beyond_audit();
    if !untold.is_empty() {
        complain(format_args!(
            "these policies ask for {}, of which the audit log tells at most a certificate's common name: the rest is taken for missing",
            untold.join(", ")
        ));
    }
    let mut replay = Replay::new(policies);
    let (mut judged, mut permitted, mut refused) = (0_u64, 0_u64, 0_u64);
    let mut of_tokens = 0_u64;
    let outcome = observe(&args.from, |observation| {
        if observation.is_of_token() {
            of_tokens = of_tokens.saturating_add(1);
            return Ok(());
        }
        judged = judged.saturating_add(1);
        if let Some(reversal) = replay.judge(observation) {
            let explanation = &reversal.explanation;
            let count = if explanation.allowed {
                &mut permitted
            } else {
                &mut refused
            };
            *count = count.saturating_add(1);
            if args.json {
                say(serde_json::json!({
                    "decision": reversal.observation.decision,
                    "permitted": reversal.observation.permitted,
                    "rule": reversal.observation.rule,
                    "explanation": explanation,
                }));
            } else {
                let decision = reversal.observation.decision.as_deref().unwrap_or("-");
                let sign = if explanation.allowed { '+' } else { '-' };
                let subject = &explanation.subject;
                say(format_args!(
                    "{sign} {decision} {} by {:?} ({}): {}",
                    reversal.observation.attempt,
                    subject.username,
                    subject.auth,
                    explanation.reason
                ));
            }
        }
        Ok(())
    });
    if let Err(problem) = outcome {
        return refuse(&[problem]);
    }
    if of_tokens > 0 {
        complain(format_args!(
            "{of_tokens} decisions were those of lists in tokens, which the audit log does not have: left out"
        ));
    }
    complain(format_args!(
        "{judged} decisions: {permitted} would newly be permitted, {refused} newly refused"
    ));
    match (permitted, refused) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(REFUSED),
        (_, _) => ExitCode::from(WIDENS),
    }
}

/// Line by line, so that a long log needs no memory.
fn observe(
    paths: &[PathBuf],
    mut each: impl FnMut(Observation) -> Result<(), String>,
) -> Result<(), Problem> {
    for path in paths {
        for file in files(path)? {
            let unreadable = |error: std::io::Error| Problem::whole(&file, error.to_string());
            let mut reader = BufReader::new(fs::File::open(&file).map_err(unreadable)?);
            for number in 1.. {
                let mut line = String::new();
                let length = reader
                    .by_ref()
                    .take(LONGEST_LINE)
                    .read_line(&mut line)
                    .map_err(unreadable)?;
                if length == 0 {
                    break;
                }
                let told = |message: String| Problem::new(&file, number, 1, message);
                // The last line of a log in use may not be whole yet.
                if !line.ends_with('\n') && Observation::read(&line).is_err() {
                    break;
                }
                if let Some(observation) = Observation::read(&line).map_err(told)? {
                    each(observation).map_err(told)?;
                }
            }
        }
    }
    Ok(())
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Problem> {
    let unreadable = |error: std::io::Error| Problem::whole(path, error.to_string());
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if file.is_file() {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}
