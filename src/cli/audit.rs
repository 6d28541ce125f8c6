//! `wardgate audit`: the trail verified, followed and searched.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::config::Config;
use crate::problem::Problem;
use crate::telemetry::audit_log::{Verification, records, verify};

/// Verify, follow and search the audit log
#[derive(Args)]
#[command(
    after_help = "Example:\n  wardgate audit verify --config wardgate.yaml\n  wardgate audit query --config wardgate.yaml --outcome refused --username alice\n  wardgate audit tail --config wardgate.yaml --follow"
)]
pub struct AuditArgs {
    /// The configuration that names the folder
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "wardgate.yaml"
    )]
    config: PathBuf,
    /// The folder itself, instead of a configuration
    #[arg(long, global = true, value_name = "DIR")]
    folder: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Follow the chain of digests from the first line to the last
    #[command(after_help = "Example:\n  wardgate audit verify --config wardgate.yaml")]
    Verify {
        #[arg(long)]
        json: bool,
    },
    /// Show the last lines
    #[command(
        after_help = "Example:\n  wardgate audit tail --config wardgate.yaml --lines 20 --follow"
    )]
    Tail {
        /// How many
        #[arg(long, short = 'n', value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=100_000))]
        lines: u32,
        /// Go on with new lines as they are written
        #[arg(long, short)]
        follow: bool,
    },
    /// Show the lines that match everything asked
    #[command(
        after_help = "Example:\n  wardgate audit query --config wardgate.yaml --event publish --outcome refused --since 2026-01-31T08:00"
    )]
    Query(Box<Query>),
}

#[derive(Args)]
struct Query {
    /// authenticate, admit, publish, subscribe, …
    #[arg(long)]
    event: Option<String>,
    /// refused, permitted or failed
    #[arg(long)]
    outcome: Option<String>,
    #[arg(long)]
    username: Option<String>,
    #[arg(long)]
    client_id: Option<String>,
    #[arg(long)]
    ip: Option<String>,
    #[arg(long)]
    listener: Option<String>,
    #[arg(long)]
    topic: Option<String>,
    #[arg(long)]
    decision: Option<String>,
    /// From this time on, UTC, as far as written: 2026-01-31 or 2026-01-31T08:00
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// At most so many lines, the last ones
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
}

pub fn run(arguments: &AuditArgs) -> ExitCode {
    match execute(arguments) {
        Ok(code) => code,
        // Whoever reads us has read enough.
        Err(Failure::Io(_, error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("wardgate audit: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}: {1}")]
    Io(String, #[source] io::Error),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Configuration(Vec<Problem>),
}

fn execute(arguments: &AuditArgs) -> Result<ExitCode, Failure> {
    let folder = match &arguments.folder {
        Some(folder) => folder.clone(),
        None => Config::load(&arguments.config, std::env::vars_os())
            .map_err(Failure::Configuration)?
            .audit_folder(),
    };
    let unreadable = |error| Failure::Io(folder.display().to_string(), error);
    match &arguments.command {
        Command::Verify { json } => {
            let result = verify(&folder).map_err(unreadable)?;
            show(&result, *json).map_err(|error| Failure::Io("standard output".into(), error))?;
            Ok(if result.problems.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Command::Tail { lines, follow } => {
            let last = search(&folder, *lines, |_| true).map_err(unreadable)?;
            let mut seen =
                print(&last).map_err(|error| Failure::Io("standard output".into(), error))?;
            if !follow {
                return Ok(ExitCode::SUCCESS);
            }
            loop {
                std::thread::sleep(Duration::from_millis(500));
                let news = search(&folder, u32::MAX, |fields| sequence(fields) > seen)
                    .map_err(unreadable)?;
                seen = seen.max(
                    print(&news).map_err(|error| Failure::Io("standard output".into(), error))?,
                );
            }
        }
        Command::Query(query) => {
            let found =
                search(&folder, query.limit, |fields| query.matches(fields)).map_err(unreadable)?;
            print(&found).map_err(|error| Failure::Io("standard output".into(), error))?;
            Ok(if found.is_empty() {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            })
        }
    }
}

/// The last `limit` lines that match.
fn search(
    folder: &std::path::Path,
    limit: u32,
    matches: impl Fn(&Value) -> bool,
) -> io::Result<Vec<(u64, String)>> {
    let mut found = std::collections::VecDeque::new();
    for entry in records(folder)? {
        let entry = entry?;
        let Some(fields) = entry.fields().filter(|fields| matches(fields)) else {
            continue;
        };
        if found.len() >= limit as usize {
            found.pop_front();
        }
        if limit > 0 {
            found.push_back((sequence(&fields), entry.text));
        }
    }
    Ok(found.into())
}

fn sequence(fields: &Value) -> u64 {
    fields.get("sequence").and_then(Value::as_u64).unwrap_or(0)
}

/// The sequence number of the last line printed.
fn print(lines: &[(u64, String)]) -> io::Result<u64> {
    let mut out = io::stdout().lock();
    for (_, line) in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(lines.last().map_or(0, |(sequence, _)| *sequence))
}

fn show(result: &Verification, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        let problems: Vec<String> = result.problems.iter().map(ToString::to_string).collect();
        let value = serde_json::json!({
            "records": result.records, "first": result.first, "last": result.last, "digest": result.digest, "problems": problems,
        });
        return writeln!(out, "{value}");
    }
    for problem in &result.problems {
        writeln!(out, "{problem}")?;
    }
    let (first, last) = (result.first.unwrap_or(0), result.last.unwrap_or(0));
    let verdict = if result.problems.is_empty() {
        "the chain is whole"
    } else {
        "the chain is broken"
    };
    writeln!(
        out,
        "{} records, {first} to {last}: {verdict}",
        result.records
    )?;
    if first > 1 {
        writeln!(
            out,
            "records before {first} are gone: rotated away, or removed"
        )?;
    }
    writeln!(out, "digest of the last: {}", result.digest)
}

impl Query {
    fn matches(&self, fields: &Value) -> bool {
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let same = |name: &str, wanted: &Option<String>| {
            wanted
                .as_deref()
                .is_none_or(|wanted| text(name) == Some(wanted))
        };
        let time = text("time").unwrap_or_default();
        // Times of one form compare as text.
        let after = self.since.as_deref().is_none_or(|since| time >= since);
        let before = self.until.as_deref().is_none_or(|until| time < until);
        after
            && before
            && same("event", &self.event)
            && same("outcome", &self.outcome)
            && same("username", &self.username)
            && same("client_id", &self.client_id)
            && same("ip", &self.ip)
            && same("listener", &self.listener)
            && same("topic", &self.topic)
            && same("decision", &self.decision)
    }
}
