//! `wardgate store`: what is kept, looked at, mended, saved and brought back.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::config::Config;
use crate::store::upkeep::{self, Contents, UpkeepError};

/// Check, repair, export and import what the broker keeps, while it does not run
#[derive(Args)]
#[command(
    after_help = "Example:\n  wardgate store check --config wardgate.yaml\n  wardgate store export backup.wardgate --path data/store\n  wardgate store import backup.wardgate --path data/store"
)]
pub struct StoreArgs {
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
    path: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Verify every page and every record; changes nothing
    #[command(after_help = "Example:\n  wardgate store check --config wardgate.yaml")]
    Check,
    /// Make a store of all that can be read, tell what cannot, and keep the damaged file beside it
    #[command(after_help = "Example:\n  wardgate store repair --config wardgate.yaml")]
    Repair,
    /// Write all of it into one portable file that did not exist
    #[command(after_help = "Example:\n  wardgate store export backup.wardgate")]
    Export { file: PathBuf },
    /// Make a store of an export, in an empty folder
    #[command(after_help = "Example:\n  wardgate store import backup.wardgate --path data/store")]
    Import { file: PathBuf },
}

pub fn run(arguments: &StoreArgs) -> ExitCode {
    let path = match folder(arguments) {
        Ok(path) => path,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::FAILURE;
        }
    };
    let done = match &arguments.command {
        Command::Check => upkeep::check(&path).map(|contents| told("whole", contents)),
        Command::Repair => upkeep::repair(&path).map(|repaired| repaired_told(&repaired)),
        Command::Export { file } => export(&path, file),
        Command::Import { file } => import(&path, file),
    };
    let shown = match done {
        Ok(text) => io::stdout().write_all(text.as_bytes()),
        Err(error) => {
            eprintln!("wardgate store: {error}");
            return ExitCode::FAILURE;
        }
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wardgate store: {error}");
            ExitCode::FAILURE
        }
    }
}

fn folder(arguments: &StoreArgs) -> Result<PathBuf, String> {
    if let Some(path) = &arguments.path {
        return Ok(path.clone());
    }
    match Config::load(&arguments.config, std::env::vars_os()) {
        Ok(config) => Ok(config.store.path),
        Err(problems) => {
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            Err(lines.join("\n"))
        }
    }
}

fn told(state: &str, contents: Contents) -> String {
    let Contents {
        sessions,
        queued,
        retained,
        recovered,
    } = contents;
    let stop = if recovered {
        "; it was not closed in order, and the next start recovers it"
    } else {
        ""
    };
    format!(
        "{state}: {sessions} sessions, {queued} queued messages, {retained} retained messages{stop}\n"
    )
}

fn repaired_told(repaired: &upkeep::Repaired) -> String {
    let Some(before) = &repaired.before else {
        return "nothing is damaged; nothing was changed\n".to_owned();
    };
    let mut text = String::new();
    for line in &repaired.dropped {
        text.push_str(&format!("dropped: {line}\n"));
    }
    text.push_str(&format!(
        "kept: {} records; the damaged file is now {}\n",
        repaired.kept,
        before.display()
    ));
    text
}

/// Readable for its owner only, and never over a file that is there (STO-3).
fn export(path: &Path, file: &Path) -> Result<String, UpkeepError> {
    let out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    let written = upkeep::export(path, BufWriter::new(&out)).and_then(|records| {
        out.sync_all()?;
        Ok(records)
    });
    match written {
        Ok(records) => Ok(format!("{}: {records} records\n", file.display())),
        Err(error) => {
            // Half an export is none.
            std::fs::remove_file(file)?;
            Err(error)
        }
    }
}

fn import(path: &Path, file: &Path) -> Result<String, UpkeepError> {
    let input = BufReader::new(File::open(file)?);
    upkeep::import(path, input).map(|contents| told("imported", contents))
}
