//! The commands, one file each. Contract section 1.

mod audit;
mod bench;
pub mod ca;
mod check;
mod client_arguments;
pub mod ctl;
mod doctor;
mod first_run;
mod init;
mod notify;
mod password;
pub mod policy;
mod publish;
mod quickstart;
mod serve;
mod store;
mod subscribe;
pub mod user;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use std::process::ExitCode;

/// A security-first MQTT broker
#[derive(Parser)]
#[command(name = "wardgate", version, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Quickstart(quickstart::QuickstartArgs),
    Init(init::InitArgs),
    Serve(serve::ServeArgs),
    Check(check::CheckArgs),
    Doctor(doctor::DoctorArgs),
    Audit(audit::AuditArgs),
    Ca(ca::CaArgs),
    User(user::UserArgs),
    Policy(policy::PolicyArgs),
    Store(store::StoreArgs),
    Ctl(Box<ctl::CtlArgs>),
    #[command(name = "pub")]
    Publish(Box<publish::Arguments>),
    #[command(name = "sub")]
    Subscribe(Box<subscribe::Arguments>),
    Bench(Box<bench::Arguments>),
    /// Print completions for a shell
    ///
    /// Example: wardgate completions bash > /etc/bash_completion.d/wardgate
    Completions {
        shell: Shell,
    },
}

/// Done: 0. Refused or failed: 1. Wrong usage: 2, which is clap's own.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Quickstart(arguments) => quickstart::run(&arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Ca(arguments) => ca::run(&arguments),
        Command::User(arguments) => user::run(&arguments),
        Command::Policy(arguments) => policy::run(arguments),
        Command::Store(arguments) => store::run(&arguments),
        Command::Ctl(arguments) => ctl::run(*arguments),
        Command::Publish(arguments) => publish::run(*arguments),
        Command::Subscribe(arguments) => subscribe::run(*arguments),
        Command::Bench(arguments) => bench::run(*arguments),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Cli::command(),
                "wardgate",
                &mut std::io::stdout(),
            );
            ExitCode::SUCCESS
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_agree_with_themselves() {
        Cli::command().debug_assert();
    }
}
