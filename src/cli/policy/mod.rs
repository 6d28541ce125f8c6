//! `wardgate policy`: check, explain, test, compare, import and learn policies, without a running broker.

mod audit;
mod check;
mod diff;
mod explain;
mod import;
mod recorded;
mod source;
mod subject;
mod test;

use crate::problem::Problem;
use clap::{Args, Subcommand};
use std::io::Write;
use std::process::ExitCode;

/// Check, explain, test, compare, import and learn policies
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  wardgate policy check policies/\n  wardgate policy explain --config wardgate.yaml --username pump-7 --client-id pump-7 --publish telemetry/pump-7/x"
)]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read policies and tell every problem in them
    Check(check::CheckArgs),
    /// Tell whether somebody may do something, and why
    Explain(Box<explain::ExplainArgs>),
    /// Run the assertions in policy and test files
    Test(test::TestArgs),
    /// Tell what a change newly allows and newly denies
    Diff(diff::DiffArgs),
    /// Write Mosquitto's access control list as policies
    Import(import::ImportArgs),
    /// Write the least policy that permits what the audit log says was permitted
    Learn(audit::LearnArgs),
    /// Tell which recorded decisions other policies would change
    Replay(audit::ReplayArgs),
}

/// Exit codes: 0 yes, 1 no or failed, 2 wrong usage.
pub fn run(args: PolicyArgs) -> ExitCode {
    match args.command {
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Learn(args) => audit::learn(&args),
        Command::Replay(args) => audit::replay(&args),
    }
}

const REFUSED: u8 = 1;
/// `diff`: somebody may do more than before.
const WIDENS: u8 = 3;

/// To standard output; a reader that went away is no failure.
fn say(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// To standard error.
fn complain(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

fn refuse(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        complain(problem);
    }
    ExitCode::from(REFUSED)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        policy: PolicyArgs,
    }

    fn exit(line: &str) -> ExitCode {
        let words = std::iter::once("policy").chain(line.split_whitespace());
        run(Line::try_parse_from(words).unwrap().policy)
    }

    #[test]
    fn exit_codes_tell_yes_and_no() {
        let folder = std::env::temp_dir().join(format!("wardgate-policy-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("empty")).unwrap();
        std::fs::write(
            folder.join("claims.json"),
            r#"{"tenant": "acme", "sub": "robot"}"#,
        )
        .unwrap();
        let config = folder.join("wardgate.yaml");
        let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");
        std::fs::write(&config, format!("node: a\npolicies: [{samples}]\n")).unwrap();
        let folder = folder.display().to_string();
        let less = format!("{folder}/less.yaml");
        let more = format!("{folder}/more.yaml");
        let one = "version: 1\npolicies: [{id: a, who: {auth: jwt}, allow: [{publish: a/b}]}]\n";
        std::fs::write(&less, one).unwrap();
        std::fs::write(&more, one.replace("a/b", "a/+")).unwrap();
        let acl = format!("{folder}/acl");
        std::fs::write(&acl, "user alice\ntopic home/#\n").unwrap();
        let log = format!("{folder}/audit.log");
        let line = r#"{"event":"publish","outcome":"permitted","username":"u","method":"jwt","action":"publish","topic":"a/b"}"#;
        std::fs::write(&log, format!("{line}\n{line}\n{{\"half")).unwrap();
        let none = format!("{folder}/none.yaml");
        std::fs::write(&none, one.replace("a/b", "z")).unwrap();
        let wider = ExitCode::from(WIDENS);
        let yes = ExitCode::SUCCESS;
        let no = ExitCode::from(REFUSED);
        let rows = [
            (format!("check {samples}"), yes),
            (format!("check {folder}/empty"), no),
            (format!("check {folder}/missing"), no),
            (format!("check {folder}/claims.json"), no),
            (format!("test {samples}"), yes),
            (format!("test {samples} --json"), yes),
            (format!("test {folder}/wardgate.yaml"), no),
            (format!("import --from-mosquitto {acl}"), yes),
            (format!("import --from-mosquitto {log}"), no),
            (format!("learn --from {log}"), yes),
            (format!("learn --from {acl}"), no),
            (format!("replay --from {log} --policies {less}"), yes),
            (format!("replay --from {log} --policies {none} --json"), no),
            (
                format!("replay --from {folder}/missing --policies {less}"),
                no,
            ),
            (format!("diff {samples} {samples}"), yes),
            (format!("diff {less} {more}"), wider),
            (format!("diff {more} {less} --json"), yes),
            (format!("diff {more} {folder}/missing"), no),
            (
                format!(
                    "explain --policies {samples} --claims {folder}/claims.json --client-id arm publish tenants/acme/arm/x"
                ),
                yes,
            ),
            (
                format!(
                    "explain --policies {samples} --claims {folder}/claims.json --client-id arm publish tenants/acme/other/x"
                ),
                no,
            ),
            (
                format!(
                    "explain --config {folder}/wardgate.yaml --username admin --group admins subscribe # --qos 2 --json"
                ),
                yes,
            ),
            (
                format!(
                    "explain --config {folder}/wardgate.yaml --username admin publish x --retain"
                ),
                no,
            ),
            (
                format!("explain --config {folder}/wardgate.yaml --username admin publish x/#"),
                no,
            ),
            (
                format!("explain --config {folder}/wardgate.yaml --auth nothing publish x"),
                no,
            ),
        ];
        for (line, expected) in rows {
            assert_eq!(exit(&line), expected, "{line}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
