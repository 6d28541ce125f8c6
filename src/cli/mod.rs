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
use std::io::{self, Write};
use std::process::ExitCode;

/// A security-first MQTT broker
#[derive(Parser)]
#[command(
    name = "wardgate",
    version,
    max_term_width = 120,
    after_help = "Example:\n  wardgate quickstart\n  wardgate check --config wardgate.yaml\n  wardgate serve --config wardgate.yaml"
)]
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
        Command::Completions { shell } => completions(shell, &mut io::stdout().lock()),
    }
}

/// A reader that went away has read enough.
fn completions(shell: Shell, out: &mut dyn Write) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "wardgate", &mut text);
    match out.write_all(&text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("wardgate completions: {error}");
            ExitCode::FAILURE
        }
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_agree_with_themselves() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_says_what_a_command_is_for_and_shows_an_example() {
        let mut top = Cli::command();
        top.build();
        let mut waiting = vec![top];
        let mut seen = 0;
        while let Some(command) = waiting.pop() {
            let name = command.get_bin_name().unwrap_or_default().to_owned();
            // clap's own `help` tells about the others.
            waiting.extend(
                command
                    .get_subcommands()
                    .filter(|below| below.get_name() != "help")
                    .cloned(),
            );
            let about = command.get_about().map(ToString::to_string);
            assert!(
                about.is_some_and(|about| !about.is_empty()),
                "{name}: no about"
            );
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Example"), "{name}: no example in\n{help}");
            seen += 1;
        }
        assert!(seen > 40, "{seen} commands");
    }

    #[test]
    fn completions_end_quietly_when_their_reader_has_gone() {
        struct Gone(io::ErrorKind);
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for (kind, code) in [
            (io::ErrorKind::BrokenPipe, ExitCode::SUCCESS),
            (io::ErrorKind::StorageFull, ExitCode::FAILURE),
        ] {
            assert_eq!(completions(Shell::Bash, &mut Gone(kind)), code, "{kind}");
        }
    }
}
