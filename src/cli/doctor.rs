//! `wardgate doctor`: what is exposed, weak or about to end, before an attacker tells. Contract section 1.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use crate::config::Config;
use crate::config::doctor::{Finding, Grade};

/// Tell what is exposed, weak or about to end, and what happens when something fails
///
/// Findings are serious, warnings or notes. Exit code 0: nothing serious. 1: something is, or the configuration does not load.
///
/// Example: wardgate doctor --config wardgate.yaml
#[derive(clap::Args)]
pub struct DoctorArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "wardgate.yaml")]
    config: PathBuf,
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &DoctorArgs) -> ExitCode {
    let findings = findings(arguments);
    let shown = match arguments.json {
        true => show_json(&findings),
        false => show(&findings),
    };
    if let Err(error) = shown
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        eprintln!("wardgate doctor: {error}");
        return ExitCode::FAILURE;
    }
    match count(&findings, Grade::Serious) {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn findings(arguments: &DoctorArgs) -> Vec<Finding> {
    match Config::load(&arguments.config, std::env::vars_os()) {
        Ok(config) => config.examine(&arguments.config, SystemTime::now()),
        Err(problems) => problems
            .into_iter()
            .map(|problem| Finding {
                grade: Grade::Serious,
                check: "configuration",
                at: format!(
                    "{}:{}:{}",
                    problem.file.display(),
                    problem.line,
                    problem.column
                ),
                found: problem.message,
                advice: Some("nothing else can be judged until the configuration loads"),
            })
            .collect(),
    }
}

fn show_json(findings: &[Finding]) -> io::Result<()> {
    let document = serde_json::json!({
        "serious": count(findings, Grade::Serious),
        "warnings": count(findings, Grade::Warning),
        "notes": count(findings, Grade::Note),
        "findings": findings,
    });
    writeln!(io::stdout().lock(), "{document}")
}

fn show(findings: &[Finding]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for finding in findings {
        let grade = match finding.grade {
            Grade::Serious => "SERIOUS",
            Grade::Warning => "warning",
            Grade::Note => "note   ",
        };
        writeln!(out, "{grade}  {}", finding.at)?;
        writeln!(out, "         {}", finding.found)?;
        if let Some(advice) = finding.advice {
            writeln!(out, "         do: {advice}")?;
        }
    }
    writeln!(
        out,
        "{} serious, {} warnings, {} notes",
        count(findings, Grade::Serious),
        count(findings, Grade::Warning),
        count(findings, Grade::Note)
    )
}

fn count(findings: &[Finding], grade: Grade) -> usize {
    findings
        .iter()
        .filter(|finding| finding.grade == grade)
        .count()
}
